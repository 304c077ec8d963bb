"""Exports to C: a compiler's program gives onnxruntime's numbers in the RAM that was planned, or there is none."""

import subprocess
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from helpers.full_disk import full
from helpers.made import SMALL, random_split, seasoned
from torch import nn
from torch.nn import functional as F

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import Metadata
from redistill.cli.commands import main
from redistill.cli.deploying import c_summary
from redistill.deploy import c_compiler, c_export, c_source, int8_steps, onnx_int8
from redistill.deploy.c_arena import Places, placed
from redistill.deploy.c_export import export_c
from redistill.deploy.fixed_point import check_sums, multipliers, shared_multipliers
from redistill.deploy.int8_step import IntegerNetwork
from redistill.deploy.int8_steps import read_steps
from redistill.deploy.onnx_file import to_onnx
from redistill.deploy.onnx_int8 import calibrated, export_int8
from redistill.deploy.opened import open_network
from redistill.memory import capture_images
from redistill.memory.patching import count_patched
from redistill.training.rounding import round_network

NAMES = ("fox", 'owl "and"\u2028bee??/\n', "Füchse\\")
TAKEN = np.arange(256, dtype=np.float32) / np.float32(127.5) - 1
COMPILER = pytest.mark.skipif(
    c_compiler.find_compiler() is None, reason="no C compiler is here; `make test` installs gcc where there is apt-get."
)
# Reads and writes beyond the arena, and sums beyond their integers, end the program.
CHECKED = ("-DWITH_MAIN", "-no-pie", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover")


class Kinds(nn.Module):
    """One of each that has a kernel, in the ways that they stand in classifiers."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 5, 2, 1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8)
        self.grouped = nn.Conv2d(8, 8, (1, 3), padding=(0, 1), groups=2)
        self.norm = nn.BatchNorm2d(8)
        self.squeeze = nn.Conv2d(8, 8, 1)
        self.last = nn.Conv2d(16, 6, 1)
        self.hidden = nn.Linear(6 * 3 * 2, 10)
        self.linear = nn.Linear(10, 5, bias=False)

    def forward(self, x):
        x = F.relu6(self.stem(x))
        y = F.silu(self.depthwise(x)) + x
        y = self.norm(F.max_pool2d(y, 3, 2, 1))
        z = self.grouped(y) * torch.sigmoid(self.squeeze(F.adaptive_avg_pool2d(y, 1)))
        z = torch.cat([F.leaky_relu(z), F.hardswish(y)], 1)
        z = F.avg_pool2d(self.last(z), 2, 2)
        z = F.max_pool2d(z, (1, 2), ceil_mode=True).flatten(1)
        return self.linear(F.relu(self.hidden(z)) - 0.25)


@pytest.fixture(scope="module")
def kinds():
    """Kinds in int8, pictures, and the numbers that onnxruntime gives for them."""
    torch.manual_seed(0)
    model = Kinds().eval()
    model.norm.running_mean.normal_(), model.norm.running_var.uniform_(0.5, 2), model.norm.weight.data.normal_()
    pictures = torch.randint(0, 256, (70, 3, 29, 26), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images = (pictures.float() / 127.5 - 1).numpy()
    proto = calibrated(to_onnx(model, (torch.zeros(1, 3, 29, 26),), "logits"), images[:32])
    return proto, read_steps(proto, TAKEN), pictures.numpy()


def ran(source, pictures, count, folder):
    """What a program, compiled so that it ends where it goes astray, prints of pictures."""
    program = c_compiler.compiled(source, folder / "network", CHECKED)
    given = np.ascontiguousarray(pictures.transpose(0, 2, 3, 1)).tobytes()
    done = subprocess.run([str(program)], input=given, capture_output=True, check=True)
    return np.array([line.split(" ")[:count] for line in done.stdout.decode().splitlines()], int)


@COMPILER
@pytest.mark.process
def test_every_kernel_gives_onnxruntimes_numbers_and_stays_in_the_arena(kinds, tmp_path):
    proto, network, pictures = kinds
    assert {step.kernel for step in network.steps} == set(c_source.KERNELS) - {"paste"}  # which patches alone need
    source = c_source.source_of(network, placed(network), "kinds", [], [])
    run = c_export._Run(network, source, pictures, ran(source, pictures, 5, tmp_path))
    assert len(run.numbers) == 70 and run.numbers.std() > 5
    steps, same = c_export._beside(proto, network.output, run)
    assert steps.shape == (70, 5) and steps.max() <= 1 and same >= 68


@COMPILER
@pytest.mark.process
def test_a_map_and_a_table_of_it_become_one_table_of_the_same_numbers(kinds, tmp_path, monkeypatch):
    proto, network, pictures = kinds
    monkeypatch.setattr(int8_steps, "with_tables_folded", lambda steps, output: tuple(steps))
    plain = read_steps(proto, TAKEN)
    products = [sum(step.kernel == "product" for step in found.steps) for found in (plain, network)]
    assert products == [3, 1] and len(network.steps) == len(plain.steps) - 2  # SiLU and hard swish
    numbers = []
    for found in (plain, network):
        source = c_source.source_of(found, placed(found), "kinds", [], [])
        numbers.append(ran(source, pictures[:8], 5, tmp_path))
    assert (numbers[0] == numbers[1]).all()


def test_no_map_lies_over_another_that_is_needed(kinds):
    """Told of every byte: whose it is when a step reads it."""
    network = kinds[1]
    places = placed(network)
    owner = np.full(places.bytes, -1)
    names = {map.name: i for i, map in enumerate([network.input, *(step.output for step in network.steps)])}
    owner[places.offsets["pixels"] :][: network.input.bytes] = names["pixels"]
    wholes = set()
    for step in network.steps:
        for map in step.inputs:
            assert (owner[places.offsets[map.name] :][: map.bytes] == names[map.name]).all(), (step.layer, map.name)
        mine = slice(places.offsets[step.output.name], places.offsets[step.output.name] + step.output.bytes)
        assert mine.stop <= places.bytes and mine.start % 4 == 0
        if step.output.name in wholes:
            assert (owner[mine] == names[step.output.name]).all()
        wholes |= {step.output.name}
        owner[mine] = names[step.output.name]
    assert places.live_bytes <= places.bytes < 1.2 * places.live_bytes


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A student with RED blocks whose batch norms have seen something."""
    folder = tmp_path_factory.mktemp("small") / "1st student"
    return checkpoint.save(seasoned(), Metadata(SMALL, "emoji-clutter", class_names=NAMES), folder)


@pytest.fixture
def pictures(monkeypatch):
    split = random_split(70)
    monkeypatch.setattr(c_export, "pictures_of", lambda opened: split)
    monkeypatch.setattr(onnx_int8, "pictures_of", lambda opened, part="test": split)
    return split


@pytest.fixture(scope="module")
def quantized(saved):
    proto = to_onnx(open_network(saved).model, (torch.zeros(1, 3, 32, 32),), "logits")
    return calibrated(proto, np.random.default_rng(0).uniform(-1, 1, (8, 3, 32, 32)).astype(np.float32))


@pytest.fixture
def made(monkeypatch, quantized, pictures):
    """Exports without the seconds that calibration takes: of a network that was calibrated before."""
    monkeypatch.setattr(c_export, "in_int8", lambda *_: (quantized, ""))


@COMPILER
@pytest.mark.process
def test_a_student_runs_in_the_ram_that_is_planned(tmp_path, saved, pictures, made, capsys):
    out = tmp_path / "net.c"
    export = export_c(open_network(saved), out)
    assert export.steps_apart <= 1 and export.compared == 64 and export.same_class >= 63
    assert export.heap_bytes == export.peak_bytes == 32 * 32 * 3 + 16 * 8 * 8
    assert export.bytes == out.stat().st_size and [*tmp_path.iterdir()] == [out]
    said = c_summary(export)
    assert f"{export.heap_bytes:,} bytes as compiled; by our accounting {export.peak_bytes:,} bytes" in said[3]
    assert "patches" not in said[3] and "65 bytes: patches save nothing here" in c_summary(export, 65)[3]
    assert c_summary(export, 10**6)[3].endswith("; without patches 1,000,000 bytes")
    assert f"{100 * export.test_accuracy:.2f} %" in said[2] and f"{export.flash_bytes:,}" in said[4]
    source = out.read_text()
    assert source.isascii() and "malloc" not in source and source.count("#include") == 2
    numbers = ran(source, pictures.images.numpy(), 3, tmp_path)
    right = float((numbers.argmax(1) == pictures.labels.numpy()).mean())
    assert export.test_accuracy == pytest.approx(right) and f"{100 * right:.2f} %" in source
    given = pictures.images[:1].permute(0, 2, 3, 1).contiguous().numpy().tobytes()
    line = subprocess.run([tmp_path / "network"], input=given, capture_output=True, check=True).stdout.decode()
    assert line.strip().split(" ", 3)[3] == " ".join(NAMES[numbers[0].argmax()].split())
    other = tmp_path / "other.c"  # what a program of one's own has to do
    other.write_text(
        "#include <stdint.h>\nuint8_t *net_1st_student_input(void);\nconst uint8_t *net_1st_student_run(void);\n"
        "int main(void) { for (int i = 0; i < 3072; i++) net_1st_student_input()[i] = (uint8_t)(i * 7);\n"
        "return net_1st_student_run()[0]; }\n"
    )
    command = ["cc", "-std=c99", *c_compiler.FLAGS[1:4], str(out), str(other), "-o", str(tmp_path / "own")]
    subprocess.run(command, check=True)
    own = np.arange(3072) * 7 % 256
    found = ran(source, own.astype(np.uint8).reshape(1, 32, 32, 3).transpose(0, 3, 1, 2), 3, tmp_path)
    assert subprocess.run([tmp_path / "own"]).returncode == found[0][0]


@COMPILER
@pytest.mark.process
def test_numbers_of_each_channel_are_multiplied_and_added_as_onnxruntime_does(tmp_path):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 4, 3, 2), nn.Linear(4 * 5 * 5, 3)
            self.factor = nn.Parameter(torch.tensor([-1.0, 0.5, 1, 2]).reshape(4, 1, 1))

        def forward(self, x):
            return self.last((F.relu(self.first(x)) * self.factor + (1 - self.factor)).flatten(1))

    torch.manual_seed(0)
    pictures = torch.randint(0, 256, (16, 3, 12, 12), dtype=torch.uint8)
    proto = to_onnx(Scaled().eval(), (torch.zeros(1, 3, 12, 12),), "logits")
    proto = calibrated(proto, (pictures.float() / 127.5 - 1).numpy())
    network = read_steps(proto, TAKEN)
    assert sum(step.kernel == "affine" for step in network.steps) == 2
    source = c_source.source_of(network, placed(network), "scaled", [], [])
    run = c_export._Run(network, source, pictures.numpy(), ran(source, pictures.numpy(), 3, tmp_path))
    steps, _ = c_export._beside(proto, network.output, run)
    assert run.numbers.std() > 5 and steps.max() <= 1


@COMPILER
@pytest.mark.process
def test_a_student_runs_in_patches_in_the_ram_that_is_counted_for_them(tmp_path, saved, pictures, made, capsys):
    whole = export_c(open_network(saved), tmp_path / "whole.c")
    out = tmp_path / "net.c"
    main(["export", str(saved), "--to", "c", "--patch", "layer1:2", "--out", str(out)])
    said = capsys.readouterr().out
    counted = count_patched(capture_images(open_network(saved).model, 32), "layer1", 2, dtype="int8")
    assert f"{counted.peak_bytes:,} bytes as compiled; by our accounting {counted.peak_bytes:,} bytes" in said
    assert "Computed in 2 x 2 patches up to layer1." in out.read_text()
    numbers = [ran(file.read_text(), pictures.images.numpy(), 3, tmp_path) for file in (whole.file, out)]
    assert (numbers[0] == numbers[1]).all() and f"{100 * whole.test_accuracy:.2f} %" in said


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["--to", "onnx", "--patch", "layer1:2"], "--patch is for --to c, since no other runtime computes so"),
        (["--to", "c", "--patch", "layer1"], "--patch is 'layer1'; expected a layer and patches a side"),
        (["--to", "c", "--patch", "layer9:2"], "Patches cannot be computed up to 'layer9': it is no layer"),
        (["--to", "c", "--patch", "layer1:40"], "expected at most 8 patches a side, not 40"),
        (["--to", "c", "--patch", "avgpool:2"], "Patches cannot be computed up to 'avgpool'"),
    ],
)
def test_patches_that_cannot_be_are_refused_before_anything_is_computed(
    asked, said, saved, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(c_export, "in_int8", lambda *_: pytest.fail("it was calibrated"))
    assert main(["export", str(saved), *asked, "--out", str(tmp_path / "net.c")]) == 1
    assert said in capsys.readouterr().err and not [*tmp_path.iterdir()]


@COMPILER
@pytest.mark.process
def test_ranges_of_training_in_int8_are_those_of_the_export_to_onnx(tmp_path, saved, pictures, monkeypatch):
    monkeypatch.setattr(onnx_int8, "CALIBRATED_ON", 8)
    plain = checkpoint.load(saved)
    ranges = [(-0.5, 0.25), *round_network(plain, pictures).ranges[1:]]
    metadata = Metadata(SMALL, "emoji-clutter", class_names=NAMES, ranges=ranges)
    opened = open_network(checkpoint.save(plain, metadata, tmp_path / "tuned"))
    written = onnx.load(export_int8(opened, tmp_path / "net.onnx").file)
    assert export_c(opened, tmp_path / "net.c").steps_apart <= 1
    source = (tmp_path / "net.c").read_text()
    assert "where training in int8 has left no range" in " ".join(source.split())
    network = read_steps(written, TAKEN)
    assert (network.steps[0].output.scale, network.steps[0].output.zero) == (pytest.approx(0.75 / 255), 170)
    run = c_export._Run(network, source, pictures.images.numpy(), ran(source, pictures.images.numpy(), 3, tmp_path))
    steps, same = c_export._beside(written, network.output, run)
    assert steps.max() <= 1 and same >= 68, "the numbers of the very file"


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda x: x.softmax(1), "Softmax"),
        (lambda x: x.transpose(2, 3), "Transpose"),
        (lambda x: x.reshape(1, 2, 2, 8, 8).transpose(1, 2).reshape(1, 4, 8, 8), "Reshape from"),
        (lambda x: F.interpolate(x, scale_factor=2), "Resize"),
        (lambda x: x.relu() * x.mean(1, keepdim=True), "ReduceMean over other axes"),
        (lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False), "AveragePool whose windows"),
        (lambda x: x * torch.linspace(0, 1, 8), "Mul of a map and a constant"),
        (lambda x: torch.linspace(1, 2, 4).reshape(4, 1, 1) / x, "Div of a map and a number a channel"),
        (lambda x: x / (x.abs() + 1), "Abs"),
    ],
    ids=["softmax", "transpose", "shuffle", "resize", "mean", "average", "constant", "channel", "abs"],
)
def test_what_has_no_kernel_is_named(function, named):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 4, 1), nn.LazyLinear(3)

        def forward(self, x):
            return self.last(function(self.first(x)).flatten(1))

    model, x = Odd(), torch.zeros(1, 3, 8, 8)
    model(x)
    proto = calibrated(
        to_onnx(model.eval(), (x,), "logits"), np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype("f")
    )
    with pytest.raises(ValueError, match=named) as caught:
        read_steps(proto, TAKEN)
    assert "\n" not in str(caught.value)


def test_without_a_compiler_there_is_a_sentence(tmp_path, saved, monkeypatch, capsys):
    monkeypatch.setattr(c_compiler.shutil, "which", lambda name: None)
    assert main(["export", str(saved), "--to", "c", "--out", str(tmp_path / "net.c")]) == 1
    told = capsys.readouterr().err
    assert "apt-get install gcc" in told and told.count("\n") == 1 and not list(tmp_path.iterdir())


@COMPILER
def test_what_c_is_not_for_is_refused(tmp_path, saved, capsys):
    out = str(tmp_path / "net.c")
    assert main(["export", str(saved), "--to", "c", "--softmax", "--out", out]) == 1
    assert main(["export", str(saved), "--to", "c", "--int8", "weights", "--out", out]) == 1
    assert main(["export", "emoji-faces-student", "--to", "c", "--out", out]) == 1
    told = capsys.readouterr().err
    assert "--softmax" in told and "--int8" in told and "diffusion" in told and not list(tmp_path.iterdir())


@COMPILER
@pytest.mark.process
@pytest.mark.parametrize("most_bytes", [1, 100_000, 1_000_000])
def test_a_full_disk_leaves_what_was_there(tmp_path, saved, made, most_bytes, capsys):
    out = tmp_path / "net.c"
    out.write_bytes(b"before")
    with full(most_bytes):
        assert main(["export", str(saved), "--to", "c", "--out", str(out)]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "cannot be written" in told and "net.c" in told
    assert [file.name for file in tmp_path.iterdir()] == ["net.c"] and out.read_bytes() == b"before"


@COMPILER
@pytest.mark.process
@pytest.mark.parametrize("wrong", ["numbers", "arena", "warning"])
def test_a_program_that_is_wrong_is_not_written(tmp_path, saved, made, monkeypatch, wrong):
    def changed(network: IntegerNetwork, places: Places, *rest):
        if wrong == "arena":
            places = replace(places, bytes=places.bytes + 4)
        source = c_source.source_of(network, places, *rest)
        return source.replace("+ zero", "+ zero + 3") + ("static int unused;\n" if wrong == "warning" else "")

    monkeypatch.setattr(c_export, "source_of", changed)
    with pytest.raises(ValueError, match={"numbers": "256 steps", "arena": "RAM", "warning": "unused"}[wrong]):
        export_c(open_network(saved), tmp_path / "net.c")
    assert not list(tmp_path.iterdir())


def test_factors_as_integers_are_close():
    factors = np.concatenate([10.0 ** np.linspace(-8, 6, 200), [1 - 2**-53, 1, 0.5]])
    multiplier, shift = multipliers(factors)
    assert multiplier.dtype == np.int32 and (multiplier > 0).all() and (shift > 0).all() and (shift <= 62).all()
    np.testing.assert_allclose(multiplier / 2.0**shift, factors, rtol=2**-30)
    assert multipliers(np.array([1e-12, 0.0]))[0].tolist() == [0, 0]
    signed, one = shared_multipliers(np.array([-0.3, 0.001, 0.0]))
    np.testing.assert_allclose(signed / 2.0**one, [-0.3, 0.001, 0], atol=2**-25)
    for wrong in (np.nan, np.inf, 2.0**40):
        with pytest.raises(ValueError, match="factor"):
            multipliers(np.array([wrong]))
        with pytest.raises(ValueError, match="factor"):
            shared_multipliers(np.array([wrong]))


def test_sums_that_32_bits_cannot_hold_are_refused():
    weights = np.full((2, 100_000), 127, np.int8)
    weights[0] = 1
    check_sums(weights[:1], np.zeros(1), "fc")
    with pytest.raises(ValueError, match="sums of fc"):
        check_sums(weights, np.zeros(2), "fc")

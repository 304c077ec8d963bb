"""The memory engine: published figures, fresh captures, and what it refuses. test_memory_exact.py has real runs."""

from __future__ import annotations

import copy
import random
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torchvision
from diffusers import UNet2DModel
from torch import Tensor, nn
from torch.nn import functional as F

from redistill.memory import ShapeRuleError, Tape, capture, measure_peak
from redistill.networks.alignment import align, red_sites
from redistill.networks.red import REDConfig, insert_red
from redistill.networks.strides import set_strides
from redistill.networks.unet import PAPER_UNET, SMALL_UNET, UNet

MIB = 2**20
MODELS = [
    "resnet18",
    "resnext50_32x4d",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "squeezenet1_1",
    "shufflenet_v2_x1_0",
    "googlenet",
    "densenet121",
]
LARGE = ("densenet121", "convnext_tiny", "googlenet", "efficientnet_b0")  # one random setting instead of two
AGGRESSIVE = {"conv1": 8, "maxpool": 1, "layer2.0": 2, "layer3.0": 2, "layer4.0": 1}
MILD = {"conv1": 4, "maxpool": 2, "layer2.0": 2, "layer3.0": 2, "layer4.0": 1}
MILDER = {"conv1": 4, "maxpool": 2, "layer2.0": 1, "layer3.0": 2, "layer4.0": 2}
UNET_POINTS = ["conv_in", *(f"down_blocks.{i}.downsamplers.0" for i in range(3))]
UNET_STRIDES = dict(zip(UNET_POINTS, (2, 2, 2, 1), strict=True))


def build(name: str, device: str = "meta") -> nn.Module:
    settings = {"googlenet": {"init_weights": False}, "vit_b_16": {"image_size": 64}}.get(name, {})
    with torch.device("meta"):
        model = torchvision.models.get_model(name, weights=None, **settings)
    return model if device == "meta" else model.to_empty(device=device)  # no test here looks at a weight's value


def red_student(name: str, strides: dict[str, int], size: int, red: REDConfig) -> nn.Module:
    student = set_strides(build(name), strides, size)
    return insert_red(student, red_sites(align(student, build(name), size), red), red)


def same(a, b) -> bool:
    """Equal figures, operator by operator; titles of the calls are no figures."""
    return a == b and [op[1:] for op in a.timeline] == [op[1:] for op in b.timeline] and a.layers == b.layers


@pytest.fixture(scope="module")
def tapes() -> dict[str, Tape]:
    return {name: capture(build(name), (1, 3, 224, 224)) for name in ("resnet18", "resnet50")}


@pytest.mark.parametrize(
    ("name", "strides", "red", "mib"),
    [
        ("resnet18", {}, None, 3.828),
        ("resnet18", AGGRESSIVE, None, 0.766),
        ("resnet18", AGGRESSIVE, REDConfig(), 0.766),
        ("resnet18", MILD, None, 1.340),
        ("resnet18", MILD, REDConfig(), 2.297),
        ("resnet50", {}, None, 6.891),
        ("resnet50", AGGRESSIVE, None, 1.723),
        ("resnet50", AGGRESSIVE, REDConfig(), 2.297),
        ("resnet50", AGGRESSIVE, REDConfig(gate_per="channel"), 1.723),
        ("resnet50", AGGRESSIVE, REDConfig(gate=False, residual_squeeze=4), 1.723),
    ],
)
def test_published_memory_of_resnets(tapes, name, strides, red, mib):
    profile = tapes[name].profile(strides, red=red)
    assert round(profile.peak_bytes / MIB, 3) == mib
    if red is None:
        assert profile.red_peak_bytes == profile.red_weight_bytes == 0
    else:
        assert 0 < profile.red_peak_bytes <= profile.peak_bytes < 4 * profile.red_peak_bytes


def test_published_memory_of_the_unet():
    with torch.device("meta"):
        plain, teacher, student = UNet2DModel(**PAPER_UNET), UNet(**PAPER_UNET), UNet(**PAPER_UNET)
    size = (1, 3, 32, 32)
    assert round(capture(plain, size).profile().peak_bytes / MIB, 3) == 4.502
    assert round(capture(teacher, size).profile().peak_bytes / MIB, 3) == 4.502
    set_strides(student, UNET_STRIDES, 32)
    assert round(capture(student, size).profile().peak_bytes / MIB, 3) == 1.127
    sites = red_sites(align(student, teacher, 32), REDConfig())
    student.add_red(REDConfig(), {path: list(sides) for path, sides in sites.items()})
    assert sum(len(sides) for sides in sites.values()) == 10
    profile = capture(student, size).profile()
    assert round(profile.peak_bytes / MIB, 3) == 1.127
    assert sum(layer.name.endswith("gate.0") for layer in profile.layers if layer.is_red) == 10


@pytest.mark.parametrize("name", ["convnext_tiny", "vit_b_16", "vgg11"])
def test_eager_equals_the_allocator_on_other_kinds_of_networks(name):
    model = build(name, "cpu")
    for batch in (1, 2):
        peak = capture(model, (batch, 3, 64, 64)).profile(accounting="eager").peak_bytes
        assert peak == measure_peak(model, torch.randn(batch, 3, 64, 64))


def test_eager_equals_the_allocator_in_half_precision():
    model = build("resnet18", "cpu").to(torch.bfloat16)
    images = torch.randn(1, 3, 64, 64, dtype=torch.bfloat16)
    tape = capture(model, (1, 3, 64, 64))
    peak = tape.profile(accounting="eager").peak_bytes
    assert peak == measure_peak(model, images)
    assert 2 * peak == tape.profile(accounting="eager", dtype="fp32").peak_bytes
    assert peak == 2 * tape.profile(accounting="eager", dtype="int8").peak_bytes


@pytest.mark.parametrize("strides", [{}, UNET_STRIDES])
def test_eager_equals_the_allocator_on_unets(strides):
    teacher = UNet(**SMALL_UNET)
    student = set_strides(UNet(**SMALL_UNET), strides, 32)
    if strides:
        sites = red_sites(align(student, teacher, 32), REDConfig())
        student.add_red(REDConfig(), {path: list(sides) for path, sides in sites.items()})
    for batch in (1, 2):
        inputs = (torch.randn(batch, 3, 32, 32), 10)
        assert capture(student, inputs).profile(accounting="eager").peak_bytes == measure_peak(student, inputs)


def test_blocks_of_stage_wise_alignment_are_counted():
    """They stand at layers whose stride became 1, too."""
    red = REDConfig()
    student = set_strides(build("resnet18"), AGGRESSIVE, 64)
    sites = red_sites(align(student, build("resnet18"), 64, "stage-wise"), red)
    assert list(sites) == list(AGGRESSIVE)
    insert_red(student, sites, red)
    for settings in ({}, {"accounting": "eager"}):
        computed = capture(build("resnet18"), (1, 3, 64, 64)).profile(
            AGGRESSIVE, red=red, alignment="stage-wise", **settings
        )
        assert same(computed, capture(student, (1, 3, 64, 64)).profile(**settings))
    with pytest.raises(ValueError, match="alignment is 'none'"):
        capture(build("resnet18"), (1, 3, 64, 64)).profile(AGGRESSIVE, red=red, alignment="none")


@pytest.mark.parametrize("name", [*MODELS, "convnext_tiny"])
def test_reevaluation_equals_a_fresh_capture(name):
    tape = capture(build(name), (1, 3, 128, 128))
    chosen = random.Random(name)
    rounds = 1 if name in LARGE else 2
    least = 2 if name == "convnext_tiny" else 1  # at 1 its patches are padded by an operator that no tape has
    while rounds:
        strides = {point.name: chosen.choice((least, point.stride, point.stride, 4)) for point in tape.points}
        size, batch = chosen.choice((96, 128, 160)), chosen.choice((1, 3))
        red = chosen.choice(
            (None, REDConfig(), REDConfig(gate=False), REDConfig(points="outermost", residual_kernel=5))
        )
        try:
            student = red_student(name, strides, size, red) if red else set_strides(build(name), strides, size)
        except ValueError:
            with pytest.raises(ValueError):
                tape.profile(strides, image_size=size, batch=batch)
            continue
        fresh = capture(student, (batch, 3, size, size))
        for settings in ({}, {"fuse_add": True}, {"accounting": "eager"}):
            reevaluated = tape.profile(strides, image_size=size, batch=batch, red=red, **settings)
            assert same(reevaluated, fresh.profile(**settings)), (strides, size, batch, red, settings)
        rounds -= 1


@pytest.mark.parametrize(
    "red",
    [
        *(REDConfig(), REDConfig(gate=False), REDConfig(residual_encoder=False, gate_kernel=5)),
        *(REDConfig(points="outputs"), REDConfig(gate_per="channel")),
        *(REDConfig(residual_squeeze=2), REDConfig(gate=False, residual_squeeze=8, residual_depthwise=True)),
    ],
)
@pytest.mark.parametrize("strides", [AGGRESSIVE, MILD, MILDER])
def test_red_blocks_on_the_tape_equal_a_captured_student(tapes, red, strides):
    fresh = capture(red_student("resnet18", strides, 224, red), (1, 3, 224, 224))
    for accounting in ("fused", "eager"):
        spliced = tapes["resnet18"].profile(strides, red=red, accounting=accounting)
        assert same(spliced, fresh.profile(accounting=accounting))
        assert any(layer.is_red for layer in spliced.layers)


class Tiny(nn.Module):
    """A residual step around a normalised convolution, then a pool and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = x + self.norm(self.conv(x))
        x = self.pool(x)
        return self.fc(x.mean((2, 3)))


def test_both_accountings_by_hand():
    tape = capture(Tiny(), (1, 3, 8, 8))
    image, full, pooled = 3 * 64 * 4, 4 * 64 * 4, 4 * 16 * 4
    fused = {
        "conv2d": [image + full, 2 * full],
        "relu": [full],
        "batch_norm": [2 * full],
        "add": [2 * full],
        "max_pool2d": [full + pooled],
        "mean": [pooled + 16],
        "linear": [16 + 20],
    }
    eager = {
        "conv2d": [image + full, image + 2 * full],
        "relu": [image + 2 * full],
        "batch_norm": [image + 3 * full],
        "add": [image + 3 * full],
        "max_pool2d": [image + full + pooled],
        "mean": [image + pooled + 16],
        "linear": [image + pooled + 16 + 20],
    }
    for accounting, expected in (("fused", fused), ("eager", eager)):
        profile = tape.profile(accounting=accounting)
        found: dict[str, list[int]] = {}
        for op in profile.timeline:
            found.setdefault(op.op, []).append(op.live_bytes)
        assert found == expected
    # The stem's peak equals none of the later ones: the image and its map, or the two maps of the residual step.
    assert tape.profile().peak_bytes == max(image + full, 2 * full)
    assert tape.profile().peak_layer == "conv"
    assert tape.profile().input_bytes == image
    assert tape.profile().output_bytes == 20
    assert tape.profile().weight_bytes == 4 * (112 + 148 + 16 + 25) + 8
    # With the addition inside the convolution its result is written over the operand... which the convolution reads.
    assert tape.profile(fuse_add=True).peak_bytes == 2 * full


class Read(nn.Module):
    """What a function makes of a map, of which nothing is left to read after it."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.function = nn.Conv2d(3, 4, 1), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.conv(x))


@pytest.mark.parametrize(
    ("function", "maps"),
    [
        (lambda y: y * y, 1),
        (lambda y: y * y.detach().flatten(1).view(y.shape), 1),
        (lambda y: torch.relu_(y[:]) + y, 1),
        (lambda y: torch.sigmoid(y.transpose(2, 3)), 1),
        (lambda y: y.transpose(2, 3) * y.transpose(2, 3), 1),
        (lambda y: y.transpose(2, 3) * y, 2),
        (lambda y: y + y.mT.relu_(), 2),
        (lambda y: y.permute(0, 2, 1, 3).permute(0, 2, 3, 1).reshape(y.shape) * 1 + y, 2),
        (lambda y: y * y[:, :1], 2),
        (lambda y: torch.sigmoid(y[:, :1].expand(y.shape)), 2),
    ],
    ids=["itself", "reshaped", "in place", "turned", "twice", "product", "sum", "copied", "part", "expanded"],
)
def test_nothing_is_written_over_what_the_step_reads_in_another_order(function, maps):
    image, full = 3 * 64 * 4, 4 * 64 * 4
    peak = capture(Read(function), (1, 3, 8, 8)).profile().peak_bytes
    assert peak == max(image + full, maps * full)


def test_a_convolution_adds_to_no_part_of_a_map():
    class Adds(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return self[1](x) + self[0](x)[:, :1].expand(-1, 4, -1, -1)

    tape = capture(Adds(nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)), (1, 4, 8, 8))
    assert tape.profile(fuse_add=True).peak_bytes == 3 * 4 * 64 * 4


def test_a_fused_addition_spares_the_convolutions_output():
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.a(x) + self.b(x)

    tape = capture(Branches(), (1, 3, 4, 4))
    image, full = 3 * 16 * 4, 8 * 16 * 4
    assert tape.profile().peak_bytes == image + 2 * full
    assert tape.profile(fuse_add=True).peak_bytes == image + full


@pytest.mark.parametrize("accounting", ["fused", "eager"])
def test_live_tensors_add_up_at_every_operator(tapes, accounting):
    for settings in ({}, {"strides": AGGRESSIVE, "red": REDConfig()}):
        profile = tapes["resnet18"].profile(accounting=accounting, **settings)
        for index, op in enumerate(profile.timeline):
            alive = profile.live_tensors(index)
            assert sum(tensor.bytes for tensor in alive) == op.live_bytes
        assert profile.timeline[profile.peak_index].live_bytes == profile.peak_bytes
        assert max(layer.peak_bytes for layer in profile.layers) == profile.peak_bytes
    first = profile.live_tensors(0)
    assert {tensor.made_by for tensor in first} == {("input", ""), ("conv2d", "conv1")}
    needed = {tensor.made_by: tensor.needed_by for tensor in first}
    assert "sigmoid" not in {op for op, _ in needed["conv2d", "conv1"]}
    assert ("mul", "conv1.red_out") in needed["conv2d", "conv1"]
    at_the_end = {tensor.made_by: tensor.needed_by for tensor in profile.live_tensors(len(profile.timeline) - 1)}
    assert at_the_end["linear", "fc"][-1] == ("output", "")


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121"])
def test_order_of_the_accountings(name):
    tape = capture(build(name), (2, 3, 96, 96))
    fused, eager = tape.profile(), tape.profile(accounting="eager")
    assert tape.profile(fuse_add=True).peak_bytes <= fused.peak_bytes <= eager.peak_bytes
    assert fused.peak_bytes >= fused.input_bytes + max(layer.output_bytes for layer in fused.layers[:1])
    assert same(tape.profile({p.name: p.stride for p in tape.points}), fused)


def test_the_model_is_left_as_it_was():
    model = torchvision.models.resnet18().train()
    model.layer1.eval()
    seen = []
    handle = model.fc.register_forward_pre_hook(lambda module, args: seen.append(len(args)))
    modes = [module.training for module in model.modules()]
    state = {name: (value, value.clone(), value.data_ptr()) for name, value in model.state_dict().items()}
    hooks = [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()]
    capture(model, (1, 3, 64, 64)).profile(AGGRESSIVE)
    assert [module.training for module in model.modules()] == modes
    assert [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()] == hooks
    for name, value in model.state_dict().items():
        kept, copied, address = state[name]
        assert torch.equal(value, copied)
        assert value.data_ptr() == address
        assert value.device == kept.device
    assert all(parameter.requires_grad for parameter in model.parameters())
    handle.remove()


SCALE = torch.tensor(2.0)  # a constant that outlives every capture


class ScaledFirst(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * SCALE


class ScaledLast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = F.max_pool2d(x, 1)
        return F.avg_pool2d(x, 2) * SCALE


def test_figures_depend_on_no_earlier_capture():
    def peaks(model: nn.Module) -> list[int]:
        tape = capture(model, (1, 3, 16, 16))
        return [tape.profile(accounting=accounting).peak_bytes for accounting in ("fused", "eager")]

    first = peaks(ScaledFirst())
    last = peaks(ScaledLast())
    assert first == [4 * 3 * 256, 2 * 4 * 3 * 256] and last == [2 * 4 * 3 * 256, 3 * 4 * 3 * 256]
    for _ in range(2):
        assert (peaks(ScaledFirst()), peaks(ScaledLast())) == (first, last)


@pytest.mark.parametrize("name", ["mobilenet_v2", "red", "unet"])
def test_figures_depend_on_no_memory_format(name):
    if name == "unet":
        model, rest = UNet(**SMALL_UNET | {"pooling_strides": (2, 2, 2, 1)}).to("meta"), (10,)
    else:
        model, rest = (build(name) if name != "red" else red_student("resnet18", MILD, 64, REDConfig())), ()
    found = set()
    for weights in (torch.contiguous_format, torch.channels_last):
        for inputs in (torch.contiguous_format, torch.channels_last):
            images = torch.empty(2, 3, 64, 64, device="meta").to(memory_format=inputs)
            tape = capture(model.to(memory_format=weights), (images, *rest))
            found.add(tuple(tape.profile(accounting=accounting).peak_bytes for accounting in ("fused", "eager")))
    assert len(found) == 1


def test_a_meta_model_and_example_inputs():
    on_meta, on_cpu = (
        capture(build("resnet18"), (1, 3, 64, 64)),
        capture(build("resnet18", "cpu"), torch.zeros(1, 3, 64, 64)),
    )
    assert same(on_meta.profile(), on_cpu.profile())
    by_tuple = capture(build("resnet18"), (torch.zeros(1, 3, 64, 64, device="meta"),))
    assert same(by_tuple.profile(), on_cpu.profile())


def test_wrong_settings_are_refused_with_their_choices(tapes):
    tape = tapes["resnet18"]
    with pytest.raises(ValueError, match=r"'stem'.*conv1"):
        tape.profile({"stem": 2})
    with pytest.raises(ValueError, match="whole number"):
        tape.profile({"conv1": 0})
    with pytest.raises(ValueError, match=r"fp8.*fp32"):
        tape.profile(dtype="fp8")
    with pytest.raises(ValueError, match=r"lazy.*fused"):
        tape.profile(accounting="lazy")
    with pytest.raises(ValueError, match="fuse_add"):
        tape.profile(accounting="eager", fuse_add=True)
    with pytest.raises(ValueError, match=r"batch is 0"):
        tape.profile(batch=0)
    with pytest.raises(ValueError, match="Image size"):
        tape.profile(image_size=0)
    with pytest.raises(ValueError, match="reduce the image"):
        tape.profile({"conv1": 64})
    with pytest.raises(ValueError, match="expected 0 to"):
        tape.profile().live_tensors(9999)
    with pytest.raises(ValueError, match=r"\(batch, channels"):
        capture(build("resnet18"), (3, 64, 64))
    with pytest.raises(ValueError, match=r"cannot run on inputs of shape \(1, 5, 64, 64\)"):
        capture(build("resnet18"), (1, 5, 64, 64))
    with pytest.raises(ValueError, match="already"):
        capture(red_student("resnet18", AGGRESSIVE, 64, REDConfig()), (1, 3, 64, 64)).profile(red=REDConfig())
    with pytest.raises(ValueError, match="tensor"):
        measure_peak(build("resnet18", "cpu"), 3)
    with pytest.raises(ValueError, match="too large for any machine"):
        capture(build("resnet18"), (1, 3, 10**9, 10**9))
    for strides in ("conv1=4", [("conv1", 4)]):
        with pytest.raises(ValueError, match="expected numbers by name"):
            tape.profile(strides)
    with pytest.raises(ValueError, match="red is '3'; expected a REDConfig"):
        tape.profile(red=3)
    for sites, said in (
        ({"conv1": {"out": 17}}, "for 17 channels; its map has shape"),
        ({"conv1": {"down": 64}}, "No 'down' of 'conv1'"),
        ({"stem": {"out": 64}}, "No 'out' of 'stem'"),
    ):
        with pytest.raises(ValueError, match=said):
            tape.profile(red=REDConfig(), sites=sites)


class Refuses(nn.Module):
    """A network that bakes in something about its input's size; `how` names what."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.conv, self.next = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4 * 8 * 8, 2)
        self.positions = nn.Parameter(torch.zeros(1, 4, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        y = self.next(self.conv(x))
        if self.how == "sum":
            return y + self.positions
        if self.how == "view":
            return self.fc(y.view(len(x), -1))
        if self.how == "pool of the whole map":
            return F.avg_pool2d(y, y.shape[2:])
        if self.how == "pool to another map's size":
            return F.adaptive_avg_pool2d(x, y.shape[2:]) + y.mean(1, keepdim=True)
        return y[:, :, :8].contiguous()  # slice


@pytest.mark.parametrize("how", ["sum", "view", "slice"])
def test_what_the_tape_cannot_know_is_refused(how):
    tape = capture(Refuses(how), (1, 3, 16, 16))
    assert tape.profile().peak_bytes > 0
    for settings in ({"image_size": 24}, {"strides": {"conv": 1}}):
        with pytest.raises(ShapeRuleError, match="capture the network anew"):
            tape.profile(**settings)


@pytest.mark.parametrize("how", ["pool of the whole map", "pool to another map's size", "slice"])
def test_what_python_reads_of_a_size_is_followed(how):
    tape = capture(Refuses(how), (1, 3, 16, 16))
    for size in (12, 14, 24) if how != "slice" else (16, 15):
        assert same(tape.profile(image_size=size), capture(Refuses(how), (1, 3, size, size)).profile())


def test_a_stride_that_python_reads_is_not_changed_on_the_tape():
    class SameConv(nn.Conv2d):
        """TensorFlow's "same" padding: as much as it takes to make ceil(size / stride)."""

        def forward(self, x: Tensor) -> Tensor:
            wanted = -(-x.shape[-1] // self.stride[0])
            pad = max((wanted - 1) * self.stride[0] + self.kernel_size[0] - x.shape[-1], 0)
            return super().forward(F.pad(x, (pad // 2, pad - pad // 2) * 2))

    model = nn.Sequential(SameConv(3, 4, 3, stride=2), nn.ReLU(), nn.Conv2d(4, 4, 1))
    tape = capture(model, (1, 3, 16, 16))
    assert tape.profile(batch=2).peak_bytes == 2 * tape.profile().peak_bytes
    assert same(tape.profile(image_size=15), capture(model, (1, 3, 15, 15)).profile())  # padded by 2 instead of 1
    with pytest.raises(ShapeRuleError, match=r"'0' goes by the stride of '0'.*anew"):
        tape.profile({"0": 1})
    for settings in ({"strides": {"0": 1}}, {"strides": {"0": 4}, "image_size": 30, "batch": 2}):
        anew = tape.anew(**settings)
        size, batch = settings.get("image_size", 16), settings.get("batch", 1)
        fresh = capture(set_strides(model, settings["strides"], size), (batch, 3, size, size))
        assert same(anew.profile(), fresh.profile()) and anew.strides == settings["strides"]


class Patches(nn.Module):
    """An image cut into patches, padded to whole ones by what the module around the convolution knows of them."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_size = (8, 8)
        self.proj = nn.Conv2d(3, 4, 8, stride=8)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        down, across = self.patch_size
        return self.proj(F.pad(x, (0, -width % across, 0, -height % down)))


class PooledSame(nn.MaxPool2d):
    """A pool that pads by its stride, of which it knows that it is a pair."""

    def __init__(self) -> None:
        super().__init__((3, 3), (2, 2))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, self.stride[1] - 1, 0, self.stride[0] - 1)))


@pytest.mark.parametrize(
    "network", [nn.Sequential(Patches(), nn.ReLU()), nn.Sequential(nn.Conv2d(3, 4, 3), PooledSame())]
)
def test_what_python_computes_of_a_stride_is_captured_anew(network):
    tape = capture(network, (1, 3, 36, 36))
    name = list(tape.strides)[-1]
    with pytest.raises(ShapeRuleError, match=r"goes by the stride of .* in Python; capture the network anew"):
        tape.profile({name: 4})
    restrided = set_strides(copy.deepcopy(network), {name: 4}, 36)
    found = tape.anew({name: 4}).profile(accounting="eager")
    assert found.peak_bytes == measure_peak(restrided, torch.zeros(1, 3, 36, 36))


def test_a_map_that_vanishes_is_refused():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3))
    tape = capture(model, (1, 3, 16, 16))
    assert same(tape.profile(image_size=14), capture(model, (1, 3, 14, 14)).profile())
    with pytest.raises(ShapeRuleError, match="would be 0×0"):
        tape.profile(image_size=10)


def test_layouts_that_decide_over_copies_are_checked():
    class Halves(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.chunk(2, dim=1)[0].contiguous() * 2

    tape = capture(Halves(), (1, 4, 8, 8))  # one image: the half is contiguous, nothing is copied
    with pytest.raises(ShapeRuleError, match="copy"):
        tape.profile(batch=2)
    assert capture(Halves(), (2, 4, 8, 8)).profile(accounting="eager").peak_bytes == 2 * (4 + 2 + 2) * 64 * 4


def test_temporaries_of_python_scopes():
    class Sums(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            kept = [x * 2, x * 3, x * 4]
            return sum(kept)

    model, images = Sums(), torch.randn(1, 2, 16, 16)
    peak = capture(model, images).profile(accounting="eager").peak_bytes
    # 0 + kept[0] and the two sums after it are tensors of their own; at the last one two sums are alive.
    assert peak == (1 + 3 + 2) * images.nbytes == measure_peak(model, images)


def test_threads_share_one_tape(monkeypatch):
    """Visitors of a page do, with more settings between them than programs are kept."""
    monkeypatch.setattr("redistill.memory.tape.PROGRAMS_KEPT", 2)
    tape = capture(build("resnet18"), (1, 3, 64, 64))
    settings = [(strides, red) for strides in (AGGRESSIVE, MILD) for red in (None, REDConfig(), REDConfig(gate=False))]
    expected = [tape.profile(strides, red=red).peak_bytes for strides, red in settings]

    def visit(start: int) -> list[int]:
        order = [(start + step) % len(settings) for step in range(40)]
        return [tape.profile(settings[i][0], red=settings[i][1]).peak_bytes - expected[i] for i in order]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as visitors:
            assert [set(found) for found in visitors.map(visit, range(4))] == [{0}] * 4
    finally:
        sys.setswitchinterval(interval)

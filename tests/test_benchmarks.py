"""What the benchmarks add to the library: other tools' figures, counts of exact settings, narrower RED blocks."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from helpers.unets import TINY
from torch import Tensor, nn

from benchmarks import distill, gpu, int8, maps, sampling, tradeoff
from benchmarks.accuracy import _table as accuracy_table
from benchmarks.distill import cases, turns_of
from benchmarks.distill import summary as distill_summary
from benchmarks.helpers import timed_rows
from benchmarks.helpers.compiled_parts import compile_parts
from benchmarks.helpers.exactness import Count
from benchmarks.helpers.networks import allocate, build, example
from benchmarks.helpers.other_tools import TOOLS
from benchmarks.helpers.plain_step import PlainStep
from benchmarks.maps import nearness
from benchmarks.memory import REEVALUATIONS, summary
from benchmarks.page import percentile
from benchmarks.quality import over_seeds
from benchmarks.red_memory import DEFAULT, STUDENTS, conclusions, study, table
from benchmarks.sampling import contenders
from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import read_metadata
from redistill.checkpoint.sources import list_shipped
from redistill.checkpoint.teacher import load_teacher
from redistill.data.datasets import load_split
from redistill.memory import measure_peak
from redistill.networks.features import forward_with_features
from redistill.networks.red import REDConfig, red_modules
from redistill.networks.student import StudentConfig, build_student
from redistill.networks.unet import UNet
from redistill.training import classification
from redistill.training.checks import check_teacher
from redistill.training.classification import accuracy
from redistill.training.config import DistillConfig
from redistill.training.objective import aligned_features
from redistill.training.presets import CLUTTER_TEACHER, FROM_TEACHER
from redistill.training.step import prepare


def test_rows_of_the_accuracy_study_name_the_processor_that_made_them():
    row = {"title": "", "accuracy": 0.5, "seeds": [0], "peak_bytes": 1024, "parameters": 1, "seconds": 1.0}
    rows = [row | {"title": title, "device": device} for title, device in (("one", "A"), ("two", "B"), ("three", "B"))]
    assert accuracy_table(rows).splitlines()[-2:] == ["Trained on A: one.", "Trained on B: two, three."]


def test_maps_quick_is_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["maps", "--quick", "--pictures", "4", "--json", str(tmp_path / "rows.json")])
    maps.main()
    assert capsys.readouterr().out.splitlines()[-1].startswith("maps distance=cosine emoji-clutter-student=")
    assert json.loads((tmp_path / "rows.json").read_text())["emoji-clutter-student"]["distances"]


def test_other_tools_figures():
    images = example("resnet18", 48, 1)
    model = allocate(build("resnet18"))
    figures = {tool: ask(build("resnet18") if tool == "torchinfo" else model, images) for tool, ask in TOOLS.items()}
    assert figures["MemTracker"].bytes == measure_peak(model, images)
    made = 0

    def count(module: nn.Module, args: tuple, output: torch.Tensor) -> None:
        nonlocal made
        made += output.nbytes if isinstance(module, (nn.Conv2d, nn.Linear)) else 0

    for module in model.modules():
        module.register_forward_hook(count)
    with torch.no_grad():
        model(*images)
    assert figures["fvcore"].bytes == made
    assert figures["torchinfo"].bytes > 2 * figures["fvcore"].bytes
    assert all(figure.ms > 0 and not figure.reason for figure in figures.values())


def test_a_tool_that_fails_says_why():
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise LookupError("no such map")

    for ask in TOOLS.values():
        figure = ask(Broken(), (torch.zeros(1, 3, 8, 8),))
        assert figure.bytes is None and figure.ms is None
        assert figure.reason


def test_nearness_of_maps():
    student, teacher = (checkpoint.load(name) for name in ("emoji-clutter-student", CLUTTER_TEACHER))
    split = load_split("emoji-clutter", "test", 64, 300)
    config = replace(read_metadata("emoji-clutter-student").student, alignment="asynchronous")
    features = aligned_features(config, student, teacher)
    found = nearness(student, teacher, split, features)
    assert found.accuracy == pytest.approx(accuracy(student, split))
    itself = nearness(teacher, teacher, split, [(theirs, theirs) for _, theirs in features])
    assert itself.mean_distance == pytest.approx(0, abs=1e-6)
    assert list(itself.unrelated.values()) == list(found.unrelated.values())
    assert all(distance > 0.01 for distance in found.unrelated.values())
    assert list(found.distances) == ["conv1 out", "layer2.0 in", "layer2.0 out", "layer3.0 in", "layer3.0 out"]
    assert all(distance > 0.01 for distance in found.distances.values())


def test_counts_and_the_last_line():
    found = Count().plus(0, 0).plus(0, -3).plus(2, 0)
    assert found == Count(tried=3, eager=2, fused=2, worst_bytes=3)
    said = {tool: {"bytes": 20 if tool == "fvcore" else None} for tool in TOOLS}
    timed = {"tools": said, "capture_ms": 9.6, **dict.fromkeys(REEVALUATIONS.values(), 0.5), "reevaluation_red_ms": 1.0}
    rows = [
        {"network": "resnet50", "difference_bytes": 0, "measured_bytes": 10} | timed,
        {"network": "other", "difference_bytes": -5, "measured_bytes": 5} | timed | {"reevaluation_red_ms": None},
    ]
    line = summary(rows, [{"own_differences": {"batch 1 fp32": 0}, "random": found._asdict()}], 40.4)
    assert line.startswith("memory own_strides_exact=2/3 random_eager_exact=2/3 random_fused_exact=2/3 ")
    assert "max_difference_bytes=5 " in line and "fvcore_times_real=2.00-4.00" in line
    assert "resnet50_build_student_ms=40 " in line
    assert "slowest_capture_ms=10 " in line and line.endswith("slowest_reevaluation_ms=1.00")


def test_red_blocks_against_memory():
    lines = {line["variant"]: line for line in study(STUDENTS[1])}  # ResNet-18 at 4·2·2·2·1
    mib = {name: round(line["peak_bytes"] / 2**20, 3) for name, line in lines.items()}
    assert (mib["teacher"], mib["no RED"], mib[DEFAULT]) == (3.828, 1.340, 2.297)
    one_map = 64 * 56 * 56 * 4  # what a block at the stem takes: three maps run at once, or two and a quarter
    assert lines[DEFAULT]["red_running_bytes"] == 3 * one_map
    assert lines["squeezed by 4"]["peak_bytes"] == 2 * one_map + one_map // 4
    assert lines[DEFAULT]["red_bytes_at_peak"] == 2 * one_map  # the gated map and the residual; the third is the stem's
    # conv1 out, maxpool in and out, layer2.0 in and out, layer3.0 in and out: channels and side of the map
    blocks = [(64, 56), (64, 56), (64, 28), (64, 28), (128, 14), (128, 14), (256, 7)]
    added = lines[DEFAULT]["macs"] - lines["no RED"]["macs"]
    assert added == sum((1 + 3 * 3) * (channels * side) ** 2 for channels, side in blocks)
    said = conclusions([lines])
    assert said[0] == "RED blocks raise the peak of 1 of 1 students, by up to 1.71×."
    assert "at most 0 bytes" in said[1]
    told = (Path(gpu.__file__).parents[1] / "docs" / "results" / "photographs.md").read_text()
    assert all(line in told for line in table([lines]))


def test_the_plain_distillation_step_has_the_losses_of_ours(monkeypatch):
    red = REDConfig()
    student = StudentConfig("narrow_resnet", 32, 50, strides={"conv1": 4, "maxpool": 1, "layer4.0": 1}, red=red)
    config = DistillConfig(student, "emoji-clutter", train_limit=16, batch_size=8, **FROM_TEACHER)
    task = classification
    problem, _ = prepare(config)
    plain = PlainStep(config, problem, load_teacher(CLUTTER_TEACHER), workers=0)
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in plain.teacher.modules())  # it runs them
    assert plain.student.layer1[0].conv1.weight.is_contiguous() and plain.teacher.layer1[0].conv1.weight.is_contiguous()
    problem.model.train()
    before = {name: value.clone() for name, value in plain.student.state_dict().items()}
    images, labels = task.batch(problem, 0, torch.Generator().manual_seed(0))
    monkeypatch.setattr(task, "batch", lambda *arguments: (images, labels))
    ours, theirs = task.losses(problem, 0, torch.Generator()), plain.losses((images,), labels)
    assert ours.keys() == theirs.keys() == {"task_loss", "red_loss", "kd_loss"}
    for name, value in ours.items():
        assert torch.allclose(value, theirs[name], rtol=1e-4), name
    assert plain().keys() == ours.keys()
    assert not torch.equal(plain.student.state_dict()["fc.weight"], before["fc.weight"])
    row = {"network": "a", "ratio": 1.5, "bf16_ratio": None, "peak_bytes": 10, "plain_peak_bytes": 20}
    assert distill_summary([row]) == "distill a_ratio=1.50 a_peak_ratio=2.00"
    assert "a_bf16_ratio=2.50" in distill_summary([row | {"bf16_ratio": 2.5}])


def test_percentile():
    times = [float(value) for value in range(1, 21)]
    assert percentile(times, 0.95) == 19.0
    assert percentile(times[:1], 0.95) == 1.0


def test_sampling_compares_teacher_and_students_without_and_with_red_blocks():
    found = contenders("unet_small", 1, torch.device("cpu"))
    assert {rival.title: len(red_modules(rival.network)) for rival in found} == {
        "teacher": 0,
        "student": 0,
        "student + RED": 10,
        "diffusers' pipeline, teacher": 0,
    }
    assert found[0].network.config.pooling_strides == (1, 2, 2, 2)
    assert found[1].network.config.pooling_strides == (2, 2, 2, 1)


@pytest.mark.filterwarnings("ignore:Dynamo detected")  # diffusers looks versions up while it runs
def test_contenders_of_sampling_run_in_bf16_and_are_compiled_before_the_first_turn(monkeypatch):
    blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
    tiny = TINY | blocks | {"block_out_channels": (8, 8)}
    for name in ("build_reference", "build_student"):
        monkeypatch.setattr(sampling, name, lambda config: UNet(**tiny))
    compiled = []

    def backend(graph: torch.fx.GraphModule, inputs: list) -> Callable:
        compiled.append(graph)
        return graph.forward

    found = contenders("unet_small", 2, torch.device("cpu"), torch.bfloat16, backend)
    titles = {rival.title: rival for rival in found}
    assert [title for title in titles if title.endswith(", compiled")] == [
        "teacher, compiled",
        "student, compiled",
        "student + RED, compiled",
    ]
    assert {parameter.dtype for rival in found for parameter in rival.network.parameters()} == {torch.bfloat16}
    assert titles["diffusers' pipeline, teacher"].run(2).images.shape == (2, 3, 16, 16)
    titles["teacher, compiled"].run(sampling.WARM_UP)
    count = len(compiled)
    assert titles["teacher, compiled"].run(4).done
    assert len(compiled) == count > 0, "it compiled again inside a turn"


def test_cases_of_the_step_benchmark_can_be_trained(tmp_path):
    found = cases(tmp_path, "cpu")
    assert [case.name for case in found] == ["mobilenet_v2", "ddpm_unet", "narrow_resnet"]
    for case in found:
        check_teacher(case.config)
    cpu, cuda = torch.device("cpu"), torch.device("cuda:1")
    assert turns_of(cpu, quick=False) == (25, 1) and turns_of(cpu, quick=True) == (25, 1)
    turns, steps = turns_of(cuda, quick=True)
    assert turns == 1 and 8 < steps < turns_of(cuda, quick=False)[1] == 200  # workers have 8 batches ready


def test_means_over_seeds_are_of_networks_that_differ_in_nothing_else():
    def row(name, kid, seed=None, **settings):
        figures = {"kid": kid, "fid": 10 * kid, "precision": 0.5, "recall": None}
        return {"name": name, **figures, "test_prediction_loss": 0.1, "seed": seed, "settings": settings}

    rows = [
        row("real", 0.0),
        row("red", 0.5, seed=0, red_weight=1.0),
        row("alone", 0.9, seed=0, red_weight=0.0),
        row("red again", 0.7, seed=1, red_weight=1.0),
        row("another", 0.3, seed=0, red_weight=2.0),
    ]
    (mean,) = over_seeds(rows)
    assert (mean["name"], mean["seeds"]) == ("red", [0, 1]) and "recall" not in mean
    assert mean["kid"] == pytest.approx((0.6, 0.1)) and mean["fid"] == pytest.approx((6.0, 1.0))
    assert mean["test_prediction_loss"] == (0.1, 0.0)
    assert over_seeds(rows[:3]) == []


def test_the_run_on_a_gpu_goes_on_after_a_row_that_fails_and_begins_none_too_late(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(timed_rows, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def fail() -> dict:
        raise RuntimeError("no kernel\nfor this device")

    saved = []
    plan = [
        timed_rows.Row("distill", "a", lambda: {"ratio": 1.5}),
        timed_rows.Row("distill", "b", fail),
        timed_rows.Row("memory", "c", lambda: now.insert(0, 10.0) or [{}]),
        timed_rows.Row("distill", "d", fail),
    ]
    found = timed_rows.run_rows(plan, 9.0, lambda rows: saved.append(list(rows)))
    assert [len(rows) for rows in saved] == [1, 2, 3, 4]
    assert found[0]["ratio"] == 1.5 and found[1]["error"] == "RuntimeError: no kernel"
    assert "error" not in found[2] and found[3]["skipped"]
    assert gpu.summary(found) == "gpu a_ratio=1.50 failed=1 skipped=1"


def test_a_run_on_a_gpu_is_resumed_on_the_same_device_alone(tmp_path):
    said = {"device": "a GPU", "torch": "2.11.0", "cpus": 16}
    rows = [{"table": "distill", "row": "a", "ratio": 1.5}, {"table": "distill", "row": "b", "skipped": "late"}]
    file = tmp_path / "gpu.json"
    assert timed_rows.known_rows(file, said) == []
    file.write_text(json.dumps(said | {"cpus": 8, "figures": rows}))
    known = timed_rows.known_rows(file, said)
    assert known == rows[:1]
    assert (
        timed_rows.known_rows(file, said | {"torch": "2.12.0"})
        == timed_rows.known_rows(file, said | {"device": "another"})
        == []
    )
    ran = []
    plan = [timed_rows.Row("distill", name, lambda name=name: ran.append(name) or {}) for name in ("a", "b")]
    found = timed_rows.run_rows(plan, 9.0, lambda rows: None, known)
    assert ran == ["b"] and found[0] == rows[0] and "skipped" not in found[1]


def test_a_row_of_the_run_on_a_gpu_has_its_time():
    row = timed_rows.Row("memory", "c", lambda: time.sleep(5))
    assert timed_rows._attempt(row, 0.1) == [{"error": "OutOfTimeError: not done after 0 seconds"}]


def test_with_the_time_left_on_a_gpu_students_are_trained(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(gpu, "plan", lambda *_: [])
    small = replace(tradeoff.STUDIES["photographs"], curve=((4, 1, 2, 1, 2),), size=16)
    monkeypatch.setitem(tradeoff.STUDIES, tradeoff.PHOTOGRAPHS_128, small)
    pictures = distill.random_pictures(tmp_path / "pictures" / "train", 8, 10).parent
    distill.random_pictures(pictures / "val", 8, 1)
    arguments = ["--device", "cpu", "--accuracy", tmp_path / "rows.json", "--data", pictures, "--runs", tmp_path]
    monkeypatch.setattr("sys.argv", ["gpu", "--quick", *map(str, arguments), "--until", "600"])
    gpu.main()
    assert capsys.readouterr().out.splitlines()[-1].startswith("tradeoff rows=3 of=3 failed=0")
    rows = {row["method"]: row for row in json.loads((tmp_path / "rows.json").read_text())}
    assert rows.keys() == {"teacher", "scratch", "red+kd"} and all(row["precision"] == "bf16" for row in rows.values())
    assert os.environ["REDISTILL_CACHE"] == str(tmp_path / "cache")


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")  # torch.compile looks at it
def test_a_network_compiled_in_parts_gives_the_maps_that_each_step_asks_for(monkeypatch):
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    strides = {"conv1": 4, "maxpool": 1, "layer2.0": 2, "layer3.0": 2, "layer4.0": 1}
    student = build_student(StudentConfig("narrow_resnet", 32, 10, strides)).eval()
    parts = deepcopy(student)
    features = [("conv1", "out"), ("layer2.0", "in"), ("layer3.0", "out")]
    asked = [[(feature, keep) for feature in features] for keep in (Tensor.clone, lambda value: value.mean(1))]
    assert compile_parts(parts, asked[0]) > len(features)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for wanted in asked:
        mine, whole = (forward_with_features(network, (images,), wanted) for network in (parts, student))
        torch.testing.assert_close([mine[0], *mine[1]], [whole[0], *whole[1]])
        for output, found in (mine, whole):
            sum(value.square().sum() for value in (output, *found)).backward()
    for mine, whole in zip(parts.parameters(), student.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, whole.grad)
    assert sum(hasattr(module.forward, "_torchdynamo_orig_callable") for module in parts.modules()) > len(features)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_both_steps_are_compiled_beside_each_other(tmp_path, monkeypatch):
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))
    compiled, whole = [], torch.compile
    monkeypatch.setattr(torch, "compile", lambda made: compiled.append(made) or whole(made, backend="eager"))
    case = cases(tmp_path, "cpu", images_a_class=4, ships=False)[2]
    case = replace(case, config=replace(case.config, precision="bf16", batch_size=4))
    row = distill.compare(case, quick=True, turns=1, steps=1, compiled=True)
    assert row["ratio"] > 0 and row["batch_size"] == 4
    networks = {id(made.__self__) for made in compiled}
    assert len(networks) == len(compiled) > 4 * 5  # of student and teacher, ours and the plain step's


def test_memory_row_of_the_run_on_a_gpu():
    row = gpu.memory_row("narrow_resnet", None, 2, "bf16", torch.device("cpu"), 32)
    assert row["computed_bytes"] == row["measured_bytes"] and row["difference_bytes"] == 0
    assert 0 <= row["computed_rounded_bytes"] - row["computed_bytes"] < 4 * gpu.BLOCK


def test_the_plain_step_runs_under_autocast_in_bf16_and_needs_nothing_that_ships(tmp_path, monkeypatch):
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))
    case = cases(tmp_path, "cpu", images_a_class=4, ships=False)[2]
    config = replace(case.config, precision="bf16", batch_size=4)
    assert config.teacher_checkpoint.startswith(str(tmp_path)) and config.dataset.startswith("folder:")
    problem, _ = prepare(config)
    plain = PlainStep(config, problem, load_teacher(config.teacher_checkpoint), workers=0)
    found = []
    plain.student.fc.register_forward_hook(lambda module, args, output: found.append(output.dtype))
    assert all(value > 0 for value in plain().values()) and found == [torch.bfloat16]
    plain.close()


def test_the_table_of_int8_is_what_was_measured():
    root = Path(int8.__file__).parents[1]
    rows = json.loads((root / "checkpoints" / "int8.json").read_text())
    told = (root / "docs" / "results" / "deployment.md").read_text()
    assert "`python -m benchmarks.int8" in told and all(line in told for line in int8.table(rows))
    assert {row["network"] for row in rows} <= set(list_shipped())

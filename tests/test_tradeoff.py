"""The curve of accuracy against memory: what is run, in which order, and what stays of it."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace
from math import prod
from pathlib import Path

import pytest
import torch
from helpers.pictures import write_classes
from torch.nn import functional

from benchmarks import tradeoff
from benchmarks.accuracy import LONG
from benchmarks.any_strides import read_alone
from benchmarks.helpers.alternatives import ALTERNATIVES, OnSmallerImages
from redistill.data.table import DATASETS
from redistill.memory import capture
from redistill.memory.patching import count_patched
from redistill.memory.search import search_strides
from redistill.networks.student import StudentConfig, build_student
from redistill.networks.zoo import build_network
from redistill.training.config import DistillConfig
from redistill.training.presets import find_preset


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A folder of 120 training and 20 other pictures of two classes."""
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))
    write_classes(tmp_path / "pictures" / "train", {"cats": 60, "dogs": 60})
    write_classes(tmp_path / "pictures" / "val", {"cats": 10, "dogs": 10}, seed=500)
    return tmp_path / "pictures"


def run(monkeypatch, capsys, *arguments: str | Path) -> list[str]:
    monkeypatch.setattr(sys, "argv", ["tradeoff", *map(str, arguments)])
    tradeoff.main()
    return capsys.readouterr().out.splitlines()


def plan(**changes) -> list[tradeoff.Job]:
    settings = {"seeds": [0, 1, 2], "methods": tradeoff.METHODS, "quick": False} | changes
    return tradeoff.plan("folder:pictures", 10, Path("runs"), **settings, device="cpu", precision="fp32")


def test_runs_of_the_study_and_their_order():
    teacher, *students = plan()
    assert len(students) == 12 * 7 * 3
    assert teacher.method is None and not teacher.needs_teacher and teacher.config.steps == 1500
    assert {job.config.steps * job.config.batch_size for job in students} == {900 * 128}
    curve = [job for job in students if job.strides in tradeoff.CURVE]
    assert students[: len(curve)] == curve and [job.seed for job in curve] == sorted(job.seed for job in curve)
    assert {job.method for job in students if not job.needs_teacher} == {"scratch"}
    assert len({job.name for job in students}) == len(students)
    assert set(Counter((job.method, job.seed) for job in students).values()) == {12}


def test_runs_of_larger_photographs():
    teacher, *students = plan(study=tradeoff.STUDIES["photographs-128"])
    vectors = {job.strides for job in students}
    assert len(vectors) == 8 and {prod(strides) for strides in vectors} == {prod(teacher.strides)}
    assert {(job.config.student.teacher, job.config.student.image_size) for job in students} == {("resnet18", 128)}
    peaks = {tradeoff.Table([], None).figures(job)["bare_peak_bytes"] for job in students}
    assert min(peaks) == teacher_bytes(teacher) / 5 and max(peaks) == teacher_bytes(teacher) * 3 / 5


def test_runs_of_vision_transformers():
    teacher, *students = plan(study=tradeoff.STUDIES["photographs-swin"])
    assert {job.strides for job in students} == {(4, 2, 2, 1)} and teacher.strides == (2, 2, 2, 2)
    assert {job.config.student.image_size for job in students} == {32}
    figures = tradeoff.Table([teacher, *students], None).figures(students[0])
    assert figures["peak_bytes"] < teacher_bytes(teacher) and figures["part"] == "curve"


@pytest.mark.parametrize(
    ("classes", "named"), [(DATASETS["imagenette"].class_names, "imagenette"), (("cats", "dogs"), "folder:small64.zip")]
)
def test_rows_of_a_copy_are_of_its_set_and_of_ones_own_pictures_of_their_file(tmp_path, classes, named):
    for split in ("train", "val"):
        write_classes(tmp_path / split, dict.fromkeys(classes, 2))
    study = replace(tradeoff.STUDIES["photographs"], curve=((4, 1, 2, 1, 2),), off_curve=())
    settings = {"seeds": [0], "methods": ["kd"], "quick": False, "study": study, "teacher": "imagenette-teacher"}
    (job,) = tradeoff.plan(f"folder:{tmp_path}", len(classes), Path("runs"), **settings)
    table = tradeoff.Table([job], None, Path("small64.zip"))
    table.add(job, {})
    row = table.rows[job.name]
    assert (row["dataset"], row["config"]["dataset"]) == ("folder:small64.zip", named)


def teacher_bytes(job):
    return tradeoff.Table([job], None).figures(job)["peak_bytes"]


def test_peaks_are_those_of_the_networks_that_are_trained():
    jobs = plan(seeds=[0], methods=["none", "red"])
    table = tradeoff.Table(jobs, None)
    for job in jobs:
        figures = table.figures(job)
        assert figures["peak_bytes"] == capture(build_student(job.config.student), (1, 3, 64, 64)).profile().peak_bytes
        assert figures["peak_bytes"] in (figures["bare_peak_bytes"], figures["red_peak_bytes"])
    found = [search_strides(build_network("narrow_resnet", 10), 64, red=red) for red in (None, tradeoff.REDConfig())]
    front = {tuple(candidate.strides.values()) for result in found for candidate in result.front}
    assert {vector for vector in tradeoff.CURVE if vector not in front} == {(4, 1, 2, 2, 1), (2, 1, 2, 2, 2)}
    assert not front & set(tradeoff.OFF_CURVE)
    least, teacher = found[0].candidates[0].peak_bytes, found[0].teacher.peak_bytes
    peaks = [table.figures(job)["bare_peak_bytes"] for job in jobs[1:]]
    assert min(peaks) == least and max(peaks) == 0.6 * teacher


def plan_of_others(**changes) -> list[tradeoff.Job]:
    settings = {"methods": ["scratch", "none", "kd", "kd-scratch"], "alternatives": ALTERNATIVES} | changes
    return plan(teacher="imagenette-teacher", **settings)


def test_alternatives_see_as_many_pictures_and_have_the_same_teacher():
    jobs = plan_of_others()
    assert {job.config.steps * job.config.batch_size for job in jobs} == {900 * 128}
    assert {job.config.teacher_checkpoint for job in jobs} == {None, "imagenette-teacher"}
    assert {job.method for job in jobs if not job.needs_teacher} == {"scratch"}
    assert {job.config.student.image_size for job in jobs} == {64}, "the teacher sees pictures whole"
    assert len({job.name for job in jobs}) == len(jobs) == 3 * (8 * 3 + 8 * 2)
    for job in jobs:
        of_teachers_shape = job.counted is not None
        assert job.method in (("scratch", "none", "kd") if of_teachers_shape else ("scratch", "kd-scratch"))
        assert (job.config.init == "teacher") == (job.method in ("none", "kd"))
    main = {other.title for other in ALTERNATIVES if other.rank == 1}
    early = jobs[: max(i for i, job in enumerate(jobs) if job.network in main) + 1]
    assert Counter(job.seed for job in early if job.network in main) == {0: 3, 1: 3, 2: 3}
    assert {job.seed for job in early if job.network not in main} == {0}


def test_alternatives_are_counted_on_the_images_that_they_work_on():
    peaks = {}
    for job in plan_of_others(seeds=[0]):
        if job.method == "scratch":
            figures = tradeoff.Table([job], None).figures(job)
            side = next(other.side for other in ALTERNATIVES if other.title == job.network) or 64
            model = build_student(job.counted or job.config.student)
            assert figures["peak_bytes"] == capture(model, (1, 3, side, side)).profile().peak_bytes
            assert figures["part"] == "alternative" and figures["red_peak_bytes"] == figures["bare_peak_bytes"]
            peaks[job.network] = figures["peak_bytes"]
    assert all(peak <= int(title.split()[1]) * 1024 for title, peak in peaks.items() if title.endswith("KiB"))
    widths = [peaks[f"narrow_resnet width 1/{part}"] // 1024 for part in (2, 4)]
    told = (Path(tradeoff.__file__).parents[1] / "docs" / "results" / "photographs.md").read_text()
    assert f"half the width needs {widths[0]} KiB, a quarter {widths[1]}" in " ".join(told.split())
    assert peaks["narrow_resnet 28 px"] < 65536 < peaks["narrow_resnet 32 px"]


def test_networks_for_phones_keep_the_most_computation_within_their_budget():
    found = search_strides(build_network("timm:mobilenetv2_035", 10), 64, red=None, reduction="any").candidates
    for other in ALTERNATIVES:
        if other.title.startswith("mobilenetv2_035"):
            budget = int(other.title.split()[1]) * 1024
            best = max((one for one in found if one.peak_bytes <= budget), key=lambda one: one.macs)
            assert tuple(best.strides.values()) == other.strides


def test_some_alternatives_alone(tmp_path, monkeypatch, capsys):
    assert {job.network for job in plan_of_others(alternatives=ALTERNATIVES[3:4])} == {ALTERNATIVES[3].title}
    with pytest.raises(SystemExit):
        run(monkeypatch, capsys, "--data", tmp_path, "--alternatives", "--only", "of nobody")
    assert "'of nobody' in its name" in capsys.readouterr().err


def test_a_network_on_smaller_images_is_the_teachers():
    model = OnSmallerImages(10, 32).eval()
    own = build_network("narrow_resnet", 10).eval()
    own.load_state_dict(model.state_dict())
    images = torch.rand(2, 3, 32, 32).repeat_interleave(2, 2).repeat_interleave(2, 3)
    small = functional.interpolate(images, (32, 32), mode="bilinear", antialias=True)
    with torch.no_grad():
        assert torch.equal(model(images), own(small)) and model(images).shape == (2, 10)


def test_alternatives_are_rows_of_the_same_file(pictures, tmp_path, monkeypatch, capsys):
    file = tmp_path / "rows.json"
    before = [{"name": "4-1-2-1-2-kd-0", "part": "curve", "test_accuracy": 0.5}]
    file.write_text(json.dumps(before))
    given = ("--data", pictures, "--runs", tmp_path / "runs", "--json", file, "--teacher", "imagenette-teacher")
    lines = run(monkeypatch, capsys, "--quick", "--alternatives", "--methods", "scratch", *given)
    assert lines[-1].startswith("tradeoff rows=2 of=2 failed=0")
    rows = json.loads(file.read_text())
    assert rows[:1] == before and [row["network"] for row in rows[1:]] == ["narrow_resnet 28 px", "narrow_resnet 32 px"]
    for row in rows[1:]:
        assert row["config"]["dataset"] == "folder:pictures" == row["dataset"] and row["part"] == "alternative"
        assert DistillConfig.from_dict(row["config"]).steps == row["steps"]
    assert rows[2]["config"]["student"]["architecture"] == "file:benchmarks/helpers/alternatives.py:side_32"


def test_patches_change_memory_and_computation_alone(tmp_path, monkeypatch, capsys):
    file = tmp_path / "rows.json"
    shipped = json.loads((Path(tradeoff.__file__).parents[1] / "checkpoints" / "photographs.json").read_text())
    smaller = "narrow_resnet-36-px-kd-0"
    names = ("1-2-2-2-2-teacher-0", "2-2-1-2-2-kd-1", "2-2-1-2-2-red-1", "4-1-2-1-2-kd-0", smaller)
    rows = [row for row in shipped if row["name"] in names]
    file.write_text(json.dumps(rows))
    for _ in range(2):  # again: written anew, not twice
        assert run(monkeypatch, capsys, "--patches", "--json", file) == ["tradeoff patched=9"]
    found = json.loads(file.read_text())
    assert found[:5] == rows
    sources = {row["name"]: row for row in rows}
    for row in found[5:]:
        source = sources[row["name"].partition("-in-")[0] + f"-{row['method']}-{row['seed']}"]
        is_smaller = source["name"] == smaller  # whose memory is that of the network on such images
        student = StudentConfig.from_dict(source["config"]["student"])
        student = StudentConfig("narrow_resnet", 36, 10, red=None) if is_smaller else student
        shape = (1, 3, student.image_size, student.image_size)
        way = count_patched(capture(build_student(student), shape), row["upto"], row["grid"])
        assert (row["peak_bytes"], row["macs"]) == (way.peak_bytes, way.macs)
        assert row["peak_bytes"] < source["peak_bytes"] and row["macs"] > source["macs"]
        assert all(row[name] == source[name] for name in ("test_accuracy", "strides", "method", "config", "device"))
    assert len({row["name"] for row in found}) == len(found)
    with pytest.raises(SystemExit):
        run(monkeypatch, capsys, "--patches")


def test_only_students_at_other_strides_count_as_trained_alone(tmp_path):
    row = {"strides": [4, 1, 2, 1, 2], "method": "kd", "state": "finished", "part": "curve", "test_accuracy": 0.7}
    other = row | {"part": "alternative", "test_accuracy": 0.1}
    (tmp_path / "rows.json").write_text(json.dumps([row, other, row | {"part": "off the curve", "strides": [8, 1]}]))
    assert read_alone([tmp_path / "rows.json"], None) == {("4-1-2-1-2", "kd"): [0.7], ("8-1", "kd"): [0.7]}
    (tmp_path / "first.json").write_text(json.dumps([row | {"test_accuracy": 0.8}] * 2))
    several = read_alone([tmp_path / "first.json", tmp_path / "rows.json"], None)
    assert several == {("4-1-2-1-2", "kd"): [0.8, 0.8], ("8-1", "kd"): [0.7]}, "of what both have the first one's"


def test_the_study_of_scenes_sees_as_many_pictures_as_the_accuracy_study():
    study = tradeoff.STUDIES["scenes"]
    students = plan(study=study, teacher=study.teacher)
    assert {job.config.teacher_checkpoint for job in students if job.needs_teacher} == {"emoji-clutter-teacher"}
    assert {job.config.steps * job.config.batch_size for job in students} == {LONG.steps * LONG.batch_size}
    preset = find_preset("best").config
    (best,) = [
        job.config for job in students if job.method == "best" and job.seed == 0 and job.strides == (4, 1, 2, 2, 1)
    ]
    free = {name: getattr(preset, name) for name in ("dataset", "validate_every", "save_every", "precision")}
    assert replace(best, student=replace(best.student, num_classes=50), **free) == preset


def test_drawn_pictures_need_no_file():
    assert tradeoff.ready("emoji-clutter", 64, 16) == ("emoji-clutter", 50)


def test_a_quick_study_is_resumed_and_failed_runs_are_tried_again(pictures, tmp_path, monkeypatch, capsys):
    file = tmp_path / "rows.json"
    given = ("--quick", "--data", pictures, "--runs", tmp_path / "runs", "--json", file, "--jobs", "2")
    last = run(monkeypatch, capsys, *given)[-1]
    assert last.startswith("tradeoff rows=5 of=5 failed=0 teacher=") and last.endswith("compared=2")
    rows = json.loads(file.read_text())
    assert [row["method"] for row in rows] == ["teacher", "scratch", "scratch", "red+kd", "red+kd"]
    assert {row["test_count"] for row in rows} == {20} and {row["images_seen"] for row in rows} == {4 * 32}
    assert all(0 <= row["test_accuracy"] <= 1 and row["device"] and row["precision"] == "fp32" for row in rows)

    rows[1] |= {"state": "failed", "error": "No room."}
    file.write_text(json.dumps(rows))
    lines = run(monkeypatch, capsys, *given)
    assert [line.partition(":")[0] for line in lines if " of 1" in line] == [rows[1]["name"]]
    assert lines[-1] == last
    assert "rows=5" in run(monkeypatch, capsys, *given, "--seconds", "0")[-1]


def test_a_run_that_fails_is_a_row_and_the_others_go_on(pictures, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "runs" / "quick" / "8-1-1-1-2-scratch-0"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("no JSON")
    file = tmp_path / "rows.json"
    given = ("--quick", "--data", pictures, "--runs", tmp_path / "runs", "--json", file, "--methods", "scratch")
    assert run(monkeypatch, capsys, *given)[-1].startswith("tradeoff rows=2 of=3 failed=1 ")
    (failed,) = [row for row in json.loads(file.read_text()) if row["state"] == "failed"]
    assert "config.json" in failed["error"] and "test_accuracy" not in failed


def test_nothing_is_begun_when_the_time_is_over(pictures, tmp_path, monkeypatch, capsys):
    given = ("--quick", "--data", pictures, "--runs", tmp_path / "runs", "--seconds", "0")
    assert run(monkeypatch, capsys, *given)[-1] == "tradeoff rows=0 of=5 failed=0 compared=0"
    assert not (tmp_path / "runs").exists()

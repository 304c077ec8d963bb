"""What was tried on photographs: that trials differ in what they say, and that validation chooses."""

from __future__ import annotations

import json
import sys

import pytest
from helpers.pictures import write_classes

from benchmarks import trials
from benchmarks.helpers.tradeoff_table import Table
from benchmarks.tradeoff import Frame
from redistill.checkpoint.metadata import read_metadata
from redistill.networks.stem_kinds import Blurred
from redistill.networks.student import build_student

VECTOR = (4, 1, 2, 2, 1)


def job(name: str, seed: int = 0, vector: tuple[int, ...] = VECTOR):
    return trials.job_of(Frame("folder:pictures", 10, trials.STUDY, "imagenette-teacher", {}), vector, name, seed)


def row(name: str, seed: int, validation: float, test: float) -> dict:
    return {"method": name, "seed": seed, "validation_accuracy": validation, "test_accuracy": test, "peak_bytes": 65536}


def differences(one: dict, other: dict) -> set[str]:
    return {name for name in one.keys() | other.keys() if one.get(name) != other.get(name)}


@pytest.mark.parametrize("name", trials.TRIALS)
def test_a_trial_sees_the_pictures_that_it_says_and_changes_no_more(name):
    trial, usual, own = trials.TRIALS[name], job("red+kd").config, job(name).config
    assert own.steps * own.batch_size == 900 * 128 * (4 if name.startswith("longer") else 1)
    changed = differences(usual.to_dict(), own.to_dict()) - {"student"}
    length = {"steps", "validate_every", "save_every"} if own.steps != usual.steps else set()
    assert changed == length | {key for key, value in trial.settings.items() if getattr(usual, key) != value}
    student = differences(usual.student.to_dict(), own.student.to_dict())
    assert student == set(trial.student) and (changed or student or name == "red+kd")


def test_all_trials_need_the_memory_that_stands_beside_them():
    peaks = {name: Table([job(name)], None).figures(job(name))["peak_bytes"] for name in ("red+kd", "kd", "stage-wise")}
    assert set(peaks.values()) == {64 * 1024}


@pytest.mark.parametrize("name", [name for name, trial in trials.TRIALS.items() if "stem" in trial.student])
def test_a_stem_is_tried_where_it_is_another_than_the_teachers(name):
    least = trials.TRIALS[name].from_stride
    for stride in (2, 4, 8):
        networks = [build_student(job(each, vector=(stride, *VECTOR[1:])).config.student) for each in (name, "red+kd")]
        shapes = [{key: value.shape for key, value in network.state_dict().items()} for network in networks]
        blurred = any(isinstance(module, Blurred) for module in networks[0].modules())
        assert (shapes[0] != shapes[1] or blurred) == (stride >= least), stride


def test_validation_chooses_who_gets_all_seeds_and_what_leads():
    rows = [row("kd", 0, 0.99, 0.1), row("red+kd", 0, 0.7, 0.7), row("at", 0, 0.8, 0.1), row("dkd", 0, 0.6, 0.9)]
    rows += [row("mixup", 0, 0.75, 0.2), row("ema", 1, 0.9, 0.9)]
    assert trials.best_of(rows, 2) == ["at", "mixup", "red+kd", "kd"]
    assert trials.best_of(rows, 0) == []
    rows += [row(name, seed, value, 1 - value) for name, value in (("at", 0.72), ("red+kd", 0.71)) for seed in (1, 2)]
    lines = trials.render(rows).splitlines()
    assert lines[2].startswith("| attention transfer in place of RED | 64 | 0, 1, 2 | 74.7 ± 4.0 | ")
    assert trials.summary(rows) == "trials rows=10 best=at validation_ahead=4.00 test_ahead=-20.67"
    assert trials.summary(rows[:4]) == "trials rows=4"


def test_a_quick_study_is_resumed(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))
    classes = read_metadata("imagenette-teacher").class_names
    for part, count, seed in (("train", 14, 0), ("val", 2, 50_000)):
        write_classes(tmp_path / "pictures" / part, dict.fromkeys(classes, count), seed=seed)
    monkeypatch.setitem(trials.QUICK, "accept_teacher", True)  # which knows nothing of these pictures
    file = tmp_path / "trials.json"
    given = ["--quick", "--data", tmp_path / "pictures", "--runs", tmp_path / "runs", "--json", file]
    monkeypatch.setattr(sys, "argv", ["trials", *map(str, given)])
    trials.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "trials rows=2" and sum(" of 2" in line for line in lines) == 2
    rows = json.loads(file.read_text())
    assert [row["method"] for row in rows] == ["red+kd", "kd"] and rows[1]["config"]["student"]["red"] is None
    trials.main()
    again = capsys.readouterr().out.splitlines()
    assert again == lines[2:] and json.loads(file.read_text()) == rows
    monkeypatch.setattr(sys, "argv", ["trials", "--trials", "luck"])
    with pytest.raises(SystemExit):
        trials.main()
    assert "no trial there 'luck'" in capsys.readouterr().err

"""Weights that a person brings become a teacher; what does not fit is said, and no file of one's own is opened."""

from __future__ import annotations

import dataclasses
import re
import time

import pytest
import safetensors.torch
import torch
from helpers.forms import run_values, sent, student_values

from app.distill import handlers, own_weights, run_form, starting, student_form
from app.runs import choices, jobs, run_list
from app.runs.result import peak_bytes
from redistill.checkpoint.metadata import read_metadata
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import build_network
from redistill.training.presets import CLUTTER_TEACHER, PRESETS

CONFIG = PRESETS["default"].config


@pytest.fixture
def own(shipped, tmp_path, picture_cache):
    """No teachers of one's own yet, pictures where they are."""
    torch.manual_seed(0)
    file = tmp_path / "my net.safetensors"
    safetensors.torch.save_file(build_network("narrow_resnet", 50).state_dict(), file)
    return file


def take(file, names="", mean="0.5", std="0.5", student=CONFIG.student):
    return handlers.take_weights(str(file), names, mean, std, student.to_dict(), CONFIG.dataset, 64)


def test_uploaded_weights_are_a_teacher_that_a_run_can_start_from(own):
    shown = take(own, mean="0.485 0.456, 0.406", std="0.229,0.224,0.225")
    assert "is a teacher now" in shown["said"]
    value = shown["teacher_checkpoint"].value
    assert value.startswith(choices.IMPORTED) and any(
        "own weights" in title for title, _ in shown["teacher_checkpoint"].choices
    )
    config = run_form.read(**form(teacher_checkpoint=value))
    assert read_metadata(config.teacher_checkpoint).imported["mean"] == [0.485, 0.456, 0.406]
    assert run_form.values(config)["teacher_checkpoint"] == value  # found again from a run's folder
    again = take(own)["teacher_checkpoint"].value
    assert again != value  # teachers of runs stay what they were


def test_weights_are_listed_and_removed_once_that_is_confirmed_and_never_under_a_run(own, monkeypatch):
    value = take(own)["teacher_checkpoint"].value
    small = choices.IMPORTED + own_weights.take(
        dataclasses.replace(CONFIG.student, image_size=32, strides={}), own_weights.read_weights(str(own), "", "0", "1")
    )
    shown = own_weights.offer()["mine"]
    listed = {value: title for title, value in shown.choices}
    assert shown.visible and listed.keys() == {value, small}, "of networks and sizes that the form has not, too"
    day = time.localtime().tm_mday
    assert re.fullmatch(
        rf"my-net-32px \(own weights\), Narrow ResNet, 32 px, 1.\d\d MiB, {day} ... ..:..", listed[small]
    )
    assert own_weights.choose(value)["remove"].visible and not own_weights.choose(None)["remove"].visible
    config = CONFIG.to_dict() | {
        "teacher_checkpoint": run_form.read(**form(teacher_checkpoint=value)).teacher_checkpoint
    }
    monkeypatch.setattr(run_list, "list_runs", lambda: [jobs.Run("one", own, "one", "running", config=config)])
    asked = own_weights.ask_to_remove(value)
    assert "1 run learnt from them" in asked["said"] and asked["confirm"].visible
    given = (CONFIG.student.to_dict(), CONFIG.dataset, value)
    assert "learns from it now" in handlers.remove_weights(value, *given)["said"]
    monkeypatch.setattr(run_list, "list_runs", lambda: [])
    shown = handlers.remove_weights(value, *given)
    assert value not in str(shown["teacher_checkpoint"].choices) and shown["teacher_checkpoint"].value != value
    assert [value for _, value in shown["mine"].choices] == [small] and not shown["confirm"].visible
    for gone in (value, CLUTTER_TEACHER, None, "imported:../x"):
        assert "here any more" in handlers.remove_weights(gone, *given)["said"]


def form(**changes):
    values = run_values("default") | changes
    return {"student": values.pop("student"), "given": values}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"names": "a\nb"}, "tells 50 classes apart, but 2 names"),
        ({"names": "a\na"}, "stands twice"),
        ({"mean": "half"}, "Mean is &#x27;half&#x27;"),
        ({"mean": "0.1,0.2"}, "expected 3 numbers each"),
        ({"std": "0"}, "std above 0"),
        ({"student": PRESETS["faces"].config.student}, ""),
        ({"student": dataclasses.replace(CONFIG.student, teacher="resnet18", strides={})}, "does not hold the weights"),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_is_written(own, changes, words, tmp_path):
    shown = take(own, **changes)
    assert "notice" in shown["said"] and words in shown["said"]
    assert not (tmp_path / "teachers").exists()


def test_a_pickle_is_never_read(own, tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "w.pth")
    assert "no .safetensors file" in take(tmp_path / "w.pth")["said"]


@pytest.mark.parametrize("name", ["file:/nowhere/net.py:make", "/nowhere/net.pt2"])
def test_a_run_of_the_shell_on_a_file_of_ones_own_opens_nothing_here(name, own, monkeypatch, tmp_path):
    for part in ("_module", "open_program"):
        monkeypatch.setattr(f"redistill.networks.own.{part}", lambda *given: pytest.fail("was opened"))
    student = StudentConfig(name, 64, 50, strides={"conv": 4})
    config = dataclasses.replace(CONFIG, student=student)
    assert "never opens" in handlers.take_config(config.to_dict())["refusal"]
    assert "never opens" in starting.start_run(**run_values("default") | {"student": student.to_dict()})["refusal"]
    edit = {**student_values(CONFIG.student, teacher=name), "student": CONFIG.student.to_dict()}
    shown = handlers.take_edit(dataset=CONFIG.dataset, teacher_checkpoint=None, **edit)
    assert "never opens" in shown["refusal"]
    with pytest.raises(ValueError, match="never opens"):
        peak_bytes(student)
    run = jobs.Run("r", tmp_path, "r", "stopped", config=config.to_dict())
    monkeypatch.setattr(run_list, "read_run", lambda name: run)
    with pytest.raises(ValueError, match="never opens"):
        jobs.resume("r")


def test_another_network_is_typed_by_name(own):
    given = student_values(CONFIG.student, architecture="timm:resnet18", red=False)
    shown = handlers.take_edit(CONFIG.student.to_dict(), CONFIG.dataset, None, **given)
    assert shown["student"]["architecture"] == "timm:resnet18" and shown["refusal"] == ""
    assert list(sent(shown)["strides"]) == list(student_form.own_strides("timm:resnet18"))
    given = student_values(CONFIG.student, architecture="timm:resnet")
    assert "No network" in handlers.take_edit(CONFIG.student.to_dict(), CONFIG.dataset, None, **given)["refusal"]

"""The student's controls on the Distill tab: what they show, what they are read as, and what they change beside."""

from __future__ import annotations

import dataclasses

import gradio as gr
import pytest
from helpers.forms import student_values

from app.distill import handlers as distill
from app.distill import student_form
from app.runs.result import counted
from app.words import numbers
from redistill.checkpoint import sources
from redistill.networks.pooling_points import find_pooling_points
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig, build_student
from redistill.training.presets import PRESETS

CLUTTER = PRESETS["default"].config.student
MOBILE_STRIDES = student_form.own_strides("mobilenet_v2") | {"features.0.0": 4, "features.14.conv.1.0": 1}
MOBILE = StudentConfig("resnet18", 64, num_classes=50, architecture="mobilenet_v2", strides=MOBILE_STRIDES)


@pytest.fixture(autouse=True)
def nothing_shipped(tmp_path, monkeypatch):
    monkeypatch.setenv("REDISTILL_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(sources, "SHIPPED", tmp_path / "checkpoints")


@pytest.mark.parametrize(
    "student",
    [
        CLUTTER,
        PRESETS["faces"].config.student,
        PRESETS["teacher"].config.student,
        dataclasses.replace(CLUTTER, red=REDConfig(gate=False, residual_kernel=5, points="outputs")),
        dataclasses.replace(CLUTTER, teacher_strides={**student_form.own_strides("narrow_resnet"), "layer4.0": 1}),
        MOBILE,
    ],
)
def test_controls_are_read_as_the_student_that_they_show(student):
    read = student_form.read(student.to_dict(), student_values(student))
    strides = {point.name: point.stride for point in find_pooling_points(build_student(student), student.image_size)}
    assert read.to_dict() == student.to_dict() | {"strides": read.strides}
    assert {**student_form.own_strides(student.student_architecture), **read.strides}.items() <= strides.items() or (
        student.task == "diffusion"  # whose upsamplers follow
    )
    with gr.Blocks():
        assert tuple(student_form.build(student)) == student_form.FIELDS


def edit(**changes) -> dict:
    """What the page is sent once a control of the student holds something else."""
    given = {"student": CLUTTER.to_dict(), "dataset": "emoji-clutter", "teacher_checkpoint": "none"}
    return distill.take_edit(**given | student_values(CLUTTER) | changes)


def test_another_network_comes_with_strides_of_its_own():
    shown = edit(architecture="mobilenet_v2")
    card, said, student, strides = (shown[name] for name in ("card", "refusal", "student", "strides"))
    assert student["architecture"] == "mobilenet_v2" and student["teacher"] == "narrow_resnet"
    assert "MobileNetV2 ← Narrow ResNet" in card and said == ""
    assert set(strides.value) == set(student_form.own_strides("mobilenet_v2")) == set(student["strides"])
    peak = counted(StudentConfig.from_dict(student)).student.peak_bytes
    assert f"Peak {numbers.format_bytes(peak)}" in card


def test_a_network_at_its_own_strides_is_no_student_on_its_card():
    shown = student_form.card(PRESETS["teacher"].config.student)
    assert ", a teacher</p>" in shown and "Peak 320 KiB</p>" in shown and "×" not in shown
    assert ", a teacher" not in student_form.card(dataclasses.replace(CLUTTER, red=None))


def test_red_blocks_that_set_the_peak_are_said_on_the_card():
    late = dataclasses.replace(CLUTTER, strides={**CLUTTER.strides, "conv1": 1, "maxpool": 2, "layer4.0": 2})
    assert "RED blocks have become the memory peak" in student_form.card(late)
    assert "have become" not in student_form.card(CLUTTER)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"architecture": "unet_small"}, "is a network for diffusion"),
        ({"strides": {"conv1": 64}}, "reduce the image"),
        ({"gate": False, "residual_encoder": False}, "does nothing"),
        ({"points": "some"}, "RED points"),
    ],
)
def test_a_student_that_does_not_fit_is_a_sentence_and_nothing_changes(changes, sentence):
    shown = edit(**changes)
    assert sentence in shown["refusal"] and "This does not fit." in shown["refusal"]
    assert shown.keys() == {"refusal"}

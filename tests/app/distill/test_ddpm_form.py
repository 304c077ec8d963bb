"""A DDPM from elsewhere as teacher, on the Distill tab."""

from __future__ import annotations

import gradio as gr
import pytest
from helpers.forms import given
from helpers.made import saved_ddpm
from huggingface_hub import constants

from app.distill import page as distill
from app.distill import run_form, student_form
from app.explore import page as explore
from redistill.training.presets import PRESETS

FACES = PRESETS["faces"].config.student


def test_a_ddpm_from_elsewhere_becomes_the_teacher(places, tmp_path):
    """Its size and prediction fill the form, and what is filled in can be started."""
    folder = saved_ddpm(tmp_path / "theirs")
    said, about, _, refused, _, _, _, student, *rest = distill.take_ddpm(f" {folder} ", "emoji-clutter")
    assert said == refused == "" and "theirs" in about
    assert student["teacher"] == f"ddpm:{folder}" and student["image_size"] == 32
    fields = dict(zip(run_form.FIELDS, rest, strict=False))
    assert fields["dataset"].value == "emoji-faces" and fields["prediction_type"] == "epsilon"
    assert fields["teacher_checkpoint"].value == f"ddpm:{folder}"
    config = run_form.read(student, [getattr(value, "value", value) for value in fields.values()])
    assert config.teacher_checkpoint == config.student.teacher == f"ddpm:{folder}"
    network, *_ = student_form.filled(config.student)
    assert ("DDPM theirs", f"ddpm:{folder}") in network.choices


@pytest.mark.parametrize("source", [None, [], "", "no-such", "someone/else", "x" * 2000])
def test_what_is_no_ddpm_is_a_sentence(places, monkeypatch, source):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    said, *others = distill.take_ddpm(source, "emoji-faces")
    assert "notice" in said and others == [gr.skip()] * len(others)


def test_on_a_space_no_folder_teaches(places, tmp_path, monkeypatch):
    folder = saved_ddpm(tmp_path / "theirs")
    monkeypatch.setenv("SPACE_ID", "someone/redistill")
    assert "not open to visitors" in distill.take_ddpm(str(folder), "emoji-faces")[0]
    with pytest.raises(ValueError, match="is not on offer"):
        student_form.read(FACES.to_dict(), *given(FACES, teacher=f"ddpm:{folder}"))
    assert "No network" in "".join(map(str, explore.show_teacher(f"ddpm:{folder}")))

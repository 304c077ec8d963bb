"""A DDPM from elsewhere as teacher, on the Distill tab."""

from __future__ import annotations

import pytest
from helpers.explore import call
from helpers.forms import read_form, sent, student_values
from helpers.made import saved_ddpm
from huggingface_hub import constants

from app.distill import handlers as distill
from app.distill import student_form
from redistill.training.presets import PRESETS

FACES = PRESETS["faces"].config.student


def test_a_ddpm_from_elsewhere_becomes_the_teacher(places, tmp_path):
    """Its size and prediction fill the form, and what is filled in can be started."""
    folder = saved_ddpm(tmp_path / "theirs")
    form = sent(distill.take_elsewhere(f" {folder} ", "emoji-clutter"))
    assert form["said"] == form["refusal"] == "" and "theirs" in form["about"]
    assert form["student"]["teacher"] == f"ddpm:{folder}" and form["student"]["image_size"] == 32
    assert form["dataset"] == "emoji-faces" and form["prediction_type"] == "epsilon"
    assert form["teacher_checkpoint"] == f"ddpm:{folder}"
    config = read_form(form)
    assert config.teacher_checkpoint == config.student.teacher == f"ddpm:{folder}"
    network = student_form.filled(config.student)["architecture"]
    assert ("DDPM theirs", f"ddpm:{folder}") in network.choices


@pytest.mark.parametrize("source", [None, [], "", "no-such", "someone/else", "x" * 2000])
def test_what_is_no_ddpm_is_a_sentence(places, monkeypatch, source):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    shown = distill.take_elsewhere(source, "emoji-faces")
    assert "notice" in shown["said"] and shown.keys() == {"said"}


def test_on_a_space_no_folder_teaches(places, tmp_path, monkeypatch):
    folder = saved_ddpm(tmp_path / "theirs")
    monkeypatch.setenv("SPACE_ID", "someone/redistill")
    assert "not open to visitors" in distill.take_elsewhere(str(folder), "emoji-faces")["said"]
    with pytest.raises(ValueError, match="is not on offer"):
        student_form.read(FACES.to_dict(), student_values(FACES, teacher=f"ddpm:{folder}"))
    assert "No network" in call("show_teacher", teacher=f"ddpm:{folder}")["summary"]

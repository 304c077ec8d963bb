"""What was trained is what is drawn: a diffusion network draws at the size that its run had, for every preset."""

from __future__ import annotations

import dataclasses
import json

import pytest
from helpers.made import saved_ddpm
from helpers.pictures import write_classes

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import Metadata
from redistill.checkpoint.pipeline import load_unet
from redistill.checkpoint.sources import with_unets
from redistill.common.modules import weightless
from redistill.networks.student import StudentConfig, build_student
from redistill.training.checks import complete
from redistill.training.config import DistillConfig
from redistill.training.loop import distill
from redistill.training.presets import PRESETS
from redistill.training.step import prepare

DRAWING = [name for name, preset in PRESETS.items() if preset.config.student.task == "diffusion"]


@pytest.mark.parametrize("name", DRAWING)
@pytest.mark.parametrize("size", [None, 16, 64, 96])
def test_every_preset_at_its_own_and_other_sizes(name, size):
    config = PRESETS[name].config
    student = config.student if size is None else dataclasses.replace(config.student, image_size=size)
    with weightless():
        assert build_student(student).config.sample_size == student.image_size


@pytest.mark.parametrize("own", [None, 16, [16, 16]])
def test_a_network_from_elsewhere(tmp_path, own):
    source = f"ddpm:{saved_ddpm(tmp_path / 'ddpm', sample_size=own)}"
    student = with_unets(StudentConfig(source, 24, red=None))
    assert build_student(student).config.sample_size == 24


def test_a_run_on_own_pictures_saves_and_shows_the_size_it_trained_at(tmp_path):
    write_classes(tmp_path / "P", {"a": 4, "b": 4})
    ddpm = saved_ddpm(tmp_path / "ddpm", sample_size=None)
    student = StudentConfig(f"ddpm:{ddpm}", 16, red=None)
    config = DistillConfig(student, f"folder:{tmp_path / 'P'}", steps=1, batch_size=2, validate_every=1)
    list(distill(config, tmp_path / "run"))
    folder = tmp_path / "run" / "student"
    assert json.loads((folder / "unet" / "config.json").read_text())["sample_size"] == 16
    assert load_unet(folder).config.sample_size == 16
    teaching = dataclasses.replace(
        config, teacher_checkpoint=f"ddpm:{ddpm}", prediction_type="epsilon", kd_weight=1.0, red_weight=0.0
    )
    problem, _ = prepare(complete(teaching))  # its teacher names no size
    assert problem.model.config.sample_size == 16


def test_a_checkpoint_of_before_draws_at_the_size_it_was_trained_at(tmp_path):
    student = StudentConfig("unet_small", 64, red=None)
    folder = checkpoint.save(build_student(student), Metadata(student, "emoji-faces"), tmp_path / "old")
    file = folder / "unet" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"sample_size": 32}))
    assert load_unet(folder).config.sample_size == checkpoint.load(folder).config.sample_size == 64

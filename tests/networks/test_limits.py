"""Settings from elsewhere are bounded before anything is built from them: nothing here may take time or memory."""

from __future__ import annotations

import json
import shutil

import pytest
from diffusers import DDPMScheduler
from helpers.unets import TINY

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.pipeline import load_scheduler, load_unet
from redistill.checkpoint.sources import find_ddpm
from redistill.common.settings import SettingError
from redistill.networks import student as students
from redistill.networks.student import StudentConfig, build_student
from redistill.networks.unet import UNet
from redistill.training.config import DistillConfig
from redistill.training.presets import PRESETS

HUGE = 10**9
DIGITS = 10**400
UNETS = [
    {"layers_per_block": 3000},
    {"layers_per_block": "2"},
    {"layers_per_block": -1},
    {"block_out_channels": [HUGE] * 4},
    {"block_out_channels": [32] * 4000},
    {"out_channels": HUGE},
    {"in_channels": HUGE},
    {"num_train_timesteps": HUGE},
    {"num_class_embeds": HUGE},
    {"time_embedding_dim": HUGE},
    {"attention_head_dim": DIGITS},
    {"norm_num_groups": 2.5},
    {"pooling_strides": [HUGE] * 4},
    {"downsample_padding": HUGE},
    {"dropout": float("inf")},
    {"act_fn": "x" * 10_000},
    {"down_block_types": ["DownBlock2D"] * 10_000},
    {"red_sites": {f"conv_in{number}": ["out"] for number in range(10_000)}},
]
SCHEDULES = [
    {"num_train_timesteps": HUGE},
    {"num_train_timesteps": "many"},
    {"num_train_timesteps": 0},
    {"trained_betas": [0.1] * 200_000},
    {"beta_schedule": "x" * 10_000},
    {"trained_betas": [0.1]},
    {"trained_betas": [0.1] * 999 + [float("nan")]},
    {"trained_betas": [0.1] * 999 + ["x"]},
    {"trained_betas": [-0.1] * 1000},
    {"trained_betas": [0.001] * 1000, "num_train_timesteps": 2000},
    {"beta_end": 5},
    {"beta_end": float("nan")},
    {"beta_start": -1},
    {"beta_start": True},
    {"beta_start": "0.1"},
    {"lambda_min_clipped": float("inf")},
    {"solver_order": DIGITS},
]
STUDENTS = [
    {"num_classes": HUGE},
    {"num_classes": "ten"},
    {"num_classes": -1},
    {"image_size": HUGE},
    {"image_size": DIGITS},
    {"image_size": "64"},
    {"red": "x"},
    {"red": 1},
    {"red": ["gate"]},
    {"red": {"gate": "x"}},
    {"strides": "x"},
    {"strides": {f"layer{number}": 1 for number in range(5000)}},
    {"teacher": 5},
    {"architecture": ["resnet18"]},
    {"alignment": {}},
    {"unets": "x"},
    {"unets": {"ddpm:x": 1}},
]
RUNS = [
    {"dataset": 5},
    {"dataset": ["x"]},
    {"teacher_checkpoint": {}},
    {"device": None},
    {"steps": HUGE * 10},
    {"steps": DIGITS},
    {"milestones": "x"},
    {"milestones": [DIGITS]},
    {"learning_rate": DIGITS},
    {"student": 5},
    {"student": "x"},
    {"student": []},
]
SHIPPED = PRESETS["quick"].config


def setting_name(settings: dict) -> str:
    return next(iter(settings))


def one_sentence(error: BaseException) -> None:
    text = str(error)
    assert text.strip() and "\n" not in text and len(text) < 1000 and "Traceback" not in text


def edited(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.fixture
def pipeline(tmp_path, untrained, monkeypatch):
    """A checkpoint that draws; from here on no U-Net and no schedule is built."""
    folder = shutil.copytree(untrained / "small", tmp_path / "small")
    for kind in (UNet, DDPMScheduler):
        monkeypatch.setattr(kind, "from_config", classmethod(lambda cls, *given: pytest.fail("it was built")))
    return folder


@pytest.mark.parametrize("settings", UNETS, ids=setting_name)
def test_a_u_net_without_bounds_is_refused_before_it_is_built(pipeline, settings, monkeypatch):
    edited(pipeline / "unet" / "config.json", **settings)
    for read in (load_unet, checkpoint.load, lambda folder: find_ddpm(str(folder))):
        with pytest.raises(ValueError, match=r"describes no usable UNet|not readable JSON") as caught:
            read(pipeline)
        one_sentence(caught.value)
    monkeypatch.setattr(UNet, "__init__", lambda *given, **named: pytest.fail("it was built"))
    name = "ddpm:elsewhere"
    with pytest.raises(ValueError, match="settings") as caught:
        build_student(StudentConfig(name, 16, red=None, unets={name: {**TINY, **settings}}))
    one_sentence(caught.value)


@pytest.mark.parametrize("settings", SCHEDULES, ids=setting_name)
def test_a_noise_schedule_without_bounds_is_refused_before_it_is_built(pipeline, settings):
    edited(pipeline / "scheduler" / "scheduler_config.json", **settings)
    with pytest.raises(ValueError, match=r"describes no usable DDPMScheduler|not readable JSON") as caught:
        load_scheduler(pipeline)
    one_sentence(caught.value)


@pytest.mark.parametrize("settings", STUDENTS, ids=setting_name)
def test_a_student_without_bounds_is_refused_before_it_is_built(tmp_path, untrained, monkeypatch, settings):
    with pytest.raises(ValueError) as caught:
        StudentConfig.from_dict(SHIPPED.student.to_dict() | settings)
    one_sentence(caught.value)
    folder = shutil.copytree(untrained / "emoji-clutter-teacher", tmp_path / "teacher")
    edited(folder / "config.json", student=SHIPPED.student.to_dict() | settings)
    monkeypatch.setattr(students, "build_network", lambda *given: pytest.fail("it was built"))
    with pytest.raises(ValueError) as caught:
        checkpoint.load(folder)
    one_sentence(caught.value)


@pytest.mark.parametrize("settings", RUNS, ids=setting_name)
def test_a_run_of_other_types_or_beyond_all_bounds_is_refused(settings):
    with pytest.raises(ValueError) as caught:
        DistillConfig.from_dict(SHIPPED.to_dict() | settings)
    one_sentence(caught.value)


@pytest.mark.parametrize("name", ["metrics", "training", "dataset", "drawn_from"])
@pytest.mark.parametrize("value", ["x" * 3, 5, ["a"], {"a": 1}])
def test_a_card_of_another_type_is_refused(tmp_path, untrained, name, value):
    if isinstance(value, {"metrics": dict, "training": dict}.get(name, str)):
        return
    folder = shutil.copytree(untrained / "emoji-clutter-teacher", tmp_path / "teacher")
    edited(folder / "config.json", **{name: value})
    with pytest.raises(ValueError, match=f"has the {name}"):
        checkpoint.load(folder)


def test_what_is_trained_is_within_the_bounds():
    for preset in PRESETS.values():
        assert DistillConfig.from_dict(preset.config.to_dict()) == preset.config
    with pytest.raises(SettingError, match=r"at most 2,147,483,647"):
        DistillConfig.from_dict(SHIPPED.to_dict() | {"batch_size": 2**31})

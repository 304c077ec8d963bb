"""Results, runs and checkpoints that tests make without training anything."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

from app.runs.results import OWN, Result
from helpers.unets import TINY
from redistill.training.config import DistillConfig
from redistill.training.presets import PRESETS

RED_KD = PRESETS["default"].config
TEACHER = PRESETS["teacher"].config
FACES = PRESETS["faces"].config


def result(key: str, peak: int, score: float | None, config: DistillConfig = RED_KD, is_tested: bool = True) -> Result:
    return Result(key, key, OWN, "finished", config, peak, score, is_tested and score is not None, seeds=(0,))


def write_checkpoint(folder: Path, config: DistillConfig, **metrics: float) -> None:
    folder.mkdir(parents=True)
    values = {"student": config.student.to_dict(), "dataset": config.dataset, "training": config.to_dict()}
    (folder / "config.json").write_text(json.dumps({"format": 1, "metrics": metrics, **values}))


def write_run(places: Path, name: str, config: DistillConfig, state: str, *records: dict) -> None:
    folder = places / "runs" / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    (folder / "status.json").write_text(json.dumps({"state": state, "step": 5, "steps": config.steps}))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


SCHEDULE = {"num_train_timesteps": 200, "beta_schedule": "linear", "prediction_type": "epsilon"}


def saved_ddpm(folder: Path, schedule: dict = SCHEDULE, **settings) -> Path:
    """A folder with a tiny DDPM of 32 px that diffusers itself has saved; `settings` of its U-Net."""
    torch.manual_seed(0)
    unet = UNet2DModel(**TINY | {"sample_size": 32, "downsample_padding": 0} | settings)
    DDPMPipeline(unet=unet, scheduler=DDPMScheduler(**schedule)).save_pretrained(folder)
    return folder

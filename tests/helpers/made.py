"""Results, runs and checkpoints that tests start from, most of them made without training anything."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from torch import nn

from app.runs.result import OWN, Result
from helpers.unets import TINY
from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import Metadata
from redistill.data import drawn
from redistill.data.datasets import load_split
from redistill.data.source import SPLITS, Split
from redistill.data.table import DATASETS
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig, build_student
from redistill.training.config import DistillConfig
from redistill.training.loop import distill
from redistill.training.presets import CLUTTER_TEACHER, FACES_TEACHER, PHOTOS_TEACHER, PRESETS

RED_KD = PRESETS["default"].config
TEACHER = PRESETS["teacher"].config
FACES = PRESETS["faces"].config


def result(key: str, peak: int, score: float | None, config: DistillConfig = RED_KD, is_tested: bool = True) -> Result:
    return Result(
        key,
        key,
        OWN,
        "finished",
        config,
        peak,
        score,
        is_tested and score is not None,
        () if score is None else (score,),
        (0,),
    )


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


UNTRAINED = {
    CLUTTER_TEACHER: TEACHER,
    FACES_TEACHER: PRESETS["faces-teacher"].config,
    PHOTOS_TEACHER: PRESETS["photos-teacher"].config,
    "small": FACES,
}


def save_untrained(root: Path, configs: dict[str, DistillConfig] = UNTRAINED) -> Path:
    """Checkpoints of networks as they are before training, in a folder for each; `configs` by their names."""
    for name, config in configs.items():
        metrics: dict[str, float] = {"step": config.steps}
        metrics |= {"test_accuracy": 0.5} if config.student.task == "classification" else {"test_prediction_loss": 1.0}
        torch.manual_seed(0)
        metadata = Metadata(config.student, config.dataset, metrics, config.to_dict())
        checkpoint.save(build_student(config.student), metadata, root / name)
    return root


SMALL = StudentConfig("narrow_resnet", 32, 3, {"conv1": 4, "maxpool": 1}, red=REDConfig())  # of three classes


def seasoned(student: StudentConfig = SMALL) -> nn.Module:
    """An untrained student, in eval mode, whose batch norms have seen something."""
    torch.manual_seed(0)
    model = build_student(student)
    model.train()(torch.randn(16, 3, student.image_size, student.image_size))
    return model.eval()


def random_split(count: int) -> Split:
    """Random pictures and labels that SMALL can be asked of."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return Split(images, torch.randint(0, 3, (count,), generator=generator))


def small(**settings) -> DistillConfig:
    """A run of six steps on 48 scenes of 32 px."""
    student = StudentConfig("narrow_resnet", 32, 50, red=None)
    values = {"student": student, "dataset": "emoji-clutter", "steps": 6, "batch_size": 16, "train_limit": 48}
    return DistillConfig(**(values | {"validate_every": 3, "save_every": 2, "seed": 1} | settings))


def train(folder: Path) -> Path:
    """The folder with a finished run of `small`."""
    list(distill(small(), folder))
    return folder


@contextlib.contextmanager
def few_test_pictures() -> Iterator[None]:
    """emoji-clutter with 100 test pictures, two of each class: its 2,000 take longer than all else of a short run."""
    for split in SPLITS:  # of which a short run takes a few: the first whole part is kept, fewer are drawn each time
        load_split("emoji-clutter", split, limit=drawn.CHUNK)
    with mock.patch.dict(DATASETS["emoji-clutter"].split_sizes, test=100):
        yield

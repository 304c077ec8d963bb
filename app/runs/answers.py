"""What a run's student and its teacher say of one picture. No gradio."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from redistill.data.augmentation import shrink
from redistill.data.datasets import find_dataset, load_split
from redistill.networks.zoo import is_network
from redistill.training.config import DistillConfig
from redistill.training.prediction import predict

from . import jobs, run_list

TOP = 5


@dataclass(frozen=True)
class Answer:
    """The likeliest classes of a picture, the likeliest first, or why there are none."""

    who: str  # "student" or "teacher"
    classes: Sequence[tuple[str, float]] = ()  # with their probabilities
    why_not: str = ""


def ask(name: str, picture: str | Path) -> list[Answer]:
    """The answers of a finished run's network, and of its teacher where it has one, which are "student" and "teacher".

    ValueError where the run has no such network, or the picture cannot be read.
    """
    run, config = _classifier(name)
    answers = [Answer("student", _likeliest(run.path / "student", picture))]
    teacher = config.teacher_checkpoint
    if teacher is None:
        return answers
    if is_network(teacher):
        why = f"The teacher is {teacher} with weights from elsewhere, whose classes have other names; it is not asked."
        return [*answers, Answer("teacher", why_not=why)]
    try:
        return [*answers, Answer("teacher", _likeliest(teacher, picture))]
    except (ValueError, OSError):
        return [*answers, Answer("teacher", why_not="The checkpoint of the teacher is not here any more.")]


def draw_test_picture(name: str, folder: Path) -> tuple[Path, str]:
    """One of the run's test pictures at random, as a PNG in `folder`, and the name of its class."""
    _, config = _classifier(name)
    size = config.student.image_size
    split = load_split(config.dataset, "test", size, split_seed=config.split_seed)
    row = random.randrange(len(split))
    pixels = shrink(split.images[row : row + 1], size)[0].permute(1, 2, 0).numpy()
    file = folder / f"test-{row}.png"
    Image.fromarray(pixels).save(file)
    return file, find_dataset(config.dataset, config.split_seed).class_names[int(split.labels[row])]


def _classifier(name: str) -> tuple[jobs.Run, DistillConfig]:
    run = run_list.read_run(name)
    if run.state != "finished":
        raise ValueError(f"Run “{run.title}” is {run.state}; its network answers once it has finished.")
    config = DistillConfig.from_dict(run.config)
    if config.student.task != "classification":
        raise ValueError(f"Run “{run.title}” has a network that draws; look at its pictures on tab Generate.")
    return run, config


def _likeliest(folder: str | Path, picture: str | Path) -> list[tuple[str, float]]:
    (found,) = predict(folder, [picture], TOP)
    if "error" in found:
        raise ValueError(found["error"])
    return [(one["class"], one["probability"]) for one in found["classes"]]

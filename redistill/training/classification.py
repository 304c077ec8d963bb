"""Classifiers: batches, losses and figures for the loop in `distill.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.augmentation import augment, mix, normalize
from ..data.datasets import find_dataset, load_split
from ..data.source import Split
from .config import check_data
from .evaluation import accuracy
from .folding import fold_batch_norms
from .losses import dkd_loss, kd_loss
from .objective import Objective, build_objective, forward_both
from .parallel import ALONE, Processes

if TYPE_CHECKING:
    from .config import DistillConfig


DRAWING_PASSES = 0  # images that pass the network in one call of `draw`


@dataclass
class Problem:
    """What a run learns from: networks on `device`, and data, uint8 images, there too if it has room for them."""

    config: DistillConfig
    model: nn.Module
    teacher: nn.Module | None  # its batch norms folded
    objective: Objective
    train: Split
    validation: Split
    augmentation: str  # kind of `augment`
    device: torch.device
    processes: Processes = ALONE


def prepare(
    config: DistillConfig,
    model: nn.Module,
    teacher: nn.Module | None,
    device: torch.device,
    processes: Processes = ALONE,
) -> Problem:
    """Load the data and align the networks; the test split is not touched before `test`."""
    size = config.student.image_size
    spec = find_dataset(config.dataset, config.split_seed)
    check_data(config.student, spec)
    objective = build_objective(config, model, teacher, (torch.zeros(2, 3, size, size, device=device),), processes)
    if teacher is not None:  # saves up to a third of its pass: MobileNetV2's
        teacher = fold_batch_norms(teacher, objective.teacher_layers)
    for network in filter(None, (model, teacher, objective.adapters)):
        network.to(memory_format=torch.channels_last)  # nearly halves the CPU time of a step of the narrow ResNet
    train = load_split(config.dataset, "train", size, config.train_limit, config.split_seed)
    limit = None if config.train_limit is None else max(1, config.train_limit // 6)
    validation = load_split(config.dataset, "validation", size, limit, config.split_seed)
    kind = config.augmentation or spec.augmentation("classification")
    train, validation = (pictures.to_device_if_room(device) for pictures in (train, validation))
    return Problem(config, model, teacher, objective, train, validation, kind, device, processes)


def losses(problem: Problem, step: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Named loss parts of training step `step`, unweighted scalars."""
    config = problem.config
    images, labels = _batch(problem, step, generator)
    with_kd = problem.teacher is not None and config.kd_weight > 0
    logits, targets, compared = forward_both(
        problem.model, problem.teacher, (images,), problem.objective.comparisons, with_kd, config.precision
    )
    logits = logits.float()  # bf16 under mixed precision, as are the teacher's
    parts = {"task_loss": F.cross_entropy(logits, labels), **compared}
    targets = targets.float() if with_kd else None
    if with_kd and config.kd == "dkd":
        parts["kd_loss"] = dkd_loss(logits, targets, labels, config.temperature, config.dkd_alpha, config.dkd_beta)
    elif with_kd:
        parts["kd_loss"] = kd_loss(logits, targets, config.temperature)
    return parts


def _batch(problem: Problem, step: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """This process' images of a step, float32, and their labels: int64, or probabilities where pictures are mixed.

    Every process changes the whole batch, so that its share looks the same however many there are.
    """
    config, share = problem.config, problem.processes.share
    rows = batch_rows(len(problem.train), config.batch_size, step, config.seed)
    batch = problem.train.take(rows, problem.device)
    images, labels = augment(batch.images, generator, problem.augmentation), batch.labels
    if config.mixup or config.cutmix:
        classes = config.student.classes
        images, labels = mix(normalize(images), labels, classes, generator, config.mixup, config.cutmix)
        images, labels = share(images), share(labels)
    else:
        images, labels = normalize(share(images)), share(labels)
    return images.contiguous(memory_format=torch.channels_last), labels


def validate(problem: Problem, model: nn.Module) -> dict[str, float]:
    """Accuracy on the validation split."""
    return {"accuracy": accuracy(model, problem.validation)}


def score(figures: Mapping[str, float]) -> float:
    """What the best model is chosen by; higher is better."""
    return figures["accuracy"]


def test(problem: Problem, model: nn.Module) -> dict[str, float]:
    """Accuracy on the test split, and on the validation split that chose the model."""
    config = problem.config
    split = load_split(config.dataset, "test", config.student.image_size, split_seed=config.split_seed)
    return {
        "test_accuracy": accuracy(model, split),
        "validation_accuracy": accuracy(model, problem.validation),
    }


def draw(problem: Problem, model: nn.Module, folder: Path, step: int) -> None:
    """A classifier draws nothing."""


def judging_passes(count: int) -> int:
    """How many images pass the network when a split of `count` is judged."""
    return count


def batch_rows(count: int, batch_size: int, step: int, seed: int) -> Tensor:
    """Indices of the images of training step `step`: every epoch is its own shuffle, without a smaller last batch."""
    batch_size = min(batch_size, count)
    epoch, place = divmod(step, count // batch_size)
    return _shuffled(count, seed * 7919 + epoch)[place * batch_size : (place + 1) * batch_size]


@lru_cache(maxsize=2)  # the epoch of a run; ImageNet's takes a tenth of a second to draw
def _shuffled(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))

"""What a run learns from, and what its loop asks of a kind of network: a protocol with two modules that follow it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from ..data.datasets import find_dataset, load_split
from ..data.source import Split
from .config import check_data
from .objective import Objective, build_objective
from .parallel import ALONE, Processes

if TYPE_CHECKING:
    from diffusers import DDPMScheduler

    from .config import DistillConfig


@dataclass
class Problem:
    """What a run learns from: networks on `device`, and pictures (uint8), there too if it has room for them."""

    config: DistillConfig
    model: nn.Module
    teacher: nn.Module | None
    objective: Objective
    train: Split
    validation: Split
    augmentation: str  # the data set's own kind of `augment`; training uses it unless the settings name another
    device: torch.device
    processes: Processes = ALONE
    noise_scheduler: DDPMScheduler | None = None  # of a diffusion network: its forward process


class Task(Protocol):
    """A kind of network: what a batch is, what is learnt from it, and how well that went."""

    PREVIEW_PASSES: int  # images that pass the network in one call of `write_preview`

    def prepare(
        self,
        config: DistillConfig,
        model: nn.Module,
        teacher: nn.Module | None,
        device: torch.device,
        processes: Processes = ALONE,
    ) -> Problem:
        """Load the training and validation pictures and align the networks, which are on the device."""

    def losses(self, problem: Problem, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Named loss parts of training step `step`, unweighted scalars."""

    def judge(self, problem: Problem, model: nn.Module, split: Split) -> dict[str, float]:
        """Figures of a network on a split, the same on every device."""

    def judging_passes(self, count: int) -> int:
        """How many images pass the network when a split of `count` is judged."""

    def score(self, figures: Mapping[str, float]) -> float:
        """What the best model is chosen by, of the figures of `judge`; higher is better."""

    def write_preview(self, problem: Problem, model: nn.Module, folder: Path, step: int) -> None:
        """Write into the folder what the network makes after `step` steps, where one can look at that."""


def load_problem(
    config: DistillConfig,
    model: nn.Module,
    teacher: nn.Module | None,
    example: tuple[Any, ...],
    validation_limit: int | None,
    processes: Processes,
) -> Problem:
    """What both tasks prepare: the pictures of train and validation, and the networks' objective.

    `example` are inputs of both networks, the first of them images, on the run's device. Raises ValueError where
    network and data set do not go together.
    """
    device = example[0].device
    spec = find_dataset(config.dataset, config.split_seed)
    check_data(config.student, spec)
    objective = build_objective(config, model, teacher, example, processes)
    kind = spec.augmentation("classification" if config.student.task == "classification" else "generation")
    train, validation = (
        load_split(config.dataset, split, config.student.image_size, limit, config.split_seed).to_device_if_room(device)
        for split, limit in (("train", config.train_limit), ("validation", validation_limit))
    )
    return Problem(config, model, teacher, objective, train, validation, kind, device, processes)

"""What a run learns from, and what its loop asks of a kind of network: a protocol with three modules that follow it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from ..data.datasets import find_dataset, load_split
from ..data.source import Split
from ..networks.pooling_points import PoolingPoint
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
    class_names: tuple[str, ...] = ()  # of a classifier, by label
    fresh_layers: Sequence[str] = ()  # of the model, which start fresh although there are weights to start from
    teacher_is_judged: bool = False  # it teaches, and its outputs are those of these pictures' classes
    class_weights: Tensor | None = None  # of a picture in losses, by its label; None: all weigh 1
    points: Sequence[PoolingPoint] = ()  # of a network whose strides change at every step: those of its model

    @property
    def networks(self) -> list[nn.Module]:
        """The networks that a step runs: model, teacher and adapters, those that there are."""
        return [network for network in (self.model, self.teacher, self.objective.adapters) if network]


class Task(Protocol):
    """A kind of network: what a batch is, what is learnt from it, and how well that went."""

    PREVIEW_PASSES: int  # images that pass the network in one call of `write_preview`

    def example_inputs(self, image_size: int, device: torch.device) -> tuple[Any, ...]:
        """Inputs of its networks that show which feature maps there are; images first."""

    def validation_limit(self, config: DistillConfig) -> int | None:
        """How many validation pictures choose the best model; None: all there are."""

    def set_up(self, problem: Problem) -> None:
        """Bring the networks into the form in which they train fastest, and add what this task alone needs."""

    def check_networks(self, problem: Problem) -> None:
        """ValueError for networks that nothing can be learnt with, told before a run begins; they run on noise once."""

    def images_a_step(self, problem: Problem) -> int:
        """How many images a step learns from, those of all processes together."""

    def losses(self, problem: Problem, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Named loss parts of training step `step`, unweighted scalars."""

    def judge(self, problem: Problem, model: nn.Module, split: Split) -> dict[str, float]:
        """Figures of a network on a split, the same on every device."""

    def judging_passes(self, count: int) -> int:
        """How many images pass the network when a split of `count` is judged."""

    def score(self, figures: Mapping[str, float]) -> float:
        """What the best model is chosen by, of the figures of `judge`; higher is better."""

    def settle(self, problem: Problem, model: nn.Module) -> None:
        """Bring the best model of a run, in place, into the form that is tested and kept."""

    def write_preview(self, problem: Problem, model: nn.Module, folder: Path, step: int) -> None:
        """Write into the folder what the network makes after `step` steps, where one can look at that."""


def load_problem(
    task: Task,
    config: DistillConfig,
    model: nn.Module,
    teacher: nn.Module | None,
    device: torch.device,
    processes: Processes = ALONE,
) -> Problem:
    """Load the pictures of train and validation, and align the networks, which are on the device.

    Raises ValueError where network and data set do not go together.
    """
    size = config.student.image_size
    spec = find_dataset(config.dataset, config.split_seed)
    check_data(config.student, spec)
    objective = build_objective(config, model, teacher, task.example_inputs(size, device), processes)
    kind = spec.augmentation("classification" if config.student.task == "classification" else "generation")
    train, validation = (
        load_split(config.dataset, split, size, limit, config.split_seed).to_device_if_room(device)
        for split, limit in (("train", config.train_limit), ("validation", task.validation_limit(config)))
    )
    problem = Problem(config, model, teacher, objective, train, validation, kind, device, processes)
    problem.class_names = spec.class_names if config.student.task == "classification" else ()
    task.set_up(problem)
    return problem

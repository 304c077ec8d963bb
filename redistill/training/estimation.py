"""What a run will cost, measured before it starts: a few real steps of it, in memory alone."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..common.devices import available_memory, check_device, describe_device, synchronize
from ..common.values import is_whole
from ..data.datasets import find_dataset
from ..data.source import Split
from .checks import complete
from .config import DistillConfig
from .step import (
    explain_training_memory,
    measured_step,
    prepare,
    settle_precision,
    task_of,
    train_step,
    try_its_teacher,
)

JUDGED_IMAGES = 128  # at most so many validation images are judged to learn how long judging takes


@dataclass(frozen=True)
class Estimate:
    """Time and memory of a run; times are wall-clock seconds on `device`, as busy as it was."""

    seconds: float  # of the whole run: steps, validations with their preview pictures, and the test
    step_seconds: float  # of one step
    validation_seconds: float  # of one validation
    test_seconds: float  # of the judgement at the end
    images_per_second: float  # in training
    training_peak_bytes: int  # most bytes of tensors alive during a step; data, weights and optimizer state included
    available_bytes: int | None  # what the device had left before; None: the system does not say
    device: str
    training_precision: str  # "fp32" or "bf16", chosen by a trial where the settings leave it to the machine
    teacher: Mapping[str, Any] | None = None  # how it does on the validation pictures, see `teacher_trial.try_teacher`

    @property
    def fits(self) -> bool:
        """Whether the device has the memory, as far as it says."""
        return self.available_bytes is None or self.training_peak_bytes <= self.available_bytes

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: the fields, and `fits`."""
        return dataclasses.asdict(self) | {"fits": self.fits}


def estimate(config: DistillConfig, steps: int = 3) -> Estimate:
    """Measure `config` by two steps that warm up, `steps` that are timed and a part of a validation; writes nothing.

    Loading the data set and the teacher is not counted, but has to happen: a set that was never drawn or downloaded
    takes that long here. The global random state is left as it was. Raises ValueError for settings that cannot be
    trained with, and when the device's memory is too small for a step.
    """
    if not is_whole(steps, 1):
        raise ValueError(f"steps is {steps!r}; expected a whole number of at least 1.")
    device = check_device(config.device)
    available = available_memory(device)
    forked = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
    with explain_training_memory(config, device), forked:
        return _measure(config, steps, available)


def _measure(config: DistillConfig, steps: int, available: int | None) -> Estimate:
    config = complete(config)
    problem, state = prepare(config)
    task = task_of(config)
    trial = try_its_teacher(problem)
    settle_precision(problem, state)
    train_step(problem, state)  # makes the optimizer's state, chooses kernels
    measured_step(problem, state)
    step_seconds = statistics.median(_seconds(lambda: train_step(problem, state), problem.device) for _ in range(steps))
    part = Split(problem.validation.images[:JUDGED_IMAGES], problem.validation.labels[:JUDGED_IMAGES])
    judging = _seconds(lambda: task.judge(problem, state.averaged, part), problem.device)
    pass_seconds = judging / task.judging_passes(len(part))
    validation_passes = task.judging_passes(len(problem.validation))
    test_count = find_dataset(config.dataset, config.split_seed).split_sizes["test"]
    validation_seconds = pass_seconds * (validation_passes + task.PREVIEW_PASSES)
    test_seconds = pass_seconds * (task.judging_passes(test_count) + validation_passes)
    validations = -(-config.steps // config.validate_every)
    return Estimate(
        seconds=config.steps * step_seconds + validations * validation_seconds + test_seconds,
        step_seconds=step_seconds,
        validation_seconds=validation_seconds,
        test_seconds=test_seconds,
        images_per_second=task.images_a_step(problem) / step_seconds,
        training_peak_bytes=state.training_peak_bytes,
        available_bytes=available,
        device=describe_device(problem.device),
        training_precision=state.precision,
        teacher=trial,
    )


def _seconds(run: Callable[[], object], device: torch.device) -> float:
    synchronize(device)
    start = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - start

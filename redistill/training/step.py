"""One training step, and the state that goes from step to step.

The step serves classifiers and diffusion U-Nets alike; their modules say what a batch is and what is learnt from it
(see `task.Task`). All randomness of a step comes from (seed, step).
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoint.metadata import Metadata, read_metadata
from ..checkpoint.teacher import load_teacher
from ..common.devices import check_device, explain_out_of_memory
from ..common.modules import BATCH_NORM
from ..common.sentences import listed
from ..common.settings import SettingError
from ..data.datasets import drawn_from, find_dataset
from ..data.twins import learnt_from
from ..memory.measure import training_peak
from ..networks.head import reorder_outputs
from ..networks.student import build_from
from ..networks.zoo import is_network, is_pretrained
from . import any_strides, classification, diffusion
from .begun import Pictures, check_same_pictures
from .checks import check_teacher, is_judged, teacher_places
from .config import DistillConfig
from .leaks import check_draw, check_not_seen
from .parallel import ALONE, Processes
from .precision import choose
from .rounding import round_network
from .task import Problem, Task, load_problem
from .teacher_trial import try_teacher

TASKS: dict[str, Task] = {"classification": classification, "diffusion": diffusion}
RANK_SEED = 500_000_003  # apart from the seeds of steps
NAMED = 4  # layers in a sentence
# Fields of the state that go into the resume point as they are.
PLAIN = ("step", "seconds", "best_score", "validated_step", "training_peak_bytes", "drawn_from")
PLAIN += ("class_names", "precision", "learnt")


@dataclass
class TrainingState:
    """What changes from step to step; `state_dict` is the resume point."""

    model: nn.Module
    averaged: nn.Module  # the EMA copy, or the model itself without EMA
    adapters: nn.Module  # what losses learn along with the model and no checkpoint keeps
    optimizer: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0  # of training and validation, over all sessions of the run
    validated_step: int = 0  # the step that the last validation followed
    best_score: float = -math.inf
    drawn_from: str | None = None  # see `datasets.drawn_from`
    class_names: list[str] = field(default_factory=list)  # of a classifier's pictures, by label
    learnt: dict[str, Any] = field(default_factory=dict)  # which pictures it learns from, see `twins.Learnt`
    steps_before: int = 0  # in which the weights that the run starts from were trained
    best: dict[str, Tensor] = field(default_factory=dict)
    precision: str | None = None  # that the run trains in, see `settle_precision`; None: not chosen yet
    training_peak_bytes: int | None = None  # measured once, in the first step that has all of the optimizer's memory
    in_step: bool = False  # a step has begun and not ended: nothing here is to be saved

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values only."""
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "best": self.best}
        if self.averaged is not self.model:
            state["averaged"] = self.averaged.state_dict()
        state["adapters"] = self.adapters.state_dict()
        return state | {name: getattr(self, name) for name in PLAIN}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`; ValueError where pictures are not the same any more."""
        check_same_pictures(state, Pictures(self.class_names, self.drawn_from, self.learnt))
        self.model.load_state_dict(state["model"])
        self.adapters.load_state_dict(state.get("adapters", {}))  # resume points of older runs have none
        self.optimizer.load_state_dict(state["optimizer"])
        if self.averaged is not self.model:
            self.averaged.load_state_dict(state["averaged"])
        self.best = dict(state["best"])
        older = {"validated_step": state["step"], "training_peak_bytes": None}
        older |= {name: getattr(self, name) for name in ("drawn_from", "class_names", "precision", "learnt")}
        for name in PLAIN:
            setattr(self, name, (older | state)[name])


class NotFiniteError(ValueError):
    """Loss, gradient or weights became infinite or not a number; the message names the step and what to do."""

    def __init__(self, what: str, step: int) -> None:
        super().__init__(
            f"{what} not finite at step {step}, so the run stops with the last good state kept; "
            "lower the learning rate or the loss weights."
        )


def explain_training_memory(config: DistillConfig, device: torch.device) -> AbstractContextManager[None]:
    """A block that trains, where the end of the device's memory becomes a ValueError with the remedy."""
    doing = f"Training with {config.batch_size} images of {config.student.image_size} px a step"
    remedy = "lower the batch size, or choose smaller images or a smaller network"
    return explain_out_of_memory(device, doing, remedy)


def task_of(config: DistillConfig) -> Task:
    """What the run's kind of network learns, and how it is judged."""
    return any_strides if config.stride_vectors else TASKS[config.student.task]


def prepare(
    config: DistillConfig, processes: Processes = ALONE, device: str | None = None
) -> tuple[Problem, TrainingState]:
    """Networks and data on the device, and the state before the first step.

    `device` is this process' own, where there are several. Raises ValueError for settings, a teacher or a device that
    do not fit. Seeds torch's global generator.
    """
    place = check_device(device or config.device)
    if config.batch_size % processes.count:
        raise ValueError(
            f"batch_size is {config.batch_size}, which {processes.count} processes cannot share equally; "
            f"expected a multiple of {processes.count}."
        )
    teacher = card = None
    if config.teacher_checkpoint is not None:
        check_teacher(config)
    splits = drawn_from(config.dataset)  # only now: this may download the pictures
    if config.teacher_checkpoint is not None:
        card = _card(config.teacher_checkpoint)
        check_draw(config, card, splits)
        teacher = (
            load_teacher(config.teacher_checkpoint, pretrained=is_pretrained(config.teacher_checkpoint))
            .to(place)
            .requires_grad_(False)
        )
        names = find_dataset(config.dataset, config.split_seed).class_names
        places = teacher_places(config, card, names)
        if places is not None:
            reorder_outputs(teacher, places, config.student.image_size)
    torch.manual_seed(config.seed)
    weights = teacher if config.init == "teacher" else None
    if config.init == "pretrained":
        weights = load_teacher(config.student.student_architecture, config.student.num_classes, pretrained=True)
    model, fresh = build_from(config.student, weights)
    model.to(place)
    if config.quantize:  # it goes on whole, RED blocks too
        model.load_state_dict(teacher.state_dict())
    problem = load_problem(task_of(config), config, model, teacher, place, processes)
    task_of(config).check_networks(problem)
    if config.quantize:
        problem.model = round_network(problem.model, problem.train)
    problem.fresh_layers = () if config.quantize else tuple(fresh)
    problem.teacher_is_judged = teacher is not None and is_judged(config, card, places, len(names))
    state = start(problem)
    if card is not None:
        check_not_seen(problem, card, splits)
    state.drawn_from, state.class_names = splits, list(problem.class_names)
    state.learnt = learnt_from(problem.train.images).to_dict()
    if config.init == "teacher" and card is not None:
        state.steps_before = card.metrics.get("step", 0) + card.metrics.get("steps_before", 0)
    return problem, state


def try_its_teacher(problem: Problem) -> dict[str, Any] | None:
    """How the run's teacher does on its pictures, see `teacher_trial.try_teacher`."""
    config = problem.config
    card = _card(config.teacher_checkpoint) if config.teacher_checkpoint else None
    return try_teacher(problem, card, TASKS[config.student.task].judge)


def told_of_start(problem: Problem) -> dict[str, str]:
    """`fresh`, a sentence for a record: which layers start fresh in a run that starts from weights. Else nothing."""
    if not problem.fresh_layers:
        return {}
    named = listed(problem.fresh_layers, NAMED)
    whose = "the teacher" if problem.config.init == "teacher" else "the trained network"
    one = len(problem.fresh_layers) == 1
    return {
        "fresh": f"{named} start{'s' if one else ''} from fresh weights, all else from those of {whose}, whose "
        f"{'layer has' if one else 'layers have'} another shape there, such as a first convolution of another kind."
    }


def settle_precision(problem: Problem, state: TrainingState) -> None:
    """Choose what the run computes in, unless a resumed state says it (see `precision.choose`)."""
    if state.precision is None:
        state.precision = choose(problem, task_of(problem.config))
    problem.config = dataclasses.replace(problem.config, precision=state.precision)


def _card(teacher: str) -> Metadata | None:
    """What a teacher's checkpoint says of itself; None for those that are none of ours."""
    return None if is_network(teacher) else read_metadata(teacher)


def train_step(problem: Problem, state: TrainingState) -> dict[str, float]:
    """One optimizer step; returns the loss and its parts, means over the whole batch.

    After NotFiniteError, or any other, the state is not to be used or saved (`state.in_step`).
    """
    state.in_step = True
    config, processes = problem.config, problem.processes
    torch.manual_seed(_step_seed(config.seed, state.step) + processes.rank * RANK_SEED)  # dropout
    generator = torch.Generator(problem.device).manual_seed(_step_seed(config.seed, state.step))
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(config, state.step)
    _train_mode(state.model, config.freeze_batch_norm)
    parts = _losses(problem, state.step, generator)
    weights = config.weights
    loss = sum(weights[name] * value for name, value in parts.items())
    loss.backward()
    values = torch.stack([loss, *parts.values()]).detach()
    values = processes.average([*state.model.parameters(), *state.adapters.parameters()], values)
    norms = []
    if config.grad_clip:
        for trained in (state.model, state.adapters):  # apart, or a new adapter's gradient would shrink the student's
            norms.append(nn.utils.clip_grad_norm_(list(trained.parameters()), config.grad_clip))
    state.optimizer.step()
    state.optimizer.zero_grad(set_to_none=True)  # now, so that the next forward pass does not hold them
    if state.averaged is not state.model:
        update_average(state.averaged, state.model, config.ema_decay, state.step)
    # Only now are figures asked for: on a GPU that waits for all of the step.
    total, *values = values.tolist()
    if not math.isfinite(total):
        raise NotFiniteError(f"The loss is {total},", state.step + 1)
    for norm in norms:
        if not torch.isfinite(norm):
            raise NotFiniteError(f"The gradient's length is {norm.item()},", state.step + 1)
    state.step += 1
    state.in_step = False
    return {"loss": total} | dict(zip(parts, values, strict=True))


def _losses(problem: Problem, step: int, generator: torch.Generator) -> dict[str, Tensor]:
    """The task's losses; a sentence where batch norm has a single value to take its statistics from."""
    try:
        return task_of(problem.config).losses(problem, step, generator)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        config, processes = problem.config, problem.processes
        raise SettingError(
            "{batch_size} is {value}, with maps of a single pixel, so batch norm has one value a channel to learn "
            "from; set it to at least {least}, choose larger images, or set {freeze_batch_norm}.",
            config.batch_size,
            {"least": 2 * processes.count},
        ) from error


def _train_mode(model: nn.Module, freeze_batch_norm: bool) -> None:
    model.train()
    if freeze_batch_norm:
        for module in model.modules():
            if isinstance(module, BATCH_NORM):
                module.eval()


def start(problem: Problem) -> TrainingState:
    """The state before the first step."""
    config, model, adapters = problem.config, problem.model, problem.objective.adapters
    averaged = copy.deepcopy(model).requires_grad_(False) if config.ema_decay else model
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    parameters += adapters.parameters()
    settings = {"lr": config.learning_rate, "weight_decay": config.weight_decay, "fused": True}
    if config.optimizer == "sgd":
        optimizer = torch.optim.SGD(parameters, momentum=0.9, **settings)
    else:
        optimizer = torch.optim.AdamW(parameters, **settings)
    return TrainingState(model, averaged, adapters, optimizer)


def check_weights(state: TrainingState) -> None:
    """NotFiniteError when a parameter or a buffer of the network is infinite or not a number."""
    for name, value in state.model.state_dict().items():
        if not torch.isfinite(value).all():
            raise NotFiniteError(f"{name!r} is", state.step)


def measured_step(problem: Problem, state: TrainingState) -> dict[str, float]:
    """`train_step` that notes the peak memory while training in the state, as `measure.training_peak` counts it."""
    held = held_tensors(problem, state)
    parts, state.training_peak_bytes = training_peak(lambda: train_step(problem, state), held, problem.device)
    return parts


def held_tensors(problem: Problem, state: TrainingState) -> list[Tensor]:
    """All that is on the run's device between two steps: networks, adapters, optimizer state, data, best weights."""
    modules = (state.model, state.averaged, state.adapters, problem.teacher)
    tensors = [tensor for module in modules if module is not None for tensor in module.state_dict().values()]
    tensors += [value for state in state.optimizer.state.values() for value in state.values()]
    tensors += [tensor for split in (problem.train, problem.validation) for tensor in (split.images, split.labels)]
    tensors = [tensor for tensor in (*tensors, *state.best.values()) if isinstance(tensor, Tensor)]
    return [tensor for tensor in tensors if tensor.device.type == problem.device.type]


def learning_rate(config: DistillConfig, step: int) -> float:
    """Learning rate of step `step` (from 0): a linear warm-up, then the schedule's course down from the highest.

    "one-cycle" and "cosine" fall along half a cosine to 0 (Loshchilov and Hutter, SGDR, 2017, equation 5, without
    restarts); "step" multiplies by `gamma` after each milestone.
    """
    warmup = config.steps // 4 if config.schedule == "one-cycle" else config.warmup_steps
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    if config.schedule == "step":
        return config.learning_rate * config.gamma ** sum(step >= milestone for milestone in config.milestones)
    progress = (step - warmup) / max(1, config.steps - warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


@torch.no_grad()
def update_average(averaged: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move `averaged` towards `model` in place: parameters and batch-norm statistics by EMA, counters by copy.

    Early steps use a smaller decay, (1 + step) / (10 + step), so that the random start is soon forgotten.
    """
    decay = min(decay, (1 + step) / (10 + step))
    for target, source in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
        if target.is_floating_point():
            target.lerp_(source, 1 - decay)
        else:
            target.copy_(source)


def _step_seed(seed: int, step: int) -> int:
    return seed * 1_000_003 + step

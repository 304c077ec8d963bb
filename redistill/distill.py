"""Training as an iterator of records: teachers from scratch, students by residual encoded distillation.

The same loop serves classifiers and diffusion U-Nets; `classification.py` and `diffusion.py` say what a batch is,
what is learnt from it and how it is judged. All randomness of a step comes from (seed, step), so that a run resumed
from its last saved step goes on exactly as it would have.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import checkpoint, classification, diffusion
from .datasets import find_dataset
from .evaluate import count_parameters
from .feature_losses import find_feature_loss
from .losses import DISTANCES
from .run import RunFolder
from .student import StudentConfig, build_student

TASKS = {"classification": classification, "diffusion": diffusion}
CHOICES = {
    "init": ("scratch", "teacher"),
    "distance": DISTANCES,
    "kd": ("kl", "dkd"),
    "optimizer": ("adamw", "sgd"),
    "schedule": ("one-cycle", "cosine", "constant"),
    "prediction_type": ("v_prediction", "epsilon"),
}


@dataclass(frozen=True)
class DistillConfig:
    """Every setting of a run. Raises ValueError for a value that cannot be trained with.

    Without `teacher_checkpoint` the network of `student` is trained on the task alone: that is how teachers and
    undistilled students are made.
    """

    student: StudentConfig  # what is trained
    dataset: str  # of the table in datasets.py
    teacher_checkpoint: str | None = None  # folder of the trained teacher
    init: str = "scratch"  # or "teacher": the student starts from the teacher's weights
    task_weight: float = 1.0  # of the task loss: cross entropy, or the error of the predicted noise or velocity
    red_weight: float = 1.0  # of the mean RED loss over aligned feature maps; 0 keeps the blocks and drops the loss
    distance: str = "cosine"  # of the RED loss: "cosine" or "mse"
    kd_weight: float = 0.0  # of distillation at the output: KD of logits, or the error of the teacher's prediction
    kd: str = "kl"  # of logits: "kl" (Hinton et al.) or "dkd" (decoupled, Zhao et al.)
    temperature: float = 4.0  # of KD and DKD
    dkd_alpha: float = 1.0  # DKD's weight of the true class against all others
    dkd_beta: float = 8.0  # DKD's weight of the other classes among themselves
    feature_loss: str | None = None  # one more loss between feature maps, of the table in feature_losses.py
    feature_weight: float | None = None  # of that loss; None: as published
    prediction_type: str = "v_prediction"  # diffusion: what the network predicts
    steps: int = 1320  # optimizer steps
    batch_size: int = 128  # images a step
    optimizer: str = "adamw"  # or "sgd" with momentum 0.9
    learning_rate: float = 3e-3  # at its highest
    weight_decay: float = 1e-2
    schedule: str = "one-cycle"  # or "cosine" (after the warm-up), "constant" (likewise)
    warmup_steps: int = 0  # of linear warm-up; "one-cycle" warms up for a quarter of the steps
    grad_clip: float = 1.0  # largest gradient norm; 0 clips nothing
    ema_decay: float = 0.0  # of the averaged copy that is validated and kept; 0 keeps the trained weights
    train_limit: int | None = None  # use only the first so many training images
    validate_every: int = 110  # steps between validations
    save_every: int = 110  # steps between resume points
    seed: int = 0
    device: str = "cpu"  # or "cuda", "cuda:1", ...

    def __post_init__(self) -> None:
        if isinstance(self.student, Mapping):
            object.__setattr__(self, "student", StudentConfig.from_dict(self.student))
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected one of {list(choices)}.")
        for name in ("steps", "batch_size", "validate_every", "save_every", "train_limit"):
            value = getattr(self, name)
            if value is None and name == "train_limit":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} is {value!r}; expected a whole number of at least 1.")
        for name in ("task_weight", "red_weight", "kd_weight", "dkd_alpha", "dkd_beta", "weight_decay", "grad_clip"):
            _check_number(name, getattr(self, name), low=0)
        if self.feature_weight is not None:
            _check_number("feature_weight", self.feature_weight, low=0, exclusive=True)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not 0 <= self.seed < 2**31:
            raise ValueError(f"seed is {self.seed!r}; expected a whole number from 0 to {2**31 - 1}.")
        for name in ("learning_rate", "temperature"):
            _check_number(name, getattr(self, name), low=0, exclusive=True)
        for name in ("warmup_steps", "ema_decay"):
            _check_number(name, getattr(self, name), low=0)
        if not self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay!r}; expected a number from 0 up to, not including, 1.")
        if self.feature_loss is not None:
            find_feature_loss(self.feature_loss)
        if self.teacher_checkpoint is None and (self.init == "teacher" or self.kd_weight > 0 or self.feature_loss):
            raise ValueError(
                "Starting from the teacher, KD and feature losses need a teacher; give its checkpoint folder."
            )
        if self.kd == "dkd" and self.student.task != "classification":
            raise ValueError("kd is 'dkd', which takes class labels apart; expected 'kl' for a diffusion network.")
        task = find_dataset(self.dataset).task
        if (task == "classification") != (self.student.task == "classification"):
            raise ValueError(
                f"Data set {self.dataset!r} is for {task}, but {self.student.student_architecture!r} is a network for "
                f"{self.student.task}; choose a matching pair."
            )

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each loss part in the total loss, by the part's name."""
        feature = find_feature_loss(self.feature_loss).weight if self.feature_loss else 0.0
        return {
            "task_loss": self.task_weight,
            "red_loss": self.red_weight,
            "feature_loss": feature if self.feature_weight is None else self.feature_weight,
            "kd_loss": self.kd_weight,
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, keyed by field name."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DistillConfig:
        """Rebuild from `to_dict`; ValueError for a missing or unknown key."""
        known = [item.name for item in dataclasses.fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ValueError(f"Unknown run setting {unknown[0]!r}; expected one of {known}.")
        for name in ("student", "dataset"):
            if name not in values:
                raise ValueError(f"The run's configuration has no {name!r}; it needs 'student' and 'dataset'.")
        return cls(**values)


def _check_number(name: str, value: Any, low: float, exclusive: bool = False) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < low or (exclusive and value == low):
        raise ValueError(f"{name} is {value!r}; expected a number {'above' if exclusive else 'of at least'} {low}.")


@dataclass
class TrainingState:
    """What changes from step to step; `state_dict` is the resume point."""

    model: nn.Module
    averaged: nn.Module  # the EMA copy, or the model itself without EMA
    adapters: nn.Module  # what losses learn along with the model and no checkpoint keeps
    optimizer: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0  # of training and validation, over all sessions of the run
    best_score: float = -math.inf
    best: dict[str, Tensor] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values only."""
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), "best": self.best}
        if self.averaged is not self.model:
            state["averaged"] = self.averaged.state_dict()
        state["adapters"] = self.adapters.state_dict()
        return state | {"step": self.step, "seconds": self.seconds, "best_score": self.best_score}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.model.load_state_dict(state["model"])
        self.adapters.load_state_dict(state.get("adapters", {}))  # resume points of older runs have none
        self.optimizer.load_state_dict(state["optimizer"])
        if self.averaged is not self.model:
            self.averaged.load_state_dict(state["averaged"])
        self.best, self.best_score = dict(state["best"]), state["best_score"]
        self.step, self.seconds = state["step"], state["seconds"]


def distill(config: DistillConfig, run_dir: str | Path) -> Iterator[dict[str, Any]]:
    """Train, yielding records that are also appended to the run's metrics.jsonl.

    Records are dicts with `kind` and `step`: "step" (loss, its named parts, learning_rate, images_per_second),
    "validation" (its figures) and, last, "final" (test figures, parameters, seconds). A folder with an unfinished run
    of the same settings is continued; a finished one yields nothing. Closing the iterator, or a file named `stop` in
    the folder, stops the run with its state saved. The best model by validation ends in `run_dir/student`.

    Raises ValueError for settings that do not fit and for a loss that is not finite, OSError when the disk fails;
    the state saved last stays, and status.json says what happened.
    """
    # A folder may hold a run from before a setting existed; it was run with what is the default now.
    run = RunFolder(run_dir, config.to_dict(), complete=lambda stored: DistillConfig.from_dict(stored).to_dict())
    if run.finished():
        run.close()
        return
    stop_file = run.path / "stop"
    step = 0
    try:
        stop_file.unlink(missing_ok=True)
        run.write_status("running", step, config.steps)
        with contextlib.closing(_train(config, run)) as records:
            for record in records:
                step = record["step"]
                yield record
                if stop_file.exists() and record["kind"] != "final":
                    break
        run.write_status("finished" if record["kind"] == "final" else "stopped", step, config.steps)
    except (GeneratorExit, KeyboardInterrupt):
        run.write_status("stopped", step, config.steps)
        raise
    except Exception as error:
        with contextlib.suppress(OSError):  # on a full disk the error itself still reaches the caller
            run.write_status("failed", step, config.steps, error=(str(error).splitlines() or [repr(error)])[0])
        raise
    finally:
        run.close()


class NotFiniteLossError(ValueError):
    """The loss became infinite or not a number; the message names the step and what to do."""


def _train(config: DistillConfig, run: RunFolder) -> Iterator[dict[str, Any]]:
    device = check_device(config.device)
    task = TASKS[config.student.task]
    teacher = None
    if config.teacher_checkpoint is not None:
        teacher = checkpoint.load(config.teacher_checkpoint).to(device).requires_grad_(False)
    torch.manual_seed(config.seed)
    model = build_student(config.student, weights=teacher if config.init == "teacher" else None).to(device)
    problem = task.prepare(config, model, teacher, device)
    state = _start(config, model, problem.objective.adapters)
    resume_point = run.load_resume_point()
    if resume_point is not None:
        state.load_state_dict(resume_point)
    try:
        yield from _steps(config, run, task, problem, state)
    except NotFiniteLossError:
        raise  # batch-norm statistics have seen the bad batch: the resume point before it stays
    except BaseException:
        run.save_resume_point(state.state_dict())
        raise
    run.save_resume_point(state.state_dict())
    yield _finish(config, run, task, problem, state)


def _steps(config: DistillConfig, run: RunFolder, task, problem, state: TrainingState) -> Iterator[dict[str, Any]]:
    heartbeat = 0.0
    while state.step < config.steps:
        started = time.perf_counter()
        parts = _step(config, task, problem, state)
        elapsed = time.perf_counter() - started
        state.seconds += elapsed
        record = {"kind": "step", "step": state.step, **parts, "learning_rate": learning_rate(config, state.step - 1)}
        record["images_per_second"] = round(config.batch_size / elapsed, 2)
        run.append(record)
        if time.time() - heartbeat > 1:
            heartbeat = time.time()
            run.write_status("running", state.step, config.steps)
        yield record
        if state.step % config.validate_every == 0 or state.step == config.steps:
            record = _validate(config, run, task, problem, state)
            run.append(record)
            yield record
        if state.step % config.save_every == 0 and state.step < config.steps:
            run.save_resume_point(state.state_dict())


def _step(config: DistillConfig, task, problem, state: TrainingState) -> dict[str, float]:
    """One optimizer step; returns the loss and its parts."""
    torch.manual_seed(_step_seed(config.seed, state.step))  # dropout
    generator = torch.Generator(problem.device).manual_seed(_step_seed(config.seed, state.step))
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(config, state.step)
    state.model.train()
    parts = task.losses(problem, state.step, generator)
    weights = config.weights
    loss = sum(weights[name] * value for name, value in parts.items())
    if not torch.isfinite(loss):
        raise NotFiniteLossError(
            f"The loss is {loss.item()} at step {state.step + 1}, so the run stops with the last good state kept; "
            "lower the learning rate or the loss weights."
        )
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if config.grad_clip:
        for trained in (state.model, state.adapters):  # apart, or a new adapter's gradient would shrink the student's
            nn.utils.clip_grad_norm_(list(trained.parameters()), config.grad_clip)
    state.optimizer.step()
    if state.averaged is not state.model:
        update_average(state.averaged, state.model, config.ema_decay, state.step)
    state.step += 1
    return {"loss": loss.item()} | {name: value.item() for name, value in parts.items()}


def _validate(config: DistillConfig, run: RunFolder, task, problem, state: TrainingState) -> dict[str, Any]:
    started = time.perf_counter()
    figures = task.validate(problem, state.averaged)
    score = task.score(figures)
    if score > state.best_score:
        state.best_score = score
        state.best = {name: value.detach().cpu().clone() for name, value in state.averaged.state_dict().items()}
    task.draw(problem, state.averaged, run.path / "samples", state.step)
    state.seconds += time.perf_counter() - started
    return {"kind": "validation", "step": state.step, **figures}


def _finish(config: DistillConfig, run: RunFolder, task, problem, state: TrainingState) -> dict[str, Any]:
    """Judge the best model on the test split, once, and write the checkpoint."""
    model = copy.deepcopy(state.averaged)
    model.load_state_dict(state.best)
    figures = task.test(problem, model)
    record = {"kind": "final", "step": state.step, **figures, "seconds": round(state.seconds, 1)}
    record["parameters"] = count_parameters(model)
    record["device"] = describe_device(problem.device)
    metadata = checkpoint.Metadata(
        student=config.student, dataset=config.dataset, metrics=record, training=config.to_dict()
    )
    checkpoint.save(model, metadata, run.path / "student")
    run.append(record)
    return record


def _start(config: DistillConfig, model: nn.Module, adapters: nn.Module) -> TrainingState:
    averaged = copy.deepcopy(model).requires_grad_(False) if config.ema_decay else model
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    parameters += adapters.parameters()
    if config.optimizer == "sgd":
        optimizer = torch.optim.SGD(parameters, config.learning_rate, momentum=0.9, weight_decay=config.weight_decay)
    else:
        optimizer = torch.optim.AdamW(parameters, config.learning_rate, weight_decay=config.weight_decay)
    return TrainingState(model, averaged, adapters, optimizer)


def learning_rate(config: DistillConfig, step: int) -> float:
    """Learning rate of step `step` (from 0): a linear warm-up, then the schedule's course down from the highest."""
    warmup = config.steps // 4 if config.schedule == "one-cycle" else config.warmup_steps
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
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


def check_device(name: str) -> torch.device:
    """The device of that name; ValueError when there is none on this machine."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"Device is {name!r}; expected 'cpu', 'cuda' or 'cuda:0', 'cuda:1', ...") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"Device {name!r} is not here; this machine has {torch.cuda.device_count()} CUDA devices.")
    return device


def describe_device(device: torch.device) -> str:
    """What a figure was made on, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{threads} thread{'s' if threads > 1 else ''} of {_processor()}"


def _processor() -> str:
    with contextlib.suppress(OSError):  # Linux alone has this file
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _step_seed(seed: int, step: int) -> int:
    return seed * 1_000_003 + step

"""Training as an iterator of records: teachers from scratch, students by residual encoded distillation.

The same loop serves classifiers and diffusion U-Nets; `classification.py` and `diffusion.py` say what a batch is,
what is learnt from it and how it is judged. All randomness of a step comes from (seed, step), so that a run resumed
from its last saved step goes on exactly as it would have.
"""

from __future__ import annotations

import contextlib
import copy
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
from .config import DistillConfig, check_teacher
from .evaluate import count_parameters
from .run import RunFolder
from .student import build_student
from .teachers import load_teacher

TASKS = {"classification": classification, "diffusion": diffusion}


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
        check_teacher(config)
        teacher = load_teacher(config.teacher_checkpoint).to(device).requires_grad_(False)
    torch.manual_seed(config.seed)
    weights = teacher if config.init == "teacher" else None
    if config.init == "pretrained":
        weights = load_teacher(config.student.student_architecture, config.student.num_classes, pretrained=True)
    model = build_student(config.student, weights=weights).to(device)
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

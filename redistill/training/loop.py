"""Training as an iterator of records: teachers from scratch, students by residual encoded distillation.

`step.py` has the step; here is what stands around it: the run folder, validation, resuming, the test at the end.
All randomness of a step comes from (seed, step), so that a run resumed from its last saved step goes on exactly as it
would have.
"""

from __future__ import annotations

import contextlib
import copy
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..checkpoint import folder as checkpoint
from ..checkpoint.metadata import Metadata
from ..common.devices import check_device, describe_device
from ..common.disk import sentence
from ..common.files import read_json, write_json
from .begun import check_same_settings
from .checks import check_run_folder, complete
from .config import DistillConfig
from .evaluation import count_parameters, final_figures, inference_peaks, left_out, rounded_accuracy
from .parallel import STOP, Processes, StoppedElsewhere, join
from .precision import AUTO, FULL
from .run import CLASSES, CONFIG, STOP_FILE, RunFolder
from .step import (
    TrainingState,
    check_weights,
    explain_training_memory,
    learning_rate,
    measured_step,
    prepare,
    settle_precision,
    task_of,
    told_of_start,
    train_step,
    try_its_teacher,
)
from .task import Problem
from .teacher_trial import check_trial


def distill(config: DistillConfig, run_dir: str | Path) -> Iterator[dict[str, Any]]:
    """Train, yielding records that are also appended to the run's metrics.jsonl.

    Records are dicts with `kind` and `step`: "step" (loss, its named parts, learning_rate, images_per_second; the first
    also images_a_step and `teacher`: how that does on the validation pictures, see `teacher_trial.try_teacher`),
    "validation" (its figures) and, last, "final" (test figures, parameters, seconds, peak bytes). A folder with an
    unfinished run of the same settings is continued; a finished one yields nothing. Closing the iterator, or a file
    named `stop` in the folder, stops the run with its state saved. The best model by validation ends in
    `run_dir/student`.

    Among several processes (see parallel.py) the main one alone writes, validates and yields all of that; the others
    yield steps. They stop and fail together.

    Raises ValueError for settings that do not fit and for a loss that is not finite, OSError when the disk fails;
    the state saved last stays, and status.json says what happened.
    """
    processes, device = join(config.device)
    with contextlib.suppress(StoppedElsewhere), processes.together():
        check_run_folder(config, run_dir)
        config = complete(_in_the_numbers_begun(config, Path(run_dir)))
        if processes.main:
            # A folder may hold a run from before a setting existed; it was run with what is the default now.
            # Whether a bad teacher is accepted may be said later: nothing was trained before.
            adopt = lambda stored: complete(  # noqa: E731
                replace(DistillConfig.from_dict(stored), accept_teacher=config.accept_teacher)
            ).to_dict()
            with contextlib.closing(RunFolder(run_dir, config.to_dict(), adopt)) as run:
                processes.agree()
                if not processes.broadcast(run.finished()):
                    yield from _lead(config, run, processes, device)
        else:
            processes.agree()
            if not processes.broadcast(None):
                yield from _follow(config, processes, device)


def _in_the_numbers_begun(config: DistillConfig, run_dir: Path) -> DistillConfig:
    """`config`, which may leave its numbers to the machine, with those that the run in the folder was given."""
    if config.precision != AUTO or not (run_dir / CONFIG).exists():
        return config
    return replace(config, precision=read_json(run_dir / CONFIG).get("precision", FULL))


def _lead(config: DistillConfig, run: RunFolder, processes: Processes, device: str) -> Iterator[dict[str, Any]]:
    """Train and keep status.json."""
    stop_file = run.path / STOP_FILE
    step = 0
    try:
        stop_file.unlink(missing_ok=True)
        step = run.resume_step()
        run.write_status("running", step, config.steps)
        records = _train(config, run, processes, device)
        with explain_training_memory(config, check_device(device)), contextlib.closing(records):
            for record in records:
                step = record["step"]
                yield record
                if stop_file.exists() and record["kind"] != "final":
                    break
        finished = record["kind"] == "final"
        run.write_status("finished" if finished else "stopped", step, config.steps)
        if not finished:
            processes.agree(STOP)
    except (GeneratorExit, KeyboardInterrupt, StoppedElsewhere):
        run.write_status("stopped", step, config.steps)
        raise
    except Exception as error:
        with contextlib.suppress(OSError):  # on a full disk the error itself still reaches the caller
            run.write_status("failed", step, config.steps, error=sentence(error))
        raise


def _follow(config: DistillConfig, processes: Processes, device: str) -> Iterator[dict[str, Any]]:
    """Take every step that the main process takes."""
    with explain_training_memory(config, check_device(device)):
        problem, state = prepare(config, processes, device)
        processes.agree()
        state.load_state_dict(processes.broadcast(None))
        settle_precision(problem, state)
        while state.step < config.steps:
            yield _advance(problem, state)


def _train(config: DistillConfig, run: RunFolder, processes: Processes, device: str) -> Iterator[dict[str, Any]]:
    problem, state = prepare(config, processes, device)
    resume_point = run.load_resume_point()
    if resume_point is not None:
        check_same_settings(resume_point, config)
        state.load_state_dict(resume_point)
    trial = try_its_teacher(problem) if state.step == 0 else None
    check_trial(config, trial)
    settle_precision(problem, state)
    processes.agree()
    processes.broadcast(state.state_dict())
    try:
        beside = {"teacher": trial} if trial else {}
        beside |= told_of_start(problem) | {"images_a_step": task_of(config).images_a_step(problem)}
        beside |= left_out(train=problem.train, validation=problem.validation)
        yield from _steps(run, config, problem, state, beside)
    except BaseException:
        if not state.in_step:  # a step that was broken off has changed batch-norm statistics, or weights
            _save(run, config, state)
        raise
    _save(run, config, state)
    yield _finish(run, problem, state)


def _steps(
    run: RunFolder, config: DistillConfig, problem: Problem, state: TrainingState, beside_first: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Records up to the last validation; that of the run's first step also holds `beside_first`.

    `config` has the settings as the run folder has them, where the numbers may be left to the machine; the problem's
    are settled.
    """
    heartbeat = -math.inf  # by a clock that is never set
    while True:
        due = state.step % config.validate_every == 0 or state.step == config.steps
        if due and state.validated_step < state.step:  # a run that was stopped just before validates first
            record = _validate(run, problem, state)
            run.append(record)
            yield record
        if state.step == config.steps:
            return
        if state.step and state.step % config.save_every == 0:
            _save(run, config, state)
        record = _advance(problem, state)
        if state.step == 1:
            record |= beside_first
        run.append(record)
        if time.monotonic() - heartbeat > 1:
            heartbeat = time.monotonic()
            run.write_status("running", state.step, config.steps)
        yield record


def _advance(problem: Problem, state: TrainingState) -> dict[str, Any]:
    """One step, if all processes are ready for it; its record."""
    config = problem.config
    problem.processes.agree()
    # The optimizer has all of its memory after its first step.
    measuring = state.training_peak_bytes is None and (state.step > 0 or config.steps == 1)
    started = time.perf_counter()
    parts = (measured_step if measuring else train_step)(problem, state)
    elapsed = time.perf_counter() - started
    state.seconds += elapsed
    record = {"kind": "step", "step": state.step, **parts, "learning_rate": learning_rate(config, state.step - 1)}
    images = task_of(config).images_a_step(problem)
    return record | {"images_per_second": round(images / elapsed, 2)}


def _save(run: RunFolder, config: DistillConfig, state: TrainingState) -> None:
    """Write the resume point, unless the weights are spoilt: a loss can be finite when its gradient is not."""
    check_weights(state)
    run.save_resume_point(state.state_dict() | {"config": config.to_dict()})


def _validate(run: RunFolder, problem: Problem, state: TrainingState) -> dict[str, Any]:
    task, started = task_of(problem.config), time.perf_counter()
    figures = task.judge(problem, state.averaged, problem.validation)
    score = task.score(figures)
    if score > state.best_score:
        state.best_score = score
        state.best = {name: value.detach().cpu().clone() for name, value in state.averaged.state_dict().items()}
    with run.explained():
        task.write_preview(problem, state.averaged, run.path / "samples", state.step)
    state.validated_step = state.step
    state.seconds += time.perf_counter() - started
    return {"kind": "validation", "step": state.step, **figures}


def _finish(run: RunFolder, problem: Problem, state: TrainingState) -> dict[str, Any]:
    """Judge the best model on the test split, once, and write the checkpoint."""
    config, model = problem.config, copy.deepcopy(state.averaged)
    model.load_state_dict(state.best)
    task_of(config).settle(problem, model)
    in_int8, ranges = {}, []
    if config.quantize:
        in_int8, ranges = rounded_accuracy(problem, model), model.ranges
        model = model.model
    figures, of_classes = final_figures(problem, model)
    record = {"kind": "final", "step": state.step, **figures, **in_int8, "seconds": round(state.seconds, 1)}
    if state.steps_before:
        record["steps_before"] = state.steps_before
    record["parameters"] = count_parameters(model)
    record |= inference_peaks(model, config.student.image_size)
    record["training_peak_bytes"] = state.training_peak_bytes
    record["training_precision"] = state.precision
    record["device"] = describe_device(problem.device)
    metadata = Metadata(
        student=config.student,
        dataset=config.dataset,
        metrics=record,
        training=config.to_dict(),
        drawn_from=state.drawn_from,
        learnt=state.learnt,
        class_names=problem.class_names,
        ranges=ranges,
    )
    with run.explained():
        checkpoint.save(model, metadata, run.path / "student", problem.noise_scheduler)
        if of_classes:
            write_json(run.path / CLASSES, of_classes)
    run.append(record)
    return record

"""A run that goes on otherwise than it began, its history kept; and the network of one that has not come to its end."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..checkpoint import folder as checkpoint
from ..checkpoint.metadata import Metadata
from ..common.devices import check_device
from ..common.files import read_json, write_json
from ..data.datasets import drawn_from, find_dataset, load_split
from ..data.table import DATASETS
from ..data.twins import learnt_from
from ..networks.student import build_student
from .begun import Pictures, check_same_pictures, check_same_settings
from .checks import check_teacher, complete
from .config import CHANGEABLE, DistillConfig
from .diffusion import teaching_schedule
from .rounding import taken_apart
from .run import CONFIG, RunFolder
from .run_state import best_validation

CHANGES = "changes.jsonl"  # in the run folder: when what became another


def change_run(run_dir: str | Path, changes: Mapping[str, Any]) -> list[str]:
    """Give a run that does not go other settings, by name, and return a sentence for each that is another now.

    `distill` with the settings that `config.json` has then goes on from the resume point, a finished run too where it
    has more steps now. Records stay in `metrics.jsonl`; the folder's `changes.jsonl` says what became another at which
    step. Raises ValueError for a setting that is not in CHANGEABLE or does not fit, for fewer steps than the run has
    taken, for pictures that are not those it began with, and while another process has it; nothing is changed then.
    """
    with _held(run_dir) as (run, stored):
        unknown = sorted(set(changes) - set(CHANGEABLE))
        if unknown:
            raise ValueError(f"{unknown[0]} of a run cannot change; expected some of {', '.join(CHANGEABLE)}.")
        config = dataclasses.replace(stored, **changes)
        changed = {
            name: [getattr(stored, name), getattr(config, name)]
            for name in CHANGEABLE
            if getattr(stored, name) != getattr(config, name)
        }
        if not changed:
            return []
        point = run.load_resume_point() or {}
        check_same_settings(point, stored)
        step = point.get("step", 0)
        if run.finished() and "steps" not in changed:
            raise ValueError(f"The run has come to its end at step {step}; to go on it needs more steps too.")
        if config.steps < step + run.finished():
            raise ValueError(f"steps is {config.steps}, but the run has taken {step}; expected more.")
        check_device(config.device)
        check_teacher(config)
        if "dataset" in changed:
            _check_pictures(stored, config, point)
        else:
            _check_place(config)
        with run.explained():
            if run.finished():  # first: killed after it, the run ends again as it had
                run.write_status("stopped", step, config.steps)
            with _noted(run.path / CHANGES, {"step": step, "time": time.time(), "changed": changed}):
                write_json(run.path / CONFIG, config.to_dict())
    told = [f"{name}: {before} until step {step}, {now} from there on." for name, (before, now) in changed.items()]
    if "steps" in changed and config.schedule != "constant":
        told.append(f"The learning rate follows the {config.schedule} schedule of {config.steps} steps from there on.")
    return told


def save_student(run_dir: str | Path) -> Path:
    """Write `student/`, the checkpoint of a run that was stopped, failed or killed: its best network so far.

    It is the best by validation, or before the first validation the one of the resume point. Of its figures there are
    the step and the best validation: test pictures are for the end of a run. ValueError for a run that has saved no
    resume point, that goes, or that draws its strides anew at each step.
    """
    with _held(run_dir) as (run, config):
        if run.finished():
            return run.path / "student"
        point = run.load_resume_point()
        if point is None:
            raise ValueError(f"Run {run.path.name} has saved no resume point yet; let it take more steps first.")
        if config.stride_vectors:
            raise ValueError("A network for every budget is measured at its end only; let the run come to it.")
        model = build_student(config.student)
        kept, ranges = point["best"] or point.get("averaged") or point["model"], []
        if config.quantize:
            kept, ranges = taken_apart(kept)
        model.load_state_dict(kept)
        figure = "accuracy" if config.student.task == "classification" else "prediction_loss"
        metrics = {"kind": "stopped", "step": point["step"], f"validation_{figure}": best_validation(run.path, figure)}
        metadata = Metadata(
            student=config.student,
            dataset=config.dataset,
            metrics={name: value for name, value in metrics.items() if value is not None},
            training=config.to_dict(),
            drawn_from=point.get("drawn_from"),
            learnt=point.get("learnt") or {},
            class_names=point.get("class_names") or (),
            ranges=ranges,
        )
        schedule = teaching_schedule(config) if config.student.task == "diffusion" else None
        with run.explained():
            return checkpoint.save(model.eval(), metadata, run.path / "student", schedule)


@contextlib.contextmanager
def _noted(path: Path, record: Mapping[str, Any]) -> Iterator[None]:
    """A line more in a file, and after the block none more where either could not be written."""
    before = path.stat().st_size if path.exists() else None
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        yield
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True) if before is None else os.truncate(path, before)
        raise


@contextlib.contextmanager
def _held(run_dir: str | Path) -> Iterator[tuple[RunFolder, DistillConfig]]:
    """A run's folder, which no other process has meanwhile, and its settings."""
    path = Path(run_dir)
    values = read_json(path / CONFIG, "the folder of a run, which holds that file")
    if "format" in values:
        raise ValueError(f"{path} holds a checkpoint and no run; expected the folder of a run, as the one around it.")
    stored = complete(DistillConfig.from_dict(values))
    adopt = lambda values: complete(DistillConfig.from_dict(values)).to_dict()  # noqa: E731
    with contextlib.closing(RunFolder(path, stored.to_dict(), adopt)) as run:
        yield run, stored


def _check_place(config: DistillConfig) -> None:
    """ValueError, which names the way out, where the run's pictures are not where they were."""
    try:
        find_dataset(config.dataset, config.split_seed)
    except ValueError as error:
        raise ValueError(f"{error} If the run's pictures lie elsewhere now, give that as its dataset.") from error


def _check_pictures(stored: DistillConfig, config: DistillConfig, point: Mapping[str, Any]) -> None:
    """ValueError where the pictures are not the run's own at another place."""
    if stored.dataset in DATASETS or config.dataset in DATASETS:
        raise ValueError(
            f"The run learns from {stored.dataset}, not from {config.dataset}; expected its own pictures, where they "
            "lie now, or a new run."
        )
    student, seed = config.student, config.split_seed
    train = load_split(config.dataset, "train", student.image_size, config.train_limit, seed)
    names = find_dataset(config.dataset, seed).class_names if student.task == "classification" else ()
    now = Pictures(names, drawn_from(config.dataset), learnt_from(train.images).to_dict())
    try:
        check_same_pictures(point, now)
    except ValueError as error:
        raise ValueError(f"{config.dataset} does not hold the run's own pictures: {error}") from error

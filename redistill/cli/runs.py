"""Commands of runs: train, distill, train-any, quantize, resume, keep, estimate."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..common.devices import keep_freed_memory
from ..common.files import read_json
from ..data.datasets import find_dataset
from ..training.config import CHANGEABLE, DistillConfig
from ..training.estimation import estimate
from ..training.int8_training import OPEN, int8_run
from ..training.loop import distill
from ..training.resuming import change_run, save_student
from ..training.run import CONFIG
from ..training.run_copy import copied
from .options import AddCommand, add_option, add_setting_options, as_options, run_config

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C, and a stop by the system or another program


def add_commands(add: AddCommand) -> None:
    """Those of this module."""
    _add_training(add("train", _train, "train a teacher, or a student without distillation"), "teacher")
    _add_training(add("distill", _train, "distil a student from a trained teacher"), "default")
    told = "train one network for every memory budget: its strides can be chosen afterwards"
    _add_training(add("train-any", _train_any, told), "any-strides")
    tuning = add("quantize", _quantize, "go on with a trained classifier as in int8, for where rounding costs accuracy")
    tuning.add_argument("network", help="folder or name of a checkpoint, or folder of a finished run")
    tuning.add_argument("--run-dir", type=Path, help="folder of the run (default: runs/NAME-int8-SEED)")
    add_setting_options(tuning, OPEN)
    resuming = add("resume", _resume, "go on with a run, longer or otherwise than it began; what changes is told")
    resuming.add_argument("folder", type=Path, help="folder of the run")
    add_setting_options(resuming, CHANGEABLE)
    keeping = add("keep", _keep, "write the checkpoint of a run that has not come to its end: its best network so far")
    keeping.add_argument("folder", type=Path, help="folder of the run")
    estimating = add("estimate", _estimate, "time and peak memory of a run, measured by a few of its steps")
    add_run_options(estimating, "default", has_folder=False)


def add_run_options(command: argparse.ArgumentParser, preset: str, has_folder: bool = True) -> None:
    """Options of a run, read by `run_config` and `run_folder`."""
    add_option(command, "--preset", preset, "settings to start from")
    command.add_argument("--config", type=Path, help="all settings from a run's config.json instead of a preset")
    if has_folder:
        command.add_argument("--run-dir", type=Path, help="folder of the run (default: runs/PRESET-SEED)")
    add_setting_options(command)


def _add_training(command: argparse.ArgumentParser, preset: str) -> None:
    add_run_options(command, preset)
    told = "keep a copy of it there, such as in a mounted bucket; a run that is not here begins with that copy"
    command.add_argument("--copy-to", type=Path, metavar="FOLDER", help=told)


def run_folder(options: argparse.Namespace, config: DistillConfig) -> Path:
    """The folder of a run with these settings."""
    return options.run_dir or Path("runs") / f"{options.preset}-{config.seed}"


def _train(options: argparse.Namespace) -> None:
    _run(options, run_config(options))


def _train_any(options: argparse.Namespace) -> None:
    config = run_config(options)
    if not config.stride_vectors:
        raise ValueError(
            "stride_vectors is 0 in these settings, which train a network for one choice of strides; give "
            "--stride-vectors 2, or take `redistill distill`."
        )
    _run(options, config)


def _run(options: argparse.Namespace, config: DistillConfig) -> None:
    keep_freed_memory()
    _tell_pictures(config)
    folder = run_folder(options, config)
    with copied(folder, options.copy_to if _is_first() else None):
        _follow(config, folder)


def _quantize(options: argparse.Namespace) -> None:
    keep_freed_memory()
    config = int8_run(options.network, **_set(options, OPEN))
    _tell_pictures(config)
    _follow(config, options.run_dir or Path("runs") / f"{Path(options.network).resolve().name}-int8-{config.seed}")


def _set(options: argparse.Namespace, names: Sequence[str]) -> dict[str, Any]:
    """The settings of these names that the command line holds; a folder of pictures as it is found from anywhere."""
    given = {name: value for name in names if (value := getattr(options, f"set_{name}")) is not None}
    if given.get("dataset", "").startswith("folder:"):
        given["dataset"] = "folder:" + str(Path(given["dataset"].removeprefix("folder:")).expanduser().resolve())
    return given


def _resume(options: argparse.Namespace) -> None:
    keep_freed_memory()
    for sentence in change_run(options.folder, _set(options, CHANGEABLE)):
        tqdm.write(sentence)
    _follow(DistillConfig.from_dict(read_json(options.folder / CONFIG)), options.folder)


def _keep(options: argparse.Namespace) -> None:
    print(f"{save_student(options.folder)} holds the checkpoint; evaluate and sample take it.")


def _estimate(options: argparse.Namespace) -> None:
    keep_freed_memory()  # as the run will
    config = run_config(options)
    _tell_pictures(config)
    print(json.dumps(estimate(config).to_dict(), indent=2))


def _tell_pictures(config: DistillConfig) -> None:
    """Say on stderr what of a run's data set is not taken, or taken in one of two senses."""
    if _is_first():
        for note in find_dataset(config.dataset, config.split_seed).notes:
            print(f"{config.dataset}: {as_options(note)}", file=sys.stderr)


def _is_first() -> bool:
    """Whether this process is alone, or the one of several that reports and writes."""
    return int(os.environ.get("RANK", 0)) == 0


def _follow(config: DistillConfig, run_dir: Path) -> None:
    """Train, and tell how it goes."""
    quiet = not _is_first()
    tell = (lambda text: None) if quiet else tqdm.write
    tell(f"Run folder: {run_dir}")
    asked_to_stop: list[int] = []
    last: dict[str, Any] = {}
    records = distill(config, run_dir)
    with tqdm(total=config.steps, unit="step", dynamic_ncols=True, disable=quiet) as bar, _ended_with(records):
        for record in records:
            if not last:
                asked_to_stop = _stop_on_signals()
            last = record
            if "teacher" in record:
                tell(json.dumps({"teacher": record["teacher"]}))
            if "fresh" in record:
                tell(record["fresh"])
            if record["kind"] == "step":
                bar.update(record["step"] - bar.n)
                parts = {name: f"{value:.4f}" for name, value in record.items() if name.endswith("loss")}
                bar.set_postfix(parts, refresh=False)
            else:
                tell(json.dumps(record))
            if asked_to_stop and record["kind"] != "final":
                raise KeyboardInterrupt
    if last.get("kind") == "final":
        tell(f"Finished: {run_dir / 'student'} holds the checkpoint.")
    elif last:
        tell(f"Stopped at step {last['step']} of {config.steps}; the same command continues the run.")
    else:
        tell(
            "This run had finished before; give another --run-dir to run it again, or `redistill resume` more --steps."
        )


@contextlib.contextmanager
def _ended_with(records: Iterator[dict[str, Any]]) -> Iterator[None]:
    """Let a run know of what cannot be told in the block, as on a full disk with the log: it fails, and notes why."""
    try:
        yield
    except OSError as error:
        records.throw(error)


def _stop_on_signals() -> list[int]:
    """Let Ctrl-C and SIGTERM end the run after the step that is going; a second one ends it at once.

    Returns a list that holds the signal as soon as one came.
    """
    came: list[int] = []

    def note(number: int, frame: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    for number in SIGNALS:
        signal.signal(number, note)
    return came


CONTINUED = (_train, _quantize, _resume)  # commands that go on where they were stopped

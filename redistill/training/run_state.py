"""What the files of a run folder say at a moment, while a process may be writing them: state, settings, metrics."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..common.files import is_locked, read_json
from ..common.values import is_number
from .config import DistillConfig
from .run import CONFIG, LOCK, METRICS, STATUS, STOP_FILE

MOST_RECORDS = 20_000  # of a run's steps: more than any chart shows, few enough to go through every second
ENDED = ("finished", "stopped", "failed")


@dataclass(frozen=True)
class RunState:
    """A run as its files tell of it."""

    state: str  # "running", "stopping", one of ENDED, "interrupted" (it was killed) or "broken" (without settings)
    step: int = 0
    steps: int = 0
    error: str | None = None  # of a failed or broken run
    pid: int | None = None  # of the process that wrote its status
    config: Mapping[str, Any] = field(default_factory=dict)  # of DistillConfig.to_dict()


def read_state(run_dir: Path, is_alive: bool = False) -> RunState:
    """The state of a run. Whether its process lives is told by the folder's lock, never by a process id, which the
    system may have given to another process, nor by a clock; `is_alive`: the caller knows that it does."""
    is_alive = is_alive or is_locked(run_dir / LOCK)  # before its status, the last one where it has ended by now
    try:
        config = read_json(run_dir / CONFIG)
        if {"student", "dataset"} <= config.keys() and (problem := _problem(json.dumps(config))):
            raise ValueError(f"{CONFIG} of the run holds no settings of one: {problem}")
    except (ValueError, OSError) as error:
        return RunState("broken", error=str(error))
    status = read_or_empty(run_dir / STATUS)
    state, error = status.get("state"), None
    if is_alive:
        state = "stopping" if (run_dir / STOP_FILE).exists() else "running"
    elif state in ENDED:
        error = str(status["error"]) if status.get("error") else None
    else:
        state = "interrupted"
    step, steps, pid = status.get("step"), status.get("steps") or config.get("steps"), status.get("pid")
    return RunState(state, _whole(step) or 0, _whole(steps) or 0, error, _whole(pid), config)


@lru_cache(maxsize=256)
def _problem(text: str) -> str:
    """What is wrong with settings of a run, as JSON; empty for what a run can have."""
    try:
        DistillConfig.from_dict(json.loads(text))
    except ValueError as error:
        return str(error)
    return ""


def read_or_empty(file: Path) -> dict[str, Any]:
    """The JSON object in a file that may be missing or damaged: then an empty one."""
    with contextlib.suppress(ValueError, OSError):
        return read_json(file)
    return {}


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def read_records(run_dir: Path) -> tuple[list[dict[str, Any]], int]:
    """Records of a run, and how many lines are none, as `MetricsFile.read` gives them; of a long run a part.

    What was read before is kept for the next call.
    """
    try:
        return _metrics_file(run_dir).read()
    except OSError:  # it is a folder, say
        return [], 0


@lru_cache(maxsize=8)
def _metrics_file(run_dir: Path) -> MetricsFile:
    return MetricsFile(run_dir, MOST_RECORDS)


def best_validation(run_dir: Path, figure: str) -> float | None:
    """The run's best `figure` on the validation pictures so far: the highest accuracy, or the lowest loss."""
    try:
        stat = (run_dir / METRICS).stat()
    except OSError:
        return None
    return _best_validation(run_dir, figure, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=256)
def _best_validation(run_dir: Path, figure: str, changed: int, size: int) -> float | None:
    scores = [record.get(figure) for record in read_records(run_dir)[0] if record["kind"] == "validation"]
    return (max if figure == "accuracy" else min)(filter(is_number, scores), default=None)


class MetricsFile:
    """The metrics.jsonl of a run that others may be writing, of which `read` parses only what is new.

    With `most`, about so many records of steps are kept: evenly spread ones, and the newest.
    """

    NEWEST = 1000  # steps whose records are all kept

    def __init__(self, run_dir: Path, most: int | None = None) -> None:
        self.path = run_dir / METRICS
        self.most = most
        self._lock = threading.Lock()
        self._forget(None)

    def _forget(self, inode: int | None) -> None:
        self._inode, self._offset, self._unreadable, self._every = inode, 0, 0, 1
        self._records: dict[tuple[int, str], dict[str, Any]] = {}
        self._tail: bytes | None = None  # what stood behind the last whole line, and
        self._found: list[dict[str, Any]] = []  # the records, when it was read last

    def read(self) -> tuple[list[dict[str, Any]], int]:
        """Records in the order of their steps, and how many lines are none; one that is being written is neither.

        A run that was resumed repeats some steps; the last record of a step and kind is the one returned.
        """
        if not self.path.is_file():  # a pipe would be waited for
            return [], 0
        try:
            with self._lock, open(self.path, "rb") as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._inode or status.st_size < self._offset:
                    self._forget(status.st_ino)
                file.seek(self._offset)
                text = file.read()
                if text == self._tail:
                    return self._found, self._unreadable
                *lines, self._tail = text.split(b"\n")
                self._offset += sum(len(line) + 1 for line in lines)
                self._unreadable += sum(not _add_record(self._records, line) for line in lines)
                self._thin()
                records = dict(self._records)
                _add_record(records, self._tail)
                self._found = [records[key] for key in sorted(records, key=lambda key: key[0])]
                return self._found, self._unreadable
        except FileNotFoundError:
            return [], 0

    def _thin(self) -> None:
        """Keep the records of every second, fourth, ... step once there are too many of them."""
        steps = [step for step, kind in self._records if kind == "step"]
        if self.most is None or len(steps) <= 2 * self.most + self.NEWEST:
            return
        newest = max(steps) - self.NEWEST
        while sum(step % self._every == 0 for step in steps) > self.most:
            self._every *= 2
        self._records = {
            (step, kind): record
            for (step, kind), record in self._records.items()
            if kind != "step" or step % self._every == 0 or step > newest
        }


def _add_record(records: dict[tuple[int, str], dict[str, Any]], line: bytes) -> bool:
    """Add a line's record by step and kind; whether it is one."""
    try:
        record = json.loads(line)
        records[int(record["step"]), str(record["kind"])] = record
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return False
    return True

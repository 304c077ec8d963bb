"""The run folder: what a training run writes, and how others read it while it runs.

`config.json` all settings, `metrics.jsonl` one JSON record a line (of two lines for the same step and kind the later
one counts), `status.json` state and heartbeat, `last.pt` the resume point, `student/` the checkpoint, `samples/`.
Files are written under a temporary name and renamed, so a reader never sees half of one.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ..common.files import read_json, replace_file, write_json

STATES = ("running", "finished", "stopped", "failed")


def read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    """Records of a run in the order of their steps; unreadable lines (a cut last one, say) are left out.

    A run that was resumed repeats some steps; the last record of a step and kind is the one returned.
    """
    return MetricsFile(run_dir).read()[0]


class MetricsFile:
    """The metrics.jsonl of a run that others may be writing, of which `read` parses only what is new.

    With `most`, about so many records of steps are kept: evenly spread ones, and the newest.
    """

    NEWEST = 1000  # steps whose records are all kept

    def __init__(self, run_dir: Path, most: int | None = None) -> None:
        self.path = run_dir / "metrics.jsonl"
        self.most = most
        self._lock = threading.Lock()
        self._forget(None)

    def _forget(self, inode: int | None) -> None:
        self._inode, self._offset, self._unreadable, self._every = inode, 0, 0, 1
        self._records: dict[tuple[int, str], dict[str, Any]] = {}
        self._tail: bytes | None = None  # what stood behind the last whole line, and
        self._found: list[dict[str, Any]] = []  # the records, when it was read last

    def read(self) -> tuple[list[dict[str, Any]], int]:
        """What `read_metrics` returns, and how many lines are no records; a last one that is being written is none."""
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


class RunFolder:
    """One run's folder, held by this process alone from `__init__` to `close`.

    `complete` gives the settings of a stored config that settings newer than it are added to; as it is by default.
    Raises ValueError when another process is training in it, when it holds a run with other settings, and when it
    cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        config: Mapping[str, Any],
        complete: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
    ) -> None:
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = open(self.path / ".lock", "w")  # noqa: SIM115 (held until close)
        except OSError as error:
            raise ValueError(f"Run folder {self.path} cannot be written ({error.strerror}); choose another.") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise ValueError(f"Run folder {self.path} is in use by another process; choose another folder.") from None
        try:
            self._adopt(config, complete)
        except BaseException:
            self._lock.close()
            raise

    def _adopt(self, config: Mapping[str, Any], complete: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        file = self.path / "config.json"
        if not file.exists():
            write_json(file, config)
            return
        config, stored = (json.loads(json.dumps(values)) for values in (config, complete(read_json(file))))
        changed = sorted(key for key in {*stored, *config} if stored.get(key) != config.get(key))
        if changed:
            raise ValueError(
                f"Run folder {self.path} holds a run with another {changed[0]!r} "
                f"({stored.get(changed[0])!r}, not {config.get(changed[0])!r}); choose another folder."
            )

    def finished(self) -> bool:
        """Whether the run came to its end; a run that was stopped or failed did not."""
        path = self.path / "status.json"
        return path.exists() and read_json(path).get("state") == "finished"

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record to metrics.jsonl. A last line that a crash cut short is ended first."""
        path = self.path / "metrics.jsonl"
        line = json.dumps(record) + "\n"
        with open(path, "ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    line = "\n" + line
            file.write(line.encode())

    def write_status(self, state: str, step: int, steps: int, error: str | None = None) -> None:
        """Note the state (see STATES), the step reached of `steps`, this process and the time (a heartbeat)."""
        status = {"state": state, "step": step, "steps": steps, "pid": os.getpid(), "heartbeat": time.time()}
        write_json(self.path / "status.json", status | {"error": error})

    def save_resume_point(self, state: Mapping[str, Any]) -> None:
        """Write `last.pt`; tensors and plain values only, so that it loads without unpickling code."""
        replace_file(self.path / "last.pt", lambda temporary: torch.save(dict(state), temporary))

    def load_resume_point(self, mmap: bool = False) -> dict[str, Any] | None:
        """What `save_resume_point` wrote last, or None; ValueError for a damaged file. With `mmap`, tensors stay in
        the file until they are looked at."""
        path = self.path / "last.pt"
        if not path.exists():
            return None
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        except Exception as error:
            raise ValueError(f"Resume point {path} is damaged; delete it to start the run again.") from error

    def resume_step(self) -> int:
        """The step that the run goes on from; ValueError for a damaged resume point."""
        return (self.load_resume_point(mmap=True) or {}).get("step", 0)

    def close(self) -> None:
        """Let go of the folder."""
        self._lock.close()

"""Room for everybody's runs on a shared page: which have trained their minutes, and which make room for others."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from redistill.checkpoint.imported import imported_folder
from redistill.checkpoint.sources import list_imported
from redistill.common.disk import folder_bytes
from redistill.data.fetched import Fetched, list_fetched
from redistill.data.uploads import list_uploads, upload_folder
from redistill.training import hub_jobs
from redistill.training.run import STATUS

from ..visitors.limits import limits_here
from .one_run import Run
from .worker import PROCESS_FILE

DAY = 86_400.0  # seconds
BROUGHT_SHARE = 0.5  # of the disk, for uploads and networks that were brought in: or they would drive out all runs
RESERVED_BYTES = 200 * 2**20  # of the disk, for a run that begins
STARTED = time.time()  # since then what comes into the Hub's cache is fetched for visitors
ENDED = ("finished", "stopped", "failed", "interrupted", "broken")


def overdue(runs: Sequence[Run], now: float | None = None) -> list[Run]:
    """Runs that have trained for the minutes that one trains at a time."""
    minutes, now = limits_here().minutes, time.time() if now is None else now
    going = [run for run in runs if run.state == "running"]
    return [run for run in going if minutes and now - _changed(run.path / PROCESS_FILE, now) > 60 * minutes]


class Held:
    """What the disk holds of some runs, of all that was brought in and of all that was fetched: added up once, when it
    is first asked for, less what is said to be gone."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = runs

    @cached_property
    def run_bytes(self) -> dict[str, int]:
        """Of each run that is there, by its name."""
        return {run.name: folder_bytes(run.path) for run in self.runs}

    @cached_property
    def fetched(self) -> list[Fetched]:
        """What is there of it, used longest ago first."""
        return list_fetched(STARTED)

    @cached_property
    def brought_bytes(self) -> int:
        """Of uploads and networks that were brought in."""
        return _brought_bytes()

    @property
    def bytes(self) -> int:
        """Of all."""
        return sum(self.run_bytes.values()) + self.brought_bytes + sum(one.bytes for one in self.fetched)

    def forget(self, gone: Run | Fetched) -> None:
        """Take note that a run, or something that was fetched, is not there any more."""
        if isinstance(gone, Fetched):
            self.fetched.remove(gone)
        else:
            self.runs = [run for run in self.runs if run.name != gone.name]
            vars(self).get("run_bytes", {}).pop(gone.name, None)


def surplus(held: Held, more: int = 0, now: float | None = None) -> list[Run]:
    """Runs that go: those past their days, and the longest ended ones while there are too many or they hold too much.

    more: runs that are about to begin, which need room too.
    """
    most, now = limits_here(), time.time() if now is None else now
    ended = sorted((run for run in held.runs if _has_ended(run, now)), key=last_use)
    gone = [run for run in ended if most.days and now - last_use(run) > most.days * DAY]
    left = [run for run in ended if run not in gone]
    if most.runs_all is not None:
        gone += left[: max(0, len(held.runs) - len(gone) + more - most.runs_all)]
    if most.disk_bytes is not None:
        total = held.bytes - sum(held.run_bytes[run.name] for run in gone)
        for run in (run for run in ended if run not in gone):
            if total + more * RESERVED_BYTES <= most.disk_bytes:
                break
            total -= held.run_bytes[run.name]
            gone.append(run)
    return gone


def spare(held: Held, more: int = 0) -> list[Fetched]:
    """What was fetched and goes before any run does, while all there is takes too much: used longest ago first, and no
    repository that the settings of a run name which goes. What was made of pictures may go: a process that reads it
    keeps it, and another one makes it again. `more` as for `surplus`."""
    most = limits_here().disk_bytes
    if most is None:
        return []
    gone, total = [], held.bytes
    needed = [json.dumps(dict(run.config)) for run in held.runs if run.goes_here]
    for one in held.fetched:
        if total + more * RESERVED_BYTES <= most:
            break
        if not any(one.name in settings for settings in needed):
            total -= one.bytes
            gone.append(one)
    return gone


def unused(runs: Sequence[Run], now: float | None = None) -> list[tuple[str, Path]]:
    """What was brought in and goes, by its kind ("upload" or "teacher") and folder: what is past its days, and what was
    used longest ago while all of it takes more than its share of the disk; nothing that a kept run learnt from."""
    most, now = limits_here(), time.time() if now is None else now
    used = {run.config.get(name) for run in runs for name in ("dataset", "teacher_checkpoint")}
    called = {"upload": lambda folder: f"upload:{folder.name}", "teacher": str}
    found = sorted(_brought(), key=lambda one: _changed(one[1], now))
    left, gone = _brought_bytes(), []
    for kind, folder in found:
        is_old = most.days is not None and now - _changed(folder, now) > most.days * DAY
        is_much = most.disk_bytes is not None and left > BROUGHT_SHARE * most.disk_bytes
        if (is_old or is_much) and called[kind](folder) not in used:
            left -= folder_bytes(folder)
            gone.append((kind, folder))
    return gone


def _brought() -> list[tuple[str, Path]]:
    """Everything that was brought in."""
    teachers = [("teacher", imported_folder(name)) for name in list_imported()]
    return [*(("upload", upload_folder(name)) for name in list_uploads()), *teachers]


def _brought_bytes() -> int:
    return sum(folder_bytes(folder) for _, folder in _brought())


def last_use(run: Run) -> float:
    """When a run was last begun, or last wrote or was asked how far it is; seconds since 1970."""
    return max(run.created, *(_changed(run.path / name, 0.0) for name in (STATUS, PROCESS_FILE, hub_jobs.NOTE)))


def _has_ended(run: Run, now: float) -> bool:
    """Whether a run goes no more. A job that nobody asks about any more was ended at the latest after its time, and a
    day for its start."""
    return run.state in ENDED or (run.job is not None and now - run.job.heard > run.job.most_seconds + DAY)


def _changed(path: Path, otherwise: float) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return otherwise

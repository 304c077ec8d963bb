"""Room for everybody's runs on a shared page: which have trained their minutes, and which make room for others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from redistill.checkpoint.imported import imported_folder
from redistill.checkpoint.sources import list_imported
from redistill.common.disk import folder_bytes
from redistill.data.uploads import list_uploads, upload_folder
from redistill.training.run import STATUS

from ..visitors.limits import limits_here
from .one_run import Run
from .worker import PROCESS_FILE

DAY = 86_400.0  # seconds
RESERVED_BYTES = 200 * 2**20  # of the disk, for a run that begins
ENDED = ("finished", "stopped", "failed", "interrupted", "broken")


def overdue(runs: Sequence[Run], now: float | None = None) -> list[Run]:
    """Runs that have trained for the minutes that one trains at a time."""
    minutes, now = limits_here().minutes, time.time() if now is None else now
    going = [run for run in runs if run.state == "running"]
    return [run for run in going if minutes and now - _changed(run.path / PROCESS_FILE, now) > 60 * minutes]


def surplus(runs: Sequence[Run], more: int = 0, now: float | None = None) -> list[Run]:
    """Runs that go: those past their days, and the longest ended ones while there are too many or they hold too much.

    more: runs that are about to begin, which need room too.
    """
    most, now = limits_here(), time.time() if now is None else now
    ended = sorted((run for run in runs if run.state in ENDED), key=last_use)
    gone = [run for run in ended if most.days and now - last_use(run) > most.days * DAY]
    left = [run for run in ended if run not in gone]
    if most.runs_all is not None:
        gone += left[: max(0, len(runs) - len(gone) + more - most.runs_all)]
    if most.disk_bytes is not None:
        held = {run.name: folder_bytes(run.path) for run in runs if run not in gone}
        brought = [*map(upload_folder, list_uploads()), *map(imported_folder, list_imported())]
        total = sum(held.values()) + sum(map(folder_bytes, brought))
        for run in (run for run in ended if run not in gone):
            if total + more * RESERVED_BYTES <= most.disk_bytes:
                break
            total -= held[run.name]
            gone.append(run)
    return gone


def unused_uploads(runs: Sequence[Run], now: float | None = None) -> list[str]:
    """Names of uploads past their days, which no run that is kept learns from."""
    days, now = limits_here().days, time.time() if now is None else now
    used = {run.config.get("dataset") for run in runs}
    old = [name for name in list_uploads() if days and now - _changed(upload_folder(name), now) > days * DAY]
    return [name for name in old if f"upload:{name}" not in used]


def unused_teachers(runs: Sequence[Run], now: float | None = None) -> list[Path]:
    """Folders of networks that were brought in, past their days, which no run that is kept learns from."""
    days, now = limits_here().days, time.time() if now is None else now
    used = {run.config.get("teacher_checkpoint") for run in runs}
    old = [
        folder for folder in map(imported_folder, list_imported()) if days and now - _changed(folder, now) > days * DAY
    ]
    return [folder for folder in old if str(folder) not in used]


def last_use(run: Run) -> float:
    """When a run was last begun, or last wrote how far it is; seconds since 1970."""
    return max(run.created, *(_changed(run.path / name, 0.0) for name in (STATUS, PROCESS_FILE)))


def _changed(path: Path, otherwise: float) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return otherwise

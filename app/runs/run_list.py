"""The folder of all runs: which runs are in it, and which of them are those of who asks. No gradio."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from redistill.common.cache import cache_dir
from redistill.common.files import locked
from redistill.training.run_state import read_records

from ..visitors import access
from .one_run import Run, read_folder
from .processes import collect


def runs_dir() -> Path:
    """Folder of all runs: $REDISTILL_RUNS, or `runs` in the user's cache folder."""
    chosen = os.environ.get("REDISTILL_RUNS")
    return Path(chosen).expanduser() if chosen else cache_dir() / "runs"


def list_runs() -> list[Run]:
    """All runs of who asks, the newest first."""
    return [run for run in everybodys() if access.is_theirs(run.owner)]


def everybodys() -> list[Run]:
    """All runs there are, the newest first: for what counts them, never to be shown."""
    collect()
    folders = sorted(_folders(), reverse=True)
    return sorted((read_folder(folder) for folder in folders), key=lambda run: -run.created)


def read_run(name: str) -> Run:
    """The run of that name; ValueError when who asks has none."""
    for folder in _folders():
        if folder.name == name and access.is_theirs((run := read_folder(folder)).owner):
            return run
    raise ValueError(f"No run {str(name)[:80]!r} here; it may have been deleted.")


def records(run: Run) -> list[dict[str, Any]]:
    """The run's metrics so far; of a long run every so many steps."""
    return read_records(run.path)[0]


def unreadable_lines(run: Run) -> int:
    """How many lines of the run's metrics are no records, as after a crash or on a failing disk."""
    return read_records(run.path)[1]


def _folders() -> list[Path]:
    try:
        return [path for path in runs_dir().iterdir() if path.is_dir() and not path.name.startswith(".")]
    except OSError:
        return []


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Let no other tab or app start, resume or delete a run meanwhile: what was read of it stays true."""
    with written(runs_dir()), locked(runs_dir() / ".actions"):
        yield


@contextlib.contextmanager
def written(path: Path) -> Iterator[None]:
    """Turn a disk's refusal of what is written to `path` into a ValueError with a sentence."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(
            f"The folder of the runs cannot be written ({reason}); free some space or set REDISTILL_RUNS."
        ) from error

"""Runs that Hugging Face Jobs train: their folders here hold what was fetched, by the token of whoever looks.

No token is kept, so a run is heard of while a page shows it to its owner, in a thread beside. No gradio.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from redistill.training import hub_jobs
from redistill.training.config import DistillConfig
from redistill.training.hub_jobs import STUDENT, Job, Token
from redistill.training.run_state import RunState

from ..visitors.access import is_shared
from ..visitors.limits import limits_here

SECONDS = 5.0  # between two times that a run is heard of, and
TROUBLED_SECONDS = 60.0  # after a time when it was not, which may take long
NOBODY = "Nobody’s account pays for a job but your own; sign in with Hugging Face, by the button above the tabs."
HEARING = "hear-of-job"  # name of the threads that do
_hearing: dict[Path, threading.Thread] = {}
_one_by_one = threading.Lock()  # of pages that begin to hear of the same run
_tried: dict[Path, float] = {}
_trouble: dict[Path, str] = {}


def check_token(token: Token) -> None:
    """ValueError for who asks without an account of their own."""
    if token is False or (token is None and is_shared()):
        raise ValueError(NOBODY)


def state_of(job: Job, path: Path, found: RunState) -> tuple[str, str | None]:
    """The state of a job's run, as `jobs.Run` has it, and why it failed."""
    if found.state == "broken":
        return found.state, found.error
    if job.stage == hub_jobs.WAITS:
        return "queued", None
    if job.stage == hub_jobs.TRAINS:
        return "running", None
    if job.stage == hub_jobs.DONE or found.state == "finished":
        if (path / STUDENT).is_dir():
            return "finished", None
        if path in _hearing:  # its network comes
            return "running", None
        return "interrupted", "Its job has ended, and its network has not been fetched; look once more."
    if job.stage == hub_jobs.CANCELED:
        return "stopped", None
    return "failed", found.error or job.message or f"Its job ended: {job.stage.lower()}."


def stop(path: Path, token: Token) -> None:
    """End the job of a run."""
    check_token(token)
    hub_jobs.cancel(path, token)


def start_again(path: Path, job: Job, config: Mapping[str, Any], token: Token) -> None:
    """Go on with a run whose job has ended, by another on the same hardware."""
    check_token(token)
    settings = DistillConfig.from_dict(config)
    again = hub_jobs.start_job(settings, job.run, job.hardware, job.space, job.most_seconds, token)
    try:
        if not path.is_dir():
            raise ValueError("The run was deleted meanwhile.")
        hub_jobs.keep_job(path, settings, again)
    except (ValueError, OSError):
        hub_jobs.cancel_job(again, token)  # nobody would know of it
        raise


def hear_soon(path: Path, job: Job, token: Token) -> None:
    """Hear of a run that a page shows, where that was not done a moment ago: nobody waits for it."""
    wait = TROUBLED_SECONDS if path in _trouble else SECONDS
    is_late = time.monotonic() - _tried.get(path, -wait) >= wait
    is_whole = not job.is_going and ((path / STUDENT).is_dir() or job.stage != hub_jobs.DONE)
    with _one_by_one:
        if is_whole or not is_late or path in _hearing:
            return
        _hearing[path] = hearing = threading.Thread(target=_hear, args=(path, token), name=HEARING, daemon=True)
        _tried[path] = time.monotonic()
    hearing.start()


def _hear(path: Path, token: Token) -> None:
    try:
        check_token(token)
        hub_jobs.look(path, token, limits_here().weight_bytes or hub_jobs.MOST_BYTES)
        _trouble.pop(path, None)
    except (ValueError, OSError) as error:
        if path.is_dir():  # or it was deleted meanwhile
            _trouble[path] = str(error)
    finally:
        _hearing.pop(path, None)
        if not path.is_dir():
            _tried.pop(path, None), _trouble.pop(path, None)


def trouble(path: Path) -> str:
    """Why a run was not heard of the last time; empty where it was."""
    return _trouble.get(path, "")

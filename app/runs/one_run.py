"""What the files of one run say: its state, how far it is, and whose it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redistill.training import hub_jobs
from redistill.training.run import STATUS
from redistill.training.run_state import ENDED, RunState, read_or_empty, read_state

from . import lent, on_hub
from .processes import last_words, read_process
from .worker import AFTER, JOB_FILE, PROCESS_FILE

WAITING = ("queued", "starting")
ALIVE = (*WAITING, "running", "stopping")
RESUMABLE = ("stopped", "failed", "interrupted")


@dataclass(frozen=True)
class Run:
    """What the files of one run say at this moment."""

    name: str  # of its folder
    path: Path
    title: str
    state: str  # one of ALIVE or RESUMABLE, or "finished", or "broken" (its files are unreadable)
    step: int = 0
    steps: int = 0
    error: str | None = None
    created: float = 0.0  # seconds since 1970
    config: Mapping[str, Any] = field(default_factory=dict)  # of DistillConfig.to_dict()
    told: str = ""  # what happened to it that nobody asked for
    owner: str | None = None  # whose it is on a Space, see app/visitors; None: of the shell, or of a laptop
    after: str = ""  # the run whose network teaches it, where it waits for one
    job: hub_jobs.Job | None = None  # that trains it on Hugging Face; None: it is trained here

    @property
    def is_lent(self) -> bool:
        """Whether its GPU is lent by the call."""
        return self.job is None and lent.is_lent(self.config)

    @property
    def goes_here(self) -> bool:
        """Whether it trains or waits on this machine."""
        return self.job is None and self.state in ALIVE


def read_folder(path: Path) -> Run:
    """What the files of a run's folder say; a file that cannot be read says nothing, or makes the run "broken"."""
    job = read_or_empty(path / JOB_FILE)
    title, created = job.get("title"), job.get("created")
    is_alive, process = read_process(path)  # before its status, which is its last one where it has ended by now
    hub_job = hub_jobs.read_job(path)
    found = read_state(path, hub_job.is_going if hub_job else is_alive)
    state, error = found.state, found.error
    if hub_job:
        state, error = on_hub.state_of(hub_job, path, found)
    elif state == "broken":
        pass
    elif is_alive and process.get("phase") == "queued":
        state = "queued"
    elif is_alive and process.get("phase") == lent.LENT:
        pass  # its calls have processes of their own
    elif is_alive and (process.get("phase") == "launched" or found.pid != process.get("pid")):
        state = "starting"
    elif (
        state in ENDED and process and found.pid != process.get("pid") and not _went_on_elsewhere(path, found, process)
    ):
        # A process that died before it wrote a status has left that of the one before.
        state, error = "interrupted", None
    if state == "interrupted" and not hub_job and (error := last_words(path)):
        state = "failed"
    told = on_hub.trouble(path) or job.get("told")
    return Run(
        name=path.name,
        path=path,
        title=title if isinstance(title, str) else path.name,
        state=state,
        step=found.step,
        steps=found.steps,
        error=error,
        created=float(created) if isinstance(created, (int, float)) else 0.0,
        config=found.config,
        told=told if isinstance(told, str) else "",
        owner=owner if isinstance(owner := job.get("owner"), str) else None,
        after=after if isinstance(after := job.get(AFTER), str) else "",
        job=hub_job,
    )


def _went_on_elsewhere(path: Path, found: RunState, process: Mapping[str, Any]) -> bool:
    """Whether the status is younger than the run's last process here: the shell went on with the run.

    It is where it is not that of `before`; only for a process that noted no such thing, clocks are asked.
    """
    if "before" in process:
        return found.pid != process["before"]
    try:
        return (path / STATUS).stat().st_mtime_ns > (path / PROCESS_FILE).stat().st_mtime_ns
    except OSError:
        return False

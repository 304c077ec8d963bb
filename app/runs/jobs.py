"""Training runs as processes of their own: start, queue, watch, stop, resume, delete, all through files.

A run is a folder (see redistill/run.py) under the runs folder; the app keeps nothing in memory. Whether a run's
process lives is told by a lock on its `.process` file, never by a process id that may have been given to another.
That lock is taken here and handed to the process, so that a run's state is right from the moment its folder is seen.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from redistill.common.cache import cache_dir
from redistill.common.files import read_json, write_json
from redistill.training.run import MetricsFile

from .worker import PROCESS_FILE, note

REPOSITORY = Path(__file__).resolve().parent.parent.parent
JOB_FILE = "job.json"
LOG_FILE = "log.txt"
MAX_WAITING = 20
SECONDS_TO_QUEUE = 5.0  # at most, for a new process to stand in line; it needs a twentieth of one
SECONDS_TO_END = 10.0  # that a process has which is asked to end, before it is killed
MOST_RECORDS = 20_000  # of a run's steps: more than any chart shows, few enough to go through every second
WAITING = ("queued", "starting")
ALIVE = (*WAITING, "running", "stopping")
RESUMABLE = ("stopped", "failed", "interrupted")

_children: list[subprocess.Popen] = []  # only to collect their exit codes; their state is read from files


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


def runs_dir() -> Path:
    """Folder of all runs: $REDISTILL_RUNS, or `runs` in the user's cache folder."""
    chosen = os.environ.get("REDISTILL_RUNS")
    return Path(chosen).expanduser() if chosen else cache_dir() / "runs"


def start(config: Mapping[str, Any], title: str) -> Run:
    """Start a run with these settings (`DistillConfig.to_dict()`), or queue it while its device is taken.

    One run goes on each GPU, `cpu_slots()` on the CPU. Raises ValueError when too many wait already and when the runs
    folder cannot be written; nothing of the run is left then.
    """
    with _written(runs_dir()), _one_at_a_time():
        waiting = sum(run.state in WAITING for run in list_runs())
        if waiting >= MAX_WAITING:
            raise ValueError(f"{waiting} runs are waiting already; delete some or wait before starting another.")
        path = _free_path(title)
        new = path.with_name(f".new-{path.name}")  # in no list until all of it is there
        try:
            new.mkdir()
            write_json(new / "config.json", dict(config))
            write_json(new / JOB_FILE, {"title": title, "created": time.time()})
            with _process_lock(new) as lock:
                new.rename(path)
                _launch(path, config, lock)
        except OSError:
            for left in (new, path):
                shutil.rmtree(left, ignore_errors=True)
            raise
    return read_run(path.name)


def stop(name: str) -> None:
    """Ask a run to stop with its state saved; one that has not begun to train ends at once.

    Raises ValueError for a run that does not exist or is not going.
    """
    run = read_run(name)
    if run.state not in ALIVE:
        raise ValueError(f"Run “{run.title}” is {run.state}; there is nothing to stop.")
    with _written(run.path):
        if run.step and run.state not in WAITING:  # one that goes on has steps before it trains
            (run.path / "stop").touch()
        else:
            _end(run.path)


def resume(name: str) -> Run:
    """Go on with a run that was stopped, failed or was interrupted, from its last saved step."""
    with _written(runs_dir()), _one_at_a_time():
        run = read_run(name)
        if run.state not in RESUMABLE:
            raise ValueError(f"Run “{run.title}” is {run.state}; only a stopped, failed or interrupted run goes on.")
        (run.path / "stop").unlink(missing_ok=True)
        with _process_lock(run.path) as lock:
            _launch(run.path, run.config, lock)
    return read_run(name)


def delete(name: str) -> None:
    """Remove a run and all it made. Raises ValueError while it is going."""
    with _written(runs_dir()), _one_at_a_time():
        run = read_run(name)
        if run.state in ALIVE:
            raise ValueError(f"Run “{run.title}” is {run.state}; stop it before deleting it.")
        gone = run.path.with_name(f".deleted-{run.name}")
        run.path.rename(gone)  # at once out of every list, however long the rest takes
        shutil.rmtree(gone)


def list_runs() -> list[Run]:
    """All runs, the newest first."""
    _children[:] = [child for child in _children if child.poll() is None]
    folders = sorted(_folders(), reverse=True)
    return sorted((_read(folder) for folder in folders), key=lambda run: -run.created)


def read_run(name: str) -> Run:
    """The run of that name; ValueError when there is none."""
    for folder in _folders():
        if folder.name == name:
            return _read(folder)
    raise ValueError(f"No run {str(name)[:80]!r} here; it may have been deleted.")


def records(run: Run) -> list[dict[str, Any]]:
    """The run's metrics so far, see `redistill.run.read_metrics`; of a long run every so many steps."""
    return _metrics(run)[0]


def unreadable_lines(run: Run) -> int:
    """How many lines of the run's metrics are no records, as after a crash or on a failing disk."""
    return _metrics(run)[1]


def _metrics(run: Run) -> tuple[list[dict[str, Any]], int]:
    try:
        return _file(run.path).read()
    except OSError:  # no file at all
        return [], 0


@lru_cache(maxsize=8)
def _file(path: Path) -> MetricsFile:
    return MetricsFile(path, MOST_RECORDS)


def best_validation(run: Run, figure: str) -> float | None:
    """The run's best `figure` on the validation pictures so far: the highest accuracy, or the lowest loss."""
    try:
        stat = (run.path / "metrics.jsonl").stat()
        return _best_validation(run.path, figure, stat.st_mtime_ns, stat.st_size)
    except OSError:
        return None


@lru_cache(maxsize=256)
def _best_validation(path: Path, figure: str, changed: int, size: int) -> float | None:
    scores = [row.get(figure) for row in _file(path).read()[0] if row["kind"] == "validation"]
    scores = [score for score in scores if isinstance(score, (int, float)) and math.isfinite(score)]
    return (max if figure == "accuracy" else min)(scores, default=None)


def _folders() -> list[Path]:
    try:
        return [path for path in runs_dir().iterdir() if path.is_dir() and not path.name.startswith(".")]
    except OSError:
        return []


def _free_path(title: str) -> Path:
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:48]
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1000):
        path = runs_dir() / "-".join(filter(None, (stamp, slug, str(number) if number else "")))
        if not path.exists():
            return path
    raise OSError(errno.EEXIST, "too many runs were started in this second", str(runs_dir()))


def cpu_slots() -> int:
    """How many runs may train on the CPU at a time: $REDISTILL_CPU_RUNS, or one for every four cores."""
    chosen = os.environ.get("REDISTILL_CPU_RUNS", "")
    return int(chosen) if chosen.isdecimal() and int(chosen) else max(1, _cores() // 4)


def slots_of(device: str) -> int:
    """How many runs may train at a time on a device, as `device_of` calls it: one on each GPU."""
    return cpu_slots() if device == "cpu" else 1


def device_of(config: Mapping[str, Any]) -> str:
    """The device of a run's settings by its one name: "cpu", "cuda:0", ..."""
    device = str(config.get("device", "cpu")).lower()
    return "cuda:0" if device == "cuda" else device


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _process_lock(path: Path) -> Iterator[int]:
    """A file descriptor that holds the lock of the run's new `.process` file.

    The lock outlives this block in whoever inherited the descriptor. The file appears with the lock already taken.
    """
    new = path / f"{PROCESS_FILE}.new"
    file = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        note(file, {"phase": "launched"})
        new.replace(path / PROCESS_FILE)
        yield file
    finally:
        os.close(file)


def _launch(path: Path, config: Mapping[str, Any], lock: int) -> None:
    """Start the waiting process of a run, see worker.py, which takes over the run's lock."""
    device = device_of(config)
    queue = runs_dir() / f".queue-{re.sub(r'[^a-z0-9]+', '-', device)}"
    slots = slots_of(device)
    environment = dict(os.environ)
    if slots > 1:  # or each run would take all cores for itself
        environment.setdefault("OMP_NUM_THREADS", str(max(1, _cores() // slots)))
    command = [
        sys.executable,
        "-m",
        "app.runs.worker",
        str(path.resolve()),
        str(lock),
        str(queue.resolve()),
        str(slots),
    ]
    with open(path / LOG_FILE, "ab") as log:
        child = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[lock],
        )
    _children.append(child)
    deadline = time.monotonic() + SECONDS_TO_QUEUE
    while _process(path)[1].get("phase") == "launched" and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)  # until it stands in line: the next run would overtake it otherwise


def _end(path: Path) -> None:
    """End a process that has nothing to save, and note that it was stopped; after SECONDS_TO_END without mercy."""
    deadline = time.monotonic() + SECONDS_TO_END
    alive, process = _process(path)
    while alive and not isinstance(process.get("pid"), int) and time.monotonic() < deadline:
        time.sleep(0.05)  # launched just now
        alive, process = _process(path)
    for way in (signal.SIGTERM, signal.SIGKILL):
        if _process(path)[0] and isinstance(process.get("pid"), int):
            with contextlib.suppress(ProcessLookupError):  # it ended just now
                os.kill(process["pid"], way)
        while _process(path)[0] and time.monotonic() < deadline:
            time.sleep(0.05)
        deadline += 2
    status = _read_or_empty(path / "status.json")
    if status.get("state") != "stopped" or status.get("pid") != process.get("pid"):
        kept = {"step": status.get("step", 0), "steps": status.get("steps", 0), "error": None}
        write_json(
            path / "status.json", {"state": "stopped", "pid": process.get("pid"), "heartbeat": time.time(), **kept}
        )


def _process(path: Path) -> tuple[bool, dict[str, Any]]:
    """Whether the run's process lives, and what it noted about itself (`pid`, `phase`)."""
    try:
        with open(path / PROCESS_FILE) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                alive = False
            except BlockingIOError:
                alive = True
            return alive, _object(file.read())
    except OSError:
        return False, {}


def _read(path: Path) -> Run:
    job = _read_or_empty(path / JOB_FILE)
    title, created = job.get("title"), job.get("created")
    known = {
        "name": path.name,
        "path": path,
        "title": title if isinstance(title, str) else path.name,
        "created": float(created) if isinstance(created, (int, float)) else 0.0,
    }
    try:
        config = read_json(path / "config.json")
    except (ValueError, OSError) as error:
        return Run(**known, state="broken", error=str(error))
    alive, process = _process(path)  # before its status, which is its last one where the process has ended by now
    status = _read_or_empty(path / "status.json")
    state, error = _state(path, status, alive, process)
    steps = status.get("steps") or config.get("steps")
    step = status.get("step")
    return Run(
        **known,
        state=state,
        error=error,
        step=step if isinstance(step, int) else 0,
        steps=steps if isinstance(steps, int) else 0,
        config=config,
    )


def _state(path: Path, status: Mapping[str, Any], alive: bool, process: Mapping[str, Any]) -> tuple[str, str | None]:
    state, error = status.get("state"), status.get("error")
    if alive and process.get("phase") == "queued":
        return "queued", None
    if alive and (process.get("phase") == "launched" or status.get("pid") != process.get("pid")):
        return "starting", None
    if alive or _locked(path):
        return ("stopping" if (path / "stop").exists() else "running"), None
    # A process that died before it wrote a status has left that of the one before. But where the shell went on with the
    # run, what its process here noted about itself is older than the status.
    own = bool(status) and (not process or status.get("pid") == process.get("pid") or _went_on_elsewhere(path))
    if own and state in ("finished", "stopped", "failed"):
        return state, str(error) if error else None
    message = _last_words(path)
    return ("failed", message) if message else ("interrupted", None)


def _went_on_elsewhere(path: Path) -> bool:
    """Whether the status was written after the run's last process here began."""
    try:
        return (path / "status.json").stat().st_mtime_ns > (path / PROCESS_FILE).stat().st_mtime_ns
    except OSError:
        return False


def _locked(path: Path) -> bool:
    """Whether a process trains in the folder, one started from the shell, say."""
    try:
        with open(path / ".lock") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def _last_words(path: Path) -> str | None:
    """The sentence that `python -m redistill` ended with, where it could not even write a status."""
    try:
        lines = (path / LOG_FILE).read_text(errors="replace").strip().splitlines()
    except OSError:
        return None
    prefix = "redistill: "
    return lines[-1].removeprefix(prefix) if lines and lines[-1].startswith(prefix) else None


def _read_or_empty(path: Path) -> dict[str, Any]:
    try:
        return _object(path.read_text())
    except (OSError, UnicodeDecodeError):
        return {}


def _object(text: str) -> dict[str, Any]:
    with contextlib.suppress(json.JSONDecodeError):
        value = json.loads(text)
        return value if isinstance(value, dict) else {}
    return {}


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Let no other tab or app start, resume or delete a run meanwhile: what was read of it stays true."""
    runs_dir().mkdir(parents=True, exist_ok=True)
    with open(runs_dir() / ".actions", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _written(path: Path):
    """Turn a disk's refusal into a sentence."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(f"{path} cannot be written ({reason}); free some space or set REDISTILL_RUNS.") from error

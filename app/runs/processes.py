"""The processes of runs: started under a lock that tells whether they live, in a queue for their device, and ended.

Nothing of them is kept in memory: whether a run's process lives is told by a lock on its `.process` file, never by a
process id that may have been given to another. That lock is taken here and handed to the process, so that a run's
state is right from the moment its folder is seen.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from redistill.common.files import is_held, replaced_file
from redistill.training.run import STATUS, write_status
from redistill.training.run_state import read_or_empty

from ..visitors.place import worker_environment
from .worker import PROCESS_FILE, note

REPOSITORY = Path(__file__).resolve().parent.parent.parent
LOG_FILE = "log.txt"
SECONDS_TO_QUEUE = 5.0  # at most, for a new process to stand in line; it needs a twentieth of one
SECONDS_TO_END = 10.0  # that a process has which is asked to end, before it is killed

_children: list[subprocess.Popen] = []  # only to collect their exit codes; their state is read from files


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
def process_lock(run_dir: Path) -> Iterator[int]:
    """A file descriptor that holds the lock of the run's new `.process` file, which appears with the lock taken.

    The file notes which process had written the run's status `before`: as long as that one has, the new one has not.
    The lock outlives this block in whoever inherited the descriptor: what `filelock` keeps from its children.
    """
    with contextlib.ExitStack() as held:
        with replaced_file(run_dir / PROCESS_FILE) as part:
            file = os.open(part, os.O_RDWR | os.O_CREAT, 0o644)
            held.callback(os.close, file)
            fcntl.flock(file, fcntl.LOCK_EX)
            note(file, {"phase": "launched", "before": read_or_empty(run_dir / STATUS).get("pid")})
        yield file


def launch(run_dir: Path, config: Mapping[str, Any], lock: int, queues: Path) -> None:
    """Start the waiting process of a run, see worker.py, which takes over the run's lock.

    queues: folder of the locks by which runs on one device take turns.
    """
    device = device_of(config)
    queue = queues / f".queue-{re.sub(r'[^a-z0-9]+', '-', device)}"
    slots = slots_of(device)
    environment = worker_environment()
    if slots > 1:  # or each run would take all cores for itself
        environment.setdefault("OMP_NUM_THREADS", str(max(1, _cores() // slots)))
    arguments = map(str, (run_dir.resolve(), lock, queue.resolve(), slots))
    with open(run_dir / LOG_FILE, "ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "app.runs.worker", *arguments],
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
    while _phase(run_dir) == "launched" and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)  # until it stands in line: the next run would overtake it otherwise


def collect() -> None:
    """Let the system forget the processes that have ended."""
    _children[:] = [child for child in _children if child.poll() is None]


def read_process(run_dir: Path) -> tuple[bool, dict[str, Any]]:
    """Whether the run's process lives, and what it noted about itself (`pid`, `phase`)."""
    try:
        with open(run_dir / PROCESS_FILE, encoding="utf-8") as file:  # one for both: a resume puts another in its place
            alive, text = is_held(file), file.read()
    except (OSError, UnicodeDecodeError):
        return False, {}
    with contextlib.suppress(ValueError):
        noted = json.loads(text)
        return alive, noted if isinstance(noted, dict) else {}
    return alive, {}


def _phase(run_dir: Path) -> Any:
    return read_process(run_dir)[1].get("phase")


def end(run_dir: Path) -> None:
    """End a process that has nothing to save, and note that it was stopped; after SECONDS_TO_END without mercy."""
    deadline = time.monotonic() + SECONDS_TO_END
    alive, process = read_process(run_dir)
    while alive and not isinstance(process.get("pid"), int) and time.monotonic() < deadline:
        time.sleep(0.05)  # launched just now
        alive, process = read_process(run_dir)
    for way in (signal.SIGTERM, signal.SIGKILL):
        if read_process(run_dir)[0] and isinstance(process.get("pid"), int):
            with contextlib.suppress(ProcessLookupError):  # it ended just now
                os.kill(process["pid"], way)
        while read_process(run_dir)[0] and time.monotonic() < deadline:
            time.sleep(0.05)
        deadline += 2
    status = read_or_empty(run_dir / STATUS)
    if status.get("state") != "stopped" or status.get("pid") != process.get("pid"):
        step, steps = (status.get(name, 0) for name in ("step", "steps"))
        write_status(run_dir, "stopped", step, steps, None, process.get("pid"))


def last_words(run_dir: Path) -> str | None:
    """The sentence that `python -m redistill` ended with, where it could not even write a status."""
    try:
        lines = (run_dir / LOG_FILE).read_text(errors="replace").strip().splitlines()
    except OSError:
        return None
    prefix = "redistill: "
    return lines[-1].removeprefix(prefix) if lines and lines[-1].startswith(prefix) else None

"""Waits for its turn, then becomes the training process: `python -m app.runs.worker RUN_DIR LOCK QUEUE SLOTS`.

Runs on one device take turns by file locks, which the kernel lets go of when their holder ends, however it ends. So
there is no queue to keep or to repair: a waiting run survives a restart of the app, and a killed run blocks nobody.
LOCK is an open file that holds the run's process lock, see `processes.process_lock`.
QUEUE is the lock of the first in line; as many runs as there are SLOTS hold one of the locks QUEUE-0, QUEUE-1, ...
Only the standard library is imported, since a waiting process should cost nothing. The locks are plain ones of the
system: they must pass to the program that this process becomes, and be given in the order in which they were asked
for, neither of which `filelock` does.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROCESS_FILE = ".process"
JOB_FILE = "job.json"  # title, time of the start, and
AFTER = "after"  # the name of the run whose network teaches this one, where it is trained first
SECONDS = 0.1  # between the first in line's looks for a free slot


def main(run_dir: Path, process: int, queue: Path, slots: int) -> None:
    """Keep the run's process lock, wait for a slot of the device, then run `redistill distill` under both."""
    before = json.loads(os.pread(process, 200, 0)).get("before")
    note(process, {"pid": os.getpid(), "phase": "queued", "before": before})
    _wait_for_teacher(run_dir)
    first_in_line = _lock(queue)
    slot = _free_slot(queue, slots)
    os.close(first_in_line)
    note(process, {"pid": os.getpid(), "phase": "started", "before": before})
    for file in (process, slot):
        os.set_inheritable(file, True)
    command = ["-m", "redistill", "distill", "--config", str(run_dir / "config.json"), "--run-dir", str(run_dir)]
    os.execv(sys.executable, [sys.executable, *command])


def _wait_for_teacher(run_dir: Path) -> None:
    """Wait until the run that is noted as AFTER has ended; where it did not finish, end with a sentence, which is then
    this run's own."""
    job = _read(run_dir / JOB_FILE)
    if not isinstance(job.get(AFTER), str):
        return
    teacher = run_dir.parent / job[AFTER]
    with contextlib.suppress(OSError), open(teacher / PROCESS_FILE) as process:
        fcntl.flock(process, fcntl.LOCK_SH)
    state = _read(teacher / "status.json").get("state")
    if state != "finished":
        title = _read(teacher / JOB_FILE).get("title", job[AFTER])
        sys.exit(f"redistill: Its teacher’s run “{title}” has not finished; go on with that one first, then with this.")


def _read(file: Path) -> dict[str, Any]:
    """The JSON object in a file; an empty one where it is missing or damaged."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _lock(path: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def _free_slot(queue: Path, slots: int) -> int:
    while True:
        for number in range(slots):
            file = os.open(queue.with_name(f"{queue.name}-{number}"), os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return file
            except BlockingIOError:
                os.close(file)
        time.sleep(SECONDS)


def note(file: int, values: Mapping[str, Any]) -> None:
    """Write what a run's process says about itself into the open file that holds its lock: `pid`, `phase`, and whose
    status was there `before`."""
    os.pwrite(file, json.dumps(values).ljust(80).encode(), 0)  # of one length: a reader never sees half of it


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))

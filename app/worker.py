"""Waits for its turn, then becomes the training process: `python -m app.worker RUN_DIR QUEUE_LOCK`.

Runs on one device take turns by a file lock, which the kernel passes on when its holder ends, however it ends. So
there is no queue to keep or to repair: a waiting run survives a restart of the app, and a killed run blocks nobody.
Only the standard library is imported, since a waiting process should cost nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from pathlib import Path

PROCESS_FILE = ".process"


def main(run_dir: Path, queue_lock: Path) -> None:
    """Hold the run's process lock, wait for the device's, then run `redistill distill` under both."""
    process = _lock(run_dir / PROCESS_FILE)
    _note(process, "queued")
    queue = _lock(queue_lock)
    _note(process, "started")
    for file in (process, queue):
        os.set_inheritable(file, True)
    command = ["-m", "redistill", "distill", "--config", str(run_dir / "config.json"), "--run-dir", str(run_dir)]
    os.execv(sys.executable, [sys.executable, *command])


def _lock(path: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def _note(file: int, phase: str) -> None:
    text = json.dumps({"pid": os.getpid(), "phase": phase}).encode()
    os.ftruncate(file, 0)
    os.pwrite(file, text, 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

"""The app in a process of its own, for what is measured from outside."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 180.0


class Served(NamedTuple):
    """An app that answers."""

    address: str
    pid: int


@contextmanager
def served_from(home: Path, *options: str, before: Sequence[str] = (), **environment: str) -> Iterator[Served]:
    """An app on a free port, until the end of the block; its log is `log.txt` in the folder `home`.

    options: further ones of app.py. before: a command that runs the rest of its line. environment: variables beside
    this process' own. Raises RuntimeError, with the log, where the app does not start.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = home / "log.txt"
    with open(log, "wb") as written:
        command = [*before, sys.executable, "app.py", "--port", str(port), *options]
        server = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stdout=written, stderr=written)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(address, server, log)
        yield Served(address, server.pid)
    finally:
        server.terminate()
        server.wait(timeout=30)


@contextmanager
def served(prepare: Callable[[Path], object] = Path.mkdir) -> Iterator[Served]:
    """`served_from`, with empty folders of runs and of gradio's files; `prepare` makes that of the runs first."""
    with tempfile.TemporaryDirectory() as home:
        prepare(Path(home) / "runs")
        places = {"REDISTILL_RUNS": f"{home}/runs", "GRADIO_TEMP_DIR": f"{home}/gradio"}
        with served_from(Path(home), **places) as app:
            yield app


def _wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"The app did not start:\n{log.read_text()}")

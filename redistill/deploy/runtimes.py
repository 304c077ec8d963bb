"""An exported file, run in its runtime in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .heap import heap_counter

# Runs a file in its runtime; not imported, since that may be away.
RUNNERS = {
    "onnxruntime": Path(__file__).with_name("onnx_runner.py"),
    "ExecuTorch": Path(__file__).with_name("executorch_runner.py"),
}
MINUTES = 60  # after which a process that answers nothing is ended


@dataclass(frozen=True)
class Answers:
    """What a runtime gives for pictures, and what a pass takes there."""

    outputs: np.ndarray  # float32 (N, ...)
    latency_ms: float  # of one pass, the median of 50 or as many as five seconds hold, one thread
    heap_bytes: int | None  # peak of the tensors of a pass, the input included; None where nothing could count
    heap_sizes: tuple[int, ...]  # of those alive then
    version: str  # of the runtime


def run_file(file: Path, pictures: np.ndarray, runtime: str) -> Answers:
    """The answers of a file to pictures, as its runner of `RUNNERS` takes them, from a process of its own.

    Raises ValueError, in one sentence, with what the runtime says of a file that it does not run; OSError where the
    disk has no room for the answers.
    """
    counter = heap_counter()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"LD_PRELOAD": str(counter)} if counter else {}
    with tempfile.TemporaryDirectory(prefix="redistill-") as folder:
        taken, given = Path(folder) / "pictures.npy", Path(folder) / "answers.npz"
        np.save(taken, pictures)
        command = [sys.executable, str(RUNNERS[runtime]), str(file), str(taken), str(given)]
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60 * MINUTES
            )
        except subprocess.TimeoutExpired:
            raise ValueError(
                f"{runtime} did not run {file.name} within {MINUTES} minutes; take fewer pictures or a smaller network."
            ) from None
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
            if number := re.search(r"^OSError: \[Errno (\d+)\]", lines[-1]):
                raise OSError(int(number[1]), os.strerror(int(number[1])))
            raise ValueError(f"{runtime} does not run {file.name}: {lines[-1][:300].rstrip('.')}.")
        with np.load(given) as found:
            heap = int(found["heap_bytes"]) if "heap_bytes" in found else None
            sizes = tuple(found["heap_sizes"].tolist()) if heap is not None else ()
            return Answers(found["outputs"], float(found["latency_ms"]), heap, sizes, str(found["version"]))


def run_content(content: bytes, name: str, pictures: np.ndarray, runtime: str) -> Answers:
    """`run_file` of a file that is not written yet, called `name`."""
    with tempfile.TemporaryDirectory(prefix="redistill-") as folder:
        file = Path(folder) / name
        file.write_bytes(content)
        return run_file(file, pictures, runtime)

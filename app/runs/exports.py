"""Exports for the page: a run's checkpoint as a file, made by the shell's command in a process of its own."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

from . import jobs
from .shell import ask_shell

# By kind of file: what the page calls it, its ending, and options of `redistill export`.
KINDS = {
    "onnx": ("Export .onnx", ".onnx", ("--to", "onnx")),
    "onnx-int8": ("Export .onnx in int8", "-int8.onnx", ("--to", "onnx", "--int8", "full")),
    "c": ("Export .c in int8", ".c", ("--to", "c")),
}
MOST_BYTES = 64 * 2**20  # of a file that the browser is handed
MINUTES = 30
_busy = threading.Lock()


class Exported(NamedTuple):
    """A file for the browser to save, and what the command said of it, a line each."""

    name: str
    content: bytes
    lines: list[str]


def export_run(name: str, kind: str) -> Exported:
    """The checkpoint of a run, exported; ValueError, in one sentence, where that cannot be."""
    with tempfile.TemporaryDirectory(prefix="redistill-") as folder:
        file, lines = write_export(jobs.read_run(name), kind, Path(folder))
        if (size := file.stat().st_size) > MOST_BYTES:
            raise ValueError(
                f"The file has {size:,} bytes, more than the {MOST_BYTES:,} that the page hands on; make it in the "
                f"shell: redistill export RUN_FOLDER {' '.join(KINDS[kind][2])}."
            )
        return Exported(file.name, file.read_bytes(), lines)


def write_export(run: jobs.Run, kind: str, folder: Path) -> tuple[Path, list[str]]:
    """Write the export of a run's checkpoint, one of KINDS, into a folder; the file, and what the command said of it.

    One is made at a time: ValueError for another meanwhile, and where it cannot be.
    """
    if kind not in KINDS:
        raise ValueError(f"No export {str(kind)[:80]!r}; expected one of {list(KINDS)}.")
    _, ending, options = KINDS[kind]
    if not _busy.acquire(blocking=False):
        raise ValueError("Another export is being made; try again when it is done.")
    try:
        file = folder / f"{run.name}{ending}"
        asked = ("export", str(run.path), *options, "--out", str(file))
        told = ask_shell(asked, "export", MINUTES, hidden={str(run.path): run.name})
        first, *more = told.strip().splitlines()
        return file, [first.replace(str(file), file.name), *more]
    finally:
        _busy.release()

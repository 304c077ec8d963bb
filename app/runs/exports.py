"""Exports for the page: a checkpoint as a file, made by the shell's command in a process of its own. No gradio."""

from __future__ import annotations

import io
import tempfile
import threading
import zipfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from redistill.checkpoint.sources import find_checkpoint, list_shipped
from redistill.deploy import runtimes
from redistill.deploy.formats import FORMATS

from . import run_list
from .results import all_results
from .shell import ask_shell

# By name of a format, as far as this machine can make it: what the page calls it.
KINDS = {
    "onnx": "Export .onnx",
    "onnx-int8": "Export .onnx in int8",
    "c": "Export .c in int8",
    **({"executorch": "Export .pte of ExecuTorch"} if find_spec("executorch") else {}),
}
MOST_BYTES = 64 * 2**20  # of a file that the browser is handed
MINUTES = 30
_busy = threading.Lock()
# Of a diffusion network: what draws with its .onnx by numpy and onnxruntime alone.
SAMPLER = Path(runtimes.__file__).with_name("onnx_sampler.py")


class Exported(NamedTuple):
    """A file for the browser to save, and what the command said of it, a line each."""

    name: str
    content: bytes
    lines: list[str]


def export_run(name: str, kind: str) -> Exported:
    """The checkpoint of a run, exported; ValueError, in one sentence, where that cannot be."""
    _check_kind(kind)
    run = run_list.read_run(name)
    return export_network(run.path, run.name, kind)


def export_results(keys: Sequence[str], kind: str) -> Exported:
    """The networks of results of Compare, by their keys: one as its file, several in a zip; ValueError as above."""
    _check_kind(kind)
    if not keys:
        raise ValueError("No result is ticked; tick one or two.")
    networks = [_network_of(key) for key in keys]
    made = [export_network(place, called, kind) for called, place in networks]
    if len(made) == 1:
        return made[0]
    names = " and ".join(called for called, _ in networks)
    content = _zipped({one.name: one.content for one in made})
    lines = [line for one in made for line in one.lines]
    return Exported(f"{kind}-of-{len(made)}.zip", content, [f"{names}, in one zip file", *lines])


def export_with_sampler(folder: Path, called: str) -> Exported:
    """A diffusion network as .onnx, in a zip with the script that draws with it; ValueError as above."""
    made = export_network(folder, called, "onnx")
    lines = [*made.lines, f"to draw: python {SAMPLER.name} {made.name} PICTURE.npy SEED"]
    return Exported(f"{called}-onnx.zip", _zipped({made.name: made.content, SAMPLER.name: SAMPLER.read_bytes()}), lines)


def export_network(place: Path, called: str, kind: str) -> Exported:
    """A checkpoint's or run's folder, exported and called so; ValueError, in one sentence, where that cannot be."""
    with tempfile.TemporaryDirectory(prefix="redistill-") as folder:
        file, lines = write_export(place, called, kind, Path(folder))
        if (size := file.stat().st_size) > MOST_BYTES:
            raise ValueError(
                f"The file has {size:,} bytes, more than the {MOST_BYTES:,} that the page hands on; make it in the "
                f"shell: redistill export RUN_FOLDER {' '.join(FORMATS[kind].options)}."
            )
        return Exported(file.name, file.read_bytes(), lines)


def write_export(place: Path, called: str, kind: str, folder: Path) -> tuple[Path, list[str]]:
    """Write the export of a checkpoint's or run's folder, one of KINDS, into a folder; the file, and what the command
    said of it.

    One is made at a time: ValueError for another meanwhile, and where it cannot be.
    """
    _check_kind(kind)
    _, ending, options = FORMATS[kind]
    if not _busy.acquire(blocking=False):
        raise ValueError("Another export is being made; try again when it is done.")
    try:
        file = folder / f"{called}{ending}"
        asked = ("export", str(place), *options, "--out", str(file))
        told = ask_shell(asked, "export", MINUTES, hidden={str(place): called})
        first, *more = told.strip().splitlines()
        return file, [first.replace(str(file), file.name), *more]
    finally:
        _busy.release()


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"No export {kind[:80]!r}; expected one of {list(KINDS)}.")


def _network_of(key: str) -> tuple[str, Path]:
    """What the network of a result is called, and its folder; ValueError for one of which no weights are kept."""
    origin, _, name = key.partition(":")
    if origin == "run":
        run = run_list.read_run(name)
        return run.name, run.path
    if origin == "shipped" and name in list_shipped():
        return name, find_checkpoint(name)
    title = next((result.title for result in all_results() if result.key == key), key)
    raise ValueError(
        f"Of “{title}” only the figures are kept, not its weights; tick an own run, or one with a checkpoint."
    )


def _zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()

"""What is known of the files that a run's network was exported to: noted in the run's folder, for its report."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common.files import sha256_of, write_json
from ..training.run import STATUS
from ..training.run_state import read_or_empty
from .judged import Export

EXPORTS = "exports.json"  # in a run's folder


@dataclass(frozen=True)
class NotedExport:
    """A file as it was written, and what its runtime made of it; None for what was not measured."""

    name: str
    bytes: int
    sha256: str
    numbers: str  # "fp32", "int8", or "int8 weights"; of one in patches also which
    runtime: str  # name and version
    test_accuracy: float | None
    pictures: int | None
    latency_ms: float  # of one image, one thread
    heap_bytes: int | None  # peak of its tensors, or the arena that it plans


def noted(export: Export, int8: str | None = None, patch: tuple[str, int] | None = None) -> NotedExport:
    """The facts of a file that was just written; `int8` is the kind of its quantization, `patch` as of `export_c`."""
    numbers = {None: "fp32", "full": "int8", "weights": "int8 weights"}[int8]
    numbers += f", {patch[1]}×{patch[1]} patches to {patch[0]}" if patch else ""
    return NotedExport(
        export.file.name,
        export.bytes,
        sha256_of(export.file),
        numbers,
        export.runtime,
        export.test_accuracy,
        export.pictures,
        export.latency_ms,
        export.heap_bytes,
    )


def note_export(folder: Path, export: NotedExport) -> None:
    """Note an export of the checkpoint in `folder`, where that is a run's; it takes the place of one of its kind."""
    if not (folder.parent / STATUS).is_file():
        return
    known = read_or_empty(folder.parent / EXPORTS)
    weights = weights_sha256(folder)
    files = known.get("files") if known.get("weights") == weights else None
    kept = dict(files) if isinstance(files, Mapping) else {}
    kept[f"{export.runtime.split(' ')[0]} {export.numbers}"] = dataclasses.asdict(export)
    with contextlib.suppress(OSError):  # the export itself is there
        write_json(folder.parent / EXPORTS, {"weights": weights, "files": kept})


def exports_noted(folder: Path) -> list[NotedExport]:
    """What was noted of the checkpoint in `folder`, as long as its weights are those that were exported."""
    known = read_or_empty(folder.parent / EXPORTS)
    files = known.get("files")
    if not isinstance(files, Mapping) or known.get("weights") != weights_sha256(folder):
        return []
    return [export for value in files.values() if (export := _read(value)) is not None]


def _read(value: Any) -> NotedExport | None:
    try:
        return NotedExport(**value)
    except TypeError:  # written by hand, or by another version
        return None


def weights_sha256(folder: Path) -> str:
    """One fingerprint of all weights of a checkpoint."""
    found = hashlib.sha256()
    for file in sorted(folder.rglob("*.safetensors")):
        found.update(bytes.fromhex(sha256_of(file)))
    return found.hexdigest()

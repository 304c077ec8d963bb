"""The files that a network can be exported to: what writes each, how it ends, and how the shell is asked for it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

from .c_export import export_c
from .executorch_export import export_executorch
from .judged import Export
from .onnx_export import export_onnx
from .onnx_int8 import export_int8


class Format(NamedTuple):
    """One kind of file."""

    write: Callable[..., Export]  # takes an `Opened`, the file, and what that kind can have otherwise
    ending: str  # of the file's name
    options: tuple[str, ...]  # of `redistill export`


# By name, which is what `--to` takes where that alone asks for it.
FORMATS = {
    "onnx": Format(export_onnx, ".onnx", ("--to", "onnx")),
    "onnx-int8": Format(functools.partial(export_int8, kind="full"), "-int8.onnx", ("--to", "onnx", "--int8", "full")),
    "c": Format(export_c, ".c", ("--to", "c")),
    "executorch": Format(export_executorch, ".pte", ("--to", "executorch")),
}
TARGETS = tuple(dict.fromkeys(kind.options[1] for kind in FORMATS.values()))  # what `--to` takes

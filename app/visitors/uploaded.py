"""Files as they come in by gradio's uploads: bounded, and gone as soon as they were taken."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from redistill.common.disk import folder_bytes

from ..words.numbers import format_bytes
from .limits import limits_here

HELD = 10  # uploads of the largest size may lie here at a time, sent and not taken
LOOK_SECONDS = 1.0  # between two counts of what lies here
_counted: list[tuple[float, int]] = []


@contextlib.contextmanager
def taken(file: Any) -> Iterator[None]:
    """A block that takes an uploaded file, which is deleted at its end however it ends. A file from elsewhere stays,
    and what is no path at all is for the block to refuse."""
    try:
        yield
    finally:
        path = Path(os.path.realpath(file)) if isinstance(file, (str, Path)) else None
        if path and path.is_relative_to(os.path.realpath(get_upload_folder())):
            path.unlink(missing_ok=True)


def refuse_upload(said_bytes: int | None) -> str:
    """Why an upload that says it has so many bytes is not taken; empty where it is, as always on a laptop."""
    most = limits_here().upload_bytes
    if most is None:
        return ""
    if said_bytes is not None and said_bytes > most + 2**16:  # what stands around the file in the request
        return f"The file is too large; here at most {format_bytes(most)} are taken: bring fewer or smaller pictures."
    if _held() > HELD * most:
        return "Too much is being uploaded here at the moment; try again in some minutes."
    return ""


def _held() -> int:
    if not _counted or time.monotonic() - _counted[0][0] > LOOK_SECONDS:
        _counted[:] = [(time.monotonic(), folder_bytes(Path(get_upload_folder())))]
    return _counted[0][1]

"""Places of this machine are left out of what the page says: a file is called by its name alone. No gradio."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from pathlib import Path

from redistill.checkpoint import sources
from redistill.common.cache import cache_dir, data_dir

# Any path from the root, and the name at its end; no part of an address or of a fraction is one.
_UPLOADED = re.compile(r"(?:gradio/)?\b[0-9a-f]{64}/")  # folders that uploaded files lie in, each in its own
_PATH = re.compile(r"(?<![\w:/.<~-])~?(?:/[\w.+@~-]+)+/([\w.+@~-]+)")


def is_shared() -> bool:
    """Whether strangers are at the page: on every Space, which SPACE_ID tells."""
    return "SPACE_ID" in os.environ


def hide_places(text: str) -> str:
    """The text without the folders of cache, runs, data, uploads and checkpoints, of this program and the user's home.

    Where strangers are at the page, every path is left out, known or not.
    """
    text = _PATH.sub(r"\1", text) if is_shared() else text
    for place in _places():
        text = text.replace(f"{place}/", "").replace(place, Path(place).name)
    return _UPLOADED.sub("", text)


def _places() -> list[str]:
    """The longest first: one may lie in another. A root is none, which would take every slash."""
    found = [tempfile.gettempdir(), str(sources.SHIPPED), str(Path(__file__).resolve().parents[2])]
    for name in ("REDISTILL_RUNS", "HF_HOME", "HF_HUB_CACHE", "GRADIO_TEMP_DIR"):
        if chosen := os.environ.get(name):
            found.append(os.path.expanduser(chosen))
    with contextlib.suppress(ValueError, RuntimeError):  # a user without a home
        found += [str(cache_dir() / "runs"), str(cache_dir() / "uploads"), str(cache_dir()), str(data_dir())]
        found.append(str(Path.home()))
    return sorted({place for place in found if len(Path(place).parts) > 1}, key=len, reverse=True)

"""Buttons that export: what they hand the browser, and what is said of it."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from html import escape
from typing import Any

EXPORTING = """() => '<p class="subline" role="status">Exporting; the file is run in its runtime first…</p>'"""

PRINTED = '<p class="subline">Saved; open it in a browser, and print it for a PDF of one page.</p>'


def handed(name: str, content: bytes) -> dict[str, Any]:
    """The value of a `SaveFiles` that has the browser save a file."""
    return {"name": name, "base64": base64.b64encode(content).decode(), "asked": time.time_ns()}


def told(lines: Sequence[str]) -> str:
    """How it ran, a line each."""
    rows = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="subline" id="exported">{rows}</ul>'

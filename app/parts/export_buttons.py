"""Buttons that export: what they hand the browser, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

EXPORTING = """() => '<p class="subline" role="status">Exporting; the file is run in its runtime first…</p>'"""

PRINTED = '<p class="subline">Saved; open it in a browser, and print it for a PDF of one page.</p>'


def told(lines: Sequence[str]) -> str:
    """How it ran, a line each."""
    rows = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<ul class="subline" id="exported">{rows}</ul>'

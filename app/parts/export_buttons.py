"""Buttons that export: how they are connected, what they hand the browser, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any, Protocol

import gradio as gr

from .events import UNSEEN, Handler, connect, say_at_once
from .scripted import SaveFiles, handed

PRINTED = '<p class="subline">Saved; open it in a browser, and print it for a PDF of one page.</p>'


class Made(Protocol):
    """A file that was exported, and how it ran in its runtime, in lines."""

    name: str
    content: bytes
    lines: Sequence[str]


def attach_exports(
    buttons: SaveFiles, said: gr.HTML, export: Handler, inputs: Sequence[gr.components.Component]
) -> None:
    """Let a click on one of `buttons` export: `export` gets the event and the inputs, and returns as `handed_over`.

    Two at a time, in the queue: what is exported is run first.
    """
    say_at_once(buttons.ask, "Exporting; the file is run in its runtime first…", said)
    connect(buttons.ask, export, inputs, {"exports": buttons, "said": said}, concurrency_limit=2, **UNSEEN)


def handed_over(made: Made) -> dict[str, Any]:
    """The file for the browser to save, and beside the buttons how it ran, a line each."""
    rows = "".join(f"<li>{escape(line)}</li>" for line in made.lines)
    return {"exports": handed(made.name, made.content), "said": f'<ul class="subline" id="exported">{rows}</ul>'}

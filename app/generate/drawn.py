"""What is done with images that were drawn: looked at one by one, and saved."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ..parts.events import refused_in
from ..parts.fragments import notice
from ..parts.scripted import event_values, file_asked, handed
from . import view
from .files import grid_png, zip_file
from .samples import Samples
from .sheet import sheet_png

FILES = {"grid": "Grid as PNG, pixel for pixel", "zip": "All images as zip"}


def look(event: gr.EventData, kept: Any) -> dict[str, str]:
    """The way from noise to the image that was clicked, in every network; what was found near another goes."""
    try:
        return {"way": view.way_card(_kept_samples(kept), _clicked_seed(event)), "near": ""}
    except ValueError as error:
        return {"way": notice("", str(error)), "near": ""}


@refused_in("near")
def act_on_way(event: gr.EventData, kept: Any) -> dict[str, Any]:
    """What a button below the image that is looked at asks for: the training pictures nearest to it, or its sheet."""
    found, seed = _kept_samples(kept), _clicked_seed(event)
    if event_values(event).get("act") == "sheet":
        return {"files": handed(f"redistill-seed-{seed}-sheet.png", sheet_png(found, seed))}
    return {"near": view.nearest_card(found, seed)}


@refused_in("said", "Nothing saved.")
def save(event: gr.EventData, kept: Any) -> dict[str, Any]:
    """The file that was asked for, one of FILES, for the browser to save."""
    found, asked = _kept_samples(kept), file_asked(event, FILES)
    name, content = ("images.png", grid_png(found)) if asked == "grid" else ("images.zip", zip_file(found))
    return {"files": handed(name, content)}


def _kept_samples(value: Any) -> tuple[Samples, ...]:
    if not isinstance(value, tuple) or not value:
        raise ValueError("The images are no longer here; draw them again.")
    return value


def _clicked_seed(event: Any) -> int:
    seed = event_values(event).get("seed")
    if not isinstance(seed, str) or not seed.isdecimal() or len(seed) > 20:
        raise ValueError(f"Seed is {str(seed)[:40]!r}; expected that of an image.")
    return int(seed)

"""Explore without a page around it: its handlers, called with values by the names of the controls."""

from __future__ import annotations

from functools import cache
from typing import Any

import gradio as gr

from app.explore import page
from app.parts.trace import Place
from helpers.shown import by_name

EARLY = {"conv1": 4, "maxpool": 1, "layer2.0": 2, "layer3.0": 2, "layer4.0": 1}
USUAL = {
    "teacher": "narrow_resnet",
    "image_size": 64,
    "picker": EARLY,
    "with_red": True,
    "gate": True,
    "gate_kernel": 1,
    "residual": True,
    "residual_kernel": 3,
    "points": "all",
    "accounting": "fused",
    "dtype": "fp32",
    "budget": "none",
    "kib": None,
    "pins": (),
    "place": Place(),
}
SETTINGS = tuple(USUAL)[:11]  # what makes a configuration
LOOK = tuple(USUAL)[11:]


@cache
def tab() -> page.ExploreTab:
    with gr.Blocks():
        return page.build()


def values_of(**changes: Any) -> dict[Any, Any]:
    """What the page hands to a handler: USUAL, with changes."""
    parts = vars(tab()) | vars(tab().controls)
    return {parts[name]: value for name, value in (USUAL | changes).items()}


def named(shown: dict[Any, Any]) -> dict[str, Any]:
    """What a handler shows, by the names of the components."""
    return by_name(shown, tab(), tab().controls, tab().results)


def call(handler: str, event: Any = None, **changes: Any) -> dict[str, Any]:
    """What a handler of the tab shows for USUAL with changes."""
    return named(getattr(tab(), handler)(values_of(**changes), *([event] if event is not None else [])))

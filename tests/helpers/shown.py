"""What the page's handlers show, by the names of a tab's components."""

from __future__ import annotations

from typing import Any

import gradio as gr


def by_name(shown: dict[Any, Any], *parts: Any) -> dict[str, Any]:
    """Values by the names that the dataclasses `parts` give their components; empty where all stays as it is."""
    if shown == gr.skip():
        return {}
    names = {id(component): name for part in parts for name, component in vars(part).items()}
    return {names[id(component)]: value for component, value in shown.items()}

"""HTML whose buttons can be listened to, and what their clicks carry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

_LISTEN = """
element.addEventListener('click', event => {
  const button = event.target.closest('[data-act]');
  if (button) trigger('act', {...button.dataset});
});
"""

class ActionHTML(gr.HTML):
    """HTML text; a click on an element with a `data-act` attribute triggers `act` with all its data attributes."""

    def __init__(self, value: str = "", **kwargs: Any) -> None:
        super().__init__(value, js_on_load=_LISTEN, **kwargs)
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

def event_values(event: Any) -> Mapping[str, Any]:
    """What an event carries, whoever sent it; ValueError when that is nothing to read."""
    values = getattr(event, "_data", None)
    if not isinstance(values, Mapping):
        raise ValueError("The page sent nothing that says what was clicked; click once more.")
    return values

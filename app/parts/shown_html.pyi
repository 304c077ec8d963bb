"""Components that a page draws by its own JavaScript: values go there as JSON, and nothing comes back."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

class ShownHTML(gr.HTML):
    """A gradio component whose value, anything that JSON can say, the page reads with `JSON.parse(props.value)`."""

    def postprocess(self, value: Any) -> str | None:
        """The value as JSON: text passes gradio's page at once, while every list in a dict would be watched there."""
        return None if value is None else json.dumps(value, separators=(",", ":"))

    def preprocess(self, payload: Any) -> None:
        """What was shown never comes back from the page."""
        return None

    def api_info(self) -> dict[str, Any]:
        return {"type": "string"}
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

"""A radio for choices that come and go with files."""

from __future__ import annotations

from typing import Any

import gradio as gr

class LiveRadio(gr.Radio):
    """A radio whose value the handlers check themselves.

    gradio checks it against the choices that its server remembers. Those lag behind the page's when the clock's look
    at the files and a start overlap, and the next look would fail for a run that is there.
    """

    is_template = True  # the browser draws it as a plain radio

    def preprocess(self, payload: Any) -> Any:
        """The value as the page sent it, whatever it is."""
        return payload
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

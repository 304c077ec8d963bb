"""Fields whose values reach their handlers whatever they are: those check them themselves, and say what does not fit.

gradio refuses a number out of range before the handler runs: the page, which does not show such errors, would keep
its old figures and messages, and a field of whole numbers would round what was typed. A `minimum` or `maximum` here is
only what the browser's arrows keep to.
"""

from __future__ import annotations

from typing import Any

import gradio as gr


class NumberField(gr.Number):
    """A number, None while the field is empty."""

    is_template = True  # the browser draws it as a plain number

    def preprocess(self, payload: Any) -> Any:
        """The value as the page sent it, whatever it is."""
        return payload


class ClampedSlider(gr.Slider):
    """A slider whose value is the nearest end for a number beyond it: what its field jumps to when it is left."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """The value within the range, the smaller end for an empty field; what is no number as the page sent it."""
        if payload is None:
            return self.minimum
        is_number = isinstance(payload, (int, float)) and not isinstance(payload, bool)
        return min(max(payload, self.minimum), self.maximum) if is_number else payload


class LiveRadio(gr.Radio):
    """A radio for choices that come and go with files.

    gradio checks its value against the choices that its server remembers. Those lag behind the page's when the clock's
    look at the files and a start overlap, and the next look would fail for a run that is there.
    """

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """The value as the page sent it, whatever it is."""
        return payload


class PictureField(gr.Image):
    """A picture from a file, the clipboard or a camera: the place of its file, None while there is none.

    gradio would decode it here, and a damaged or huge one would be an error that the page does not show.
    """

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """Where gradio keeps the file that was uploaded."""
        return getattr(payload, "path", None)

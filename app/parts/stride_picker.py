"""One control for each pooling point: a row of native radio buttons, with the map sizes before and after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from redistill.common.values import is_whole

from .scripted import script

MAX_POINTS = 64


class StridePicker(gr.HTML):
    """A gradio component whose value maps layer paths to strides, e.g. `{"conv1": 4, "maxpool": 1}`.

    `points` are dicts of name, label, choices and teacher (its stride); `sizes` maps names to a short text such as
    "64 → 16 px". What comes back from the page reaches the handler whatever it is, which checks it by
    `check_strides_form`: an error here would reach the page without a word. `pick` is triggered when the person chooses
    a stride.
    """

    def __init__(
        self,
        value: Mapping[str, int] | None = None,
        *,
        points: Sequence[Mapping[str, Any]] = (),
        sizes: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        # Attributes too: gradio takes a missing one that the script names in quotes for an event of this component, and
        # then copies the component, with the server that it belongs to, each time a page is opened.
        self.points = [dict(point) for point in points]
        self.sizes = dict(sizes or {})
        super().__init__(
            dict(value or {}),
            html_template='<div class="strides"></div>',
            js_on_load=script("stride_picker"),
            points=self.points,
            sizes=self.sizes,
            **kwargs,
        )

    def postprocess(self, value: Mapping[str, int] | None) -> dict[str, int] | None:
        return None if value is None else dict(value)

    def preprocess(self, payload: Any) -> Any:
        """The value as the page sent it, whatever it is."""
        return payload

    def api_info(self) -> dict[str, Any]:
        return {"type": "object", "description": "strides by layer path", "additionalProperties": {"type": "integer"}}


def check_strides_form(value: Any) -> dict[str, int]:
    """`value` as a mapping of layer paths to whole numbers; ValueError for anything else."""
    if not isinstance(value, Mapping) or len(value) > MAX_POINTS:
        raise ValueError("Strides must map layer paths to whole numbers, such as {'conv1': 4}.")
    for name, stride in value.items():
        if not isinstance(name, str) or not is_whole(stride):
            raise ValueError(
                f"Stride of {str(name)[:80]!r} is {str(stride)[:80]!r}; expected a whole number such as 1 or 2."
            )
    return dict(value)

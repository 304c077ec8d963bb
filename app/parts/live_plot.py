"""A plot that is redrawn in place: Plotly.react on the same node keeps zoom, and costs a tenth of a rebuilt plot."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import plotly

from .scripted import ShownHTML, script

PLOTLY_JS = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
gr.set_static_paths([PLOTLY_JS])

_SAVE = (
    '<div class="plot-tools">Save as <button type="button" class="plain" data-format="png">PNG</button>'
    '<button type="button" class="plain" data-format="svg">SVG</button></div>'
)


class LivePlot(ShownHTML):
    """A gradio component whose value is a Plotly figure dict (`data`, `layout`), or None for nothing yet.

    The value may say more: its `height` in CSS pixels, what of the layout is otherwise where there is little room
    (`narrow`: in less than its `below`, or 560 pixels) and in a saved picture (`saved`), and with `zooms` that dragging
    triggers `zoom`, the ends of both axes as `x` and `y`, and a double click one without them: whoever hears it answers
    with another figure.
    `height` is in CSS pixels. Colours may be CSS variables, `var(--name)`. Clicking a mark triggers `mark_click` with
    its customdata; a "point-mark" event of the document, with such customdata as its detail, points at that mark. With
    `can_save`, buttons save the figure as a picture under its `title`, in a file named `file`.
    """

    def __init__(
        self,
        value: dict[str, Any] | None = None,
        *,
        height: int = 320,
        label: str = "",
        can_save: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            value,
            html_template=f'<div class="liveplot" role="img" aria-label="{escape(label)}" style="height:{height}px" '
            f'data-library="/gradio_api/file={PLOTLY_JS}"></div>{_SAVE if can_save else ""}',
            js_on_load=script("live_plot"),
            **kwargs,
        )

"""A plot that is redrawn in place: Plotly.react on the same node keeps zoom, and costs a tenth of a rebuilt plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import plotly

PLOTLY_JS = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
gr.set_static_paths([PLOTLY_JS])

# The library is loaded once a page, however many plots there are. What is drawn is the last value that arrived.
_DRAW = """
const host = element.querySelector('.liveplot');
const library = window.plotlyReady ??= new Promise((resolve, reject) => {
  const script = document.createElement('script');
  script.src = props.library;
  script.onload = () => resolve(window.Plotly);
  script.onerror = () => reject(new Error('plotly.min.js did not load'));
  document.head.appendChild(script);
});
// Leaves out the labels that would lie on the one before them.
function spread(axis, width) {
  if (!axis?.ticktext) return axis;
  const scale = (width - 70) / (axis.range[1] - axis.range[0]);
  let free = -Infinity;
  const kept = axis.tickvals.map((value, i) => {
    const half = axis.ticktext[i].length * 3.6 + 4;
    const fits = value * scale - half >= free;
    if (fits) free = value * scale + half;
    return fits;
  });
  const pick = list => list.filter((_, i) => kept[i]);
  return {...axis, tickvals: pick(axis.tickvals), ticktext: pick(axis.ticktext)};
}
let drawn = false;
async function draw() {
  if (!props.value?.data) return;
  const Plotly = await library;
  const figure = props.value;  // what is there by now; an event that skips the plot may have wrapped it anew
  if (!figure?.data || !host.isConnected || !host.offsetWidth) return;
  const font = {...figure.layout.font, family: getComputedStyle(host).fontFamily};
  const layout = {...figure.layout, font, width: host.offsetWidth, height: host.offsetHeight};
  layout.xaxis = spread(layout.xaxis, host.offsetWidth);
  await Plotly.react(host, figure.data, layout, {displayModeBar: false, responsive: false});
  if (!drawn) {
    drawn = true;
    host.on('plotly_click', event => trigger('layer_click', {
      trace: event.points[0].curveNumber, index: event.points[0].pointIndex}));
  }
  host.dataset.revision = String(Number(host.dataset.revision || 0) + 1);
}
watch('value', draw);
// Also draws what arrived while the plot's tab was hidden, and follows the window and the sidebar.
new ResizeObserver(draw).observe(host);
draw();
"""


class LivePlot(gr.HTML):
    """A gradio component whose value is a Plotly figure dict (`data`, `layout`), or None for nothing yet.

    `height` is in CSS pixels. Clicking a mark triggers `layer_click` with its trace and index.
    """

    def __init__(
        self, value: dict[str, Any] | None = None, *, height: int = 320, label: str = "", **kwargs: Any
    ) -> None:
        super().__init__(
            value,
            html_template='<div class="liveplot" role="img" aria-label="{{plot_label}}" '
            'style="height:{{plot_height}}px"></div>',
            js_on_load=_DRAW,
            library=f"/gradio_api/file={PLOTLY_JS}",
            plot_label=label,
            plot_height=height,
            **kwargs,
        )

    def postprocess(self, value: dict[str, Any] | None) -> dict[str, Any] | None:
        return value

    def preprocess(self, payload: Any) -> None:
        """A figure never comes back from the page."""
        return None

    def api_info(self) -> dict[str, Any]:
        return {"type": "object"}

"""The layers of teacher and student as a table: sorted in the page, downloaded as CSV, each row a button."""

from __future__ import annotations

from typing import Any

from redistill.memory import MemoryProfile
from redistill.memory.comparison import Comparison

from ..parts.shown_html import ShownHTML
from ..parts.tables import TABLE_TOOLS
from ..parts.trace import layer_label

# Rows are built when the table can be seen.
_TABLE = """
const columns = [
  {title: 'No.', value: (row, i) => i, order: 1},
  {title: 'Layer', value: row => row[0], order: 1},
  {title: 'Peak, bytes', value: row => row[1], order: -1},
  {title: 'Output', value: row => row[2], order: 0},
  {title: 'Output, bytes', value: row => row[3], order: -1},
  {title: 'RED', value: row => row[4], order: -1},
];
const box = element.querySelector('.layers-box');
const networks = element.querySelector('.layers-networks');
let network = 'student', column = 0, order = 1, built = null;

function build() {
  if (!props.value || !box.offsetWidth || built === props.value) return;
  built = props.value;
  const layers = JSON.parse(built);
  for (const button of networks.children) button.setAttribute('aria-pressed', button.dataset.network === network);
  const rows = layers[network].map((row, i) => ({row, key: columns[column].value(row, i), number: i + 1}));
  rows.sort((a, b) => order * (a.key < b.key ? -1 : a.key > b.key ? 1 : 0) || a.number - b.number);
  const table = make('table', 'facts layer-table');
  const head = table.createTHead().insertRow();
  columns.forEach((one, i) => head.append(header(one, i, i === column && order)));
  const body = table.createTBody();
  for (const {row, number} of rows) {
    const line = body.insertRow();
    const layer = make('button', 'plain', row[0]);
    Object.assign(layer, {type: 'button', title: `What is alive at ${row[0]}`});
    layer.dataset.layer = row[5];
    line.insertCell().textContent = number;
    line.insertCell().append(layer);
    line.insertCell().textContent = row[1].toLocaleString('en');
    line.insertCell().textContent = row[2];
    line.insertCell().textContent = row[3].toLocaleString('en');
    line.insertCell().textContent = row[4] ? 'RED' : '';
    if (row[4]) line.className = 'red-row';
  }
  box.replaceChildren(table);
}
function again(focus) {
  built = null;
  build();
  box.querySelector(focus)?.focus();
}
function csv() {
  const layers = JSON.parse(props.value);
  const lines = [['network', 'order', 'layer', 'peak_bytes', 'output_shape', 'output_bytes', 'red']];
  for (const name of ['teacher', 'student'])
    layers[name].forEach(([layer, peak, shape, bytes, red], i) =>
      lines.push([name, i + 1, layer, peak, shape.replaceAll('×', 'x'), bytes, red]));
  saveCsv(lines, layers.file);
}
element.addEventListener('click', event => {
  const data = event.target.closest('button')?.dataset;
  if (!data) return;
  if ('csv' in data) csv();
  if ('layer' in data) trigger('layer_pick', {network, layer: data.layer});
  if ('network' in data) {
    network = data.network;
    again();
  }
  if ('column' in data) {
    const chosen = Number(data.column);
    order = chosen === column ? -order : columns[chosen].order;
    column = chosen;
    again(`[data-column='${chosen}']`);
  }
});
watch('value', build);
new ResizeObserver(build).observe(box);
build();
"""

_TEMPLATE = """
<div class="layers-bar"><span class="layers-networks switch" role="group" aria-label="Network">
<button type="button" data-network="student">Student</button>
<button type="button" data-network="teacher">Teacher</button>
</span><button type="button" class="plain" data-csv>Save both as CSV</button></div>
<div class="layers-box"></div>
"""


class LayerTable(ShownHTML):
    """A gradio component whose value is made by `layer_rows`. Choosing a layer triggers `layer_pick` with its place."""

    def __init__(self, value: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(value, html_template=_TEMPLATE, js_on_load=TABLE_TOOLS + _TABLE, **kwargs)


def layer_rows(found: Comparison, file: str) -> dict[str, Any]:
    """The layers of both networks in the order in which they run, and the name of a file with them.

    A row is the layer as shown, its peak in bytes, the shape of its output, the bytes of that, 1 for a layer of a RED
    block, else 0, and the layer's path.
    """
    return {"student": _rows(found.student), "teacher": _rows(found.teacher), "file": file}


def _rows(profile: MemoryProfile) -> list[tuple]:
    return [
        (
            layer_label(layer.name),
            layer.peak_bytes,
            "×".join(map(str, layer.output_shape)),
            layer.output_bytes,
            int(layer.is_red),
            layer.name,
        )
        for layer in profile.layers
    ]

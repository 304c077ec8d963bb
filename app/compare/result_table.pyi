"""Results as a table: sorted and filtered in the page, downloaded as CSV, each row a button."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..parts import plots
from ..parts.shown_html import ShownHTML
from ..parts.tables import TABLE_TOOLS
from ..runs.results import Result, pareto_front
from ..words.settings import LABELS, row_label, setting_rows

MEANS = "Figures of several seeds are means, training times medians."
_TABLE = """
const columns = [
  {title: 'Network', order: 1},
  {},  // the score, which the value names
  {title: 'Peak', order: 1},
  {title: 'Parameters', order: 1},
  {title: 'Training', order: 1},
  {title: 'Seeds', order: 0},
];
const box = element.querySelector('.layers-box');
const filter = element.querySelector('[type=search]');
let column, order, built = null;

function build() {
  if (!props.value || !box.offsetWidth || built === props.value) return;
  built = props.value;
  const {score, score_order, rows, note} = JSON.parse(built);
  element.querySelector('.means').textContent = note;
  if (columns[1].title !== score) {
    columns[1] = {title: score, order: score_order};
    [column, order] = [1, score_order];
  }
  const key = row => row.sort[column];
  const sorted = rows.map((row, i) => ({row, i}));
  // Rows without a figure stand at the end, whichever way the others are sorted.
  sorted.sort((a, b) => (key(a.row) === null) - (key(b.row) === null)
    || order * (key(a.row) < key(b.row) ? -1 : key(a.row) > key(b.row) ? 1 : 0) || a.i - b.i);
  const table = make('table', 'facts result-table');
  const head = table.createTHead().insertRow();
  columns.forEach((one, i) => head.append(header(one, i, i === column && order)));
  const body = table.createTBody();
  for (const {row} of sorted) {
    const line = body.insertRow();
    if (row.best) line.className = 'best';
    if (row.chosen) line.ariaSelected = 'true';
    const name = make('button', 'plain', row.cells[0]);
    name.type = 'button';
    name.dataset.key = row.key;
    const first = line.insertCell();
    first.append(name, make('span', 'result-where', row.where));
    row.cells.slice(1).forEach(text => line.insertCell().textContent = text);
  }
  box.replaceChildren(table);
  narrow();
}
// Keeps the rows that contain every word, in their names or in what stands below them.
function narrow() {
  const words = filter.value.toLowerCase().split(/\s+/);
  const rows = [...box.querySelectorAll('tbody tr')];
  for (const row of rows) {
    const text = row.cells[0].textContent.toLowerCase();
    row.hidden = !words.every(word => text.includes(word));
  }
  const none = rows.length > 0 && rows.every(row => row.hidden);
  element.querySelector('.nothing').hidden = !none;
}
function again(focus) {
  built = null;
  build();
  box.querySelector(focus)?.focus();
}
element.addEventListener('click', event => {
  const row = event.target.closest('tbody tr');
  if (row) return trigger('pick', {key: row.querySelector('[data-key]').dataset.key});
  const data = event.target.closest('button')?.dataset;
  if (data && 'csv' in data) {
    const {csv, file} = JSON.parse(props.value);
    saveCsv(csv, file);
  }
  if (data && 'column' in data) {
    const chosen = Number(data.column);
    order = chosen === column ? -order : columns[chosen].order;
    column = chosen;
    again(`[data-column='${chosen}']`);
  }
});
// The chart points at the row under the pointer or the focus.
function point(event) {
  const key = event.target.closest('tbody tr')?.querySelector('[data-key]').dataset.key;
  document.dispatchEvent(new CustomEvent('point-mark', {detail: key}));
}
for (const kind of ['mouseover', 'mouseleave', 'focusin', 'focusout']) box.addEventListener(kind, point);
filter.addEventListener('input', narrow);
watch('value', build);
new ResizeObserver(build).observe(box);
build();
"""

_TEMPLATE = """
<div class="layers-bar"><span class="card-title">All results</span>
<input type="search" class="filter" placeholder="Filter by name" aria-label="Filter results by name">
<button type="button" class="plain" data-csv>Save as CSV</button></div>
<div class="layers-box"></div>
<p class="subline means"></p>
<p class="subline nothing" hidden>No result has all of these words in its name.</p>
"""

class ResultTable(ShownHTML):
    """A gradio component whose value is made by `result_rows`. Choosing a row triggers `pick` with its `key`.

    The row under the pointer is a "point-mark" event of the document, see `LivePlot`.
    """

    def __init__(self, value: dict[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(value, html_template=_TEMPLATE, js_on_load=TABLE_TOOLS + _TABLE, **kwargs)
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

def result_rows(results: Sequence[Result], chosen: str | None) -> dict[str, Any]:
    """Results of one group for `ResultTable`: cells as shown and as sorted, and a CSV file with every setting.

    Figures of a result of several seeds are means over them, and the training time their median.
    """
    is_share = not results or results[0].is_classifier
    best = {result.key for result in pareto_front(results)}
    return {
        "score": "Test accuracy" if is_share else "Test loss",
        "score_order": -1 if is_share else 1,
        "rows": [_row(result, result.key in best, result.key == chosen) for result in results],
        "note": MEANS if any(len(result.seeds) > 1 for result in results) else "",
        "csv": _csv(results),
        "file": _file_name(results[0].group_title) if results else "redistill",
    }

def _file_name(group: str) -> str:
    return f"redistill-{re.sub('[^a-z0-9]+', '-', group.lower()).strip('-')}"

def seed_row(result: Result) -> dict[str, str]:
    """The seeds of a result, as `setting_rows` has that of a run."""
    return {LABELS["seed"]: ", ".join(map(str, result.seeds))}

def _row(result: Result, is_best: bool, is_chosen: bool) -> dict[str, Any]:
    parameters, seconds = result.figures.get("parameters"), result.figures.get("seconds")
    where = [result.origin, "" if result.is_tested else f"{result.state}, not tested yet", "on the front" * is_best]
    cells = [
        result.title,
        _score(result),
        plots.format_bytes(result.peak_bytes),
        f"{parameters:,}" if parameters else "–",
        plots.format_duration(seconds) if seconds else "–",
        ", ".join(map(str, result.seeds)),
    ]
    sort = [result.title.lower(), result.score, result.peak_bytes, parameters, seconds, None]
    where = " · ".join(filter(None, where))
    return {"key": result.key, "cells": cells, "sort": sort, "where": where, "best": is_best, "chosen": is_chosen}

def _score(result: Result) -> str:
    if result.score is None:
        return "–"
    text = plots.format_percent(result.score) if result.is_classifier else plots.format_number(result.score)
    if result.is_classifier and len(result.seeds) > 1:
        text += f" ± {100 * result.spread:.1f}"
    return text if result.is_tested else f"({text})"

def _csv(results: Sequence[Result]) -> list[list[Any]]:
    """A head and a line for each result: its figures, then its settings as they are called on the page."""
    figures = list(dict.fromkeys(name for result in results for name in result.figures if name != "kind"))
    settings = [_csv_settings(result) for result in results]
    labels = list(settings[0]) if settings else []
    head = ["network", "origin", "state", "peak_bytes", "score", "tested", "spread", "seeds", *figures, *labels]
    lines = [head]
    for result, rows in zip(results, settings, strict=True):
        own = [result.title, result.origin, result.state, result.peak_bytes, result.score, int(result.is_tested)]
        own += [result.spread, " ".join(map(str, result.seeds))]
        lines.append([*own, *(result.figures.get(name) for name in figures), *(rows[label] for label in labels)])
    return [["" if cell is None else cell for cell in line] for line in lines]

def _csv_settings(result: Result) -> dict[str, Any]:
    """`setting_rows` with numbers as they are: a program would take "1,320" for a text."""
    config = result.config.to_dict()
    rows = setting_rows(config)
    numbers = {row_label(name): value for name, value in config.items() if type(value) in (int, float)}
    return rows | numbers | seed_row(result)

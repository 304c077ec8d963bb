"""Results as a table, and all their settings as CSV."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ..parts.sortable_table import Column, Row, SortableTable, table_value
from ..runs.results import Result, pareto_front
from ..words import numbers
from ..words.settings import row_label, setting_rows

MEANS = "Figures of several seeds are means, training times medians."


def build_result_table() -> SortableTable:
    """The component for `result_rows`: a click on a row gives the result's key."""
    return SortableTable(
        look="result-table",
        title="All results",
        filter="Filter results by name",
        nothing="No result has all of these words in its name.",
        save="Save as CSV",
        elem_id="results",
    )


def result_rows(results: Sequence[Result], chosen: str | None) -> dict[str, Any]:
    """Results of one group for the table: cells as shown and as sorted, and a CSV file with every setting.

    Figures of a result of several seeds are means over them, and the training time their median.
    """
    is_share = not results or results[0].is_classifier
    columns = (
        Column("Network", names=True),
        Column("Test accuracy", -1) if is_share else Column("Test loss"),
        *(Column(title) for title in ("Peak", "Parameters", "Training")),
        Column("Seeds", 0),
    )
    best = {result.key for result in pareto_front(results)}
    return table_value(
        columns,
        [_row(result, result.key in best, result.key == chosen) for result in results],
        _file_name(results[0].group_title) if results else "redistill",
        sorted_by=1,
        note=MEANS if any(len(result.seeds) > 1 for result in results) else "",
        csv=_csv(results),
    )


def _file_name(group: str) -> str:
    return f"redistill-{re.sub('[^a-z0-9]+', '-', group.lower()).strip('-')}"


def seed_row(result: Result) -> dict[str, str]:
    """The seeds of a result, as `setting_rows` has that of a run."""
    return {row_label("seed"): ", ".join(map(str, result.seeds))}


def _row(result: Result, is_best: bool, is_chosen: bool) -> Row:
    parameters, seconds = result.figures.get("parameters"), result.figures.get("seconds")
    where = [result.origin, "" if result.is_tested else f"{result.state}, not tested yet", "on the front" * is_best]
    cells = (
        (result.title.lower(), result.title),
        (result.score, _score(result)),
        (result.peak_bytes, numbers.format_bytes(result.peak_bytes)),
        (parameters, f"{parameters:,}" if parameters else "–"),
        (seconds, numbers.format_duration(seconds) if seconds else "–"),
        ", ".join(map(str, result.seeds)),
    )
    below = " · ".join(filter(None, where))
    row = Row(key=result.key, cells=cells, below=below, chosen=is_chosen)
    return row | {"kind": "best"} if is_best else row


def _score(result: Result) -> str:
    if result.score is None:
        return "–"
    text = numbers.format_percent(result.score) if result.is_classifier else numbers.format_number(result.score)
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

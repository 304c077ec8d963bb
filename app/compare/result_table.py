"""Results as a table: what stands in its columns, on the page and in files. No gradio but the table's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..parts.sortable_table import Cell, Column, Row, SortableTable, table_value
from ..runs.result import OWN, Result
from ..words import numbers
from .drawn import QUALITY, quality_of, quality_text
from .ways import score_text

MEANS = "Figures of several seeds are means, ± half their range; training times are medians. MACs are with RED blocks."


def build_result_table() -> SortableTable:
    """The component for `result_rows`: ticking or clicking a row gives all ticked keys."""
    return SortableTable(
        look="result-table",
        title="All results in sight",
        ticks="Compare",
        nothing="No result is in sight: the filter or the zoom leaves none.",
        elem_id="results",
    )


def result_rows(results: Sequence[Result], ticked: Sequence[str]) -> dict[str, Any]:
    """Results of one group for the table: cells as shown and as sorted."""
    return table_value(
        columns_of(results), [_row(result, ticked) for result in results], sorted_by=1, note=MEANS, ticked=ticked
    )


def columns_of(results: Sequence[Result]) -> list[Column]:
    """Heads: what a group is judged by, then what all have; KID, FID and recall of networks that draw."""
    is_share = not results or results[0].is_classifier
    own = [Column("Test accuracy", -1)] if is_share else [Column("Test loss"), *(Column(title) for title in _drawn())]
    rest = [*(Column(title) for title in ("Peak", "Parameters", "MACs", "Training")), Column("Seeds", 0)]
    return [Column("Network", names=True), *own, *rest]


def cells_of(result: Result) -> list[Cell]:
    """A result's cells, one a column of `columns_of`."""
    parameters, seconds, macs = result.figures.get("parameters"), result.figures.get("seconds"), result.macs
    quality = quality_of(result)
    drawn = [] if result.is_classifier else [(quality.get(name), quality_text(result, name)) for name in QUALITY]
    return [
        (result.title.lower(), result.title),
        (result.score, score_text(result)),
        *drawn,
        (result.peak_bytes, numbers.format_bytes(result.peak_bytes)),
        (parameters, f"{parameters:,}" if parameters else "–"),
        (macs, numbers.format_count(macs) if macs else "–"),
        (seconds, numbers.format_duration(seconds) if seconds else "–"),
        ", ".join(map(str, result.seeds)),
    ]


def _drawn() -> list[str]:
    return [title[:1].upper() + title[1:] for title in QUALITY.values()]


def _row(result: Result, ticked: Sequence[str]) -> Row:
    own = result.origin if result.origin == OWN else ""  # most are ready-made, which says nothing
    where = [own, "" if result.is_tested else f"{result.state}, not tested yet"]
    below = " · ".join(filter(None, where))
    return Row(key=result.key, cells=cells_of(result), below=below, chosen=result.key in ticked)

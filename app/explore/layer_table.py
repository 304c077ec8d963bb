"""The layers of teacher and student as a table."""

from __future__ import annotations

from typing import Any

from redistill.memory import MemoryProfile
from redistill.memory.comparison import Comparison

from ..parts.sortable_table import Column, Row, SortableTable, table_value
from ..parts.trace import NETWORKS, layer_label
from ..words.numbers import format_size

COLUMNS = (
    Column("No.", csv="order"),
    Column("Layer", csv="layer", names=True),
    Column("Peak, bytes", -1, csv="peak_bytes"),
    Column("Output", 0, csv="output_shape"),
    Column("Output, bytes", -1, csv="output_bytes"),
    Column("RED", -1, csv="red"),
)


def build_layer_table(value: dict[str, Any]) -> SortableTable:
    """The component for `layer_rows`: a click on a row gives the network as its part, the layer's path as its key."""
    return SortableTable(
        value,
        look="layer-table",
        save="Save both as CSV",
        parts={name: name.capitalize() for name in NETWORKS},
        part_title="network",
        hint="What is alive at",
        elem_id="layers",
    )


def layer_rows(found: Comparison, file: str) -> dict[str, Any]:
    """The layers of both networks in the order in which they run, and the name of a file with them."""
    return table_value(COLUMNS, {"teacher": _rows(found.teacher), "student": _rows(found.student)}, file)


def _rows(profile: MemoryProfile) -> list[Row]:
    rows: list[Row] = []
    for number, layer in enumerate(profile.layers, 1):
        label, red = layer_label(layer.name), (1, "RED") if layer.is_red else (0, "")
        row: Row = {
            "cells": (number, label, layer.peak_bytes, format_size(layer.output_shape), layer.output_bytes, red)
        }
        if label != layer.name:
            row["key"] = layer.name
        if layer.is_red:
            row["kind"] = "red-row"
        rows.append(row)
    return rows

"""The page's table: what reaches it, and that what it says is escaped."""

from __future__ import annotations

import json

from app.parts.sortable_table import Column, Row, SortableTable, table_value

COLUMNS = [Column("Name", names=True), Column("Size", -1, csv="bytes")]


def test_rows_travel_as_text_without_what_says_nothing():
    rows = [Row(cells=("first", 3)), Row(key="b", cells=("second", (None, "–")), kind="best", below="own", chosen=True)]
    table = SortableTable(table_value(COLUMNS, rows, "file"), look="x", save="Save")
    value = json.loads(table.value)
    assert value["parts"][""] == [
        {"cells": ["first", 3]},
        {"key": "b", "cells": ["second", [None, "–"]], "kind": "best", "below": "own", "chosen": True},
    ]
    assert value["columns"][1] == {"title": "Size", "order": -1, "csv": "bytes", "names": False}
    assert table.preprocess("anything") is None


def test_parts_are_buttons_and_words_are_escaped():
    value = table_value(COLUMNS, {"a": [], "b": []}, "file")
    table = SortableTable(value, look="x", save="<i>", parts={"a": "<b>", "b": "B"}, part_title="network")
    assert table.html_template.count("data-part=") == 2 and 'aria-label="Network"' in table.html_template
    assert "<b>" not in table.html_template and "<i>" not in table.html_template
    assert 'type="search"' not in table.html_template
    named = SortableTable(look="x", save="Save", title="All", nothing="None.")
    assert "data-part=" not in named.html_template

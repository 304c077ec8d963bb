"""The table of layers: exact integers of both networks."""

from __future__ import annotations

import json
from math import prod

from app.explore.layer_table import LayerTable, layer_rows
from app.parts.counting import compare_as
from redistill.memory.comparison import early_strides
from redistill.networks.student import StudentConfig


def test_rows_are_the_layers_in_bytes():
    found = compare_as(StudentConfig("narrow_resnet", 64, strides=early_strides("narrow_resnet")))
    rows = layer_rows(found, "name")
    assert len(rows["student"]) > len(rows["teacher"]) == len(found.teacher.layers)
    assert max(peak for _, peak, *_ in rows["student"]) == found.student.peak_bytes == 65536
    assert ("maxpool", 327680, "1×16×32×32", 65536, 0, "maxpool") in rows["teacher"]
    assert {red for *_, red, _ in rows["teacher"]} == {0}
    assert sum(red for *_, red, _ in rows["student"]) == sum(layer.is_red for layer in found.student.layers) > 0
    for _, _, shape, count, _, _ in rows["teacher"]:
        assert count == 4 * prod(map(int, shape.split("×")))


def test_rows_travel_as_text():
    table = LayerTable({"student": [], "teacher": [], "file": "name"})
    assert json.loads(table.value) == {"student": [], "teacher": [], "file": "name"}
    assert table.preprocess("anything") is None

"""The table of layers: exact integers of both networks."""

from __future__ import annotations

from math import prod

from app.explore.layer_table import layer_rows
from app.parts.counting import compare_as
from redistill.memory.usual_strides import early_strides
from redistill.networks.student import StudentConfig


def test_rows_are_the_layers_in_bytes():
    found = compare_as(StudentConfig("narrow_resnet", 64, strides=early_strides("narrow_resnet")))
    value = layer_rows(found, "name")
    assert value["file"] == "name" and list(value["parts"]) == ["teacher", "student"], "in the order of the file"
    rows = {
        name: {row.get("key", row["cells"][1]): row["cells"] for row in own} for name, own in value["parts"].items()
    }
    assert len(rows["student"]) > len(rows["teacher"]) == len(found.teacher.layers)
    assert max(peak for _, _, peak, *_ in rows["student"].values()) == found.student.peak_bytes == 65536
    assert rows["teacher"]["maxpool"][1:] == ("maxpool", 327680, "1×16×32×32", 65536, (0, ""))
    red = [row["cells"][1] for row in value["parts"]["student"] if row.get("kind") == "red-row"]
    assert red == [layer.name for layer in found.student.layers if layer.is_red] != []
    assert [key for key, cells in rows["student"].items() if cells[-1] == (1, "RED")] == red
    assert {cells[-1] for cells in rows["teacher"].values()} == {(0, "")}
    for number, (_, _, _, shape, count, _) in enumerate(rows["teacher"].values(), 1):
        assert count == 4 * prod(map(int, shape.split("×")))
        assert list(rows["teacher"].values())[number - 1][0] == number

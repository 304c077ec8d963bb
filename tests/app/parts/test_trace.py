"""Operators along a network, and places that are found again in another student."""

from __future__ import annotations

import pytest

from app.parts.counting import compare_as
from app.parts.trace import Place, Point, locate, memory_curve, peak_label, read_place
from redistill.memory.usual_strides import early_strides
from redistill.networks.student import StudentConfig


@pytest.fixture(scope="module")
def found():
    return compare_as(StudentConfig("narrow_resnet", 64, strides=early_strides("narrow_resnet")))


def test_every_operator_has_a_name_of_its_own_and_its_bytes(found):
    points = memory_curve(found.student)
    assert [point.bytes for point in points] == [op.live_bytes for op in found.student.timeline]
    assert len({(point.layer, point.turn) for point in points}) == len(points)
    assert [point.turn for point in points if point.layer == "layer1.0.relu"] == [0, 1]
    assert Point("conv1.red_out", 0, "sigmoid", 32768, True) in points


def test_operators_keep_their_names_whatever_the_strides(found):
    names = {(point.layer, point.turn) for point in memory_curve(found.student) if not point.is_red}
    assert names == {(point.layer, point.turn) for point in memory_curve(found.teacher)}


def test_a_place_is_found_in_both_networks(found):
    for profile in (found.teacher, found.student):
        index = locate(profile, Place("student", "layer1.0.relu", 1))
        assert profile.timeline[index].layer == "layer1.0.relu"
        assert [op.layer for op in profile.timeline[:index]].count("layer1.0.relu") == 1


def test_a_layer_without_a_turn_is_where_it_has_most_alive(found):
    index = locate(found.student, Place("student", "conv1.red_out"))
    assert found.student.timeline[index].live_bytes == 32768
    worst = max(op.live_bytes for op in found.student.timeline if op.layer == "conv1.red_out")
    assert worst == 32768
    relu = locate(found.student, Place("student", "layer1.0.relu"))
    assert found.student.timeline[relu].live_bytes == 32768 > found.student.timeline[relu + 4].live_bytes


@pytest.mark.parametrize("place", [Place(), Place("teacher", "gone"), Place("student", "gone", 3)])
def test_without_a_layer_that_the_network_has_the_peak_is_shown(found, place):
    assert locate(found.student, place) == found.student.peak_index


def test_a_turn_that_is_gone_leaves_the_layer(found):
    assert found.student.timeline[locate(found.student, Place("student", "fc", 7))].layer == "fc"


def test_places_from_the_page():
    assert read_place({"network": "teacher", "layer": "conv1", "turn": 0}) == Place("teacher", "conv1", 0)
    assert read_place({"network": "student", "act": "peak"}) == Place()


@pytest.mark.parametrize(
    "value",
    [
        None,
        "conv1",
        {},
        {"network": "both"},
        {"network": ["student"]},
        {"network": "student", "layer": 5},
        {"network": "student", "layer": "conv1", "turn": -1},
        {"network": "student", "layer": "conv1", "turn": True},
        {"network": "student", "layer": "conv1", "turn": "0"},
    ],
)
def test_what_is_no_place_is_refused(value):
    with pytest.raises(ValueError, match="expected"):
        read_place(value)


def test_a_red_block_that_peaks_is_named_as_a_whole():
    found = compare_as(StudentConfig("resnet50", 224, strides=early_strides("resnet50")))
    assert found.student.peak_layer == "layer2.0.red_in.residual_encoder.0"
    assert peak_label(found.student) == "RED block layer2.0.red_in"
    assert peak_label(found.bare) == found.bare.peak_layer

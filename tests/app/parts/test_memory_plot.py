"""The chart of live memory: its curves are the library's numbers, its marks stand where they say."""

from __future__ import annotations

import itertools
import json

import pytest

from app.parts.budget import Budget
from app.parts.counting import compare_as
from app.parts.memory_plot import Curve, PinnedCurve, Point, memory_figure, merged_order, networks_figure
from app.parts.trace import memory_curve, read_place
from app.words.memory import tick_labels
from redistill.memory.comparison import network_tape
from redistill.memory.usual_strides import early_strides
from redistill.networks.student import StudentConfig


def shown(teacher: str = "narrow_resnet", **changes):
    tape = network_tape(teacher)
    config = {"teacher": teacher, "image_size": tape.input_shape[-1], "strides": early_strides(teacher)}
    return compare_as(StudentConfig(**(config | changes)))


def figure(found, pins=(), budget=None):
    return memory_figure(memory_curve(found.teacher), memory_curve(found.student), tick_labels(found), pins, budget)


def labels(drawn) -> dict[str, dict]:
    return {label["text"]: label for label in drawn["layout"]["annotations"]}


@pytest.mark.parametrize(
    ("first", "second", "order"),
    [("abc", "abc", "abc"), ("abc", "aXbYc", "aXbYc"), ("abc", "ac", "abc"), ("ab", "XbY", "XabY"), ("ab", "ba", "ab")],
)
def test_operators_of_two_networks_share_one_axis(first, second, order):
    assert "".join(merged_order(first, second)) == order


@pytest.mark.parametrize("teacher", ["narrow_resnet", "unet_small"])
def test_the_curves_are_the_live_bytes_of_every_operator(teacher):
    found = shown(teacher)
    drawn = figure(found)
    unit = {" KiB": 2**10, " MiB": 2**20}[drawn["layout"]["yaxis"]["ticksuffix"]]
    for curve, profile in zip(drawn["data"], (found.teacher, found.student), strict=False):
        assert [y * unit for y in curve["y"][1:-1]] == [op.live_bytes for op in profile.timeline]
        assert curve["x"] == sorted(curve["x"]) and len(set(curve["x"])) == len(curve["x"])
    json.dumps(drawn, allow_nan=False)


def test_a_mark_of_a_curve_is_a_place():
    found = shown()
    student = figure(found)["data"][1]
    network, layer, turn, text = student["customdata"][5]
    place = read_place({"network": network, "layer": layer, "turn": turn})
    assert (place.network, place.layer) == ("student", found.student.timeline[4].layer)
    assert text == "<b>32.0 KiB</b><br>conv1.red_out · mul, RED block"


def test_red_blocks_cover_the_students_steps_and_nothing_else():
    student, red = figure(shown())["data"][1:3]
    marks = list(zip(student["x"], student["y"], student["customdata"], strict=True))
    steps = [  # each from the middle to its neighbour before to the middle to the one after
        ((before[0] + x) / 2, (x + after[0]) / 2, y)
        for before, (x, y, mark), after in zip(marks, marks[1:], marks[2:], strict=False)
        if mark[3].endswith("RED block")
    ]
    corners = list(zip(red["x"], red["y"], strict=True))
    drawn = [(x0, x1, y0) for (x0, y0), (x1, y1) in itertools.pairwise(corners) if y0 == y1 != 0 and x0 != x1]
    assert drawn == steps
    assert figure(shown(red=None))["data"][2]["x"] == []


def test_the_peaks_are_marked_and_labelled():
    drawn = figure(shown())
    marks = drawn["data"][-1]
    assert [y * 1024 for y in marks["y"]] == [327680, 65536]
    teacher, student = labels(drawn)["teacher peak <b>320 KiB</b>"], labels(drawn)["student peak <b>64.0 KiB</b>"]
    assert (teacher["x"], student["x"]) == tuple(marks["x"])
    assert (teacher["yanchor"], student["yanchor"]) == ("bottom", "bottom")


def test_labels_of_equal_peaks_lie_on_two_sides_of_the_line():
    found = shown(strides={}, red=None)
    assert found.student.peak_bytes == found.teacher.peak_bytes
    same = labels(figure(found))
    assert same["teacher peak <b>320 KiB</b>"]["yanchor"] == "bottom"
    assert same["student peak <b>320 KiB</b>"]["yanchor"] == "top"


@pytest.mark.parametrize("count", [1, 65536, 262144, 2 * 327680])
def test_the_budget_is_a_line_at_its_bytes(count):
    drawn = figure(shown(), budget=Budget("Chip", count))
    (line,) = drawn["layout"]["shapes"]
    assert line["y0"] * 1024 == line["y1"] * 1024 == count
    assert line["y0"] <= drawn["layout"]["yaxis"]["range"][1]
    assert any(text.startswith("Chip <b>") and "↑" not in text for text in labels(drawn))


def test_a_budget_far_above_the_peaks_is_only_named():
    usual = figure(shown())["layout"]["yaxis"]
    drawn = figure(shown(), budget=Budget("Chip", 2 * 327680 + 1))
    assert drawn["layout"]["shapes"] == [] and drawn["layout"]["yaxis"] == usual
    assert "Chip <b>640 KiB</b> ↑" in labels(drawn)


def test_pins_of_the_same_network_are_curves_and_of_another_one_a_level():
    pinned = memory_curve(shown(red=None).student)
    same = PinnedCurve("A", max(point.bytes for point in pinned), pinned)
    larger = PinnedCurve("B", shown("resnet18").student.peak_bytes, None)
    drawn = figure(shown(), [same, larger])
    curve, level = drawn["data"][3:5]
    assert [y * 2**10 for y in curve["y"]] == [point.bytes for point in pinned]
    assert [y * 2**10 for y in level["y"]] == [larger.peak_bytes] * 2
    assert drawn["layout"]["yaxis"]["range"][1] * 2**10 > larger.peak_bytes
    assert {"<b>A</b>", "<b>B</b>"} <= set(labels(drawn))


@pytest.mark.parametrize("count", [300 * 1024, 327680, 330 * 1024])
def test_a_pins_letter_does_not_cover_the_budgets_label(count):
    level = PinnedCurve("A", count, None)  # its letter stands at the right end, the teacher's peak at the left
    found = labels(figure(shown(), [level], Budget("Chip", count)))
    (budget,) = (label for text, label in found.items() if text.startswith("Chip"))
    assert budget["xanchor"] == "center" and budget["x"] == 0.5
    low = labels(figure(shown(), [PinnedCurve("A", 1024, None)], Budget("Chip", count)))
    (budget,) = (label for text, label in low.items() if text.startswith("Chip"))
    assert budget["xanchor"] == "right"


def test_letters_of_equal_pins_stand_together():
    found = shown()
    pins = [PinnedCurve(letter, found.student.peak_bytes, memory_curve(found.student)) for letter in "AB"]
    assert "<b>A B</b>" in labels(figure(shown(), pins))


def test_the_axis_names_the_layers_that_pool():
    axis = figure(shown())["layout"]["xaxis"]
    assert axis["ticktext"] == ["conv1", "maxpool", "layer2", "layer3", "layer4"]
    assert axis["tickvals"] == sorted(axis["tickvals"])


@pytest.mark.parametrize(("count", "filled"), [(1, [True]), (2, [True, True]), (4, [True, False, False, False])])
def test_several_students_are_lines_over_the_area_of_their_teacher(count, filled):
    points = [Point("a", 0, "conv", 1024, False), Point("b", 0, "conv", 2048, False)]
    networks = [Curve(str(number), points, "#112233") for number in range(count)]
    areas = networks_figure(networks, {})["data"]
    assert ["fill" in area for area in areas] == filled
    assert all((area["line"]["width"] > 1) != ("fill" in area) for area in areas)

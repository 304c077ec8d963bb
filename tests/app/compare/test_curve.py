"""The trade-off as curves: which results are on a line, and what stands at a mark."""

from __future__ import annotations

import dataclasses
import json

import pytest
from helpers.made import RED_KD, TEACHER, result

from app.compare.curve import WAYS, curve_figure

KD = dataclasses.replace(RED_KD, red_weight=0.0, student=dataclasses.replace(RED_KD.student, red=None))


def of_kind(key, peak, score, kind, config=KD, title="Narrow ResNet 32 px, KD"):
    return dataclasses.replace(result(key, peak, score, config), kind=kind, title=title, spread=0.01)


def test_a_line_joins_results_of_a_way_that_no_other_of_it_beats():
    results = [
        of_kind("large", 128, 0.8, ""),
        of_kind("small", 64, 0.7, ""),
        of_kind("beaten", 96, 0.6, ""),
        of_kind("red", 64, 0.75, "", RED_KD),
        of_kind("image", 80, 0.9, "smaller images"),
        of_kind("phone", 64, 0.5, "networks for phones", title="mobilenetv2_035 64 KiB, KD, from scratch"),
        of_kind("patches", 70, 0.8, "patches", title="Student 4·1·2·2·1 in 2×2 patches up to maxpool, KD"),
        result("teacher", 320, 0.95, TEACHER),
    ]
    parts = {(part["name"], part.get("opacity", 1)): part for part in curve_figure(results)["data"]}
    line = parts["strides, KD", 1]
    assert (line["x"], line["y"], line["mode"]) == ([64, 128], [0.7, 0.8], "lines+markers")
    assert line["error_y"]["array"] == [0.01, 0.01] and line["showlegend"]
    beside = parts["strides, KD", 0.35]
    assert (beside["x"], beside["mode"], beside["showlegend"]) == ([96], "markers", False)
    assert parts["strides, RED + KD", 1]["text"] == ["4·1·2·2·1"]
    assert parts["networks for phones, KD", 1]["text"] == ["mobilenetv2_035"]
    assert parts["strides, KD, in patches", 1]["x"] == [70] and parts["smaller images, KD", 1]["text"] == ["32 px"]
    assert parts["teacher", 1]["x"] == [320]
    assert len(parts) == 7, "nothing stands twice, and no way without results"
    json.dumps(curve_figure(results))  # plain values only


def test_only_students_from_scratch_are_on_their_line():
    fresh = dataclasses.replace(TEACHER, student=KD.student)
    warm = dataclasses.replace(fresh, init="teacher", teacher_checkpoint="teacher", red_weight=0.0)
    (part,) = curve_figure([of_kind("fresh", 64, 0.5, "", fresh), of_kind("warm", 64, 0.9, "", warm)])["data"]
    assert part["name"] == "strides, no distillation, from scratch" and part["y"] == [0.5]


@pytest.mark.parametrize("results", [[], [result("u", 64, None, KD)]])
def test_without_results_there_is_an_empty_figure(results):
    assert curve_figure(results)["data"] == []


def test_ways_are_told_apart():
    looks = [(way.colour, way.symbol, way.dash) for way in WAYS]
    assert len(set(looks)) == len(looks) == len({way.title for way in WAYS})

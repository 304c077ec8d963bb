"""The trade-off of one data set as curves: what a peak of memory buys, by the way to get there. No gradio, no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..parts import plots
from ..runs.results import Result, pareto_front
from ..words import numbers
from ..words.settings import join_strides

PICTURE = {"width": 860, "height": 470}  # pixels
SIDE, BELOW = "middle right", "bottom right"  # where labels stand


@dataclass(frozen=True)
class Way:
    """One line: results of a kind that learnt from one thing."""

    title: str
    kind: str  # of the results, see `Result.kind`
    learning: str
    colour: str
    symbol: str
    dash: str = "solid"
    label: str = ""  # where the networks' names stand at the marks; nowhere if empty
    first: str = ""  # where that of the first mark stands, if elsewhere
    is_fresh: bool = False  # only results from scratch


WAYS = (
    Way("strides, RED + KD", "", "RED + KD", plots.STUDENT, "square", label="top left", first="bottom left"),
    Way("strides, KD", "", "KD", plots.GOLD, "square"),
    Way("strides, no distillation, from scratch", "", "on its own", plots.BLUE, "square", is_fresh=True),
    Way("smaller images, KD", "smaller images", "KD", plots.GOLD, "circle", "dot", BELOW),
    Way("smaller images, from scratch", "smaller images", "on its own", plots.BLUE, "circle", "dot", is_fresh=True),
    Way("teacher, in patches", "patches", "on its own", plots.TEACHER, "diamond", "dot", is_fresh=True),
    Way("strides, KD, in patches", "patches", "KD", plots.GOLD, "diamond", "dashdot"),
    Way("networks for phones, KD", "networks for phones", "KD", plots.VIOLET, "hexagon", "dot", BELOW),
    Way("narrower networks, KD", "narrower networks", "KD", plots.RED, "triangle-up", "dot", SIDE),
)


def curve_figure(results: Sequence[Result]) -> dict[str, Any]:
    """Test accuracy against peak memory (log₂ axis): a line a way, over its results that no other of them beats.

    Every result is a mark with half its range over the seeds; those beside the line are pale.
    """
    data = [part for way in WAYS for part in _line(way, results)]
    data += [_teacher(result) for result in results if result.is_teacher][:1]
    peaks = [x for part in data for x in part["x"]] or [2**16]
    least, most = 0.85 * min(peaks), 1.15 * max(peaks)  # names of networks need room
    ticks = sorted(tick for power in range(12, 24) for tick in (2**power, 3 * 2 ** (power - 1)) if least < tick < most)
    title = {"font": {"size": 12}, "standoff": 8}
    x = {"type": "log", "range": [math.log10(least), math.log10(most)]}
    x |= {"tickvals": ticks, "ticktext": [numbers.format_bytes(tick) for tick in ticks]}
    return {
        "data": data,
        "layout": plots.base_layout(
            **PICTURE,
            margin={"l": 62, "r": 16, "t": 12, "b": 52},
            legend={"x": 1, "y": 0.02, "xanchor": "right", "yanchor": "bottom", "bgcolor": "var(--chart-veil)"},
            xaxis={**plots.AXIS, **x, "title": {"text": "Peak activation memory (log scale)", **title}},
            yaxis={**plots.AXIS, "tickformat": ".0%", "title": {"text": "Test accuracy", **title}},
        ),
    }


def _line(way: Way, results: Sequence[Result]) -> list[dict[str, Any]]:
    found = [
        result
        for result in results
        if (result.kind, result.learning) == (way.kind, way.learning)
        and (result.config.init == "scratch" or not way.is_fresh)
        and result.is_tested
        and not result.is_teacher
    ]
    found.sort(key=lambda result: (result.peak_bytes, result.score))
    front = pareto_front(found)
    beside = [result for result in found if result not in front]
    return [_marks(way, chosen, is_front) for chosen, is_front in ((front, True), (beside, False)) if chosen]


def _marks(way: Way, results: Sequence[Result], is_front: bool) -> dict[str, Any]:
    has_names = is_front and bool(way.label)
    names = [_name(result) if has_names else "" for result in results]
    return {
        "type": "scatter",
        "mode": ("lines+" if is_front else "") + "markers" + "+text" * has_names,
        "name": way.title,
        "showlegend": is_front,
        "x": [result.peak_bytes for result in results],
        "y": [result.score for result in results],
        "error_y": {"type": "data", "array": [result.spread for result in results], "thickness": 1.2, "width": 3},
        "text": names,
        "textposition": [way.first or way.label, *[way.label] * len(names)][: len(names)] if has_names else SIDE,
        "textfont": {"size": 11, "color": way.colour},
        "marker": {"symbol": way.symbol, "color": way.colour, "size": 9},
        "line": {"color": way.colour, "width": 1.8, "dash": way.dash},
        "opacity": 1.0 if is_front else 0.35,
    }


def _name(result: Result) -> str:
    """A network in two or three words: its strides, or what its study calls it without its teacher's name."""
    strides = join_strides(result.config.student.strides)
    name = re.sub(r"^Narrow ResNet | \d+ KiB$", "", result.title.partition(",")[0])
    return name if result.kind else strides


def _teacher(teacher: Result) -> dict[str, Any]:
    marker = {"symbol": "diamond", "color": plots.TEACHER, "size": 12}
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "teacher",
        "x": [teacher.peak_bytes],
        "y": [teacher.score],
        "marker": marker,
    }

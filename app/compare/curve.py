"""What a peak of memory buys, as a curve: a line for each way to learn, through its stride settings. No gradio."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from ..parts import plots
from ..runs.result import Result, pareto_front
from ..words import numbers
from ..words.settings import join_strides
from .pieces import bars, marks, ring, score_axis
from .ways import METHODS, STRIDES, SYMBOLS, TEACHER, each_setting, kind_of, method_of, teacher_of

HEIGHT = 430  # pixels
# Of a saved picture, which has no words beside it.
_PLACE = {"x": 1, "y": 0.02, "xanchor": "right", "yanchor": "bottom", "orientation": "v"}
LEGEND = {"showlegend": True, "legend": {**_PLACE, "bgcolor": "var(--chart-veil)"}}
Part = dict[str, Any]
Ends = tuple[float, float]


def curve_figure(
    results: Sequence[Result],
    ticked: Sequence[str] = (),
    peaks: tuple[int | None, int | None] = (None, None),
    scores: tuple[float | None, float | None] = (None, None),
) -> Part:
    """Peak activation memory (log₂ axis) against the test score, for results of one group that have a score.

    Every result stands at its own memory and its own score, the mean of its seeds with a bar from the least to the
    greatest. A line goes through the stride settings of one way to learn that no other of that way beats on validation
    pictures; the others are small marks. Alternatives (smaller images and the like) have one dotted line a kind. What
    has no test figure yet is hollow, and the results with the keys `ticked` carry a ring. `peaks` in bytes and `scores`
    are the ends of what is in sight, None as the results have it.
    """
    shown = [result for result in results if result.score is not None]
    teacher = teacher_of(shown)
    xs, ys = memory_range(shown, peaks), score_range(shown, scores)
    lines = [line for line in _lines(shown) if line[1]]
    on_line = {result.key for _, line, _ in lines for result in line} | ({teacher.key} if teacher else set())
    data = [_line(*line) | {"showlegend": any(_is_in(one, xs, ys) for one in line[1])} for line in lines]
    for method in METHODS:
        for kind in SYMBOLS:
            own = [result for result in shown if (method_of(result), kind_of(result)) == (method, kind)]
            for is_large in (False, True):
                found = [result for result in own if (result.key in on_line) == is_large]
                data += [_marks(method, kind, found, is_large)] if found else []
    data += [
        ring(math.log2(result.peak_bytes), result.score) for key in ticked for result in shown if result.key == key
    ]
    labels = [_label(result, ys) for result in _labelled(lines, teacher) if _is_in(result, xs, ys)]
    return {
        "data": data,
        "layout": _layout(shown, xs, ys, labels),
        "narrow": {"annotations": [label for label in labels if label["text"] == TEACHER]},
        "saved": LEGEND,
        "zooms": True,
    }


def count_outside(figure: Part) -> int:
    """How many results a figure has beyond its axes."""
    (x0, x1), (y0, y1) = (figure["layout"][axis]["range"] for axis in ("xaxis", "yaxis"))
    marks = [mark for part in figure["data"] if "customdata" in part for mark in zip(part["x"], part["y"], strict=True)]
    return sum(not (x0 <= x <= x1 and y0 <= y <= y1) for x, y in marks)


def memory_range(shown: Sequence[Result], peaks: tuple[int | None, int | None]) -> Ends:
    """Ends of the axis of memory in log₂ of bytes."""
    found = [math.log2(result.peak_bytes) for result in shown] or [14.0, 20.0]
    pad = max(0.25, 0.08 * (max(found) - min(found)))
    least, most = peaks
    low = math.log2(least) if least else min(found) - pad
    return low, max(math.log2(most) if most else max(found) + pad, low + 1e-3)


def score_range(shown: Sequence[Result], scores: tuple[float | None, float | None]) -> Ends:
    """Ends of the axis of the score: room for the ready-made students of other strides, and for all that is better.

    Where there is no such student, for all tested results, and while none is tested for all. Own runs of a few steps
    and networks that are far worse would press the others into a line; they are in the table, and in sight on request.
    """
    is_share = not shown or shown[0].is_classifier
    tested = [result for result in shown if result.is_tested] or list(shown)
    usual = [result for result in tested if not result.kind and not result.key.startswith("run:")] or tested
    reach = [end for result in usual for end in result.range]
    best = min((result.cost for result in usual), default=0.0)
    reach += [result.score for result in tested if reach and result.cost < best]
    low, high = (min(reach), max(reach)) if reach else (0.0, 1.0)
    pad = max(0.01 if is_share else 0.005, 0.08 * (high - low))
    least, most = scores
    low = max(0.0, low - pad) if least is None else least
    high = (min(1.02, high + pad) if is_share else high + pad) if most is None else most
    return low, max(high, low + 1e-4)


def _lines(shown: Sequence[Result]) -> list[tuple[str, list[Result], str]]:
    """Name, results by rising memory, and colour of every line."""
    settings = [result for result in each_setting(shown) if result.is_tested and not result.is_teacher]
    lines = []
    for method, colour in METHODS.items():
        found = [result for result in settings if (method_of(result), kind_of(result)) == (method, STRIDES)]
        lines.append((method, pareto_front(found) if method != "others" else [], colour))
    for kind in list(SYMBOLS)[1:]:
        found = [result for result in settings if kind_of(result) == kind]
        lines.append((kind, pareto_front(found), plots.GREY))
    return lines


def _line(name: str, results: Sequence[Result], colour: str) -> Part:
    is_of_strides = name in METHODS
    symbol = "square" if is_of_strides else SYMBOLS[name]
    return {
        "type": "scatter",
        "mode": "lines+markers",  # the marks are those of the legend, under the results' own
        "name": name,
        "x": [math.log2(result.peak_bytes) for result in results],
        "y": [result.score for result in results],
        "hoverinfo": "skip",
        "line": {"color": colour, "width": 2 if is_of_strides else 1.5, "dash": "solid" if is_of_strides else "dot"},
        "marker": {"symbol": symbol, "color": colour, "size": 9},
    }


def _marks(method: str, kind: str, results: Sequence[Result], is_large: bool) -> Part:
    is_teacher = (method, kind) == (TEACHER, STRIDES)
    symbol = "diamond-tall" if is_teacher else SYMBOLS[kind]
    marker = {
        "symbol": [symbol if result.is_tested else f"{symbol}-open" for result in results],
        "size": (13 if is_teacher else 10) if is_large else 6,
        "color": METHODS[method],
    }
    part = marks(
        results,
        [math.log2(result.peak_bytes) for result in results],
        [result.score for result in results],
        name=TEACHER if is_teacher else f"{method}, {kind}",
        showlegend=is_teacher,
        marker=marker,
    )
    is_spread = is_large and any(result.range[0] < result.range[1] for result in results)
    return part | {"error_y": bars(results, METHODS[method])} if is_spread else part


def _labelled(lines: Sequence[tuple[str, list[Result], str]], teacher: Result | None) -> list[Result]:
    """The results whose strides stand beside them, those of one line, and the teacher last."""
    of_strides = {name: results for name, results, _ in lines if name in METHODS}
    named = of_strides.get("RED + KD") or max(of_strides.values(), key=len, default=[])
    return [*named, *([teacher] if teacher else [])]


def _label(result: Result, ys: Ends) -> Part:
    """Above a mark, and to its left, where rising lines leave room."""
    text = TEACHER if result.is_teacher else join_strides(result.config.student.strides)
    is_low = result.is_teacher and result.score > ys[0] + 0.15 * (ys[1] - ys[0])
    side = {"xanchor": "center" if result.is_teacher else "right", "xshift": 0 if result.is_teacher else -5}
    height = {"yanchor": "top", "yshift": -7} if is_low else {"yanchor": "bottom", "yshift": 7}
    look = {"showarrow": False, "font": {"color": METHODS[method_of(result)], "size": 11}}
    return {"x": math.log2(result.peak_bytes), "y": result.score, "text": escape(text), **look, **side, **height}


def _is_in(result: Result, xs: Ends, ys: Ends) -> bool:
    return xs[0] <= math.log2(result.peak_bytes) <= xs[1] and ys[0] <= result.score <= ys[1]


def _ticks(xs: Ends) -> list[float]:
    """Bytes that the axis of memory names: the coarsest steps of which there are three in sight."""
    least, most = 2 ** xs[0], 2 ** xs[1]
    for parts in ((1,), (1, 1.5), (1, 1.25, 1.5, 1.75)):
        found = [part * 2**power for power in range(8, 40) for part in parts if least <= part * 2**power <= most]
        if len(found) > 2 and (len(found) > 4 or parts != (1,)):
            return found
    step = next((step for step in (2**14, 2**12, 2**10, 2**8) if (most - least) / step > 3), (most - least) / 4)
    return [step * i for i in range(math.ceil(least / step), math.floor(most / step) + 1)]


def _layout(shown: Sequence[Result], xs: Ends, ys: Ends, labels: Sequence[Part]) -> Part:
    ticks = _ticks(xs)
    title = {"standoff": 8, "font": {"size": 12}}
    x = {"range": list(xs), "tickvals": [math.log2(tick) for tick in ticks]}
    x |= {"ticktext": [numbers.format_bytes(round(tick)) for tick in ticks]}
    return plots.base_layout(
        hovermode="closest",
        dragmode="zoom",
        showlegend=False,
        margin={"l": 62, "r": 14, "t": 14, "b": 50},
        xaxis={**plots.AXIS, **x, "title": {"text": "Peak activation memory (log scale)", **title}},
        yaxis=score_axis(shown, ys, ticks=8),
        annotations=list(labels),
    )

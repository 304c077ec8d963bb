"""The plane of memory against accuracy as a Plotly dict. No gradio, no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ..parts import plots
from ..runs.results import OWN, READY, Result, pareto_front
from ..words import numbers
from ..words.settings import seeds_text

_Part = dict[str, Any]
_Ends = tuple[float, float]
TEACHER_KIND = "teacher"
# What a network learnt from decides its colour; the losses have the same ones in a run's curves.
COLOURS = {
    TEACHER_KIND: plots.TEACHER,
    "on its own": plots.BLUE,
    "KD": plots.GOLD,
    "RED": plots.RED,
    "RED + KD": plots.STUDENT,
    "other losses": plots.VIOLET,
}
_LABELLED = 6  # points of the front that are named in the chart
_DIM = 0.32
# Marks of one memory stand so far apart, in log₂, where their scores differ by less than this share of the axis: they
# may overlap, but each can be clicked.
_BESIDE, _CLOSE = 0.07, 0.025


def plane_figure(results: Sequence[Result], selected: str | None = None, kept: str | None = None) -> _Part:
    """Peak activation memory (log₂ axis) against the test score, for results of one group that have a score.

    Results that others beat are pale, those that have no test figure yet hollow; what lies beyond the axis of the score
    (see `_score_range`) stands as a triangle at its end. The line is the Pareto front. The results with the keys
    `selected` and `kept` carry a ring. A click gives a result's key, and dragging zooms in on scores. Results of equal
    memory and nearly equal score stand side by side, those of the front in their place.
    """
    shown = [result for result in results if result.score is not None]
    front = pareto_front(shown)
    ends = _score_range(shown)
    xs = _side_by_side(shown, front, ends)
    data = [_front_line(front, _range([_x(result) for result in shown], 0.6)[1], ends)] if front else []
    for kind in COLOURS:
        of_kind = [result for result in shown if _kind(result) == kind]
        data += [_points(kind, of_kind, front, xs, ends)] if of_kind else []
    for key in (selected, kept):
        data += [_ring(result, key == kept, xs, ends) for result in shown if result.key == key]
    return {"data": data, "layout": _layout(shown, front, ends)}


def _layout(shown: Sequence[Result], front: Sequence[Result], ys: _Ends) -> _Part:
    is_share = not shown or shown[0].is_classifier
    xs = _range([_x(result) for result in shown], 0.6) if shown else (14.0, 20.0)
    title = "Test accuracy" if is_share else "Test loss of the prediction (lower is better)"
    ticks = range(math.ceil(xs[0]), math.floor(xs[1]) + 1)
    x = {"range": list(xs), "tickvals": list(ticks), "ticktext": [numbers.format_bytes(2**tick) for tick in ticks]}
    x["fixedrange"] = True  # marks lie close in score, not in memory
    y = {"range": list(ys), "nticks": 7} | (
        {"tickformat": ".0%" if ys[1] - ys[0] > 0.08 else ".1%"} if is_share else {}
    )
    axis_title = {"standoff": 8, "font": {"size": 12}}
    return plots.base_layout(
        uirevision=shown[0].group if shown else "",
        hovermode="closest",
        dragmode="zoom",
        showlegend=False,
        margin={"l": 62, "r": 14, "t": 10, "b": 50},
        xaxis={**plots.AXIS, **x, "title": {"text": "Peak activation memory (log scale)", **axis_title}},
        yaxis={**plots.AXIS, **y, "title": {"text": title, **axis_title}},
        annotations=[_label(result, i, front, ys) for i, result in enumerate(front[:_LABELLED])],
    )


def _score_range(shown: Sequence[Result]) -> _Ends:
    """Ends of the score's axis: room for the tested results that ship and the best of all.

    Where none ships there is room for all tested ones, and while none is tested for all. Own runs of a few steps would
    otherwise press the others into a line.
    """
    if not shown:
        return 0.0, 1.0
    is_share = shown[0].is_classifier
    tested = [result for result in shown if result.is_tested] or shown
    ready = [result for result in tested if result.origin == READY] or tested
    reach = [result.score + sign * result.spread for result in ready for sign in (-1, 1)]
    reach.append((max if is_share else min)(result.score for result in tested))
    low, high = _range(reach, 0.02 if is_share else 0.01)
    return max(0.0, low), min(1.02, high) if is_share else high


def _y(result: Result, ends: _Ends) -> float:
    return min(ends[1], max(ends[0], result.score))


def _range(values: Sequence[float], least: float) -> tuple[float, float]:
    pad = max(least, 0.12 * (max(values) - min(values)))
    return min(values) - pad, max(values) + pad


def _x(result: Result) -> float:
    return math.log2(result.peak_bytes)


def _side_by_side(shown: Sequence[Result], front: Sequence[Result], ends: _Ends) -> dict[str, float]:
    """Where each result stands on the axis of memory, by its key: in its place, or as near as its neighbours let it."""
    best = {result.key for result in front}
    columns: dict[int, list[tuple[float, int]]] = {}  # peak → score and place of those that stand there
    xs = {}
    for result in sorted(shown, key=lambda result: result.key not in best):
        column, y = columns.setdefault(result.peak_bytes, []), _y(result, ends)
        taken = {place for score, place in column if abs(score - y) < _CLOSE * (ends[1] - ends[0])}
        free = set(range(-len(column), len(column) + 1)) - taken
        place = min(free, key=lambda place: (abs(place), -place))  # 0, 1, -1, 2, -2, ...
        column.append((y, place))
        xs[result.key] = _x(result) + place * _BESIDE
    return xs


def _kind(result: Result) -> str:
    if result.is_teacher:
        return TEACHER_KIND
    learning = result.learning.replace("RED stage-wise", "RED").replace("DKD", "KD")
    return learning if learning in COLOURS else "other losses"


def _points(
    kind: str, results: Sequence[Result], front: Sequence[Result], xs: Mapping[str, float], ends: _Ends
) -> _Part:
    best = {result.key for result in front}
    spreads = [result.spread for result in results]
    colour = COLOURS[kind]
    marker = {
        "size": [14 if result.key in best else 11 for result in results],
        "symbol": [_symbol(result, ends) for result in results],
        "color": colour,
        "opacity": [1.0 if result.key in best or not result.is_tested else _DIM for result in results],
        "line": {"width": [0 if result.is_tested else 2 for result in results], "color": colour},
    }
    part = {
        "type": "scatter",
        "mode": "markers",
        "name": kind,
        "x": [xs[result.key] for result in results],
        "y": [_y(result, ends) for result in results],
        "customdata": [result.key for result in results],
        "text": [_hover(result, result.key in best) for result in results],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": marker,
        "cliponaxis": False,
    }
    if any(spreads):
        part["error_y"] = {"type": "data", "array": spreads, "color": colour, "thickness": 1.2, "width": 4}
    return part


def _symbol(result: Result, ends: _Ends) -> str:
    if _y(result, ends) != result.score:
        shape = "triangle-down" if result.score < ends[0] else "triangle-up"
    else:
        shape = "circle" if result.origin == OWN else "square"
        shape = "diamond" if result.has_own_strides else "hexagon" if result.is_other_network else shape
    return shape if result.is_tested else f"{shape}-open"


def _hover(result: Result, is_best: bool) -> str:
    lines = [f"<b>{escape(result.title)}</b>", score_text(result), f"peak {numbers.format_bytes(result.peak_bytes)}"]
    if result.figures.get("parameters"):
        lines.append(f"{numbers.format_count(result.figures['parameters'])} parameters")
    lines.append(f"{seeds_text(result.seeds)}, {result.origin}")
    if result.is_tested:
        lines.append("on the front" if is_best else "another one is as small and better")
    return "<br>".join(lines)


def score_text(result: Result) -> str:
    """ "93.0 % ± 0.2 test accuracy", or what stands in for it while a run has no test figure."""
    if result.score is None:
        return "no figure yet"
    spread = ""
    if result.is_classifier:
        number = numbers.format_percent(result.score)
        spread = f" ± {100 * result.spread:.1f}" if len(result.seeds) > 1 else ""
        name = "test accuracy" if result.is_tested else "best validation accuracy so far"
    else:
        number = numbers.format_number(result.score)
        name = "test loss of the prediction" if result.is_tested else "best validation loss so far"
    return f"{number}{spread} {name}"


def _front_line(front: Sequence[Result], end: float, ends: _Ends) -> _Part:
    x, y = [_x(result) for result in front], [_y(result, ends) for result in front]
    line = {"color": plots.GREY, "width": 1.5, "dash": "dot", "shape": "hv"}
    look = {"mode": "lines", "name": "Pareto front", "line": line, "hoverinfo": "skip"}
    return {"type": "scatter", "x": [*x, end], "y": [*y, y[-1]], **look}


def _ring(result: Result, is_kept: bool, xs: Mapping[str, float], ends: _Ends) -> _Part:
    colour = plots.GREY if is_kept else "var(--chart-text)"
    marker = {"size": 21, "symbol": "circle-open", "color": colour, "line": {"width": 2, "color": colour}}
    look = {"mode": "markers", "hoverinfo": "skip", "marker": marker}
    return {"type": "scatter", "x": [xs[result.key]], "y": [_y(result, ends)], **look}


def _label(result: Result, index: int, front: Sequence[Result], ends: _Ends) -> _Part:
    """Above a point of the front, on the side where the front's own line does not run."""
    text = "teacher" if result.is_teacher else result.learning
    is_last = index == len(front) - 1 and len(front) > 1
    side = {"xanchor": "right", "xshift": -10} if is_last else {"xanchor": "left", "xshift": 10}
    height = {"yanchor": "bottom", "yshift": 4} if result.is_classifier else {"yanchor": "top", "yshift": -4}
    look = {"showarrow": False, "bgcolor": "var(--chart-veil)", "font": {"color": "var(--chart-text)", "size": 12}}
    return {"x": _x(result), "y": _y(result, ends), "text": escape(text), **look, **side, **height}

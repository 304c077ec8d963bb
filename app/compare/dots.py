"""All results of one memory: a row each, a dot a seed. No gradio."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from ..parts import plots
from ..runs.result import Result
from ..words import numbers
from .drawn import QUALITY, quality_of, test_loss
from .pieces import bars, marks, score_axis, teacher_line
from .ways import METHODS, learning_title, method_of, place_title, score_name, score_text

Part = dict[str, Any]
Group = tuple[str, list[Result]]
ROW, NARROW_ROW, FRAME = 24, 56, 78  # pixels: a row, one on a phone with its words above it, what is around them
NAMES = 236  # pixels of the column of the names
AXIS = 240  # of the dots, least, for an axis that can be read
WIDTHS = {"accuracy": 90, "KID": 90, "FID": 90, "recall": 90, "parameters": 78}  # of the columns of figures
COLUMN = 58  # of the others
LONGEST = 38  # characters of a name
PAPER = "var(--chart-paper)"
INK = {"size": 12, "color": "var(--chart-ink)"}


def dots_figure(
    results: Sequence[Result],
    memory: int | None,
    ticked: Sequence[str] = (),
    scores: tuple[float | None, float | None] = (None, None),
    teacher: Result | None = None,
) -> Part | None:
    """The results with a peak of `memory` bytes, best first in groups of one place and batch; None where there is none.

    Each seed is a dot, the mean a line across. The dashed line is the score of `teacher`. A click gives a result's key;
    those in `ticked` have a pale band behind them.
    """
    groups = dot_groups(results, memory)
    if not groups:
        return None
    rows: list[str | Result] = [row for title, own in groups for row in (title, *own)]
    heights = {row.key: -i for i, row in enumerate(rows) if isinstance(row, Result)}
    shown = [result for _, own in groups for result in own]
    xs = _range([*shown, *([teacher] if teacher else [])], scores)
    columns = figure_columns(shown)
    data = [_dots(method, shown, heights) for method in METHODS] + [_means(shown, heights)]
    frame = {"l": NAMES, "r": _edges(columns)[-1] + 4, "t": 30, "b": 48}
    layout = _layout(shown, xs, len(rows), frame)
    layout["shapes"] = [_band(heights[key]) for key in ticked if key in heights]
    layout["shapes"] += [teacher_line(teacher.score, "x")] if teacher else []
    of_teacher = [_above_line(teacher)] if teacher and xs[0] <= teacher.score <= xs[1] else []
    narrow_frame = {"l": 8, "r": 8, "t": 30, "b": 48}
    return {
        "data": [part for part in data if part["x"]],
        "layout": layout | {"annotations": _names(rows) + _figures(rows, columns) + _heads(columns) + of_teacher},
        "height": FRAME + ROW * len(rows),
        "narrow": {
            "below": frame["l"] + AXIS + frame["r"],
            "annotations": _narrow_words(rows, columns) + of_teacher,
            "margin": narrow_frame,
            "height": FRAME + NARROW_ROW * len(rows),
            "yaxis": {**layout["yaxis"], "range": [0.6 - len(rows), 0.4]},
        },
    }


def dot_groups(results: Sequence[Result], memory: int | None) -> list[Group]:
    """Results of one memory that have a score, by place and, where that differs, batch: the best group first."""
    shown = [result for result in results if result.peak_bytes == memory and result.score is not None]
    shown.sort(key=lambda result: result.cost)
    batches = {(place_title(result), result.config.batch_size) for result in shown}
    places = [place for place, _ in batches]
    found: dict[str, list[Result]] = {}
    for result in shown:
        place = place_title(result)
        batch = f", batch {result.config.batch_size}" if places.count(place) > 1 else ""
        found.setdefault(place[:1].upper() + place[1:] + batch, []).append(result)
    return list(found.items())


def figure_columns(shown: Sequence[Result]) -> dict[str, Callable[[Result], str]]:
    """Heads of the figures beside the dots, and how each is written of a result."""
    columns = {score_name(shown[0]).removeprefix("test ") if shown else "accuracy": score_text}
    if shown and not shown[0].is_classifier:
        columns |= {"loss": _loss_text} if shown[0].judged_by else {}
        columns |= {
            title: lambda result, name=name: _short(quality_of(result).get(name))
            for name, title in QUALITY.items()
            if name != shown[0].judged_by
        }
    count = numbers.format_count
    columns["parameters"] = lambda one: count(one.figures["parameters"]) if one.figures.get("parameters") else "–"
    columns["MACs"] = lambda one: count(one.macs) if one.macs else "–"
    return columns


def _loss_text(result: Result) -> str:
    return _short(test_loss(result))


def _short(figure: float | None) -> str:
    return "–" if figure is None else numbers.format_number(figure)


def _range(shown: Sequence[Result], scores: tuple[float | None, float | None]) -> tuple[float, float]:
    ends = [end for result in shown for end in result.range]
    pad = 0.06 * (max(ends) - min(ends)) or 0.01
    low, high = (
        given if given is not None else own
        for given, own in zip(scores, (min(ends) - pad, max(ends) + pad), strict=True)
    )
    return low, max(high, low + 1e-4)


def _dots(method: str, shown: Sequence[Result], heights: dict[str, int]) -> Part:
    own = [
        (result, score) for result in shown if method_of(result) == method for score in result.scores or (result.score,)
    ]
    symbols = ["circle" if result.is_tested else "circle-open" for result, _ in own]
    marker = {"symbol": symbols, "size": 9, "color": METHODS[method]}
    found = [result for result, _ in own]
    part = marks(found, [score for _, score in own], [heights[result.key] for result in found], marker=marker)
    has_margins = any(result.margin is not None for result in found)
    return part | {"error_x": bars(found, METHODS[method])} if has_margins else part


def _means(shown: Sequence[Result], heights: dict[str, int]) -> Part:
    several = [result for result in shown if len(result.scores) > 1]
    return {
        "type": "scatter",
        "mode": "markers",
        "hoverinfo": "skip",
        "x": [result.score for result in several],
        "y": [heights[result.key] for result in several],
        "marker": {"symbol": "line-ns-open", "size": 17, "color": "var(--chart-text)", "line": {"width": 2}},
    }


def _layout(shown: Sequence[Result], xs: tuple[float, float], rows: int, margin: Part) -> Part:
    remark = "" if shown[0].judged_by else ", one dot a seed"
    return plots.base_layout(
        hovermode="closest",
        showlegend=False,
        margin=margin,
        xaxis=score_axis(shown, xs, ticks=6, remark=remark),
        yaxis={**plots.AXIS, "range": [0.4 - rows, 0.6], "fixedrange": True, "visible": False},
    )


def _band(height: int) -> Part:
    ends = {"x0": 0, "x1": 1, "xref": "paper", "y0": height - 0.5, "y1": height + 0.5}
    return {"type": "rect", **ends, "fillcolor": "rgba(13, 148, 136, 0.14)", "line": {"width": 0}, "layer": "below"}


def _words(text: str, height: float, **look: Any) -> Part:
    usual = {"xref": "paper", "x": 0, "xanchor": "left", "yanchor": "middle", "showarrow": False, "align": "left"}
    return {**usual, "y": height, "text": escape(text), "font": {"size": 12, "color": "var(--chart-text)"}, **look}


def _names(rows: Sequence[str | Result]) -> list[Part]:
    return [
        _bold(_words(row, -i, xshift=4 - NAMES, font=INK))
        if isinstance(row, str)
        else _words(_clip(learning_title(row)), -i, xshift=14 - NAMES, font=INK)
        for i, row in enumerate(rows)
    ]


def _figures(rows: Sequence[str | Result], columns: Mapping[str, Callable[[Result], str]]) -> list[Part]:
    edges = _edges(columns)
    return [
        _words(write(row), -i, x=1, xanchor="right", xshift=edge)
        for i, row in enumerate(rows)
        if isinstance(row, Result)
        for edge, write in zip(edges, columns.values(), strict=True)
    ]


def _heads(columns: Mapping[str, Any]) -> list[Part]:
    above = {"yref": "paper", "yanchor": "bottom", "yshift": 6, "x": 1, "xanchor": "right"}
    return [_words(title, 1, xshift=edge, **above) for edge, title in zip(_edges(columns), columns, strict=True)]


def _above_line(teacher: Result) -> Part:
    """What the dashed line is."""
    above = {"xref": "x", "xanchor": "center", "yref": "paper", "yanchor": "bottom", "yshift": 6}
    return _words("teacher", 1, **above) | {"x": teacher.score}


def _narrow_words(rows: Sequence[str | Result], columns: Mapping[str, Callable[[Result], str]]) -> list[Part]:
    """On a phone what stands beside the dots stands above them, in two lines."""
    found, (score, *others) = [], columns
    for i, row in enumerate(rows):
        if isinstance(row, str):
            found.append(_bold(_words(row, -i, font=INK, bgcolor=PAPER)))
            continue
        figures = [f"{text} {name}" for name in others if (text := columns[name](row)) != "–"]
        found.append(_words(_clip(learning_title(row), 34), -i + 0.56, font=INK, bgcolor=PAPER))
        found.append(_words(columns[score](row), -i + 0.56, x=1, xanchor="right", font=INK, bgcolor=PAPER))
        found.append(_words(" · ".join(figures), -i + 0.28, font={**INK, "size": 10, "color": "var(--chart-text)"}))
    return found


def _bold(part: Part) -> Part:
    return part | {"text": f"<b>{part['text']}</b>"}


def _edges(columns: Mapping[str, Any]) -> list[int]:
    """Where each column ends, in pixels from the dots."""
    return list(itertools.accumulate(WIDTHS.get(title, COLUMN) for title in columns))


def _clip(text: str, longest: int = LONGEST) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"

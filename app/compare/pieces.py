"""Pieces that the charts of Compare share, as Plotly dicts. No gradio."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from ..parts import plots
from ..runs.result import Result
from .ways import hover_text, score_title

Part = dict[str, Any]


def marks(results: Sequence[Result], x: Sequence[float], y: Sequence[float], **look: Any) -> Part:
    """A mark for each result, with its words under the pointer; a click gives its key."""
    return {
        "type": "scatter",
        "mode": "markers",
        "cliponaxis": False,  # one that stands at the edge is whole; what stands beyond it is not drawn
        "x": list(x),
        "y": list(y),
        "customdata": [result.key for result in results],
        "text": ["<br>".join(map(escape, hover_text(result))) for result in results],
        "hovertemplate": "%{text}<extra></extra>",
        **look,
    }


def bars(results: Sequence[Result], colour: str) -> Part:
    """From the worst to the best seed of each result, or as far as the interval of its figure goes."""
    return {
        "type": "data",
        "array": [result.range[1] - result.score for result in results],
        "arrayminus": [result.score - result.range[0] for result in results],
        "color": colour,
        "thickness": 1.2,
        "width": 4,
    }


def ring(x: float, y: float) -> Part:
    """Around a ticked result."""
    marker = {"size": 20, "symbol": "circle-open", "color": "var(--chart-text)", "line": {"width": 2}}
    look = {"mode": "markers", "hoverinfo": "skip", "showlegend": False, "marker": marker}
    return {"type": "scatter", "x": [x], "y": [y], **look}


def teacher_line(score: float, along: str) -> Part:
    """A dashed line through all of the chart at the teacher's score, which stands on the axis `along`."""
    other = "y" if along == "x" else "x"
    ends = {f"{along}0": score, f"{along}1": score, f"{other}0": 0, f"{other}1": 1, f"{other}ref": "paper"}
    line = {"color": "var(--chart-text)", "width": 1.2, "dash": "dash"}
    return {"type": "line", **ends, "line": line, "layer": "below"}


def score_axis(results: Sequence[Result], ends: Sequence[float], ticks: int, remark: str = "") -> Part:
    """The axis of what the results are judged by, between its ends, with about so many ticks."""
    is_share = not results or results[0].is_classifier
    form = {"tickformat": ".0%" if ends[1] - ends[0] > 0.08 else ".1%"} if is_share else {}
    title = {"text": score_title(results[0] if results else None) + remark, "standoff": 8, "font": {"size": 12}}
    return {**plots.AXIS, "range": list(ends), "nticks": ticks, "title": title, **form}

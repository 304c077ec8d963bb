"""Figures as Plotly dicts: colours, what all share, and a run's curves. No gradio, no torch: plain values only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from redistill.common.values import is_number

STUDENT = "#0d9488"
TEACHER = "#94a3b8"
RED = "#e5484d"
GOLD = "#d97706"
VIOLET = "#8b5cf6"
GREY = "#8a94a3"
_GRID = "rgba(138, 148, 163, 0.22)"


AXIS = {
    "zeroline": False,
    "gridcolor": _GRID,
    "linecolor": _GRID,
    "tickcolor": _GRID,
    "fixedrange": False,
    "automargin": False,
}


def base_layout(**settings: Any) -> dict[str, Any]:
    """What all figures share, with `settings` on top. Colours named var(--x) are those of style.css, per theme."""
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": "var(--chart-text)", "size": 12},
        "margin": {"l": 62, "r": 8, "t": 8, "b": 52},
        "legend": {"orientation": "h", "x": 0, "y": -0.1, "yanchor": "top"},
        "dragmode": False,
        "hoverlabel": {"bgcolor": "var(--chart-paper)", "bordercolor": GREY, "font": {"color": "var(--chart-text)"}},
        **settings,
    }


LOSS_NAMES = {"loss": "total", "task_loss": "task", "red_loss": "RED", "feature_loss": "features", "kd_loss": "KD"}
_LOSS_COLOURS = {"loss": GREY, "task_loss": STUDENT, "red_loss": RED, "feature_loss": VIOLET, "kd_loss": GOLD}
SCORE_NAMES = {"accuracy": "Validation accuracy", "prediction_loss": "Validation loss of the prediction"}
_POINTS = 400  # a curve's most points; neighbours are averaged beyond that


def loss_figure(records: Sequence[Mapping[str, Any]], steps: int) -> dict[str, Any]:
    """Every loss term against the step, from a run's records of kind "step".

    The axis is logarithmic where all of them are above 0: KD is often a hundred times RED, which would be a flat line.
    """
    rows = [record for record in records if record.get("kind") == "step"]
    data = []
    for name, title in LOSS_NAMES.items():
        pairs = [(row["step"], row[name]) for row in rows if is_number(row.get(name))]
        if pairs:
            x, y = thin(pairs)
            data.append(_line(title, x, y, _LOSS_COLOURS[name], "%{y:.4g}"))
    above = bool(data) and min(min(trace["y"]) for trace in data) > 0
    axis = {"type": "log", "minorloglabels": "complete"} if above else {"rangemode": "tozero"}  # 0.2, not a small 2
    return {"data": data, "layout": _curves_layout(steps, axis)}


def step_figure(records: Sequence[Mapping[str, Any]], steps: int, name: str) -> dict[str, Any]:
    """One figure of every step against the step: "learning_rate" or "images_per_second"."""
    rows = [record for record in records if record.get("kind") == "step"]
    x, y = thin([(row["step"], row[name]) for row in rows if is_number(row.get(name))])
    line = _line(name.replace("_", " "), x, y, GREY, "%{y:.3g}")
    exponents = "e" if name == "learning_rate" else "SI"
    layout = _curves_layout(steps, {"rangemode": "tozero", "nticks": 4, "exponentformat": exponents})
    return {"data": [line], "layout": layout | {"showlegend": False, "margin": {"l": 54, "r": 10, "t": 8, "b": 26}}}


def score_figure(records: Sequence[Mapping[str, Any]], steps: int, teacher: float | None = None) -> dict[str, Any]:
    """The validation score against the step, and the teacher's as a line, from a run's records."""
    rows = [record for record in records if record.get("kind") == "validation"]
    name = "prediction_loss" if any("prediction_loss" in row for row in rows) else "accuracy"
    pairs = [(row["step"], row[name]) for row in rows if is_number(row.get(name))]
    share = name == "accuracy"
    line = _line("student", [x for x, _ in pairs], [y for _, y in pairs], STUDENT, "%{y:.1%}" if share else "%{y:.4g}")
    line |= {"mode": "lines+markers", "marker": {"size": 6, "color": STUDENT}}
    data = [line]
    if teacher is not None:
        mark = {"mode": "lines", "line": {"color": TEACHER, "width": 2, "dash": "dot"}}
        data.append(
            _line("teacher (test)", [0, steps], [teacher, teacher], TEACHER, "%{y:.1%}" if share else "%{y:.4g}") | mark
        )
    y = {"range": [0, 1.02], "tickformat": ".0%"} if share else {"rangemode": "tozero"}
    return {"data": data, "layout": _curves_layout(steps, y)}


def thin(pairs: Sequence[tuple[float, float]], most: int = _POINTS) -> tuple[list[float], list[float]]:
    """At most `most` points of a curve: neighbours averaged, the last step kept as it is."""
    if len(pairs) <= most:
        return [x for x, _ in pairs], [y for _, y in pairs]
    width = math.ceil(len(pairs) / most)
    groups = [pairs[i : i + width] for i in range(0, len(pairs), width)]
    return [group[-1][0] for group in groups], [sum(y for _, y in group) / len(group) for group in groups]


def _line(name: str, x: list, y: list, colour: str, value: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": y,
        "line": {"color": colour, "width": 2},
        "hovertemplate": f"step %{{x}}<br>{name}: {value}<extra></extra>",
    }


def _curves_layout(steps: int, yaxis: Mapping[str, Any]) -> dict[str, Any]:
    return base_layout(
        uirevision=steps,
        showlegend=True,
        margin={"l": 54, "r": 10, "t": 8, "b": 48},
        legend={"orientation": "h", "x": 0, "y": -0.16, "yanchor": "top"},
        xaxis={**AXIS, "range": [0, max(1, steps)], "showgrid": False, "nticks": 6},
        yaxis={**AXIS, "nticks": 6, "exponentformat": "e", **yaxis},  # 5e-5, not 50µ
    )

"""A run's curves as Plotly dicts. No gradio, no torch: plain values only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from redistill.common.values import is_number

from ..parts.plots import AXIS, GOLD, GREY, RED, STUDENT, TEACHER, VIOLET, base_layout

LOSSES = {  # by their names in a record: title, colour
    "loss": ("total", GREY),
    "task_loss": ("task", STUDENT),
    "red_loss": ("RED", RED),
    "feature_loss": ("features", VIOLET),
    "kd_loss": ("KD", GOLD),
}
_POINTS = 400  # a curve's most points; neighbours are averaged beyond that
Records = Sequence[Mapping[str, Any]]


def loss_figure(records: Records, steps: int) -> dict[str, Any]:
    """Every loss term against the step, from a run's records of kind "step".

    The axis is logarithmic where all of them are above 0: KD is often a hundred times RED, which would be a flat line.
    """
    curves = [(*look, _pairs(records, "step", name)) for name, look in LOSSES.items()]
    data = [_line(title, *thin(pairs), colour, "%{y:.4g}") for title, colour, pairs in curves if pairs]
    above = bool(data) and min(min(trace["y"]) for trace in data) > 0
    axis = {"type": "log", "minorloglabels": "complete"} if above else {"rangemode": "tozero"}  # 0.2, not a small 2
    return {"data": data, "layout": _curves_layout(steps, axis)}


def step_figure(records: Records, steps: int, name: str) -> dict[str, Any]:
    """One figure of every step against the step: "learning_rate" or "images_per_second"."""
    line = _line(name.replace("_", " "), *thin(_pairs(records, "step", name)), GREY, "%{y:.3g}")
    exponents = "e" if name == "learning_rate" else "SI"
    layout = _curves_layout(steps, {"rangemode": "tozero", "nticks": 4, "exponentformat": exponents})
    return {"data": [line], "layout": layout | {"showlegend": False, "margin": {"l": 54, "r": 10, "t": 8, "b": 26}}}


def score_figure(records: Records, steps: int, teacher: float | None = None) -> dict[str, Any]:
    """The validation score against the step, and the teacher's as a line, from a run's records."""
    is_loss = any("prediction_loss" in record for record in records if record.get("kind") == "validation")
    pairs = _pairs(records, "validation", "prediction_loss" if is_loss else "accuracy")
    value = "%{y:.4g}" if is_loss else "%{y:.1%}"
    marks = {"mode": "lines+markers", "marker": {"size": 6, "color": STUDENT}}
    data = [_line("student", [x for x, _ in pairs], [y for _, y in pairs], STUDENT, value) | marks]
    if teacher is not None:
        dotted = {"line": {"color": TEACHER, "width": 2, "dash": "dot"}}
        data.append(_line("teacher (test)", [0, steps], [teacher, teacher], TEACHER, value) | dotted)
    y = {"rangemode": "tozero"} if is_loss else {"range": [0, 1.02], "tickformat": ".0%"}
    return {"data": data, "layout": _curves_layout(steps, y)}


def _pairs(records: Records, kind: str, name: str) -> list[tuple[float, float]]:
    """Step and value of every record of a kind that has a number of that name."""
    return [(row["step"], row[name]) for row in records if row.get("kind") == kind and is_number(row.get(name))]


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

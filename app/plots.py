"""Figures as Plotly dicts, and numbers as text. No gradio, no torch: bytes and records in, plain values out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

STUDENT = "#0d9488"
TEACHER = "#94a3b8"
RED = "#e5484d"
GOLD = "#d97706"
VIOLET = "#8b5cf6"
GREY = "#8a94a3"
_GRID = "rgba(138, 148, 163, 0.22)"
_KIB, _MIB, _GIB = 2**10, 2**20, 2**30


def format_bytes(count: int) -> str:
    """1,048,576 → "1.00 MiB": MiB with two decimals from half a MiB on; below that KiB with three digits, and B."""
    for unit, name in ((_GIB, "GiB"), (_MIB, "MiB")):
        if count >= unit // 2:
            return f"{count / unit:,.0f} {name}" if count >= 100 * unit else f"{count / unit:.2f} {name}"
    if count < _KIB:
        return f"{count} B"
    kib = count / _KIB
    return f"{kib:.0f} KiB" if kib >= 99.95 else f"{kib:.1f} KiB" if kib >= 9.995 else f"{kib:.2f} KiB"


def format_ratio(before: float, after: float) -> str:
    """How many times smaller `after` is: 4.98 → "5.0×", 0.834 → "0.83×", 128.4 → "128×"."""
    ratio = before / after if after else math.inf
    if ratio >= 100:
        return f"{ratio:.0f}×"
    return f"{ratio:.1f}×" if ratio >= 0.995 else f"{ratio:.2f}×"


def format_percent(share: float) -> str:
    """0.9123 → "91.2 %"."""
    return f"{100 * share:.1f} %"


def format_count(count: int) -> str:
    """11,689,512 → "11.7 M"."""
    for unit, name in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= unit:
            return f"{count / unit:.3g} {name}" if count < 1000 * unit else f"{count / unit:,.0f} {name}"
    return str(count)


def format_duration(seconds: float) -> str:
    """75 → "1 min 15 s"; hours carry minutes, minutes carry seconds."""
    whole = max(0, round(seconds))
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def format_number(value: float) -> str:
    """Three significant digits, for losses and rates: 0.034567 → "0.0346"."""
    return f"{value:.3g}"


def format_margin(value: float, margin: float) -> str:
    """A figure and its margin to the margin's second significant digit: 0.15358 and 0.0307 → "0.154 ± 0.031"."""
    if not (math.isfinite(value) and math.isfinite(margin) and margin > 0):
        return f"{format_number(value)} ± {format_number(margin)}"
    digits = max(0, 1 - math.floor(math.log10(margin)))
    return f"{value:.{digits}f} ± {margin:.{digits}f}"


def format_size(size: Sequence[int]) -> str:
    """(16, 16) → "16×16"."""
    return "×".join(str(side) for side in size)


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
        pairs = [(row["step"], row[name]) for row in rows if _finite(row.get(name))]
        if pairs:
            x, y = thin(pairs)
            data.append(_line(title, x, y, _LOSS_COLOURS[name], "%{y:.4g}"))
    above = bool(data) and min(min(trace["y"]) for trace in data) > 0
    axis = {"type": "log", "minorloglabels": "complete"} if above else {"rangemode": "tozero"}  # 0.2, not a small 2
    return {"data": data, "layout": _curves_layout(steps, axis)}


def step_figure(records: Sequence[Mapping[str, Any]], steps: int, name: str) -> dict[str, Any]:
    """One figure of every step against the step: "learning_rate" or "images_per_second"."""
    rows = [record for record in records if record.get("kind") == "step"]
    x, y = thin([(row["step"], row[name]) for row in rows if _finite(row.get(name))])
    line = _line(name.replace("_", " "), x, y, GREY, "%{y:.3g}")
    exponents = "e" if name == "learning_rate" else "SI"
    layout = _curves_layout(steps, {"rangemode": "tozero", "nticks": 4, "exponentformat": exponents})
    return {"data": [line], "layout": layout | {"showlegend": False, "margin": {"l": 54, "r": 10, "t": 8, "b": 26}}}


def score_figure(records: Sequence[Mapping[str, Any]], steps: int, teacher: float | None = None) -> dict[str, Any]:
    """The validation score against the step, and the teacher's as a line, from a run's records."""
    rows = [record for record in records if record.get("kind") == "validation"]
    name = "prediction_loss" if any("prediction_loss" in row for row in rows) else "accuracy"
    pairs = [(row["step"], row[name]) for row in rows if _finite(row.get(name))]
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


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)

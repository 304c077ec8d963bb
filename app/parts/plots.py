"""Figures as Plotly dicts: colours, and what all share. No gradio, no torch: plain values only."""

from __future__ import annotations

from typing import Any

STUDENT = "#0d9488"
TEACHER = "#94a3b8"
RED = "#e5484d"
GOLD = "#d97706"
VIOLET = "#8b5cf6"
BLUE = "#5b7fb8"
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

"""The chart of live memory through networks. No gradio, no torch: points and bytes in, a figure out."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..words.numbers import common_unit, format_bytes
from .budget import Budget, room_text
from .plots import AXIS, RED, STUDENT, TEACHER, base_layout
from .trace import Point, layer_label

PIN_COLOURS = {"A": "#d97706", "B": "#7c5cff", "C": "#2f7fe0", "D": "#d6409f"}
_HEADROOM = 1.16  # the axis ends so far above the highest peak, which leaves room for its label
_FAR = 2.0  # a budget beyond so many times the highest peak would flatten the curves
_ENDS = {1.0: "right", 0.0: "left", 0.5: "center"}  # where a budget's label may stand, by what is near least
_RED_WIDTH = 0.4  # of another operator's: a block is eight small operators, which would crowd out the network
_Part = dict[str, Any]
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Curve:
    """A curve of `networks_figure`."""

    name: str
    points: Sequence[Point]
    colour: str  # "#rrggbb"


@dataclass(frozen=True)
class PinnedCurve:
    """A pinned student in `memory_figure`."""

    letter: str  # of PIN_COLOURS
    peak_bytes: int
    points: Sequence[Point] | None  # None: of another network, whose peak is drawn as a level


@dataclass(frozen=True)
class _Axes:
    """Where things stand: operators along the network, bytes in `unit`s up to `top`."""

    place: Mapping[tuple[str, int], float]  # (layer, turn) of an operator → its position
    end: float
    unit: int  # bytes
    top: float

    @classmethod
    def around(
        cls, curves: Sequence[Sequence[Point]], levels: Sequence[int] = (), budget: int = 0, like: int = 0
    ) -> _Axes:
        """Axes with room for all curves, for levels in bytes, and for a budget that is not far above them; in the unit
        of `like` bytes, or else of the highest point."""
        order: list[tuple[str, int]] = []
        for points in curves:
            order = merged_order(order, [point[:2] for point in points])
        highest = max([point.bytes for points in curves for point in points] + list(levels))
        unit = 2**20 if (like or highest) >= 2**19 else 2**10
        reach = budget if highest < budget <= _FAR * highest else highest
        red = {point[:2] for points in curves for point in points if point.is_red}
        return cls(*_places(order, red), unit, reach / unit * _HEADROOM)

    def layout(self, ticks: Mapping[str, str], nticks: int, **settings: Any) -> _Part:
        """The figure's layout; `ticks` maps layers to short labels under the axis."""
        suffix = " MiB" if self.unit == 2**20 else " KiB"
        shown = {self.place[layer, 0]: text for layer, text in ticks.items() if (layer, 0) in self.place}
        x = {"range": [-0.8, self.end + 0.8], "tickvals": list(shown), "ticktext": list(shown.values())}
        y = {"range": [0, self.top], "ticksuffix": suffix, "rangemode": "tozero", "nticks": nticks, "tickformat": ","}
        return base_layout(
            hovermode="x",
            hoverdistance=-1,
            uirevision=str(len(self.place)),
            xaxis={**AXIS, **x, "showgrid": False, "tickangle": 0},
            yaxis={**AXIS, **y},
            **settings,
        )

    def along(self, points: Sequence[Point]) -> list[tuple[float, Point]]:
        """Points with their positions, from left to right."""
        return sorted(((self.place[point[:2]], point) for point in points), key=lambda pair: pair[0])

    def peak(self, points: Sequence[Point]) -> tuple[float, int]:
        """Position and bytes of the first of the highest points."""
        peak = max(points, key=lambda point: point.bytes)
        return self.place[peak[:2]], peak.bytes

    def near(self, first: int, second: int) -> bool:
        """Whether labels at two heights, in bytes, would lie on each other."""
        return abs(first - second) < 0.09 * self.top * self.unit

    def is_early(self, position: float) -> bool:
        """Whether a position is in the left half."""
        return position < self.end / 2


def memory_figure(
    teacher: Sequence[Point],
    student: Sequence[Point],
    ticks: Mapping[str, str],
    pins: Sequence[PinnedCurve] = (),
    budget: Budget | None = None,
) -> dict[str, Any]:
    """Live bytes at every operator of teacher, student and pinned students, on one axis along the network.

    `ticks` maps layers to short labels under the axis. Points carry the place that they stand for, as
    `trace.read_place` takes it.
    """
    curves = [teacher, student, *(pin.points for pin in pins if pin.points is not None)]
    levels = [pin.peak_bytes for pin in pins]
    like = common_unit([*(max(point.bytes for point in points) for points in curves), *levels])
    axes = _Axes.around(curves, levels, budget.bytes if budget else 0, like)
    peaks = [axes.peak(teacher), axes.peak(student)]
    pinned = [_pin_place(pin, axes) for pin in pins]
    shapes, labels = _budget_marks(budget, axes, [*peaks, *pinned]) if budget else ([], [])
    labels += [*_pin_labels(pins, axes), *_peak_labels(axes, peaks)]
    margin = {"l": 62, "r": 10, "t": 10, "b": 52}
    data = [
        _area("Teacher", "teacher", teacher, axes, TEACHER, 0.38),
        _area("Student", "student", student, axes, STUDENT, 0.65),
        _red_area(student, axes),
        *(_pin_line(pin, axes) for pin in pins),
        _peak_marks(axes, peaks),
    ]
    return {"data": data, "layout": axes.layout(ticks, 6, margin=margin, shapes=shapes, annotations=labels)}


def networks_figure(networks: Sequence[Curve], ticks: Mapping[str, str]) -> dict[str, Any]:
    """Live bytes at every operator of several networks on one axis: the first as an area, the others before it.

    One other is an area as well; several are lines, or nearly equal ones would mix to a colour that is none of theirs.
    `ticks` maps layers of the first network to short labels under the axis.
    """
    axes = _Axes.around([network.points for network in networks])
    opacities = [0.38, *[0.5 if len(networks) == 2 else 0.0] * (len(networks) - 1)]
    areas = [
        _area(network.name, str(number), network.points, axes, network.colour, opacity)
        for number, (network, opacity) in enumerate(zip(networks, opacities, strict=True))
    ]
    margin = {"l": 62, "r": 10, "t": 10, "b": 34}
    return {"data": areas, "layout": axes.layout(ticks, 5, margin=margin, showlegend=False)}  # names stand elsewhere


def merged_order(first: Sequence[Key], second: Sequence[Key]) -> list[Key]:
    """All keys once, in an order that keeps that of `first`, and that of `second` where the two agree."""
    known = set(first)
    order: list[Key] = []
    rest = iter(first)
    passed: set[Key] = set()
    for name in second:
        if name in known and name not in passed:
            for other in rest:
                passed.add(other)
                order.append(other)
                if other == name:
                    break
        elif name not in known:
            order.append(name)
    order += list(rest)
    return order


def _places(order: Sequence[Key], red: Collection[Key]) -> tuple[dict[Key, float], float]:
    """The middle of each operator's stretch of the axis, and where the last one ends."""
    places, end = {}, 0.0
    for key in order:
        width = _RED_WIDTH if key in red else 1.0
        places[key] = round(end + width / 2, 2)
        end += width
    return places, end


def _area(name: str, network: str, points: Sequence[Point], axes: _Axes, colour: str, opacity: float) -> _Part:
    """One network: a step at every operator, filled down to nothing; the first and the last one are drawn in full.

    Without opacity it is a line.
    """
    placed = axes.along(points)
    placed = [(placed[0][0] - 0.5, placed[0][1]), *placed, (placed[-1][0] + 0.5, placed[-1][1])]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [position for position, _ in placed],
        "y": [point.bytes / axes.unit for _, point in placed],
        "customdata": [[network, point.layer, point.turn, _hover(point)] for _, point in placed],
        "hovertemplate": f"{name}: %{{customdata[3]}}<extra></extra>",
        "hoverinfo": "y",  # no box with the position at the axis
        "line": {"shape": "hvh", "width": 1 if opacity else 2, "color": colour},
        **({"fill": "tozeroy", "fillcolor": _translucent(colour, opacity)} if opacity else {}),
    }


def _hover(point: Point) -> str:
    red = ", RED block" if point.is_red else ""
    return f"<b>{format_bytes(point.bytes)}</b><br>{layer_label(point.layer)} · {point.op}{red}"


def _red_area(student: Sequence[Point], axes: _Axes) -> _Part:
    """RED blocks drawn over the student, step by step; between two of them the line lies on the axis."""
    placed = axes.along(student)
    edges = [0.0, *((left[0] + right[0]) / 2 for left, right in itertools.pairwise(placed)), axes.end]
    x: list[float] = []
    y: list[float] = []
    for (_, point), left, right in zip(placed, edges, edges[1:], strict=False):
        if not point.is_red:
            continue
        if x and x[-1] != left:
            x += [x[-1], left]
            y += [0.0, 0.0]
        x += [left, right]
        y += [point.bytes / axes.unit] * 2
    look = {"hoverinfo": "skip", "line": {"width": 0, "color": RED}, "fill": "tozeroy", "fillcolor": RED}
    return {"type": "scatter", "mode": "lines", "name": "RED blocks", "x": x, "y": y, **look}


def _pin_line(pin: PinnedCurve, axes: _Axes) -> _Part:
    """A thin line through the pinned student, or at its peak when there is no curve to compare."""
    if pin.points is None:
        x, y = [-0.8, axes.end + 0.8], [pin.peak_bytes / axes.unit] * 2
    else:
        placed = axes.along(pin.points)
        x, y = [position for position, _ in placed], [point.bytes / axes.unit for _, point in placed]
    dash = "solid" if pin.points else "dot"
    line = {"shape": "hvh", "width": 1.6, "color": PIN_COLOURS[pin.letter], "dash": dash}
    return {"type": "scatter", "mode": "lines", "name": pin.letter, "x": x, "y": y, "hoverinfo": "skip", "line": line}


def _pin_labels(pins: Sequence[PinnedCurve], axes: _Axes) -> list[_Part]:
    """Letters at the peaks, on the side away from the other labels; those of equal peaks together."""
    letters: dict[tuple[float, int], str] = {}
    for pin in pins:
        peak = _pin_place(pin, axes)
        letters[peak] = f"{letters.get(peak, '')} {pin.letter}".strip()
    labels = []
    for (position, count), text in letters.items():
        is_left = axes.is_early(position) or position == axes.end
        side = {"xanchor": "right", "xshift": -5} if is_left else {"xanchor": "left", "xshift": 5}
        label = _label(position, count / axes.unit, f"<b>{text}</b>", "var(--chart-text)")
        labels.append(label | side | {"yanchor": "middle"})
    return labels


def _pin_place(pin: PinnedCurve, axes: _Axes) -> tuple[float, int]:
    """Where a pin's letter stands: at its peak, or at the end of its level."""
    return axes.peak(pin.points) if pin.points else (axes.end, pin.peak_bytes)


def _peak_marks(axes: _Axes, peaks: Sequence[tuple[float, int]]) -> _Part:
    marker = {"size": 8, "color": [TEACHER, STUDENT], "line": {"color": "var(--chart-paper)", "width": 1.5}}
    x, y = [position for position, _ in peaks], [count / axes.unit for _, count in peaks]
    look = {"hoverinfo": "skip", "showlegend": False, "marker": marker}
    return {"type": "scatter", "mode": "markers", "name": "Peaks", "x": x, "y": y, **look}


def _peak_labels(axes: _Axes, peaks: Sequence[tuple[float, int]]) -> list[_Part]:
    """Labels beside the marks, on the side with more room; of two close ones the lower stands below its mark."""
    lower = 0 if peaks[0][1] < peaks[1][1] else 1
    close = axes.near(peaks[0][1], peaks[1][1])
    labels = []
    for i, (who, colour) in enumerate((("teacher", "var(--chart-text)"), ("student", "var(--chart-student)"))):
        position, count = peaks[i]
        side = {"xanchor": "left", "xshift": 6} if axes.is_early(position) else {"xanchor": "right", "xshift": -6}
        label = _label(position, count / axes.unit, f"{who} peak <b>{format_bytes(count, axes.unit)}</b>", colour)
        labels.append(label | side | {"yanchor": "top" if close and i == lower else "bottom"})
    return labels


def _budget_marks(budget: Budget, axes: _Axes, peaks: Sequence[tuple[float, int]]) -> tuple[list[_Part], list[_Part]]:
    """The line, labelled out of the way of peaks near it; for one beyond the axis, a label with an arrow only."""
    y, colour = budget.bytes / axes.unit, "var(--chart-budget)"
    beyond = y > axes.top
    text = f"{budget.title} <b>{room_text(budget.bytes)}</b>{' ↑' if beyond else ''}"
    near = [(position, count) for position, count in peaks if axes.near(count, budget.bytes)]
    free = max(_ENDS, key=lambda end: min((abs(end - at / axes.end) for at, _ in near), default=1))
    end = {"x": free, "xanchor": _ENDS[free]}
    is_below = beyond or any(count >= budget.bytes for _, count in near)
    height = {"yanchor": "top"} if is_below else {"yanchor": "bottom", "yshift": 15 if near else 0}
    label = _label(0, axes.top if beyond else y, text, colour) | {"xref": "paper"} | end | height
    line = {"color": colour, "width": 1.5, "dash": "dash"}
    shape = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "line": line}
    return [] if beyond else [shape], [label]


def _label(x: float, y: float, text: str, colour: str) -> _Part:
    look = {"showarrow": False, "yanchor": "bottom", "font": {"color": colour, "size": 12}, "borderpad": 1}
    return {"x": x, "y": y, "text": text, "bgcolor": "var(--chart-veil)", **look}


def _translucent(colour: str, opacity: float) -> str:
    """ "#0d9488" with an opacity, as rgba(...)."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"

"""A network as a sequence of operators: the chart's points, and places in it that outlive a change of settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from redistill.common.values import is_whole
from redistill.memory import MemoryProfile

NETWORKS = ("student", "teacher")


class Point(NamedTuple):
    """One operator; `layer` and `turn` together name it, in every student of the same teacher."""

    layer: str  # module path
    turn: int  # operators of this layer that ran before it
    op: str
    bytes: int  # alive while it runs, its inputs and outputs included
    is_red: bool


def memory_curve(profile: MemoryProfile) -> list[Point]:
    """The operators of a network in the order in which they run."""
    turns: dict[str, int] = {}
    points = []
    for op in profile.timeline:
        turn = turns.get(op.layer, 0)
        turns[op.layer] = turn + 1
        points.append(Point(op.layer, turn, op.op, op.live_bytes, op.is_red))
    return points


@dataclass(frozen=True)
class Place:
    """An operator that a person looks at. Without a layer: the one at which the network peaks."""

    network: str = "student"
    layer: str | None = None
    turn: int | None = None  # None: the operator of the layer with the most bytes alive


def read_place(value: Any) -> Place:
    """A place as it comes from the page, a dict with the fields' names; ValueError for anything else."""
    if not isinstance(value, Mapping):
        raise ValueError(f"A place is {str(value)[:40]!r}; expected a network, and a layer.")
    place = Place(value.get("network"), value.get("layer"), value.get("turn"))
    if not isinstance(place.network, str) or place.network not in NETWORKS:
        raise ValueError(f"Network is {str(place.network)[:40]!r}; expected one of {list(NETWORKS)}.")
    if place.layer is not None and not isinstance(place.layer, str):
        raise ValueError(f"Layer is {str(place.layer)[:40]!r}; expected the path of a layer.")
    if place.turn is not None and not is_whole(place.turn, 0):
        raise ValueError(f"Operator is {str(place.turn)[:40]!r}; expected its number in the layer, from 0.")
    return place


def locate(profile: MemoryProfile, place: Place) -> int:
    """Index of the place's operator in the timeline; the peak's where the network has no such layer."""
    line = profile.timeline
    own = [] if place.layer is None else [i for i, op in enumerate(line) if op.layer == place.layer]
    if not own:
        return profile.peak_index
    if place.turn is not None and place.turn < len(own):
        return own[place.turn]
    return max(own, key=lambda i: line[i].live_bytes)


def layer_label(name: str) -> str:
    """A module path as it is shown; operators of the network's own forward go by "forward"."""
    return name.removesuffix(".") or "forward"


_RED_BLOCK = re.compile(r"^((?:.*\.)?red_(?:in|out))(?:\..*)?$")


def peak_label(profile: MemoryProfile) -> str:
    """The layer at which a network peaks first; RED blocks as a whole: "RED block layer2.0.red_in"."""
    op = profile.timeline[profile.peak_index]
    block = _RED_BLOCK.match(op.layer) if op.is_red else None
    return f"RED block {block[1]}" if block else layer_label(op.layer)

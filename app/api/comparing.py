"""Endpoints of results: results, compare."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from redistill.common.values import is_number

from ..runs import choices
from ..runs.result import Result, groups, pareto_front
from ..runs.results import all_results
from ..words.settings import FIGURES
from .kinds import MOST, Name, whole


def results(group: Name | None = None, limit: whole(1, MOST, "results at most") = 200) -> dict:
    """All results there are: own runs, checkpoints that ship, rows of the studies; `group` keeps those of one.

    Those of one group can be compared. `score` is an accuracy from 0 to 1, or of a diffusion network its loss;
    `on_front`: no other of its group needs as little memory and is as good, on validation pictures where all have a
    figure there.

    Example:
        client.predict(group="emoji-clutter", api_name="/results")
    """
    found = all_results()
    if group is not None and group not in (known := list(dict.fromkeys(result.group for result in found))):
        raise ValueError(f"There is no group {group[:60]!r} of results; expected one of {known}.")
    kept = [result for result in found if group in (None, result.group)]
    front = {best.key for name in {result.group for result in kept} for best in pareto_front(_of(kept, name))}
    offered = [{"title": title, "group": name} for title, name in groups(found)]
    rows = [_told(result) | {"on_front": result.key in front} for result in kept[:limit]]
    return {"count": len(kept), "groups": offered, "results": rows}


def compare(first: Name, second: Name) -> dict:
    """What two results differ in: their figures, and the settings that are not the same, each as [first, second].

    Example:
        client.predict("shipped:emoji-clutter-teacher", "shipped:emoji-clutter-student", api_name="/compare")
    """
    one, other = _find(first, second)
    return {
        "first": _told(one),
        "second": _told(other),
        "ratio": round(one.peak_bytes / other.peak_bytes, 4),
        "figures": _differing(_figures(one), _figures(other)),
        "settings": _differing(_settings(one), _settings(other)),
    }


def _of(found: list[Result], group: str) -> list[Result]:
    return [result for result in found if result.group == group]


def _find(*keys: str) -> list[Result]:
    found = {result.key: result for result in reversed(all_results())}  # of equal keys the first
    for key in keys:
        if key not in found:
            raise ValueError(f"There is no result {key[:60]!r}; expected the key of one that `results` lists.")
    return [found[key] for key in keys]


def _told(result: Result) -> dict:
    names = ("key", "title", "group", "origin", "state", "peak_bytes", "score", "is_tested", "spread", "seeds")
    return {name: getattr(result, name) for name in names}


def _figures(result: Result) -> dict[str, Any]:
    return {name: value for name, value in result.figures.items() if name in FIGURES and is_number(value)}


def _settings(result: Result) -> dict[str, Any]:
    """All settings by their paths, such as student.red.gate."""
    config = dataclasses.asdict(result.config)
    teacher = config["teacher_checkpoint"]
    return _flat({**config, "teacher_checkpoint": choices.value_of(teacher) if teacher else None})


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        is_inner = isinstance(value, Mapping) and name not in ("strides", "teacher_strides", "unets")
        flat |= _flat(value, f"{before}{name}.") if is_inner else {before + name: value}
    return flat


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, list[Any]]:
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return {name: [one.get(name), other.get(name)] for name in names}

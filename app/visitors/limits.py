"""What a visitor may ask of a page that strangers share: all limits, and what is said where one is met. A laptop has
none. docs/SPACE.md explains each.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redistill.common import hub
from redistill.common.values import LONG, is_whole, shown
from redistill.memory.comparison import compare
from redistill.networks.student import StudentConfig

from ..words.numbers import format_bytes
from .access import count_claims, is_shared

HOME = "on a machine of your own, `redistill distill` and the same page have no limits"


@dataclass(frozen=True)
class Limits:
    """The most of everything; None: as much as the machine has. $REDISTILL_LIMITS changes those of a Space."""

    steps: int | None = None  # of a run
    minutes: int | None = None  # that a run trains at a time; then it makes room for the next, and can go on after it
    image_size: int | None = None  # pixels a side
    batch_size: int | None = None
    weight_bytes: int | None = None  # of teacher and student together, in fp32
    step_bytes: int | None = None  # of all maps of a training step: the batch through teacher and student
    upload_bytes: int | None = None  # of a file as it is sent
    unpacked_bytes: int | None = None  # of a zip file's pictures
    upload_pictures: int | None = None
    download_bytes: int | None = None  # of a data set or a network that is fetched from the Hub
    brought_each: int | None = None  # uploads and networks brought in that a visitor keeps
    runs_each: int | None = None  # that a visitor keeps
    going_each: int | None = None  # of these, training or waiting
    runs_all: int | None = None  # of all visitors; of more, the oldest that have ended go
    disk_bytes: int | None = None  # of all that visitors cause; of more, what was fetched goes first, then old runs
    days: int | None = None  # that runs, uploads and networks that were brought in are kept after their last use


ON_A_SPACE = Limits(
    steps=20_000,
    minutes=60,
    image_size=256,
    batch_size=512,
    weight_bytes=400 * 2**20,
    step_bytes=6 * 2**30,
    upload_bytes=200 * 2**20,
    unpacked_bytes=2**30,
    upload_pictures=20_000,
    download_bytes=2 * 2**30,
    brought_each=12,
    runs_each=12,
    going_each=2,
    runs_all=300,
    disk_bytes=20 * 2**30,
    days=7,
)


def limits_here() -> Limits:
    """Those that hold here. ValueError for $REDISTILL_LIMITS that is none, such as "steps=50000, days=30"."""
    return _changed(os.environ.get("REDISTILL_LIMITS", "")) if is_shared() else Limits()


def hold_downloads() -> None:
    """Let this process, and those of runs, fetch no more of a repository than a visitor may ask for."""
    if most := limits_here().download_bytes:
        os.environ[hub.MOST] = str(most)


def _changed(text: str) -> Limits:
    values: dict[str, int | None] = {}
    names = [field.name for field in dataclasses.fields(Limits)]
    for part in filter(None, map(str.strip, text.split(","))):
        name, _, value = map(str.strip, part.partition("="))
        if name not in names or not (value == "none" or (value.isdecimal() and is_whole(int(value[:18]), 1))):
            raise ValueError(
                f"REDISTILL_LIMITS has {part[:80]!r}; expected NAME=NUMBER or NAME=none with a name of {names}."
            )
        values[name] = None if value == "none" else int(value[:18])
    return dataclasses.replace(ON_A_SPACE, **values)


def check_run(config: Mapping[str, Any]) -> None:
    """ValueError, with the limit and a way out, for settings of a run (`DistillConfig.to_dict()`) that ask too much."""
    most = limits_here()
    student = StudentConfig.from_dict(config["student"]) if is_shared() else None
    _check("steps", config.get("steps"), most.steps, "steps", "take fewer")
    _check("batch_size", config.get("batch_size"), most.batch_size, "pictures a step", "take a smaller batch")
    if student is None:
        return
    _check_network(student, int(config["batch_size"]), most)


def check_network(student: StudentConfig) -> None:
    """ValueError, with the limit and a way out, for a network that asks too much whatever is done with it."""
    if is_shared():
        _check_network(student, 1, limits_here())


def _sides(size: Any) -> Sequence[int]:
    return (size, size) if isinstance(size, int) else tuple(size)


def _check_network(student: StudentConfig, batch: int, most: Limits) -> None:
    _check("image_size", max(_sides(student.image_size)), most.image_size, "pixels a side", "take smaller images")
    counted = compare(student)
    profiles = (counted.teacher, counted.student)
    weights = sum(profile.weight_bytes for profile in profiles)
    _check_bytes("Teacher and student have", weights, "of weights", most.weight_bytes, "choose a smaller network")
    maps = batch * sum(layer.output_bytes for profile in profiles for layer in profile.layers)
    _check_bytes("A step holds about", maps, "of maps", most.step_bytes, "take a smaller batch or smaller images")


def _check(name: str, value: Any, most: int | None, unit: str, remedy: str) -> None:
    if most is not None and isinstance(value, int) and value > most:
        said = shown(value) if value >= LONG else f"{value:,}"
        raise ValueError(f"{name} is {said}; here a run has at most {most:,} {unit}: {remedy}, or {HOME}.")


def _check_bytes(whose: str, value: int, of: str, most: int | None, remedy: str) -> None:
    if most is not None and value > most:
        raise ValueError(f"{whose} {format_bytes(value)} {of}; here at most {format_bytes(most)}: {remedy}, or {HOME}.")


def check_count(own: int, going: int) -> None:
    """ValueError where a visitor with so many runs, and so many of them that train or wait, has no room for another."""
    most = limits_here()
    if most.going_each is not None and going >= most.going_each:
        raise ValueError(
            f"{going} runs of yours train or wait; here at most {most.going_each} do at a time: stop one, or wait "
            f"until one has ended; {HOME}."
        )
    if most.runs_each is not None and own >= most.runs_each:
        raise ValueError(f"You have {own} runs; here everybody keeps at most {most.runs_each}: delete one, or {HOME}.")


def check_brought() -> None:
    """ValueError where who asks has brought in as much as a visitor keeps."""
    most = limits_here()
    if most.brought_each is not None and (own := count_claims()) >= most.brought_each:
        raise ValueError(
            f"You have brought in {own} sets of pictures and networks; here everybody keeps at most "
            f"{most.brought_each}: remove pictures of yours, wait until what you do not use is deleted, or {HOME}."
        )


def said() -> str:
    """What a visitor should know before anything is lost; empty where nothing ever is."""
    most = limits_here()
    if most == Limits():
        return ""
    parts = [f"a run trains {most.minutes} minutes at a time"] if most.minutes else []
    parts += [f"is kept {most.days} days after its last use"] if most.days else []
    full = [f"{most.runs_all:,} runs"] if most.runs_all else []
    full += [format_bytes(most.disk_bytes)] if most.disk_bytes else []
    if full:
        parts.append(f"beyond {' or '.join(full)} of all visitors the oldest that have ended are deleted")
    return f"This page is shared: {', '.join(parts)}. Save what you want to keep." if parts else ""

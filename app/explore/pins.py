"""Configurations that a person keeps to compare: pinned, found again, removed. No gradio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redistill.memory.comparison import Comparison
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import find_network

from ..parts.counting import counting_of
from ..parts.trace import Point, memory_curve
from ..words.settings import describe_red

LETTERS = "ABCD"  # one for each configuration that can be pinned at a time


@dataclass(frozen=True)
class Pin:
    """A configuration and what it needed; bytes as of `redistill.memory`."""

    letter: str
    config: StudentConfig
    accounting: str
    dtype: str
    peak_bytes: int
    teacher_bytes: int  # peak of its teacher, counted the same way
    red_peak_bytes: int
    weight_bytes: int
    macs: int  # multiply-accumulates of one pass
    curve: tuple[Point, ...]


def make_pin(found: Comparison, letter: str = "") -> Pin:
    """What is shown, as a pin."""
    return Pin(
        letter=letter,
        config=found.config,
        accounting=counting_of(found),
        dtype=found.dtype,
        peak_bytes=found.student.peak_bytes,
        teacher_bytes=found.teacher.peak_bytes,
        red_peak_bytes=found.student.red_peak_bytes,
        weight_bytes=found.student.weight_bytes,
        macs=found.student.macs,
        curve=tuple(memory_curve(found.student)),
    )


def add_pin(pins: Sequence[Pin], found: Comparison) -> tuple[Pin, ...]:
    """`pins` and what is shown, under the first free letter. ValueError when it is pinned or none is free."""
    free = [letter for letter in LETTERS if letter not in {pin.letter for pin in pins}]
    for pin in pins:
        if _same(pin, found):
            raise ValueError(f"This configuration is pinned already, as {pin.letter}.")
    if not free:
        raise ValueError(f"{len(LETTERS)} configurations are pinned; remove one to pin another.")
    return tuple(sorted((*pins, make_pin(found, free[0])), key=lambda pin: pin.letter))


def find_pin(pins: Sequence[Pin], letter: Any) -> Pin:
    """The pin of that letter; ValueError when there is none."""
    for pin in pins:
        if pin.letter == letter:
            return pin
    raise ValueError(f"No pinned configuration {str(letter)[:40]!r}; expected one of {[p.letter for p in pins]}.")


def check_pins(value: Any) -> tuple[Pin, ...]:
    """`value` as pins; ValueError for anything else."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(pin, Pin) for pin in value):
        raise ValueError("Pinned configurations were expected; pin what is shown once more.")
    return tuple(value)


def describe_pin(pin: Pin) -> str:
    """ "Narrow ResNet 4·1·2·2·1, RED blocks, 64 px, fused, fp32"."""
    strides = "·".join(str(stride) for stride in pin.config.strides.values())
    title = f"{find_network(pin.config.teacher).title} {strides}".strip()
    size = f"{pin.config.image_size} px"
    return ", ".join((title, describe_red(pin.config.red), size, pin.accounting, pin.dtype))


def _same(pin: Pin, found: Comparison) -> bool:
    return (pin.config, pin.accounting, pin.dtype) == (found.config, counting_of(found), found.dtype)

"""Configurations that a person keeps to compare: pinned, found again, removed. No gradio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redistill.memory.comparison import Comparison
from redistill.networks.zoo import find_network

from ..parts.counting import counting_of
from ..words.numbers import format_pixels
from ..words.settings import describe_red, describe_stem, join_strides

LETTERS = "ABCD"  # one for each configuration that can be pinned at a time


@dataclass(frozen=True)
class Pin:
    """A configuration under its letter, and what it needed."""

    letter: str
    found: Comparison


def add_pin(pins: Sequence[Pin], found: Comparison) -> tuple[Pin, ...]:
    """`pins` and what is shown, under the first free letter. ValueError when it is pinned or none is free."""
    free = [letter for letter in LETTERS if letter not in {pin.letter for pin in pins}]
    for pin in pins:
        if _is_same(pin.found, found):
            raise ValueError(f"This configuration is pinned already, as {pin.letter}.")
    if not free:
        raise ValueError(f"{len(LETTERS)} configurations are pinned; remove one to pin another.")
    return tuple(sorted((*pins, Pin(free[0], found)), key=lambda pin: pin.letter))


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


def describe(found: Comparison) -> str:
    """ "Narrow ResNet 4·1·2·2·1, RED blocks, 64 px, fused, fp32"."""
    config = found.config
    title = f"{find_network(config.teacher).title} {join_strides(config.strides)}".strip()
    parts = (title, describe_stem(config.stem), describe_red(config.red, config.alignment), describe_images(found))
    return ", ".join(filter(None, (*parts, counting_of(found), found.dtype)))


def describe_images(found: Comparison) -> str:
    """ "64 px", or "480×640 px, 1 channel, batch 8" of images that are not the usual ones."""
    channels, batch = found.config.in_channels, found.batch
    parts = [format_pixels(found.config.image_size)]
    parts += [f"{channels} channel{'s' * (channels > 1)}"] if channels != 3 else []
    return ", ".join([*parts, f"batch {batch}"] if batch > 1 else parts)


def _is_same(one: Comparison, other: Comparison) -> bool:
    return _told(one) == _told(other)


def _told(found: Comparison) -> tuple:
    return found.config, counting_of(found), found.dtype, found.batch

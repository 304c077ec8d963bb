"""Places for buffers in one arena, planned ahead as runtimes without an allocator do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .accounting import Timeline

ALIGNMENT = 16  # bytes


class Life(NamedTuple):
    """A buffer's size in bytes, and the first and last step at which it is alive."""

    buffer: int
    bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Arena:
    """Where each buffer lies."""

    bytes: int  # of the arena
    offsets: dict[int, int]  # by buffer
    lives: tuple[Life, ...]
    order: str  # "size" or "breadth": which greedy order needed less


def lives_of(line: Timeline) -> list[Life]:
    """The lives of all buffers of a timeline that ever were."""
    spans = zip(line.sizes, line.first, line.last, strict=True)
    return [Life(i, size, first, last) for i, (size, first, last) in enumerate(spans) if 0 <= first <= last and size]


def plan_arena(lives: Sequence[Life], alignment: int = ALIGNMENT) -> Arena:
    """The smaller of two greedy plans (Pisarchyk and Lee 2020, arXiv 2001.03288).

    Each buffer takes the lowest gap that holds it among those placed before it that live while it does: the largest
    first; or step by step, those of the step with the most bytes alive first.
    """
    plans = []
    for name, order in (("size", _by_size(lives)), ("breadth", _by_breadth(lives))):
        offsets = _placed(order, alignment)
        plans.append((max((offsets[life.buffer] + life.bytes for life in lives), default=0), name, offsets))
    total, name, offsets = min(plans, key=lambda plan: plan[0])
    return Arena(total, offsets, tuple(lives), name)


def _by_size(lives: Iterable[Life]) -> list[Life]:
    return sorted(lives, key=lambda life: (-life.bytes, life.first, life.buffer))


def _by_breadth(lives: Sequence[Life]) -> list[Life]:
    steps = sorted({step for life in lives for step in (life.first, life.last)})
    alive = {step: [life for life in lives if life.first <= step <= life.last] for step in steps}
    widest = sorted(steps, key=lambda step: (-sum(life.bytes for life in alive[step]), step))
    return list(dict.fromkeys(life for step in widest for life in _by_size(alive[step])))


def _placed(order: Iterable[Life], alignment: int) -> dict[int, int]:
    offsets: dict[int, int] = {}
    placed: list[tuple[int, Life]] = []  # sorted by offset
    for life in order:
        place = 0
        for offset, other in placed:
            if other.last < life.first or life.last < other.first:
                continue
            if place + life.bytes <= offset:
                break
            place = max(place, -(-(offset + other.bytes) // alignment) * alignment)
        offsets[life.buffer] = place
        placed.append((place, life))
        placed.sort()
    return offsets

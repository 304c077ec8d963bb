"""Places for buffers in one arena, planned ahead as runtimes without an allocator do."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
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
    first; or step by step, those of the step with the most bytes alive first. That one is not tried where the former
    needs no more than `least_bytes`.
    """
    plans: list[tuple[int, str, dict[int, int]]] = []
    least = least_bytes(lives)
    for name, ordered in (("size", _by_size), ("breadth", _by_breadth)):
        offsets = _placed(ordered(lives), alignment)
        plans.append((max((offsets[life.buffer] + life.bytes for life in lives), default=0), name, offsets))
        if plans[0][0] == least:
            break
    total, name, offsets = min(plans, key=lambda plan: plan[0])
    return Arena(total, offsets, tuple(lives), name)


def least_bytes(lives: Iterable[Life]) -> int:
    """The most alive at a step: no arena can have less."""
    change: dict[int, int] = {}
    for life in lives:
        change[life.first] = change.get(life.first, 0) + life.bytes
        change[life.last + 1] = change.get(life.last + 1, 0) - life.bytes
    return max(accumulate((change[step] for step in sorted(change)), initial=0))


def _by_size(lives: Iterable[Life]) -> list[Life]:
    return sorted(lives, key=lambda life: (-life.bytes, life.first, life.buffer))


def _by_breadth(lives: Sequence[Life]) -> list[Life]:
    steps = sorted({step for life in lives for step in (life.first, life.last)})
    alive = {step: [life for life in lives if life.first <= step <= life.last] for step in steps}
    widest = sorted(steps, key=lambda step: (-sum(life.bytes for life in alive[step]), step))
    return list(dict.fromkeys(life for step in widest for life in _by_size(alive[step])))


def _placed(order: Iterable[Life], alignment: int) -> dict[int, int]:
    offsets: dict[int, int] = {}
    placed: list[tuple[int, int, int, int]] = []  # (offset, aligned end, first, last), sorted
    for buffer, size, first, last in order:
        place = 0
        for offset, end, born, dead in placed:
            if dead < first or last < born:
                continue
            if place + size <= offset:
                break
            place = max(place, end)
        offsets[buffer] = place
        insort(placed, (place, -(-(place + size) // alignment) * alignment, first, last))
    return offsets

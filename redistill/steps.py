"""The steps that memory is counted by, and which of them a runtime can join."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Step(NamedTuple):
    """One call from Python that does more than look at a buffer."""

    title: str
    layer: str
    is_red: bool
    in_place_able: bool
    is_conv: bool
    is_add: bool
    reads: tuple[int, ...]  # buffers
    operands: tuple[tuple[int, int], ...]  # (value, buffer) that may be overwritten
    result: int  # value made last
    writes: tuple[int, ...]  # buffers that the model itself writes in place
    births: tuple[int, ...]
    touched: tuple[int, ...]  # reads, writes and births


class Fusion(NamedTuple):
    """A convolution that can do the addition after it, and where it would accumulate."""

    add: int  # step of the addition
    other: int  # buffer of the operand that is there first
    is_written: bool  # the addition is in place, into that buffer
    norm: int  # step of the batch norm between the two, or -1


def find_fusions(steps: Sequence[Step]) -> dict[int, Fusion]:
    """Additions that the convolution before them can do itself, accumulating into the other operand's buffer.

    The convolution, with the batch norm folded into it, must be the later of the two operands and used by nothing
    else, and nobody may touch the other operand in between.
    """
    touching: dict[int, list[int]] = {}
    born: dict[int, int] = {}
    for i, step in enumerate(steps):
        for buffer in step.touched:
            touching.setdefault(buffer, []).append(i)
        for buffer in step.births:
            born[buffer] = i

    def maker(buffer: int, end: int) -> int | None:
        """The step that makes `buffer`, if only that step and `end` touch it until then."""
        start = born.get(buffer)
        return start if start is not None and touching[buffer][:2] == [start, end] else None

    found = {}
    for i, step in enumerate(steps):
        if not step.is_add or len(step.reads) != 2:
            continue
        late, other = sorted(step.reads, key=lambda buffer: born.get(buffer, -1), reverse=True)
        conv, norm = maker(late, i), -1
        if conv is not None and steps[conv].title == "batch_norm" and len(steps[conv].reads) == 1:
            conv, norm = maker(steps[conv].reads[0], conv), conv
        if conv is not None and steps[conv].is_conv and not any(conv <= j < i for j in touching[other]):
            found[conv] = Fusion(i, other, other in step.writes, norm)
    return found

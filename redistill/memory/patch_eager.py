"""What `redistill.networks.patch_run` allocates for one patch, operator by operator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from ..networks.patches import AXES, Border, Interval, Stage, Window, bordered_side, own_padding, span

Needs = tuple[Mapping[int, Interval], Mapping[int, Interval]]  # rows and columns of each map
Sized = Callable[[int, Sequence[int]], int]  # bytes of a part of a map, by its number and sides


def eager_bytes(stage: Stage, needs: Needs, sized: Sized) -> int:
    """Most bytes alive at once of what a patch allocates, its tile of the whole map included."""
    last = stage.last_uses
    root = {stage.source: stage.source}  # map → the first that shares its memory
    alive: Counter[int] = Counter()  # by root: how many maps that are still used look at it
    sizes: dict[int, int] = {}  # by root, what is allocated now
    now = most = 0
    for place, op in enumerate(stage.ops):
        dying = [value for value in dict.fromkeys(op.ins) if last[value] == place]
        out = next(out for out in op.outs if out in needs[0])
        wanted = [needs[axis][out] for axis in AXES]
        whole = stage.shapes[op.ins[0]][2:]
        padded = _padded(op.reads, op.ins[0], wanted, whole, sized)
        if padded:  # the map before it is let go of in between
            most = max(most, now + padded)
            now += padded - _free(dying, root, alive, sizes)
            dying = []
        for made in (made for made in op.outs if made in needs[0]):
            root[made] = root[op.ins[0]] if op.is_written or op.is_view else made
            alive[root[made]] += 1
        if root[out] == out:
            sides = [_length(part) for part in wanted]
            if isinstance(op.reads, Border):
                sides = [bordered_side(op.reads, axis, wanted[axis], whole[axis]) for axis in AXES]
            sizes[out] = sized(out, sides)
            now += sizes[out]
        most = max(most, now)
        now -= padded + _free(dying, root, alive, sizes)
    return most


def _padded(
    reads: Window | Border | None, value: int, wanted: list[Interval], whole: Sequence[int], sized: Sized
) -> int:
    """Bytes of the copy with padding around it that a window looks at; 0 where it pads by itself."""
    if not isinstance(reads, Window):
        return 0
    if None not in [own_padding(reads, axis, wanted[axis], whole[axis]) for axis in AXES]:
        return 0
    return sized(value, [_length(span(reads, axis, wanted[axis])) for axis in AXES])


def _free(dying: Sequence[int], root: Mapping[int, int], alive: Counter[int], sizes: dict[int, int]) -> int:
    """Bytes that are let go of with maps that nobody uses any more."""
    freed = 0
    for value in dying:
        alive[root[value]] -= 1
        if not alive[root[value]]:
            freed += sizes.pop(root[value], 0)
    return freed


def _length(part: Interval) -> int:
    return part[1] - part[0]

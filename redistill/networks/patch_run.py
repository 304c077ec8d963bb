"""One patch, computed: each operator runs on parts of its maps, with padding where the whole map has its border."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from math import inf

from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_map_only

from .patches import (
    AXES,
    COLUMNS,
    CONSTANT,
    ROWS,
    Border,
    Interval,
    MapOp,
    Region,
    Stage,
    beyond,
    inside,
    own_padding,
    span,
)
from .trails import Size

Call = tuple[Callable, tuple, dict]  # an operator and its arguments, in which a Value stands for a map


class Value(int):
    """Stands for the map of this number among the arguments of an operator."""


def compute_patch(stage: Stage, calls: Sequence[Call], tile: Region, image: Tensor) -> Tensor:
    """The target's rows and columns in `tile`, (batch, channels, rows, columns).

    `calls` are those of the stage's operators. Every map is let go of after its last use.
    """
    needs = [stage.needs(axis, tile[axis]) for axis in AXES]
    last = stage.last_uses
    tensors = {stage.source: _part(image, [needs[axis][stage.source] for axis in AXES])}
    for place, (op, call) in enumerate(zip(stage.ops, calls, strict=True)):
        out = next((needs[ROWS][out], needs[COLUMNS][out]) for out in op.outs if out in needs[ROWS])
        crops = {}
        for value in dict.fromkeys(op.ins):
            parts = []
            for axis in AXES:
                first, end = inside(op.reads, axis, out[axis], stage.shapes[value][2 + axis])
                parts.append((first - needs[axis][value][0], end - needs[axis][value][0]))
            crops[value] = _part(tensors[value], parts)
            if last[value] == place:
                del tensors[value]
        for value, made in zip(op.outs, _run(op, call, crops, out, stage), strict=False):
            if last.get(value, -1) > place:
                tensors[value] = made
        del made
    return tensors[stage.target]


def _part(x: Tensor, region: Sequence[Interval]) -> Tensor:
    (top, bottom), (left, right) = region
    return x[:, :, top:bottom, left:right]


def _run(op: MapOp, call: Call, crops: dict[int, Tensor], out: Region, stage: Stage) -> Sequence[Tensor]:
    """The results of an operator for rows and columns `out`; `crops`, the parts of its maps, is emptied."""
    func, args, kwargs = call
    if op.reads is None:
        args, kwargs = (tree_map_only(Value, lambda value: crops[value], item) for item in (args, kwargs))
        crops.clear()
        made = func(*args, **kwargs)
        return made if isinstance(made, (tuple, list)) else (made,)
    value, x = crops.popitem()
    size = stage.shapes[value][2:]
    if isinstance(op.reads, Border):
        return (_with_border(op, x, out, size),)
    padding = [own_padding(op.reads, axis, out[axis], size[axis]) for axis in AXES]
    if None in padding:
        sides = [beyond(op.reads, axis, out[axis], size[axis]) for axis in AXES]
        x = F.pad(x, (*sides[COLUMNS], *sides[ROWS]), value=-inf if op.name.startswith("max") else 0.0)
        padding = [0, 0]
    return (WINDOWS[op.name](op, call, x, padding, out, size),)


def _with_border(op: MapOp, x: Tensor, out: Region, size: Size) -> Tensor:
    border, sides = op.reads, []
    if border.mode == CONSTANT:
        for axis in reversed(AXES):
            sides += beyond(border, axis, out[axis], size[axis])
        return F.pad(x, (*sides, *op.args[1][4:]), value=op.args[2])
    cut = []
    for axis in AXES:
        start, end = span(border, axis, out[axis])
        first = inside(border, axis, out[axis], size[axis])[0]
        before = max(0, -start)
        sides = [before, max(0, end - size[axis]), *sides]
        cut.append((start - first + before, end - first + before))
    return _part(F.pad(x, sides, mode=border.mode), cut)


def _convolution(op: MapOp, call: Call, x: Tensor, padding: list[int], out: Region, size: Size) -> Tensor:
    func, args, _ = call
    return func(x, *args[1:4], padding, *args[5:])


def _max_pool(op: MapOp, call: Call, x: Tensor, padding: list[int], out: Region, size: Size) -> Tensor:
    return F.max_pool2d(x, op.reads.kernel, op.reads.stride, padding, op.reads.dilation)


def _avg_pool(op: MapOp, call: Call, x: Tensor, padding: list[int], out: Region, size: Size) -> Tensor:
    kernel = op.reads.kernel
    counts = [_counted(op, axis, out[axis], size[axis]) for axis in AXES]
    is_alike = all(count == side for axis, side in zip(counts, kernel, strict=True) for count in axis)
    divisor = op.args[6] or (None if is_alike else 1)
    made = F.avg_pool2d(x, kernel, op.reads.stride, padding, divisor_override=divisor)
    if not (is_alike or op.args[6]):
        for rows, down in _runs(counts[ROWS]):
            for columns, across in _runs(counts[COLUMNS]):
                _part(made, (rows, columns)).div_(down * across)
    return made


def _counted(op: MapOp, axis: int, wanted: Interval, size: int) -> list[int]:
    """Rows or columns that an average counts at each place."""
    window, counts_padding = op.reads, op.args[5]
    counts = []
    for place in range(*wanted):
        start = place * window.stride[axis] - window.padding[axis]
        end = start + window.kernel[axis]
        padded = window.padding[axis] if counts_padding else 0
        counts.append(min(end, size + padded) - max(start, -padded))
    return counts


def _runs(counts: Sequence[int]) -> Iterator[tuple[Interval, int]]:
    """Where neighbours count alike, and what."""
    first = 0
    for count, alike in groupby(counts):
        end = first + len(list(alike))
        yield (first, end), count
        first = end


WINDOWS: dict[str, Callable[..., Tensor]] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": _max_pool,
    "avg_pool2d": _avg_pool,
}

"""The first layers of a network, computed patch by patch: which part of every map one patch needs.

The map that the last of these layers makes is cut into tiles. A tile needs a part of each map before it that is larger
by what windows see around it, and beyond the true border of a map, there alone, stands the padding that the network
puts there. Rows and columns are worked out apart. Whatever looks at more than a window is refused, with the reason.
Lin et al., "MCUNetV2: Memory-Efficient Patch-based Inference for Tiny Deep Learning" (NeurIPS 2021), arXiv 2110.15352.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

from ..common.values import is_whole
from .trails import Shape, Size

Interval = tuple[int, int]  # rows or columns of a map: the first, and the one after the last
Region = tuple[Interval, Interval]  # rows and columns
ROWS, COLUMNS = AXES = 0, 1  # of a map
MOST_PATCHES = 64  # a side
CONSTANT, REFLECT, REPLICATE = "constant", "reflect", "replicate"


class Window(NamedTuple):
    """A convolution or a pool; sizes are (down, across)."""

    kernel: Size
    stride: Size
    padding: Size
    dilation: Size
    is_pool: bool


class Border(NamedTuple):
    """What puts rows and columns around a map."""

    before: Size  # above and to the left
    after: Size
    mode: str


class MapOp(NamedTuple):
    """An operator on maps, which are numbered; weights and numbers are no maps."""

    name: str  # of the aten operator, without overload
    args: tuple  # by schema position; what is a tensor is None
    ins: tuple[int, ...]
    outs: tuple[int, ...]
    reads: Window | Border | None  # None: each place of a map goes by itself
    layer: str

    @property
    def is_written(self) -> bool:
        """Whether it writes into its first operand."""
        return writes(self.name)

    @property
    def is_view(self) -> bool:
        """Whether it only looks at its operand."""
        return self.name in VIEWS


class NotPatchable(ValueError):
    """An operator that needs more of a map than a window; says why."""


def writes(name: str) -> bool:
    """Whether an aten operator of this name writes into its first operand."""
    return name.endswith("_") and not name.endswith("__")


def kept_results(name: str, outs: Sequence[int]) -> tuple[int, ...]:
    """Those results of an aten operator that are maps: all parts that it cuts a map into, else the first alone."""
    return tuple(outs) if name in VIEWS else tuple(outs[:1])


BATCH_NORMS = ("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "miopen_batch_norm")
TRAINS = 5  # place of what says that a batch norm uses the statistics of its input
VIEWS = ("alias", "detach", "slice", "split", "split_with_sizes")
COPIES = ("clone", "_to_copy")
CHANNEL_DIMS = {"cat": 1, "slice": 1, "split": 2, "split_with_sizes": 2}  # place of the dimension among the arguments
BORDERS = {"constant_pad_nd": CONSTANT, "reflection_pad2d": REFLECT, "replication_pad2d": REPLICATE}


def reads_of(
    name: str, args: Sequence, shapes: Sequence[Shape], maps: Sequence[bool], out: Shape, pointwise: bool
) -> Window | Border | None:
    """What an aten operator sees of its maps for one place of its result.

    `args` are its arguments by schema position, `shapes` those of its tensors in their order, `maps` which of these
    are maps, `out` the shape of its (first) result; `pointwise` says that it works element by element. Raises
    `NotPatchable` for an operator that sees more than a window, or is not known.
    """
    if len(out) != 4 or any(is_map and len(shape) != 4 for shape, is_map in zip(shapes, maps, strict=True)):
        raise NotPatchable("which looks at the whole map")
    if writes(name) and not maps[0]:
        raise NotPatchable("which writes a map into a tensor of its own")
    if name == "convolution":
        if args[6]:
            raise NotPatchable("which is transposed")
        if any(maps[1:]):
            raise NotPatchable("whose weights it computes from the image")
        return Window(shapes[1][2:], *(_pair(args[place]) for place in (3, 4, 5)), is_pool=False)
    if name == "max_pool2d_with_indices":
        kernel = _pair(args[1])
        return Window(kernel, _pair(args[2] or kernel), _pair(args[3]), _pair(args[4]), is_pool=True)
    if name == "avg_pool2d":
        kernel = _pair(args[1])
        return Window(kernel, _pair(args[2] or kernel), _pair(args[3]), (1, 1), is_pool=True)
    if name in BORDERS:
        left, right, top, bottom = (*args[1], 0, 0)[:4]
        return Border((top, left), (bottom, right), BORDERS[name])
    if name in BATCH_NORMS:
        if name == BATCH_NORMS[0] and len(args) > TRAINS and args[TRAINS]:
            raise NotPatchable("which normalises by the whole map")
        return None
    if name in CHANNEL_DIMS:
        if args[CHANNEL_DIMS[name]] % 4 != 1:
            raise NotPatchable("which takes rows or columns of a map apart")
        return _each_place(shapes, maps, out)
    if pointwise or name in VIEWS or name in COPIES:
        return _each_place(shapes, maps, out)
    raise NotPatchable("which looks at more of a map than a window")


def _each_place(shapes: Sequence[Shape], maps: Sequence[bool], out: Shape) -> None:
    for shape, is_map in zip(shapes, maps, strict=True):
        if is_map and shape[2:] != out[2:]:
            raise NotPatchable("which spreads one number over a whole map")
        if not is_map and any(side != 1 for side in shape[-2:]):
            raise NotPatchable("which adds another number at each place")


def _pair(value: int | Sequence[int]) -> Size:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


@dataclass(frozen=True)
class Stage:
    """The operators from an image to the map that is computed patch by patch, those that it needs alone, in order."""

    ops: tuple[MapOp, ...]
    shapes: Mapping[int, Shape]  # of all maps, whole
    source: int
    target: int

    def differences(self, axis: int, needs: Mapping[int, Interval]) -> tuple[int | None, ...]:
        """What tells patches apart that need other memory along an axis: sizes, and what has to be padded."""
        found: list[int | None] = [end - first for first, end in needs.values()]
        for op in self.ops:
            size = self.shapes[op.ins[0]][2 + axis]
            if isinstance(op.reads, Window):
                found.append(own_padding(op.reads, axis, needs[op.outs[0]], size))
            elif isinstance(op.reads, Border):
                found.append(bordered_side(op.reads, axis, needs[op.outs[0]], size))
        return tuple(found)

    @cached_property
    def is_alike(self) -> bool:
        """Whether rows and columns go the same way, as of square maps and windows."""
        pairs = [self.shapes[value][2:] for op in self.ops for value in (*op.ins, *op.outs)]
        pairs += [pair for op in self.ops if op.reads for pair in op.reads if isinstance(pair, tuple)]
        return all(down == across for down, across in pairs)

    @cached_property
    def last_uses(self) -> dict[int, int]:
        """Place of the operator that uses a map last; the target's is behind them all."""
        last = {value: place for place, op in enumerate(self.ops) for value in op.ins}
        return last | {self.target: len(self.ops)}

    def needs(self, axis: int, tile: Interval) -> dict[int, Interval]:
        """Rows or columns that each map must have for those in `tile` of the target."""
        found = {self.target: tile}
        for op in reversed(self.ops):
            wanted = _hull(found[out] for out in op.outs if out in found)
            found.update((out, wanted) for out in op.outs if out in found)
            for value in op.ins:
                part = inside(op.reads, axis, wanted, self.shapes[value][2 + axis])
                found[value] = _hull([part, found[value]]) if value in found else part
        return found


def make_stage(ops: Iterable[MapOp], shapes: Mapping[int, Shape], source: int, target: int) -> Stage:
    """The stage from `source` to `target`. Raises `NotPatchable` where what is written in place is seen elsewhere."""
    ops = tuple(ops)
    _check_written(ops, source, target)
    needed, kept = {target}, []
    for op in reversed(ops):
        if not needed.isdisjoint(op.outs):
            needed.update(op.ins)
            kept.append(op)
    if source not in needed or not kept:
        raise NotPatchable("nothing is computed of the image up to there")
    return Stage(tuple(reversed(kept)), shapes, source, target)


def _check_written(ops: Sequence[MapOp], source: int, target: int) -> None:
    group = {source: source}  # map → the first that shares its memory
    made = {source: -1}  # map → place of the operator
    for place, op in enumerate(ops):
        for out in op.outs:
            group[out] = group[op.ins[0]] if op.is_written or op.is_view else out
            made[out] = place
    used = {target}  # by what follows
    for place, op in reversed(list(enumerate(ops))):
        if op.is_written:
            root = group[op.ins[0]]
            if root == source:
                raise NotPatchable(f"{op.layer!r} writes into the image, of which patches overlap")
            if any(group[value] == root and made[value] < place for value in used):
                raise NotPatchable(f"{op.layer!r} writes into a map that is looked at in another place too")
        used.update(op.ins)


def _hull(parts: Iterable[Interval]) -> Interval:
    firsts, ends = zip(*parts, strict=True)
    return min(firsts), max(ends)


def span(reads: Window | Border | None, axis: int, wanted: Interval) -> Interval:
    """Rows or columns that an operator sees for those `wanted` of its result; beyond the map stands padding."""
    first, end = wanted
    if isinstance(reads, Window):
        stride, dilation = reads.stride[axis], reads.dilation[axis]
        start = first * stride - reads.padding[axis]
        return start, start + (end - 1 - first) * stride + dilation * (reads.kernel[axis] - 1) + 1
    if isinstance(reads, Border):
        return first - reads.before[axis], end - reads.before[axis]
    return wanted


def inside(reads: Window | Border | None, axis: int, wanted: Interval, size: int) -> Interval:
    """The part of a map of `size` rows or columns that an operator needs for those `wanted` of its result.

    At least one, where its windows see nothing but padding.
    """
    start, end = span(reads, axis, wanted)
    if isinstance(reads, Border) and reads.mode == REFLECT:
        start, end = (min(start, 2 * size - 1 - end) if end > size else start), max(end, 1 - start)
    start = min(max(start, 0), size - 1)
    return start, max(min(end, size), start + 1)


def beyond(reads: Window | Border | None, axis: int, wanted: Interval, size: int) -> Interval:
    """How many rows or columns of padding an operator sees before and after what it needs of a map.

    Below zero where it needs less than it is given.
    """
    (start, end), (first, last) = span(reads, axis, wanted), inside(reads, axis, wanted, size)
    return first - start, end - last


def own_padding(window: Window, axis: int, wanted: Interval, size: int) -> int | None:
    """The padding on both sides with which a window makes those `wanted`; None where both sides differ in what counts.

    Torch takes one number for both sides; another pair has to be put around the map before.
    """
    before, after = beyond(window, axis, wanted, size)
    first, last = inside(window, axis, wanted, size)
    kernel, stride = window.kernel[axis], window.stride[axis]
    if not 0 <= after <= before or (window.is_pool and 2 * before > kernel):
        return None
    made = (last - first + 2 * before - window.dilation[axis] * (kernel - 1) - 1) // stride + 1
    return before if made == wanted[1] - wanted[0] else None


def bordered_side(border: Border, axis: int, wanted: Interval, size: int) -> int:
    """Rows or columns that a border makes for those `wanted`: mirrored, some more than that."""
    if border.mode == CONSTANT:
        return wanted[1] - wanted[0]
    (start, end), (first, last) = span(border, axis, wanted), inside(border, axis, wanted, size)
    return last - first + max(0, -start) + max(0, end - size)


def tiles(size: int, count: int) -> list[Interval]:
    """`count` intervals, as equal as they can be, that make up `size` rows or columns."""
    edges = [place * size // count for place in range(count + 1)]
    return list(pairwise(edges))


def check_grid(grid: int) -> int:
    """The same; ValueError for what is no number of patches a side."""
    if not is_whole(grid, 1, MOST_PATCHES):
        raise ValueError(f"Patches a side are {str(grid)[:40]}; expected a whole number from 1 to {MOST_PATCHES}.")
    return grid


def check_tiles(upto: str, shape: Shape, grid: int) -> None:
    """ValueError for more patches a side than the map of layer `upto`, of this shape, has rows or columns."""
    most = min(shape[2:])
    if grid > most:
        raise ValueError(
            f"The map of {upto!r} is {shape[2]}×{shape[3]}; expected at most {most} patches a side, not {grid}."
        )

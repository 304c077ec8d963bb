"""Where a tensor's map comes from, and how the map lies in the tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import product
from math import isqrt

Shape = tuple[int, ...]
Size = tuple[int, int]  # height and width
TIE = Fraction(13, 10)  # reductions closer than this are one: sizes round


@dataclass(frozen=True)
class Trail:
    """Where a tensor's map comes from."""

    size: Size | None  # of the map; None where it was pooled away
    batch: int
    least: Size  # the smallest map on the way
    reduction: tuple[Fraction, Fraction] = (Fraction(1), Fraction(1))  # of the image's height and width
    path: tuple[str, ...] = ()  # names of the steps on the way, each as often as it was passed
    passed: frozenset[str] = frozenset()  # these, and those of equal branches
    is_enlarged: bool = False  # on its way, so that not all of its steps still tell in its size


@dataclass(frozen=True)
class Step:
    """One call that changes resolution, or could: of a module with a stride, or of a function."""

    name: str  # of the module; of a call, the module that runs it and the operator
    stride: tuple[int, int]
    reduction: tuple[Fraction, Fraction]  # of the image, after it
    path: tuple[str, ...]  # steps on the way, this one included
    in_shape: Shape
    out_shape: Shape
    in_size: Size
    out_size: Size
    layouts: tuple[str, str] = ("NCHW", "NCHW")
    reason: str = ""  # why its stride cannot be set
    runner: str = ""  # of a call: the module that runs it
    op: str = ""  # of a call: the function
    is_call: bool = False  # of a function, in no module of its own
    is_window: bool = False  # of a module that makes its windows itself, one beside the other


@dataclass
class Route:
    """What was found of one pass."""

    steps: list[Step] = field(default_factory=list)
    maps: dict[str, tuple[Shape, Shape] | None] = field(default_factory=dict)
    # ^ modules in the order in which they start: shapes of the (batch, channels, height, width) maps of the first call
    given: dict[str, tuple[str | None, Size]] = field(default_factory=dict)
    # ^ modules that give one map on their first call: its layout, None where other tokens lie beside it, and its size
    reached: list[Trail] = field(default_factory=list)  # trails of the outputs


def joined(trails: Sequence[Trail]) -> Trail:
    """The trail of what is made of several maps: of the largest of them, and among equals by the longest way.

    Among equals a map that was enlarged on its way is brought to the size of one that was not, and follows that.
    """
    maps = [trail for trail in trails if trail.size is not None]
    if not maps:  # of features without places, all lead on
        longest = max(trails, key=lambda trail: len(trail.path))
        return replace(longest, passed=frozenset().union(*(trail.passed for trail in trails)))
    if len(maps) == 1:
        return maps[0]
    reductions = [trail.reduction[0] * trail.reduction[1] for trail in maps]
    largest = maps[reductions.index(min(reductions))]
    ties = [
        trail
        for trail, times in zip(maps, reductions, strict=True)
        if trail.size == largest.size or times <= min(reductions) * TIE
    ]
    longest = max(ties, key=lambda trail: (not trail.is_enlarged, len(trail.path)))
    if all(trail.passed <= longest.passed for trail in ties):
        return longest
    return replace(longest, passed=frozenset().union(*(trail.passed for trail in ties)))


def resized(trail: Trail, size: Size) -> Trail:
    """The trail after the map was enlarged, or brought back to a size that it has had."""
    if trail.size is None:
        return replace(trail, size=size)
    reduction = tuple(
        max(Fraction(1), r * Fraction(a, b)) for r, a, b in zip(trail.reduction, trail.size, size, strict=True)
    )
    larger = any(before < after for before, after in zip(trail.size, size, strict=True))
    return replace(trail, size=tuple(size), reduction=reduction, is_enlarged=trail.is_enlarged or larger)


def ratio(before: Size, after: Size) -> tuple[int, int] | None:
    """How many times smaller a map has become, in whole numbers; None where it has not."""
    times = tuple(max(1, round(a / b)) for a, b in zip(before, after, strict=True))
    if any(b > a or b not in (a // k, -(-a // k)) for a, b, k in zip(before, after, times, strict=True) if k > 1):
        return None
    return times if all(b <= a for a, b in zip(before, after, strict=True)) else None


def reading(shapes: tuple[Shape, Shape], before: Size, after: Size) -> tuple[tuple[str, str], Size, Size] | None:
    """Layouts of what a module took and gave, the size of what it gave and how many times smaller that is.

    `before` is the size of the map it took, `after` that of the map it gave as far as operators told. None where the
    shapes cannot be read so, or nothing became smaller.
    """
    known = ratio(before, after)
    firsts = layouts_of(shapes[0], before)
    if len(shapes[1]) == 3:
        return _row_reading(shapes, before, after, known, firsts[0]) if firsts else None
    # Of two readings, as of 16 channels of 16×16, that which leaves the order of dimensions as it was.
    pairs = sorted(product(firsts, ("NCHW", "NHWC")), key=lambda pair: pair[0] != pair[1])
    if len(shapes[1]) != 4:
        return None
    for pair in pairs:
        if read_size(shapes[1], pair[1]) == after:
            return (pair, after, known) if known and max(known) > 1 else None
    for pair in pairs:
        size = read_size(shapes[1], pair[1])
        times = ratio(before, size)
        if times and max(times) > 1 and size != (1, 1):
            return pair, size, times
    return None


def _row_reading(
    shapes: tuple[Shape, Shape], before: Size, after: Size, known: Size | None, first: str
) -> tuple[tuple[str, str], Size, Size] | None:
    """`_reading` where a row of tokens is given."""
    batch, count, channels = shapes[1]
    if channels == before[0] * before[1] or batch != shapes[0][0]:
        return None  # channels first: no row of tokens; or windows
    if known and max(known) > 1 and after[0] * after[1] == count:
        return (first, "NLC"), after, known
    times = window_of(before, count)
    return ((first, "NLC"), (before[0] // times, before[1] // times), (times, times)) if times else None


def window_of(size: Size, count: int) -> int | None:
    """The side of the windows that leave `count` places of a map; None where no square ones do."""
    places = size[0] * size[1]
    if not 1 < count < places or places % count:
        return None
    side = isqrt(places // count)
    fits = side * side * count == places and not size[0] % side and not size[1] % side
    return side if fits and side > 1 else None


def layouts_of(shape: Shape, size: Size) -> list[str]:
    """How a tensor of this shape may hold a map of this size."""
    if len(shape) == 4:
        return [layout for layout in ("NCHW", "NHWC") if read_size(shape, layout) == tuple(size)]
    return ["NLC"] if len(shape) == 3 and shape[1] == size[0] * size[1] else []


def layout_of(shape: Shape, size: Size) -> str | None:
    return next(iter(layouts_of(shape, size)), None)


def read_size(shape: Shape, layout: str) -> Size:
    return tuple(shape[2:]) if layout == "NCHW" else tuple(shape[1:3])


def is_image(shape: Shape, trail: Trail | None) -> bool:
    return trail is None or trail.size is None or tuple(shape[2:]) == trail.size


def pools_away(shape: Shape, args: Sequence, size: Size) -> bool:
    """Whether a reduction over dimensions takes the places of a map together."""
    given = [value for value in args[1:] if isinstance(value, (int, list, tuple)) and not isinstance(value, bool)]
    dims = given[0] if given else None  # a norm's order, a float, comes before
    dims = [dims] if isinstance(dims, int) else list(dims or range(len(shape)))
    dims = [dim % len(shape) for dim in dims]
    if len(shape) == 4:
        return len(dims) > 1 or dims[0] > 1
    return len(shape) == 3 and 1 in dims


def size_text(size: Size) -> str:
    return f"{size[0]}×{size[1]}"


def called_reason(op: str) -> str:
    return f"the map is made smaller by a function call ({op}), not by a module with a stride"


def row_reason(path: str) -> str:
    return f"{path} takes tokens in a row, whose height and width are its own affair"

"""Output shapes of what arranges, cuts, joins or makes tensors: rules, see `shape_rules`, by operator."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, prod
from typing import Any

from .shape_rules import Shape, fail


def transpose(args: tuple, x: Shape) -> Shape:
    if len(x) < 2:
        return x
    sides = list(x)
    a, b = (0, 1) if len(args) == 1 else args[1:3]
    sides[a], sides[b] = sides[b], sides[a]
    return tuple(sides)


def permute(args: tuple, x: Shape) -> Shape:
    return tuple(x[d] for d in args[1])


def cat(args: tuple, *shapes: Shape) -> Shape:
    parts = [shape for shape in shapes if shape != (0,)]
    dim = args[1] % len(parts[0])
    rest = parts[0][:dim] + parts[0][dim + 1 :]
    if any(shape[:dim] + shape[dim + 1 :] != rest for shape in parts):
        raise fail(f"maps of shapes {', '.join(map(str, parts))} are concatenated")
    return (*parts[0][:dim], sum(shape[dim] for shape in parts), *parts[0][dim + 1 :])


def stack(args: tuple, *shapes: Shape) -> Shape:
    if any(shape != shapes[0] for shape in shapes):
        raise fail(f"maps of shapes {', '.join(map(str, shapes))} are stacked")
    dim = args[1] % (len(shapes[0]) + 1)
    return (*shapes[0][:dim], len(shapes), *shapes[0][dim:])


def unsqueeze(args: tuple, x: Shape) -> Shape:
    dim = args[1] % (len(x) + 1)
    return (*x[:dim], 1, *x[dim:])


def squeeze(args: tuple, x: Shape) -> Shape:
    dims = args[1] if len(args) > 1 else range(len(x))
    dropped = {dim % len(x) for dim in ((dims,) if isinstance(dims, int) else dims)}
    return tuple(side for place, side in enumerate(x) if not (place in dropped and side == 1))


def select(args: tuple, x: Shape) -> Shape:
    dim = args[1] % len(x)
    if not -x[dim] <= args[2] < x[dim]:
        raise fail(f"element {args[2]} of {x[dim]}")
    return x[:dim] + x[dim + 1 :]


def view(args: tuple, x: Shape) -> Shape:
    """As many numbers as before, in sides of which one may be -1."""
    sides = tuple(args[1])
    numbers, known = prod(x), prod(side for side in sides if side != -1)
    if -1 in sides and known and numbers % known == 0:
        sides = tuple(numbers // known if side == -1 else side for side in sides)
    if prod(sides) != numbers or min(sides, default=1) < 0:
        raise fail(f"a map of shape {x} is viewed as {sides}")
    return sides


def flatten(args: tuple, x: Shape) -> Shape:
    first, last = (dim % max(len(x), 1) for dim in args[1:3])
    return (*x[:first], prod(x[first : last + 1]), *x[last + 1 :])


def unflatten(args: tuple, x: Shape) -> Shape:
    dim = args[1] % len(x)
    return (*x[:dim], *view((None, args[2]), (x[dim],)), *x[dim + 1 :])


def expand(args: tuple, x: Shape) -> Shape:
    sides = tuple(args[1])
    result = list(sides)
    for place, side in enumerate(x, len(sides) - len(x)):
        if side != 1 and sides[place] not in (-1, side):
            raise fail(f"a tensor of shape {x} is expanded to {sides}")
        result[place] = side if sides[place] == -1 else sides[place]
    if min(result, default=0) < 0:
        raise fail(f"a tensor of shape {x} is expanded to {sides}")
    return tuple(result)


def repeat(args: tuple, x: Shape) -> Shape:
    times = tuple(args[1])
    padded = (1,) * (len(times) - len(x)) + x
    return tuple(side * factor for side, factor in zip(padded, times, strict=True))


def sliced(args: tuple, x: Shape) -> Shape:
    _, dim, start, end, step = args
    dim %= len(x)
    start, end, step = slice(start, end, step).indices(x[dim])
    return (*x[:dim], max(-(-(end - start) // step), 0), *x[dim + 1 :])


def _parts(x: Shape, dim: int, sizes: Sequence[int]) -> Any:
    """Shapes of the parts of a tensor that is cut across one dimension; of a single part alone its shape."""
    dim %= len(x)
    if sum(sizes) != x[dim]:
        raise fail(f"a map of shape {x} is cut into {list(sizes)}")
    shapes = tuple((*x[:dim], size, *x[dim + 1 :]) for size in sizes)
    return shapes if len(shapes) > 1 else shapes[0]


def split(args: tuple, x: Shape) -> Any:
    _, size, dim = args
    whole, rest = divmod(x[dim], size) if size else (1, 0)
    return _parts(x, dim, [size] * whole + [rest] * (rest > 0))


def chunk(args: tuple, x: Shape) -> Any:
    _, count, dim = args
    return split((None, max(-(-x[dim] // count), 1), dim), x)


def split_with_sizes(args: tuple, x: Shape) -> Any:
    return _parts(x, args[2], args[1])


def unbind(args: tuple, x: Shape) -> Any:
    dim = args[1] % len(x)
    shapes = (x[:dim] + x[dim + 1 :],) * x[dim]
    return shapes if len(shapes) > 1 else shapes[0]


def makes(args: tuple, *likes: Shape) -> Shape:
    """The rule of what makes a tensor of the sizes that come first."""
    return tuple(args[0])


def arange(args: tuple) -> Shape:
    start, end, step = args
    return (max(ceil((end - start) / step), 0),)

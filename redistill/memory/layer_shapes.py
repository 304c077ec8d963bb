"""Output shapes of layers, and of what computes element by element: rules, see `shape_rules`, by operator."""

from __future__ import annotations

from math import floor
from typing import Any

from .shape_rules import Shape, fail


def pointwise(args: tuple, *shapes: Shape) -> Shape:
    first = shapes[0]
    for shape in shapes:
        if shape != first:
            return _broadcast(shapes)
    return first


def pointwise_(args: tuple, *shapes: Shape) -> Shape:
    result = pointwise(args, *shapes)
    if result != shapes[0]:
        raise fail(f"an operand of shape {shapes[1]} does not fit the {shapes[0]} it is added to")
    return result


def _broadcast(shapes: tuple[Shape, ...]) -> Shape:
    width = max(map(len, shapes))
    result = [1] * width
    for shape in shapes:
        for i, side in enumerate(shape, width - len(shape)):
            if side != 1 and result[i] not in (1, side):
                raise fail(f"shapes {' and '.join(map(str, shapes))} meet in one operation")
            result[i] = side if side != 1 else result[i]
    return tuple(result)


def same(args: tuple, x: Shape, *others: Shape) -> Shape:
    return x


def convolution(args: tuple, x: Shape, weight: Shape, *bias: Shape) -> Shape:
    _, _, _, stride, padding, dilation, transposed, output_padding, groups = args
    if len(x) != len(weight):
        raise fail(f"a convolution with weight {weight} meets an input of shape {x}")
    if transposed:
        if x[1] != weight[0]:
            raise fail(f"a transposed convolution with weight {weight} meets an input of shape {x}")
        sides = [
            (x[i + 2] - 1) * stride[i]
            - 2 * padding[i]
            + dilation[i] * (weight[i + 2] - 1)
            + (output_padding[i] if output_padding else 0)
            + 1
            for i in range(len(stride))
        ]
        channels = weight[1] * groups
    else:
        if x[1] != weight[1] * groups:
            raise fail(f"a convolution with weight {weight} in {groups} groups meets an input of shape {x}")
        channels = weight[0]
        if len(stride) == 2:  # the common case, unrolled
            _, _, height, width = x
            _, _, tall, wide = weight
            height = (height + 2 * padding[0] - dilation[0] * (tall - 1) - 1) // stride[0] + 1
            width = (width + 2 * padding[1] - dilation[1] * (wide - 1) - 1) // stride[1] + 1
            if height < 1 or width < 1:
                raise fail(f"a convolution of a {x[2]}×{x[3]} map would be {height}×{width}")
            return (x[0], channels, height, width)
        sides = [
            (x[i + 2] + 2 * padding[i] - dilation[i] * (weight[i + 2] - 1) - 1) // stride[i] + 1
            for i in range(len(stride))
        ]
    if min(sides) < 1:
        raise fail(f"a convolution of shape {x} would have sides {sides}")
    return (x[0], channels, *sides)


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    return (value[0], value[-1])


def _window(x: Shape, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool) -> Shape:
    kernel = _pair(kernel)
    stride = _pair(stride) if stride not in (None, [], ()) else kernel
    padding, dilation = _pair(padding), _pair(dilation)
    sides = []
    for side, k, s, p, d in zip(x[-2:], kernel, stride, padding, dilation, strict=True):
        span = side + 2 * p - d * (k - 1) - 1
        out = (span + (s - 1 if ceil else 0)) // s + 1
        if ceil and (out - 1) * s >= side + p:  # the last window must start inside the map or its left padding
            out -= 1
        sides.append(out)
    if min(sides) < 1:
        raise fail(f"a pool of {kernel[0]}×{kernel[1]} over a {x[-2]}×{x[-1]} map would be {sides[0]}×{sides[1]}")
    return (*x[:-2], *sides)


def max_pool(args: tuple, x: Shape) -> tuple[Shape, Shape]:
    _, kernel, stride, padding, dilation, ceil = args
    shape = _window(x, kernel, stride, padding, dilation, ceil)
    return shape, shape


def avg_pool(args: tuple, x: Shape) -> Shape:
    return _window(x, args[1], args[2], args[3], 1, args[4])


def adaptive(args: tuple, x: Shape) -> Shape:
    return (*x[:-2], *_pair(args[1]))


def adaptive_max(args: tuple, x: Shape) -> tuple[Shape, Shape]:
    return adaptive(args, x), adaptive(args, x)


def channel_norm(args: tuple, x: Shape, *parameters: Shape) -> Shape:
    """Batch and group norm: as many channels as parameters."""
    for shape in parameters:
        if shape != (x[1],):
            raise fail(f"a normalisation of {shape[0]} channels meets an input of shape {x}")
    return x


def norm_with_statistics(args: tuple, x: Shape, *parameters: Shape) -> tuple[Shape, None, None]:
    """The same with statistics beside the output, as aten has them."""
    return channel_norm(args, x, *parameters), None, None


def layer_norm(args: tuple, x: Shape, *parameters: Shape) -> tuple[Shape, None, None]:
    inner = tuple(args[1])
    if x[len(x) - len(inner) :] != inner:
        raise fail(f"a layer norm over {inner} meets an input of shape {x}")
    return x, None, None


def whole_layer_norm(args: tuple, x: Shape, weight: Shape, *bias: Shape) -> Shape:
    return layer_norm((None, weight), x, weight)[0]


def reduce(args: tuple, x: Shape) -> Shape:
    dims, keep = args[1], args[2]
    chosen = {d % len(x) for d in ((dims,) if isinstance(dims, int) else dims or range(len(x)))}
    if keep:
        return tuple(1 if i in chosen else side for i, side in enumerate(x))
    return tuple(side for i, side in enumerate(x) if i not in chosen)


def mm(args: tuple, a: Shape, b: Shape) -> Shape:
    if a[-1] != b[-2] or a[:-2] != b[:-2]:
        raise fail(f"a matrix product of shapes {a} and {b}")
    return (*a[:-1], b[-1])


def addmm(args: tuple, bias: Shape, a: Shape, b: Shape) -> Shape:
    result = mm(args, a, b)
    if _broadcast((bias, result)) != result:
        raise fail(f"a bias of shape {bias} meets a matrix product of shape {result}")
    return result


def attention(args: tuple, query: Shape, key: Shape, value: Shape, *mask: Shape) -> Shape:
    if query[-1] != key[-1] or key[-2] != value[-2] or query[:-2] != key[:-2]:
        raise fail(f"attention over query {query}, key {key} and value {value}")
    if mask and _broadcast((mask[0], (*query[:-1], key[-2]))) != (*query[:-1], key[-2]):
        raise fail(f"an attention mask of shape {mask[0]} meets a query of shape {query}")
    return (*query[:-1], value[-1])


def attends(args: tuple, x: Shape, *others: Shape) -> Any:
    """The rule of torch's own attention: tokens, and weights where they are asked for, of all heads or their mean."""
    heads, needs_weights, is_mean = args
    return (x, (x[0], *(() if is_mean else (heads,)), x[1], x[1])) if needs_weights else x


def linear(args: tuple, x: Shape, weight: Shape, *bias: Shape) -> Shape:
    if x[-1] != weight[-1]:
        raise fail(f"a linear layer of {weight[-1]} features meets an input of shape {x}")
    return (*x[:-1], weight[0])


def matmul(args: tuple, a: Shape, b: Shape) -> Shape:
    if min(len(a), len(b)) < 2 or a[-1] != b[-2]:
        raise fail(f"a matrix product of shapes {a} and {b}")
    return (*_broadcast((a[:-2], b[:-2])), a[-2], b[-1])


def upsample(args: tuple, x: Shape) -> Shape:
    """Resized by the scales that come last, or else to the size."""
    scales = args[-2:]
    if None in scales:
        return (*x[:2], *args[1])
    sides = [floor(side * scale) for side, scale in zip(x[2:], scales, strict=True)]
    if min(sides) < 1:
        raise fail(f"resizing a map of shape {x} {scales[0]} times by {scales[1]} times")
    return (*x[:2], *sides)


def pad(args: tuple, x: Shape) -> Shape:
    sides = list(x)
    for i in range(len(args[1]) // 2):
        sides[-1 - i] += args[1][2 * i] + args[1][2 * i + 1]
    if min(sides) < 1:
        raise fail(f"padding a map of shape {x} by {tuple(args[1])}")
    return tuple(sides)


def reflected(args: tuple, x: Shape) -> Shape:
    """Padding by what lies inside of the border, of which there has to be as much."""
    sides = [side for side in reversed(x) for _ in range(2)]
    if any(before >= side for before, side in zip(args[1], sides, strict=False)):
        raise fail(f"reflecting {tuple(args[1])} of a map of shape {x}")
    return pad(args, x)


def pixel_shuffle(args: tuple, x: Shape) -> Shape:
    r = args[1]
    if x[-3] % (r * r):
        raise fail(f"a pixel shuffle by {r} of shape {x}")
    return (*x[:-3], x[-3] // (r * r), x[-2] * r, x[-1] * r)


def pixel_unshuffle(args: tuple, x: Shape) -> Shape:
    r = args[1]
    if x[-2] % r or x[-1] % r:
        raise fail(f"a pixel unshuffle by {r} of shape {x}")
    return (*x[:-3], x[-3] * r * r, x[-2] // r, x[-1] // r)

"""Output shapes of operators, recomputed from input shapes: what lets a recorded tape be evaluated at other sizes.

A rule takes the operator's arguments by schema position (tensors are None there) and the shapes of its tensor
inputs in order, and returns the output shape, or a tuple of shapes for operators of several outputs (None: the
recorded shape stays). A rule that cannot be sure raises `ShapeRuleError`; none of them guesses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, floor, prod
from typing import Any

import torch

from ..networks.pointwise import is_pointwise

Shape = tuple[int, ...]
Rule = Callable[..., Any]


class ShapeRuleError(ValueError):
    """The tape cannot be re-evaluated with these settings; build the model that way and capture it anew."""


VIEWS = ("view", "_unsafe_view", "_reshape_alias")  # return as many numbers as they take


def find_rule(func: torch._ops.OpOverload) -> Rule | None:
    """The rule of an aten operator, or None when there is none (its shapes then must not change)."""
    name = func.overloadpacket.__name__
    rule = RULES.get(name)
    if rule is None and is_pointwise(func):
        in_place = name.endswith("_") and not name.endswith("__")
        rule = _pointwise_ if in_place else _pointwise
    return rule


def rule_of(name: str) -> Rule:
    """The rule of an operator, or of a call that an operator does not go by."""
    return RULES.get(name) or CALLED[name]


def ignores_arguments(rule: Rule) -> bool:
    """Whether a rule looks at the shapes of its tensors alone."""
    return rule in (_pointwise, _pointwise_, _same)


def keeps_shape(rule: Rule, inputs: int, outputs: int) -> bool:
    """Whether an operator with this rule gives its only tensor's shape, whatever that is."""
    return ignores_arguments(rule) and inputs == outputs == 1


def reproduces(rule: Rule, args: tuple, ins: Sequence[Shape], outs: Sequence[Shape]) -> bool:
    """Whether a rule gives these output shapes for these inputs."""
    try:
        made = rule(args, *ins)
    except (ValueError, TypeError, IndexError):
        return False
    found = (made,) if len(outs) == 1 else made
    return len(found) == len(outs) and all(new in (None, old) for new, old in zip(found, outs, strict=True))


def fixed_rule(op: str, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> Rule:
    """The rule of last resort: recorded shapes while the inputs keep theirs."""

    def rule(args: tuple, *shapes: Shape) -> Any:
        if shapes != inputs:
            seen = f" of shapes {', '.join(map(str, shapes))}" if shapes else ""
            raise fail(f"operator {op}{seen} made {outputs[0] if outputs else ()} when it was recorded")
        return outputs if len(outputs) != 1 else outputs[0]

    return rule


def fail(message: str) -> ShapeRuleError:
    """The error of a rule whose shapes do not fit."""
    return ShapeRuleError(f"{message}; the recording does not tell what happens then: capture the network anew.")


def _pointwise(args: tuple, *shapes: Shape) -> Shape:
    first = shapes[0]
    for shape in shapes:
        if shape != first:
            return _broadcast(shapes)
    return first


def _pointwise_(args: tuple, *shapes: Shape) -> Shape:
    result = _pointwise(args, *shapes)
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


def _same(args: tuple, x: Shape, *others: Shape) -> Shape:
    return x


def _convolution(args: tuple, x: Shape, weight: Shape, *bias: Shape) -> Shape:
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


def _max_pool(args: tuple, x: Shape) -> tuple[Shape, Shape]:
    _, kernel, stride, padding, dilation, ceil = args
    shape = _window(x, kernel, stride, padding, dilation, ceil)
    return shape, shape


def _avg_pool(args: tuple, x: Shape) -> Shape:
    return _window(x, args[1], args[2], args[3], 1, args[4])


def _adaptive(args: tuple, x: Shape) -> Shape:
    return (*x[:-2], *_pair(args[1]))


def _adaptive_max(args: tuple, x: Shape) -> tuple[Shape, Shape]:
    return _adaptive(args, x), _adaptive(args, x)


def channel_norm(args: tuple, x: Shape, *parameters: Shape) -> Shape:
    """Batch and group norm: as many channels as parameters."""
    for shape in parameters:
        if shape != (x[1],):
            raise fail(f"a normalisation of {shape[0]} channels meets an input of shape {x}")
    return x


def _layer_norm(args: tuple, x: Shape, *parameters: Shape) -> tuple[Shape, None, None]:
    inner = tuple(args[1])
    if x[len(x) - len(inner) :] != inner:
        raise fail(f"a layer norm over {inner} meets an input of shape {x}")
    return x, None, None


def _whole_layer_norm(args: tuple, x: Shape, weight: Shape, *bias: Shape) -> Shape:
    return _layer_norm((None, weight), x, weight)[0]


def _reduce(args: tuple, x: Shape) -> Shape:
    dims, keep = args[1], args[2]
    chosen = {d % len(x) for d in ((dims,) if isinstance(dims, int) else dims or range(len(x)))}
    if keep:
        return tuple(1 if i in chosen else side for i, side in enumerate(x))
    return tuple(side for i, side in enumerate(x) if i not in chosen)


def _mm(args: tuple, a: Shape, b: Shape) -> Shape:
    if a[-1] != b[-2] or a[:-2] != b[:-2]:
        raise fail(f"a matrix product of shapes {a} and {b}")
    return (*a[:-1], b[-1])


def _addmm(args: tuple, bias: Shape, a: Shape, b: Shape) -> Shape:
    result = _mm(args, a, b)
    if _broadcast((bias, result)) != result:
        raise fail(f"a bias of shape {bias} meets a matrix product of shape {result}")
    return result


def _attention(args: tuple, query: Shape, key: Shape, value: Shape, *mask: Shape) -> Shape:
    if query[-1] != key[-1] or key[-2] != value[-2] or query[:-2] != key[:-2]:
        raise fail(f"attention over query {query}, key {key} and value {value}")
    if mask and _broadcast((mask[0], (*query[:-1], key[-2]))) != (*query[:-1], key[-2]):
        raise fail(f"an attention mask of shape {mask[0]} meets a query of shape {query}")
    return (*query[:-1], value[-1])


def attends(args: tuple, x: Shape, *others: Shape) -> Any:
    """The rule of torch's own attention: tokens, and weights where they are asked for, of all heads or their mean."""
    heads, needs_weights, is_mean = args
    return (x, (x[0], *(() if is_mean else (heads,)), x[1], x[1])) if needs_weights else x


def _linear(args: tuple, x: Shape, weight: Shape, *bias: Shape) -> Shape:
    if x[-1] != weight[-1]:
        raise fail(f"a linear layer of {weight[-1]} features meets an input of shape {x}")
    return (*x[:-1], weight[0])


def _matmul(args: tuple, a: Shape, b: Shape) -> Shape:
    if min(len(a), len(b)) < 2 or a[-1] != b[-2]:
        raise fail(f"a matrix product of shapes {a} and {b}")
    return (*_broadcast((a[:-2], b[:-2])), a[-2], b[-1])


def _transpose(args: tuple, x: Shape) -> Shape:
    if len(x) < 2:
        return x
    sides = list(x)
    a, b = (0, 1) if len(args) == 1 else args[1:3]
    sides[a], sides[b] = sides[b], sides[a]
    return tuple(sides)


def _permute(args: tuple, x: Shape) -> Shape:
    return tuple(x[d] for d in args[1])


def _cat(args: tuple, *shapes: Shape) -> Shape:
    parts = [shape for shape in shapes if shape != (0,)]
    dim = args[1] % len(parts[0])
    rest = parts[0][:dim] + parts[0][dim + 1 :]
    if any(shape[:dim] + shape[dim + 1 :] != rest for shape in parts):
        raise fail(f"maps of shapes {', '.join(map(str, parts))} are concatenated")
    return (*parts[0][:dim], sum(shape[dim] for shape in parts), *parts[0][dim + 1 :])


def _stack(args: tuple, *shapes: Shape) -> Shape:
    if any(shape != shapes[0] for shape in shapes):
        raise fail(f"maps of shapes {', '.join(map(str, shapes))} are stacked")
    dim = args[1] % (len(shapes[0]) + 1)
    return (*shapes[0][:dim], len(shapes), *shapes[0][dim:])


def _unsqueeze(args: tuple, x: Shape) -> Shape:
    dim = args[1] % (len(x) + 1)
    return (*x[:dim], 1, *x[dim:])


def _select(args: tuple, x: Shape) -> Shape:
    dim = args[1] % len(x)
    if not -x[dim] <= args[2] < x[dim]:
        raise fail(f"element {args[2]} of {x[dim]}")
    return x[:dim] + x[dim + 1 :]


def _upsample(args: tuple, x: Shape) -> Shape:
    """Resized by the scales that come last, or else to the size."""
    scales = args[-2:]
    if None in scales:
        return (*x[:2], *args[1])
    return (*x[:2], *(floor(side * scale) for side, scale in zip(x[2:], scales, strict=True)))


def _pad(args: tuple, x: Shape) -> Shape:
    sides = list(x)
    for i in range(len(args[1]) // 2):
        sides[-1 - i] += args[1][2 * i] + args[1][2 * i + 1]
    if min(sides) < 1:
        raise fail(f"padding a map of shape {x} by {tuple(args[1])}")
    return tuple(sides)


def _pixel_shuffle(args: tuple, x: Shape) -> Shape:
    r = args[1]
    if x[-3] % (r * r):
        raise fail(f"a pixel shuffle by {r} of shape {x}")
    return (*x[:-3], x[-3] // (r * r), x[-2] * r, x[-1] * r)


def _pixel_unshuffle(args: tuple, x: Shape) -> Shape:
    r = args[1]
    if x[-2] % r or x[-1] % r:
        raise fail(f"a pixel unshuffle by {r} of shape {x}")
    return (*x[:-3], x[-3] * r * r, x[-2] // r, x[-1] // r)


def _view(args: tuple, x: Shape) -> Shape:
    """As many numbers as before, in sides of which one may be -1."""
    sides = tuple(args[1])
    numbers, known = prod(x), prod(side for side in sides if side != -1)
    if -1 in sides and known and numbers % known == 0:
        sides = tuple(numbers // known if side == -1 else side for side in sides)
    if prod(sides) != numbers or min(sides, default=1) < 0:
        raise fail(f"a map of shape {x} is viewed as {sides}")
    return sides


def _flatten(args: tuple, x: Shape) -> Shape:
    first, last = (dim % max(len(x), 1) for dim in args[1:3])
    return (*x[:first], prod(x[first : last + 1]), *x[last + 1 :])


def _unflatten(args: tuple, x: Shape) -> Shape:
    dim = args[1] % len(x)
    return (*x[:dim], *_view((None, args[2]), (x[dim],)), *x[dim + 1 :])


def _expand(args: tuple, x: Shape) -> Shape:
    sides = tuple(args[1])
    result = list(sides)
    for place, side in enumerate(x, len(sides) - len(x)):
        if side != 1 and sides[place] not in (-1, side):
            raise fail(f"a tensor of shape {x} is expanded to {sides}")
        result[place] = side if sides[place] == -1 else sides[place]
    if min(result, default=0) < 0:
        raise fail(f"a tensor of shape {x} is expanded to {sides}")
    return tuple(result)


def _repeat(args: tuple, x: Shape) -> Shape:
    times = tuple(args[1])
    padded = (1,) * (len(times) - len(x)) + x
    return tuple(side * factor for side, factor in zip(padded, times, strict=True))


def _slice(args: tuple, x: Shape) -> Shape:
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


def _split(args: tuple, x: Shape) -> Any:
    _, size, dim = args
    whole, rest = divmod(x[dim], size) if size else (1, 0)
    return _parts(x, dim, [size] * whole + [rest] * (rest > 0))


def _chunk(args: tuple, x: Shape) -> Any:
    _, count, dim = args
    return _split((None, max(-(-x[dim] // count), 1), dim), x)


def _split_with_sizes(args: tuple, x: Shape) -> Any:
    return _parts(x, args[2], args[1])


def _unbind(args: tuple, x: Shape) -> Any:
    dim = args[1] % len(x)
    shapes = (x[:dim] + x[dim + 1 :],) * x[dim]
    return shapes if len(shapes) > 1 else shapes[0]


def _squeeze(args: tuple, x: Shape) -> Shape:
    dims = args[1] if len(args) > 1 else range(len(x))
    dropped = {dim % len(x) for dim in ((dims,) if isinstance(dims, int) else dims)}
    return tuple(side for place, side in enumerate(x) if not (place in dropped and side == 1))


def makes(args: tuple, *likes: Shape) -> Shape:
    """The rule of what makes a tensor of the sizes that come first."""
    return tuple(args[0])


def _arange(args: tuple) -> Shape:
    start, end, step = args
    return (max(ceil((end - start) / step), 0),)


def norm_with_statistics(args: tuple, x: Shape, *parameters: Shape) -> tuple[Shape, None, None]:
    """The same with statistics beside the output, as aten has them."""
    return channel_norm(args, x, *parameters), None, None


RULES: dict[str, Rule] = {
    "convolution": _convolution,
    "max_pool2d_with_indices": _max_pool,
    "avg_pool2d": _avg_pool,
    "_adaptive_avg_pool2d": _adaptive,
    "adaptive_max_pool2d": _adaptive_max,
    "native_batch_norm": channel_norm,  # as the recorder has it; torch's own returns statistics too
    "native_group_norm": channel_norm,
    "native_layer_norm": _layer_norm,
    "layer_norm": _whole_layer_norm,
    "mean": _reduce,
    "sum": _reduce,
    "amax": _reduce,
    "mm": _mm,
    "bmm": _mm,
    "addmm": _addmm,
    "linear": _linear,
    "matmul": _matmul,
    "scaled_dot_product_attention": _attention,
    "t": _transpose,
    "transpose": _transpose,
    "permute": _permute,
    "cat": _cat,
    "stack": _stack,
    "unsqueeze": _unsqueeze,
    "select": _select,
    "upsample_nearest2d": _upsample,
    "upsample_bilinear2d": _upsample,
    "upsample_bicubic2d": _upsample,
    "constant_pad_nd": _pad,
    "reflection_pad2d": _pad,
    "replication_pad2d": _pad,
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
    **dict.fromkeys(VIEWS, _view),
    "expand": _expand,
    "repeat": _repeat,
    "slice": _slice,
    "split": _split,
    "split_with_sizes": _split_with_sizes,
    "unbind": _unbind,
    "squeeze": _squeeze,
    "copy_": _same,
    "as_strided_": _same,
    **dict.fromkeys(
        ("clone", "_to_copy", "alias", "detach", "lift_fresh", "_softmax", "_log_softmax", "_safe_softmax", "roll"),
        _same,
    ),
    **dict.fromkeys(("flip", "zeros_like", "ones_like", "empty_like", "full_like", "rand_like", "randn_like"), _same),
    **dict.fromkeys(("zero_", "fill_", "native_dropout"), _same),
}
CALLED: dict[str, Rule] = {"flatten": _flatten, "unflatten": _unflatten, "chunk": _chunk, "arange": _arange}

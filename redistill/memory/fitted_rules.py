"""Shape rules made for one recorded call, where the arguments are sizes that were numbers when they were recorded.

What they may become follows from how the recorded input and output shapes map onto one another.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from .shape_rules import Rule, Shape, channel_norm, fail


def fitted_rule(name: str, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...]) -> Rule | None:
    """A rule made for one recorded call of a view, expansion, slice, split or squeeze; None for other operators."""
    make = FITTED.get(name)
    return make(inputs[0], outputs) if make and inputs else None


def _fit_view(recorded: Shape, outputs: tuple[Shape, ...]) -> Rule | None:
    groups = _view_groups(recorded, outputs[0])
    if groups is None:
        return None

    def rule(args: tuple, x: Shape) -> Shape:
        if x == recorded:
            return outputs[0]
        if len(x) != len(recorded):
            raise fail(f"a map of shape {x} is viewed as if it were {recorded}")
        result: list[int] = []
        for start, stop, sides in groups:
            if len(sides) == 1:
                result.append(prod(x[start:stop]))
            elif x[start:stop] == recorded[start:stop]:
                result += sides
            else:
                raise fail(f"a view of {recorded} as {outputs[0]} does not say what {x} becomes")
        return tuple(result)

    return rule


def _view_groups(before: Shape, after: Shape) -> list[tuple[int, int, Shape]] | None:
    """Runs of dimensions that a view maps onto one another: (first, end) of `before` and the sides in `after`."""
    if 0 in before:
        return None
    groups = []
    i = j = 0
    while i < len(before) and j < len(after):
        start, first = i, j
        left, right = before[i], after[j]
        i, j = i + 1, j + 1
        while left != right:
            if left < right:
                left, i = left * before[i], i + 1
            else:
                right, j = right * after[j], j + 1
        groups.append((start, i, after[first:j]))
    if not groups:
        return None
    # Sides of 1 that are left over belong to the last run.
    start, _, sides = groups[-1]
    groups[-1] = (start, len(before), (*sides, *after[j:]))
    return groups


def _fit_expand(recorded: Shape, outputs: tuple[Shape, ...]) -> Rule:
    result = outputs[0]
    offset = len(result) - len(recorded)

    def rule(args: tuple, x: Shape) -> Shape:
        if x == recorded:
            # The size asked for may have come from the input's, and nothing here shows it.
            raise fail(f"a tensor of shape {x} is expanded to the fixed size {result}")
        if len(x) != len(recorded) or any(
            new != old and result[i + offset] != old for i, (new, old) in enumerate(zip(x, recorded, strict=True))
        ):
            raise fail(f"a tensor of shape {x} is expanded to the fixed size {result}")
        sides = (x[i] if result[i + offset] == recorded[i] else result[i + offset] for i in range(len(x)))
        return (*result[:offset], *sides)

    return rule


def _fit_slices(recorded: Shape, outputs: tuple[Shape, ...]) -> Rule:
    """Slices and splits: the dimension that is cut must stay, the others follow the input."""
    cut = {i for shape in outputs for i, side in enumerate(shape) if side != recorded[i]}

    def rule(args: tuple, x: Shape) -> Any:
        # A slice to the end follows its input; a slice to a number and every split may not.
        open_ended = len(args) == 5 and (args[3] is None or args[3] >= 2**62)
        dims = cut if open_ended else cut | {(args[1] if len(args) == 5 else args[2]) % len(recorded)}
        if len(x) != len(recorded) or any(x[i] != recorded[i] for i in dims):
            raise fail(f"a map of shape {x} is cut as if it were {recorded}")
        shapes = tuple(tuple(shape[i] if i in cut else side for i, side in enumerate(x)) for shape in outputs)
        return shapes if len(shapes) > 1 else shapes[0]

    return rule


def _fit_squeeze(recorded: Shape, outputs: tuple[Shape, ...]) -> Rule:
    def rule(args: tuple, x: Shape) -> Shape:
        if [side == 1 for side in x] != [side == 1 for side in recorded]:
            raise fail(f"sides of 1 are dropped from {x} as if it were {recorded}")
        dims = args[1] if len(args) > 1 else range(len(x))
        dropped = {d % len(x) for d in ((dims,) if isinstance(dims, int) else dims)}
        return tuple(side for i, side in enumerate(x) if not (i in dropped and side == 1))

    return rule


def _fit_restride(recorded: Shape, outputs: tuple[Shape, ...]) -> Rule | None:
    return (lambda args, x: x) if outputs[0] == recorded else None


def _norm_with_statistics(args: tuple, x: Shape, *parameters: Shape) -> tuple[Shape, None, None]:
    return channel_norm(args, x, *parameters), None, None


FITTED: dict[str, Callable[[Shape, tuple[Shape, ...]], Rule | None]] = {
    "view": _fit_view,
    "_unsafe_view": _fit_view,
    "_reshape_alias": _fit_view,
    "reshape": _fit_view,
    "expand": _fit_expand,
    "slice": _fit_slices,
    "split": _fit_slices,
    "split_with_sizes": _fit_slices,
    "squeeze": _fit_squeeze,
    "as_strided_": _fit_restride,
    # As aten has them, with statistics beside the output.
    "native_batch_norm": lambda recorded, outputs: _norm_with_statistics,
    "native_group_norm": lambda recorded, outputs: _norm_with_statistics,
}


def fixed_rule(name: str, inputs: tuple[Shape, ...], outputs: tuple[Shape, ...], sized: bool) -> Rule:
    """The rule of last resort: recorded shapes while the inputs keep theirs.

    `sized`: the operator makes a tensor of a size given in its arguments, which may have followed from the
    input's size, so that no re-evaluation at other sizes can trust it.
    """

    def rule(args: tuple, *shapes: Shape) -> Any:
        if sized or shapes != inputs:
            seen = f" of shapes {', '.join(map(str, shapes))}" if shapes else ""
            raise fail(f"operator {name}{seen} made {outputs[0] if outputs else ()} when it was recorded")
        return outputs if len(outputs) > 1 else outputs[0]

    return rule

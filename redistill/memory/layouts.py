"""How tensors lie in memory, as far as it decides whether a call looks at a tensor or copies it.

A side of 1 hides how the others lie: a half of one image is contiguous, a half of two is not. What sides of 1 decided
while a pass was recorded is noted, so that the recording is not asked where they have become more, or others become 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from .shape_rules import Shape
from .shape_table import VIEWS

# Calls that may look or copy, as their tensor lies in memory.
LAYOUT_BOUND = {
    "contiguous",
    "reshape",
    "reshape_as",
    "flatten",
    "unflatten",
    "view",
    "view_as",
    "ravel",
    "to",
    "clone",
}
Noted = tuple[int, tuple[int, ...]]  # a value, and dims of it whose being 1 or not must stay


class Layouts:
    """The layouts of one recording; `noted` is what decided."""

    def __init__(self) -> None:
        self.noted: list[Noted] = []
        self._odd: set[int] = set()  # values that do not lie as their shape says
        self._hidden: dict[int, list[Noted]] = {}  # views, and what a side of 1 may hide in them

    def decides(self, value: int, tensor: Tensor, made: Tensor | None = None, is_asked: bool = False) -> None:
        """Note that the layout of this tensor decided between a view and a copy.

        made: what became of it. is_asked: whether the call names a memory format, which a map of one channel or of one
        place has, however it lies.
        """
        shape, strides = tuple(tensor.shape), tensor.stride()
        dims = layout_dims(shape, strides)
        if is_asked:
            dims = tuple(range(len(shape)))
        elif made is not None and made.shape != shape:
            # Of a side of 1 a view takes the place in memory from its neighbours, and what is made of that goes by it.
            dims = range(len(shape)) if lies_oddly(made) else {*dims, *merged_dims(shape, strides, tuple(made.shape))}
            dims = tuple(sorted(dims))
        if dims:
            self.noted.append((value, dims))
        self.noted += self._hidden.get(value, ())

    def follow(
        self,
        op: str,
        is_view: bool,
        ins: Sequence[int],
        given: Sequence[Tensor],
        outs: Sequence[int],
        made: Sequence[Tensor],
    ) -> None:
        """Take in an operator that has just run: values and tensors that it took and made."""
        if op in VIEWS or op == "clone":
            self.decides(ins[0], given[0], made[0])
        if is_view and ins:
            self._hide(op, ins[0], given[0], outs, made[0])
        if is_view or not self._odd.isdisjoint(ins):
            for value, tensor in zip(ins, given, strict=True):
                if not is_view and value in self._odd and tensor.is_contiguous():
                    dims = layout_dims(tuple(tensor.shape), tensor.stride(), in_order=True)
                    if dims:
                        self.noted.append((value, dims))
        self.place(outs, made)

    def place(self, values: Sequence[int], tensors: Sequence[Tensor]) -> None:
        """Remember which of these tensors lie oddly."""
        self._odd |= {value for value, tensor in zip(values, tensors, strict=True) if lies_oddly(tensor)}

    def _hide(self, op: str, value: int, before: Tensor, outs: Sequence[int], after: Tensor) -> None:
        hidden = list(self._hidden.get(value, ()))
        if op == "select":
            hidden.append((value, (_selected(before, after),)))
        elif op == "expand":
            offset = after.dim() - before.dim()
            hidden.append((outs[0], tuple(dim + offset for dim, side in enumerate(before.shape) if side == 1)))
        if hidden:
            self._hidden |= dict.fromkeys(outs, hidden)


def _selected(before: Tensor, after: Tensor) -> int:
    """The dimension that a selection took out."""
    there = list(zip(before.shape, before.stride(), strict=True))
    here = list(zip(after.shape, after.stride(), strict=True))
    return next((dim for dim in range(len(here)) if there[dim] != here[dim]), len(here))


def lies_oddly(tensor: Tensor) -> bool:
    """Whether a tensor lies otherwise than its shape says, be it in sides of 1 alone."""
    expected = 1
    for side, stride in zip(reversed(tensor.shape), reversed(tensor.stride()), strict=True):
        if stride != expected:
            return True
        expected *= side
    return False


def layout_dims(shape: Shape, strides: tuple[int, ...], in_order: bool = False) -> tuple[int, ...]:
    """Dims out of their natural order in memory, and unless that is enough, out of their natural place.

    Whether one of them is 1 decides what is contiguous.
    """
    order = sorted(range(len(shape)), key=lambda dim: -strides[dim])
    expected = 1
    dims = set()
    for place in reversed(range(len(shape))):
        dim = order[place]
        if dim != place or (strides[dim] != expected and not in_order):
            dims |= {dim, place}
        expected = strides[dim] * shape[dim]
    return tuple(sorted(dims))


def merged_dims(shape: Shape, strides: tuple[int, ...], made: Shape) -> tuple[int, ...]:
    """Dims that a call makes one of and that do not follow each other in memory: as long as all but one of them are 1
    that takes no copy."""
    found: set[int] = set()
    for group in _merged(shape, made):
        if any(strides[dim] != shape[after] * strides[after] for dim, after in pairwise(group)):
            found |= set(group)
    return tuple(sorted(found))


def _merged(shape: Shape, made: Shape) -> list[list[int]]:
    """The dims that became one, or some others together, in order; a side of 1 that nothing came of may be of both
    groups that it stands between, which are given as one then."""
    groups: list[list[int]] = []
    left, dim = list(made), 0
    while dim < len(shape):
        wanted = left.pop(0) if left else None
        group, size = [dim], shape[dim]
        is_loose = size == 1 and wanted != 1
        dim += 1
        while wanted is not None and size != wanted:
            if size < wanted and dim < len(shape):
                size *= shape[dim]
                group.append(dim)
                dim += 1
            elif left:
                wanted *= left.pop(0)
            else:
                break
        if groups and is_loose:
            groups[-1] += group
        else:
            groups.append(group)
    return groups

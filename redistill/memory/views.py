"""Which numbers of its buffer a value reads, and in which order: what decides whether a step may write over them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from .recording import Buffer, Node
from .shape_rules import Shape
from .shape_table import VIEWS
from .steps import Step

if TYPE_CHECKING:
    from .program import Traced

# Looks that take a tensor's numbers in its order, all of them where they are as many.
ORDERED = {
    *VIEWS, "alias", "detach", "lift_fresh", "squeeze", "unsqueeze", "expand", "slice", "select", "split",
    "split_with_sizes", "unbind",
}  # fmt: skip
TURNED = {"t", "transpose", "permute"}  # looks at all numbers in another order
Order = tuple[tuple[str, tuple], ...]  # operators that changed the order, the first one first


class Look(NamedTuple):
    """What made a value without a buffer of its own: an operator, and the value whose buffer it shares."""

    node: Node
    source: int


class Views:
    """The values of a program's calls that share the buffer of another value."""

    def __init__(self, calls: Sequence[Traced], buffers: Sequence[Buffer]) -> None:
        self.calls, self.buffers = calls, buffers

    @cached_property
    def looks(self) -> dict[int, Look]:
        """What made each of these values."""
        return {
            out + call.first_value: Look(node, call.resolve(node.ins[source]))
            for call in self.calls
            for node in call.nodes
            for out, source in zip(node.outs, node.sources, strict=True)
            if source >= 0
        }

    def may_overwrite(self, step: Step, value: int, buffer: int, shapes: Sequence[Shape]) -> bool:
        """Whether an elementwise step may write its result over an operand: that reads every number of its buffer
        once, and no other operand reads them in another order, which would find results there."""
        others = [other for other, read in step.operands if read == buffer and other != value]
        if not others and value == self.buffers[buffer].value:
            return True  # as nearly always; this is asked often
        own = self._order(value, shapes)
        return own is not None and all(self._order(other, shapes) == own for other in others)

    def turns_in(self, step: Step, shapes: Sequence[Shape]) -> bool:
        """Whether a step reads a buffer in its own order and in another one."""
        twice = [value for value, read in step.operands if sum(read == other for _, other in step.operands) > 1]
        return bool(twice) and any(self._order(value, shapes) for value in twice)

    def is_whole(self, value: int, shapes: Sequence[Shape]) -> bool:
        """Whether a value reads every number of its buffer once."""
        return self._order(value, shapes) is not None

    def _order(self, value: int, shapes: Sequence[Shape]) -> Order | None:
        """How a value's order became other than its buffer's; None where it does not read every number once."""
        turns: Order = ()
        while (look := self.looks.get(value)) is not None:
            name, is_written = look.node.op.removesuffix("_"), not look.node.is_view
            if prod(shapes[value]) != prod(shapes[look.source]):
                return None
            if name in TURNED:
                turns = ((name, look.node.args), *turns)
            elif name not in ORDERED and not is_written:  # as `unfold`, some of whose windows may share numbers
                return None
            value = look.source
        return turns

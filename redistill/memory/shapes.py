"""Shapes of a recorded pass at other settings: the shape rules of its operators, run in order.

Some operators were recorded with sizes that were plain numbers by then: a map flattened into tokens is given its
height and width back, a tensor is made for the batch. No rule of one operator can tell where such a number came from,
so the pass is recorded once more at another size, and the number is whatever explains it in both recordings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

import torch

from .recorder import record
from .recording import OP, Node, Recording, Weights
from .shape_rules import Rule, Shape, ShapeRuleError, keeps_shape, reproduces

VIEWS = ("view", "_unsafe_view", "_reshape_alias", "reshape")  # return as many numbers as they take
SHAPES_KEPT = 64  # of the shapes that one operator has been given
PROBE = (5, 2, 3)  # the second recording has so many times the batch, the height and the width


@dataclass(frozen=True)
class Edits:
    """What other strides change in a recorded pass."""

    rules: Mapping[int, tuple[Rule, tuple]] = field(default_factory=dict)  # node → its rule and arguments instead
    identities: frozenset[int] = frozenset()  # nodes that return their input
    weights: Mapping[int, Shape] = field(default_factory=dict)  # parameters of another shape, by value
    added_weights: Weights = field(
        default_factory=Weights
    )  # what these shapes add to the weights; negative where they are smaller


class Evaluator:
    """Evaluates one recording. The first setting that its rules cannot tell costs a second recording."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        ops = [(event[1], recording.nodes[event[1]]) for event in recording.events if event[0] == OP]
        self._home = list(range(len(recording.shapes)))  # value → the value whose shape it has
        # The operators whose shapes must be worked out, each with what it, or one like it, made before.
        self._steps = []
        made: dict[tuple, dict] = {}
        for index, node in ops:
            ins = tuple(self._home[value] for value in node.ins)
            if keeps_shape(node.rule, len(ins), len(node.outs)):
                self._home[node.outs[0]] = ins[0]
            else:
                known = made.setdefault((node.rule, repr(node.args)), {})
                self._steps.append((index, node.rule, node.args, ins, node.outs, known))
        self._explained: dict[int, _Explanation] = {}
        self._whole_slices = recording.whole_slices
        self._probed = False

    def shapes(self, first: Shape, edits: Edits) -> list[Shape]:
        """Shapes of all values for an input of shape `first`; `ShapeRuleError` where the recording cannot tell."""
        try:
            return self._evaluate(first, edits)
        except ShapeRuleError:
            if self._probed or not self._probe():
                raise
        return self._evaluate(first, edits)

    def _evaluate(self, first: Shape, edits: Edits) -> list[Shape]:
        shapes = list(self.recording.shapes)
        shapes[self.recording.inputs[0]] = first
        for value, shape in edits.weights.items():
            shapes[value] = shape
        rules, identities, explained = edits.rules, edits.identities, self._explained
        special = {*rules, *identities, *explained}
        for index, rule, args, ins, outs, known in self._steps:
            try:
                if index in special:
                    if index in identities:
                        shapes[outs[0]] = shapes[ins[0]]
                        continue
                    if index not in rules:
                        shapes[outs[0]] = explained[index].shape(shapes)
                        continue
                    rule, args = rules[index]
                    made = rule(args, *[shapes[value] for value in ins])
                else:
                    given = tuple([shapes[value] for value in ins])
                    made = known.get(given)
                    if made is None:
                        if len(known) >= SHAPES_KEPT:
                            known.clear()
                        made = known[given] = rule(args, *given)
                if len(outs) == 1:
                    shapes[outs[0]] = made
                else:
                    for out, shape in zip(outs, made, strict=True):
                        if shape is not None:
                            shapes[out] = shape
            except (ValueError, TypeError, IndexError) as error:
                layer = self.recording.nodes[index].layer or "of the network itself"
                raise ShapeRuleError(f"Layer {layer!r}: {error}") from None
        shapes = [shapes[home] for home in self._home]
        self._check_copies(shapes)
        return shapes

    def _check_copies(self, shapes: list[Shape]) -> None:
        recorded = self.recording.shapes
        for value, dims in self.recording.layouts:
            if any((shapes[value][dim] == 1) != (recorded[value][dim] == 1) for dim in dims):
                raise ShapeRuleError(
                    f"A map of shape {shapes[value]}, recorded as {recorded[value]}, may need a copy where it needed "
                    "none; capture the network at this size."
                )
        for value, dim in self._whole_slices:
            if shapes[value][dim] != recorded[value][dim]:
                raise ShapeRuleError(
                    f"A slice to {recorded[value][dim]} took all of a map that is now {shapes[value]}; capture the "
                    "network at this size."
                )

    def _probe(self) -> bool:
        """Record the pass at another size; whether that explained operators whose rules could not tell."""
        self._probed = True
        recording = self.recording
        other = _recorded_elsewhere(recording)
        if other is None or not _same_structure(recording, other):
            return False
        origins = list(recording.inputs)  # values whose sides may be what an operator was given as numbers
        for index, _, _, ins, outs, _ in self._steps:
            node = recording.nodes[index]
            there = [[other.shapes[value] for value in values] for values in (node.ins, node.outs)]
            if len(outs) == 1 and not reproduces(node.rule, node.args, *there):
                self._explained[index] = _Explanation(node, ins, origins, recording, other)
            if not ins or recording.shapes[outs[0]] != recording.shapes[ins[0]]:
                origins.append(outs[0])  # only the first: nobody knows a norm's statistics here
        kept = set(other.whole_slices)
        self._whole_slices = [entry for entry in recording.whole_slices if entry not in kept]
        return bool(self._explained)


def _recorded_elsewhere(recording: Recording) -> Recording | None:
    """The pass at another size; inputs but the first keep their shapes, and then so does the batch."""
    inputs = list(recording.arguments)
    place, first = next((i, value) for i, value in enumerate(inputs) if isinstance(value, torch.Tensor))
    if first.dim() != 4:
        return None
    batch, channels, height, width = first.shape
    times = PROBE[0] if len(recording.inputs) == 1 else 1
    inputs[place] = first.new_empty(batch * times, channels, height * PROBE[1], width * PROBE[2])
    try:
        return record(recording.model, inputs)
    except (ValueError, RuntimeError, NotImplementedError, IndexError, AssertionError):
        return None  # the network runs at its own size only


def _same_structure(one: Recording, other: Recording) -> bool:
    """Whether two passes did the same, sizes aside."""
    if one.events != other.events or one.buffer_of != other.buffer_of or len(one.nodes) != len(other.nodes):
        return False
    return all(
        (a.op, a.layer, a.ins, a.outs, a.new, a.sources) == (b.op, b.layer, b.ins, b.outs, b.new, b.sources)
        for a, b in zip(one.nodes, other.nodes, strict=True)
    )


# One side of a tensor: a number that stays, or sides of earlier values and their multiples: (value, dim, factor).
_Side = int | list[tuple[int, int, int]]


class _Explanation:
    """Where the sizes that an operator makes come from: all that is true of both recordings.

    A side that both have in common stays; any other is that of an earlier value, or a multiple of the operator's own
    input. Where several explanations fit, they must agree, or nothing is certain.
    """

    def __init__(self, node: Node, ins: tuple[int, ...], origins: list[int], one: Recording, other: Recording) -> None:
        self.viewed = ins[0] if node.op in VIEWS else None  # of as many numbers as the result
        sides = enumerate(zip(one.shapes[node.outs[0]], other.shapes[node.outs[0]], strict=True))
        self.sides = [_explain(pair, place, ins, origins, one, other) for place, pair in sides]

    def shape(self, shapes: list[Shape]) -> Shape:
        found = {()}
        for side in self.sides:
            options = {side} if isinstance(side, int) else {shapes[value][dim] * times for value, dim, times in side}
            found = {(*done, option) for done in found for option in options}
        if self.viewed is not None:
            numbers = prod(shapes[self.viewed])
            found = {shape for shape in found if prod(shape) == numbers}
        if len(found) != 1:
            raise ShapeRuleError("the sizes that it was recorded with do not say what they become")
        return found.pop()


def _explain(pair: tuple[int, int], place: int, ins: tuple[int, ...], origins: list[int], one, other) -> _Side:
    if pair[0] == pair[1]:
        return pair[0]
    sources = [
        (value, dim, 1)
        for value in origins
        for dim, sides in enumerate(zip(one.shapes[value], other.shapes[value], strict=True))
        if sides == pair
    ]
    if ins and place < len(one.shapes[ins[0]]):
        before = one.shapes[ins[0]][place], other.shapes[ins[0]][place]
        factor = pair[0] // before[0] if before[0] else 0
        if factor > 1 and (before[0] * factor, before[1] * factor) == pair:
            sources.append((ins[0], place, factor))
    return sources

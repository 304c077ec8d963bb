"""Shapes of a recorded pass at other settings: the shape rules of its operators, run in order.

The answer stands only where the pass would go the same way: all that sizes decided in Python, the layouts that decided
over copies, and the shapes that had to stay are held against the new shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .recording import OP, Recording, Weights
from .shape_rules import Rule, Shape, ShapeRuleError
from .shape_table import keeps_shape
from .sides import Measures

SHAPES_KEPT = 64  # of the shapes that one operator has been given


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
    """Evaluates one recording."""

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
            elif node.sized is None:
                known = made.setdefault((node.rule, repr(node.args)), {})
                self._steps.append((index, node.rule, node.args, ins, node.outs, known))
            else:
                self._steps.append((index, node.rule, node.sized, ins, node.outs, None))

    def shapes(self, first: Shape, edits: Edits) -> list[Shape]:
        """Shapes of all values for an input of shape `first`; `ShapeRuleError` where the recording cannot tell."""
        shapes = list(self.recording.shapes)
        shapes[self.recording.inputs[0]] = first
        for value, shape in edits.weights.items():
            shapes[value] = shape
        rules, identities = edits.rules, edits.identities
        measures = Measures(shapes, self._home)
        for index, rule, args, ins, outs, known in self._steps:
            try:
                if index in identities:
                    shapes[outs[0]] = shapes[ins[0]]
                    continue
                if index in rules:
                    rule, args = rules[index]
                    made = rule(args, *[shapes[value] for value in ins])
                elif known is None:
                    made = rule(measures.resolve(args), *[shapes[value] for value in ins])
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
            except (ValueError, TypeError, IndexError, ArithmeticError) as error:
                raise ShapeRuleError(f"{self._subject(index)}: {_reason(error)}") from None
        measures.check(self.recording.conditions)
        shapes = [shapes[home] for home in self._home]
        self._check_kept(shapes)
        return shapes

    def _subject(self, index: int) -> str:
        layer = self.recording.nodes[index].layer
        return f"Layer {layer!r}" if layer else "The network itself"

    def _check_kept(self, shapes: list[Shape]) -> None:
        recorded = self.recording.shapes
        for value, dims in self.recording.layouts:
            if any((shapes[value][dim] == 1) != (recorded[value][dim] == 1) for dim in dims):
                raise ShapeRuleError(
                    f"A map of shape {shapes[value]}, recorded as {recorded[value]}, may need a copy where it needed "
                    "none; capture the network anew."
                )
        for value, layer in self.recording.pinned.items():
            if shapes[value] != recorded[value]:
                raise ShapeRuleError(
                    f"{f'Layer {layer!r}' if layer else 'The network'} does what only a pass tells with a map of shape "
                    f"{shapes[value]}, recorded as {recorded[value]}; capture the network anew."
                )


def _reason(error: Exception) -> str:
    if isinstance(error, ShapeRuleError):
        return str(error)
    return f"its operator makes something else there than when it was recorded ({error}); capture the network anew."

"""Output shapes of operators, recomputed from input shapes: what lets a recorded tape be evaluated at other sizes.

A rule takes the operator's arguments by schema position (tensors are None there) and the shapes of its tensor
inputs in order, and returns the output shape, or a tuple of shapes for operators of several outputs (None: the
recorded shape stays). A rule that cannot be sure raises `ShapeRuleError`; none of them guesses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Shape = tuple[int, ...]
Rule = Callable[..., Any]


class ShapeRuleError(ValueError):
    """The tape cannot be re-evaluated with these settings; build the model that way and capture it anew."""


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

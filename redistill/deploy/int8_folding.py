"""Steps of an integer program folded into one: what a map and a function of it give together is a function of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from .int8_graph import Map
from .int8_step import Step


def with_tables_folded(steps: Sequence[Step], output: Map) -> tuple[Step, ...]:
    """The steps with products and sums of a map and a table of it as one table: the same numbers, and one map less.

    So ONNX writes SiLU: x · sigmoid(x), two maps in a program that took it as it stands.
    """
    readers = Counter([output.name, *(taken.name for step in steps for taken in step.inputs)])
    made = {step.output.name: step for step in steps}
    folded: list[Step] = []
    for step in steps:
        tables = [made.get(taken.name) for taken in step.inputs]
        for place, table in enumerate(tables):
            other = step.inputs[1 - place] if len(step.inputs) == 2 else None
            if table is None or table.kernel != "table" or table.inputs[0] != other or readers[table.output.name] > 1:
                continue
            numbers = [np.arange(256), np.arange(256)]
            numbers[place] = table.fields["table"].astype(int)
            fields = {"count": step.output.bytes, "table": _COMBINED[step.kernel](*numbers, step.fields)}
            folded.remove(table)
            step = Step("table", (other,), step.output, fields, step.layer)
            break
        folded.append(step)
    return tuple(folded)


def _product(left: np.ndarray, right: np.ndarray, fields: dict) -> np.ndarray:
    """As the kernel of this name computes."""
    return _stored((left - fields["left_zero"]) * (right - fields["right_zero"]) * fields["multiplier"], fields)


def _sum(left: np.ndarray, right: np.ndarray, fields: dict) -> np.ndarray:
    """As the kernel of this name computes."""
    scaled = (left - fields["left_zero"]) * fields["left_multiplier"]
    return _stored(scaled + (right - fields["right_zero"]) * fields["right_multiplier"], fields)


def _stored(scaled: np.ndarray, fields: dict) -> np.ndarray:
    found = ((scaled + (1 << (fields["shift"] - 1))) >> fields["shift"]) + fields["out_zero"]
    return np.clip(found, 0, 255).astype(np.uint8)


_COMBINED = {"product": _product, "sum": _sum}

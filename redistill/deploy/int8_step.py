"""One call of a kernel, and a whole program of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .int8_graph import Map

Field = int | np.ndarray


@dataclass(frozen=True, eq=False)  # two with the same fields are two
class Step:
    """One call of a kernel: what it reads and writes, and the fields of its struct."""

    kernel: str
    inputs: tuple[Map, ...]
    output: Map
    fields: dict[str, Field]
    layer: str  # the node's name in the graph


@dataclass(frozen=True)
class IntegerNetwork:
    """Steps in the order in which they run, from pixels to the numbers of the logits."""

    input: Map
    output: Map
    steps: tuple[Step, ...]

    @property
    def macs(self) -> int:
        """Multiplications of its convolutions, linear layers included, for one picture."""
        found = [step for step in self.steps if step.kernel == "convolution"]
        return sum(step.output.height * step.output.width * step.fields["weights"].size for step in found)

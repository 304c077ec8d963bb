"""What a timeline counts: steps over numbered buffers. It knows no sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from .blueprint import Blueprint
from .macs import block_macs
from .recording import Recording, Weight
from .shape_rules import Shape
from .steps import Fusion, Step, find_fusions


@dataclass
class Program:
    """Steps over numbered buffers.

    Values and buffers beyond the recorded ones belong to places for RED blocks, some of which may stand empty:
    `sources` names, for each such value, the recorded value that has its shape, and buffers of empty places have
    itemsize 0.
    """

    steps: list[Step]
    deaths: list[Sequence[int]]  # per step: buffers that Python lets go of after it
    buffer_values: list[int]
    itemsizes: list[int]
    floats: list[bool]
    sources: list[int]
    inputs: list[int]  # buffers
    outputs: list[int]
    output_values: list[int]
    last: list[int]  # per buffer: the last step that touches it; len(steps) for outputs, -1 for never
    red_weights: list[Weight]  # of the RED blocks put in
    red_steps: list[int]
    red_blocks: list[tuple[int, Recording]]  # those put in, each with the recorded value whose shape it takes
    blueprint: Blueprint
    _weight_bytes: dict[int | None, int] = field(default_factory=dict)  # of the RED blocks, by itemsize

    @cached_property
    def fusions(self) -> dict[int, Fusion]:
        """Additions that the convolution before them can do, by step of the convolution."""
        return find_fusions(self.steps)

    def red_weight_bytes(self, itemsize: int | None) -> int:
        """Bytes of the RED blocks' weights; `itemsize` replaces that of floating-point numbers."""
        if itemsize not in self._weight_bytes:
            self._weight_bytes[itemsize] = sum(weight.bytes(itemsize) for weight in self.red_weights)
        return self._weight_bytes[itemsize]

    def shapes(self, recorded: list[Shape]) -> list[Shape]:
        """Shapes of all values from those of the recorded ones."""
        return recorded + [recorded[source] for source in self.sources]

    def macs(self, shapes: list[Shape]) -> int:
        """Multiply-accumulates at these shapes, RED blocks included."""
        return self.blueprint.macs(shapes) + self.red_macs(shapes)

    def red_macs(self, shapes: list[Shape]) -> int:
        """Multiply-accumulates of the RED blocks put in."""
        return sum(block_macs(block, shapes[value]) for value, block in self.red_blocks)

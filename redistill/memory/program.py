"""What a timeline counts: steps over numbered buffers. It knows no sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

from .macs import total_macs
from .recording import Buffer, Node, Weights
from .shape_rules import Shape
from .steps import Fusion, Step, find_fusions
from .views import Views


class Traced(NamedTuple):
    """The operators of one call from Python, and how their numbers of values are to be read in a program."""

    nodes: Sequence[Node]
    ports: Mapping[int, int]  # values that others stand in for
    first_value: int = 0  # of a RED block put in: all other numbers count from it
    prefix: str = ""  # of a RED block put in: its path

    def resolve(self, value: int) -> int:
        """The number in the program of a value that one of the nodes reads."""
        return self.ports.get(value, value + self.first_value)


@dataclass
class Program:
    """Steps over numbered buffers.

    Values and buffers beyond the recorded ones belong to places for RED blocks, some of which may stand empty:
    `sources` names, for each such value, the recorded value that has its shape, and its channels where it has others
    (else 0); buffers of empty places have itemsize 0.
    """

    steps: list[Step]
    deaths: list[list[int]]  # per step: buffers that Python lets go of after it
    buffers: list[Buffer]
    sources: list[tuple[int, int]]
    inputs: list[int]  # buffers
    outputs: list[int]
    last: list[int]  # per buffer: the last step that touches it; len(steps) for outputs, -1 for never
    products: Sequence[Node]  # what multiplies and accumulates, RED blocks apart
    red_macs_at: list[tuple[int, int]]  # of each RED block put in: the value whose shape it takes, MACs a pixel
    red_weights: Weights  # of these blocks
    calls: list[Traced]  # what the steps were made of, views included
    home: list[int]  # per value: its buffer
    output_values: list[int]
    roomy: list[tuple[int, int]]  # buffers, and the value that PyTorch makes room for in each

    @cached_property
    def fusions(self) -> dict[int, Fusion]:
        """Additions that the convolution before them can do, by step of the convolution."""
        return find_fusions(self.steps)

    @cached_property
    def views(self) -> Views:
        """The values that share the buffer of another one."""
        return Views(self.calls, self.buffers)

    @cached_property
    def red_steps(self) -> list[int]:
        """Steps inside RED blocks."""
        return [index for index, step in enumerate(self.steps) if step.is_red]

    def shapes(self, recorded: list[Shape]) -> list[Shape]:
        """Shapes of all values from those of the recorded ones."""
        return recorded + [
            (recorded[source][0], channels, *recorded[source][2:]) if channels else recorded[source]
            for source, channels in self.sources
        ]

    def macs(self, shapes: list[Shape]) -> int:
        """Multiply-accumulates at these shapes, RED blocks included."""
        return total_macs(self.products, shapes) + self.red_macs(shapes)

    def red_macs(self, shapes: list[Shape]) -> int:
        """Multiply-accumulates of the RED blocks put in."""
        return sum(macs * shapes[value][0] * prod(shapes[value][2:]) for value, macs in self.red_macs_at)

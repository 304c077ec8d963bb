"""What there is to count of a network at chosen strides, size, batch and RED blocks, counted in each of the ways."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from ..common.values import is_whole
from ..networks.red import REDConfig
from .accounting import Timeline, buffer_sizes, eager, fused
from .compiler import FrozenSites
from .executorch import executorch_order
from .onnxruntime import onnxruntime_order
from .program import Program
from .shape_rules import Shape
from .shapes import Edits

ITEMSIZES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}  # bytes a number
ACCOUNTINGS = ("fused", "eager", "onnxruntime", "executorch")


class Counted(NamedTuple):
    """One way of counting one setting."""

    program: Program  # its steps in the order in which they are counted
    shapes: list[Shape]
    line: Timeline
    peak: int  # bytes
    index: int  # step of the peak
    layer: str

    @property
    def input_bytes(self) -> int:
        return sum(self.line.sizes[buffer] for buffer in self.program.inputs)


@dataclass(frozen=True)
class Setting:
    """What there is to count at some strides, image size, batch and RED settings."""

    program: Program
    shapes: list[Shape]  # of all values
    edits: Edits  # what the strides changed
    red: REDConfig | None = None  # of the blocks at `sites`
    sites: FrozenSites = ()
    sizes: dict[int | None, list[int]] = field(default_factory=dict)  # by itemsize: bytes of all buffers

    def count(self, itemsize: int | None, accounting: str, fuse_add: bool) -> Counted:
        """The timeline and its peak."""
        if itemsize not in self.sizes:
            self.sizes[itemsize] = buffer_sizes(self.program, self.shapes, itemsize)
        sizes, program, shapes = self.sizes[itemsize], self.program, self.shapes
        if accounting == "eager":
            line = eager(program, shapes, sizes)
        elif accounting == "onnxruntime":
            program, line = onnxruntime_order(program, shapes, sizes)
        elif accounting == "executorch":
            program, shapes, line = executorch_order(program, shapes, itemsize)
        else:
            line = fused(program, shapes, sizes, fuse_add)
        if not line.live:  # the network gives what it took
            held = 0 if accounting == "executorch" else sum(sizes[buffer] for buffer in program.inputs)
            return Counted(program, shapes, line, held, 0, "")
        peak = max(line.live)
        index = line.live.index(peak)
        return Counted(program, shapes, line, peak, index, program.steps[index].layer)


def check_choices(dtype: str | None, accounting: str, fuse_add: bool, batch: int | None) -> int | None:
    """Bytes of a number in `dtype`, None for None; ValueError for what is none of the choices."""
    if accounting not in ACCOUNTINGS:
        raise ValueError(f"accounting is {accounting!r}; expected one of {list(ACCOUNTINGS)}.")
    if fuse_add and accounting != "fused":
        raise ValueError(f"fuse_add is set with accounting {accounting!r}; expected accounting 'fused'.")
    if dtype is not None and dtype not in ITEMSIZES:
        raise ValueError(f"dtype is {dtype!r}; expected one of {list(ITEMSIZES)}.")
    if accounting == "onnxruntime" and dtype not in (None, "fp32"):
        raise ValueError(f"dtype is {dtype!r} with accounting 'onnxruntime', whose CPU kernels compute in fp32.")
    if batch is not None and not is_whole(batch, 1):
        raise ValueError(f"batch is {batch!r}; expected a whole number of at least 1.")
    return None if dtype is None else ITEMSIZES[dtype]

"""What one evaluation of a tape says: the peak, the timeline, and on demand the layers and the tensors alive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import NamedTuple

from ..common.values import is_whole
from .accounting import Timeline
from .arena import Life, least_bytes, lives_of, plan_arena
from .file_size import file_bytes
from .program import Program
from .recording import Weights
from .shape_rules import Shape
from .steps import WORKSPACE

GAPS = ("gaps", "")  # in place of who made a tensor
# Accountings of runtimes that place all tensors in one arena before they run; the others allocate as they go.
PLANNED = ("fused", "executorch")


class OpMemory(NamedTuple):
    """Bytes alive while one operator runs, its inputs and outputs included."""

    op: str
    layer: str  # path of the module that runs it
    live_bytes: int
    is_red: bool


@dataclass(frozen=True)
class Peak:
    """The figures of one evaluation that a search compares."""

    bytes: int
    layer: str  # module path; "" for operators of the network's own forward
    macs: int
    _profiled: Callable[[], MemoryProfile] = field(repr=False, compare=False)

    @cached_property
    def profile(self) -> MemoryProfile:
        """All figures, made when they are asked for."""
        return self._profiled()

    @property
    def needed_bytes(self) -> int:
        """What a budget must have room for, as `MemoryProfile.needed_bytes`; planned when asked for, as that is."""
        return self.profile.needed_bytes


class LayerMemory(NamedTuple):
    """A module that runs operators itself: the most bytes alive while it does, and what it leaves."""

    name: str
    peak_bytes: int
    output_shape: Shape
    output_bytes: int
    is_red: bool
    first_index: int  # of its operators in the timeline
    last_index: int


class LiveTensor(NamedTuple):
    """A buffer that is alive at one operator; of a planned arena, where it is largest, also what lies between those."""

    shape: Shape
    bytes: int
    made_by: tuple[str, str]  # (operator, layer); ("input", "") for the input; `GAPS` for what lies between buffers
    needed_by: tuple[tuple[str, str], ...]  # operators from here on that touch it, and ("output", "")

    @property
    def is_tensor(self) -> bool:
        """Whether it holds one; else it is what lies between buffers, or what an operator works in."""
        return self.made_by != GAPS and self.made_by[0] != WORKSPACE


class PlacedTensor(NamedTuple):
    """A tensor in an arena, and the operators, by their place on the timeline, at which it is alive."""

    bytes: int
    offset: int  # bytes from the start of the arena
    first: int
    last: int
    made_by: tuple[str, str]  # (operator, layer); ("input", "") for the input
    is_red: bool


@dataclass(frozen=True)
class ArenaPlan:
    """All tensors of a pass in one block of memory, in which none overlaps another that is alive with it."""

    bytes: int  # of the block
    live_bytes: int  # most alive at a time, the least that any plan needs
    tensors: tuple[PlacedTensor, ...]
    planner: str  # "ExecuTorch's own", or the greedy order that needed less: "by size" or "by breadth"

    @property
    def gap(self) -> float:
        """How much larger the block is than what is most alive, as a share of that."""
        return self.bytes / self.live_bytes - 1 if self.live_bytes else 0.0


@dataclass(frozen=True)
class MemoryProfile:
    """Activation memory of one forward pass; all sizes in bytes, indices count operators in the order they run."""

    peak_bytes: int
    peak_layer: str  # module path; "" for operators of the network's own forward
    peak_index: int
    red_peak_bytes: int  # most bytes alive while an operator of a RED block runs; 0 without RED blocks
    weight_bytes: int  # parameters and buffers of the model, RED blocks included
    red_weight_bytes: int
    input_bytes: int
    output_bytes: int
    accounting: str  # a name of `ACCOUNTINGS`
    itemsize: int | None  # bytes of a number; None for those that the network was built with
    _weights: Weights = field(repr=False, compare=False)
    _program: Program = field(repr=False, compare=False)
    _shapes: list[Shape] = field(repr=False, compare=False)
    _timeline: Timeline = field(repr=False, compare=False)

    def weight_bytes_at(self, itemsize: int | None) -> int:
        """`weight_bytes` with so many bytes for every floating-point number, None for those it was built with."""
        return self._weights.bytes(itemsize)

    @property
    def file_bytes(self) -> int:
        """Of the file that the network is exported to, see `file_bytes_at`, in the numbers that are counted."""
        return self.file_bytes_at(self.itemsize)

    def file_bytes_at(self, itemsize: int | None) -> int:
        """Computed size of the .pte of ExecuTorch, or else of the .onnx, that the network is exported to.

        It comes within `file_size.CLOSENESS` of the file; with one byte a number it is that of the int8 export.
        """
        return file_bytes(self._weights, self._program, self._shapes, self.file_kind, itemsize)

    @property
    def peak(self) -> Peak:
        """The figures that a search compares."""
        return Peak(self.peak_bytes, self.peak_layer, self.macs, lambda: self)

    @property
    def file_kind(self) -> str:
        """Who writes the file: a name of `file_size.KINDS`."""
        return "executorch" if self.accounting == "executorch" else "onnx"

    @cached_property
    def needed_bytes(self) -> int:
        """What a budget must have room for: the arena where the runtime plans one, else the peak.

        Of ExecuTorch the input comes besides, which its plan leaves to the caller.
        """
        if self.accounting == "executorch":  # whose peak is its arena
            return self.peak_bytes + self.input_bytes
        if self.accounting not in PLANNED or not self._timeline.live:
            return self.peak_bytes
        return plan_arena(_lived(self._timeline)).bytes

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of one pass over the whole batch, RED blocks included."""
        return self._program.macs(self._shapes)

    @cached_property
    def timeline(self) -> tuple[OpMemory, ...]:
        """One entry an operator."""
        pairs = zip(self._program.steps, self._timeline.live, strict=True)
        return tuple(OpMemory(step.title, step.layer, live, step.is_red) for step, live in pairs)

    @cached_property
    def layers(self) -> tuple[LayerMemory, ...]:
        """One entry a module that runs operators, in the order in which they first run."""
        indices: dict[str, list[int]] = {}
        for i, step in enumerate(self._program.steps):
            indices.setdefault(step.layer, []).append(i)
        live, steps, sizes = self._timeline.live, self._program.steps, self._timeline.sizes
        layers = []
        for name, own in indices.items():
            end = steps[own[-1]]
            shape = self._shapes[end.result] if end.result >= 0 else ()
            made = end.births or end.writes
            layers.append(
                LayerMemory(
                    name=name,
                    peak_bytes=max(live[i] for i in own),
                    output_shape=shape,
                    output_bytes=sizes[made[0]] if made else 0,
                    is_red=end.is_red,
                    first_index=own[0],
                    last_index=own[-1],
                )
            )
        return tuple(layers)

    def plan(self) -> ArenaPlan:
        """The tensors as counted, in one arena: where ExecuTorch puts them, or else where `plan_arena` does.

        Milliseconds, and a second for a thousand tensors.
        """
        line, steps = self._timeline, self._program.steps
        lives = _lived(line)
        if line.offsets is None:
            arena = plan_arena(lives)
            offsets, planner = arena.offsets, f"by {arena.order}"
        else:
            offsets, planner = dict(enumerate(line.offsets)), "ExecuTorch's own"
        makers = {buffer: step for step in reversed(steps) for buffer in step.births}
        tensors = []
        for life in lives:
            step, offset = makers.get(life.buffer), offsets[life.buffer]
            made_by, is_red = ((step.title, step.layer), step.is_red) if step else (("input", ""), False)
            last = min(life.last, len(steps) - 1)
            tensors.append(PlacedTensor(life.bytes, offset, life.first, last, made_by, is_red))
        total = max((tensor.offset + tensor.bytes for tensor in tensors), default=0)
        return ArenaPlan(total, least_bytes(lives), tuple(tensors), planner)

    def live_tensors(self, index: int) -> tuple[LiveTensor, ...]:
        """The buffers alive at one operator, largest first; their bytes add up to its `live_bytes`.

        Raises ValueError when there is no such operator.
        """
        steps, line = self._program.steps, self._timeline
        if not is_whole(index, 0, len(steps) - 1):
            raise ValueError(f"Operator {index!r} is not on the timeline; expected 0 to {len(steps) - 1}.")
        outputs = {line.home[buffer] for buffer in self._program.outputs}
        made: dict[int, tuple[int, int]] = {}  # buffer → (step that wrote it last, value)
        needed: dict[int, list[tuple[str, str]]] = {}
        for i, step in enumerate(steps):
            if i <= index:
                made.update((line.home[buffer], (i, step.result)) for buffer in (*step.births, *step.writes))
            if i >= index:
                for root in dict.fromkeys(line.home[buffer] for buffer in step.touched):
                    needed.setdefault(root, []).append((step.title, step.layer))
        alive = []
        for buffer, first in enumerate(line.first):
            if not 0 <= first <= index <= line.last[buffer]:
                continue
            own = self._program.buffers[buffer].value
            writer, value = made.get(buffer, (-1, own))
            if prod(self._shapes[value]) != prod(self._shapes[own]):
                value = own  # written through a view of a part
            maker = (steps[writer].title, steps[writer].layer) if writer >= 0 else ("input", "")
            users = needed.get(buffer, []) + ([("output", "")] if buffer in outputs else [])
            shape = () if maker[0] == WORKSPACE else self._shapes[value]
            alive.append(LiveTensor(shape, line.sizes[buffer], maker, tuple(users)))
        gaps = line.live[index] - sum(tensor.bytes for tensor in alive)
        if gaps > 0:
            alive.append(LiveTensor((), gaps, GAPS, ()))
        return tuple(sorted(alive, key=lambda tensor: -tensor.bytes))


def _lived(line: Timeline) -> list[Life]:
    """The lives of what an operator ever needs; what only the caller looks at afterwards takes part in no step."""
    return [life for life in lives_of(line) if life.first < len(line.live)]

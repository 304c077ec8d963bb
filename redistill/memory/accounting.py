"""From a program and sizes to memory: the bytes alive at each step, under the two ways of counting."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from .program import Program
from .shape_rules import Shape
from .steps import Fusion


@dataclass(frozen=True, slots=True)
class Timeline:
    """Live bytes at every step, and each buffer's life in steps; `first` is -1 for what never was a buffer."""

    live: list[int]
    sizes: list[int]  # bytes
    home: list[int]  # the buffer that each one is written into, itself unless in place
    first: list[int]
    last: list[int]
    offsets: list[int] | None = None  # bytes from the start of the arena, where the runtime plans one; -1 for none


def buffer_sizes(program: Program, shapes: list[Shape], itemsize: int | None) -> list[int]:
    """Bytes of every buffer; `itemsize` replaces that of floating-point buffers."""
    if itemsize is None:
        return [prod(shapes[made.value], start=made.itemsize) for made in program.buffers]
    return [prod(shapes[made.value], start=itemsize if made.is_float else made.itemsize) for made in program.buffers]


def eager(program: Program, shapes: list[Shape], sizes: list[int]) -> Timeline:
    """What PyTorch allocates: buffers live from their operator until Python lets go; inputs throughout."""
    if program.roomy:
        sizes = _allocated(program, shapes, sizes)
    count, end = len(sizes), len(program.steps)
    first, last = [-1] * count, [end] * count
    now = 0
    for buffer in program.inputs:
        now += sizes[buffer]
        first[buffer] = 0
    live = []
    for i, step in enumerate(program.steps):
        for buffer in step.births:
            now += sizes[buffer]
            first[buffer] = i
        live.append(now)
        for buffer in program.deaths[i]:
            now -= sizes[buffer]
            last[buffer] = i
    return Timeline(live, sizes, list(range(count)), first, last)


def _allocated(program: Program, shapes: list[Shape], sizes: list[int]) -> list[int]:
    """Bytes of every buffer, with the room that PyTorch makes before it knows what an operator gives."""
    allocated = list(sizes)
    for buffer, value in program.roomy:
        numbers = prod(shapes[program.buffers[buffer].value])
        allocated[buffer] = max(sizes[buffer], prod(shapes[value]) * sizes[buffer] // numbers)
    return allocated


def fused(program: Program, shapes: list[Shape], sizes: list[int], fuse_add: bool) -> Timeline:
    """What a deployment runtime holds: buffers die after their last use, and a step writes in place where it may.

    In place may write what is computed element by element (folded batch norms, activations, sums, products), into
    an operand of the same shape that nobody needs afterwards, and that the step does not read in another order too.
    """
    last = list(program.last)
    home = list(range(len(last)))
    first = [-1] * len(last)
    freed = bytearray(len(last))
    fusions = dict(program.fusions) if fuse_add else {}
    norms: dict[int, int] = {}  # batch norms folded into a fused convolution → its buffer
    now = 0
    for buffer in program.inputs:
        if last[buffer] >= 0:
            now += sizes[buffer]
            first[buffer] = 0
    live = []
    for i, step in enumerate(program.steps):
        if step.births:
            target = -1
            if i in norms:
                target = norms[i]
            elif step.in_place_able:
                target = _dying_operand(program, i, shapes, sizes, home, last)
            elif i in fusions:
                fusion = fusions[i]
                target = _accumulator(program, fusion, shapes, sizes[step.births[0]], sizes, home, last)
                if target >= 0:
                    norms[fusion.norm] = target
            if target >= 0:
                born = step.births[0]
                home[born] = target
                last[target] = max(last[target], last[born])
            else:
                for buffer in step.births:
                    now += sizes[buffer]
                    first[buffer] = i
        live.append(now)
        for buffer in step.touched:
            root = home[buffer]
            if last[root] == i and not freed[root]:
                freed[root] = 1
                now -= sizes[root]
    return Timeline(live, sizes, home, first, last)


def _dying_operand(program: Program, i: int, shapes: list, sizes: list, home: list, last: list) -> int:
    """A buffer that step `i` may write its result into, or -1."""
    step = program.steps[i]
    result, size = shapes[step.result], sizes[step.births[0]]
    for value, buffer in step.operands:
        root = home[buffer]
        fits = last[root] == i and sizes[root] == size and shapes[value] == result
        if fits and program.views.may_overwrite(step, value, buffer, shapes):
            return root
    return -1


def _accumulator(program: Program, fusion: Fusion, shapes: list, size: int, sizes: list, home: list, last: list) -> int:
    """The buffer that a convolution fused with the addition after it accumulates into, or -1."""
    root = home[fusion.other]
    is_free = sizes[root] == size and (last[root] == fusion.add or fusion.is_written)
    added = (value for value, _ in program.steps[fusion.add].operands)
    return root if is_free and all(program.views.is_whole(value, shapes) for value in added) else -1

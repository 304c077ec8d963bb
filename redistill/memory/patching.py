"""Memory and computation of a network whose first layers run patch by patch, from its tape.

While the patches are computed, the image and the whole map that they make are held throughout, and a patch holds what
it still needs. With "eager" that is what the network of `redistill.networks.patchwise` allocates, to the byte; with
"fused" what a runtime holds, whose operators take padding of their own on each side of a patch. Then the rest of the
network runs on the map. What patches have in common is computed again for each, and counted again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import inf, prod
from typing import Any

from ..networks.patches import AXES, COLUMNS, ROWS, Interval, Stage, check_grid, check_tiles, tiles
from .accounting import buffer_sizes, eager, fused
from .patch_eager import eager_bytes
from .patch_flow import Split, map_flow
from .program import Program
from .setting import check_choices
from .tape import Tape

GRIDS = tuple(range(2, 9))  # patches a side that are tried
Needs = Mapping[int, Interval]  # rows or columns of each map


@dataclass(frozen=True)
class PatchedMemory:
    """A network computed patch by patch up to one layer. Bytes of activations; MACs of one pass over the batch."""

    upto: str  # path of the layer
    grid: int  # patches a side
    stage_bytes: int  # most alive while patches are computed, the image and the whole map included
    rest_bytes: int  # most alive in what runs after them
    macs: int  # what patches have in common counted as often as it is computed
    plain_bytes: int  # peak of the network without patches
    plain_macs: int

    @property
    def peak_bytes(self) -> int:
        """Most alive at all."""
        return max(self.stage_bytes, self.rest_bytes)

    @property
    def overhead(self) -> float:
        """Computation that patches add, as a share of the network's without them."""
        return self.macs / self.plain_macs - 1 if self.plain_macs else 0.0


def count_patched(tape: Tape, upto: str, grid: int, **settings: Any) -> PatchedMemory:
    """A network computed in `grid` x `grid` patches up to a layer, by its path.

    `settings` are those of `Tape.profile`, counted as "fused" or "eager". Raises ValueError, in one sentence, for a
    layer up to which it cannot be computed so, with the reason, and for more patches than its map has rows or columns;
    else as `profile` does.
    """
    check_grid(grid)
    counting = _Counting(tape, **settings)
    split, stage = counting.flow.stage(upto)
    check_tiles(upto, stage.shapes[stage.target], grid)
    return _Patched(counting, split, stage).count(grid)


def every_patching(
    tape: Tape, grids: Iterable[int] = GRIDS, most_overhead: float = inf, **settings: Any
) -> list[PatchedMemory]:
    """Every layer up to which patches can be computed, in order, with each of `grids` that its map has room for.

    Of layers between which each place of a map goes by itself, the last stands for all. What adds a larger share of
    computation than `most_overhead` is left out. `settings` are those of `Tape.profile`, and so are the errors. Empty
    where no layer allows patches.
    """
    counting, chosen = _Counting(tape, **settings), [check_grid(grid) for grid in grids]
    return [
        patched.count(grid, needs)
        for patched in counting.splits()
        for grid, needs in patched.grids(chosen)
        if patched.overhead(needs) <= most_overhead
    ]


def patching_ends(tape: Tape, **settings: Any) -> str:
    """The first operator that patches cannot compute, with its layer and the reason; empty where there is none.

    `settings` are those of `every_patching`, and so are the errors.
    """
    return _Counting(tape, **settings).flow.refusal


def least_memory(choices: Iterable[PatchedMemory]) -> list[PatchedMemory]:
    """Those that need less memory than all that compute as little: from least computation to least memory.

    None of them needs as much as the network without patches.
    """
    front: list[PatchedMemory] = []
    for choice in sorted(choices, key=lambda choice: (choice.macs, choice.peak_bytes, choice.grid)):
        if choice.peak_bytes < (front[-1].peak_bytes if front else choice.plain_bytes):
            front.append(choice)
    return front


def cheapest_patching(
    tape: Tape, budget_bytes: int, below: float = inf, grids: Iterable[int] = GRIDS, **settings: Any
) -> PatchedMemory | None:
    """What brings the peak to at most `budget_bytes` for the least overhead, which must be less than `below`, if any.

    Of several that add nothing, the first layer with the fewest patches. `settings` are those of `Tape.profile`, and
    so are the errors.
    """
    counting, best = _Counting(tape, **settings), None
    chosen = sorted(check_grid(grid) for grid in grids)
    for patched in counting.splits():
        if max(patched.rest_bytes, patched.image_bytes + patched.map_bytes) > budget_bytes:
            continue
        for grid, needs in patched.grids(chosen):
            overhead = max(0.0, patched.overhead(needs))
            found = patched.count(grid, needs) if overhead < below else None
            if found and found.peak_bytes <= budget_bytes:
                best, below = found, overhead
    return best


class _Counting:
    """One setting of a tape, counted in one way."""

    def __init__(
        self,
        tape: Tape,
        dtype: str | None = None,
        accounting: str = "fused",
        fuse_add: bool = False,
        batch: int | None = None,
        **settings: Any,
    ) -> None:
        self.itemsize = check_choices(dtype, accounting, fuse_add, batch)
        if accounting not in ("fused", "eager"):
            raise ValueError(f"Patches are counted as 'fused' or 'eager'; got accounting {accounting!r}.")
        self.accounting, self.fuse_add = accounting, fuse_add
        self.setting = tape.setting(batch=batch, **settings)
        self.program, self.shapes = self.setting.program, self.setting.shapes
        self.sizes = buffer_sizes(self.program, self.shapes, self.itemsize)
        self.flow = map_flow(tape.blueprint, self.setting)
        self.plain_bytes = self.setting.count(self.itemsize, accounting, fuse_add).peak
        self.plain_macs = self.program.macs(self.shapes)

    def splits(self) -> Iterator[_Patched]:
        """Each layer up to which patches can be computed."""
        return (_Patched(self, *self.flow.stage(split.upto)) for split in self.flow.splits())

    def bytes_of(self, value: int, sides: Sequence[int]) -> int:
        """What a part of a map takes, of all channels and images."""
        made = self.flow.buffers[value]
        itemsize = self.itemsize if self.itemsize is not None and made.is_float else made.itemsize
        return prod(self.shapes[value][:2]) * prod(sides) * itemsize


class _Patched:
    """A setting with one split."""

    def __init__(self, counting: _Counting, split: Split, stage: Stage) -> None:
        self.counting, self.split, self.stage = counting, split, stage
        sizes, program = counting.sizes, counting.program
        self.image_bytes = sum(sizes[buffer] for buffer in program.inputs)
        self.map_bytes = sizes[split.buffer]
        self.rest_bytes = self._rest()
        self.steps = _patch_program(program, split, stage)

    def grids(self, chosen: Sequence[int]) -> Iterator[tuple[int, list[list[Needs]]]]:
        """Those that the map has room for, with what their patches need."""
        room = min(self.stage.shapes[self.split.value][2:])
        return ((grid, self.needs(grid)) for grid in chosen if grid <= room)

    def overhead(self, needs: Sequence[Sequence[Needs]]) -> float:
        """Computation that these patches add, as a share."""
        plain = self.counting.plain_macs
        return self.macs(needs) / plain - 1 if plain else 0.0

    def needs(self, grid: int) -> list[list[Needs]]:
        """Rows, and columns, that each of so many patches a side needs."""
        stage = self.stage
        sides = stage.shapes[stage.target][2:]
        rows = [stage.needs(ROWS, tile) for tile in tiles(sides[ROWS], grid)]
        return [rows, rows if stage.is_alike else [stage.needs(COLUMNS, tile) for tile in tiles(sides[COLUMNS], grid)]]

    def count(self, grid: int, needs: Sequence[Sequence[Needs]] | None = None) -> PatchedMemory:
        """With so many patches a side, which have these `needs`."""
        stage, counting = self.stage, self.counting
        needs = needs or self.needs(grid)
        count = self._eager if counting.accounting == "eager" else self._fused
        patches = [count(*pair) for pair in product(*(_unlike(stage, axis, needs[axis]) for axis in AXES))]
        return PatchedMemory(
            upto=self.split.upto,
            grid=grid,
            stage_bytes=self.image_bytes + self.map_bytes + max(patches),
            rest_bytes=self.rest_bytes,
            macs=self.macs(needs),
            plain_bytes=counting.plain_bytes,
            plain_macs=counting.plain_macs,
        )

    def _rest(self) -> int:
        counting, split, program = self.counting, self.split, self.counting.program
        steps = program.steps[split.steps :]
        if not steps:
            return 0
        if counting.accounting == "eager":
            born = {split.buffer, *(buffer for step in steps for buffer in step.births)}
            deaths = [[buffer for buffer in dying if buffer in born] for dying in program.deaths[split.steps :]]
            rest = replace(program, steps=steps, deaths=deaths, inputs=[*program.inputs, split.buffer])
            return max(eager(rest, counting.shapes, counting.sizes).live)
        last = [place - split.steps for place in program.last]
        rest = replace(program, steps=steps, deaths=[], inputs=[split.buffer], last=last)
        return max(fused(rest, counting.shapes, counting.sizes, counting.fuse_add).live)

    def macs(self, needs: Sequence[Sequence[Needs]]) -> int:
        """Of the whole network, with these patches."""
        costs, shapes = self.counting.flow.costs, self.stage.shapes
        macs = self.counting.plain_macs
        for op in self.counting.flow.ops[: self.split.ops]:  # patches leave out what the map does not need
            macs -= costs.get(op.outs[0], 0) * prod(shapes[op.outs[0]][2:])
        for op in self.stage.ops:
            if op.outs[0] in costs:
                sides = [sum(_length(patch[op.outs[0]]) for patch in axis) for axis in needs]
                macs += costs[op.outs[0]] * prod(sides)
        return macs

    def _eager(self, rows: Needs, columns: Needs) -> int:
        return eager_bytes(self.stage, (rows, columns), self.counting.bytes_of)

    def _fused(self, rows: Needs, columns: Needs) -> int:
        """Most bytes alive of a patch in a runtime."""
        counting, steps = self.counting, self.steps
        shapes, sizes = list(counting.shapes), list(counting.sizes)
        for value in rows:
            if value != self.stage.source:
                shapes[value] = (*shapes[value][:2], _length(rows[value]), _length(columns[value]))
        for buffer in (buffer for step in steps.steps for buffer in step.births):
            value = steps.buffers[buffer].value
            if value in rows:
                sizes[buffer] = counting.bytes_of(value, shapes[value][2:])
        return max(fused(steps, shapes, sizes, counting.fuse_add).live) - self.image_bytes


def _patch_program(program: Program, split: Split, stage: Stage) -> Program:
    """The steps of one patch. The image is held throughout."""
    needed = {out for op in stage.ops for out in op.outs}
    steps = [step for step in program.steps[: split.steps] if step.result in needed]
    last = [-1] * len(program.buffers)
    for place, step in enumerate(steps):
        for buffer in step.touched:
            last[buffer] = place
    for buffer in (*program.inputs, split.buffer):
        last[buffer] = len(steps)
    return replace(program, steps=steps, deaths=[], last=last, outputs=[split.buffer])


def _unlike(stage: Stage, axis: int, needs: Sequence[Needs]) -> Iterable[Needs]:
    """One patch of each kind."""
    return {stage.differences(axis, patch): patch for patch in needs}.values()


def _length(part: Interval) -> int:
    return part[1] - part[0]

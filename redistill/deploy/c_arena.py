"""Where the maps of an integer program lie: one arena, in which elementwise steps write over what dies there."""

from __future__ import annotations

from dataclasses import dataclass

from ..memory.arena import Life, least_bytes, plan_arena
from .c_kernels import IN_PLACE
from .int8_step import IntegerNetwork, Step

ALIGNMENT = 4  # bytes: a processor of 32 bits loads so many at a time


@dataclass(frozen=True)
class Places:
    """Offsets in bytes of all maps from the start of the arena."""

    bytes: int  # of the arena
    live_bytes: int  # most alive at a step, which no placement can undercut
    offsets: dict[str, int]  # by the map's name


def placed(network: IntegerNetwork) -> Places:
    """Places for the maps of a network, input and output included, none over another that is needed with it."""
    last = {map.name: i for i, step in enumerate(network.steps) for map in step.inputs}
    last[network.output.name] = len(network.steps)  # until it was read
    home = {network.input.name: network.input.name}
    sizes = {network.input.name: network.input.bytes}
    first, end = {network.input.name: 0}, {network.input.name: last[network.input.name]}
    for i, step in enumerate(network.steps):
        made = step.output
        if made.name in home:  # another part of a whole
            continue
        root = _dying(step, i, last, home, end)
        home[made.name] = root or made.name
        if not root:
            sizes[made.name], first[made.name] = made.bytes, i
        end[root or made.name] = last.get(made.name, i)
    names = list(sizes)
    lives = [Life(k, sizes[name], first[name], end[name]) for k, name in enumerate(names)]
    arena = plan_arena(lives, ALIGNMENT)
    offsets = {name: arena.offsets[names.index(root)] for name, root in home.items()}
    return Places(arena.bytes, least_bytes(lives), offsets)


def _dying(step: Step, i: int, last: dict[str, int], home: dict[str, str], end: dict[str, int]) -> str | None:
    """The map whose bytes a step may write its own into: as large, and needed by no step after it."""
    if step.kernel not in IN_PLACE:
        return None
    for taken in step.inputs:
        root = home[taken.name]
        if taken.sides == step.output.sides and last[taken.name] == i and end[root] == i:
            return root
    return None

"""The steps that memory is counted by, and which of them a runtime can join."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from .recording import WEIGHTS, Buffer, Node

WORKSPACE = "workspace"  # title of a step that makes room for the next one to work in, and no tensor


class Step(NamedTuple):
    """One call from Python that does more than look at a buffer."""

    title: str
    layer: str
    is_red: bool
    in_place_able: bool
    is_conv: bool
    is_add: bool
    reads: tuple[int, ...]  # buffers
    operands: tuple[tuple[int, int], ...]  # (value, buffer) that may be overwritten
    result: int  # value made last
    writes: tuple[int, ...]  # buffers that the model itself writes in place
    births: tuple[int, ...]
    touched: tuple[int, ...]  # reads, writes and births


def make_step(
    nodes: Iterable[Node],
    home: list[int],
    buffers: Sequence[Buffer],
    ports: Mapping[int, int],
    prefix: str = "",
    first_value: int = 0,
    first_buffer: int = 0,
) -> tuple[Step | None, list[int]]:
    """The step of a call, None where it only looks, and its outputs whose buffer in `home` had to change.

    `home` holds the buffer of every value; views among the outputs get the one they look at. `ports` are values that
    others stand in for. Where the call belongs to a RED block, which stands at the path `prefix`, all other numbers of
    its nodes count from `first_value` and `first_buffer`.
    """
    title = layer = ""
    is_red, in_place_able, is_conv, is_add = bool(prefix), True, False, False
    operands: list[tuple[int, int]] = []
    writes: list[int] = []
    births: list[int] = []
    moved: list[int] = []
    result = -1
    for node in nodes:
        ins = [ports.get(value, value + first_value) for value in node.ins]
        outs = [out + first_value for out in node.outs]
        for out, source in zip(outs, node.sources, strict=True):
            if source >= 0 and home[out] != home[ins[source]]:
                home[out] = home[ins[source]]
                moved.append(out)
        if node.is_view:
            continue
        title, layer = title or node.title, layer or node.layer
        is_red |= node.is_red
        in_place_able &= node.in_place_able
        is_conv |= node.op == "convolution"
        is_add = node.op in ("add", "add_")
        operands += [(value, home[value]) for value in ins if home[value] != WEIGHTS and not buffers[home[value]].inner]
        new = [buffer + first_buffer for buffer in node.new]
        births += [buffer for buffer in new if not buffers[buffer].inner]
        if not node.new:
            writes += [home[out] for out in outs if home[out] != WEIGHTS and not buffers[home[out]].inner]
        result = outs[0] if outs else -1
    if not title:
        return None, moved
    reads = [buffer for _, buffer in operands]
    step = Step(
        title,
        ".".join(filter(None, (prefix, layer))),
        is_red,
        in_place_able and len(births) == 1,
        is_conv,
        is_add,
        tuple(dict.fromkeys(reads)),
        tuple(pair for pair in dict.fromkeys(operands) if pair[1] not in births),
        result,
        tuple(dict.fromkeys(writes)),
        tuple(births),
        tuple(dict.fromkeys((*reads, *writes, *births))),
    )
    return step, moved


class Fusion(NamedTuple):
    """A convolution that can do the addition after it, and where it would accumulate."""

    add: int  # step of the addition
    other: int  # buffer of the operand that is there first
    is_written: bool  # the addition is in place, into that buffer
    norm: int  # step of the batch norm between the two, or -1


def find_fusions(steps: Sequence[Step]) -> dict[int, Fusion]:
    """Additions that the convolution before them can do itself, accumulating into the other operand's buffer.

    The convolution, with the batch norm folded into it, must be the later of the two operands and used by nothing
    else, and nobody may touch the other operand in between.
    """
    touching: dict[int, list[int]] = {}
    born: dict[int, int] = {}
    for i, step in enumerate(steps):
        for buffer in step.touched:
            touching.setdefault(buffer, []).append(i)
        for buffer in step.births:
            born[buffer] = i

    def maker(buffer: int, end: int) -> int | None:
        """The step that makes `buffer`, if only that step and `end` touch it until then."""
        start = born.get(buffer)
        return start if start is not None and touching[buffer][:2] == [start, end] else None

    found = {}
    for i, step in enumerate(steps):
        if not step.is_add or len(step.reads) != 2:
            continue
        late, other = sorted(step.reads, key=lambda buffer: born.get(buffer, -1), reverse=True)
        conv, norm = maker(late, i), -1
        if conv is not None and steps[conv].title == "batch_norm" and len(steps[conv].reads) == 1:
            conv, norm = maker(steps[conv].reads[0], conv), conv
        if conv is not None and steps[conv].is_conv and not any(conv <= j < i for j in touching[other]):
            found[conv] = Fusion(i, other, other in step.writes, norm)
    return found

"""Activation memory as ExecuTorch 1.2 plans it, from the same tape: its operators, its lifetimes, its placement.

Every operator writes a new tensor, also those that write in place elsewhere; batch norms are folded into the
convolution before them, linear layers are one operator, and a reshape looks at what is there where any other view
copies. The caller holds the input. Tensors are placed by ExecuTorch's own "greedy" (exir/memory_planning.py): the
largest first, each into the first block that is free while it lives, or beside what lives there, where it fits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from math import prod
from typing import NamedTuple

from .accounting import Timeline, buffer_sizes
from .arena import ALIGNMENT
from .program import Program
from .recording import Buffer, Node
from .shape_rules import Shape, ShapeRuleError
from .steps import Step

RESHAPES = frozenset(["view", "_unsafe_view", "reshape", "_reshape_alias", "flatten", "unflatten", "detach", "alias"])
# Each of these becomes one operator that writes its outputs, in place or not.
# fmt: off
SINGLE = frozenset((
    "convolution", "native_batch_norm", "linear", "addmm", "mm", "bmm",
    "add", "sub", "mul", "div", "neg", "exp",
    "log", "sin", "cos", "sqrt", "rsqrt", "pow",
    "abs", "relu", "sigmoid", "tanh", "gelu", "leaky_relu",
    "hardtanh", "clamp", "mean", "sum", "amax", "amin",
    "_softmax", "_log_softmax", "cat", "arange", "ones", "zeros",
    "full", "ones_like", "zeros_like", "clone", "_to_copy", "avg_pool2d",
    "_adaptive_avg_pool2d", "upsample_nearest2d", "pixel_shuffle", "constant_pad_nd", "permute", "transpose",
    "t", "slice", "select", "expand", "unsqueeze", "squeeze",
    "split", "split_with_sizes", "unbind", "max_pool2d_with_indices", "native_group_norm", "layer_norm",
    "native_layer_norm", "silu", "scaled_dot_product_attention",
))
# fmt: on


class PlannedTensor(NamedTuple):
    """One tensor of the plan; it lives from one operator to another, both included."""

    op: str  # that writes it
    layer: str
    is_red: bool
    bytes: int
    first: int
    last: int
    offset: int = -1  # in the arena
    shape: Shape = ()


class Operator(NamedTuple):
    """One operator of the plan: what it is and where, and the tensors, by number, that it reads and writes."""

    op: str
    layer: str
    is_red: bool
    reads: tuple[int, ...]
    writes: tuple[int, ...]


Made = tuple[Shape, int]  # an output's shape, and its bytes


@dataclass(frozen=True)
class Planned:
    """What ExecuTorch plans for a network's tensors; its input, which the caller holds, is not among them."""

    bytes: int  # of the arena
    live_bytes: int  # most alive at a time: no plan can need less
    layer: str  # that runs then
    tensors: tuple[PlannedTensor, ...]  # in the order in which they are made
    operators: tuple[Operator, ...] = ()
    outputs: tuple[int, ...] = ()  # tensors that the caller reads


@dataclass
class _Lowered:
    """Operators of ExecuTorch, made one after the other."""

    tensors: list[PlannedTensor] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)

    def emit(self, node: Node, prefix: str, reads: Sequence[int], made: Sequence[Made], op: str = "") -> list[int]:
        """One operator that reads tensors, by number, and makes others; the numbers of these."""
        now = len(self.operators)
        for tensor in reads:
            self.tensors[tensor] = self.tensors[tensor]._replace(last=now)
        layer = ".".join(filter(None, (prefix, node.layer)))
        first = len(self.tensors)
        op, is_red = op or node.op, node.is_red or bool(prefix)
        self.tensors += [PlannedTensor(op, layer, is_red, size, now, now, shape=shape) for shape, size in made]
        writes = range(first, len(self.tensors))
        self.operators.append(Operator(op, layer, is_red, tuple(dict.fromkeys(reads)), tuple(writes)))
        return list(writes)


def plan_executorch(program: Program, shapes: list[Shape], itemsize: int | None) -> Planned:
    """The arena that ExecuTorch plans. ShapeRuleError, by name, for an operator whose tensors are not known here."""
    lowered = _Lowered()
    made: dict[int, int] = {}  # value → its tensor; those of the caller and of the weights have none
    readers = Counter(call.resolve(value) for call in program.calls for node in call.nodes for value in node.ins)
    convolved: set[int] = set()  # values that a convolution makes
    outputs = set(program.output_values)

    def size(value: int) -> int:
        buffer = program.buffers[program.home[value]]
        return prod(shapes[value]) * (itemsize if itemsize is not None and buffer.is_float else buffer.itemsize)

    for call in program.calls:
        for node in call.nodes:
            op = node.op.removesuffix("_") if node.op not in SINGLE else node.op
            ins, outs = [call.resolve(value) for value in node.ins], [out + call.first_value for out in node.outs]
            reads = [made[value] for value in ins if value in made]
            is_norm = op == "native_batch_norm" and not node.measures
            if op in RESHAPES or (is_norm and _folds(ins[0], convolved, readers, outputs)):
                if ins[0] in made:
                    made[outs[0]] = made[ins[0]]
                continue
            if op == "tensor" and not lowered.operators and prod(shapes[outs[0]]) == 1:
                continue  # a timestep, given as a number where the exported program takes it as an input
            if op not in SINGLE:
                raise ShapeRuleError(
                    f"What ExecuTorch holds of {node.op!r} in layer {node.layer!r} is not known; count it as 'fused'."
                )
            results = [(shapes[out], size(out)) for out in outs]
            if op == "scaled_dot_product_attention":
                query, key = (shapes[value] for value in ins[:2])
                taken = [made[value] for value in ins[:3]]
                made[outs[0]] = _attend(lowered, node, call.prefix, taken, query, key, results[0])
                continue
            if op == "silu":
                reads += lowered.emit(node, call.prefix, reads, results, "sigmoid")
            if op == "pixel_shuffle":
                for part in ("permute", "clone"):
                    reads = lowered.emit(node, call.prefix, reads, results, part)
            written = lowered.emit(node, call.prefix, reads, _written(node, op, ins, results, shapes))
            made.update(zip(outs, written, strict=False))
            if op == "convolution":
                convolved.add(outs[0])
    end = len(lowered.operators)
    kept = tuple(dict.fromkeys(made[value] for value in program.output_values if value in made))
    for tensor in kept:
        lowered.tensors[tensor] = lowered.tensors[tensor]._replace(last=end)
    return replace(_arena(lowered.tensors, end), operators=tuple(lowered.operators), outputs=kept)


def executorch_order(
    program: Program, shapes: list[Shape], itemsize: int | None
) -> tuple[Program, list[Shape], Timeline]:
    """The program in ExecuTorch's operators, the shapes of all values and of its tensors, and the memory.

    Bytes alive are those of its tensors; where most are, they are those of the arena, in which gaps may lie between
    tensors. ValueError, by name, for an operator whose tensors are not known.
    """
    try:
        plan = plan_executorch(program, shapes, itemsize)
    except ShapeRuleError as error:  # which no capture could tell either
        raise ValueError(str(error)) from error
    values, buffers = len(shapes), len(program.buffers)
    steps = []
    for op in plan.operators:
        reads, births = (tuple(buffers + tensor for tensor in tensors) for tensors in (op.reads, op.writes))
        touched = tuple(dict.fromkeys((*reads, *births)))
        result = values + op.writes[0] if op.writes else -1
        steps.append(Step(op.op, op.layer, op.is_red, False, False, False, reads, (), result, (), births, touched))
    made = [Buffer(values + i, tensor.bytes, False, -1) for i, tensor in enumerate(plan.tensors)]
    sizes = buffer_sizes(program, shapes, itemsize) + [tensor.bytes for tensor in plan.tensors]
    outputs = [buffers + tensor for tensor in plan.outputs]
    ran = replace(program, steps=steps, buffers=[*program.buffers, *made], outputs=outputs, deaths=[[] for _ in steps])
    live = _alive(plan.tensors, len(steps))
    if live:
        live[live.index(max(live))] = plan.bytes
    first, last = ([-1] * buffers + [getattr(tensor, end) for tensor in plan.tensors] for end in ("first", "last"))
    offsets = [-1] * buffers + [tensor.offset for tensor in plan.tensors]
    line = Timeline(live, sizes, list(range(len(sizes))), first, last, offsets)
    return ran, [*shapes, *(tensor.shape for tensor in plan.tensors)], line


def _alive(tensors: Iterable[PlannedTensor], count: int) -> list[int]:
    """Bytes alive at each of so many operators."""
    change = [0] * (count + 2)
    for tensor in tensors:
        change[tensor.first] += tensor.bytes
        change[tensor.last + 1] -= tensor.bytes
    return list(accumulate(change[:count]))


def _folds(value: int, convolved: set[int], readers: Mapping[int, int], outputs: set[int]) -> bool:
    return value in convolved and readers[value] == 1 and value not in outputs


def _written(node: Node, op: str, ins: list[int], results: list[Made], shapes: list[Shape]) -> list[Made]:
    """All that an operator writes: what the network reads of it, and what nobody does."""
    shape, size = results[0] if results else ((), 0)
    if op == "max_pool2d_with_indices":
        return [results[0], (shape, 8 * prod(shape))]  # places of the largest, int64
    itemsize = size // max(prod(shape), 1)
    if op == "native_group_norm":
        groups = (shape[0], node.args[6])
        return [results[0], *[(groups, prod(groups) * itemsize)] * 2]  # means and spreads
    if op in ("layer_norm", "native_layer_norm") and len(ins) > 1:
        rows = prod(shapes[ins[0]]) // prod(shapes[ins[1]])
        return [results[0], *[((rows,), rows * itemsize)] * 2]
    if op in ("layer_norm", "native_layer_norm"):
        raise ShapeRuleError(f"A layer norm without weights in layer {node.layer!r} is not known; count it as 'fused'.")
    return results


def _attend(lowered: _Lowered, node: Node, prefix: str, taken: list[int], query: Shape, key: Shape, out: Made) -> int:
    """Attention in ExecuTorch's operators, of queries, keys and values: both scaled, and rows of -inf made zeros."""

    def emit(op: str, reads: list[int], made: Made) -> int:
        return lowered.emit(node, prefix, reads, [made], op)[0]

    def of(shape: Shape, itemsize: int) -> Made:
        return shape, prod(shape) * itemsize

    q, k, v = taken
    itemsize = out[1] // prod(query)
    asked, known, turned_keys = (of(shape, itemsize) for shape in (query, key, (*key[:-2], key[-1], key[-2])))
    scores, is_masked, is_row = ((*query[:-1], count) for count in (key[-2], key[-2], 1))
    scores, is_masked, is_row = of(scores, itemsize), of(is_masked, 1), of(is_row, 1)
    scaled = emit("mul", [q], asked)
    turned = emit("permute", [k], turned_keys)
    other = emit("mul", [turned], turned_keys)
    scaled = emit("expand", [scaled], asked)
    other = emit("expand", [other], turned_keys)
    product = emit("bmm", [scaled, other], scores)
    chances = emit("_softmax", [product], scores)
    masked = emit("eq", [product], is_masked)
    masked = emit("logical_not", [masked], is_masked)
    masked = emit("any", [masked], is_row)
    masked = emit("logical_not", [masked], is_row)
    zeros = emit("full_like", [chances], scores)
    chances = emit("where", [masked, zeros, chances], scores)
    chances = emit("expand", [chances], scores)
    values = emit("expand", [v], known)
    found = emit("bmm", [chances, values], out)
    found = emit("permute", [found], out)  # as torch's own kernel lays it out
    found = emit("clone", [found], out)
    return emit("permute", [found], out)


def _arena(tensors: list[PlannedTensor], end: int) -> Planned:
    live = _alive(tensors, end + 1)
    most = max(live)
    at = live.index(most)
    layer = next((tensor.layer for tensor in tensors if tensor.first == at), "")
    offsets, size = place(tensors)
    placed = tuple(tensor._replace(offset=offset) for tensor, offset in zip(tensors, offsets, strict=True))
    return Planned(size, most, layer, placed)


@dataclass
class _Block:
    """A part of the arena that tensors share."""

    size: int
    held: list[tuple[int, int]] = field(default_factory=list)  # (offset inside, number of the tensor)


def place(tensors: Sequence[PlannedTensor]) -> tuple[list[int], int]:
    """Offsets in the arena and its size, in bytes, as ExecuTorch's "greedy" chooses them.

    Of equally large tensors the one made last comes first, as there.
    """
    order = sorted(range(len(tensors)), key=lambda i: (tensors[i].bytes, i), reverse=True)
    blocks: list[_Block] = []
    home: dict[int, tuple[_Block, int]] = {}
    for i in order:
        size = -(-tensors[i].bytes // ALIGNMENT) * ALIGNMENT
        block, offset = _fit(tensors, blocks, i, size)
        block.held.append((offset, i))
        home[i] = (block, offset)
    starts, total = {}, 0
    for block in blocks:
        starts[id(block)] = total
        total += block.size
    return [starts[id(home[i][0])] + home[i][1] for i in range(len(tensors))], total


def _fit(tensors: Sequence[PlannedTensor], blocks: list[_Block], i: int, size: int) -> tuple[_Block, int]:
    """The block of a tensor and its offset inside: a free one, room above what lives in one, or a new one."""
    ends = []
    for block in blocks:
        beside = [(offset, j) for offset, j in block.held if _meet(tensors[i], tensors[j])]
        if not beside:
            return block, 0
        ends.append(max(offset + -(-tensors[j].bytes // ALIGNMENT) * ALIGNMENT for offset, j in beside))
    for block, end in zip(blocks, ends, strict=True):
        if 0 < end <= block.size - size:
            return block, end
    blocks.append(_Block(size))
    return blocks[-1], 0


def _meet(one: PlannedTensor, other: PlannedTensor) -> bool:
    return one.first <= other.last and other.first <= one.last

"""Activation memory as ExecuTorch 1.2 plans it, from the same tape: its operators, its lifetimes, its placement.

Every operator writes a new tensor, also those that write in place elsewhere; batch norms are folded into the
convolution before them, linear layers are one operator, and a reshape looks at what is there where any other view
copies. The caller holds the input. Tensors are placed by ExecuTorch's own "greedy" (exir/memory_planning.py): the
largest first, each into the first block that is free while it lives, or beside what lives there, where it fits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import NamedTuple

from .arena import ALIGNMENT
from .program import Program
from .recording import Node
from .shape_rules import Shape, ShapeRuleError

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


@dataclass(frozen=True)
class Planned:
    """What ExecuTorch plans for a network's tensors; its input, which the caller holds, is not among them."""

    bytes: int  # of the arena
    live_bytes: int  # most alive at a time: no plan can need less
    layer: str  # that runs then
    tensors: tuple[PlannedTensor, ...]  # in the order in which they are made


@dataclass
class _Lowered:
    """Operators of ExecuTorch, made one after the other."""

    tensors: list[PlannedTensor] = field(default_factory=list)
    ops: int = 0

    def emit(self, node: Node, prefix: str, reads: Iterable[int], sizes: Sequence[int], op: str = "") -> list[int]:
        """One operator that reads tensors, by number, and writes some of these bytes; the numbers of its outputs."""
        now = self.ops
        self.ops += 1
        for tensor in reads:
            self.tensors[tensor] = self.tensors[tensor]._replace(last=now)
        layer = ".".join(filter(None, (prefix, node.layer)))
        first = len(self.tensors)
        is_red = node.is_red or bool(prefix)
        self.tensors += [PlannedTensor(op or node.op, layer, is_red, size, now, now) for size in sizes]
        return list(range(first, len(self.tensors)))


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
            if op in RESHAPES or (op == "native_batch_norm" and _folds(ins[0], convolved, readers, outputs)):
                if ins[0] in made:
                    made[outs[0]] = made[ins[0]]
                continue
            if op not in SINGLE:
                raise ShapeRuleError(
                    f"What ExecuTorch holds of {node.op!r} in layer {node.layer!r} is not known; count it as 'fused'."
                )
            sizes = [size(out) for out in outs]
            if op == "scaled_dot_product_attention":
                query, key = (shapes[value] for value in ins[:2])
                made[outs[0]] = _attend(lowered, node, call.prefix, [made[v] for v in ins[:3]], query, key, sizes[0])
                continue
            if op == "silu":
                reads += lowered.emit(node, call.prefix, reads, sizes, "sigmoid")
            if op == "pixel_shuffle":
                for part in ("permute", "clone"):
                    reads = lowered.emit(node, call.prefix, reads, sizes, part)
            made.update(
                zip(
                    outs,
                    lowered.emit(node, call.prefix, reads, _written(node, op, ins, outs, sizes, shapes)),
                    strict=False,
                )
            )
            if op == "convolution":
                convolved.add(outs[0])
    end = lowered.ops
    for value in outputs & made.keys():
        lowered.tensors[made[value]] = lowered.tensors[made[value]]._replace(last=end)
    return _arena(lowered.tensors, end)


def _folds(value: int, convolved: set[int], readers: Mapping[int, int], outputs: set[int]) -> bool:
    return value in convolved and readers[value] == 1 and value not in outputs


def _written(node: Node, op: str, ins: list[int], outs: list[int], sizes: list[int], shapes: list[Shape]) -> list[int]:
    """Bytes of all that an operator writes: what the network reads of it, and what nobody does."""
    if op == "max_pool2d_with_indices":
        return [sizes[0], 8 * prod(shapes[outs[0]])]  # places of the largest, int64
    itemsize = sizes[0] // max(prod(shapes[outs[0]]), 1) if outs else 0
    if op == "native_group_norm":
        groups = shapes[outs[0]][0] * node.args[6]
        return [sizes[0], groups * itemsize, groups * itemsize]  # means and spreads
    if op in ("layer_norm", "native_layer_norm") and len(ins) > 1:
        rows = prod(shapes[ins[0]]) // prod(shapes[ins[1]])
        return [sizes[0], rows * itemsize, rows * itemsize]
    if op in ("layer_norm", "native_layer_norm"):
        raise ShapeRuleError(f"A layer norm without weights in layer {node.layer!r} is not known; count it as 'fused'.")
    return sizes


def _attend(lowered: _Lowered, node: Node, prefix: str, taken: list[int], query: Shape, key: Shape, out: int) -> int:
    """Attention in ExecuTorch's operators, of queries, keys and values: both scaled, and rows of -inf made zeros."""

    def emit(op: str, reads: list[int], size: int) -> int:
        return lowered.emit(node, prefix, reads, [size], op)[0]

    q, k, v = taken
    itemsize = out // prod(query)
    q_bytes, k_bytes = prod(query) * itemsize, prod(key) * itemsize
    rows = prod(query[:-1])
    scores = rows * key[-2]
    scaled = emit("mul", [q], q_bytes)
    turned = emit("permute", [k], k_bytes)
    other = emit("mul", [turned], k_bytes)
    scaled = emit("expand", [scaled], q_bytes)
    other = emit("expand", [other], k_bytes)
    product = emit("bmm", [scaled, other], scores * itemsize)
    chances = emit("_softmax", [product], scores * itemsize)
    masked = emit("eq", [product], scores)
    masked = emit("logical_not", [masked], scores)
    masked = emit("any", [masked], rows)
    masked = emit("logical_not", [masked], rows)
    zeros = emit("full_like", [chances], scores * itemsize)
    chances = emit("where", [masked, zeros, chances], scores * itemsize)
    chances = emit("expand", [chances], scores * itemsize)
    values = emit("expand", [v], k_bytes)
    found = emit("bmm", [chances, values], out)
    found = emit("permute", [found], out)  # as torch's own kernel lays it out
    found = emit("clone", [found], out)
    return emit("permute", [found], out)


def _arena(tensors: list[PlannedTensor], end: int) -> Planned:
    live = [0] * (end + 2)
    for tensor in tensors:
        live[tensor.first] += tensor.bytes
        live[tensor.last + 1] -= tensor.bytes
    most = at = now = 0
    for i, change in enumerate(live):
        now += change
        if now > most:
            most, at = now, i
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

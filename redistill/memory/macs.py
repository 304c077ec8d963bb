"""Multiply-accumulates of operators, from their names, arguments and shapes.

Counted as the field counts them: one per product of a convolution or matrix product, biases, norms, activations and
interpolation free. torchvision's published "GFLOPS" are this figure in 1e9, fvcore's too; torch's `FlopCounterMode`
gives twice as much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from .recording import OP, Node, Recording
from .shape_rules import Shape


def operator_macs(op: str, args: tuple, ins: Sequence[Shape], out: Shape) -> int:
    """Multiply-accumulates of the aten operator `op`, 0 for one that is no convolution or matrix product.

    `args` are its arguments by schema position with tensors left out (None), `ins` the shapes of its tensor
    operands in their order, `out` the shape of its (first) result.
    """
    count = COUNTED.get(op)
    return count(args, ins, out) if count else 0


def _convolution(args: tuple, ins: Sequence[Shape], out: Shape) -> int:
    """Each weight is used once at every place of the result, or of the input where the convolution is transposed."""
    x, weight = ins[:2]
    # Weights are (out channels, in channels / groups, ...), or (in channels, out channels / groups, ...) transposed,
    # so that the sides after the first are what one number there takes or gives.
    is_transposed = args[6]
    return prod(x if is_transposed else out) * prod(weight[1:])


def _matrix_product(args: tuple, ins: Sequence[Shape], out: Shape) -> int:
    return prod(out) * ins[0][-1]


def _added_matrix_product(args: tuple, ins: Sequence[Shape], out: Shape) -> int:
    return prod(out) * ins[1][-1]  # the operand that is added comes first


def _attention(args: tuple, ins: Sequence[Shape], out: Shape) -> int:
    """Query times keys, and the scores times values; heads that share a key count each."""
    query, key, value = ins[:3]
    return prod(query[:-1]) * key[-2] * (key[-1] + value[-1])


def _whole_attention(args: tuple, ins: Sequence[Shape], out: Shape) -> int:
    """Torch's own attention: the projections of queries, keys, values and of the result, and what lies between."""
    return _projected_attention(out, *ins[3:6:2])


def _encoder_layer(args: tuple, ins: Sequence[Shape], out: Shape) -> int:
    """Torch's own encoder layer: attention and two linear layers."""
    return _projected_attention(out, *ins[1:4:2]) + prod(out[:-1]) * (prod(ins[9]) + prod(ins[11]))


def _projected_attention(tokens: Shape, into: Shape, out_of: Shape) -> int:
    batch, count, width = tokens
    return batch * count * (prod(into) + prod(out_of)) + 2 * batch * count * count * width


COUNTED: dict[str, Callable[[tuple, Sequence[Shape], Shape], int]] = {
    "convolution": _convolution,
    "linear": _matrix_product,
    "mm": _matrix_product,
    "bmm": _matrix_product,
    "matmul": _matrix_product,
    "addmm": _added_matrix_product,
    "baddbmm": _added_matrix_product,
    "scaled_dot_product_attention": _attention,
    "_native_multi_head_attention": _whole_attention,
    "_transformer_encoder_layer_fwd": _encoder_layer,
}


def products(recording: Recording) -> list[Node]:
    """The operators of a recording that multiply and accumulate."""
    nodes = (recording.nodes[event[1]] for event in recording.events if event[0] == OP)
    return [node for node in nodes if node.op in COUNTED]


def total_macs(nodes: Sequence[Node], shapes: Sequence[Shape]) -> int:
    """Multiply-accumulates of these operators, given the shape of every value."""
    return sum(
        operator_macs(node.op, node.args, [shapes[value] for value in node.ins], shapes[node.outs[0]]) for node in nodes
    )

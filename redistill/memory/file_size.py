"""How large the file is that a network is exported to, from its tape: for flash, before anything is written.

A file holds the weights, batch norms folded into the convolutions before them, and the graph: so many bytes an
operator, and more for one with weights. The constants are fitted to the files of `redistill export` as torch 2.11, onnx
1.23, onnxruntime 1.32 and ExecuTorch 1.2 write them; tests/deploy/test_file_size.py holds the closeness.
"""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import NamedTuple

from .program import Program
from .recording import Weights
from .shape_rules import Shape

CLOSENESS = 0.02  # of the real file's size, or `SMALLEST` where that is more
SMALLEST = 8192  # bytes
KINDS = {"onnx": ".onnx", "executorch": ".pte"}  # by what writes it
WEIGHING = {"convolution": 1, "linear": 1, "addmm": 2, "mm": 1}  # operators, and which of their tensors the weights are
STATE_BYTES = 8  # of a batch norm that counts its batches, in no file


class Graph(NamedTuple):
    """What of a network a file holds."""

    operators: int
    weighing: int  # of these, those with weights
    quantized: int  # numbers that are int8 in int8: the weights of these
    channels: int  # of their results
    folded: int  # numbers that batch norms lose to the convolutions before them
    norms: int  # batch norms


class Rate(NamedTuple):
    """Bytes of a file's graph."""

    file: int
    operator: int
    weighing: int  # of an operator with weights, more
    channel: int = 0  # of a result of those, more


# By what writes the file, and whether in int8: there weights have a scale, and biases a scale and a zero, a channel.
RATES = {
    ("onnx", False): Rate(900, 110, 100),
    ("onnx", True): Rate(500, 450, 700, 14),
    ("executorch", False): Rate(500, 300, 750),
    ("executorch", True): Rate(500, 300, 750, 14),
}


def file_bytes(weights: Weights, program: Program, shapes: list[Shape], kind: str, itemsize: int | None) -> int:
    """Bytes of the file that `kind`, of `KINDS`, writes of a network, numbers of so many bytes; None for its own.

    With one byte a number, weights of convolutions and matrix products are int8, and all else stays fp32.
    """
    graph = graph_of(program, shapes)
    is_int8 = itemsize == 1
    file, operator, weighing, channel = RATES[kind, is_int8]
    floats = weights.floats - graph.folded
    if is_int8:
        held = graph.quantized + 4 * (floats - graph.quantized)
    else:
        held = floats * (itemsize or (weights.float_bytes // weights.floats if weights.floats else 4))
    held += weights.other_bytes - STATE_BYTES * graph.norms
    return held + file + operator * graph.operators + weighing * graph.weighing + channel * graph.channels


def graph_of(program: Program, shapes: list[Shape]) -> Graph:
    """What a file holds of a network besides its numbers."""
    readers = Counter(call.resolve(value) for call in program.calls for node in call.nodes for value in node.ins)
    outputs, biased = set(program.output_values), {}  # of a convolution's result: whether it has a bias
    seen: set[int] = set()  # weights that several operators share
    operators = weighing = channels = folded = norms = 0
    quantized = sum(macs for _, macs in program.red_macs_at)  # each weight of a RED block works once a pixel
    for call in program.calls:
        for node in call.nodes:
            ins = [call.resolve(value) for value in node.ins]
            if node.is_view:
                continue
            if node.op == "native_batch_norm":
                norms += 1
                if ins[0] in biased and readers[ins[0]] == 1 and ins[0] not in outputs:
                    vectors = len(ins) - 1 - (not biased[ins[0]])  # the convolution's bias takes the place of one
                    folded += vectors * shapes[ins[0]][1]
                    continue
            operators += 1
            place = WEIGHING.get(node.op)
            if place is None or len(ins) <= place:
                continue
            weighing += 1
            if not call.prefix and ins[place] not in seen:
                quantized += prod(shapes[ins[place]])
            seen.add(ins[place])
            out = node.outs[0] + call.first_value
            channels += shapes[out][-1 if node.op != "convolution" else 1]
            if node.op == "convolution":
                biased[out] = len(ins) > 2
    return Graph(operators, weighing, quantized, channels, folded, norms)

"""A calibrated network as the steps of an integer program: a kernel of `c_kernels` each, its numbers ready for C."""

from __future__ import annotations

from collections.abc import Callable
from math import erf
from typing import TYPE_CHECKING, Any

import numpy as np

from .fixed_point import check_sums, multipliers, shared_multipliers
from .int8_folding import with_tables_folded
from .int8_graph import LAYOUT, Map, QuantizedGraph, refused
from .int8_step import Field, IntegerNetwork, Step

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

ERF = np.vectorize(erf)

# Of one map, element by element, which becomes a table; each takes float64 (256,) and the node's attributes.
UNARY: dict[str, Callable[..., np.ndarray]] = {
    "Relu": lambda x: np.maximum(x, 0),
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Tanh": np.tanh,
    "LeakyRelu": lambda x, alpha=0.01: np.where(x < 0, alpha * x, x),
    "Elu": lambda x, alpha=1.0: np.where(x < 0, alpha * np.expm1(x), x),
    "HardSigmoid": lambda x, alpha=0.2, beta=0.5: np.clip(alpha * x + beta, 0, 1),
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "Erf": lambda x: ERF(x),
}
BINARY: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
}


def read_steps(proto: ModelProto, taken: np.ndarray) -> IntegerNetwork:
    """The network of a file that `onnx_int8.calibrated` made, for pixels.

    taken: float32 (256,), what the network takes for each value of a pixel. Raises ValueError, in one sentence, for
    operators that have no kernel, by name, and for what the file leaves in floating point.
    """
    graph = QuantizedGraph(proto)
    name = graph.graph.input[0].name
    images = graph.stored(name, graph.sides(name))
    pixels = Map("pixels", *images.sides, 1.0, 0)
    table = images.rounded(taken.astype(np.float64))
    steps = [Step("table", (pixels,), images, {"count": images.bytes, "table": table}, name)]
    for node in graph.graph.node:
        if node.op_type == "DequantizeLinear":
            graph.dequantize(node)
        elif node.op_type in LAYOUT:
            graph.pass_on(node)
        elif node.op_type in STEPS:
            steps += STEPS[node.op_type](graph, node)
        else:
            raise refused(node)
    output = graph.maps.get(graph.graph.output[0].name)
    if output is None:
        raise ValueError("The C program computes in integers; the network's output stays in floating point.")
    return IntegerNetwork(pixels, output, with_tables_folded(steps, output))


def _quantize(graph: QuantizedGraph, node: NodeProto) -> list[Step]:
    """Nothing more for what its maker stores so; a map that is quantized again, to other numbers, is looked up."""
    taken = graph.maps.get(node.input[0])
    if taken is None or node.output[0] in graph.maps:
        return []
    made = graph.stored(node.input[0], taken.sides)
    if (made.scale, made.zero) != (taken.scale, taken.zero):
        return [_looked_up(node, taken, made, taken.values())]
    graph.maps[node.output[0]] = taken
    return []


def _convolution(graph: QuantizedGraph, node: NodeProto) -> list[Step]:
    told = graph.attributes(node)
    weights, scale = _weights(graph, node)
    pads, strides, dilations = told["pads"], told["strides"], told["dilations"]
    if weights.ndim != 4 or told.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise refused(node, f"of weights of shape {weights.shape}")
    window = {
        "stride_y": strides[0],
        "stride_x": strides[1],
        "dilation_y": dilations[0],
        "dilation_x": dilations[1],
        "pad_top": pads[0],
        "pad_left": pads[1],
        "groups": told["group"],
    }
    return [_weighed(graph, node, graph.map(node, shaped=True), graph.made(node), weights, scale, window)]


def _linear(graph: QuantizedGraph, node: NodeProto) -> list[Step]:
    """A linear layer is a convolution whose kernel is as large as the map."""
    told = graph.attributes(node)
    if told.get("alpha", 1.0) != 1 or told.get("beta", 1.0) != 1 or told.get("transA", 0):
        raise refused(node, "with factors")
    weights, scale = _weights(graph, node)
    weights = weights if told.get("transB", 0) else weights.T
    taken = graph.map(node)
    if weights.ndim != 2 or weights.shape[1] != taken.bytes:
        raise refused(node, f"of weights of shape {weights.shape}")
    weights = weights.reshape(len(weights), *taken.sides)
    one = ("stride_y", "stride_x", "dilation_y", "dilation_x", "groups")
    window = dict.fromkeys(one, 1) | {"pad_top": 0, "pad_left": 0}
    return [_weighed(graph, node, taken, graph.made(node), weights, scale, window)]


def _weights(graph: QuantizedGraph, node: NodeProto) -> tuple[np.ndarray, np.ndarray]:
    """int8 weights of a node, and their scale, one for all or one an output."""
    if node.input[1] not in graph.integers or graph.integers[node.input[1]][0].dtype != np.int8:
        raise refused(node, "of weights that are not int8 constants")
    return graph.integers[node.input[1]]


def _weighed(
    graph: QuantizedGraph,
    node: NodeProto,
    taken: Map,
    made: Map,
    weights: np.ndarray,
    scale: np.ndarray,
    window: dict[str, int],
) -> Step:
    """weights: int8 (outputs, inputs of a group, height, width)."""
    scale = np.broadcast_to(scale.reshape(-1), len(weights))
    bias = graph.constant(node, 2)
    sums = np.zeros(len(weights)) if bias is None else np.rint(bias / (taken.scale * scale))
    check_sums(weights, sums, node.name)
    multiplier, shift = multipliers(taken.scale * scale / made.scale)
    fields = {
        **_shape(taken, made, weights.shape[2:]),
        **window,
        "in_zero": taken.zero,
        "out_zero": made.zero,
        "weights": np.ascontiguousarray(weights.transpose(0, 2, 3, 1)),
        "bias": sums.astype(np.int32),
        "multiplier": multiplier,
        "shift": shift,
    }
    return Step("convolution", (taken,), made, fields, node.name)


def _shape(taken: Map, made: Map, kernel: tuple[int, ...]) -> dict[str, Field]:
    return {
        "in_height": taken.height,
        "in_width": taken.width,
        "in_channels": taken.channels,
        "out_height": made.height,
        "out_width": made.width,
        "out_channels": made.channels,
        "kernel_height": kernel[0],
        "kernel_width": kernel[1],
    }


def _table(graph: QuantizedGraph, node: NodeProto) -> list[Step]:
    """Any function of one map, element by element."""
    taken = graph.map(node)
    made = graph.made(node, taken)
    values = UNARY[node.op_type](taken.values(), **graph.attributes(node))
    return [_looked_up(node, taken, made, values)]


def _looked_up(node: NodeProto, taken: Map, made: Map, values: np.ndarray) -> Step:
    return Step("table", (taken,), made, {"count": made.bytes, "table": made.rounded(values)}, node.name)


def _clip(graph: QuantizedGraph, node: NodeProto) -> list[Step]:
    taken = graph.map(node)
    low, high = (graph.constant(node, place) for place in (1, 2))
    values = np.clip(taken.values(), -np.inf if low is None else low, np.inf if high is None else high)
    return [_looked_up(node, taken, graph.made(node, taken), values)]


def _norm(graph: QuantizedGraph, node: NodeProto) -> list[Step]:
    """A batch norm that no convolution stands before: a factor and a term for each channel."""
    weight, bias, mean, var = (graph.constant(node, place) for place in (1, 2, 3, 4))
    factor = weight / np.sqrt(var + graph.attributes(node).get("epsilon", 1e-5))
    return [_affine(node, graph.map(node, shaped=True), graph.made(node), factor, bias - mean * factor)]


def _affine(node: NodeProto, taken: Map, made: Map, factor: np.ndarray, term: np.ndarray) -> Step:
    """factor · x + term, float64 (channels,) each, in integers that share their shift."""
    multiplier, shift = shared_multipliers(factor * taken.scale / made.scale)
    fields = {
        "pixels": taken.height * taken.width,
        "channels": taken.channels,
        "in_zero": taken.zero,
        "multiplier": multiplier,
        "term": np.rint((term / made.scale + made.zero) * 2.0**shift).astype(np.int64),
        "shift": shift,
    }
    return Step("affine", (taken,), made, fields, node.name)


def _binary(graph: QuantizedGraph, node: NodeProto) -> list[Step]:
    """Sums and products of two maps, one of them for a whole map or each channel; or of a map and a constant."""
    constants = [graph.constant(node, place) for place in (0, 1)]
    if any(value is not None for value in constants):
        return [_with_constant(graph, node, constants)]
    if node.op_type not in ("Add", "Mul"):
        raise refused(node, "of two maps")
    left, right = sorted((graph.map(node, 0), graph.map(node, 1)), key=lambda operand: -operand.bytes)
    if right.sides not in (left.sides, (left.channels, 1, 1)):
        raise refused(node, f"of maps of {left.sides} and {right.sides}")
    made = graph.made(node, left)
    fields: dict[str, Field] = {
        "count": left.bytes,
        "right_count": right.bytes,
        "left_zero": left.zero,
        "right_zero": right.zero,
        "out_zero": made.zero,
    }
    if node.op_type == "Add":
        (left_multiplier, right_multiplier), shift = shared_multipliers(
            np.array([left.scale, right.scale]) / made.scale
        )
        fields |= {"left_multiplier": int(left_multiplier), "right_multiplier": int(right_multiplier), "shift": shift}
        return [Step("sum", (left, right), made, fields, node.name)]
    multiplier, shifts = multipliers(np.array([left.scale * right.scale / made.scale]))
    fields |= {"multiplier": int(multiplier[0]), "shift": int(shifts[0])}
    return [Step("product", (left, right), made, fields, node.name)]


def _with_constant(graph: QuantizedGraph, node: NodeProto, constants: list[np.ndarray | None]) -> Step:
    place = 0 if constants[0] is None else 1
    constant, taken = constants[1 - place], graph.map(node, place)
    if constant is not None and constant.shape in ((taken.channels, 1, 1), (1, taken.channels, 1, 1)):
        return _each_channel(graph, node, constant.reshape(-1), place)
    if constant is None or constant.size != 1:
        raise refused(node, f"of a map and a constant of shape {getattr(constant, 'shape', None)}")
    operands = [taken.values(), constant.reshape(())]
    with np.errstate(divide="ignore", invalid="ignore"):
        values = BINARY[node.op_type](*(operands if place == 0 else operands[::-1]))
    if not np.isfinite(values).all():
        raise refused(node, "of a map that can be zero")
    return _looked_up(node, taken, graph.made(node, taken), values)


def _each_channel(graph: QuantizedGraph, node: NodeProto, constant: np.ndarray, place: int) -> Step:
    """A product or sum of a map and a number of its own for each channel; constant: float64 (channels,)."""
    if node.op_type not in ("Add", "Mul"):
        raise refused(node, "of a map and a number a channel")
    taken = graph.map(node, place, shaped=True)
    one, none = np.ones(len(constant)), np.zeros(len(constant))
    parts = (constant, none) if node.op_type == "Mul" else (one, constant)
    return _affine(node, taken, graph.made(node), *parts)


def _max_pool(graph: QuantizedGraph, node: NodeProto) -> list[Step]:
    told = graph.attributes(node)
    taken, made = graph.map(node, shaped=True), graph.made(node)
    if (taken.scale, taken.zero) != (made.scale, made.zero) or len(node.output) > 1:
        raise refused(node, "between two scales")
    dilations = told.get("dilations", [1, 1])
    fields = _window(taken, made, told) | {"dilation_y": dilations[0], "dilation_x": dilations[1]}
    return [Step("max_pool", (taken,), made, fields, node.name)]


def _window(taken: Map, made: Map, told: dict[str, Any]) -> dict[str, Field]:
    pads, strides = told.get("pads", [0] * 4), told.get("strides", [1, 1])
    place = {"stride_y": strides[0], "stride_x": strides[1], "pad_top": pads[0], "pad_left": pads[1]}
    shape = _shape(taken, made, tuple(told["kernel_shape"]))
    del shape["out_channels"]
    return shape | place


def _average_pool(graph: QuantizedGraph, node: NodeProto) -> list[Step]:
    """Windows of one divisor: what lies outside the map counts as zero, or no window reaches there."""
    told = graph.attributes(node)
    taken, made = graph.map(node, shaped=True), graph.made(node)
    pads, kernel, strides = told.get("pads", [0] * 4), told["kernel_shape"], told.get("strides", [1, 1])
    sides = zip((taken.height, taken.width), (made.height, made.width), strict=True)
    over = [
        (out - 1) * strides[i] + kernel[i] - pads[i] - (side + pads[i + 2]) > 0 for i, (side, out) in enumerate(sides)
    ]
    if any(over) or (any(pads) and not told.get("count_include_pad", 0)) or set(told.get("dilations", [1])) != {1}:
        raise refused(node, "whose windows count unequally many numbers")
    return [_averaged(node, taken, made, _window(taken, made, told))]


def _averaged(node: NodeProto, taken: Map, made: Map, window: dict[str, Field]) -> Step:
    count = window["kernel_height"] * window["kernel_width"]
    multiplier, shift = multipliers(np.array([taken.scale / (made.scale * count)]))
    numbers = {"in_zero": taken.zero, "out_zero": made.zero, "multiplier": int(multiplier[0]), "shift": int(shift[0])}
    return Step("average_pool", (taken,), made, window | numbers, node.name)


def _mean(graph: QuantizedGraph, node: NodeProto) -> list[Step]:
    """The mean of each channel."""
    axes = graph.constant(node, 1)
    axes = graph.attributes(node).get("axes") if axes is None else axes
    if node.op_type == "ReduceMean" and (axes is None or {int(axis) % 4 for axis in axes} != {2, 3}):
        raise refused(node, "over other axes than height and width")
    taken, made = graph.map(node, shaped=True), graph.made(node)
    whole = {"kernel_shape": [taken.height, taken.width]}
    return [_averaged(node, taken, made, _window(taken, made, whole))]


def _concat(graph: QuantizedGraph, node: NodeProto) -> list[Step]:
    """Maps beside one another, channel by channel: each is put into its place, in the numbers of the whole."""
    if graph.attributes(node)["axis"] not in (1, -3):
        raise refused(node, "along another axis than the channels")
    made, start, steps = graph.made(node), 0, []
    for place in range(len(node.input)):
        part = graph.map(node, place, shaped=True)
        fields = {
            "pixels": part.height * part.width,
            "channels": part.channels,
            "start": start,
            "out_channels": made.channels,
            "table": made.rounded(part.values()),
        }
        steps.append(Step("place", (part,), made, fields, node.name))
        start += part.channels
    return steps


STEPS: dict[str, Callable[[QuantizedGraph, Any], list[Step]]] = {
    "QuantizeLinear": _quantize,
    "Conv": _convolution,
    "Gemm": _linear,
    "MatMul": _linear,
    "BatchNormalization": _norm,
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": _mean,
    "ReduceMean": _mean,
    "Concat": _concat,
    "Clip": _clip,
    **dict.fromkeys(UNARY, _table),
    **dict.fromkeys(BINARY, _binary),
}

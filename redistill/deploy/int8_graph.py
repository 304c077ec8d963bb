"""A calibrated network (QDQ ONNX) by names: which constants it holds, and as which integers its maps are stored."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

LAYOUT = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout")  # operators that compute nothing


@dataclass(frozen=True)
class Map:
    """A tensor of one picture as uint8, stored height, width, channels; a number q stands for scale · (q - zero)."""

    name: str
    channels: int
    height: int
    width: int
    scale: float
    zero: int

    @property
    def sides(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.channels, self.height, self.width

    @property
    def bytes(self) -> int:
        return prod(self.sides)

    def values(self) -> np.ndarray:
        """What each of the 256 numbers stands for, float64 (256,)."""
        return self.scale * (np.arange(256) - self.zero)

    def rounded(self, values: np.ndarray) -> np.ndarray:
        """The numbers, uint8, that stand for values: in fp32 and half to even, since a pixel lies between two numbers,
        and which of them onnxruntime takes is decided so."""
        shares = values.astype(np.float32) / np.float32(self.scale)
        return np.clip(np.rint(shares) + self.zero, 0, 255).astype(np.uint8)


def refused(node: NodeProto, why: str = "") -> ValueError:
    """The sentence for a node that the C program has no kernel for."""
    why = f" {why}" if why else ""
    return ValueError(
        f"The C program has no kernel for {node.op_type}{why}, which the network uses ({node.name or node.output[0]})."
    )


class QuantizedGraph:
    """The graph, its constants, and its maps, which become known in the order in which nodes are gone through."""

    def __init__(self, proto: ModelProto) -> None:
        from onnx import numpy_helper, shape_inference

        self.graph = shape_inference.infer_shapes(proto).graph
        self.held = {entry.name: numpy_helper.to_array(entry) for entry in self.graph.initializer}
        self.integers: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # constants stored so: (values, scale by output)
        self.maps: dict[str, Map] = {}  # by each name that nodes know them under
        typed = [*self.graph.value_info, *self.graph.input, *self.graph.output]
        self.shapes = {entry.name: [side.dim_value for side in entry.type.tensor_type.shape.dim] for entry in typed}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in self.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def attributes(self, node: NodeProto) -> dict[str, Any]:
        """Of a node, by name."""
        from onnx import helper

        return {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}

    def constant(self, node: NodeProto, place: int) -> np.ndarray | None:
        """What stands at an input of a node, floating-point numbers as float64; None for a map and for nothing."""
        name = node.input[place] if place < len(node.input) else ""
        if name in self.integers:
            values, scale = self.integers[name]
            return values * scale.reshape([-1] + [1] * (values.ndim - 1) if scale.size > 1 else [])
        held = self.held.get(name)
        return held.astype(np.float64) if held is not None and held.dtype.kind == "f" else held

    def map(self, node: NodeProto, place: int = 0, shaped: bool = False) -> Map:
        """The map at an input of a node; `shaped`: that lies as the node sees it, not flattened."""
        found = self.maps.get(node.input[place])
        if found is None:
            raise refused(node, f"of {node.input[place]}, which stays in floating point")
        if shaped and found.sides != self.sides(node.input[place]):
            raise refused(node, "of a flattened map")
        return found

    def sides(self, name: str) -> tuple[int, int, int]:
        """Channels, height and width of a tensor; ValueError where it is not one of one picture."""
        shape = self.shapes.get(name) or []
        if len(shape) not in (2, 4) or shape[0] != 1 or not all(shape):
            raise ValueError(f"The C program holds maps of one picture; {name} has the shape {shape}.")
        return (shape[1], *shape[2:]) if len(shape) == 4 else (shape[1], 1, 1)

    def made(self, node: NodeProto, like: Map | None = None) -> Map:
        """The map that a node gives, of the sides that it has in the graph or of another map's."""
        return self.stored(node.output[0], like.sides if like else self.sides(node.output[0]))

    def stored(self, name: str, sides: tuple[int, int, int]) -> Map:
        """The map that a tensor of floating-point numbers is rounded to; ValueError where it is not."""
        for node in self.readers.get(name, []):
            if node.op_type == "QuantizeLinear":
                scale, zero = (self.held[part] for part in node.input[1:3])
                if zero.dtype != np.uint8 or scale.size != 1:
                    raise refused(node, "to other numbers than uint8 of one scale")
                made = Map(node.output[0], *sides, float(scale), int(zero))
                self.maps[node.output[0]] = made
                return made
        for node in self.readers.get(name, []):
            if node.op_type in LAYOUT and self.keeps_order(node):
                return self.stored(node.output[0], sides)
        raise ValueError(f"The C program computes in integers; {name} of the network stays in floating point.")

    def keeps_order(self, node: NodeProto) -> bool:
        """Whether a node of layout changes nothing of a map: sides of one come or go, or all becomes one row."""
        before, after = (self.shapes.get(name, []) for name in (node.input[0], node.output[0]))
        same = before == after or (before[:2] == after[:2] and prod(before[2:]) == prod(after[2:]) == 1)
        return bool(before) and (same or after == [1, prod(before)])

    def dequantize(self, node: NodeProto) -> None:
        """Take note of what a DequantizeLinear names: a map, or a constant stored in integers."""
        source, scale, *zero = node.input
        if source in self.held:
            values = self.held[source]
            if zero and np.any(self.held[zero[0]]):
                if self.held[zero[0]].size > 1:
                    raise refused(node, "of weights with zero points")
                values = values.astype(np.int32) - self.held[zero[0]].astype(np.int32)
            self.integers[node.output[0]] = (values, self.held[scale].astype(np.float64))
        elif source in self.maps:
            self.maps[node.output[0]] = self.maps[source]

    def pass_on(self, node: NodeProto) -> None:
        """Take note of what a node of layout names."""
        if node.input[0] in self.held or not self.keeps_order(node):
            raise refused(node, f"from {self.shapes.get(node.input[0])} to {self.shapes.get(node.output[0])}")
        if node.input[0] in self.maps:
            self.maps[node.output[0]] = self.maps[node.input[0]]

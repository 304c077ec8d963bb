"""The ranges that a network was trained with in int8, by the names that its maps have in an .onnx."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from ..training.rounding import Range, RoundedCalls, round_map
from .onnx_file import Exported, to_onnx

if TYPE_CHECKING:
    from onnx import ModelProto

Steps = dict[str, list[dict[str, np.ndarray]]]  # by the name of a map: its scale, and the number that 0 is


class _Marked(nn.Module):
    """A network with its maps rounded, by ranges that stay."""

    def __init__(self, model: nn.Module, ranges: Sequence[Range]) -> None:
        super().__init__()
        self.model, self.kept = model, ranges

    def forward(self, images: Tensor) -> Tensor:
        with RoundedCalls(lambda place, x: round_map(x, *self.kept[place]), weights=False) as calls:
            logits = self.model(images)
        return calls.rounded(logits)


def with_ranges(
    network: Exported, ranges: Sequence[Range], inputs: tuple[Tensor, ...], output: str
) -> tuple[ModelProto, Steps]:
    """The network as `to_onnx` writes it, in fp32, and the steps of its maps as onnxruntime's quantizer takes them.

    RED blocks stay as they were trained, since `ranges` number the maps that are computed with. The exporter writes
    where a map was rounded as a pair of operators, which are read and taken out here.
    """
    rounding = Exported(_Marked(network.model, ranges), network.pixels, network.softmax).eval()
    proto = to_onnx(rounding, inputs, output, fewer_maps=False)
    return proto, _taken_out(proto)


def _taken_out(proto: ModelProto) -> Steps:
    """Take out all pairs of QuantizeLinear and DequantizeLinear; the steps of the maps that they stood at."""
    from onnx import numpy_helper

    graph = proto.graph
    held = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    back = {node.input[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    ends = {entry.name for entry in graph.output}
    steps: Steps = {}
    called: dict[str, str] = {}
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            before, after = node.input[0], back[node.output[0]].output[0]
            kept, gone = (after, before) if after in ends else (before, after)
            called[gone] = kept
            steps[kept] = [{"scale": held[node.input[1]], "zero_point": held[node.input[2]]}]
    left = [node for node in graph.node if node.op_type not in ("QuantizeLinear", "DequantizeLinear")]
    for node in left:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = called.get(name, name)
    del graph.node[:]
    graph.node.extend(left)
    used = {name for node in left for name in node.input}
    kept_weights = [entry for entry in graph.initializer if entry.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept_weights)
    return {called.get(name, name): step for name, step in steps.items()}

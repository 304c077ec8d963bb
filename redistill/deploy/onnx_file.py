"""A network as an .onnx file: torch.export's graph in ONNX operators, with what the checkpoint says in its metadata."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..common.sentences import first_line
from ..data.augmentation import normalize
from ..networks.pooling_points import check_image_size, input_channels
from .exporter import causes, quiet
from .opened import Opened
from .red_forms import accumulated

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 20
MOST_BYTES = 2**31 - 2**20  # of weights in one file: protobuf ends at 2 GiB
TIMESTEP = 500  # a U-Net's example


class Exported(nn.Module):
    """What the file computes: a classifier between pixels and probabilities where asked for, or a U-Net's output."""

    def __init__(self, model: nn.Module, pixels: bool = False, softmax: bool = False) -> None:
        super().__init__()
        self.model, self.pixels, self.softmax = model, pixels, softmax

    def forward(self, images: Tensor, timestep: Tensor | None = None) -> Tensor:
        """images: (N, channels, height, width), float32, or uint8 with `pixels`; timestep: int64 (1,) of a U-Net."""
        if timestep is not None:
            return self.model(images, timestep, return_dict=False)[0]
        outputs = self.model(normalize(images) if self.pixels else images)
        return outputs.softmax(1) if self.softmax else outputs


def example(opened: Opened, pixels: bool = False) -> tuple[Tensor, ...]:
    """One input of the network, zeros."""
    size = (1, input_channels(opened.model), *check_image_size(opened.metadata.student.image_size))
    images = torch.zeros(size, dtype=torch.uint8 if pixels else torch.float32)
    return (images, torch.tensor([TIMESTEP])) if opened.metadata.student.task == "diffusion" else (images,)


def to_onnx(model: nn.Module, inputs: tuple[Tensor, ...], output: str, fewer_maps: bool = True) -> ModelProto:
    """The network as ONNX of opset 20, for inputs of exactly these shapes; `output` is the name of what it gives.

    Batch norms are folded into the convolutions before them, RED blocks written in fewer maps unless `fewer_maps` is
    off. Raises ValueError, in one sentence, for networks that torch.export cannot record, for operators that ONNX
    lacks, by name, and for more weights than a file holds.
    """
    weights = sum(part.nbytes for part in (*model.parameters(), *model.buffers()))
    if weights > MOST_BYTES:
        raise ValueError(f"The weights take {weights:,} bytes; one .onnx file holds at most {MOST_BYTES:,}.")
    try:
        with quiet():
            program = torch.onnx.export(
                accumulated(model.eval()) if fewer_maps else model.eval(),
                inputs,
                dynamo=True,
                opset_version=OPSET,
                input_names=["images", "timestep"][: len(inputs)],
                output_names=[output],
                verbose=False,
            )
        return without_notes(program.model_proto)
    except Exception as error:  # whatever torch, the network's own code or the exporter raise
        raise ValueError(_refusal(error)) from error


def _refusal(error: BaseException) -> str:
    """Why there is no export: the operators that ONNX lacks, or the first line of what went wrong at the root."""
    chain = causes(error)
    lacking = {
        name for each in chain for name in re.findall(r"No ONNX function found for <[^']*'([\w:.]+)'", str(each))
    }
    if lacking:
        return f"ONNX of opset {OPSET} has no operator for {', '.join(sorted(lacking))}, which the network uses."
    return f"The network cannot be exported to ONNX: {first_line(chain[-1])[:300]}."


def without_notes(proto: ModelProto) -> ModelProto:
    """The file without what exporters note in it for debugging, in place: the lines of code, with their places on this
    machine, that each operator came from, and shapes that runtimes infer themselves. A small network's file halves."""
    graph = proto.graph
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for noted in (*graph.input, *graph.output, *graph.initializer, graph, proto):
        del noted.metadata_props[:]
    del graph.value_info[:]
    return proto


def set_metadata(proto: ModelProto, values: Mapping[str, Any]) -> None:
    """Put values into the file's metadata: texts as they are, all else as JSON; a name that was there is replaced."""
    kept = {entry.key: entry.value for entry in proto.metadata_props}
    kept |= {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
    del proto.metadata_props[:]
    for key, value in kept.items():
        proto.metadata_props.add(key=key, value=value)


def write_proto(proto: ModelProto, file: Path) -> None:
    """Write the file; OSError where the disk does not take it."""
    file.write_bytes(proto.SerializeToString())

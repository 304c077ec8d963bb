"""Exports in int8: by calibration, weights and activations both, or the weights alone; judged beside fp32."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..common.files import replaced_file
from ..data.augmentation import normalize
from .exporter import quiet
from .file_facts import described, draws, figures
from .judged import Export, compared, writing
from .onnx_export import output_name, run_proto
from .onnx_file import Exported, example, set_metadata, to_onnx, without_notes, write_proto
from .opened import Opened, test_split
from .packages import check_packages

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

KINDS = ("full", "weights")
CALIBRATED_ON = 256  # training pictures
WEIGHED = ("Conv", "Gemm", "MatMul")  # operators whose second input is a weight
NO_MEMORY_SAVED = (
    "onnxruntime's CPU kernels save no activation memory in int8: they lay out inputs of convolutions in workspaces"
)


def export_int8(
    opened: Opened, file: Path, kind: str = "full", pixels: bool = False, softmax: bool = False, seed: int = 0
) -> Export:
    """Write a classifier as an .onnx in int8, whole or not at all; its accuracy on the whole test split is measured.

    kind: "full" quantizes weights, signed and a scale a channel, and activations, unsigned, whose ranges are those of
    256 training pictures that `seed` draws; "weights" the weights alone, computing in fp32. Else as `export_onnx`.
    Raises ValueError and OSError as that does, and ValueError where there are no training pictures to calibrate on.
    """
    if kind not in KINDS:
        raise ValueError(f"int8 is {kind!r}; expected one of {list(KINDS)}.")
    check_packages("onnx")
    if draws(opened, pixels, softmax) or opened.metadata.student.task == "diffusion":
        raise ValueError(f"{opened.name} is a diffusion network; int8 is for classifiers.")
    network = Exported(opened.model, pixels, softmax).eval()
    proto = to_onnx(network, example(opened, pixels), output_name(False, softmax))
    with writing(file):
        if kind == "full":
            quantized = calibrated(proto, _taken(calibration_pictures(opened, seed), pixels))
        else:
            quantized = with_int8_weights(proto)
        told = {"quantization": f"int8, {kind}" + (f", calibrated with seed {seed}" if kind == "full" else "")}
        set_metadata(quantized, described(opened, pixels, softmax) | told)
        found = compared(
            opened, network, lambda pictures: run_proto(quantized, pictures, opened.name), test_split(opened)
        )
        set_metadata(quantized, figures(found))
        with replaced_file(file) as part:
            write_proto(quantized, part)
    return Export(file=file, bytes=file.stat().st_size, **found)


def calibration_pictures(opened: Opened, seed: int) -> torch.Tensor:
    """Training pictures, uint8 (N, channels, height, width), drawn by `seed`; ValueError where there are none."""
    split = test_split(opened, "train")
    if isinstance(split, str):
        raise ValueError(f"{opened.name} cannot be calibrated: {split}; int8 of the weights alone needs no pictures.")
    chosen = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))[:CALIBRATED_ON]
    return split.images[chosen]


def _taken(pictures: torch.Tensor, pixels: bool) -> np.ndarray:
    return (pictures if pixels else normalize(pictures)).numpy()


def calibrated(proto: ModelProto, inputs: np.ndarray) -> ModelProto:
    """The network with quantized weights and activations (QDQ), ranges by `inputs`, which pass one at a time."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(inputs)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.left, None)
            return None if image is None else {"images": image[None]}

    with tempfile.TemporaryDirectory(prefix="redistill-") as folder, quiet():
        plain, ready, done = (str(Path(folder) / f"{name}.onnx") for name in ("plain", "ready", "int8"))
        write_proto(proto, Path(plain))
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            done,
            Reader(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,  # signed ones stay unfused in onnxruntime
            weight_type=QuantType.QInt8,
            per_channel=True,
        )
        return without_notes(onnx.load(done))


def with_int8_weights(proto: ModelProto) -> ModelProto:
    """The network with its weights as int8 and a scale for each output; a quarter of the file, the same memory."""
    import onnx
    from onnx import helper, numpy_helper

    result = onnx.ModelProto()
    result.CopyFrom(proto)
    graph = result.graph
    held = {entry.name: entry for entry in graph.initializer}
    users: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    added = []
    for name, entry in held.items():
        node = users.get(name, [None])[0]
        weighs = node is not None and node.op_type in WEIGHED and list(node.input).index(name) == 1
        if not weighs or len(users[name]) > 1 or entry.data_type != onnx.TensorProto.FLOAT or len(entry.dims) < 2:
            continue
        values = numpy_helper.to_array(entry)
        transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        axis = 0 if node.op_type == "Conv" or transposed else values.ndim - 1
        scale = np.abs(values).max(tuple(set(range(values.ndim)) - {axis})).astype(np.float32) / 127
        scale[scale == 0] = 1
        wide = scale.reshape([-1 if place == axis else 1 for place in range(values.ndim)])
        rounded = np.clip(np.rint(values / wide), -127, 127).astype(np.int8)
        entry.CopyFrom(numpy_helper.from_array(rounded, name))
        graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
        graph.initializer.append(numpy_helper.from_array(np.zeros(len(scale), np.int8), f"{name}_zero"))
        inputs = [name, f"{name}_scale", f"{name}_zero"]
        added.append(helper.make_node("DequantizeLinear", inputs, [f"{name}_fp32"], f"{name}_fp32", axis=axis))
        node.input[1] = f"{name}_fp32"
    nodes = [*added, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]  # types of weights that are no longer theirs
    return result

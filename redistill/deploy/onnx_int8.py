"""Exports in int8: by calibration, weights and activations both, or the weights alone; judged beside fp32."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..checkpoint.pipeline import load_scheduler
from ..common.disk import writing
from ..common.files import replaced_file
from ..data.augmentation import normalize
from ..diffusion.quality import reference_pictures
from .exporter import quiet
from .file_facts import described, draws, figures
from .judged import NO_ACCURACY, Export, compared
from .onnx_export import output_name, run_proto
from .onnx_file import Exported, example, set_metadata, to_onnx, without_notes, write_proto
from .onnx_ranges import Steps, with_ranges
from .opened import Opened, pictures_of
from .packages import check_packages

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

KINDS = ("full", "weights")
CALIBRATED_ON = 256  # training pictures
# Of a U-Net in int8; what its last convolutions round away is fourteen times the error of all others
# (docs/results/deployment.md).
DRAWING = ("Conv", "Gemm", "MatMul")
WEIGHED = ("Conv", "Gemm", "MatMul")  # operators whose second input is a weight
NO_MEMORY_SAVED = (
    "onnxruntime's CPU kernels save no activation memory in int8: they lay out inputs of convolutions in workspaces"
)


def export_int8(
    opened: Opened, file: Path, kind: str = "full", pixels: bool = False, softmax: bool = False, seed: int = 0
) -> Export:
    """Write a network as an .onnx in int8, whole or not at all; a classifier's accuracy on the whole test split is
    measured.

    kind: "full" quantizes weights, signed and a scale a channel, and activations, unsigned, whose ranges are those of
    256 training pictures that `seed` draws, of a diffusion network noised to times that it draws too; "weights" the
    weights alone, computing in fp32. Ranges that training as in int8 has learnt are taken in place of those of
    pictures. Else as `export_onnx`. Raises ValueError and OSError as that does, and ValueError where there are no
    training pictures to calibrate on.
    """
    if kind not in KINDS:
        raise ValueError(f"int8 is {kind!r}; expected one of {list(KINDS)}.")
    check_packages("onnx")
    diffusion = draws(opened, pixels, softmax)
    network = Exported(opened.model, pixels, softmax).eval()
    proto, said = in_int8(opened, kind, seed, network)
    split = NO_ACCURACY if diffusion else pictures_of(opened)
    with writing(file):
        told = {"quantization": said, "int8_memory": NO_MEMORY_SAVED}
        set_metadata(proto, described(opened, pixels, softmax) | told)
        found = compared(opened, network, lambda pictures: run_proto(proto, pictures, opened.name), split, diffusion)
        set_metadata(proto, figures(found))
        with replaced_file(file) as part:
            write_proto(proto, part)
    return Export(file=file, bytes=file.stat().st_size, **found)


def in_int8(
    opened: Opened, kind: str, seed: int = 0, network: Exported | None = None, plain: ModelProto | None = None
) -> tuple[ModelProto, str]:
    """The network in int8 as `export_int8` writes it, and what its file says of that.

    network: what the file computes; none: float32 images to logits, or a U-Net. plain: that in fp32, where it is there.
    """
    network = network or Exported(opened.model).eval()
    inputs, diffusion = example(opened, network.pixels), opened.metadata.student.task == "diffusion"
    output = output_name(diffusion, network.softmax)
    learnt = opened.metadata.ranges if kind == "full" else []
    if plain is None and not learnt:
        plain = to_onnx(network, inputs, output)
    if kind == "weights":
        return with_int8_weights(plain), "int8, weights"
    said = f"int8, full, {ranges_from(opened, seed)}"
    if diffusion:
        last = (f"up_blocks.{len(opened.model.up_blocks) - 1}.", "conv_norm_out.", "conv_out.")
        said += f", {', '.join(DRAWING)} alone, the convolutions of the last block and after it in fp32"
        return calibrated(plain, noised(opened, seed), DRAWING, last), said
    pictures = calibration_pictures(opened, seed)
    taken = (pictures if network.pixels else normalize(pictures)).numpy()
    if not learnt:
        return calibrated(plain, taken), said
    plain, steps = with_ranges(network, learnt, inputs, output)
    return calibrated(plain, taken, steps=steps), said


def ranges_from(opened: Opened, seed: int) -> str:
    """Where the ranges of a network in full int8 come from."""
    learnt = " where training in int8 has left no range" if opened.metadata.ranges else ""
    return f"calibrated on training pictures of seed {seed}{learnt}"


def calibration_pictures(opened: Opened, seed: int) -> torch.Tensor:
    """Training pictures, uint8 (N, channels, height, width), drawn by `seed`; ValueError where there are none."""
    split = pictures_of(opened, "train")
    if isinstance(split, str):
        raise ValueError(f"{opened.name} cannot be calibrated: {split}; int8 of the weights alone needs no pictures.")
    chosen = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))[:CALIBRATED_ON]
    return split.images[chosen]


def noised(opened: Opened, seed: int) -> list[dict[str, np.ndarray]]:
    """What a diffusion network meets while it learns: training pictures with noise of times over the whole schedule.

    Pictures, noise and times are drawn by `seed`; ValueError where there are no pictures.
    """
    if isinstance(split := pictures_of(opened, "train"), str):
        raise ValueError(f"{opened.name} cannot be calibrated: {split}; int8 of the weights alone needs no pictures.")
    student, schedule = opened.metadata.student, load_scheduler(opened.folder)
    dataset = opened.dataset or opened.metadata.dataset
    pictures, _ = reference_pictures(dataset, student.image_size, CALIBRATED_ON, seed, opened.metadata.split_seed)
    random = torch.Generator().manual_seed(seed)
    times = torch.randint(schedule.config.num_train_timesteps, (len(pictures),), generator=random)
    noise = torch.randn(pictures.shape, generator=random)
    images = schedule.add_noise(normalize(pictures), noise, times).numpy()
    return [{"images": image[None], "timestep": time[None]} for image, time in zip(images, times.numpy(), strict=True)]


def calibrated(
    proto: ModelProto,
    inputs: Iterable[np.ndarray | Mapping[str, np.ndarray]],
    operators: Sequence[str] = (),
    whole: Sequence[str] = (),
    steps: Steps | None = None,
) -> ModelProto:
    """The network with quantized weights and activations (QDQ), ranges by `inputs`, which pass one at a time: images
    (channels, height, width), or all that it takes by name.

    operators: kinds of those that are in int8; none: all that onnxruntime has so. whole: parts of the names of weights
    of convolutions that stay in fp32. steps: of maps that have learnt them.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(inputs)

        def get_next(self) -> Mapping[str, np.ndarray] | None:
            taken = next(self.left, None)
            return {"images": taken[None]} if isinstance(taken, np.ndarray) else taken

    with tempfile.TemporaryDirectory(prefix="redistill-") as folder, quiet():
        plain, ready, done = (str(Path(folder) / f"{name}.onnx") for name in ("plain", "ready", "int8"))
        write_proto(proto, Path(plain))
        # Maps that have learnt steps are found by their names, which optimizing may change.
        quant_pre_process(plain, ready, skip_symbolic_shape=True, skip_optimization=bool(steps))
        quantize_static(
            ready,
            done,
            Reader(),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,  # signed ones stay unfused in onnxruntime
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=list(operators) or None,
            nodes_to_exclude=[
                node.name
                for node in onnx.load(ready).graph.node
                if node.op_type == "Conv" and any(part in node.input[1] for part in whole)
            ],
            extra_options={"TensorQuantOverrides": steps} if steps else None,
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

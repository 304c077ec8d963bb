"""`redistill export NAME --to onnx`: the file is made, run in onnxruntime beside the network, and then written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..checkpoint.pipeline import load_scheduler
from ..common.disk import is_refusal, told
from ..common.files import replaced_file
from ..data.augmentation import normalize
from ..data.source import Split
from ..memory import capture_images
from ..networks.strides import check_image_size, input_channels
from .onnx_check import COMPARED, Answers, largest_difference, own_answers, run_content
from .onnx_file import TIMESTEP, Exported, example, set_metadata, to_onnx, write_proto
from .opened import Opened, test_split
from .packages import check_packages

if TYPE_CHECKING:
    from onnx import ModelProto

CLOSE = 1e-3  # largest difference that is rounding, as a share of the largest output
BATCH = 64  # pictures judged at once


@dataclass(frozen=True)
class Export:
    """A file that was written, and what the runtime that it is for made of it."""

    file: Path
    bytes: int
    network: str
    runtime: str  # name and version
    largest_difference: float  # of any output from PyTorch's, on `compared` pictures
    compared: int
    pictures: int | None  # of the test split, all of which ran; None without
    test_accuracy: float | None  # in the runtime
    torch_accuracy: float | None  # of the same pictures in PyTorch
    note: str  # why there is no accuracy; "" where there is one
    heap_bytes: int | None  # peak of the tensors of a pass, as counted in the runtime; of ExecuTorch its planned arena
    peak_bytes: int | None  # by our accounting for the runtime; None where that has no rule for the network
    latency_ms: float  # of one image, the median of 50 passes, one thread


def export_onnx(opened: Opened, file: Path, pixels: bool = False, softmax: bool = False) -> Export:
    """Write the network as `file`, an .onnx for one image at a time, whole or not at all.

    pixels: it takes uint8 RGB from 0 to 255, and normalises inside; else float32 from -1 to 1. softmax: it gives
    probabilities; else logits. Both are for classifiers. A diffusion U-Net takes images and a timestep.

    The file is first run in a process that has onnxruntime and no PyTorch: on 64 test pictures its outputs must be
    those of the network, and its accuracy is that of the whole test split. Raises ValueError, in one sentence, for
    missing packages, networks and operators that ONNX lacks, and a file that computes something else; OSError for a
    disk that does not take it.
    """
    check_packages("onnx")
    diffusion = draws(opened, pixels, softmax)
    network = Exported(opened.model, pixels, softmax).eval()
    proto = to_onnx(network, example(opened, pixels), output_name(diffusion, softmax))
    set_metadata(proto, described(opened, pixels, softmax))
    split = "a diffusion network has no accuracy" if diffusion else test_split(opened)
    with writing(file):
        found = checked(opened, network, lambda pictures: run_proto(proto, pictures, opened.name), split, diffusion)
        set_metadata(proto, figures(found))
        with replaced_file(file) as part:
            write_proto(proto, part)
    return Export(file=file, bytes=file.stat().st_size, **found)


def draws(opened: Opened, pixels: bool, softmax: bool) -> bool:
    """Whether it is a diffusion network; ValueError where it would be one with what only classifiers have."""
    diffusion = opened.metadata.student.task == "diffusion"
    if diffusion and (pixels or softmax):
        raise ValueError(f"{opened.name} is a diffusion network; normalisation and softmax inside are for classifiers.")
    return diffusion


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """Inside the block, a disk that does not take what an export writes is an OSError of one sentence."""
    try:
        yield
    except OSError as error:
        if not is_refusal(error):
            raise
        raise told(error, f"{file} cannot be written ({{reason}}); free some room, or choose another place.") from error


def output_name(diffusion: bool, softmax: bool) -> str:
    return "output" if diffusion else "probabilities" if softmax else "logits"


def described(opened: Opened, pixels: bool, softmax: bool) -> dict[str, Any]:
    """What stands in the file of the network itself."""
    metadata, student = opened.metadata, opened.metadata.student
    channels = input_channels(opened.model)
    told = {
        "network": opened.name,
        "architecture": student.student_architecture,
        "strides": student.strides,
        "image_size": list(check_image_size(student.image_size)),
        "input": "uint8 RGB from 0 to 255" if pixels else "float32, (pixel / 255 - mean) / std",
        "mean": [0.5] * channels,
        "std": [0.5] * channels,
        "dataset": metadata.dataset,
        **({"judged_on": Path(opened.dataset.partition(":")[2]).name or opened.dataset} if opened.dataset else {}),
    }
    if student.task == "classification":
        return told | {"output": "probabilities" if softmax else "logits", "class_names": list(metadata.class_names)}
    del told["mean"], told["std"]
    return told | schedule(opened)


def schedule(opened: Opened) -> dict[str, Any]:
    """What `onnx_sampler` must know of a U-Net's noise; ValueError for what it cannot do."""
    settings = load_scheduler(opened.folder)
    if settings.config.thresholding:
        raise ValueError(f"{opened.name} samples by dynamic thresholding, which the sampler of an .onnx does not do.")
    return {
        "input": "noisy images from -1 to 1, and a timestep",
        "alphas_cumprod": settings.alphas_cumprod.tolist(),
        "prediction_type": json.dumps(settings.config.prediction_type),
        "clip": float(settings.config.clip_sample_range) if settings.config.clip_sample else 0.0,
    }


def figures(found: dict[str, Any]) -> dict[str, Any]:
    """What stands in the file of how it ran."""
    names = ("test_accuracy", "pictures", "heap_bytes", "peak_bytes", "latency_ms", "largest_difference", "runtime")
    return {name: found[name] for name in names if found[name] is not None}


def checked(
    opened: Opened,
    network: Exported,
    run: Callable[[np.ndarray], Answers],
    split: Split | str,
    diffusion: bool,
    runtime: str = "onnxruntime",
) -> dict[str, Any]:
    """`compared`, with the peak by our accounting; ValueError where the runtime computes something else."""
    found = compared(opened, network, run, split, diffusion, runtime, CLOSE)
    return found | {"peak_bytes": counted_bytes(opened, runtime)}


def compared(
    opened: Opened,
    network: Exported,
    run: Callable[[np.ndarray], Answers],
    split: Split | str,
    diffusion: bool = False,
    runtime: str = "onnxruntime",
    close: float = inf,
) -> dict[str, Any]:
    """The fields of `Export` that a runtime tells, by `run`, beside the network's own answers.

    ValueError for outputs that differ by more than `close`, a share of the largest.
    """
    channels, (height, width) = input_channels(opened.model), check_image_size(opened.metadata.student.image_size)
    random = torch.Generator().manual_seed(0)
    if diffusion:
        pictures = torch.randn((COMPARED, channels, height, width), generator=random)
        ours = np.concatenate([_output(network, image) for image in pictures.split(1)])
    else:
        given = isinstance(split, Split)
        size = (COMPARED, channels, height, width)
        pictures = split.images if given else torch.randint(0, 256, size, generator=random, dtype=torch.uint8)
        first = pictures[:COMPARED]
        ours = own_answers(network, first if network.pixels else normalize(first))
    theirs = run(pictures.numpy())
    difference = largest_difference(ours, theirs.outputs[: len(ours)])
    largest = max(1.0, float(np.abs(ours).max()))
    if difference > close * largest:
        raise ValueError(
            f"{opened.name} computes something else in {runtime}: its outputs differ by up to {difference:.3g} of "
            f"{largest:.3g}; nothing was written."
        )
    right = None
    if isinstance(split, Split):
        right = float((theirs.outputs.argmax(1) == split.labels.numpy()).mean())
    return {
        "network": opened.name,
        "runtime": f"{runtime} {theirs.version}",
        "largest_difference": difference,
        "compared": len(ours),
        "pictures": len(pictures) if isinstance(split, Split) else None,
        "test_accuracy": right,
        "torch_accuracy": torch_accuracy(opened, split) if isinstance(split, Split) else None,
        "note": split if isinstance(split, str) else "",
        "heap_bytes": theirs.heap_bytes,
        "peak_bytes": None,
        "latency_ms": theirs.latency_ms,
    }


def torch_accuracy(opened: Opened, split: Split) -> float | None:
    """Top-1 of the network itself: what its checkpoint says, or on pictures of other data sets, what it does there."""
    if not opened.dataset:
        return opened.metadata.metrics.get("test_accuracy")
    right = 0
    with torch.no_grad():
        for images, labels in zip(split.images.split(BATCH), split.labels.split(BATCH), strict=True):
            right += int((opened.model(normalize(images)).argmax(1) == labels).sum())
    return right / len(split)


def counted_bytes(opened: Opened, runtime: str) -> int | None:
    """The peak by our accounting for a runtime, of ExecuTorch the arena that it plans; None where that has no rule for
    one of the operators."""
    tape = capture_images(opened.model, opened.metadata.student.image_size)
    try:
        if runtime == "ExecuTorch":
            return tape.arena().bytes
        return tape.profile(accounting="onnxruntime").peak_bytes
    except ValueError:
        return None


@torch.no_grad()
def _output(network: Exported, image: torch.Tensor) -> np.ndarray:
    return network(image, torch.tensor([TIMESTEP])).numpy()


def run_proto(proto: ModelProto, pictures: np.ndarray, name: str) -> Answers:
    """The answers of what is not written yet."""
    return run_content(proto.SerializeToString(), f"{name}.onnx", pictures, "onnxruntime")

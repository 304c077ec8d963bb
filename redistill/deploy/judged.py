"""An exported file beside the network it was made from: the same outputs, the same accuracy, and what it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data.augmentation import normalize
from ..data.source import Split
from ..memory import capture, capture_images
from ..memory.patching import count_patched
from ..networks.pooling_points import check_image_size, input_channels
from ..training.classification import accuracy
from .onnx_file import TIMESTEP, Exported, example
from .opened import Opened
from .runtimes import Answers

COMPARED = 64  # pictures whose outputs are compared
NO_ACCURACY = "a diffusion network has no accuracy"
CLOSE = 1e-3  # largest difference that is rounding, as a share of the largest output


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
    return found | {"peak_bytes": counted_bytes(opened, runtime, network=network)}


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
    judged = isinstance(split, Split)
    channels, (height, width) = input_channels(opened.model), check_image_size(opened.metadata.student.image_size)
    random = torch.Generator().manual_seed(0)
    if diffusion:
        pictures = torch.randn((COMPARED, channels, height, width), generator=random)
        ours = np.concatenate([_output(network, image) for image in pictures.split(1)])
    else:
        size = (COMPARED, channels, height, width)
        pictures = split.images if judged else torch.randint(0, 256, size, generator=random, dtype=torch.uint8)
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
    right = float((theirs.outputs.argmax(1) == split.labels.numpy()).mean()) if judged else None
    return {
        "network": opened.name,
        "runtime": f"{runtime} {theirs.version}",
        "largest_difference": difference,
        "compared": len(ours),
        "pictures": len(pictures) if judged else None,
        "test_accuracy": right,
        "torch_accuracy": torch_accuracy(opened, split) if judged else None,
        "note": "" if judged else split,
        "heap_bytes": theirs.heap_bytes,
        "peak_bytes": None,
        "latency_ms": theirs.latency_ms,
    }


def torch_accuracy(opened: Opened, split: Split) -> float | None:
    """Top-1 of the network itself: what its checkpoint says, or on pictures of other data sets, what it does there."""
    if not opened.dataset:
        return opened.metadata.metrics.get("test_accuracy")
    return accuracy(opened.model, split)


def counted_bytes(
    opened: Opened, runtime: str, patch: tuple[str, int] | None = None, network: Exported | None = None
) -> int | None:
    """The peak by our accounting for a runtime, of ExecuTorch and of C the arena; None where there is no rule for one
    of the operators. C in patches, layer and how many a side: the most that is alive. `network`: what is exported,
    which may normalise pixels first."""
    if network is not None and network.pixels:
        tape = capture(network, example(opened, pixels=True))
    else:
        tape = capture_images(opened.model, opened.metadata.student.image_size)
    try:
        if patch:
            return count_patched(tape, *patch, dtype="int8").peak_bytes
        if runtime == "C":
            return tape.profile(dtype="int8").plan().bytes
        if runtime == "ExecuTorch":
            return tape.arena().bytes
        return tape.profile(accounting="onnxruntime").peak_bytes
    except ValueError:
        return None


@torch.no_grad()
def _output(network: Exported, image: torch.Tensor) -> np.ndarray:
    return network(image, torch.tensor([TIMESTEP])).numpy()


@torch.no_grad()
def own_answers(model: nn.Module, images: Tensor) -> np.ndarray:
    """The network's own outputs, float32, for what the file takes; one image at a time, as there."""
    return np.concatenate([model(image).float().numpy() for image in images.split(1)])


def largest_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Of any output; ValueError for shapes that differ, and infinite where one of them is no number."""
    if ours.shape != theirs.shape:
        raise ValueError(f"the runtime gives outputs of shape {theirs.shape}; expected {ours.shape}.")
    found = float(np.abs(ours - theirs).max())
    return found if np.isfinite(found) else float("inf")

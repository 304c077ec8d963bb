"""What stands in an exported file of the network itself, and of how it ran."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..checkpoint.pipeline import load_scheduler
from ..networks.pooling_points import check_image_size, input_channels
from .opened import Opened


def draws(opened: Opened, pixels: bool, softmax: bool) -> bool:
    """Whether it is a diffusion network; ValueError where it would be one with what only classifiers have."""
    diffusion = opened.metadata.student.task == "diffusion"
    if diffusion and (pixels or softmax):
        raise ValueError(f"{opened.name} is a diffusion network; normalisation and softmax inside are for classifiers.")
    return diffusion


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

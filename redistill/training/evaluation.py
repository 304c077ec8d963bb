"""Measures of a trained network: accuracy, parameters and the memory of inference."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..common.devices import no_tf32
from ..common.modules import eval_mode
from ..data.augmentation import normalize
from ..data.source import Split
from ..memory import capture_images, measure_peak
from ..memory.recorder import example_inputs
from ..networks.strides import input_channels


@torch.no_grad()
def accuracy(model: nn.Module, split: Split, batch_size: int = 256) -> float:
    """Share of images in `split` whose largest logit is their label, in [0, 1]; runs where the model's weights are."""
    device = next(model.parameters()).device
    correct = 0
    with eval_mode(model), no_tf32():
        for start in range(0, len(split.labels), batch_size):
            images: Tensor = normalize(split.images[start : start + batch_size].to(device))
            labels = split.labels[start : start + batch_size].to(device)
            correct += int((model(images).argmax(1) == labels).sum())
    return correct / len(split.labels)


def count_parameters(model: nn.Module) -> int:
    """Number of parameters, RED blocks included."""
    return sum(parameter.numel() for parameter in model.parameters())


def inference_peaks(model: nn.Module, image_size: int) -> dict[str, int]:
    """Peak activation bytes of one image in the model's own dtype: as measured on its device, and as computed.

    `measured_peak_bytes` is what the allocator saw and, on the CPU, equals the computed `eager_peak_bytes`;
    `fused_peak_bytes` is what a deployment runtime would hold (see memory.py).
    """
    device = next(model.parameters()).device
    size = (1, input_channels(model), image_size, image_size)
    inputs = [
        torch.zeros_like(value, device=device) if isinstance(value, Tensor) else value
        for value in example_inputs(model, size)
    ]
    tape = capture_images(model, image_size)
    return {
        "measured_peak_bytes": measure_peak(model, tuple(inputs)),
        "eager_peak_bytes": tape.profile(accounting="eager").peak_bytes,
        "fused_peak_bytes": tape.profile(accounting="fused").peak_bytes,
    }

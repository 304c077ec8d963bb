"""Measures of a trained network: accuracy and parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .datasets import Split, normalize
from .strides import eval_mode


@torch.no_grad()
def accuracy(model: nn.Module, split: Split, batch_size: int = 256) -> float:
    """Share of images in `split` whose largest logit is their label, in [0, 1]; runs where the model's weights are."""
    device = next(model.parameters()).device
    correct = 0
    with eval_mode(model):
        for start in range(0, len(split.labels), batch_size):
            images: Tensor = normalize(split.images[start : start + batch_size].to(device))
            labels = split.labels[start : start + batch_size].to(device)
            correct += int((model(images).argmax(1) == labels).sum())
    return correct / len(split.labels)


def count_parameters(model: nn.Module) -> int:
    """Number of parameters, RED blocks included."""
    return sum(parameter.numel() for parameter in model.parameters())

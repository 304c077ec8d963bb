"""The layer that takes the image: how many channels it has."""

from __future__ import annotations

import torch
from torch import nn

RGBD = 4  # channels


def set_input_channels(model: nn.Module, channels: int) -> nn.Module:
    """Let the first convolution take images of so many channels, with fresh weights, in place; returns the model.

    One of more channels than an image of colours and depth has stands behind a rearrangement, such as one of space to
    depth, and stays for images of three.

    Raises ValueError for a network that has no convolution, or whose first one takes its channels in groups.
    """
    for path, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            stays = module.in_channels == channels or (module.in_channels > RGBD and channels == 3)
            return model if stays else _replaced(model, path, module, channels)
    if channels != 3:
        raise ValueError(f"{type(model).__name__} has no convolution whose channels could be set to {channels}.")
    return model


def _replaced(model: nn.Module, path: str, conv: nn.Conv2d, channels: int) -> nn.Module:
    if conv.groups != 1:
        raise ValueError(f"Layer {path!r} takes its channels in {conv.groups} groups; expected one.")
    told = ("out_channels", "kernel_size", "stride", "padding", "dilation", "padding_mode")
    with torch.device(conv.weight.device):
        stem = type(conv)(channels, bias=conv.bias is not None, **{name: getattr(conv, name) for name in told})
    model.set_submodule(path, stem) if path else None
    return model if path else stem

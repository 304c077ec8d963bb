"""What is known of a network before it is built: its name, what it is for, and how it is built."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

Size = tuple[int, int]  # height and width in pixels
# Takes the number of classes, of input channels, and the (height, width) of the images; None: the network's own.
Build = Callable[[int | None, int, Size | None], nn.Module]


@dataclass(frozen=True)
class NetworkInfo:
    """One network: what to call it, what it is for, and how to build it without weights."""

    name: str  # the one that settings, links and checkpoints hold
    title: str
    task: str  # "classification", "segmentation", "features" (maps, no answer) or "diffusion"
    image_size: int | Size | None  # pixels a side, or (height, width), it is usually used at; None: any
    build: Build
    num_classes: int | None = 1000  # classes it usually has; 0 where it has none, None where only building it tells
    pretrained: bool = False  # whether there are trained weights of it to download
    part: str = ""  # which part of the network of that name this is, where it is not the whole: "backbone"
    is_sized: bool = False  # whether it is built for images of one size, and takes no others

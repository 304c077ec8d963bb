"""The networks that the memory benchmarks and tests measure, and how to get one without drawing its weights."""

from __future__ import annotations

import random

import torch
import torchvision
from torch import nn

from redistill.common.modules import weightless
from redistill.memory import Tape
from redistill.networks.alignment import align, red_sites
from redistill.networks.red import REDConfig
from redistill.networks.strides import set_strides
from redistill.networks.student import add_red
from redistill.networks.unet import PAPER_UNET, UNet

CNNS = (
    "resnet18",
    "resnet50",
    "resnet152",
    "resnext50_32x4d",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "vgg16",
    "densenet121",
    "googlenet",
    "regnet_y_400mf",
    "convnext_tiny",
    "shufflenet_v2_x1_0",
    "squeezenet1_1",
)
UNET = "ddpm-cifar10-32"  # the shape of google/ddpm-cifar10-32, the U-Net of the paper
TIMM = ("mobilenetv4_conv_small", "convnextv2_atto", "res2net50_26w_4s", "ghostnet_100")
NETWORKS = (*CNNS, *TIMM, "vit_b_16", UNET)
RED_STUDENTS = ("resnet18", "resnet50", "mobilenet_v2", "efficientnet_b0", "densenet121")
STRIDES = (1, 2, 4, 8)


def build(name: str, image_size: int = 224) -> nn.Module:
    """A network of `NETWORKS` on the meta device: no weights, no time spent drawing them.

    `image_size`, in pixels a side, matters to the ViT alone, whose position embedding is made for one size.
    """
    with weightless():
        if name == UNET:
            return UNet(**PAPER_UNET)
        if name == "regnet_y_400mf" or name in TIMM:  # need numbers while they are built
            with torch.device("cpu"):
                return (_timm if name in TIMM else torchvision.models.get_model)(name).to("meta")
        settings = {"googlenet": {"init_weights": False}, "vit_b_16": {"image_size": image_size}}
        return torchvision.models.get_model(name, **settings.get(name, {}))


def _timm(name: str) -> nn.Module:
    import timm  # seconds, which most uses of this file can do without

    return timm.create_model(name)


def allocate(model: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """`model` with memory for its weights on the CPU, all zero: no figure of memory looks at their values."""
    model.to_empty(device="cpu")
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = torch.zeros(tensor.shape, dtype=dtype if tensor.is_floating_point() else tensor.dtype)
    return model.eval()


def example(name: str, image_size: int, batch: int, dtype: torch.dtype = torch.float32) -> tuple:
    """Arguments of one forward pass on the CPU: images of zeros, and the timestep of a U-Net."""
    images = torch.zeros(batch, 3, image_size, image_size, dtype=dtype)
    return (images, 10) if name == UNET else (images,)


def student(name: str, strides: dict[str, int], image_size: int, red: REDConfig | None = None) -> nn.Module:
    """The network at other strides on the meta device, with RED blocks where it aligns with itself as it was.

    Raises ValueError for strides that do not fit.
    """
    model = set_strides(build(name), strides, image_size)
    if red is None:
        return model
    return add_red(model, red_sites(align(model, build(name), image_size), red), red)


def random_strides(tape: Tape, chosen: random.Random) -> dict[str, int]:
    """A stride for every pooling point; half of them keep the network's own."""
    points = [point for point in tape.points if point.direction == "down"]
    return {point.name: chosen.choice((*STRIDES, *[point.stride] * len(STRIDES))) for point in points}

"""The networks to start from: torchvision's classifiers, a narrow ResNet, and diffusion U-Nets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from ..common.values import is_whole
from .limits import check_unet_settings
from .unet import PAPER_UNET, SMALL_UNET, UNet


class NarrowResNet(nn.Module):
    """A ResNet for small pictures: one basic block in each of four stages of 16, 32, 64 and 128 channels.

    The stem keeps the resolution (stride 1), a max-pool and three stages halve it: strides 1,2,1,2,2,2 in the
    order `conv1, maxpool, layer1..4`. Maps (batch, 3, height, width) to logits (batch, num_classes).
    """

    def __init__(self, num_classes: int, channels: tuple[int, int, int, int] = (16, 32, 64, 128)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, channels[0], kernel_size=7, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = _stage(channels[0], channels[0], stride=1)
        self.layer2 = _stage(channels[0], channels[1], stride=2)
        self.layer3 = _stage(channels[1], channels[2], stride=2)
        self.layer4 = _stage(channels[2], channels[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels[3], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


def _stage(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    shortcut = None
    if stride != 1:
        conv = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)
        shortcut = nn.Sequential(conv, nn.BatchNorm2d(out_channels))
    return nn.Sequential(BasicBlock(in_channels, out_channels, stride, shortcut))


@dataclass(frozen=True)
class NetworkInfo:
    """One architecture of the table: what to call it, what it is for, and how to build it without weights."""

    name: str
    title: str
    task: str  # "classification" or "diffusion"
    image_size: int | None  # pixels a side it is usually used at; None: any
    build: Callable[[int], nn.Module]  # takes num_classes; diffusion networks ignore it
    num_classes: int = 1000  # classes it usually has; 0 for diffusion
    pretrained: bool = False  # whether torchvision has ImageNet weights for it


def _torchvision(name: str, title: str) -> NetworkInfo:
    def build(num_classes: int) -> nn.Module:
        return torchvision.models.get_model(name, weights=None, num_classes=num_classes)

    return NetworkInfo(name, title, "classification", 224, build, pretrained=True)


def _unet(name: str, title: str, settings: dict) -> NetworkInfo:
    def build(num_classes: int) -> nn.Module:
        return UNet(**settings)

    return NetworkInfo(name, title, "diffusion", settings["sample_size"], build, num_classes=0)


NETWORKS: dict[str, NetworkInfo] = {
    entry.name: entry
    for entry in (
        NetworkInfo("narrow_resnet", "Narrow ResNet", "classification", 64, NarrowResNet, num_classes=50),
        _torchvision("resnet18", "ResNet-18"),
        _torchvision("resnet34", "ResNet-34"),
        _torchvision("resnet50", "ResNet-50"),
        _torchvision("resnet101", "ResNet-101"),
        _torchvision("resnet152", "ResNet-152"),
        _torchvision("resnext50_32x4d", "ResNeXt-50 32×4d"),
        _torchvision("mobilenet_v2", "MobileNetV2"),
        _torchvision("mobilenet_v3_small", "MobileNetV3 small"),
        _torchvision("mobilenet_v3_large", "MobileNetV3 large"),
        _torchvision("efficientnet_b0", "EfficientNet-B0"),
        _torchvision("vgg16", "VGG-16"),
        _torchvision("densenet121", "DenseNet-121"),
        _unet("unet_small", "Small DDPM U-Net", SMALL_UNET),
        _unet("unet_paper", "DDPM U-Net of the paper", PAPER_UNET),
    )
}


DDPM = "ddpm:"  # before a folder or Hub id: the network of that unconditional DDPM of diffusers

Unets = Mapping[str, Mapping[str, Any]]  # settings of `UNet`, by the "ddpm:" name of the network
NO_UNETS: Unets = MappingProxyType({})


def find_network(name: str, unets: Unets = NO_UNETS) -> NetworkInfo:
    """The table's entry, or one for "ddpm:" and a folder or Hub id, which is built from its settings in `unets`.

    ValueError, naming the entries, for a name that is neither.
    """
    if not isinstance(name, str):
        raise ValueError(f"A network is called {str(name)[:80]!r}; expected one of {list(NETWORKS)}.")
    if name.startswith(DDPM) and name != DDPM:
        return _ddpm(name, json.dumps(unets[name]) if name in unets else None)
    if name not in NETWORKS:
        raise ValueError(f"No network {name!r}; expected one of {[*NETWORKS, 'ddpm:FOLDER', 'ddpm:OWNER/NAME']}.")
    return NETWORKS[name]


@lru_cache(maxsize=64)  # one entry for equal settings, so that others can keep what they made of it
def _ddpm(name: str, text: str | None) -> NetworkInfo:
    settings = None if text is None else json.loads(text)

    def build(num_classes: int) -> nn.Module:
        if settings is None:
            raise ValueError(f"The settings of {name!r} are not known; `checkpoint.sources.with_unets` reads them.")
        try:
            if "block_out_channels" not in settings:
                raise ValueError("it has no block_out_channels")
            check_unet_settings(settings)
            return UNet(**settings)
        except Exception as error:  # a wrong type somewhere surfaces as anything
            reason = str(error) or type(error).__name__
            raise ValueError(f"The stored settings of {name!r} describe no usable U-Net: {reason}") from error

    size = (settings or {}).get("sample_size")
    size = size if isinstance(size, int) else None
    return NetworkInfo(name, f"DDPM {PurePath(name[len(DDPM) :]).name}", "diffusion", size, build, num_classes=0)


def build_network(network: str | NetworkInfo, num_classes: int | None = None, unets: Unets = NO_UNETS) -> nn.Module:
    """A network with fresh weights, by its entry or by its name, found with `unets` as by `find_network`.

    `num_classes` defaults to the table's, and must be at least 1.
    """
    if isinstance(network, str):
        network = find_network(network, unets)
    classes = network.num_classes if num_classes is None else num_classes
    if network.task == "classification" and not is_whole(classes, 1):
        raise ValueError(f"num_classes is {classes!r}; expected a whole number of at least 1.")
    return network.build(classes)


PRETRAINED = "torchvision:"  # before a network's name: that network with torchvision's ImageNet weights


def check_pretrained(name: str) -> None:
    """ValueError, with the networks there are, for one that torchvision has no ImageNet weights for."""
    if not find_network(name).pretrained:
        having = [entry.name for entry in NETWORKS.values() if entry.pretrained]
        raise ValueError(f"There are no ImageNet weights of {name!r}; expected one of {having}.")

"""The networks to start from, by name: those of the table, torchvision's, timm's, files of one's own, DDPMs."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock
from torchvision.models.swin_transformer import SwinTransformer

from ..common.values import is_whole
from .info import NetworkInfo, Size
from .limits import check_unet_settings
from .names import FILE, is_own
from .own import own_network, own_size
from .stem import set_input_channels
from .timm_zoo import HUB, hub_network, timm_names, timm_network
from .torchvision_zoo import build_classifier, torchvision_names, torchvision_network
from .unet import PAPER_UNET, SMALL_UNET, UNet

TORCHVISION, TIMM = "torchvision:", "timm:"  # before the name of a network of theirs
MAX_CHANNELS = 16  # of images
NEAR = 5  # names that come near a wrong one, in a sentence


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


def _narrow(classes: int | None, channels: int, size: Size | None) -> nn.Module:
    return NarrowResNet(classes)


def _narrow_swin(classes: int | None, channels: int, size: Size | None) -> nn.Module:
    """A Swin Transformer for small pictures: 1, 1, 2 and 1 blocks of 16, 32, 64 and 128 channels, windows of 4×4.

    Patches of 2×2 and three mergings: strides 2,2,2,2. Maps (batch, 3, height, width) to logits (batch, classes).
    """
    return SwinTransformer([2, 2], 16, [1, 1, 2, 1], [1, 2, 4, 8], window_size=[4, 4], num_classes=classes)


def _classifier(name: str, title: str) -> NetworkInfo:
    build = partial(build_classifier, name)
    return NetworkInfo(name, title, "classification", 224, build, pretrained=True)


def _unet(name: str, title: str, settings: dict) -> NetworkInfo:
    def build(classes: int | None, channels: int, size: Size | None) -> nn.Module:
        return UNet(**settings, in_channels=channels, out_channels=channels)

    return NetworkInfo(name, title, "diffusion", settings["sample_size"], build, num_classes=0)


NETWORKS: dict[str, NetworkInfo] = {
    entry.name: entry
    for entry in (
        NetworkInfo("narrow_resnet", "Narrow ResNet", "classification", 64, _narrow, num_classes=50),
        _classifier("resnet18", "ResNet-18"),
        _classifier("resnet34", "ResNet-34"),
        _classifier("resnet50", "ResNet-50"),
        _classifier("resnet101", "ResNet-101"),
        _classifier("resnet152", "ResNet-152"),
        _classifier("resnext50_32x4d", "ResNeXt-50 32×4d"),
        _classifier("mobilenet_v2", "MobileNetV2"),
        _classifier("mobilenet_v3_small", "MobileNetV3 small"),
        _classifier("mobilenet_v3_large", "MobileNetV3 large"),
        _classifier("efficientnet_b0", "EfficientNet-B0"),
        _classifier("vgg16", "VGG-16"),
        _classifier("densenet121", "DenseNet-121"),
        NetworkInfo("narrow_swin", "Narrow Swin", "classification", 64, _narrow_swin, num_classes=50),
        _unet("unet_small", "Small DDPM U-Net", SMALL_UNET),
        _unet("unet_paper", "DDPM U-Net of the paper", PAPER_UNET),
    )
}

NARROW = NETWORKS["narrow_resnet"]

DDPM = "ddpm:"  # before a folder or Hub id: the network of that unconditional DDPM of diffusers

Unets = Mapping[str, Mapping[str, Any]]  # settings of `UNet`, by the "ddpm:" name of the network
NO_UNETS: Unets = MappingProxyType({})


def find_network(name: str, unets: Unets = NO_UNETS) -> NetworkInfo:
    """The network of a name, by whichever of its names it is called; nothing is built, and no code of others is run.

    name: of the table; "torchvision:NAME"; "timm:NAME"; "hf-hub:timm/NAME", one of timm's repositories; "file:PATH.py:
        FUNCTION", a function of one's own that returns a network; "PATH.pt2", a program of torch.export; or "ddpm:" and
        a folder or Hub id, which is built from its settings in `unets`.

    ValueError, naming what there is and what comes near, for a name that is none of these.
    """
    if not isinstance(name, str):
        raise ValueError(f"A network is called {str(name)[:80]!r}; expected one of {list(NETWORKS)}.")
    if name.startswith(DDPM) and name != DDPM:
        return _ddpm(name, json.dumps(unets[name]) if name in unets else None)
    if is_own(name):
        return own_network(name)
    found = named_network(name)
    if found is None:
        raise ValueError(unknown_network(name))
    return found


# Names that stand for more than one network.
FORMS = ("torchvision:NAME", "timm:NAME", "hf-hub:timm/NAME", f"{FILE}PATH.py:FUNCTION", "PATH.pt2", "ddpm:FOLDER",
         "ddpm:OWNER/NAME")  # fmt: skip


def unknown_network(name: str, forms: Sequence[str] = FORMS) -> str:
    """The sentence on a name that is no network's: those that come near first, then what else there is."""
    near = f"near it are {', '.join(found)}; " if (found := _near(name)) else ""
    return f"No network {name[:120]!r}; {near}expected one of {', '.join(NETWORKS)}; or {', '.join(forms)}."


def named_network(name: str) -> NetworkInfo | None:
    """The network of the table, of torchvision or of timm, the Hub's included, of that name; None where none has it."""
    kind, colon, rest = name.partition(":")
    if not colon:
        return NETWORKS.get(name)
    if kind + colon == TORCHVISION:
        return NETWORKS[rest] if NETWORKS.get(rest, NARROW).pretrained else torchvision_network(rest)
    if kind + colon == TIMM:
        return timm_network(rest)
    return hub_network(rest) if kind + colon == HUB else None


def usual_size(network: NetworkInfo) -> int | Size:
    """Pixels a side, or (height, width), of the images that a network is for, as its own config says.

    Networks of one's own are opened for that. ValueError for a "ddpm:" network that draws any size.
    """
    if network.image_size is not None:
        return network.image_size
    if is_own(network.name):
        return own_size(network.name)
    raise ValueError(f"{network.title} is for images of any size; say which.")


@lru_cache(maxsize=1)
def network_names() -> tuple[str, ...]:
    """All networks that can be built without a file and without a network connection, those of the table first."""
    known = [f"{TORCHVISION}{name}" for name in torchvision_names() if name not in NETWORKS]
    return *NETWORKS, *known, *(f"{TIMM}{name}" for name in timm_names())


def _near(name: str) -> list[str]:
    """The names that one may have meant."""
    wanted, known = "".join(name.rpartition(":")[2].lower().split()), network_names()
    near = [other for other in known if other.rpartition(":")[2] == wanted]
    near += [other for other in known if wanted and wanted in other and other not in near]
    if not near:
        plain = {other.rpartition(":")[2]: other for other in reversed(known)}
        near = [plain[other] for other in difflib.get_close_matches(wanted, plain)]
    return near[:NEAR]


@lru_cache(maxsize=64)  # one entry for equal settings, so that others can keep what they made of it
def _ddpm(name: str, text: str | None) -> NetworkInfo:
    settings = None if text is None else json.loads(text)

    def build(classes: int | None, channels: int, size: Size | None) -> nn.Module:
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
    size = tuple(size) if isinstance(size, (list, tuple)) and len(size) == 2 else size if is_whole(size, 1) else None
    return NetworkInfo(name, f"DDPM {PurePath(name[len(DDPM) :]).name}", "diffusion", size, build, num_classes=0)


def build_network(
    network: str | NetworkInfo,
    num_classes: int | None = None,
    unets: Unets = NO_UNETS,
    in_channels: int = 3,
    image_size: int | Size | None = None,
) -> nn.Module:
    """A network with fresh weights, by its entry or by its name, found with `unets` as by `find_network`.

    `num_classes` defaults to the network's own, 0 of those that give features alone, and must be at least 1 where it is
    asked for; `in_channels` are those of its images, 1 to `MAX_CHANNELS`. `image_size`, pixels a side or (height,
    width), counts for networks that are built for one size.
    """
    if isinstance(network, str):
        network = find_network(network, unets)
    classes = network.num_classes if num_classes is None else num_classes
    least = 0 if num_classes is None else 1
    if network.task in ("classification", "segmentation") and classes is not None and not is_whole(classes, least):
        raise ValueError(f"num_classes is {classes!r}; expected a whole number of at least {least}.")
    if not is_whole(in_channels, 1, MAX_CHANNELS):
        raise ValueError(f"in_channels is {in_channels!r}; expected a whole number from 1 to {MAX_CHANNELS}.")
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    model = _build(network, classes, in_channels, size)
    return (
        model if network.name.startswith((TIMM, HUB)) else set_input_channels(model, in_channels)
    )  # timm's own has them


def _build(network: NetworkInfo, classes: int | None, channels: int, size: Size | None) -> nn.Module:
    try:
        return network.build(classes, channels, size)
    except (RuntimeError, NotImplementedError):
        if torch.get_default_device().type != "meta":
            raise
    # What computes with tensors while it is built, as torchvision's RegNets do, needs real ones for that.
    with torch.device("cpu"):
        return network.build(classes, channels, size).to("meta")


def is_network(name: str) -> bool:
    """Whether a name is meant for a network: one of the table, or of another kind by what it starts or ends with."""
    return name in NETWORKS or name.startswith((TORCHVISION, TIMM, HUB, DDPM)) or is_own(name)


def pretrained_name(network: str) -> str:
    """What a run calls the network of that name with trained weights that are to be downloaded."""
    return f"{TORCHVISION}{network}" if network in NETWORKS else network


def is_pretrained(name: str) -> bool:
    """Whether a teacher's name stands for a network with trained weights that are to be downloaded."""
    return name.startswith((TORCHVISION, TIMM, HUB))


def check_pretrained(name: str) -> NetworkInfo:
    """The network of that name; ValueError, with the networks there are, for one without weights to download."""
    found = find_network(name)
    if not found.pretrained:
        having = [entry.name for entry in NETWORKS.values() if entry.pretrained]
        raise ValueError(
            f"There are no ImageNet weights of {name!r}; expected one of {having}, or another classifier of "
            "torchvision or timm that has weights."
        )
    return found

"""Trained networks to teach with or to start from, by one name: of the table, a checkpoint, torchvision, a DDPM."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ..networks.pretrained import file_state, imagenet_state, load_but_head
from ..networks.zoo import DDPM, NETWORKS, PRETRAINED, build_network, check_pretrained
from .folder import load
from .metadata import read_metadata
from .pipeline import load_unet
from .sources import find_ddpm


def load_teacher(
    name_or_checkpoint: str | Path, num_classes: int | None = None, pretrained: bool | str | Path = False
) -> nn.Module:
    """A network on the CPU, fp32, in evaluation mode, with the weights it is to teach with or to be fine-tuned from.

    name_or_checkpoint: a name of `NETWORKS`; one with "torchvision:" before it, which is the same as pretrained=True;
        a checkpoint folder, also by the name of one that ships; or "ddpm:" and a folder or Hub id, see hub_pipelines.
    num_classes: of a classifier (default: the table's, or the checkpoint's).
    pretrained: True for torchvision's ImageNet weights, a path for a file of weights of that network (a state_dict, or
        safetensors, for images from -1 to 1), False for fresh weights. A head of another size stays fresh.

    All networks take images from -1 to 1, those with ImageNet weights too (see `pretrained.fold_normalization`).
    Raises ValueError for unknown names, for weights that are missing or damaged or of another network, and for a
    checkpoint with another number of classes.
    """
    name = str(name_or_checkpoint)
    if name.startswith(PRETRAINED):
        name, pretrained = name.removeprefix(PRETRAINED), True
    elif name.startswith(DDPM):
        return load_unet(find_ddpm(name.removeprefix(DDPM)))
    elif name not in NETWORKS:
        return _load_checkpoint(name, num_classes, pretrained)
    model = build_network(name, num_classes)
    if pretrained is True:
        check_pretrained(name)
        load_but_head(model, imagenet_state(name), f"torchvision's file of {name}")
    elif pretrained:
        load_but_head(model, file_state(Path(pretrained)), str(pretrained))
    return model.eval()


def _load_checkpoint(folder: str, num_classes: int | None, pretrained: bool | str | Path) -> nn.Module:
    if pretrained:
        raise ValueError(f"{folder!r} is a checkpoint with its own weights; expected pretrained False.")
    classes = read_metadata(folder).student.classes
    if num_classes not in (None, classes):
        raise ValueError(f"Checkpoint {folder!r} tells {classes} classes apart; expected {num_classes}.")
    return load(folder)

"""Trained networks to teach with or to start from, by one name: of a network, a checkpoint, a DDPM."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ..networks.names import PROGRAM
from ..networks.own import load_program
from ..networks.pretrained import load_pretrained
from ..networks.weights import file_state, load_but_head
from ..networks.zoo import DDPM, TORCHVISION, build_network, check_pretrained, find_network, is_network
from .folder import load
from .metadata import read_metadata
from .pipeline import load_unet
from .sources import find_ddpm


def load_teacher(
    name_or_checkpoint: str | Path,
    num_classes: int | None = None,
    pretrained: bool | str | Path = False,
    in_channels: int = 3,
) -> nn.Module:
    """A network on the CPU, fp32, in evaluation mode, with the weights it is to teach with or to be fine-tuned from.

    name_or_checkpoint: a name of a network, see `networks.zoo.find_network`, of which "torchvision:" and a classifier
        is the same as pretrained=True, and "PATH.pt2" has the weights in that file; a checkpoint folder, also by the
        name of one that ships or was imported; or "ddpm:" and a folder or Hub id.
    num_classes, in_channels: of a network by name (default: its own classes, or the checkpoint's).
    pretrained: True for the trained weights that torchvision or timm has of it, a path for a file of weights of that
        network (see `networks.weights.file_state`, for images from -1 to 1), False for fresh weights. A head of
        another size stays fresh.

    All networks take images from -1 to 1, those with downloaded weights too (see `pretrained.fold_normalization`).
    Raises ValueError for unknown names, for weights that are missing or damaged or of another network, and for a
    checkpoint with another number of classes.
    """
    name = str(name_or_checkpoint)
    if name.startswith(DDPM):
        return load_unet(find_ddpm(name.removeprefix(DDPM)))
    if name.endswith(PROGRAM) and not pretrained:
        return load_program(name).eval()
    if not is_network(name):
        return _load_checkpoint(name, num_classes, pretrained)
    network = find_network(name)
    if name.startswith(TORCHVISION) and network.task == "classification" and pretrained is False:
        pretrained = True
    if pretrained is True:
        check_pretrained(name)
    model = build_network(network, num_classes, in_channels=in_channels)
    if pretrained is True:
        model = load_pretrained(network, model, num_classes)
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

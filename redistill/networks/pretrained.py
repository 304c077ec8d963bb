"""Weights that others trained: torchvision's on ImageNet, timm's, and what makes them take images from -1 to 1."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ..common.modules import BATCH_NORM, eval_mode
from ..common.sentences import first_line
from .info import NetworkInfo
from .timm_zoo import load_timm
from .torchvision_zoo import TRANSFORMED, build_classifier, imagenet_weights
from .weights import DAMAGED, load_but_head, load_weights


def load_pretrained(network: NetworkInfo, model: nn.Module, num_classes: int | None) -> nn.Module:
    """The network with trained weights that are downloaded, for images from -1 to 1 (see `fold_normalization`).

    `model` is the network with fresh weights, which torchvision's are loaded into; a head for other classes than they
    know stays fresh. Raises ValueError, in one sentence, when the weights cannot be had.
    """
    kind, _, name = network.name.rpartition(":")
    if kind in ("", "torchvision"):
        load_but_head(model, imagenet_state(name), f"torchvision's file of {name}")
        return model
    model, mean, std = load_timm(network, num_classes)
    fold_normalization(model, mean, std)
    return model


def imagenet_state(name: str) -> dict[str, Tensor]:
    """torchvision's first ImageNet weights of a classifier, for images from -1 to 1 (see `fold_normalization`).

    They come from torch's hub folder ($TORCH_HOME), or are downloaded into it; nothing but tensors is unpickled.
    Raises ValueError, naming file and folder, when they are in neither place or damaged.
    """
    weights = imagenet_weights(name)
    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    try:
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except OSError as error:  # URLError is one
        raise ValueError(
            f"The ImageNet weights of {name} are not in {file.parent} and cannot be downloaded "
            f"({getattr(error, 'reason', error)}); connect to the network, or put {weights.url} there as {file.name}."
        ) from error
    except DAMAGED as error:
        raise ValueError(f"{file} holds no weights ({first_line(error)}); delete it to download it again.") from error
    # DenseNet's file is older than the names of its layers; heads that only help to train are not built.
    state = {re.sub(r"\.(norm|conv)\.(\d)\.", r".\1\2.", key): value for key, value in state.items()}
    model = build_classifier(name, None, 3, None)
    own = model.state_dict()
    state = {key: value for key, value in state.items() if key in own or not re.match(r"aux\d|AuxLogits", key)}
    load_weights(model, state, str(file))
    preset = weights.transforms()
    if name not in TRANSFORMED:
        fold_normalization(model, preset.mean, preset.std)
    return model.state_dict()


def fold_normalization(model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
    """Make a network trained on images (x - mean) / std, x from 0 to 1, take images from -1 to 1, in place.

    The change is affine, so the first convolution takes it into its weights, and into its bias or, without one, the
    running mean of the batch norm behind it. One difference stays: the zeros that this convolution pads with meant
    the mean colour before and mean middle grey now, 0.07 to 0.42 standard deviations away for ImageNet. So its
    outputs are the same wherever its window lies inside the image, and slightly others along the border.

    `mean` and `std` have a number for each channel. Raises ValueError, with the network as it was, for other counts
    and where there is no such layer.
    """
    conv, norm = _stem(model)
    channels = conv.in_channels
    if len(mean) != channels or len(std) != channels or min(std) <= 0:
        raise ValueError(
            f"mean {list(mean)} and std {list(std)} do not fit; expected {channels} numbers each, one a channel of the "
            "image, std above 0."
        )
    mean, std = torch.tensor(mean, dtype=torch.float32), torch.tensor(std, dtype=torch.float32)
    if bool((mean == 0.5).all() and (std == 0.5).all()):  # these are images from -1 to 1
        return
    if conv.bias is None and norm is None:
        raise ValueError(
            f"The first convolution of {type(model).__name__} has neither a bias nor a batch norm behind it to take "
            "the mean of the images into; expected a network trained on images from -1 to 1 (mean and std 0.5)."
        )
    with torch.no_grad():
        shift = (conv.weight * ((0.5 - mean) / std)[:, None, None]).sum(dim=(1, 2, 3))
        conv.weight *= (0.5 / std)[:, None, None]
        if conv.bias is not None:
            conv.bias += shift
        else:
            norm.running_mean -= shift


def check_stem(model: nn.Module, size: Sequence[int]) -> None:
    """ValueError where another layer than the one that `fold_normalization` changes looks at the image too, or the
    batch norm behind that one sees other maps; `size` is (batch, channels, height, width)."""
    conv, norm = _stem(model)
    image = torch.zeros(tuple(size))
    seen: list[tuple[nn.Module, bool]] = []
    maps: list[Tensor] = []

    def note(module: nn.Module, args: tuple) -> None:
        if args and isinstance(args[0], Tensor) and not list(module.children()):
            seen.append((module, args[0] is image))
            if module is norm and (conv.bias is None) and not (maps and args[0] is maps[0]):
                seen.append((module, True))

    handles = [module.register_forward_pre_hook(note) for module in model.modules()]
    handles.append(conv.register_forward_hook(lambda module, args, output: maps.append(output)))
    try:
        with torch.no_grad(), eval_mode(model):
            model(image)
    finally:
        for handle in handles:
            handle.remove()
    if [module for module, is_image in seen if is_image] != [conv] or len(maps) != 1:
        raise ValueError(
            f"{type(model).__name__} hands its image to more than its first convolution, so mean and std cannot go "
            "into that; expected a network trained on images from -1 to 1 (mean and std 0.5)."
        )


def _stem(model: nn.Module) -> tuple[nn.Conv2d, BATCH_NORM | None]:
    """The convolution that takes the image, and the batch norm behind it; ValueError where there is no such one."""
    modules = list(model.modules())
    place = next((number for number, module in enumerate(modules) if isinstance(module, nn.Conv2d)), None)
    if place is None or modules[place].groups != 1:
        raise ValueError(f"{type(model).__name__} takes its image with no convolution that mean and std could go into.")
    conv, kinds = modules[place], (nn.Conv2d, BATCH_NORM)
    behind = next((module for module in modules[place + 1 :] if isinstance(module, kinds)), None)
    is_norm = isinstance(behind, kinds[1]) and behind.num_features == conv.out_channels
    return conv, behind if is_norm and behind.running_mean is not None else None

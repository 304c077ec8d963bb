"""Weights that others trained: torchvision's on ImageNet, and files of such weights."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors.torch
import torch
import torchvision
from safetensors import SafetensorError
from torch import Tensor, nn

# What torch.load raises for a file that is cut, damaged or of another kind.
_DAMAGED = (RuntimeError, pickle.UnpicklingError, EOFError, LookupError, ValueError, TypeError, AttributeError)


def imagenet_state(name: str) -> dict[str, Tensor]:
    """torchvision's first ImageNet weights of a classifier, for images from -1 to 1 (see `fold_normalization`).

    They come from torch's hub folder ($TORCH_HOME), or are downloaded into it; nothing but tensors is unpickled.
    Raises ValueError, naming file and folder, when they are in neither place or damaged.
    """
    weights = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    try:
        state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except OSError as error:  # URLError is one
        raise ValueError(
            f"The ImageNet weights of {name} are not in {file.parent} and cannot be downloaded "
            f"({getattr(error, 'reason', error)}); connect to the network, or put {weights.url} there as {file.name}."
        ) from error
    except _DAMAGED as error:
        raise ValueError(f"{file} holds no weights ({_first_line(error)}); delete it to download it again.") from error
    # DenseNet's file is older than the names of its layers.
    state = {re.sub(r"\.(norm|conv)\.(\d)\.", r".\1\2.", key): value for key, value in state.items()}
    model = torchvision.models.get_model(name, weights=None)
    _load(model, state, file)
    preset = weights.transforms()
    fold_normalization(model, preset.mean, preset.std)
    return model.state_dict()


def file_state(file: Path) -> dict[str, Tensor]:
    """The weights in a `.safetensors` file, or in one of `torch.save(model.state_dict(), file)`.

    Raises ValueError for a file that is missing or holds anything else; only tensors are unpickled.
    """
    try:
        if file.suffix == ".safetensors":
            return safetensors.torch.load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, *_DAMAGED) as error:
        raise ValueError(f"{file} holds no weights that can be read ({_first_line(error)}).") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{file} holds {type(state).__name__}; expected the tensors of a state_dict by name.")
    return dict(state)


def load_but_head(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load weights in place; a head for another number of classes stays as it was drawn.

    Raises ValueError when anything but the last linear layer does not fit.
    """
    head = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)][-1]
    own = model.state_dict()
    keys = (f"{head}.weight", f"{head}.bias")
    kept = {key: own[key] for key in keys if key in state and own[key].shape != state[key].shape}
    _load(model, {**state, **kept}, source)


def fold_normalization(model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
    """Make a network trained on images (x - mean) / std, x from 0 to 1, take images from -1 to 1, in place.

    The change is affine, so the first convolution takes it into its weights, and into its bias or, without one, the
    running mean of the batch norm behind it. One difference stays: the zeros that this convolution pads with meant
    the mean colour before and mean middle grey now, 0.07 to 0.42 standard deviations away for ImageNet. So its
    outputs are the same wherever its window lies inside the image, and slightly others along the border.
    """
    modules = list(model.modules())
    place = next(number for number, module in enumerate(modules) if isinstance(module, nn.Conv2d))
    conv = modules[place]
    mean, std = torch.tensor(mean), torch.tensor(std)
    with torch.no_grad():
        shift = (conv.weight * ((0.5 - mean) / std)[:, None, None]).sum(dim=(1, 2, 3))
        conv.weight *= (0.5 / std)[:, None, None]
        if conv.bias is not None:
            conv.bias += shift
        else:
            norm = next(module for module in modules[place:] if isinstance(module, nn.BatchNorm2d))
            norm.running_mean -= shift


def _load(model: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> None:
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f"{source} does not hold the weights of this network ({'; '.join(str(error).split(chr(10))[1:3]).strip()})."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")

"""The last layer of a classifier, which has a row of weights for each class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..common.modules import eval_mode


def last_layer(model: nn.Module) -> str | None:
    """Path of the last linear layer or convolution, which is a classifier's head; None where there is neither."""
    paths = [path for path, module in model.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    return paths[-1] if paths else None


@torch.no_grad()
def reorder_outputs(model: nn.Module, places: Sequence[int], image_size: int) -> None:
    """Let output i of a classifier be what was output places[i], in place: the rows of its last layer change places.

    `places` holds every number below its classes once. Raises ValueError, with the network as it was, for one whose
    outputs do not come from one linear layer or convolution.
    """
    places = list(places)
    if places == sorted(places):
        return
    heads = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d)) and len(m.weight) == len(places)]
    if not heads:
        raise ValueError(_refusal(model))
    example = torch.rand(2, 3, image_size, image_size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    example = example.to(heads[-1].weight.device)
    rows = [tensor for tensor in (heads[-1].weight, heads[-1].bias) if tensor is not None]
    before = _outputs(model, example)
    _permute(rows, places)
    if not torch.allclose(_outputs(model, example), before[:, places], rtol=1e-4, atol=1e-5):
        _permute(rows, sorted(range(len(places)), key=places.__getitem__))
        raise ValueError(_refusal(model))


def _permute(tensors: Sequence[Tensor], places: Sequence[int]) -> None:
    for tensor in tensors:
        tensor.copy_(tensor[places].clone())


def _outputs(model: nn.Module, example: Tensor) -> Tensor:
    with eval_mode(model):
        return model(example)


def _refusal(model: nn.Module) -> str:
    return (
        f"The classes of {type(model).__name__} stand in another order than the pictures', and its outputs come from "
        "no single last layer that could be reordered; train it on pictures in this order."
    )

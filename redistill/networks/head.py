"""What a classifier answers, a number for each class, and its last layer, which has a row of weights for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..common.modules import eval_mode
from ..common.sentences import first_line
from .pooling_points import check_image_size

if TYPE_CHECKING:
    from .student import StudentConfig


def last_layer(model: nn.Module) -> str | None:
    """Path of the last linear layer or convolution, which is a classifier's head; None where there is neither."""
    paths = [path for path, module in model.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    return paths[-1] if paths else None


@torch.no_grad()
def check_answers(model: nn.Module, network: StudentConfig) -> None:
    """ValueError where a network cannot run on an image of its size, or gives other answers than its classes."""
    image = torch.zeros(1, network.in_channels, *check_image_size(network.image_size))
    size = "×".join(map(str, image.shape[1:]))
    try:
        with eval_mode(model):
            answers = model(image.to(next(model.parameters()).device))
    except Exception as error:  # of somebody's own network it may be anything
        raise ValueError(
            f"{network.student_architecture} cannot run on an image of {size} ({first_line(error)}); give the size "
            "that it was trained on."
        ) from error
    check_logits(answers, 1, network)


def check_logits(answers: object, count: int, network: StudentConfig) -> None:
    """ValueError unless a network's answers to so many images are logits (count, classes)."""
    shape = tuple(answers.shape) if isinstance(answers, Tensor) else type(answers).__name__
    classes = network.classes or (shape[1] if len(shape) == 2 else "classes")  # None: only the network itself tells
    if shape != (count, classes):
        images = f"{count} image{'s' * (count > 1)} of {'×'.join(map(str, check_image_size(network.image_size)))}"
        raise ValueError(
            f"{network.student_architecture} answers {images} with {shape}; expected ({count}, {classes}), a number "
            "for each class."
        )


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

"""What a classifier answers, a number for each class, and its last layer, which has a row of weights for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..common.devices import no_tf32
from ..common.modules import BATCH_NORM, eval_mode
from ..common.sentences import first_line, listed
from .pooling_points import check_image_size

if TYPE_CHECKING:
    from .student import StudentConfig

ONE_VALUE = "more than 1 value per channel"  # what batch norm says where it has a single one to go by
NAMED = 3  # layers in a sentence
TOLERANCE = 1e-3  # of the largest answer
SUM_TOLERANCE = 1e-4  # of probabilities, whose sum is 1


def last_layer(model: nn.Module) -> str | None:
    """Path of the last linear layer or convolution, which is a classifier's head; None where there is neither."""
    paths = [path for path, module in model.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))]
    return paths[-1] if paths else None


@torch.no_grad()
def check_answers(model: nn.Module, network: StudentConfig) -> None:
    """ValueError for a network that is no classifier to train, or to bring in, on images of its size.

    That is one that cannot run on them, gives other answers than a logit for each class, or in evaluation mode answers
    a picture by what lies beside it in the batch, or otherwise each time.
    """
    pair = random_images(2, (network.in_channels, *check_image_size(network.image_size)))
    pair = pair.to(next(model.parameters()).device)
    with eval_mode(model), no_tf32():
        alone, beside = (_answers(model, pair[:count], network) for count in (1, 2))
        name = network.student_architecture
        if not (alone.isfinite().all() and beside.isfinite().all()):
            check_numbers(_is_unmeasured(model), name)
            return
        check_unscaled(beside, name)
        if _differ(alone, beside[:1]):
            again = _answers(model, pair[:1], network)
            raise ValueError(_says_drawn(name) if _differ(alone, again) else _says_by_batch(model, name))


def random_images(count: int, size: Sequence[int]) -> Tensor:
    """The same images of noise each time, from -1 to 1: float32 (count, *size) on the CPU."""
    return torch.rand(count, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def _answers(model: nn.Module, images: Tensor, network: StudentConfig) -> Tensor:
    try:
        answers = model(images)
    except Exception as error:  # of somebody's own network it may be anything
        name, images_of = network.student_architecture, _images_of(len(images), network)
        if ONE_VALUE in str(error):  # in evaluation mode: it goes by the batch there too
            raise ValueError(_says_by_batch(model, name)) from error
        raise ValueError(
            f"{name} cannot run on {images_of} ({first_line(error)}); give the size that it was trained on."
        ) from error
    check_logits(answers, len(images), network)
    return answers.float()


def _differ(answers: Tensor, others: Tensor) -> bool:
    """Whether they differ by more than the order of sums in batches of other sizes explains."""
    return bool((answers - others).abs().max() > TOLERANCE * torch.maximum(answers.abs(), others.abs()).max())


def _is_unmeasured(model: nn.Module) -> bool:
    """Whether a batch norm has its first statistics still: a deep network may overflow until these are measured."""
    norms = [m for m in model.modules() if isinstance(m, BATCH_NORM) and m.running_var is not None]
    return any(bool((norm.running_mean == 0).all() and (norm.running_var == 1).all()) for norm in norms)


def _says_drawn(name: str) -> str:
    return (
        f"{name} answers the same picture differently each time, also in evaluation mode; use nn.Dropout, or give "
        "F.dropout training=self.training."
    )


def _says_by_batch(model: nn.Module, name: str) -> str:
    paths = [repr(p) for p, m in model.named_modules() if isinstance(m, BATCH_NORM) and m.running_mean is None]
    if paths:
        why = f"batch norm ({listed(paths, NAMED)}) keeps no running statistics; build it with track_running_stats=True"
    else:
        why = "something in it goes by the whole batch; give F.batch_norm running statistics and training=self.training"
    return f"{name} answers a picture by what lies beside it in the batch, also in evaluation mode: {why}."


def check_numbers(are_numbers: Tensor | bool, name: str) -> None:
    """ValueError for a network, named so, not all of whose answers are finite numbers."""
    if not are_numbers:
        raise ValueError(
            f"{name} answers with what is no number (NaN or infinite); its weights are of no use, expected others."
        )


def check_unscaled(answers: Tensor, name: str) -> None:
    """ValueError for answers (count, classes) of a classifier, named so, that are probabilities.

    Their logarithms may stay: softmax makes of them what it makes of logits.
    """
    if answers.ndim != 2 or answers.shape[1] < 2:
        return
    if bool((answers >= 0).all()) and bool(((answers.sum(1) - 1).abs() <= SUM_TOLERANCE).all()):
        raise ValueError(f"{name} answers with probabilities; leave its softmax out, since training takes logits.")


def check_logits(answers: object, count: int, network: StudentConfig) -> None:
    """ValueError unless a network's answers to so many images are logits (count, classes)."""
    shape = tuple(answers.shape) if isinstance(answers, Tensor) else type(answers).__name__
    classes = network.classes or (shape[1] if len(shape) == 2 else "classes")  # None: only the network itself tells
    if shape != (count, classes):
        raise ValueError(
            f"{network.student_architecture} answers {_images_of(count, network)} with {shape}; expected ({count}, "
            f"{classes}), a number for each class."
        )


def _images_of(count: int, network: StudentConfig) -> str:
    size = "×".join(map(str, check_image_size(network.image_size)))
    return f"{count} image{'s' * (count > 1)} of {size}"


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
    example = random_images(2, (3, image_size, image_size)).to(heads[-1].weight.device)
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

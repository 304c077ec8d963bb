"""Feature maps on their way through a network, captured for one forward pass and let go of after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..common.modules import eval_mode, meta_copy
from .pooling_points import check_image_size, declares_points, traced
from .red import REDLayer, tokens_to_map
from .trails import Size

# Layer path and side, "in" or "out"; of a map of tokens its height and width, by which it becomes one of an image.
Feature = tuple[str, str] | tuple[str, str, tuple[int, int]]
Wanted = tuple[Feature, Callable[[Tensor], Any]]  # a feature map, and what of it is to be kept


class _Captured(Exception):
    """All wanted features are there; the rest of the network need not run."""


def forward_with_features(
    model: nn.Module, inputs: Sequence[Any], wanted: Sequence[Wanted], stop_after_last: bool = False
) -> tuple[Any, list[Any]]:
    """Run `model(*inputs)` and return its output, and for each wanted feature what its function made of the map.

    The aligned input of a layer inside RED blocks is what its `red_in` returns, its aligned output what follows its
    `red_out`. The function is applied the moment a map exists, before a later in-place operation can change it, so
    only what it returns is kept. With `stop_after_last` the pass ends at the last feature and the output is None.
    Raises ValueError for a layer that does not exist or was not reached.
    """
    kept: dict[int, Any] = {}

    def keep(place: int, value: Tensor) -> None:
        if place in kept:  # the layer runs more than once
            return
        kept[place] = wanted[place][1](value)
        if stop_after_last and len(kept) == len(wanted):
            raise _Captured

    handles = [_hook(model, feature, place, keep) for place, (feature, _) in enumerate(wanted)]
    try:
        output = model(*inputs)
    except _Captured:
        output = None
    finally:
        for handle in handles:
            handle.remove()
    missing = [feature for place, (feature, _) in enumerate(wanted) if place not in kept]
    if missing:
        raise ValueError(f"The forward pass never reached {missing[0][0]!r}; features can be taken of layers that run.")
    return output, [kept[place] for place in range(len(wanted))]


@dataclass(frozen=True)
class FeatureInfo:
    """A feature map as one forward pass shows it."""

    channels: int
    overwritten: bool  # a later in-place operation changes it, so it has to be copied to be kept


@torch.no_grad()
def inspect_features(model: nn.Module, inputs: Sequence[Any], features: Sequence[Feature]) -> list[FeatureInfo]:
    """What the feature maps are, one entry each, by one pass in evaluation mode; the model is left as it was."""

    def note(value: Tensor) -> tuple[Tensor, int]:
        return value, value._version  # counts the in-place changes of its memory

    with eval_mode(model):
        _, noted = forward_with_features(model, inputs, [(feature, note) for feature in features])
    return [FeatureInfo(value.shape[1], value._version != version) for value, version in noted]


def last_features(model: nn.Module) -> Feature:
    """The last feature map before the output: of the last part of a classifier that convolves, or a U-Net's bottom."""
    if hasattr(model, "mid_block"):
        return "mid_block", "out"
    convolving = [
        name
        for name, child in model.named_children()
        if any(isinstance(module, nn.Conv2d) for module in child.modules())
    ]
    if not convolving:
        raise ValueError(f"{type(model).__name__} has no convolution; expected a CNN or a U-Net.")
    return convolving[-1], "out"


def _hook(model: nn.Module, feature: Feature, place: int, keep: Callable[[int, Tensor], None]):
    path, side, *size = feature

    def give(value: Tensor) -> None:
        keep(place, tokens_to_map(value, *size) if size else value)

    try:
        layer = model.get_submodule(path)
    except AttributeError:
        raise ValueError(f"No layer {path!r} in {type(model).__name__}; expected a path such as 'layer2.0'.") from None
    if side == "in" and isinstance(layer, REDLayer) and layer.red_in is not None:
        layer, side = layer.red_in, "out"
    if side == "in":
        return layer.register_forward_pre_hook(lambda module, args: give(args[0]))
    return layer.register_forward_hook(lambda module, args, output: give(output))


def last_map(model: nn.Module, image_size: int | Size) -> Feature:
    """The last feature map before the output, as `last_features` finds it, or the last tokens of a transformer.

    Raises ValueError for tokens that lie on no map alone, as beside a class token.
    """
    feature = last_features(model)
    if declares_points(model):
        return feature
    given = traced(meta_copy(model), check_image_size(image_size)).given
    children = [name for name in given if name and "." not in name]
    later = children[children.index(feature[0]) + 1 :] if feature[0] in children else children
    rest = [name for name in later if given[name][0] != "NCHW"]
    layout, size = given.get(rest[-1] if rest else feature[0], ("NCHW", None))
    if layout is None:
        raise ValueError(
            f"The last tokens of {type(model).__name__}, those of {rest[-1]!r}, lie on no map of {size[0]}×{size[1]}; "
            "expected a feature loss of aligned layers, or none."
        )
    return feature if layout == "NCHW" else (rest[-1] if rest else feature[0], "out", size)

"""Feature maps on their way through a network, captured for one forward pass and let go of after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from .red import REDLayer

Feature = tuple[str, str]  # layer path and side, "in" or "out"


class _Captured(Exception):
    """All wanted features are there; the rest of the network need not run."""


def forward_with_features(
    model: nn.Module,
    inputs: Sequence[Any],
    features: Sequence[Feature],
    transform: Callable[[Tensor], Tensor],
    stop_after_last: bool = False,
) -> tuple[Any, dict[Feature, Tensor]]:
    """Run `model(*inputs)` and return its output with `transform` of each named feature map.

    The aligned input of a layer inside RED blocks is what its `red_in` returns, its aligned output what follows its
    `red_out`. `transform` is applied the moment a map exists, before a later in-place operation can change it, so
    only what it returns is kept. With `stop_after_last` the pass ends at the last feature and the output is None.
    Raises ValueError for a layer that does not exist or was not reached.
    """
    captured: dict[Feature, Tensor] = {}

    def keep(feature: Feature, value: Tensor) -> None:
        captured[feature] = transform(value)
        if stop_after_last and len(captured) == len(set(features)):
            raise _Captured

    handles = [_hook(model, feature, keep) for feature in features]
    try:
        output = model(*inputs)
    except _Captured:
        output = None
    finally:
        for handle in handles:
            handle.remove()
    missing = [feature for feature in features if feature not in captured]
    if missing:
        raise ValueError(f"The forward pass never reached {missing[0][0]!r}; features can be taken of layers that run.")
    return output, captured


def _hook(model: nn.Module, feature: Feature, keep: Callable[[Feature, Tensor], None]):
    path, side = feature
    try:
        layer = model.get_submodule(path)
    except AttributeError:
        raise ValueError(f"No layer {path!r} in {type(model).__name__}; expected a path such as 'layer2.0'.") from None
    if side == "in" and isinstance(layer, REDLayer) and layer.red_in is not None:
        layer, side = layer.red_in, "out"
    if side == "in":
        return layer.register_forward_pre_hook(lambda module, args: keep(feature, args[0]))
    return layer.register_forward_hook(lambda module, args, output: keep(feature, output))

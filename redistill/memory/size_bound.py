"""Layers whose arguments may have been computed from sizes: no other size or stride can be evaluated on their tape."""

from __future__ import annotations

from torch import nn

from ..networks.strides import POOL_OPS, POOLS
from .recording import Node, Recording

POOL_MODULES = (*POOLS, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
ADAPTIVE_POOLS = ("_adaptive_avg_pool2d", "adaptive_max_pool2d")


def size_bound_layer(recording: Recording) -> str | None:
    """Path of a layer that may have made its operators' arguments from its stride or from a map's size, or None.

    The recording shows such arguments as plain numbers. Suspected are convolutions and pools that pad themselves,
    and pools called as functions whose window is the whole map or which adapt to anything but one pixel.
    """
    modules = dict(recording.model.named_modules())
    for path, module in modules.items():
        if pads_itself(module):
            return recording.paths[path]
    pools = {shown for path, shown in recording.paths.items() if isinstance(modules[path], POOL_MODULES)}
    for node in recording.nodes:
        if node.layer not in pools and _pools_by_size(node, recording):
            return node.layer
    return None


def pads_itself(module: nn.Module) -> bool:
    """Whether a convolution or window pool replaces torch's forward, as those with TensorFlow's "same" padding do."""
    kinds = [kind for kind in (nn.Conv2d, *POOLS) if isinstance(module, kind)]
    return bool(kinds) and type(module).forward is not kinds[0].forward


def _pools_by_size(node: Node, recording: Recording) -> bool:
    if node.op in ADAPTIVE_POOLS:
        return any(side != 1 for side in node.args[1])
    before = recording.shapes[node.ins[0]][-2:] if node.op in POOL_OPS else ()
    return node.op in POOL_OPS and tuple(node.args[1]) == before != (1, 1)

"""Which aten operators work element by element."""

from __future__ import annotations

import torch

# Activations that torch does not mark as pointwise.
UNTAGGED_POINTWISE = {
    "hardtanh",
    "hardswish",
    "relu6",
    "leaky_relu",
    "elu",
    "softplus",
    "mish",
    "_prelu_kernel",
    "threshold",
}


def is_pointwise(func: torch._ops.OpOverload) -> bool:
    """Whether each output element depends on the same element of the inputs alone."""
    return torch.Tag.pointwise in func.tags or func.overloadpacket.__name__.rstrip("_") in UNTAGGED_POINTWISE

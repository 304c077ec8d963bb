"""The pooling points of a network and their strides, under the name that callers know."""

from .networks.strides import (
    PoolingPoint,
    UnitPool,
    check_image_size,
    check_strides,
    find_pooling_points,
    input_channels,
    set_strides,
)

__all__ = [
    "PoolingPoint",
    "UnitPool",
    "check_image_size",
    "check_strides",
    "find_pooling_points",
    "input_channels",
    "set_strides",
]

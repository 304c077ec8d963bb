"""The pooling points of a network and their strides, under the name that callers know."""

from .networks.pooling_points import PoolingPoint, check_image_size, find_pooling_points, input_channels
from .networks.strides import check_strides, set_strides
from .networks.windows import UnitPool

__all__ = [
    "PoolingPoint",
    "UnitPool",
    "check_image_size",
    "check_strides",
    "find_pooling_points",
    "input_channels",
    "set_strides",
]

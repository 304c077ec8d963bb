"""Strides to start from: those of a network as it is built, and early ones that need less memory."""

from __future__ import annotations

from ..networks.pooling_points import MAIN, PoolingPoint
from ..networks.trails import Size
from ..networks.zoo import NO_UNETS, Unets
from .comparison import network_tape, points_of

LARGE_STEM = 7  # a kernel so wide can take the first pool's stride too
LARGEST_EARLY = 8  # pixels: a stem's stride beyond it leaves little to tell apart


def own_strides(name: str, unets: Unets = NO_UNETS, image_size: int | Size | None = None) -> dict[str, int]:
    """The strides that can be chosen of a network as it is built, by pooling point; empty where there are none."""
    return {point.name: point.stride for point in _down_points(name, unets, image_size)}


def early_strides(name: str, unets: Unets = NO_UNETS, image_size: int | Size | None = None) -> dict[str, int]:
    """A student to start from: the stem takes the last stride, and with a wide kernel the first pool's too."""
    down = _down_points(name, unets, image_size)
    strides = {point.name: point.stride for point in down}
    pooled = [point.name for point in down[1:] if point.stride > 1 and point.role == MAIN]
    moved = pooled[-1:] + (pooled[:1] if down and down[0].kernel >= LARGE_STEM and len(pooled) > 1 else [])
    for pool in moved:
        if strides[down[0].name] * strides[pool] > LARGEST_EARLY:
            continue
        strides[down[0].name] *= strides[pool]
        strides[pool] = 1
    return strides


def _down_points(name: str, unets: Unets, image_size: int | Size | None) -> list[PoolingPoint]:
    points = points_of(network_tape(name, unets=unets, image_size=image_size))[0]
    return [point for point in points if point.is_offered]

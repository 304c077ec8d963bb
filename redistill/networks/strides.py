"""A network's strides: other ones for its pooling points, and what they make of the image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from math import ceil

from torch import nn

from ..common.modules import is_of_library, meta_copy, unwrapped
from ..common.values import is_whole, shown
from .fitting import Fitter, fit
from .pooling_points import (
    MAIN,
    PoolingPoint,
    Stride,
    check_image_size,
    check_shaped,
    declares_points,
    find_pooling_points,
    one_or_pair,
    pair_of,
    points_of,
    traced,
)
from .restride import set_stride
from .trails import Size


def read_strides(strides: Mapping[str, object]) -> dict[str, object]:
    """Strides as they were chosen or stored: pairs, which JSON makes lists, as pairs, equal ones as one number."""
    read = {}
    for name, stride in strides.items():
        is_pair = isinstance(stride, (tuple, list)) and len(stride) == 2
        read[name] = one_or_pair(stride) if is_pair else stride
    return read


def set_strides(model: nn.Module, strides: Mapping[str, Stride], image_size: int | Size) -> nn.Module:
    """Give pooling points other strides, in place, and return the model; points not named keep theirs.

    A stride is one number, or a pair for down and across. All strided modules of a point change together, parallel
    shortcuts included; kernels stay, and so does padding but that of convolutions that cut a map into patches, which
    keep dividing its size. An even-kernel pool at stride 1 becomes a `UnitPool`, a layer that gathers its windows
    itself, such as patch merging, a `Restrided`. Position embeddings are resized to the map they are added to.

    Raises ValueError, with the model unchanged, for a name that is no pooling point, one whose stride cannot be set, a
    stride that is no whole number of at least 1, a total reduction that the image does not have, and strides at
    which the network does not run.
    """
    restride(model, strides, image_size)
    return model


def restride(
    model: nn.Module, strides: Mapping[str, Stride], image_size: int | Size
) -> tuple[list[PoolingPoint], list[PoolingPoint]]:
    """`set_strides`, which returns the pooling points before and after."""
    size, model = check_image_size(image_size), unwrapped(model)
    if declares_points(model):
        points = find_pooling_points(model, image_size)
        check_strides(strides, points, image_size)
        model.set_pooling_strides([strides.get(p.name, p.stride) for p in points if p.direction == "down"], image_size)
        return points, find_pooling_points(model, image_size)
    check_shaped(model)
    trial = meta_copy(model)
    looked = Fitter(trial)
    points = points_of(trial, traced(trial, size, looked))
    check_strides(strides, points, image_size)
    changed = {
        p.name: pair_of(strides[p.name]) for p in points if pair_of(strides.get(p.name, p.stride)) != pair_of(p.stride)
    }
    if not changed:
        return points, points
    apply_strides(trial, points, changed)
    fitter = Fitter(trial, looked.embeddings)
    after = points_of(trial, traced(trial, size, fitter))
    _check_followed(trial, points, after, changed)
    apply_strides(model, points, changed)
    fit(model, fitter)
    own = {point.name: point for point in points}  # where a map leads to is the network's, whatever its strides
    return points, [
        replace(point, role=own[point.name].role, path=own[point.name].path) if point.name in own else point
        for point in after
    ]


def _check_followed(
    model: nn.Module, before: Sequence[PoolingPoint], after: Sequence[PoolingPoint], changed: Mapping[str, Stride]
) -> None:
    """Raise ValueError for a layer whose own code makes a map of the same size at whatever stride it is set to."""
    now = {point.name: point for point in after}
    for point in before:
        if point.name not in changed or all(is_of_library(model.get_submodule(path)) for path in point.modules):
            continue
        found, strides = now.get(point.name, point), (pair_of(point.stride), pair_of(changed[point.name]))
        old, new = ([ceil(side / step) for side, step in zip(point.in_size, stride, strict=True)] for stride in strides)
        if old != new and (found.in_size, found.out_size) == (point.in_size, point.out_size):
            raise ValueError(
                f"{point.name} makes maps of {'×'.join(map(str, point.out_size))} at stride {point.stride} and at "
                f"{one_or_pair(strides[1])}: its class does not go by its stride. Let its forward use self.stride."
            )


def apply_strides(model: nn.Module, points: Sequence[PoolingPoint], strides: Mapping[str, Stride]) -> None:
    """Give `points` of a model these strides, in place, those not named their own; in microseconds.

    Nothing is checked, nothing traced and no position embedding resized: `points` are those of `find_pooling_points`,
    and that the strides fit was found out before. For training that changes strides at every step. Not for networks
    that declare their points. All points are marked, so that they stay points whatever becomes of their strides.
    """
    model = unwrapped(model)
    for point in points:
        if point.is_settable:
            stride = pair_of(strides.get(point.name, point.stride))
            set_stride(model, point.modules, stride, pair_of(point.stride), point.layouts)


def check_strides(strides: Mapping[str, Stride], points: Sequence[PoolingPoint], image_size: int | Size) -> None:
    """Raise ValueError, naming value and choices, unless `strides` fits these points and this image."""
    size = check_image_size(image_size)
    known = {point.name: point for point in points if point.direction == "down"}  # a decoder mirrors its encoder
    for name, stride in strides.items():
        point = known.get(name)
        if point is None:
            names = [other.name for other in known.values() if other.is_settable]
            raise ValueError(f"No pooling point {name!r}; expected one of {names}.")
        is_pair = isinstance(stride, (tuple, list)) and len(stride) == 2
        if not (all(is_whole(step, 1) for step in stride) if is_pair else is_whole(stride, 1)):
            raise ValueError(
                f"Stride of {name!r} is {shown(stride)}; expected a whole number such as 1, 2, 4 or 8, or two of them, "
                "down and across."
            )
        if point.reason and pair_of(stride) != pair_of(point.stride):
            raise ValueError(f"The stride of {name!r} cannot be set to {stride!r}: {point.reason}.")
    main = [point for point in known.values() if point.role == MAIN]
    ratios = [ratio for pair in _reduction_ratios(main, points, strides) for ratio in pair]
    if any(over > min(size) * under for over, under in ratios):
        chosen = ", ".join(f"{point.name} {shown(strides.get(point.name, point.stride))}" for point in main)
        times = shown(round(max(Fraction(*ratio) for ratio in ratios)))
        raise ValueError(
            f"The strides ({chosen}) reduce the image {times} times, but it has {min(size)} pixels a side; choose "
            "smaller strides or a larger image."
        )


def restrided_reductions(points: Sequence[PoolingPoint], strides: Mapping[str, Stride]) -> list[Stride]:
    """Reduction of the image after each point, as `PoolingPoint.reduction` tells it, at other strides."""
    return [
        one_or_pair(
            [max(1, over // under if over % under == 0 else round(Fraction(over, under))) for over, under in pair]
        )
        for pair in _reduction_ratios(points, points, strides)
    ]


def ways_of(points: Sequence[PoolingPoint]) -> list[list[str]]:
    """The ways through a network that end among some of its points: of each one that no other's way goes on from, the
    points up to it, by name."""
    ways = {point.name: list(point.path or _points_before(point, points)) for point in points}
    return [way for name, way in ways.items() if not any(name in way for other, way in ways.items() if other != name)]


def _reduction_ratios(
    asked: Sequence[PoolingPoint], points: Sequence[PoolingPoint], strides: Mapping[str, Stride]
) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Reductions of the image after the points asked for, down and across, each as (numerator, denominator).

    In whole numbers, and of what has changed alone, since a tape is asked at every click and every step of a search.
    """
    changed = {
        point.name: (pair_of(strides[point.name]), pair_of(point.stride))
        for point in points
        if point.name in strides and strides[point.name] != point.stride
    }
    ratios = []
    for point in asked:
        (over_down, over_across), under_down, under_across = pair_of(point.reduction), 1, 1
        for name in point.path or _points_before(point, points):
            if name in changed:
                (down, across), (own_down, own_across) = changed[name]
                over_down, under_down = over_down * down, under_down * own_down
                over_across, under_across = over_across * across, under_across * own_across
        ratios.append(((over_down, under_down), (over_across, under_across)))
    return ratios


def _points_before(point: PoolingPoint, points: Sequence[PoolingPoint]) -> list[str]:
    """The way to a point of a network that declares its points, which lie one behind the other."""
    names = [other.name for other in points if other.direction == "down"]
    return names[: names.index(point.name) + 1]

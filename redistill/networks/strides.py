"""Where a network changes resolution, and how to change it: pooling points and their strides.

Nothing here knows an architecture by name. A forward pass on the meta device (no weights, no real compute) shows
which convolutions, window pools and patch-merging layers make a map smaller, and which function calls do; those that
take part in the same step (a block's main path and its shortcut) form one pooling point, named by the smallest module
that holds them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product

import torch
from torch import nn

from ..common.modules import meta_copy
from ..common.values import is_whole, shown
from .features import Feature, last_features
from .fitting import Fitter, fit
from .paths import POOL_OPS, POOLS, STRIDE_PLACES
from .red import REDLayer
from .restride import set_stride
from .trace import example_inputs, trace_route
from .trails import Route, Size, Step
from .windows import Restrided, UnitPool

__all__ = [
    "POOLS",
    "POOL_OPS",
    "STRIDE_PLACES",
    "PoolingPoint",
    "Size",
    "Stride",
    "UnitPool",
    "apply_strides",
    "check_image_size",
    "check_strides",
    "find_pooling_points",
    "input_channels",
    "set_strides",
]
Stride = int | tuple[int, int]  # one number where it is the same down and across
MOST_IMAGE_CHANNELS = 16  # a convolution of more does not see the image itself
MAIN, BRANCH, SIDE = "main", "branch", "side"  # roles of a point, see PoolingPoint


@dataclass(frozen=True)
class PoolingPoint:
    """One resolution-changing layer; sizes are (height, width) in pixels."""

    name: str  # layer path, e.g. "layer2.0"
    stride: Stride
    reduction: Stride  # product of the strides on the way to it, its own included
    in_size: Size
    out_size: Size
    modules: tuple[str, ...]  # paths of the strided modules that make the step
    in_channels: int
    out_channels: int
    direction: str = "down"  # "down", or "up" in a decoder
    sides: tuple[str, ...] = ("in", "out")  # sides that may be aligned with a teacher
    kernel: int = 1  # pixels: side of the widest window; strides beyond it pass over pixels
    reason: str = ""  # why its stride cannot be set; empty where it can
    role: str = MAIN
    # ^ "main": on the way to all that the network returns; "branch": to a part of it, as in a detector's extra layers;
    #   "side": on a way that ends inside, as keys and values of an attention do, which make no map smaller
    path: tuple[str, ...] = ()  # points on the way to it, itself included, each as often as it is passed
    layouts: tuple[str, str] = ("NCHW", "NCHW")
    # ^ how its maps lie in memory, in and out: also "NHWC", or "NLC", a row of tokens

    @property
    def is_settable(self) -> bool:
        """Whether its stride can be set; a decoder's follow its encoder's."""
        return self.direction == "down" and not self.reason

    @property
    def is_offered(self) -> bool:
        """Whether search and page choose its stride: one number that can be set, on a way to what is returned."""
        return self.is_settable and self.role != SIDE and isinstance(self.stride, int)


def find_pooling_points(model: nn.Module, image_size: int | Size) -> list[PoolingPoint]:
    """The layers of a network that change resolution, in the order in which they run.

    The first convolution (the stem) counts even at stride 1, and so does every point that `set_strides` has set
    to 1. Adaptive and global pools never count. What changes resolution by a function call is among them, with the
    `reason` why its stride cannot be set. `image_size` is the side of a square image or (height, width), in pixels.
    The model is left as it was.

    Raises ValueError when the image is too small for the strides.
    """
    size = check_image_size(image_size)
    if declares_points(model):
        return declared_points(model, size)
    return points_of(model, _traced(meta_copy(model), size))


def points_of(model: nn.Module, route: Route) -> list[PoolingPoint]:
    """The pooling points of a network that declares none, from the route that maps took through it."""
    modules = dict(model.named_modules())
    groups = _group_steps(modules, route)
    names = [_group_name(group, modules, route, groups) for group in groups]
    name_of = {step.name: name for group, name in zip(groups, names, strict=True) for step in group}
    return [
        _point(model, group, name, name_of, route, not i)
        for i, (group, name) in enumerate(zip(groups, names, strict=True))
    ]


def _point(
    model: nn.Module, group: Sequence[Step], name: str, name_of: Mapping[str, str], route: Route, is_first: bool
) -> PoolingPoint:
    first = group[0]
    own = [step for step in group if not step.is_call]
    paths = tuple(dict.fromkeys(step.name for step in own))
    shapes, sizes, layouts = (first.in_shape, first.out_shape), (first.in_size, first.out_size), first.layouts
    whole = route.maps.get(name) if len(paths) > 1 else None
    if whole:  # of the block around parallel layers
        shapes, sizes, layouts = whole, tuple(tuple(shape[2:]) for shape in whole), ("NCHW", "NCHW")
    channels = [shape[1] if layout == "NCHW" else shape[-1] for shape, layout in zip(shapes, layouts, strict=True)]
    furthest = max(group, key=lambda step: step.reduction[0] * step.reduction[1])
    return PoolingPoint(
        name=name,
        stride=one_or_pair(tuple(max(step.stride[axis] for step in group) for axis in range(2))),
        reduction=one_or_pair(tuple(max(1, round(times)) for times in furthest.reduction)),
        in_size=sizes[0],
        out_size=sizes[1],
        modules=paths,
        in_channels=channels[0],
        out_channels=channels[1],
        sides=("out",) if is_first else ("in", "out"),
        kernel=_widest_window(model, paths, first.stride),
        reason=_reason(group, name, own),
        role=_role(group, route),
        path=tuple(name_of[step] for step in furthest.path if step in name_of),
        layouts=layouts,
    )


def _reason(group: Sequence[Step], name: str, own: Sequence[Step]) -> str:
    calls = [step for step in group if step.is_call]
    if calls and own:
        return f"{calls[0].name} changes the size beside it, and {calls[0].reason}"
    return next((step.reason for step in group if step.reason), "")


def _role(group: Sequence[Step], route: Route) -> str:
    names = {step.name for step in group}
    reached = [not names.isdisjoint(trail.passed) for trail in route.reached]
    if all(reached):
        return MAIN
    return BRANCH if any(reached) else SIDE


def one_or_pair(stride: Sequence[int]) -> Stride:
    """A stride of two numbers, down and across; one number where they are equal."""
    return stride[0] if stride[0] == stride[1] else tuple(stride)


def pair_of(stride: Stride) -> tuple[int, int]:
    """A stride as two numbers, down and across."""
    return (stride, stride) if isinstance(stride, int) else tuple(stride)


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
    size = check_image_size(image_size)
    if declares_points(model):
        points = find_pooling_points(model, image_size)
        check_strides(strides, points, image_size)
        model.set_pooling_strides([strides.get(p.name, p.stride) for p in points if p.direction == "down"], image_size)
        return points, find_pooling_points(model, image_size)
    trial = meta_copy(model)
    looked = Fitter(trial)
    points = points_of(trial, _traced(trial, size, looked))
    check_strides(strides, points, image_size)
    changed = {
        p.name: pair_of(strides[p.name]) for p in points if pair_of(strides.get(p.name, p.stride)) != pair_of(p.stride)
    }
    if not changed:
        return points, points
    apply_strides(trial, points, changed)
    fitter = Fitter(trial, looked.embeddings)
    after = points_of(trial, _traced(trial, size, fitter))
    apply_strides(model, points, changed)
    fit(model, fitter)
    return points, after


def apply_strides(model: nn.Module, points: Sequence[PoolingPoint], strides: Mapping[str, Stride]) -> None:
    """Give `points` of a model these strides, in place, those not named their own; in microseconds.

    Nothing is checked, nothing traced and no position embedding resized: `points` are those of `find_pooling_points`,
    and that the strides fit was found out before. For training that changes strides at every step. Not for networks
    that declare their points. All points are marked, so that they stay points whatever becomes of their strides.
    """
    for point in points:
        if point.is_settable:
            stride = pair_of(strides.get(point.name, point.stride))
            set_stride(model, point.modules, stride, pair_of(point.stride), point.layouts)


def last_map(model: nn.Module, image_size: int | Size) -> Feature:
    """The last feature map before the output, as `last_features` finds it, or the last tokens of a transformer.

    Raises ValueError for tokens that lie on no map alone, as beside a class token.
    """
    feature = last_features(model)
    if declares_points(model):
        return feature
    given = _traced(meta_copy(model), check_image_size(image_size)).given
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


def check_image_size(image_size: int | Size) -> Size:
    """(height, width) in pixels from a side or a pair; ValueError unless whole numbers of at least 1."""
    pair = tuple(image_size) if isinstance(image_size, (tuple, list)) else (image_size, image_size)
    if len(pair) != 2 or not all(is_whole(side, 1) for side in pair):
        raise ValueError(f"Image size is {image_size!r}; expected a whole number of pixels, or (height, width).")
    return pair


def input_channels(model: nn.Module) -> int:
    """Channels of the images a model takes: those of its first convolution, 3 where that tells nothing of images."""
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    return first.in_channels if first is not None and first.in_channels <= MOST_IMAGE_CHANNELS else 3


def _traced(model: nn.Module, size: Size, fitter: Fitter | None = None) -> Route:
    """The route through a model without weights; ValueError where it does not run."""
    model = model.eval()
    first: Exception | None = None
    # A first convolution of other channels may stand behind a rearrangement of an image of three, and a network may
    # make tensors, such as positions, that it leaves on the default device.
    for channels, device in product(dict.fromkeys((input_channels(model), 3)), (None, "meta")):
        try:
            with torch.device(device) if device else nullcontext():
                return trace_route(model, example_inputs(model, (1, channels, *size)), fitter)
        except Exception as error:  # whatever code of others meets at a size that it was not made for
            first = first or error
    said = str(first).splitlines()[0] if str(first) else type(first).__name__
    raise ValueError(
        f"{type(model).__name__} cannot run on {size[0]}×{size[1]} images with these strides: "
        f"{said} Choose other strides or another image size."
    ) from first


def _group_steps(modules: Mapping[str, nn.Module], route: Route) -> list[list[Step]]:
    """Steps that belong together, in order: calls of one module, and steps that see the same sizes."""
    groups: dict[object, list[Step]] = {}
    group_of: dict[str, list[Step]] = {}
    reached = frozenset().union(*(trail.passed for trail in route.reached))
    for step in route.steps:
        if step.name in group_of:  # runs once more
            group_of[step.name].append(step)
            continue
        mark = getattr(modules.get(step.name), "pooling_point", None)
        key = mark or (step.in_size, step.out_size, step.name in reached)
        group = groups.setdefault(key, [])
        group.append(step)
        group_of[step.name] = group
    return list(groups.values())


def _group_name(
    group: Sequence[Step], modules: Mapping[str, nn.Module], route: Route, groups: Sequence[Sequence[Step]]
) -> str:
    """The smallest module that holds all of a group and nothing of the others; failing that, its first step.

    A container that is never called, such as a ModuleList, holds no step. A layer inside its RED blocks goes by the
    path of the `REDLayer`, which is the path it had before them.
    """
    paths = [step.name for step in group if not step.is_call] or [group[0].name]
    others = [step.name for other in groups if other is not group for step in other]
    parts = [path.split(".") for path in paths]
    common = 0
    while all(len(part) > common for part in parts) and len({part[common] for part in parts}) == 1:
        common += 1
    name = ".".join(parts[0][:common])
    if not name or not route.maps.get(name) or any(other.startswith(name + ".") for other in others):
        name = paths[0]
    parent, _, leaf = name.rpartition(".")
    return parent if leaf == "layer" and isinstance(modules.get(parent), REDLayer) else name


def _widest_window(model: nn.Module, paths: Sequence[str], stride: tuple[int, int] = (1, 1)) -> int:
    if not paths:
        return max(stride)
    windows = []
    for path in paths:
        module = model.get_submodule(path)
        window = (
            module.window
            if isinstance(module, Restrided)
            else getattr(getattr(module, "pool", module), "kernel_size", stride)
        )
        windows.append(max(window) if isinstance(window, (tuple, list)) else window)
    return max(windows)


def declares_points(model: nn.Module) -> bool:
    """Whether a network names its pooling points itself, as `redistill.unet.UNet` does."""
    return hasattr(model, "pooling_modules")


def declared_points(model: nn.Module, size: Size) -> list[PoolingPoint]:
    """Points of a network that names them itself, for images of `size`; its own ValueError for sizes it refuses."""
    model.check_image_size(size)
    unsized = [
        PoolingPoint(
            name=row.name,
            stride=row.stride,
            reduction=1,
            in_size=size,
            out_size=size,
            modules=row.modules,
            in_channels=row.in_channels,
            out_channels=row.out_channels,
            direction=row.direction,
            sides=row.sides,
            kernel=_widest_window(model, row.modules),
        )
        for row in model.pooling_modules()
    ]
    return restride_points(unsized, {}, size)


def restride_points(points: Sequence[PoolingPoint], strides: Mapping[str, int], size: Size) -> list[PoolingPoint]:
    """Points of an encoder and its mirrored decoder with other strides (of "down" points), for images of `size`.

    Such a network takes only images that its strides divide, so every size follows from the one before it.
    """
    down = [strides.get(point.name, point.stride) for point in points if point.direction == "down"]
    chosen = iter([*down, *reversed(down[1:]), down[0]])  # the tail has the head's stride
    result = []
    reduction = 1
    for point, stride in zip(points, chosen, strict=True):
        before = reduction
        reduction = before * stride if point.direction == "down" else before // stride
        sizes = [tuple(side // times for side in size) for times in (before, reduction)]
        result.append(replace(point, stride=stride, reduction=reduction, in_size=sizes[0], out_size=sizes[1]))
    return result

"""Where a network changes resolution: its pooling points.

Nothing here knows an architecture by name. A forward pass on the meta device (no weights, no real compute) shows
which convolutions, window pools and patch-merging layers make a map smaller, and which function calls do; those that
take part in the same step (a block's main path and its shortcut) form one pooling point, named by the smallest module
that holds them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import chain, product

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from ..common.modules import meta_copy, unwrapped
from ..common.sentences import first_line
from ..common.values import is_whole
from .fitting import Fitter
from .red import REDLayer
from .trace import OTHER_INPUTS, SEVERAL, example_inputs, trace_route
from .trails import Route, Size, Step
from .windows import Restrided

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

    Raises ValueError when the image is too small for the strides, and for lazy layers that have no shape yet.
    """
    size, model = check_image_size(image_size), unwrapped(model)
    if declares_points(model):
        return declared_points(model, size)
    check_shaped(model)
    return points_of(model, traced(meta_copy(model), size))


def check_shaped(model: nn.Module) -> None:
    """ValueError, naming the layer, where weights have no shape yet: those of lazy layers before a first pass."""
    for path, module in model.named_modules():
        if any(map(is_lazy, chain(module.parameters(recurse=False), module.buffers(recurse=False)))):
            raise ValueError(
                f"Layer {path!r} ({type(module).__name__}) has no shape before the network has run; run it once on an "
                "image, such as model(torch.zeros(1, 3, 224, 224))."
            )


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
    """Whether a network names its pooling points itself, as `redistill.networks.unet.UNet` does."""
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


def one_or_pair(stride: Sequence[int]) -> Stride:
    """A stride of two numbers, down and across; one number where they are equal."""
    return stride[0] if stride[0] == stride[1] else tuple(stride)


def pair_of(stride: Stride) -> tuple[int, int]:
    """A stride as two numbers, down and across."""
    return (stride, stride) if isinstance(stride, int) else tuple(stride)


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


def traced(model: nn.Module, size: Size, fitter: Fitter | None = None) -> Route:
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
    if isinstance(first, TypeError) and OTHER_INPUTS.search(str(first)):
        raise ValueError(
            f"{type(model).__name__} cannot be called with an image alone: {first_line(first)}; expected a network of "
            f"one input, or {SEVERAL}."
        ) from first
    raise ValueError(
        f"{type(model).__name__} cannot run on {size[0]}×{size[1]} images with these strides: "
        f"{first_line(first)}. Choose other strides or another image size."
    ) from first

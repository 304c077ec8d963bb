"""Where a network changes resolution, and how to change it: pooling points and their strides.

Nothing here knows an architecture by name. A forward pass on the meta device (no weights, no real compute) shows
which convolutions and window pools are strided; those that take part in the same step (a block's main path and
its shortcut) form one pooling point, named by the smallest module that holds them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import nn

from ..common.values import is_whole
from .red import REDLayer
from .trace import ModuleMaps, trace_shapes

Size = tuple[int, int]
# Kinds of pooling points beside convolutions: modules, and the operators that they call, whose second argument is the
# window, with the place of the stride among the arguments. The rule of an operator's shapes is in memory/shape_rules.
POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d)
POOL_OPS = {"max_pool2d_with_indices": 2, "avg_pool2d": 2}
STRIDE_PLACES = {"convolution": 3, **POOL_OPS}
CHANGES_SIZE = {*STRIDE_PLACES, "slice", "pixel_unshuffle"}


@dataclass(frozen=True)
class PoolingPoint:
    """One resolution-changing layer; sizes are (height, width) in pixels."""

    name: str  # layer path, e.g. "layer2.0"
    stride: int
    reduction: int  # product of the strides up to and including this point
    in_size: Size
    out_size: Size
    modules: tuple[str, ...]  # paths of the strided modules that make the step
    in_channels: int
    out_channels: int
    direction: str = "down"  # "down", or "up" in a decoder
    sides: tuple[str, ...] = ("in", "out")  # sides that may be aligned with a teacher
    kernel: int = 1  # pixels: side of the widest window; strides beyond it pass over pixels


class UnitPool(nn.Identity):
    """What an even-kernel window pool becomes at stride 1: nothing, with the pool remembered.

    An even window cannot be centred, so at stride 1 it would shrink the map by one pixel. Giving the point
    another stride brings the pool back.
    """

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool


def find_pooling_points(model: nn.Module, image_size: int | Size) -> list[PoolingPoint]:
    """The layers of a CNN or U-Net that change resolution, in the order in which they run.

    The first convolution (the stem) counts even at stride 1, and so does every point that `set_strides` has set
    to 1. Adaptive and global pools never count. `image_size` is the side of a square image or (height, width),
    in pixels. The model is left as it was.

    Raises ValueError when the image is too small for the strides, and when the network pools with a function
    call instead of a module (named), since such a pool has no stride to change.
    """
    size = check_image_size(image_size)
    if declares_points(model):
        return declared_points(model, size)
    return points_of(model, _traced(model, size))


def points_of(model: nn.Module, shapes: ModuleMaps) -> list[PoolingPoint]:
    """The pooling points of a network that declares none, from its maps in the order in which modules start."""
    modules = dict(model.named_modules())
    groups = _group_strided(modules, shapes)
    points = []
    reduction = 1
    for paths in groups:
        name = _point_name(paths, modules, shapes, [path for other in groups if other is not paths for path in other])
        stride = max(_stride(path, modules[path]) for path in paths)
        reduction *= stride
        (_, in_channels, *in_size), (_, out_channels, *out_size) = shapes[name]
        points.append(
            PoolingPoint(
                name=name,
                stride=stride,
                reduction=reduction,
                in_size=tuple(in_size),
                out_size=tuple(out_size),
                modules=tuple(paths),
                in_channels=in_channels,
                out_channels=out_channels,
                sides=("in", "out") if points else ("out",),
                kernel=_widest_window(model, paths),
            )
        )
    return points


def set_strides(model: nn.Module, strides: Mapping[str, int], image_size: int | Size) -> nn.Module:
    """Give pooling points other strides, in place, and return the model; points not named keep theirs.

    All strided modules of a point change together, parallel shortcuts included; kernels and padding stay. An
    even-kernel pool at stride 1 becomes a `UnitPool`. Raises ValueError, with the model unchanged, for a name that
    is no pooling point, a stride that is no whole number of at least 1, and a total reduction that the image
    does not have.
    """
    restride(model, strides, image_size)
    return model


def restride(
    model: nn.Module, strides: Mapping[str, int], image_size: int | Size
) -> tuple[list[PoolingPoint], list[PoolingPoint]]:
    """`set_strides`, which returns the pooling points before and after."""
    points = find_pooling_points(model, image_size)
    check_strides(strides, points, image_size)
    if declares_points(model):
        model.set_pooling_strides([strides.get(p.name, p.stride) for p in points if p.direction == "down"], image_size)
        return points, find_pooling_points(model, image_size)
    if all(strides.get(point.name, point.stride) == point.stride for point in points):
        return points, points
    apply_strides(model, points, strides)
    try:
        return points, find_pooling_points(model, image_size)
    except ValueError:
        apply_strides(model, points, {})
        raise


def apply_strides(model: nn.Module, points: Sequence[PoolingPoint], strides: Mapping[str, int]) -> None:
    """Give `points` of a model these strides, in place, those not named their own; in microseconds.

    Nothing is checked and nothing traced: `points` are those of `find_pooling_points`, and that the strides fit was
    found out before. For training that changes strides at every step. Not for networks that declare their points.
    """
    for point in points:
        _apply_stride(model, point.modules, strides.get(point.name, point.stride))


def check_strides(strides: Mapping[str, int], points: Sequence[PoolingPoint], image_size: int | Size) -> None:
    """Raise ValueError, naming value and choices, unless `strides` fits these points and this image."""
    size = check_image_size(image_size)
    names = [point.name for point in points if point.direction == "down"]  # a decoder mirrors its encoder
    for name, stride in strides.items():
        if name not in names:
            raise ValueError(f"No pooling point {name!r}; expected one of {names}.")
        if not is_whole(stride, 1):
            raise ValueError(f"Stride of {name!r} is {stride!r}; expected a whole number such as 1, 2, 4 or 8.")
    total = 1
    for point in points:
        total *= strides.get(point.name, point.stride) if point.direction == "down" else 1
    if total > min(size):
        chosen = ", ".join(f"{p.name} {strides.get(p.name, p.stride)}" for p in points if p.direction == "down")
        raise ValueError(
            f"The strides ({chosen}) reduce the image {total} times, but it has {min(size)} pixels a side; "
            "choose smaller strides or a larger image."
        )


def check_image_size(image_size: int | Size) -> Size:
    """(height, width) in pixels from a side or a pair; ValueError unless whole numbers of at least 1."""
    pair = tuple(image_size) if isinstance(image_size, (tuple, list)) else (image_size, image_size)
    if len(pair) != 2 or not all(is_whole(side, 1) for side in pair):
        raise ValueError(f"Image size is {image_size!r}; expected a whole number of pixels, or (height, width).")
    return pair


def input_channels(model: nn.Module) -> int:
    """Channels of the images a model takes: those of its first convolution."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels
    raise ValueError(f"{type(model).__name__} has no convolution; expected a CNN or a U-Net.")


def _traced(model: nn.Module, size: Size) -> ModuleMaps:
    try:
        return trace_shapes(model, (1, input_channels(model), *size), refuse_functional_pool)
    except (RuntimeError, IndexError) as error:
        raise ValueError(
            f"{type(model).__name__} cannot run on {size[0]}×{size[1]} images with these strides: "
            f"{str(error).splitlines()[0]} Choose smaller strides or a larger image."
        ) from error


def refuse_functional_pool(path: str, module: nn.Module | None, op: str, args: tuple, dims: int | None = None) -> None:
    """ValueError, naming the module, where it changes resolution by an operator that no module's stride controls.

    `args` are the aten operator's by position; `dims` those of its first tensor, where that is left out of them.
    """
    if op not in CHANGES_SIZE or isinstance(module, (nn.Conv2d, *POOLS)):
        return
    if _reduces(op, args, args[0].dim() if dims is None else dims):
        raise ValueError(
            f"{path or 'The network'!r} ({type(module).__name__}) changes resolution with a function call ({op}), not "
            "with a module, so its stride cannot be changed; use a network whose strided convolutions and pools are "
            "modules."
        )


def _reduces(op: str, args: tuple, dims: int) -> bool:
    if op == "pixel_unshuffle":
        return True
    if op == "slice":
        return dims == 4 and args[1] >= 2 and len(args) > 4 and args[4] > 1
    if op == "convolution" and (args[6] or dims != 4):
        return False
    place = STRIDE_PLACES[op]
    return any(step > 1 for step in (args[place] if len(args) > place and args[place] else args[1]))


def _group_strided(modules: Mapping[str, nn.Module], shapes: ModuleMaps) -> list[list[str]]:
    """Paths of strided modules, one list a step, in order. Modules that make the same step see the same sizes."""
    groups: dict[object, list[str]] = {}
    stem = next((name for name in shapes if isinstance(modules[name], nn.Conv2d)), None)
    for name, (in_shape, out_shape) in shapes.items():
        module = modules[name]
        if not isinstance(module, (nn.Conv2d, UnitPool, *POOLS)):
            continue
        mark = getattr(module, "pooling_point", None)
        if mark is None and name != stem and _stride(name, module) == 1:
            continue
        key = mark or (in_shape[2:], out_shape[2:])
        groups.setdefault(key, []).append(name)
    return list(groups.values())


def _point_name(
    paths: Sequence[str],
    modules: Mapping[str, nn.Module],
    shapes: ModuleMaps,
    others: Sequence[str],
) -> str:
    """The smallest module that holds all of `paths` and none of the other points; failing that, the first path.

    A container that is never called, such as a ModuleList, holds no step. A layer inside its RED blocks goes by the
    path of the `REDLayer`, which is the path it had before them.
    """
    parts = [path.split(".") for path in paths]
    common = 0
    while all(len(part) > common for part in parts) and len({part[common] for part in parts}) == 1:
        common += 1
    name = ".".join(parts[0][:common])
    if not name or name not in shapes or any(other.startswith(name + ".") for other in others):
        name = paths[0]
    parent, _, leaf = name.rpartition(".")
    return parent if leaf == "layer" and isinstance(modules.get(parent), REDLayer) else name


def _stride(name: str, module: nn.Module) -> int:
    if isinstance(module, UnitPool):
        return 1
    stride = module.stride if module.stride is not None else module.kernel_size
    pair = (stride, stride) if isinstance(stride, int) else tuple(stride)
    if pair[0] != pair[1]:
        raise ValueError(f"Layer {name!r} has stride {pair}; expected the same stride down and across.")
    return pair[0]


def _widest_window(model: nn.Module, paths: Sequence[str]) -> int:
    modules = [model.get_submodule(path) for path in paths]
    windows = [getattr(getattr(module, "pool", module), "kernel_size", 1) for module in modules]
    return max(max(window) if isinstance(window, tuple) else window for window in windows)


def _apply_stride(model: nn.Module, paths: Sequence[str], stride: int) -> None:
    # The point is named by its first module, so that it stays one point at stride 1 too.
    mark = paths[0]
    for path in paths:
        module = model.get_submodule(path)
        pool = module.pool if isinstance(module, UnitPool) else module
        if isinstance(pool, nn.Conv2d):
            pool.stride = (stride, stride)
        elif stride == 1 and _even_kernel(pool):
            module = module if isinstance(module, UnitPool) else UnitPool(pool)
            model.set_submodule(path, module)
        else:
            pool.stride = stride
            model.set_submodule(path, pool)
            module = pool
        module.pooling_point = mark


def _even_kernel(pool: nn.Module) -> bool:
    kernel = pool.kernel_size
    return any(side % 2 == 0 for side in ((kernel,) if isinstance(kernel, int) else kernel))


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

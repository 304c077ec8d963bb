"""Where a network changes resolution, and how to change it: pooling points and their strides.

Nothing here knows an architecture by name. A forward pass on the meta device (no weights, no real compute) shows
which convolutions and window pools are strided; those that take part in the same step (a block's main path and
its shortcut) form one pooling point, named by the smallest module that holds them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..common.modules import eval_mode
from .meta_ops import elementwise
from .red import REDLayer

Size = tuple[int, int]
POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d)


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
    shapes, order = _trace(model, size)
    modules = dict(model.named_modules())
    groups = _group_strided(modules, shapes, order)
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
    points = find_pooling_points(model, image_size)
    check_strides(strides, points, image_size)
    if declares_points(model):
        model.set_pooling_strides([strides.get(p.name, p.stride) for p in points if p.direction == "down"], image_size)
        return model
    before = {point.name: point.stride for point in points}
    for point in points:
        _apply_stride(model, point.modules, strides.get(point.name, point.stride))
    try:
        find_pooling_points(model, image_size)
    except ValueError:
        for point in points:
            _apply_stride(model, point.modules, before[point.name])
        raise
    return model


def check_strides(strides: Mapping[str, int], points: Sequence[PoolingPoint], image_size: int | Size) -> None:
    """Raise ValueError, naming value and choices, unless `strides` fits these points and this image."""
    size = check_image_size(image_size)
    names = [point.name for point in points if point.direction == "down"]  # a decoder mirrors its encoder
    for name, stride in strides.items():
        if name not in names:
            raise ValueError(f"No pooling point {name!r}; expected one of {names}.")
        if isinstance(stride, bool) or not isinstance(stride, int) or stride < 1:
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
    if len(pair) != 2 or any(isinstance(side, bool) or not isinstance(side, int) or side < 1 for side in pair):
        raise ValueError(f"Image size is {image_size!r}; expected a whole number of pixels, or (height, width).")
    return pair


def input_channels(model: nn.Module) -> int:
    """Channels of the images a model takes: those of its first convolution."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels
    raise ValueError(f"{type(model).__name__} has no convolution; expected a CNN or a U-Net.")


Shapes = dict[str, tuple[tuple[int, ...], tuple[int, ...]]]


def _trace(model: nn.Module, size: Size) -> tuple[Shapes, list[str]]:
    """Input and output shape of every module that maps an image-like tensor to one, and their order of first call."""
    shapes: Shapes = {}
    started: list[str] = []
    stack: list[tuple[str, nn.Module]] = []
    handles = []
    for name, module in model.named_modules():

        def enter(module: nn.Module, args: tuple, name: str = name) -> None:
            stack.append((name, module))
            if name not in started:
                started.append(name)

        def leave(module: nn.Module, args: tuple, output: object, name: str = name) -> None:
            stack.pop()
            if args and all(isinstance(value, Tensor) and value.dim() == 4 for value in (args[0], output)):
                shapes.setdefault(name, (tuple(args[0].shape), tuple(output.shape)))

        handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
    state = {
        name: torch.empty_like(value, device="meta")
        for name, value in (*model.named_parameters(), *model.named_buffers())
    }
    image = torch.empty(1, input_channels(model), *size, device="meta")
    try:
        with torch.no_grad(), eval_mode(model), _FunctionalPools(stack):
            torch.func.functional_call(model, state, (image,))
    except (RuntimeError, IndexError) as error:
        raise ValueError(
            f"{type(model).__name__} cannot run on {size[0]}×{size[1]} images with these strides: "
            f"{str(error).splitlines()[0]} Choose smaller strides or a larger image."
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return shapes, [name for name in started if name in shapes]


class _FunctionalPools(TorchDispatchMode):
    """Refuses, by the name of the module that does it, a change of resolution that no module's stride controls."""

    def __init__(self, stack: list[tuple[str, nn.Module]]) -> None:
        super().__init__()
        self.stack = stack

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, module = self.stack[-1] if self.stack else ("", None)
        if not isinstance(module, (nn.Conv2d, *POOLS)) and _reduces(func, args):
            raise ValueError(
                f"{name or 'The network'!r} ({type(module).__name__}) changes resolution with a function call "
                f"({func.overloadpacket.__name__}), not with a module, so its stride cannot be changed; "
                "use a network whose strided convolutions and pools are modules."
            )
        result = elementwise(func, args, kwargs or {})
        if result is not None:
            return result
        if func.overloadpacket in _NORMS:
            return torch.empty_like(args[0]), args[0].new_empty(0), args[0].new_empty(0)
        return func(*args, **(kwargs or {}))


# The meta device works these out in Python, slowly; only shapes matter here, and theirs are plain.
_NORMS = {torch.ops.aten.native_batch_norm, torch.ops.aten._native_batch_norm_legit_no_training}
_NORMS |= {torch.ops.aten.native_group_norm, torch.ops.aten.native_layer_norm}


def _reduces(func, args: tuple) -> bool:
    aten = torch.ops.aten
    packet = func.overloadpacket
    if packet in (aten.max_pool2d_with_indices, aten.avg_pool2d):
        window = args[1]
        return any(step > 1 for step in (args[2] if len(args) > 2 and args[2] else window))
    if packet is aten.convolution:
        return not args[6] and any(step > 1 for step in args[3]) and args[0].dim() == 4
    if packet is aten.slice:
        return args[0].dim() == 4 and args[1] >= 2 and len(args) > 4 and args[4] > 1
    return packet is aten.pixel_unshuffle


def _group_strided(modules: Mapping[str, nn.Module], shapes: Shapes, order: Sequence[str]) -> list[list[str]]:
    """Paths of strided modules, one list a step, in order. Modules that make the same step see the same sizes."""
    groups: dict[object, list[str]] = {}
    stem = next((name for name in order if isinstance(modules[name], nn.Conv2d)), None)
    for name in order:
        module = modules[name]
        if not isinstance(module, (nn.Conv2d, UnitPool, *POOLS)):
            continue
        mark = getattr(module, "pooling_point", None)
        if mark is None and name != stem and _stride(name, module) == 1:
            continue
        in_shape, out_shape = shapes[name]
        key = mark or (in_shape[2:], out_shape[2:])
        groups.setdefault(key, []).append(name)
    return list(groups.values())


def _point_name(paths: Sequence[str], modules: Mapping[str, nn.Module], shapes: Shapes, others: Sequence[str]) -> str:
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

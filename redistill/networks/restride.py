"""How a pooling point gets another stride, by what kind of layer makes its step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import nn

from .paths import POOLS
from .stem_kinds import MARK, SPACE_TO_DEPTH, Blurred, resize_kernel, stem_window
from .windows import Restrided, UnitPool

Pair = tuple[int, int]  # down and across
BUILT = "as_built"  # attribute of a convolution whose stride was set
GRID_ATTRIBUTES = ("patch_size",)  # in which the module around a patch embedding repeats its stride


class Built(NamedTuple):
    """A convolution before its stride was set, which every further stride goes by."""

    stride: Pair
    padding_mode: str
    is_patch: bool  # it cuts its map into patches, one beside the other


def set_stride(model: nn.Module, paths: Sequence[str], stride: Pair, own: Pair, layouts: tuple[str, str]) -> None:
    """Give the strided modules of one point, whose stride is `own`, another one, in place.

    They are marked, so that they stay one point at stride 1 too.
    """
    mark = paths[0]  # which names the point
    for path in paths:
        module = model.get_submodule(path)
        if isinstance(module, (nn.Conv2d, Blurred)):
            module = _set_convolution(model, path, module, stride)
        elif isinstance(module, (UnitPool, *POOLS)):
            module = _set_pool(model, path, module, stride)
        else:
            module = _set_windows(model, path, module, stride, own, layouts)
        module.pooling_point = mark


def _set_convolution(model: nn.Module, path: str, module: nn.Conv2d | Blurred, stride: Pair) -> nn.Module:
    conv, before = module.layer if isinstance(module, Blurred) else module, tuple(module.stride)
    stem = getattr(conv, MARK, None)
    window = stem_window(stem, stride) if stem else None
    conv.as_built = built = _built(conv)
    conv.padding_mode = built.padding_mode
    if window:
        resize_kernel(conv, window.kernel, window.padding)
        conv.stride = tuple(step // times for step, times in zip(stride, window.blur, strict=True))
    else:
        conv.stride = stride
    if built.is_patch:
        if not (stem and stem.kind == SPACE_TO_DEPTH and window.kernel != stem.kernel):
            _pad_patches(conv, conv.stride)
        for holder, name, value in list(grid_attributes(model, path, (before, built.stride), stride)):
            setattr(holder, name, value)
    shown = Blurred(conv, window.blur, stride) if window and max(window.blur) > 1 else conv
    if shown is not module:
        model.set_submodule(path, shown)
    return shown


def _set_pool(model: nn.Module, path: str, module: nn.Module, stride: Pair) -> nn.Module:
    pool = module.pool if isinstance(module, UnitPool) else module
    if stride == (1, 1) and has_even_window(pool):
        module = module if isinstance(module, UnitPool) else UnitPool(pool)
    else:
        is_number = isinstance(pool.stride, int) and stride[0] == stride[1]  # what its forward may rely on
        pool.stride = stride[0] if is_number else stride
        module = pool
    model.set_submodule(path, module)
    return module


def _set_windows(
    model: nn.Module, path: str, module: nn.Module, stride: Pair, own: Pair, layouts: tuple[str, str]
) -> nn.Module:
    layer, window = (module.layer, module.window) if isinstance(module, Restrided) else (module, own)
    module = layer if stride == window else Restrided(layer, window, stride, layouts)
    model.set_submodule(path, module)
    return module


def has_even_window(pool: nn.Module) -> bool:
    """Whether a window has no pixel in its middle."""
    kernel = pool.kernel_size
    return any(side % 2 == 0 for side in ((kernel,) if isinstance(kernel, int) else kernel))


def is_patch(module: nn.Module) -> bool:
    """Whether a convolution, as it was built, cuts its map into patches, one beside the other."""
    return isinstance(module, nn.Conv2d) and _built(module).is_patch


def _built(conv: nn.Conv2d) -> Built:
    """As a convolution was before its stride was set: patches are as wide as its own stride, without padding."""
    known = getattr(conv, BUILT, None)
    if known is not None:
        return known
    is_cut = max(conv.stride) > 1 and conv.kernel_size == conv.stride and conv.padding in ((0, 0), 0, "valid")
    return Built(tuple(conv.stride), conv.padding_mode, is_cut)


def patch_padding(conv: nn.Conv2d, stride: Pair) -> Pair | None:
    """Padding of a patch convolution at another stride, so that its map is ⌈side/stride⌉ of what it takes.

    None where that takes more on one side than on the other: an even kernel at stride 1.
    """
    missing = [max(0, side - step) for side, step in zip(conv.kernel_size, stride, strict=True)]
    if any(step == 1 and pixels % 2 for step, pixels in zip(stride, missing, strict=True)):
        return None
    return tuple(-(-pixels // 2) for pixels in missing)


def _pad_patches(conv: nn.Conv2d, stride: Pair) -> None:
    padding = patch_padding(conv, stride)
    conv.padding = padding or (0, 0)
    conv.padding_mode = "zeros"
    if padding is None:  # what torch does in its other modes: pad first, with what stands for each side, then convolve
        conv.padding_mode = "constant"
        missing = [max(0, side - step) for side, step in zip(conv.kernel_size, stride, strict=True)]
        sides = [(pixels // 2, pixels - pixels // 2) for pixels in reversed(missing)]
        conv._reversed_padding_repeated_twice = [pixels for pair in sides for pixels in pair]


def grid_attributes(
    model: nn.Module, path: str, before: Sequence[Pair], after: Pair
) -> Iterator[tuple[nn.Module, str, int | Pair]]:
    """Attributes of the module around a patch embedding that repeat one of its strides, and what they become."""
    holder = model.get_submodule(path.rpartition(".")[0])
    for name in GRID_ATTRIBUTES:
        value = getattr(holder, name, None)
        if isinstance(value, int) and (value, value) in before and after[0] == after[1]:
            yield holder, name, after[0]
        elif isinstance(value, (tuple, list)) and tuple(value) in before:
            yield holder, name, type(value)(after)

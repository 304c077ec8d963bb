"""What the first convolution of a network, its stem, sees of the image at a larger stride than its own.

As built its kernel stays: 3 or 7 pixels at a stride of 8 pass over most rows and columns. Each other kind sees them all
and makes a map as large, mostly by one convolution that needs no more memory: a kernel that grows with the stride;
patches one beside the other (Dosovitskiy et al. 2021, arXiv 2010.11929); space to depth (Ridnik et al. 2021, arXiv
2003.13630), whose 3×3 kernel over patches turned into channels is one of three patches a side over the image, so that
nothing has to be rearranged; or a fixed filter that smooths and shrinks the image before it (Zhang 2019, arXiv
1904.11486).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .origins import origin_of, replace_weight
from .windows import Restrided

Pair = tuple[int, int]  # down and across
STEMS = AS_BUILT, WIDE, PATCHES, SPACE_TO_DEPTH, BLUR = "as built", "wide", "patches", "space-to-depth", "blur"
STEM_TITLES = {
    AS_BUILT: "as built",
    WIDE: "wide",
    PATCHES: "patches",
    SPACE_TO_DEPTH: "space to depth",
    BLUR: "blur",
}
MARK = "stem_as_built"  # attribute of a convolution that has a kind


class Stem(NamedTuple):
    """A stem as it was built, and its kind."""

    kind: str
    kernel: Pair
    stride: Pair
    padding: Pair
    is_patch: bool  # it cuts the image into patches


class StemWindow(NamedTuple):
    """A stem at some stride: its kernel and padding, and how many pixels become one before it, down and across."""

    kernel: Pair
    padding: Pair
    blur: Pair

    @property
    def seen(self) -> Pair:
        """Pixels of the image that one place of its map depends on."""
        return tuple(times * (side - 1) + 2 * times - 1 for side, times in zip(self.kernel, self.blur, strict=True))


def set_stem(model: nn.Module, kind: str) -> str:
    """Let the first convolution of a model be of a kind, in place, once its stride is set; returns its path.

    Raises ValueError for a model without a convolution, and for one with holes in its kernel.
    """
    for path, conv in model.named_modules():
        if isinstance(conv, nn.Conv2d):
            if max(conv.dilation) > 1:
                raise ValueError(f"The first convolution, {path!r}, is dilated; expected stem {AS_BUILT!r}.")
            stride, kernel = tuple(conv.stride), tuple(conv.kernel_size)
            is_patch = max(stride) > 1 and kernel == stride and _padding(conv) == (0, 0)
            setattr(conv, MARK, Stem(kind, kernel, stride, _padding(conv), is_patch))
            return path
    raise ValueError(f"{type(model).__name__} has no convolution; expected stem {AS_BUILT!r}.")


def marked_stem(model: nn.Module) -> str | None:
    """Path of the convolution that `set_stem` gave a kind; None where it gave none."""
    return next((path for path, module in model.named_modules() if hasattr(module, MARK)), None)


def stem_window(stem: Stem, stride: Pair) -> StemWindow:
    """The stem at a stride; as it was built where that is not larger than its own."""
    axes = zip(stem.kernel, stem.stride, stem.padding, stride, strict=True)
    return StemWindow(*zip(*(_along(stem, *axis) for axis in axes), strict=True))


def _along(stem: Stem, kernel: int, own: int, padding: int, stride: int) -> tuple[int, int, int]:
    """Kernel, padding and blur along one axis."""
    if stride <= own or stem.kind == AS_BUILT:
        return kernel, padding, 1
    if stem.kind == PATCHES:
        return stride, 0, 1
    if stem.kind == SPACE_TO_DEPTH:
        return 3 * stride, stride, 1
    if stem.kind == WIDE:
        wide = max(kernel, _gapless(stem, kernel, stride))
        return wide, 0 if stem.is_patch else padding + (wide - kernel) // 2, 1
    blur = next(times for times in range(1, stride + 1) if _sees_all(stem, kernel, stride, times))
    return kernel, padding, blur


def _gapless(stem: Stem, kernel: int, stride: int) -> int:
    """The least kernel, odd where it was, of which the windows at a stride leave out no pixel, at the border too."""
    return stride if stem.is_patch else 2 * stride - kernel % 2


def _sees_all(stem: Stem, kernel: int, stride: int, times: int) -> bool:
    return stride % times == 0 and kernel >= _gapless(stem, kernel, stride // times)


def seen_at(module: nn.Module, stride: Pair) -> int | None:
    """Pixels a side that a stem sees at a stride, where it has a kind; None for any other module."""
    stem = getattr(module, MARK, None)
    return max(stem_window(stem, stride).seen) if stem else None


def resize_kernel(conv: nn.Conv2d, kernel: Pair, padding: Pair) -> None:
    """Give a convolution another kernel and padding, in place: its weights stand in the middle of the new kernel, zeros
    around them, or lose what lies beyond it; those that it was built with, until others are learnt or loaded."""
    if tuple(conv.kernel_size) != kernel:
        origin = origin_of(conv, "weight")
        source = origin.source if origin else conv.weight.detach()
        missing = [side - before for side, before in zip(kernel, source.shape[2:], strict=True)]
        pads = [part for pixels in reversed(missing) for part in (pixels // 2, pixels - pixels // 2)]
        replace_weight(conv, "weight", F.pad(source, pads), source)
        conv.kernel_size = kernel
    conv.padding = padding
    conv._reversed_padding_repeated_twice = [side for side in reversed(padding) for _ in range(2)]


class Blurred(Restrided):
    """A stem that takes its image smoothed and smaller: one pixel of `blur` down and across, by a fixed filter.

    The filter is a triangle over 2·blur − 1 pixels, as of linear interpolation, zeros beyond the border; it and the
    stem's own stride make up `stride`. An image (batch, channels, height, width) becomes the stem's map.
    """

    def __init__(self, conv: nn.Conv2d, blur: Pair, stride: Pair) -> None:
        seen = StemWindow(tuple(conv.kernel_size), tuple(conv.padding), blur).seen
        super().__init__(conv, seen, stride, ("NCHW", "NCHW"))
        self.blur = blur
        with torch.device(conv.weight.device):
            filters = torch.outer(*map(_triangle, blur)).expand(conv.in_channels, 1, -1, -1)
        self.register_buffer("filter", filters.to(conv.weight.dtype).contiguous(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        padding = tuple(times - 1 for times in self.blur)
        return self.layer(F.conv2d(x, self.filter, stride=self.blur, padding=padding, groups=x.shape[1]))


def _triangle(times: int) -> Tensor:
    rise = torch.arange(1, times + 1, dtype=torch.float32)
    return torch.cat([rise, rise[:-1].flip(0)]) / times**2


def _padding(conv: nn.Conv2d) -> Pair:
    """Pixels that a convolution pads; those of "same" and "valid", too."""
    if isinstance(conv.padding, str):
        return tuple(side // 2 if conv.padding == "same" else 0 for side in conv.kernel_size)
    return tuple(conv.padding)

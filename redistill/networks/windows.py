"""What stands in a network where a stride was set that its layer has no setting for."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F


class UnitPool(nn.Identity):
    """What an even-kernel window pool becomes at stride 1: nothing, with the pool remembered.

    An even window cannot be centred, so at stride 1 it would shrink the map by one pixel. Giving the point
    another stride brings the pool back.
    """

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool


class Restrided(nn.Module):
    """A layer that makes its windows itself, such as patch merging, at another stride than its own.

    Such a layer cuts the map into windows, one beside the other, and looks at each by itself. Here it gets the
    windows of another stride laid one beside the other, so that it makes one place of each as before: with a
    smaller stride they overlap (beyond the map they see zeros), with a larger one they pass over pixels, as those of
    a convolution do. A map of height and width h×w becomes ⌈h/stride⌉×⌈w/stride⌉, in the layer's own dtype.

    `window` is the layer's own stride, `layouts` say how it takes and gives maps: "NCHW" (batch, channels, height,
    width) or "NHWC" (batch, height, width, channels).
    """

    def __init__(
        self, layer: nn.Module, window: tuple[int, int], stride: tuple[int, int], layouts: tuple[str, str]
    ) -> None:
        super().__init__()
        self.layer = layer
        self.window, self.stride, self.layouts = window, stride, layouts

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self.layer(windows_at(x, self.window, self.stride, self.layouts[0]), *args, **kwargs)


def windows_at(x: Tensor, window: tuple[int, int], stride: tuple[int, int], layout: str = "NCHW") -> Tensor:
    """The windows of a map at a stride, side by side: a map of window times ⌈height/stride⌉ by ⌈width/stride⌉.

    `x` is (batch, channels, height, width), or with `layout` "NHWC" (batch, height, width, channels), and so is the
    result, of the same dtype. Beyond the map there are zeros.
    """
    first = 2 if layout == "NCHW" else 1
    sizes = x.shape[first : first + 2]
    counts = [-(-size // step) for size, step in zip(sizes, stride, strict=True)]
    needed = [(count - 1) * step + side for count, step, side in zip(counts, stride, window, strict=True)]
    missing = [max(0, need - size) for need, size in zip(needed, sizes, strict=True)]
    if any(missing):
        pads = (0, missing[1], 0, missing[0])
        x = F.pad(x, pads if layout == "NCHW" else (0, 0, *pads))
    x = x.unfold(first, window[0], stride[0]).unfold(first + 1, window[1], stride[1])
    if layout == "NCHW":  # batch, channels, rows, columns, down, across
        return x.permute(0, 1, 2, 4, 3, 5).flatten(4, 5).flatten(2, 3)
    return x.permute(0, 1, 4, 2, 5, 3).flatten(3, 4).flatten(1, 2)

"""Random small networks that can be computed patch by patch: chains of windows, branches that join, borders, norms."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Residual(nn.Module):
    """x + f(x), with a convolution on the way past f where it changes sizes; in place or not."""

    def __init__(self, inner: nn.Module, past: nn.Module, in_place: bool) -> None:
        super().__init__()
        self.inner, self.past, self.in_place = inner, past, in_place

    def forward(self, x: Tensor) -> Tensor:
        y, x = self.inner(x), self.past(x)
        if self.in_place:
            y += x
            return y
        return y + x


class Parted(nn.Module):
    """Half the channels convolved, and both halves and the whole put together again."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels // 2, channels // 2, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        one, two = x.chunk(2, 1)
        return torch.cat([self.conv(one), two, x[:, 1:2]], 1)


class Bordered(nn.Module):
    """A border by a function, and a convolution that takes some of it away."""

    def __init__(self, channels: int, pads: tuple[int, ...], mode: str) -> None:
        super().__init__()
        self.pads, self.mode = pads, mode
        self.conv = nn.Conv2d(channels, channels, (2, 3), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, self.pads, mode=self.mode))


class Scaled(nn.Module):
    """A factor a channel, a gate and a number."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.rand(channels, 1, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factors * torch.sigmoid(x) + 1.5


class Net(nn.Module):
    """Parts in a row, of which the last patched one is `parts.N`, and a rest with a classifier."""

    def __init__(self, parts: list[nn.Module], channels: int) -> None:
        super().__init__()
        self.parts = nn.Sequential(*parts)
        self.rest = nn.Sequential(nn.Conv2d(channels, 6, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rest(self.parts(x)).mean((2, 3)))


def random_part(channels: int, chosen: random.Random, rough: bool = True) -> tuple[nn.Module, int]:
    """A part, and the channels it gives. `rough`: with max-pools, gaps, borders, and windows that see only padding."""
    kind = chosen.choice(("conv", "conv", "pool", "norm", "residual", "strided", "parted", "border", "scaled"))
    pick = chosen.randint
    if kind == "conv":
        kernel, dilation = (pick(1, 5), pick(1, 5)), (pick(1, 1 + rough), pick(1, 1 + rough))
        most = [k - 1 + rough for k in kernel]
        groups = chosen.choice((1, 2))
        sizes = {"stride": (pick(1, 4), pick(1, 3)), "padding": tuple(pick(0, side) for side in most)}
        is_small = rough and max(sizes["padding"]) < 3
        mode = chosen.choice(("zeros", "zeros", "zeros", "reflect", "replicate") if is_small else ("zeros",))
        return nn.Conv2d(channels, 6, kernel, **sizes, dilation=dilation, groups=groups, padding_mode=mode), 6
    if kind == "pool":
        kernel = (pick(1, 4), pick(2, 4))
        sizes = {"stride": (pick(1, 3), pick(1, 3)), "padding": tuple(pick(0, side // 2) for side in kernel)}
        if rough and chosen.random() < 0.5:
            return nn.MaxPool2d(kernel, **sizes, dilation=pick(1, 2), ceil_mode=chosen.random() < 0.5), channels
        how = {"ceil_mode": chosen.random() < 0.5, "count_include_pad": chosen.random() < 0.5}
        override = {"divisor_override": 3} if chosen.random() < 0.2 else {}
        return nn.AvgPool2d(kernel, **sizes, **how, **override), channels
    if kind == "norm":
        norm = nn.BatchNorm2d(channels)
        nn.init.uniform_(norm.running_mean, -1, 1)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        return nn.Sequential(norm, chosen.choice((nn.ReLU(inplace=True), nn.Hardswish(), nn.PReLU(channels)))), channels
    if kind == "residual":
        act = nn.ReLU(inplace=chosen.random() < 0.5)
        inner = nn.Sequential(nn.Conv2d(channels, 4, 3, 1, 1), act, nn.Conv2d(4, channels, 5, 1, 2))
        return Residual(inner, nn.Identity(), chosen.random() < 0.5), channels
    if kind == "strided":
        stride = pick(1, 3)
        inner = nn.Sequential(nn.Conv2d(channels, 6, 3, stride, 1), nn.BatchNorm2d(6))
        return Residual(inner, nn.Conv2d(channels, 6, 1, stride), chosen.random() < 0.5), 6
    if kind == "parted":
        return Parted(channels), channels + 1
    if kind == "border":
        mode = chosen.choice(("constant", "reflect", "replicate"))
        return Bordered(channels, tuple(pick(0, 2) for _ in range(4)), mode), channels
    return Scaled(channels), channels


def random_network(seed: int, rough: bool = True) -> tuple[Net, Tensor, str, int]:
    """A network in evaluation mode, images, the layer to compute patches up to, and a number of patches that fits."""
    chosen = random.Random(seed)
    torch.manual_seed(seed)
    while True:
        parts, channels = [nn.Conv2d(3, 4, 3, padding=1)], 4
        for _ in range(chosen.randint(1, 4)):
            if channels % 2:
                parts.append(nn.Conv2d(channels, 6, 1))
                channels = 6
            part, channels = random_part(channels, chosen, rough)
            parts.append(part)
        net = Net(parts, channels).eval()
        x = torch.randn(chosen.randint(1, 2), 3, chosen.randint(9, 40), chosen.randint(9, 40))
        try:
            with torch.no_grad():
                room = min(net.parts(x).shape[2:])
                net(x)
        except RuntimeError:  # smaller than a window, or than what is mirrored
            continue
        return net, x, "parts", chosen.randint(1, min(room, 5))

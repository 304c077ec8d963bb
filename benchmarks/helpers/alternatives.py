"""What people do instead of pooling aggressively: smaller images, narrower networks, networks made for phones.

Those that no name stands for are functions here, which runs call by `file:`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from redistill.networks.pooling_points import find_pooling_points
from redistill.networks.strides import set_strides
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import NarrowResNet, build_network


class OnSmallerImages(NarrowResNet):
    """The narrow ResNet on images of `side` pixels, which it makes of larger ones, (batch, 3, height, width).

    So pictures, and what changes them while training, are as in other runs, and its teacher sees them whole.
    strides: at its pooling points, if others than its own.
    """

    def __init__(self, num_classes: int, side: int, strides: Sequence[int] = ()) -> None:
        super().__init__(num_classes)
        self.side = side
        if strides:
            set_strides(self, at_points(self, strides, side), side)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1] != self.side:
            x = F.interpolate(x, (self.side, self.side), mode="bilinear", antialias=True)
        return super().forward(x)


def side_48(num_classes: int) -> NarrowResNet:
    return OnSmallerImages(num_classes, 48)


def side_36(num_classes: int) -> NarrowResNet:
    return OnSmallerImages(num_classes, 36)


def side_32(num_classes: int) -> NarrowResNet:
    return OnSmallerImages(num_classes, 32)


def side_28(num_classes: int) -> NarrowResNet:
    return OnSmallerImages(num_classes, 28)


def side_24(num_classes: int) -> NarrowResNet:
    return OnSmallerImages(num_classes, 24)


def half_width(num_classes: int) -> NarrowResNet:
    return NarrowResNet(num_classes, (8, 16, 32, 64))


def quarter_width(num_classes: int) -> NarrowResNet:
    return NarrowResNet(num_classes, (4, 8, 16, 32))


MILD = (2, 2, 1, 2, 2)  # strides that cost no accuracy at 64 px


def side_56_mild(num_classes: int) -> NarrowResNet:
    return OnSmallerImages(num_classes, 56, MILD)


def side_48_mild(num_classes: int) -> NarrowResNet:
    return OnSmallerImages(num_classes, 48, MILD)


def side_40_mild(num_classes: int) -> NarrowResNet:
    return OnSmallerImages(num_classes, 40, MILD)


def at_points(model: nn.Module, strides: Sequence[int], side: int) -> dict[str, int]:
    """The strides by the names of the network's pooling points, in their order."""
    return dict(zip([point.name for point in find_pooling_points(model, side)], strides, strict=True))


SMALLER = "smaller images"  # the kind of networks on such


@dataclass(frozen=True)
class Alternative:
    """A network, and the images that it works on."""

    title: str
    network: str  # by its name, or a function of this file
    strides: tuple[int, ...] = ()  # at its pooling points, which functions for smaller images set; none: its own
    side: int | None = None  # pixels, where images are smaller than the others'
    rank: int = 4  # those of 1 have all seeds first, see `benchmarks.tradeoff`

    @property
    def kind(self) -> str:
        """What it is an example of."""
        if self.side:
            return SMALLER
        return "networks for phones" if ":" in self.network else "narrower networks"

    @property
    def architecture(self) -> str:
        """The network as a `StudentConfig` names it."""
        return self.network if ":" in self.network else f"file:{Path(__file__)}:{self.network}"

    def counted(self, teacher: str, classes: int) -> StudentConfig | None:
        """What memory is counted of where images are smaller: the teacher's network on such; None: the student."""
        if not self.side:
            return None
        network = build_network(teacher, classes)
        strides = at_points(network, self.strides, self.side) if self.strides else {}
        return StudentConfig(teacher, self.side, classes, strides, red=None)


# fmt: off
# Of networks for phones the strides are those that keep most computation within 64 and within 112 KiB, of all that
# reduce as much as the network itself or less.
ALTERNATIVES = (
    Alternative("narrow_resnet 32 px", "side_32", side=32, rank=2),
    Alternative("narrow_resnet 28 px", "side_28", side=28, rank=1),  # what fits into 64 KiB
    Alternative("mobilenetv2_035 64 KiB", "timm:mobilenetv2_035", (4, 2, 1, 2, 2), rank=2),
    Alternative("narrow_resnet 24 px", "side_24", side=24, rank=2),
    Alternative("narrow_resnet width 1/4", "quarter_width", rank=3),
    Alternative("narrow_resnet 48 px", "side_48", side=48, rank=3),
    Alternative("narrow_resnet width 1/2", "half_width"),
    Alternative("tinynet_e 64 KiB", "timm:tinynet_e", (8, 1, 1, 2, 2)),  # EfficientNet-B0, smaller by its rule
    Alternative("mobilenetv2_050 64 KiB", "timm:mobilenetv2_050", (4, 2, 1, 2, 2)),
    Alternative("narrow_resnet 36 px", "side_36", side=36),
    Alternative("mobilenetv2_035 112 KiB", "timm:mobilenetv2_035", (4, 1, 2, 1, 2)),
    Alternative("mobilenetv2_050 112 KiB", "timm:mobilenetv2_050", (4, 2, 1, 2, 1)),
    Alternative("tinynet_e 112 KiB", "timm:tinynet_e", (4, 1, 4, 1, 1)),
    Alternative("narrow_resnet 48 px at 2,2,1,2,2", "side_48_mild", MILD, side=48, rank=2),
    Alternative("narrow_resnet 56 px at 2,2,1,2,2", "side_56_mild", MILD, side=56, rank=2),
    Alternative("narrow_resnet 40 px at 2,2,1,2,2", "side_40_mild", MILD, side=40, rank=2),
)
# fmt: on

"""What makes maps smaller without a strided module: found, shown with a reason, and set where that can be done."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from redistill.memory import capture
from redistill.networks.pooling_points import find_pooling_points
from redistill.networks.strides import set_strides
from redistill.networks.windows import Restrided, windows_at


class Call(nn.Module):
    """A module whose whole work is a function."""

    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, x):
        return self.call(x)


class Net(nn.Module):
    """A stem, something that makes its map smaller, and a head that takes any size."""

    def __init__(self, pool, channels=8):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.pool = pool
        self.head = nn.Conv2d(channels, 4, 3, padding=1)

    def forward(self, x):
        return self.head(self.pool(self.stem(x)))


class Inline(Net):
    """The same, called in the network's own forward."""

    def __init__(self, call, channels=8):
        super().__init__(nn.Identity(), channels)
        self.call = call

    def forward(self, x):
        return self.head(self.call(self.stem(x)))


def gather(x):
    """Space to depth by views."""
    batch, channels, height, width = x.shape
    x = x.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 1, 3, 5, 2, 4)
    return x.reshape(batch, channels * 4, height // 2, width // 2)


def halves(x):
    """Space to depth by slices, as in YOLO's Focus."""
    return torch.cat([x[..., i::2, j::2] for i in range(2) for j in range(2)], 1)


WINDOWS = {
    "max pool": (lambda x: F.max_pool2d(x, 2), 8),
    "average pool": (lambda x: F.avg_pool2d(x, (2, 2)), 8),
    "slice": (lambda x: x[:, :, ::2, ::2], 8),
    "slice and padded channels": (lambda x: F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4)), 16),
    "pixel unshuffle": (lambda x: F.pixel_unshuffle(x, 2), 32),
    "view": (gather, 32),
    "slices": (halves, 32),
}
OTHERS = {
    "overlapping pool": (lambda x: F.max_pool2d(x, 3, 2, 1), 8),
    "convolution": (lambda x: F.conv2d(x, torch.zeros(8, 8, 3, 3, device=x.device), stride=2, padding=1), 8),
    "interpolation": (lambda x: F.interpolate(x, scale_factor=0.5), 8),
    "bilinear interpolation": (lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear"), 8),
    "blurred slice": (lambda x: F.avg_pool2d(x, 3, 1, 1)[:, :, ::2, ::2], 8),
}


@pytest.mark.parametrize("name", [*WINDOWS, *OTHERS])
def test_a_call_in_the_network_itself_is_shown_with_a_reason(name):
    call, channels = (WINDOWS | OTHERS)[name]
    model = Inline(call, channels)
    stem, point = find_pooling_points(model, 16)
    assert (stem.name, point.stride, point.in_size, point.out_size, point.reduction) == ("stem", 2, (16, 16), (8, 8), 2)
    assert not point.is_settable and "function call" in point.reason
    with pytest.raises(ValueError, match=f"{point.name}.*cannot be set"):
        set_strides(model, {point.name: 4}, 16)
    set_strides(model, {"stem": 2}, 16)  # the others can be
    assert [point.reduction for point in find_pooling_points(model, 16)] == [2, 4]
    assert capture(model, (2, 3, 16, 16)).points == find_pooling_points(model, 16)


@pytest.mark.parametrize("name", OTHERS)
def test_a_module_that_sees_beyond_its_windows_cannot_be_set(name):
    call, channels = OTHERS[name]
    point = find_pooling_points(Net(Call(call), channels), 16)[1]
    assert point.stride == 2 and point.reason


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("stride", [1, 2, 4, 8, (2, 1), (4, 2)])
def test_a_module_of_windows_can_be_set(name, stride):
    call, channels = WINDOWS[name]
    model = Net(Call(call), channels)
    keys = list(model.state_dict())
    set_strides(model, {"pool": stride}, 16)
    point = find_pooling_points(model, 16)[1]
    down, across = (stride, stride) if isinstance(stride, int) else stride
    assert (point.name, point.stride, point.out_size) == ("pool", stride, (16 // down, 16 // across))
    x = torch.randn(2, 8, 16, 16)
    assert list(model(torch.randn(2, 3, 16, 16)).shape[2:]) == [16 // down, 16 // across]
    if min(down, across) >= 2:  # the windows at a larger stride are some of those at the own one
        assert torch.equal(model.pool(x), call(x)[:, :, :: down // 2, :: across // 2])
    set_strides(model, {"pool": 2}, 16)
    assert not isinstance(model.pool, Restrided) and list(model.state_dict()) == keys


def test_overlapping_windows_are_those_of_a_convolution():
    x = torch.randn(2, 3, 7, 9)
    weight = torch.randn(5, 3, 2, 2)
    spread = F.conv2d(windows_at(x, (2, 2), (1, 1)), weight, stride=2)
    assert torch.allclose(spread, F.conv2d(F.pad(x, (0, 1, 0, 1)), weight), atol=1e-6)
    last = windows_at(x.permute(0, 2, 3, 1), (2, 2), (1, 1), "NHWC").permute(0, 3, 1, 2)
    assert torch.equal(last, windows_at(x, (2, 2), (1, 1)))


def test_a_shortcut_by_slices_holds_its_block():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 3, 2, 1)

        def forward(self, x):
            return self.conv(x) + x[:, :, ::2, ::2]

    point = find_pooling_points(Net(Block()), 16)[1]
    assert point.modules == ("pool.conv",) and "slice" in point.reason
    model = Net(nn.Sequential(Block()))
    model.pool[0].forward = None
    shortcut = Call(WINDOWS["slice"][0])

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.shortcut = nn.Conv2d(8, 8, 3, 2, 1), shortcut

        def forward(self, x):
            return self.conv(x) + self.shortcut(x)

    model = Net(Whole())
    point = find_pooling_points(model, 16)[1]
    assert point.name == "pool" and len(point.modules) == 2
    set_strides(model, {"pool": 4}, 16)
    assert model(torch.zeros(1, 3, 16, 16)).shape[2:] == (4, 4)


@pytest.mark.parametrize("pool", [nn.AvgPool2d(7), nn.AvgPool2d((25, 5)), nn.MaxPool2d(4), nn.AvgPool2d(2), "call"])
def test_pools_of_the_whole_map_are_no_points(pool):
    size = (
        (16, 16)
        if pool == "call"
        else tuple(
            [2 * s for s in ((pool.kernel_size,) * 2 if isinstance(pool.kernel_size, int) else pool.kernel_size)]
        )
    )
    pool = Call(lambda x: F.avg_pool2d(x, x.shape[-2:])) if pool == "call" else pool
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), pool, nn.Flatten(), nn.Linear(4, 5))
    assert [point.name for point in find_pooling_points(model, size)] == ["0"]
    assert [point.name for point in capture(model, (1, 3, *size)).points] == ["0"]


def test_a_small_pool_of_the_whole_map_before_a_convolution_is_a_point():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.AvgPool2d(2), nn.Conv2d(4, 4, 1))
    assert [point.name for point in find_pooling_points(model, 4)] == ["0", "1"]


@pytest.mark.parametrize("call", [lambda x: F.pixel_unshuffle(x, 4), lambda x: halves(halves(x))])
def test_space_to_depth_before_the_first_convolution(call):
    class Focus(nn.Module):
        def __init__(self):
            super().__init__()
            self.focus, self.conv = Call(call), nn.Conv2d(48, 4, 3, 2, 1)

        def forward(self, x):
            return self.conv(self.focus(x))

    focus, conv = find_pooling_points(Focus(), 32)
    assert (focus.name, focus.stride, focus.in_channels, conv.reduction) == ("focus", 4, 3, 8)
    model = set_strides(Focus(), {"focus": 8, "conv": 1}, 32)
    assert model(torch.zeros(1, 3, 32, 32)).shape[2:] == (4, 4)


def test_patches_gathered_by_a_view_are_shown():
    class Patches(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Linear(48, 8), nn.Linear(8, 2)

        def forward(self, x):
            x = x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
            return self.head(self.embed(x).mean(1))

    (point,) = find_pooling_points(Patches(), 32)
    assert (point.stride, point.out_size, point.layouts[1]) == (4, (8, 8), "NLC") and point.reason


def test_reduction_is_counted_along_the_way_of_a_map():
    class Ways(nn.Module):
        """A stride of 4 beside two of 2, a layer that runs three times, and a branch that only weighs the map."""

        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3, padding=1)
            self.once = nn.Conv2d(4, 4, 5, 4, 2)
            self.twice = nn.Sequential(nn.Conv2d(4, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1))
            self.again = nn.Conv2d(4, 4, 3, 2, 1)
            self.side = nn.Sequential(nn.Conv2d(4, 4, 3, 8, 1), nn.AdaptiveAvgPool2d(1))

        def forward(self, x):
            x = self.stem(x)
            x = self.once(x) + self.twice(x)
            x = x * self.side(x).sigmoid()
            return self.again(self.again(self.again(x)))

    model = Ways()
    points = {point.name: point for point in find_pooling_points(model, 64)}
    assert {name: point.reduction for name, point in points.items()} == {
        "stem": 1, "once": 4, "twice.0": 2, "twice.1": 4, "side.0": 32, "again": 32,
    }  # fmt: skip
    assert points["side.0"].role == "side" and points["again"].role == points["once"].role == "main"
    assert points["again"].path.count("again") == 3
    set_strides(model, {"stem": 2}, 64)  # 64 times, where a product of all strides would be 4,096
    with pytest.raises(ValueError, match="reduce the image 256 times"):
        set_strides(model, {"again": 4, "stem": 1}, 64)
    assert capture(model, (1, 3, 64, 64)).points == find_pooling_points(model, 64)


class Halved(nn.Module):
    """A strided convolution, and what `then` does to its map."""

    def __init__(self, then):
        super().__init__()
        self.conv, self.then = nn.Conv2d(3, 4, 3, 2, 1), then

    def forward(self, x):
        return self.then(self.conv(x))


def test_positions_made_on_the_way_are_no_hindrance():
    model = Halved(lambda x: x + torch.arange(x.shape[-1]))
    assert [point.name for point in find_pooling_points(model, 16)] == ["conv"]


@pytest.mark.parametrize("error", [TypeError, AttributeError, KeyError, AssertionError, ZeroDivisionError])
def test_whatever_a_network_raises_at_other_strides_is_one_sentence(error):
    def then(x):
        if x.shape[-1] < 8:
            raise error("no map is so\nsmall")
        return x

    model = Halved(then)
    with pytest.raises(ValueError, match="Halved cannot run on 16×16 images"):
        set_strides(model, {"conv": 4}, 16)
    assert model.conv.stride == (2, 2)


@pytest.mark.parametrize("function", [F.gelu, F.relu, F.silu, F.leaky_relu])
def test_a_call_may_name_its_argument(function):
    model = Net(Call(lambda x: F.max_pool2d(function(input=x), 2)))
    assert [point.stride for point in find_pooling_points(model, 32)] == [1, 2]

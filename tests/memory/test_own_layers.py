"""Layers with code of one's own, and modules that stand in lists: at other strides exact, captured anew or refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redistill import REDConfig, StudentConfig, build_student, compare, find_pooling_points, set_strides
from redistill.memory import ShapeRuleError, capture, measure_peak

X = torch.zeros(1, 3, 64, 64)


class Blurred(nn.Conv2d):
    """A convolution of stride 1 before its own."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.conv2d(x, torch.ones(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1]))


class Averaged(nn.AvgPool2d):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.avg_pool2d(x, 1, 1))


class Deaf(nn.Conv2d):
    """It has the stride that its code says, whatever it is set to."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias, 2, 1)


def hooked(before: bool) -> nn.Module:
    layer = nn.Conv2d(8, 8, 3, 2, 1)
    if before:
        layer.register_forward_pre_hook(lambda _, given: F.avg_pool2d(given[0], 2) + 1)
    else:
        layer.register_forward_hook(lambda *given: F.max_pool2d(given[2], 2) + 1)
    return layer


LAYERS = {
    "blurred": lambda: Blurred(8, 8, 3, 2, 1),
    "averaged": lambda: Averaged(2),
    "before": lambda: hooked(True),
    "after": lambda: hooked(False),
}


def around(layer: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), layer, nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_window_beside_a_layers_own_keeps_its_stride(kind, stride):
    network = around(LAYERS[kind]())
    tape, (name,) = capture(network, X), [p.name for p in find_pooling_points(network, 64) if p.modules == ("1",)]
    try:
        told = tape.profile({name: stride}, accounting="eager").peak_bytes
    except ShapeRuleError as error:
        assert "anew" in str(error)
        told = tape.anew(strides={name: stride}).profile(accounting="eager").peak_bytes
    assert told == measure_peak(set_strides(network, {name: stride}, 64), X)


def test_a_layer_that_does_not_go_by_its_stride_is_refused():
    network = around(Deaf(8, 8, 3, 2, 1))
    with pytest.raises(ShapeRuleError, match="code of its own"):
        capture(network, X).profile({"1": 4})
    with pytest.raises(ValueError, match="1 makes maps of 32×32 at stride 2 and at 4: its class does not go by its"):
        set_strides(network, {"1": 4}, 64)
    assert network[1].stride == (2, 2)


class Holder:
    """No module, but it holds one."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module


class Hides(nn.Module):
    """A network with a module where `modules()` does not see it."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.conv, self.scale = nn.Conv2d(3, 8, 3, 2, 1), torch.ones(5, 1, 1)
        self.head = nn.Sequential(nn.Conv2d(8, 5, 1), nn.BatchNorm2d(5)).eval()
        head = self._modules.pop("head")
        self.held = {"list": [head], "tuple": (head,), "dict": {"head": head}, "object": Holder(head)}[how]
        self.bytes = sum(tensor.nbytes for tensor in (*self.parameters(), *head.parameters(), self.scale)) + 2 * 5 * 4

    def forward(self, x: Tensor) -> Tensor:
        held = self.held
        head = held.module if isinstance(held, Holder) else held["head"] if isinstance(held, dict) else held[0]
        return head(self.conv(x)) * self.scale * torch.tensor(2.0)


@pytest.mark.parametrize("how", ["list", "tuple", "dict", "object"])
def test_modules_that_are_not_registered_run_and_their_weights_count(how):
    network = Hides(how)
    found = capture(network, X).profile(accounting="eager")
    assert (found.peak_bytes, found.weight_bytes) == (measure_peak(network, X), network.bytes)
    assert [point.name for point in find_pooling_points(network, 64)] == ["conv"]
    assert set_strides(network, {"conv": 4}, 64).conv.stride == (4, 4)


@pytest.mark.parametrize(
    ("network", "strides"),
    [
        ("vgg16", {"features.4": 1, "features.9": 1}),
        ("vgg16", {"features.0": 2, "features.4": 1}),
        ("densenet121", {"features.conv0": 4, "features.transition1.pool": 1}),
    ],
)
def test_blocks_on_both_sides_of_a_pool_that_became_the_identity(network, strides):
    config = StudentConfig(network, image_size=64, strides=strides, red=REDConfig(), alignment="stage-wise")
    found = compare(config, accounting="eager").student
    assert found.peak_bytes == measure_peak(build_student(config), X)
    assert min(layer.peak_bytes for layer in found.layers) > 0

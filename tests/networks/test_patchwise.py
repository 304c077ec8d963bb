"""A network computed patch by patch is the network: same answers, or a sentence that names the layer."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from redistill.networks.patchwise import patched
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig, build_student
from tests.helpers.patchable import random_network


def assert_alike(model: nn.Module, x: Tensor, upto: str, grid: int) -> None:
    with torch.no_grad():
        expected, found = model.eval()(x), patched(model, upto, grid)(x)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6 * max(1.0, float(expected.abs().max())))


@pytest.mark.parametrize("start", range(0, 120, 30))
def test_random_networks_give_what_they_give_whole(start):
    for seed in range(start, start + 30):
        model, x, upto, grid = random_network(seed)
        try:
            assert_alike(model, x, upto, grid)
        except (AssertionError, RuntimeError) as error:
            raise AssertionError(f"seed {seed}, {grid} patches of {tuple(x.shape)}: {model.parts}") from error


@pytest.mark.parametrize(
    ("name", "upto", "grid"),
    [
        ("resnet18", "layer2", 3),
        ("mobilenet_v2", "features.4", 4),
        ("densenet121", "features.transition1", 2),
        ("googlenet", "inception3a", 2),
        ("squeezenet1_1", "features.5", 3),
        ("efficientnet_b0", "features.0", 5),
    ],
)
def test_known_networks_give_what_they_give_whole(name, upto, grid):
    torch.manual_seed(0)
    settings = {"init_weights": False} if name == "googlenet" else {}
    assert_alike(torchvision.models.get_model(name, **settings), torch.randn(2, 3, 70, 61), upto, grid)


@pytest.mark.parametrize("upto", ["conv1", "layer2.0", "layer2"])
def test_students_with_red_blocks_give_what_they_give_whole(upto):
    torch.manual_seed(0)
    strides = {"conv1": 4, "maxpool": 1, "layer4.0": 1}
    student = build_student(StudentConfig("narrow_resnet", 64, strides=strides, red=REDConfig()))
    assert_alike(student, torch.randn(2, 3, 64, 64), upto, 3)


def test_the_network_stays_as_it_was():
    model = torchvision.models.resnet18(num_classes=3).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    image = torch.randn(1, 3, 64, 64)
    kept = image.clone()
    found = patched(model, "layer1", 2)(image)
    assert model.training and model.layer1.training and not found.requires_grad
    assert not model.layer1._forward_hooks and torch.equal(image, kept)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


class Odd(nn.Module):
    """A layer `before`, one thing that patches cannot do, and a layer `last` that ends with it."""

    def __init__(self, act) -> None:
        super().__init__()
        self.before = nn.Conv2d(3, 4, 3, padding=1)
        self.odd = Act(act)
        self.last = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.odd(self.before(x)))


class Act(nn.Module):
    def __init__(self, act) -> None:
        super().__init__()
        self.act = act
        self.positions = nn.Parameter(torch.randn(4, 16, 16))
        self.norm = nn.InstanceNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self, x)


def kept_elsewhere(layer: Act, x: Tensor) -> Tensor:
    half = x[:, :2]
    half.mul_(2)
    return x + 1


ODD = {
    "squeeze-excite": lambda layer, x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)),
    "a whole-map pool": lambda layer, x: x + F.adaptive_avg_pool2d(x, 1),
    "a pool to a grid": lambda layer, x: F.adaptive_avg_pool2d(x, 8),
    "bilinear interpolation": lambda layer, x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "nearest interpolation": lambda layer, x: F.interpolate(x, scale_factor=2),
    "attention's tokens": lambda layer, x: x.flatten(2).transpose(1, 2).transpose(1, 2).view(x.shape),
    "positions": lambda layer, x: x + layer.positions,
    "statistics of the map": lambda layer, x: layer.norm(x),
    "group norm": lambda layer, x: F.group_norm(x, 2),
    "rows by rows": lambda layer, x: x[:, :, ::2],
    "columns turned": lambda layer, x: x.flip(3),
    "rolled": lambda layer, x: x.roll(1, 2),
    "a sum over rows": lambda layer, x: x - x.amax(2, keepdim=True),
    "a border from the other side": lambda layer, x: F.pad(x, (1, 1, 1, 1), mode="circular"),
    "a transposed convolution": lambda layer, x: F.conv_transpose2d(x, torch.ones(4, 4, 2, 2), stride=2),
    "images one by one": lambda layer, x: torch.cat([x[:1], x[1:]]),
    "channels shuffled": lambda layer, x: F.channel_shuffle(x, 2),
    "a value": lambda layer, x: x if x.sum() > 0 else -x,
    "indices of a pool": lambda layer, x: F.max_pool2d(x, 2, return_indices=True)[1].float(),
    "weights of the image": lambda layer, x: F.conv2d(x, x[:1, :, :3, :3].expand(4, 4, 3, 3)),
    "a view written to": kept_elsewhere,
}


@pytest.mark.parametrize("kind", ODD)
def test_what_needs_more_than_a_window_is_refused_by_the_layer_that_does(kind):
    model, x = Odd(ODD[kind]).eval(), torch.randn(2, 3, 16, 16)
    assert_alike(model, x, "before", 4)
    with pytest.raises(ValueError, match="odd") as refused:
        patched(model, "last", 2)(x)
    assert "." in str(refused.value) and "\n" not in str(refused.value)


def test_layers_that_others_look_past_are_refused():
    model, x = torchvision.models.resnet18().eval(), torch.randn(1, 3, 64, 64)
    with pytest.raises(ValueError, match=r"layer1\.0.*layer1\.0\.conv1"):
        patched(model, "layer1.0.conv1", 2)(x)
    with pytest.raises(ValueError, match="avgpool"):
        patched(model, "avgpool", 1)(x)


@pytest.mark.parametrize("grid", [0, -1, 1.5, True, "2", None, 65])
def test_a_grid_that_is_none_is_refused(grid):
    with pytest.raises(ValueError, match="whole number from 1 to 64"):
        patched(torchvision.models.resnet18(), "layer1", grid)


@pytest.mark.parametrize("upto", ["", "layer9", "layer1.0.conv7", None, 3])
def test_a_layer_that_is_none_is_refused(upto):
    with pytest.raises(ValueError, match="No layer"):
        patched(torchvision.models.resnet18(), upto, 2)


def test_more_patches_than_rows_and_no_image_are_refused():
    model = patched(torchvision.models.resnet18(), "layer2", 9)
    with pytest.raises(ValueError, match=r"layer2.*8×8.*at most 8"):
        model(torch.randn(1, 3, 64, 64))
    with pytest.raises(ValueError, match="no image"):
        model(torch.randn(3, 64, 64))


def test_a_layer_that_runs_twice_is_refused():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(self.conv(x))

    with pytest.raises(ValueError, match=r"conv.*more than once"):
        patched(Twice(), "conv", 2)(torch.randn(1, 3, 8, 8))

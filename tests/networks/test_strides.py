"""Pooling points and strides, on networks that no list in the code knows."""

import copy
import itertools
import math
import random
from fractions import Fraction

import pytest
import torch
import torchvision
from torch import nn

from redistill.networks.pooling_points import PoolingPoint, find_pooling_points
from redistill.networks.strides import check_strides, restrided_reductions, set_strides
from redistill.networks.windows import UnitPool
from redistill.networks.zoo import build_network

RESNET = ["conv1", "maxpool", "layer2.0", "layer3.0", "layer4.0"]
# Names of the points and their strides, at 224 px (the narrow ResNet: 64 px).
POINTS = {
    "resnet18": (RESNET, [2, 2, 2, 2, 2]),
    "resnet50": (RESNET, [2, 2, 2, 2, 2]),
    "resnet152": (RESNET, [2, 2, 2, 2, 2]),
    "resnext50_32x4d": (RESNET, [2, 2, 2, 2, 2]),
    "mobilenet_v2": (
        [f"features.{path}" for path in ("0.0", "2.conv.1.0", "4.conv.1.0", "7.conv.1.0", "14.conv.1.0")],
        [2, 2, 2, 2, 2],
    ),
    "mobilenet_v3_small": (
        [f"features.{path}" for path in ("0.0", "1.block.0.0", "2.block.1.0", "4.block.1.0", "9.block.1.0")],
        [2, 2, 2, 2, 2],
    ),
    "efficientnet_b0": (
        [f"features.{path}" for path in ("0.0", "2.0.block.1.0", "3.0.block.1.0", "4.0.block.1.0", "6.0.block.1.0")],
        [2, 2, 2, 2, 2],
    ),
    "vgg16": ([f"features.{index}" for index in (0, 4, 9, 16, 23, 30)], [1, 2, 2, 2, 2, 2]),
    "densenet121": (
        [f"features.{path}" for path in ("conv0", "pool0", "transition1.pool", "transition2.pool", "transition3.pool")],
        [2, 2, 2, 2, 2],
    ),
    "narrow_resnet": (RESNET, [1, 2, 2, 2, 2]),
}


def build(name):
    with torch.device("meta"):
        return build_network(name)


def size_of(name):
    return 64 if name == "narrow_resnet" else 224


@pytest.mark.parametrize("name", POINTS)
def test_finds_the_points_of_the_network(name):
    points = find_pooling_points(build(name), size_of(name))
    names, strides = POINTS[name]
    assert [point.name for point in points] == names
    assert [point.stride for point in points] == strides
    assert [point.reduction for point in points] == [math.prod(strides[: i + 1]) for i in range(len(strides))]
    assert points[0].in_size == (size_of(name),) * 2
    for before, after in itertools.pairwise(points):
        assert after.in_size == before.out_size
        assert after.out_size == tuple(-(-side // after.stride) for side in after.in_size)


@pytest.mark.parametrize("name", POINTS)
def test_sets_every_point_and_back(name):
    model = build(name)
    keys = list(model.state_dict())
    original = find_pooling_points(model, size_of(name))
    own = {point.name: point.stride for point in original}
    for point in original:
        for stride in {1, 4} if point is original[0] else {4 if point.stride == 1 else 1}:
            if math.prod(own.values()) // point.stride * stride > size_of(name):
                continue
            set_strides(model, own | {point.name: stride}, size_of(name))
            changed = find_pooling_points(model, size_of(name))
            assert {p.name: p.stride for p in changed} == own | {point.name: stride}
    set_strides(model, own, size_of(name))
    assert find_pooling_points(model, size_of(name)) == original
    assert list(model.state_dict()) == keys


class Standardized(nn.Conv2d):
    """Calls its convolution with fewer arguments than torch's own layer does, or single numbers."""

    def __init__(self, *args, told=()):
        super().__init__(*args)
        self.told = told

    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(x, weight, self.bias, self.stride, *self.told)


@pytest.mark.parametrize("told", [(), (1,), (1, 1, 1), ("valid",), ([1, 1], (1,), 1)])
def test_convolutions_that_call_torch_in_their_own_way(told):
    model = nn.Sequential(Standardized(3, 4, 3, 2, told=told), nn.Conv2d(4, 4, 3, 2, 1))
    assert [(point.name, point.stride) for point in find_pooling_points(model, 32)] == [("0", 2), ("1", 2)]
    size = nn.Sequential(*set_strides(model, {"0": 4, "1": 1}, 32))(torch.zeros(1, 3, 32, 32)).shape[2]
    assert size == find_pooling_points(model, 32)[-1].out_size[0] == 8


def test_shortcut_follows_its_block():
    model = set_strides(torchvision.models.resnet18(), {"layer2.0": 1, "layer3.0": 4}, 64)
    assert model.layer2[0].conv1.stride == model.layer2[0].downsample[0].stride == (1, 1)
    assert model.layer3[0].conv1.stride == model.layer3[0].downsample[0].stride == (4, 4)
    assert model(torch.randn(2, 3, 64, 64)).shape == (2, 1000)


def test_branches_in_a_container_that_is_never_called():
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3, padding=1)
            self.branches = nn.ModuleDict({"conv": nn.Conv2d(4, 4, 3, 2, 1), "pool": nn.MaxPool2d(3, 2, 1)})

        def forward(self, x):
            x = self.stem(x)
            return self.branches["conv"](x) + self.branches["pool"](x)

    model = Branches()
    assert [(p.name, p.modules) for p in find_pooling_points(model, 32)] == [
        ("stem", ("stem",)),
        ("branches.conv", ("branches.conv", "branches.pool")),
    ]
    set_strides(model, {"branches.conv": 4}, 32)
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 4, 8, 8)


def test_even_pool_at_stride_one_is_the_identity_and_comes_back():
    model = build("vgg16")
    pool = model.features[4]
    set_strides(model, {"features.4": 1}, 64)
    assert isinstance(model.features[4], UnitPool)
    assert find_pooling_points(model, 64)[1].out_size == (64, 64)
    set_strides(model, {"features.4": 2}, 64)
    assert model.features[4] is pool and pool.stride == 2


def test_odd_pool_at_stride_one_stays_a_pool():
    model = set_strides(build("resnet18"), {"maxpool": 1}, 64)
    assert isinstance(model.maxpool, nn.MaxPool2d) and model.maxpool.stride == 1


def test_model_is_left_as_it_was():
    model = torchvision.models.resnet18().train()
    model.layer3.eval()
    state = copy.deepcopy(model.state_dict())
    find_pooling_points(model, 64)
    assert model.training and not model.layer3.training and not model.layer3[0].bn1.training
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_rectangular_images():
    points = find_pooling_points(build("resnet18"), (224, 96))
    assert points[0].out_size == (112, 48) and points[-1].out_size == (7, 3)


@pytest.mark.parametrize(
    ("strides", "words"),
    [
        ({"conv2": 2}, ["'conv2'", "'conv1'", "'layer4.0'"]),
        ({"conv1": 0}, ["'conv1' is 0", "1, 2, 4 or 8"]),
        ({"conv1": -2}, ["'conv1' is -2", "1, 2, 4 or 8"]),
        ({"conv1": 1.5}, ["'conv1' is 1.5", "1, 2, 4 or 8"]),
        ({"conv1": True}, ["'conv1' is True"]),
        ({"conv1": 8, "maxpool": 8}, ["512 times", "224 pixels"]),
    ],
)
def test_strides_that_do_not_fit_are_refused_and_change_nothing(strides, words):
    model = build("resnet18")
    before = find_pooling_points(model, 224)
    with pytest.raises(ValueError) as error:
        set_strides(model, strides, 224)
    assert all(word in str(error.value) for word in words)
    assert find_pooling_points(model, 224) == before


def test_a_failing_forward_rolls_the_strides_back():
    class Valid(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3)
            self.second = nn.Conv2d(4, 4, 5)

        def forward(self, x):
            return self.second(self.stem(x))

    model = Valid()
    said = r"Valid cannot run on 16×16 images with these strides: .*too small\. Choose other strides or another image "
    with pytest.raises(ValueError, match=said):
        set_strides(model, {"stem": 4}, 16)
    assert model.stem.stride == (1, 1)


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_wrappers_are_looked_through(wrap):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1))
    wrapped = wrap(model)
    assert find_pooling_points(wrapped, 32) == find_pooling_points(model, 32)
    set_strides(wrapped, {"0": 4, "1": 1}, 32)
    assert model[0].stride == (4, 4) and model[1].stride == (1, 1)


@pytest.mark.parametrize("size", [0, -8, 2.5, (8, 8, 8), (8, 0)])
def test_image_sizes_are_checked(size):
    with pytest.raises(ValueError, match="Image size is"):
        find_pooling_points(build("resnet18"), size)


def test_global_pools_are_no_points():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert [point.name for point in find_pooling_points(model, 16)] == ["0"]


@pytest.mark.parametrize("seed", range(20))
def test_reductions_at_other_strides_are_those_of_fractions(seed):
    """Of points that are passed more than once, strides of two numbers, and strides that divide no reduction."""
    chosen = random.Random(seed)
    names, points = "abcd", []
    for place, name in enumerate(names):
        path = (*chosen.choices(names[: place + 1], k=chosen.randint(0, 3)), name)
        own, reduction = ((chosen.randint(1, 4), chosen.randint(1, 4)) for _ in range(2))
        points.append(
            PoolingPoint(name, own, tuple(16 * r for r in reduction), (64, 64), (8, 8), (name,), 3, 3, path=path)
        )
    strides = {
        name: chosen.choice((chosen.randint(1, 4), (chosen.randint(1, 4), chosen.randint(1, 4))))
        for name in chosen.sample(names, 3)
    }
    expected = []
    for point in points:
        sides = [Fraction(side) for side in point.reduction]
        for name in point.path:
            if name in strides:
                new = strides[name] if isinstance(strides[name], tuple) else (strides[name],) * 2
                own = points[names.index(name)].stride
                sides = [side * n / o for side, n, o in zip(sides, new, own, strict=True)]
        expected.append(sides)
    found = [r if isinstance(r, tuple) else (r, r) for r in restrided_reductions(points, strides)]
    assert found == [tuple(max(1, round(side)) for side in sides) for sides in expected]
    most = math.ceil(max(side for sides in expected for side in sides))
    check_strides(strides, points, most)
    if most > 1:
        with pytest.raises(ValueError, match=f"has {most - 1} pixels"):
            check_strides(strides, points, most - 1)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)

    def forward(self, x, y):
        return self.stem(x + y)


def test_a_network_of_several_inputs_is_not_told_of_strides():
    said = (
        r"^Two cannot be called with an image alone: .*'y'; expected a network of one input, or count it in Python by"
    )
    with pytest.raises(ValueError, match=said) as error:
        find_pooling_points(Two(), 16)
    assert "strides" not in str(error.value)


@pytest.mark.parametrize("look", [find_pooling_points, lambda model, size: set_strides(model, {"0": 4}, size)])
def test_a_layer_without_a_shape_yet_is_named(look):
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(5))
    with pytest.raises(ValueError, match=r"^Layer '3' \(LazyLinear\) has no shape .*; run it once on an image"):
        look(model, 32)
    model(torch.zeros(1, 3, 32, 32))
    look(model, 32)

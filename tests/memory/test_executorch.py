"""The memory that ExecuTorch plans, from the tape; the figures are `non_const_buffer_sizes` of 1.2.0's .pte files."""

import pytest
import torch
from torch import nn

from benchmarks.helpers.networks import build, student
from redistill.memory import ShapeRuleError, capture
from redistill.memory.executorch import PlannedTensor, place
from redistill.networks.red import REDConfig

AGGRESSIVE = {"conv1": 8, "maxpool": 1, "layer2.0": 2, "layer3.0": 2, "layer4.0": 1}


@pytest.mark.parametrize(
    ("name", "strides", "red", "planned"),
    [
        ("resnet18", {}, None, 6_422_528),
        ("resnet18", AGGRESSIVE, None, 802_816),
        ("resnet18", AGGRESSIVE, REDConfig(), 802_816),
        ("resnet50", {}, None, 10_436_608),  # 9,633,792 are alive at a time
        ("resnet50", AGGRESSIVE, REDConfig(), 3_211_264),
        ("vgg16", {}, None, 25_690_112),
        ("mobilenet_v2", {}, None, 9_633_792),
        ("efficientnet_b0", {}, None, 14_450_688),
        ("densenet121", {}, None, 8_830_976),
    ],
)
def test_the_arena_is_the_one_that_executorch_plans(name, strides, red, planned):
    arena = capture(build(name), (1, 3, 224, 224)).arena(strides, red=red)
    assert arena.bytes == planned >= arena.live_bytes
    if red is not None:
        fresh = capture(student(name, strides, 224, red), (1, 3, 224, 224)).arena()
        assert (fresh.bytes, fresh.live_bytes) == (arena.bytes, arena.live_bytes)
        assert len(fresh.tensors) == len(arena.tensors) and any(tensor.is_red for tensor in arena.tensors)


def test_tensors_that_live_at_a_time_lie_apart():
    tensors = capture(build("densenet121"), (1, 3, 64, 64)).arena().tensors
    for i, one in enumerate(tensors):
        for other in tensors[:i]:
            if one.first <= other.last and other.first <= one.last:
                assert one.offset + one.bytes <= other.offset or other.offset + other.bytes <= one.offset


def test_a_tensor_lies_beside_one_that_lives_in_its_block():
    lives = [(100, 0, 1), (64, 0, 0), (30, 1, 3), (48, 2, 3)]
    offsets, size = place([PlannedTensor("", "", False, *life) for life in lives])
    assert (offsets, size) == ([0, 112, 112, 0], 112 + 64)


class Of(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def test_what_is_written_in_place_elsewhere_is_a_tensor_of_its_own_here():
    bytes_of_one = 3 * 8 * 8 * 4
    arena = capture(Of(lambda x: (x + 1).relu_().mul_(2)), (1, 3, 8, 8)).arena()
    assert [tensor.bytes for tensor in arena.tensors] == [bytes_of_one] * 3 and arena.bytes == 2 * bytes_of_one


def test_operators_that_are_not_known_are_refused_by_name():
    with pytest.raises(ShapeRuleError, match="erf"):
        capture(Of(torch.special.erf), (1, 3, 8, 8)).arena()

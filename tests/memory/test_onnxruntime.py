"""What onnxruntime holds, from the tape: figures of its counted heap; `python -m benchmarks.deploy` counts anew."""

import pytest
import torch
from torch import nn

from redistill.common.modules import weightless
from redistill.memory import capture
from redistill.memory.arena import ALIGNMENT, Life, lives_of, plan_arena
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig, build_student

EARLY = {"conv1": 8, "maxpool": 1, "layer2.0": 2, "layer3.0": 2, "layer4.0": 1}
DENSE_EARLY = {"features.conv0": 8, "features.pool0": 1, "features.transition3.pool": 1}
# Network, strides where RED blocks stand, side, bytes that the heap of onnxruntime 1.32 held (AVX-512).
COUNTED = [
    ("narrow_resnet", None, 64, 376_832),
    ("resnet18", None, 224, 4_616_192),
    ("resnet18", EARLY, 224, 1_404_928),
    ("resnet50", None, 224, 5_820_416),
    ("resnet50", EARLY, 224, 3_813_376),
    ("mobilenet_v2", None, 224, 6_623_232),
    ("vgg16", None, 224, 26_292_224),
    ("densenet121", None, 224, 10_637_312),
    ("densenet121", DENSE_EARLY, 224, 5_845_504),
]


def tape_of(network, strides, side):
    with weightless():
        red = None if strides is None else REDConfig()
        return capture(build_student(StudentConfig(network, side, strides=strides or {}, red=red)), (1, 3, side, side))


@pytest.mark.parametrize(("network", "strides", "side", "counted"), COUNTED)
def test_figures_are_those_of_the_counted_heap(network, strides, side, counted):
    assert tape_of(network, strides, side).profile(accounting="onnxruntime").peak_bytes == counted


@pytest.mark.parametrize(
    ("red", "counted"),
    [
        (REDConfig(gate_kernel=3), 114_688),
        (REDConfig(gate_per="channel"), 81_920),
        (REDConfig(gate=False), 81_920),
        (REDConfig(residual_encoder=False), 98_304),
        (REDConfig(gate_per="channel", residual_encoder=False), 81_920),
    ],
    ids=["gate 3", "per channel", "no gate", "no residual", "scale alone"],
)
def test_red_blocks_are_counted_in_the_form_that_is_exported(red, counted):
    with weightless():
        model = build_student(StudentConfig("narrow_resnet", 64, 10, EARLY | {"conv1": 4}, red=red))
    assert capture(model, (1, 3, 64, 64)).profile(accounting="onnxruntime").peak_bytes == counted


def test_tensors_at_every_step_add_up_and_red_blocks_that_are_put_in_count_as_captured():
    tape = tape_of("resnet18", None, 64)
    spliced = tape.profile(EARLY, accounting="onnxruntime", red=REDConfig())
    fresh = tape_of("resnet18", EARLY, 64).profile(accounting="onnxruntime")
    assert spliced.peak_bytes == fresh.peak_bytes and spliced.red_peak_bytes == fresh.red_peak_bytes
    for profile in (tape.profile(accounting="onnxruntime"), fresh):
        for index, step in enumerate(profile.timeline):
            assert sum(tensor.bytes for tensor in profile.live_tensors(index)) == step.live_bytes
        assert any(tensor.made_by == ("input", "") for tensor in profile.live_tensors(len(profile.timeline) - 1))


class Odd(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.conv, self.function = nn.Conv2d(3, 16, 3), function

    def forward(self, x):
        return self.function(self.conv(x))


@pytest.mark.parametrize("function", [torch.cumsum, torch.sort], ids=["cumsum", "sort"])
def test_operators_of_unknown_rules_are_refused_by_name(function):
    tape = capture(Odd(lambda x: function(x, 1)), (1, 3, 16, 16))
    with pytest.raises(ValueError, match=function.__name__):
        tape.profile(accounting="onnxruntime")


@pytest.mark.parametrize(("settings", "named"), [({"dtype": "int8"}, "int8"), ({"fuse_add": True}, "fuse_add")])
def test_settings_that_it_does_not_have_are_refused(settings, named):
    with pytest.raises(ValueError, match=named):
        tape_of("narrow_resnet", None, 32).profile(accounting="onnxruntime", **settings)


def test_an_arena_holds_all_apart_and_is_never_below_what_is_alive():
    profile = tape_of("resnet18", EARLY, 64).profile(accounting="onnxruntime")
    lives = [*lives_of(profile._timeline), Life(-1, 5, 0, 3), Life(-2, 7, 2, 9)]
    arena = plan_arena(lives)
    assert all(offset % ALIGNMENT == 0 for offset in arena.offsets.values())
    for one in lives:
        for other in lives:
            if one.buffer < other.buffer and one.first <= other.last and other.first <= one.last:
                low, high = sorted((one, other), key=lambda life: arena.offsets[life.buffer])
                assert arena.offsets[low.buffer] + low.bytes <= arena.offsets[high.buffer]
    assert arena.bytes >= profile.peak_bytes and plan_arena([]).bytes == 0


@pytest.mark.parametrize("alignment", [1, 16, 64])
def test_what_never_lives_together_shares_its_place(alignment):
    lives = [Life(0, 100, 0, 1), Life(1, 100, 2, 3), Life(2, 60, 1, 2)]
    arena = plan_arena(lives, alignment)
    assert arena.offsets[0] == arena.offsets[1] == 0 and arena.bytes == -(-100 // alignment) * alignment + 60

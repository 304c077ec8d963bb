"""The memory that ExecuTorch plans, from the tape; the figures are `non_const_buffer_sizes` of 1.2.0's .pte files."""

import pytest
import torch
from torch import nn

from benchmarks.helpers.networks import build, student
from redistill.cli.commands import main
from redistill.memory import ShapeRuleError, capture
from redistill.memory.comparison import network_tape
from redistill.memory.executorch import PlannedTensor, place
from redistill.memory.patching import count_patched
from redistill.memory.profile import GAPS
from redistill.memory.search import search_strides
from redistill.networks.red import REDConfig
from redistill.networks.zoo import build_network, find_network

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


@pytest.mark.parametrize("dtype", ["fp32", "int8"])
@pytest.mark.parametrize(
    ("name", "size", "strides", "red"),
    [
        ("resnet18", 224, AGGRESSIVE, REDConfig()),
        ("resnet50", 224, {}, None),  # whose plan has gaps
        ("efficientnet_b0", 64, {}, None),
        ("unet_small", 32, {}, None),  # attention, group norms
    ],
)
def test_it_is_an_accounting_as_the_others_are(name, size, strides, red, dtype):
    tape = network_tape(name)
    settings = {"strides": strides, "image_size": size, "red": red, "dtype": dtype}
    arena = tape.arena(**settings)
    profile = tape.profile(**settings, accounting="executorch")
    fused = tape.profile(**settings)
    assert profile.peak_bytes == arena.bytes == max(op.live_bytes for op in profile.timeline)
    assert profile.peak_layer == arena.layer == profile.timeline[profile.peak_index].layer
    assert (profile.macs, profile.weight_bytes, profile.input_bytes) == (
        fused.macs,
        fused.weight_bytes,
        fused.input_bytes,
    )
    assert profile.output_bytes == fused.output_bytes
    assert (profile.red_peak_bytes > 0) == (red is not None)
    for index, op in enumerate(profile.timeline):
        alive = profile.live_tensors(index)
        assert sum(tensor.bytes for tensor in alive) == op.live_bytes
        gaps = [tensor.bytes for tensor in alive if tensor.made_by == GAPS]
        assert gaps == ([arena.bytes - arena.live_bytes] if index == profile.peak_index and
                        arena.bytes > arena.live_bytes else [])  # fmt: skip
    last = profile.live_tensors(len(profile.timeline) - 1)
    assert any(("output", "") in tensor.needed_by for tensor in last)
    (peak,) = tape.peaks(strides, size, dtype=dtype, accounting="executorch", reds=(red,))
    assert (peak.bytes, peak.layer) == (profile.peak_bytes, profile.peak_layer)


def test_a_timestep_is_an_input_however_it_was_given():
    model = build_network(find_network("unet_small"))
    taken = capture(model, (torch.empty(1, 3, 32, 32), torch.tensor([5]))).arena()
    assert network_tape("unet_small").arena().bytes == taken.bytes


def test_a_search_and_the_shell_count_as_it_plans(capsys):
    found = search_strides(network_tape("narrow_resnet"), accounting="executorch")
    best = found.candidates[0]
    assert best.peak_bytes == network_tape("narrow_resnet").arena(best.strides, red=REDConfig()).bytes
    assert main(["memory", "resnet18", "--accounting", "executorch", "--no-red"]) == 0
    assert "teacher: 6,422,528 bytes" in capsys.readouterr().out


@pytest.mark.parametrize(
    "ask",
    [
        lambda tape: tape.profile(accounting="executorch"),
        lambda tape: search_strides(tape, accounting="executorch"),
        lambda tape: count_patched(tape, "0", 2, accounting="executorch"),
        lambda tape: tape.profile(accounting="executorch", fuse_add=True),
    ],
)
def test_what_it_is_not_known_of_is_refused_in_a_sentence(ask):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2), Of(lambda x: torch.cumsum(x, 1)))
    with pytest.raises(ValueError, match=r"executorch|ExecuTorch") as refused:
        ask(capture(model, (1, 3, 16, 16)))
    assert not isinstance(refused.value, ShapeRuleError)  # which would have it captured anew


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


def test_a_batch_norm_without_running_statistics_is_an_operator_of_its_own():
    norm = nn.BatchNorm2d(16, track_running_stats=False)
    tape = capture(nn.Sequential(nn.Conv2d(3, 16, 3), norm, nn.ReLU(), nn.Conv2d(16, 16, 3)), (1, 3, 32, 32))
    assert tape.arena().bytes == 115_328  # as ExecuTorch 1.2 plans it: two maps, a mean and a spread a channel


def test_operators_that_are_not_known_are_refused_by_name():
    with pytest.raises(ShapeRuleError, match="erf"):
        capture(Of(torch.special.erf), (1, 3, 8, 8)).arena()

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


@pytest.mark.parametrize(
    ("network", "strides", "side", "counted"),
    [("resnext50_32x4d", (4, 1, 2, 2, 2), 64, 835_584), ("torchvision:regnet_y_400mf", (2, 4, 2, 2, 1), 48, 322_560)],
)
def test_groups_that_are_no_blocks_of_channels_read_maps_as_they_are(network, strides, side, counted):
    tape = tape_of(network, None, side)
    points = [point.name for point in tape.points]
    found = tape.profile(dict(zip(points, strides, strict=True)), accounting="onnxruntime")
    assert found.peak_bytes == counted


@pytest.mark.parametrize(
    ("network", "side", "counted"), [("mobilenet_v3_small", 64, 151_552), ("timm:lcnet_050", 96, 405_504)]
)
def test_hard_swish_joins_a_convolution_and_one_a_channel_reads_blocks_of_however_few(network, side, counted):
    assert tape_of(network, None, side).profile(accounting="onnxruntime").peak_bytes == counted


class Beside(nn.Module):
    """Two maps beside one another, convolved."""

    def __init__(self, one, other):
        super().__init__()
        self.one, self.other, self.last = nn.Conv2d(3, one, 3), nn.Conv2d(3, other, 3), nn.Conv2d(one + other, 16, 3)

    def forward(self, x):
        return self.last(torch.cat([self.one(x), self.other(x)], 1))


@pytest.mark.parametrize(
    ("one", "other", "counted"), [(16, 32, 78_336), (8, 24, 65_792), (16, 8, 46_976)], ids=["blocks", "halves", "one"]
)
def test_whole_blocks_alone_are_put_beside_one_another(one, other, counted):
    assert capture(Beside(one, other), (1, 3, 16, 16)).profile(accounting="onnxruntime").peak_bytes == counted


@pytest.mark.parametrize(
    ("last", "counted"),
    [
        ((6, 6, 3, 1, 1, 1, 6), 88_576),
        ((6, 6, 5, 2, 2, 1, 3), 81_664),
        ((18, 18, 3, 1, 1), 125_440),
        ((18, 18, 1, 2), 104_704),
        ((18, 18, 1), 81_408),
        ((18, 300, 3, 4, 1), 81_408),
        ((32, 32, 3, 1, 1, 1, 8), 168_448),
    ],
    ids=["one a channel", "groups", "odd channels", "strided pixels", "pixels", "many filters", "narrow groups"],
)
def test_a_convolution_without_blocks_unfolds_its_map_into_a_workspace(last, counted):
    model = nn.Sequential(nn.Conv2d(3, last[0], 1), nn.Conv2d(*last))
    profile = capture(model, (1, 3, 16, 24)).profile(accounting="onnxruntime")
    assert profile.peak_bytes == counted
    rooms = [one for i in range(len(profile.timeline)) for one in profile.live_tensors(i) if not one.is_tensor]
    assert {(one.shape, one.made_by) for one in rooms} <= {((), ("workspace", "1"))}


class Summed(nn.Module):
    """Maps that a sum takes: as what a convolution gave, of narrow maps beside one another, or drawn larger."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.first, self.last = kind, nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 64, 1)
        self.second = nn.Conv2d(3 if kind == "beside" else 16, 16, 3, padding=1)
        self.halves = nn.ModuleList(nn.Conv2d(3, 8, 3, padding=1) for _ in range(2))
        self.norm = nn.BatchNorm2d(16)

    def forward(self, x):
        if self.kind == "beside":
            return self.last(torch.cat([half(x) for half in self.halves], 1) + self.second(x))
        x = self.first(x)
        if self.kind == "own":
            return self.second(torch.relu(x + self.second(x)))
        y = nn.functional.relu6(self.norm(x + self.second(x)))
        return self.last(y) + self.last(y * y)


@pytest.mark.parametrize(("kind", "counted"), [("own", 35_840), ("beside", 134_144), ("normalized", 134_144)])
def test_what_a_sum_takes_decides_what_is_written_in_place_and_how_maps_lie(kind, counted):
    assert capture(Summed(kind), (1, 3, 16, 16)).profile(accounting="onnxruntime").peak_bytes == counted


SQUEEZED = REDConfig(residual_squeeze=4)


@pytest.mark.parametrize(
    ("settings", "counted"),
    [
        ({"teacher": "timm:ghostnet_050"}, 471_040),
        ({"teacher": "timm:ghostnet_100"}, 811_008),
        ({"teacher": "timm:starnet_s1", "stem": "patches", "red": SQUEEZED}, 860_160),
        ({"teacher": "timm:hrnet_w18_small"}, 729_600),
    ],
    ids=["ghostnet_050", "ghostnet_100", "starnet_s1", "hrnet"],
)
def test_networks_of_narrow_maps_norms_after_sums_and_maps_drawn_larger_are_counted(settings, counted):
    config = StudentConfig(**{"image_size": (64, 96), "red": None} | settings)
    with weightless():
        tape = capture(build_student(config), (1, 3, 64, 96))
    assert tape.profile(accounting="onnxruntime").peak_bytes == counted


class Centred(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, self.weight - self.weight.mean(0), self.bias)


@pytest.mark.parametrize(
    ("last", "named"),
    [
        (nn.AdaptiveAvgPool2d((4, 7)), "adaptive_avg_pool2d from 14×14 to 4×7"),
        (Centred(16, 8, 3), "conv2d of weights that it computes"),
        (Odd(lambda x: x[:, 3:]), "slice"),
        (Odd(lambda x: sum(x.chunk(4, 1))), "split"),
        (Odd(lambda x: x * x.transpose(2, 3)), "mul of a map and its transpose"),
        (nn.BatchNorm2d(16, track_running_stats=False), "batch_norm without running statistics in layer '1'"),
    ],
    ids=["pool", "weights", "slice", "chunk", "turned", "norm"],
)
def test_what_it_runs_in_ways_that_are_not_known_is_refused(last, named):
    first = [] if isinstance(last, Odd) else [nn.Conv2d(3, 16, 3)]
    tape = capture(nn.Sequential(*first, last), (1, 3, 16, 16))
    with pytest.raises(ValueError, match=f"how it runs {named}"):
        tape.profile(accounting="onnxruntime")


GROUPED = nn.Conv2d(16, 24, 3, padding=1, groups=8)


@pytest.mark.parametrize(
    ("layers", "shape", "counted"),
    [
        ([GROUPED], (1, 16, 11, 11), 84_928),
        ([nn.Conv2d(3, 16, 3, padding=1), GROUPED], (1, 3, 1, 2), 536),  # the workspace too
        ([nn.Flatten(), nn.Linear(243, 37), nn.ReLU(), nn.Linear(37, 10)], (1, 3, 9, 9), 1_228),
    ],
    ids=["map", "workspace", "vectors"],
)
def test_all_but_the_input_takes_whole_lines_of_64_bytes(layers, shape, counted):
    assert capture(nn.Sequential(*layers), shape).profile(accounting="onnxruntime").peak_bytes == counted


def test_pools_that_are_pools_there_are_counted():
    tape = capture(nn.Sequential(nn.Conv2d(3, 16, 3), nn.AdaptiveAvgPool2d((7, 2))), (1, 3, 16, 16))
    assert tape.profile(accounting="onnxruntime").peak_bytes == 4 * (3 * 16**2 + 16 * 14**2 + 16 * 7 * 2)


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

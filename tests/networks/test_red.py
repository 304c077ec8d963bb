"""RED blocks, the rule of asynchronous alignment, and students built with both."""

import copy
import dataclasses
import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from redistill.checkpoint.teacher import load_teacher
from redistill.common.modules import weightless
from redistill.networks.alignment import AlignedPair, align, feature_pairs, red_sites
from redistill.networks.pooling_points import find_pooling_points
from redistill.networks.red import REDBlock, REDConfig, REDLayer, insert_red, red_modules
from redistill.networks.strides import set_strides
from redistill.networks.student import StudentConfig, build_reference, build_student
from redistill.networks.zoo import build_network

IMAGENET = {"conv1": 8, "maxpool": 1, "layer2.0": 2, "layer3.0": 2, "layer4.0": 1}
RESNET_PAIRS = [("conv1", "layer2.0", "out"), ("layer2.0", "layer3.0", "both"), ("layer3.0", "layer4.0", "both")]
MOBILENET = [f"features.{path}" for path in ("0.0", "2.conv.1.0", "4.conv.1.0", "7.conv.1.0", "14.conv.1.0")]
V3 = [f"features.{path}" for path in ("0.0", "1.block.0.0", "2.block.1.0", "4.block.1.0", "9.block.1.0")]
EFFICIENT = [f"features.{path}" for path in ("0.0", "2.0.block.1.0", "3.0.block.1.0", "4.0.block.1.0", "6.0.block.1.0")]
DENSE = [f"features.{path}" for path in ("conv0", "pool0", "transition1.pool", "transition2.pool", "transition3.pool")]
VGG = [f"features.{index}" for index in (0, 4, 9, 16, 23, 30)]


def eight_one(names):
    """The published change 2,2,2,2,2 → 8,1,2,2,1 on five points, and the pairs that it gives."""
    strides = dict(zip(names, (8, 1, 2, 2, 1), strict=True))
    pairs = [(names[0], names[2], "out"), (names[2], names[3], "both"), (names[3], names[4], "both")]
    return strides, pairs


CASES = {
    "resnet18": (224, {}, IMAGENET, RESNET_PAIRS),
    "resnet50": (224, {}, IMAGENET, RESNET_PAIRS),
    "resnet152": (224, {}, IMAGENET, RESNET_PAIRS),
    "resnext50_32x4d": (224, {}, IMAGENET, RESNET_PAIRS),
    # The paper's STL-10 setting: stem and stages 1,1222121 → 4,1221111.
    "mobilenet_v2": (
        128,
        {MOBILENET[0]: 1},
        {MOBILENET[0]: 4, MOBILENET[3]: 1, MOBILENET[4]: 1},
        [
            (MOBILENET[0], MOBILENET[2], "out"),
            (MOBILENET[1], MOBILENET[3], "both"),
            (MOBILENET[2], MOBILENET[4], "both"),
        ],
    ),
    "mobilenet_v3_small": (224, {}, *eight_one(V3)),
    "efficientnet_b0": (224, {}, *eight_one(EFFICIENT)),
    "densenet121": (224, {}, *eight_one(DENSE)),
    "vgg16": (
        224,
        {},
        {VGG[0]: 4, VGG[1]: 1, VGG[5]: 1},
        [
            (VGG[0], VGG[2], "out"),
            (VGG[2], VGG[3], "both"),
            (VGG[3], VGG[4], "both"),
            (VGG[4], VGG[5], "both"),
        ],
    ),
    "narrow_resnet": (64, {}, {"conv1": 4, "maxpool": 1, "layer4.0": 1}, RESNET_PAIRS),
}


def aligned_pairs(config: StudentConfig) -> list[AlignedPair]:
    """How the student of `config` aligns with its teacher."""
    with weightless():
        student = build_student(dataclasses.replace(config, red=None))
        return align(student, build_reference(config), config.image_size, config.alignment)


def summary(pairs):
    sides = {("out",): "out", ("in",): "in", ("in", "out"): "both"}
    return [(pair.student, pair.teacher, sides[pair.sides]) for pair in pairs if pair.sides]


@pytest.mark.parametrize("name", CASES)
def test_rule_gives_the_published_pairs(name):
    size, teacher_strides, strides, expected = CASES[name]
    config = StudentConfig(name, size, strides=strides, teacher_strides=teacher_strides)
    pairs = aligned_pairs(config)
    assert summary(pairs) == expected
    with torch.device("meta"):
        student = build_student(config)
    assert [pair.student for pair in pairs] == [point.name for point in find_pooling_points(student, size)]
    unaligned = [pair for pair in pairs if not pair.sides]
    assert unaligned and all(pair.teacher is None and "stride is 1" in pair.reason for pair in unaligned)


def test_a_stride_four_stem_keeps_the_max_pool_in_the_pairs():
    config = StudentConfig("resnet18", 224, strides={"conv1": 4, "maxpool": 2, "layer4.0": 1})
    assert summary(aligned_pairs(config)) == [
        ("conv1", "maxpool", "out"),
        ("maxpool", "layer2.0", "both"),
        ("layer2.0", "layer3.0", "both"),
        ("layer3.0", "layer4.0", "both"),
    ]


def test_pairs_across_architectures():
    config = StudentConfig(
        "resnet18", 224, architecture="mobilenet_v2", strides={MOBILENET[0]: 8, MOBILENET[1]: 1, MOBILENET[4]: 1}
    )
    pairs = aligned_pairs(config)
    assert summary(pairs) == [
        (MOBILENET[0], "layer2.0", "out"),
        (MOBILENET[2], "layer3.0", "both"),
        (MOBILENET[3], "layer4.0", "both"),
    ]
    with torch.device("meta"):
        student = build_student(config)
    assert list(red_modules(student)) == [
        f"{MOBILENET[0]}.red_out",
        *(f"{name}.red_{side}" for name in MOBILENET[2:4] for side in ("in", "out")),
    ]


def test_stage_wise_alignment_pairs_the_same_layers():
    names = list(IMAGENET)
    pairs = aligned_pairs(StudentConfig("resnet18", 224, strides=IMAGENET, alignment="stage-wise"))
    assert summary(pairs) == [(name, name, "both" if name != "conv1" else "out") for name in names]
    assert [pair.out_size for pair in pairs] == [(28, 28), (28, 28), (14, 14), (7, 7), (7, 7)]
    assert sum(len(sides) for sides in red_sites(pairs, REDConfig()).values()) == 9
    unet = StudentConfig(
        "unet_small", 32, strides={"conv_in": 2, "down_blocks.2.downsamplers.0": 1}, alignment="stage-wise"
    )
    assert [(name, partner) for name, partner, _ in summary(aligned_pairs(unet))] == [
        (point.name, point.name) for point in find_pooling_points(build_reference(unet), 32)
    ]


@pytest.mark.parametrize("pool", [nn.MaxPool2d(3, stride=1, padding=1), nn.Identity()])
@pytest.mark.parametrize("built_without", ["student", "teacher"])
def test_stage_wise_alignment_does_not_shift_where_a_layer_is_no_point(pool, built_without):
    whole, without = (load_teacher("resnet18", 10) for _ in range(2))
    without.maxpool = pool
    pairs = align(*((without, whole) if built_without == "student" else (whole, without)), 64, "stage-wise")
    found = {pair.student: pair.teacher for pair in pairs}
    assert found.pop("maxpool", None) is None
    assert found == {name: name for name in ("conv1", "layer2.0", "layer3.0", "layer4.0")}


def test_stage_wise_alignment_across_architectures_goes_by_place():
    config = StudentConfig("narrow_resnet", 64, 10, architecture="vgg16", alignment="stage-wise")
    pairs = aligned_pairs(config)
    assert [pair.teacher for pair in pairs] == ["conv1", "maxpool", "layer2.0", "layer3.0", "layer4.0", None]
    assert pairs[-1].sides == () and "fewer resolution-changing layers" in pairs[-1].reason
    with torch.device("meta"):
        assert "features.23.red_in" in red_modules(build_student(config))


def test_sizes_that_the_teacher_never_makes_stay_unaligned_with_the_reason():
    with torch.device("meta"):
        teacher = build_network("resnet18")
        student = set_strides(build_network("resnet18"), {"conv1": 3}, 224)
    pair = align(student, teacher, 224)[0]
    assert pair.teacher is None and pair.sides == ()
    assert pair.reason == "no resolution-changing layer of the teacher makes 75×75 maps"


def test_unet_aligns_the_ten_published_maps():
    strides = {"conv_in": 2, "down_blocks.2.downsamplers.0": 1}
    pairs = aligned_pairs(StudentConfig("unet_small", 32, strides=strides))
    down, up = "down_blocks.{}.downsamplers.0", "up_blocks.{}.upsamplers.0"
    assert summary(pairs) == [
        ("conv_in", down.format(0), "out"),
        (down.format(0), down.format(1), "both"),
        (down.format(1), down.format(2), "both"),
        (up.format(1), up.format(0), "both"),
        (up.format(2), up.format(1), "both"),
        ("conv_norm_out", up.format(2), "in"),
    ]
    outermost = red_sites(pairs, REDConfig(points="outermost"))
    assert {name: tuple(sides) for name, sides in outermost.items()} == {"conv_in": ("out",), "conv_norm_out": ("in",)}


def test_block_is_gate_times_input_plus_residual():
    torch.manual_seed(0)
    block = REDBlock(4).train()
    x = torch.randn(3, 4, 5, 6)

    def conv_bn(branch, padding):
        y = F.conv2d(x, branch[0].weight, padding=padding)
        mean, var = y.mean((0, 2, 3), keepdim=True), y.var((0, 2, 3), unbiased=False, keepdim=True)
        scale, shift = (value.view(1, -1, 1, 1) for value in (branch[1].weight, branch[1].bias))
        return scale * (y - mean) / (var + branch[1].eps).sqrt() + shift

    gate = 1 / (1 + torch.exp(-conv_bn(block.gate, 0)))
    residual = conv_bn(block.residual_encoder, 1).clamp(0, 6)
    torch.testing.assert_close(block(x), gate * x + residual)


def test_a_fresh_block_changes_little():
    torch.manual_seed(0)
    x = torch.randn(8, 16, 12, 12)
    for config in (
        REDConfig(),
        REDConfig(gate=False),
        REDConfig(residual_encoder=False),
        REDConfig(gate_per="channel"),
        REDConfig(gate=False, residual_squeeze=4),
        REDConfig(residual_depthwise=True),
    ):
        y = REDBlock(16, config).train()(x)
        assert F.cosine_similarity(x.flatten(1), y.flatten(1)).min() > 0.98
        assert 0.8 < y.std() / x.std() < 1.05


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (REDConfig(), 8 * 8 * (1 + 9) + 4 * 8),
        (REDConfig(gate=False), 8 * 8 * 9 + 2 * 8),
        (REDConfig(residual_encoder=False), 8 * 8 + 2 * 8),
        (REDConfig(gate_per="channel"), 8 * 8 * 9 + 2 * 8 + 8),
        (REDConfig(gate_per="channel", residual_encoder=False), 8),
        (REDConfig(residual_kernel=5, gate_kernel=3), 8 * 8 * (25 + 9) + 4 * 8),
        (REDConfig(gate=False, residual_squeeze=4), 2 * 8 * 2 + 9 * 2 * 2 + 2 * (2 + 2 + 8)),
        (REDConfig(gate=False, residual_depthwise=True), 8 * 9 + 2 * 8),
        (REDConfig(gate=False, residual_squeeze=2, residual_depthwise=True), 2 * 8 * 4 + 9 * 4 + 2 * (4 + 4 + 8)),
    ],
)
def test_ablations_are_settings(config, parameters):
    block = REDBlock(8, config)
    assert sum(parameter.numel() for parameter in block.parameters()) == parameters
    assert block(torch.randn(2, 8, 6, 6)).shape == (2, 8, 6, 6)


def test_a_gate_that_does_not_look_at_its_map_is_one_number_a_channel():
    torch.manual_seed(0)
    paper, channel = REDBlock(8).eval(), REDBlock(8, REDConfig(gate_per="channel")).eval()
    assert paper.channel_scale() is None
    conv, norm = paper.gate
    with torch.no_grad():
        norm.running_mean.normal_(), norm.running_var.uniform_(0.5, 2), norm.bias.normal_()
        conv.weight[:4], norm.weight[4:] = 0, 0
    scale = paper.channel_scale()
    channel.load_state_dict(
        {name: value for name, value in paper.state_dict().items() if "gate" not in name}
        | {"scale": scale[:, None, None]}
    )
    x = torch.randn(2, 8, 6, 6)
    torch.testing.assert_close(channel(x), paper(x), rtol=1e-6, atol=1e-6)
    assert REDBlock(8, REDConfig(gate=False)).channel_scale().tolist() == [1] * 8


def test_a_squeezed_encoder_is_a_bottleneck_that_ends_linear():
    torch.manual_seed(0)
    block = REDBlock(8, REDConfig(gate=False, residual_squeeze=4)).eval()
    x = 10 * torch.randn(2, 8, 5, 6)
    first, _, _, second, _, _, last, norm = block.residual_encoder
    scale = (1 + norm.eps) ** -0.5  # of fresh batch norms in evaluation
    y = F.conv2d(x, first.weight * scale).clamp(0, 6)
    y = F.conv2d(y, second.weight * scale, padding=1).clamp(0, 6)
    y = F.conv2d(y, last.weight * scale) * norm.weight[0]
    torch.testing.assert_close(block(x), x + y)
    assert (block(x) - x).min() < 0  # a relu6 at the end would give no less than 0
    by_channel = REDBlock(8, REDConfig(residual_depthwise=True)).eval()
    other = x.clone()
    other[:, 1:] += 1
    assert torch.equal(by_channel.residual(x)[:, 0], by_channel.residual(other)[:, 0])


def test_settings_of_before_stay_as_they_were_written():
    assert not {"gate_per", "residual_squeeze", "residual_depthwise"} & set(REDConfig().to_dict())
    lean = REDConfig(gate=False, residual_squeeze=4, residual_depthwise=True)
    assert REDConfig.from_dict(lean.to_dict()) == lean and lean.to_dict()["residual_squeeze"] == 4
    config = StudentConfig("narrow_resnet", 64, red=REDConfig(gate_per="channel"))
    assert StudentConfig.from_dict(config.to_dict()) == config and config.to_dict()["red"]["gate_per"] == "channel"
    assert "gate_per" not in StudentConfig("narrow_resnet", 64).to_dict()["red"]


@pytest.mark.parametrize(
    "values",
    [
        {"gate": False, "residual_encoder": False},
        {"gate": 1},
        {"residual_kernel": 2},
        {"gate_kernel": True},
        {"residual_squeeze": 3},
        {"residual_depthwise": 1},
        {"points": "some"},
        {"gate_per": "row"},
        {"widht": 3},
    ],
)
def test_red_settings_are_checked(values):
    with pytest.raises(ValueError):
        REDConfig.from_dict(values)


def test_insertion_makes_real_submodules_and_refuses_wrong_paths():
    model = build_network("narrow_resnet", 10)
    insert_red(model, {"layer2.0": {"in": 16, "out": 32}}, REDConfig())
    assert isinstance(model.layer2[0], REDLayer)
    assert "layer2.0.red_in.gate.0.weight" in model.state_dict()
    clone = copy.deepcopy(model).eval()
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(clone(x), model.eval()(x))
    before = list(model.state_dict())
    for sites in ({"layer9": {"out": 4}}, {"layer2.0": {"out": 32}}, {"layer3.0": {"side": 4}}, {"layer3.0": {}}):
        with pytest.raises(ValueError):
            insert_red(model, sites, REDConfig())
    assert list(model.state_dict()) == before


@pytest.mark.parametrize("name", [*CASES, "unet_small"])
def test_json_round_trip_rebuilds_the_same_student(name):
    unet = (32, {}, {"conv_in": 2, "down_blocks.2.downsamplers.0": 1}, None)
    size, teacher_strides, strides, _ = CASES.get(name, unet)
    config = StudentConfig(
        name, size, strides=strides, teacher_strides=teacher_strides, red=REDConfig(residual_kernel=1, points="outputs")
    )
    again = StudentConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    with torch.device("meta"):
        first, second = build_student(config), build_student(again)
    shapes = [{key: value.shape for key, value in model.state_dict().items()} for model in (first, second)]
    assert shapes[0] == shapes[1] and any("red_out" in key for key in shapes[0])


@pytest.mark.parametrize(
    "values",
    [
        {"teacher": "resnet19", "image_size": 64},
        {"teacher": "resnet18", "image_size": 0},
        {"teacher": "resnet18"},
        {"teacher": "resnet18", "image_size": 64, "stride": {}},
        {"teacher": "resnet18", "image_size": 64, "strides": [4]},
        {"teacher": "resnet18", "image_size": 64, "red": {"kernel": 3}},
        {"teacher": "resnet18", "image_size": 64, "alignment": "stagewise"},
    ],
)
def test_student_settings_are_checked(values):
    with pytest.raises(ValueError):
        StudentConfig.from_dict(values)


def test_student_without_red_or_alignment_has_no_blocks():
    assert not red_modules(build_student(StudentConfig("narrow_resnet", 64, 5, {"conv1": 4, "maxpool": 1}, red=None)))
    # At the teacher's strides every layer aligns with itself.
    same = build_student(StudentConfig("narrow_resnet", 64, 5))
    assert "maxpool.red_in" in red_modules(same)


def test_student_may_start_from_the_teachers_weights():
    config = StudentConfig("narrow_resnet", 64, 5, {"conv1": 4, "maxpool": 1, "layer4.0": 1})
    teacher = build_reference(config)
    student = build_student(config, weights=teacher)
    inner = student.layer2[0].layer
    assert isinstance(inner, nn.Module) and torch.equal(inner.conv1.weight, teacher.layer2[0].conv1.weight)
    assert torch.equal(student.fc.weight, teacher.fc.weight)
    fresh = build_student(config)
    assert not torch.equal(fresh.fc.weight, teacher.fc.weight)


def test_weights_of_another_architecture_are_refused():
    config = StudentConfig("narrow_resnet", 64, 5, architecture="mobilenet_v2")
    with pytest.raises(ValueError, match="shares no weights with 'narrow_resnet'"):
        build_student(config, weights=build_reference(config))


def test_feature_pairs_follow_the_points_setting():
    config = StudentConfig("narrow_resnet", 64, strides={"conv1": 4, "maxpool": 1, "layer4.0": 1})
    pairs = aligned_pairs(config)
    assert len(feature_pairs(pairs)) == 5
    assert feature_pairs(pairs, "outputs") == [
        (("conv1", "out"), ("layer2.0", "out")),
        (("layer2.0", "out"), ("layer3.0", "out")),
        (("layer3.0", "out"), ("layer4.0", "out")),
    ]

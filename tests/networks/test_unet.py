"""The diffusers U-Net with pooling strides and RED blocks."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from diffusers import UNet2DModel
from helpers.unets import SITES, STUDENT, TEACHER, TINY, noisy, predict, same, tiny

from redistill.networks.red import REDConfig, red_modules
from redistill.networks.unet import PAPER_UNET, SMALL_UNET, UNet


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("given", [None, TEACHER])
def test_teacher_strides_equal_diffusers(padding, given):
    torch.manual_seed(0)
    theirs = UNet2DModel(**TINY, downsample_padding=padding).eval()
    ours = tiny(given, seed=5, downsample_padding=padding)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict(theirs.state_dict())
    assert ours.config.pooling_strides == TEACHER
    assert same(predict(ours), predict(theirs))


def test_the_papers_network_has_the_published_blocks():
    with torch.device("meta"):
        student = UNet(**PAPER_UNET, pooling_strides=STUDENT).add_red(REDConfig(), SITES)
        plain = UNet2DModel(**PAPER_UNET)
    assert sum(p.numel() for p in plain.parameters()) == 35_746_307
    blocks = red_modules(student)
    assert len(blocks) == 10
    assert [block.gate[0].in_channels for block in blocks.values()] == [
        128,
        128,
        128,
        256,
        256,
        256,
        256,
        256,
        256,
        128,
    ]


def test_the_small_network_ships_in_under_ten_megabytes():
    with torch.device("meta"):
        student = UNet(**SMALL_UNET, pooling_strides=STUDENT).add_red(REDConfig(), SITES)
    weights = sum(value.numel() * value.element_size() for value in student.state_dict().values())
    assert weights + 128 * len(student.state_dict()) < 10_000_000  # the header takes about 100 bytes a tensor


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("strides", [STUDENT, (4, 2, 1, 1), TEACHER, (1, 4, 1, 2), (8, 1, 1, 1), (1, 1, 1, 1)])
def test_sides_follow_the_strides_and_the_decoder_mirrors_them(strides, padding):
    model = tiny(strides, downsample_padding=padding)
    sides = {}

    def note(name):
        return lambda module, args, output: sides.update({name: (args[0].shape[-1], output.shape[-1])})

    for point in model.pooling_modules():
        model.get_submodule(point.name).register_forward_hook(note(point.name))
    assert predict(model).shape == (2, 3, 16, 16)
    names = [point.name for point in model.pooling_modules()]
    encoder, decoder = names[:4], names[4:]
    side = 16
    for name, stride in zip(encoder, strides, strict=True):
        assert sides[name] == (side, side // stride), name
        side //= stride
    for name, stride in zip(decoder[:3], reversed(strides[1:]), strict=True):
        assert sides[name] == (side, side * stride), name
        side *= stride
    assert sides["conv_norm_out"] == (side, side) and side * strides[0] == 16


def test_points_are_listed_in_the_order_of_the_network():
    points = tiny(STUDENT, red=True).pooling_modules()
    assert [(p.name, p.stride, p.direction, p.sides) for p in points] == [
        ("conv_in", 2, "down", ("out",)),
        ("down_blocks.0.downsamplers.0", 2, "down", ("in", "out")),
        ("down_blocks.1.downsamplers.0", 2, "down", ("in", "out")),
        ("down_blocks.2.downsamplers.0", 1, "down", ("in", "out")),
        ("up_blocks.0.upsamplers.0", 1, "up", ("in", "out")),
        ("up_blocks.1.upsamplers.0", 2, "up", ("in", "out")),
        ("up_blocks.2.upsamplers.0", 2, "up", ("in", "out")),
        ("conv_norm_out", 2, "up", ("in",)),
    ]
    assert [(p.in_channels, p.out_channels) for p in points] == [
        (3, 8), (8, 8), (16, 16), (16, 16), (24, 24), (16, 16), (16, 16), (8, 3),
    ]  # fmt: skip
    model = tiny(STUDENT, red=True)
    for path in (path for point in points for path in point.modules):
        model.get_submodule(path)


def test_strides_change_in_place_and_back():
    model = tiny(TEACHER)
    before, image = copy.deepcopy(model.state_dict()), predict(model)
    model.set_pooling_strides(STUDENT)
    assert model.config.pooling_strides == STUDENT
    assert model.conv_out.weight.shape == (12, 8, 3, 3)
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert {name.split(".")[0] for name in changed} <= {"conv_out"}
    assert predict(model).shape == image.shape and not same(predict(model), image)
    model.set_pooling_strides(TEACHER)
    assert same(predict(model), image)


def test_a_new_tail_starts_as_a_nearest_neighbour_enlargement():
    output = predict(tiny(TEACHER).set_pooling_strides((4, 2, 2, 1)))
    corners = output[..., ::4, ::4].repeat_interleave(4, -1).repeat_interleave(4, -2)
    assert torch.allclose(output, corners, atol=1e-6)


def test_red_blocks_change_the_output_and_learn():
    model = tiny(STUDENT, red=True)
    assert len(red_modules(model)) == 10
    plain = tiny(STUDENT)
    plain_state = {
        name.replace(".layer.", "."): value for name, value in model.state_dict().items() if ".red_" not in name
    }
    plain.load_state_dict(plain_state)
    assert (predict(plain) - predict(model)).abs().max() > 1e-3
    x, t = noisy()
    model.train()(x, t).sample.square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.conv_norm_out.red_in.gate[0].parameters())


def test_head_and_tail_only():
    model = UNet(
        **TINY, pooling_strides=STUDENT, red=REDConfig(gate=False).to_dict(),
        red_sites={"conv_in": ["out"], "conv_norm_out": ["in"]},
    )  # fmt: skip
    assert list(red_modules(model)) == ["conv_in.red_out", "conv_norm_out.red_in"]
    assert model.conv_in.red_out.gate is None


@pytest.mark.parametrize("red", [False, True])
def test_config_rebuilds_the_same_network_through_json(red):
    model = tiny(STUDENT, red=red)
    rebuilt = UNet.from_config(json.loads(model.to_json_string()))
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    assert {name: value.shape for name, value in rebuilt.state_dict().items()} == shapes
    assert rebuilt.config.pooling_strides == STUDENT
    assert rebuilt.config.red == model.config.red and rebuilt.config.red_sites == model.config.red_sites
    rebuilt.load_state_dict(model.state_dict())
    assert same(predict(rebuilt.eval()), predict(model))


def test_copies_are_independent():
    model = tiny(STUDENT, red=True)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.conv_in.red_out.residual_encoder[0].weight.zero_()
        twin.conv_out.bias.add_(1.0)
    assert same(predict(model), predict(tiny(STUDENT, red=True)))
    assert not same(predict(model), predict(twin))


@pytest.mark.parametrize(
    ("strides", "words"),
    [
        ((1, 2, 2), "expected 4 strides"),
        ((1, 2, 2, 3), r"3 in \(1, 2, 2, 3\) is not one of \[1, 2, 4, 8\]"),
        ((0, 2, 2, 2), "Pooling stride 0"),
        ((-2, 2, 2, 2), "Pooling stride -2"),
        ((2.0, 2, 2, 2), r"Pooling stride 2\.0"),
        ((True, 2, 2, 2), "Pooling stride True"),
        ("2222", "Pooling strides are '2222'"),
    ],
)
def test_bad_strides_are_refused(strides, words):
    with pytest.raises(ValueError, match=words):
        tiny(strides)
    model = tiny(TEACHER)
    with pytest.raises(ValueError, match=words):
        model.set_pooling_strides(strides)
    assert model.config.pooling_strides == TEACHER


def test_sizes_that_do_not_divide_are_refused_with_sizes_that_do():
    model = tiny(STUDENT)
    with pytest.raises(ValueError, match=r"20x20 does not fit .* multiples of 8, such as 16 or 24"):
        predict(model, size=20)
    with pytest.raises(ValueError, match="multiples of 8, such as 8 or 16"):
        model.check_image_size(4)
    with pytest.raises(ValueError, match="16x12"):
        model.check_image_size((16, 12))
    with pytest.raises(ValueError, match="multiples of 64"):
        model.set_pooling_strides((8, 2, 2, 2), image_size=16)
    assert model.config.pooling_strides == STUDENT
    assert model.check_image_size(24) == (24, 24) and model.check_image_size((16, 8)) == (16, 8)
    assert predict(model, size=24).shape == (2, 3, 24, 24)


@pytest.mark.parametrize(
    ("red", "sites", "words"),
    [
        (REDConfig().to_dict(), None, "come together"),
        (None, SITES, "come together"),
        (REDConfig().to_dict(), {"mid_block": ["out"]}, "'mid_block' is no pooling layer.*'conv_in'"),
        (REDConfig().to_dict(), {"conv_in": ["in"]}, r"\['in'\]; expected some of \['out'\]"),
        (REDConfig().to_dict(), {"conv_in": []}, "expected some of"),
        ({"gates": True}, SITES, "Unknown RED setting 'gates'"),
    ],
)
def test_bad_red_settings_are_refused(red, sites, words):
    with pytest.raises(ValueError, match=words):
        UNet(**TINY, pooling_strides=STUDENT, red=red, red_sites=sites)


def test_strides_do_not_change_under_red_blocks():
    with pytest.raises(ValueError, match="set strides before RED blocks"):
        tiny(STUDENT, red=True).set_pooling_strides(TEACHER)


def test_samplers_without_a_convolution_are_refused():
    with pytest.raises(ValueError, match="expected DownBlock2D"):
        UNet(**{**TINY, "down_block_types": ("ResnetDownsampleBlock2D",) * 4})
    with pytest.raises(ValueError, match="no convolution whose stride could change"):
        UNet(**{**TINY, "down_block_types": ("AttnDownBlock2D",) * 4, "downsample_type": "resnet"})

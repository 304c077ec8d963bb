"""Multiply-accumulates: by hand, by torchvision's published figures, by torch's own counter."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from redistill.memory import capture
from redistill.memory.macs import operator_macs
from redistill.networks.alignment import align, red_sites
from redistill.networks.red import REDConfig, insert_red
from redistill.networks.strides import set_strides
from redistill.networks.unet import SMALL_UNET, UNet


def convolution(groups: int = 1, transposed: bool = False) -> tuple:
    """Arguments by schema position; only groups and direction matter beside the shapes."""
    return (None, None, None, [1, 1], [0, 0], [1, 1], transposed, [0, 0], groups)


@pytest.mark.parametrize(
    ("op", "args", "ins", "out", "expected"),
    [
        # 8 maps of 5×6 places, each from a 3×3 window of 4 maps
        ("convolution", convolution(), ((2, 4, 7, 8), (8, 4, 3, 3), (8,)), (2, 8, 5, 6), 2 * 8 * 5 * 6 * 4 * 9),
        # two groups see half of the maps, a depthwise convolution one
        ("convolution", convolution(2), ((1, 4, 7, 8), (8, 2, 3, 3)), (1, 8, 5, 6), 8 * 5 * 6 * 2 * 9),
        ("convolution", convolution(4), ((1, 4, 7, 8), (4, 1, 3, 3)), (1, 4, 5, 6), 4 * 5 * 6 * 9),
        # transposed: every number of the input is spread over a 2×2 window of 8 maps, or of 4 of each group
        ("convolution", convolution(1, True), ((1, 4, 5, 6), (4, 8, 2, 2)), (1, 8, 10, 12), 4 * 5 * 6 * 8 * 4),
        ("convolution", convolution(2, True), ((1, 4, 5, 6), (4, 4, 2, 2)), (1, 8, 10, 12), 4 * 5 * 6 * 4 * 4),
        ("convolution", convolution(), ((1, 4, 9), (8, 4, 3)), (1, 8, 7), 8 * 7 * 4 * 3),
        ("linear", (), ((2, 7, 16), (10, 16), (10,)), (2, 7, 10), 2 * 7 * 16 * 10),
        ("mm", (None, None), ((3, 4), (4, 5)), (3, 5), 3 * 4 * 5),
        ("bmm", (None, None), ((2, 3, 4), (2, 4, 5)), (2, 3, 5), 2 * 3 * 4 * 5),
        ("matmul", (), ((6, 1, 3, 4), (2, 4, 5)), (6, 2, 3, 5), 6 * 2 * 3 * 4 * 5),
        ("matmul", (), ((4,), (4,)), (), 4),
        ("addmm", (None, None, None, 1, 1), ((5,), (3, 4), (4, 5)), (3, 5), 3 * 4 * 5),
        ("baddbmm", (None, None, None, 1, 1), ((2, 3, 5), (2, 3, 4), (2, 4, 5)), (2, 3, 5), 2 * 3 * 4 * 5),
        # 2 images, 3 heads, 7 queries, 9 keys of 4 numbers, values of 5
        (
            "scaled_dot_product_attention",
            (),
            ((2, 3, 7, 4), (2, 3, 9, 4), (2, 3, 9, 5)),
            (2, 3, 7, 5),
            2 * 3 * (7 * 9 * 4 + 7 * 9 * 5),
        ),
        ("relu", (None,), ((2, 8, 5, 6),), (2, 8, 5, 6), 0),
        ("native_batch_norm", (), ((2, 8, 5, 6), (8,), (8,), (8,), (8,)), (2, 8, 5, 6), 0),
        ("max_pool2d_with_indices", (None, [3, 3]), ((2, 8, 5, 6),), (2, 8, 3, 4), 0),
    ],
)
def test_operators_by_hand(op, args, ins, out, expected):
    assert operator_macs(op, args, ins, out) == expected


@pytest.mark.parametrize(
    "name",
    ["resnet18", "resnext50_32x4d", "mobilenet_v2", "mobilenet_v3_small", "densenet121", "vgg16", "vit_b_16"],
)
def test_published_figures_of_torchvision(name):
    meta = torchvision.models.get_model_weights(name).DEFAULT.meta
    with torch.device("meta"):
        model = torchvision.models.get_model(name)
    assert capture(model, (1, 3, 224, 224)).profile().macs == pytest.approx(1e9 * meta["_ops"], abs=0.6e6)


def flops(model: nn.Module, size: tuple[int, ...]) -> int:
    """What torch counts on the meta device: two operations a MAC."""
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(size, device="meta"), *([10] if isinstance(model, UNet) else []))
    return counter.get_total_flops()


@pytest.mark.parametrize("red", [None, REDConfig(), REDConfig(gate=False, residual_kernel=5), REDConfig(gate_kernel=3)])
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_students_equal_torchs_counter(name, red):
    def build() -> nn.Module:
        with torch.device("meta"):
            return torchvision.models.get_model(name)

    tape = capture(build(), (1, 3, 128, 128))
    first, second, *_, last = tape.points
    strides = {first.name: 8, second.name: 1, last.name: 1}
    student = set_strides(build(), strides, 96)
    if red is not None:
        sites = red_sites(align(student, build(), 96), red)
        assert sites
        with torch.device("meta"):
            insert_red(student, sites, red)
    counted = flops(student, (3, 3, 96, 96))
    assert 2 * tape.profile(strides, image_size=96, batch=3, red=red).macs == counted
    assert 2 * capture(student, (3, 3, 96, 96)).profile(accounting="eager", dtype="int8").macs == counted


def test_a_unet_with_attention_equals_torchs_counter():
    with torch.device("meta"):
        model = UNet(**SMALL_UNET)
    assert 2 * capture(model, (2, 3, 32, 32)).profile().macs == flops(model, (2, 3, 32, 32))

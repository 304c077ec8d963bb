"""Sizes that a network reads in Python: followed to what they decide, or refused."""

from __future__ import annotations

import itertools
import random

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redistill.memory import ShapeRuleError, Tape, capture
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig, build_student
from redistill.networks.unet import SMALL_UNET, UNet

POINTS = ["conv_in", *(f"down_blocks.{i}.downsamplers.0" for i in range(3))]
RED_SETTINGS = [None, REDConfig(), REDConfig(points="outermost", residual_kernel=1), REDConfig(gate=False)]


class Numbers(nn.Module):
    """Works with sizes that it reads from its tensors, in the way that `how` names."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        batch, channels, height, width = y.shape
        if self.how == "tokens and back":
            tokens = y.view(batch, channels, height * width).transpose(1, 2) * 2
            return tokens.transpose(1, 2).reshape(batch, channels, height, width) + y
        if self.how == "fixed size":
            return F.interpolate(y, size=(16, 16)) * 2
        if self.how == "new tensor":
            return y + torch.ones(y.shape[2:], device=y.device)
        if self.how == "one a picture":
            return y + torch.ones(batch, device=y.device).view(-1, 1, 1, 1)
        if self.how == "twice the size":
            return F.interpolate(y, size=(2 * height, 2 * width)) * 2
        return F.interpolate(y, size=x.shape[2:]) * 2  # the input's size


def same(one, other) -> bool:
    """Equal figures, operator by operator."""
    return one == other and [op.live_bytes for op in one.timeline] == [op.live_bytes for op in other.timeline]


def check(tape: Tape, build, **settings) -> None:
    """The tape at `settings` equals a capture of the network that `build` makes for them."""
    batch, size = settings.get("batch", 1), settings.get("image_size", 16)
    fresh = capture(build(), (batch, 3, size, size))
    for accounting in ("eager", "fused"):
        assert same(tape.profile(accounting=accounting, **settings), fresh.profile(accounting=accounting))


@pytest.mark.parametrize("how", ["tokens and back", "fixed size", "new tensor", "one a picture"])
def test_numbers_are_followed_to_where_they_come_from(how):
    tape = capture(Numbers(how), (1, 3, 16, 16))
    check(tape, lambda: Numbers(how), image_size=24)
    check(tape, lambda: Numbers(how), image_size=34, batch=3)
    strided = Numbers(how)
    strided.conv.stride = (4, 4)
    check(tape, lambda: strided, strides={"conv": 4})


@pytest.mark.parametrize("how", ["twice the size", "input's size"])
def test_sizes_that_are_equal_when_recorded_are_told_apart(how):
    """Twice the map is the image's size only while the image's side is even."""
    tape = capture(Numbers(how), (1, 3, 16, 16))
    for size in (24, 25):
        check(tape, lambda: Numbers(how), image_size=size)
    strided = Numbers(how)
    strided.conv.stride = (4, 4)
    check(tape, lambda: strided, strides={"conv": 4})


def test_a_pass_that_goes_another_way_at_another_size_is_refused_there():
    class Forks(Numbers):
        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x)
            return y * 2 + 1 if x.shape[-1] > 20 else y

    tape = capture(Forks("new tensor"), (1, 3, 16, 16))
    check(tape, lambda: Forks("new tensor"), image_size=20)
    with pytest.raises(ShapeRuleError, match=r"goes by a size in Python.*capture the network anew"):
        tape.profile(image_size=21)
    assert same(tape.anew(image_size=21).profile(), capture(Forks("new tensor"), (1, 3, 21, 21)).profile())


def unet(padding: int) -> dict:
    return {**SMALL_UNET, "downsample_padding": padding, "layers_per_block": 1}


@pytest.mark.parametrize("padding", [0, 1])
def test_strides_of_a_unet_equal_a_fresh_capture(padding):
    """Every part of a level's stride follows: the padding of its down-sampler, the up-sampler, the tail.

    Maps that attention makes of one image lie otherwise than those of several, which get a tape of their own.
    """
    with torch.device("meta"):
        tape = capture(UNet(**unet(padding)), (1, 3, 32, 32))
    with pytest.raises(ShapeRuleError, match="may need a copy"):
        tape.profile(batch=2)
    tapes = {1: tape, 2: tape.anew(batch=2)}
    check(tapes[2], lambda: tape.recording.model, batch=3, image_size=32)
    for vector in ((2, 2, 2, 1), (4, 2, 1, 1), (1, 1, 2, 4)):
        for size, batch in ((64, 1), (32, 2)):
            with torch.device("meta"):
                model = UNet(**unet(padding), pooling_strides=vector)
            strides = dict(zip(POINTS, vector, strict=True))
            check(tapes[batch], lambda model=model: model, strides=strides, image_size=size, batch=batch)
            assert tape.points_at(strides, size) == capture(model, (1, 3, size, size)).points


@pytest.mark.parametrize("red", RED_SETTINGS)
def test_students_of_a_unet_equal_a_fresh_capture(red):
    with torch.device("meta"):
        tape = capture(UNet(**SMALL_UNET), (1, 3, 32, 32))
    chosen = random.Random(7)
    vectors = [v for v in itertools.product((1, 2, 4), repeat=4) if v[0] * v[1] * v[2] * v[3] <= 16]
    for vector in chosen.sample(vectors, 3):
        strides = dict(zip(POINTS, vector, strict=True))
        with torch.device("meta"):
            student = build_student(StudentConfig("unet_small", 64, strides=strides, red=red))
        check(tape, lambda student=student: student, strides=strides, image_size=64, red=red)


def test_a_unet_on_the_tape_refuses_what_it_would_refuse_itself():
    with torch.device("meta"):
        tape = capture(UNet(**SMALL_UNET), (1, 3, 32, 32))
        red = build_student(StudentConfig("unet_small", 32, strides={"conv_in": 2, POINTS[3]: 1}))
    with pytest.raises(ValueError, match=r"36x36.*multiples of 8"):
        tape.profile(image_size=36)
    with pytest.raises(ValueError, match="3"):
        tape.profile({"conv_in": 3})
    with pytest.raises(ShapeRuleError, match="RED blocks for its own strides"):
        capture(red, (1, 3, 32, 32)).profile({"conv_in": 4})
    with torch.device("meta"):
        bare = capture(UNet(**unet(0), pooling_strides=(2, 2, 2, 1)), (1, 3, 32, 32))
    with pytest.raises(ShapeRuleError, match="capture the network anew"):  # no up-sampling there to edit
        bare.profile({POINTS[3]: 2})


def test_tokens_of_a_single_pixel_are_refused():
    """There, what needed a copy needs none."""
    with torch.device("meta"):
        tape = capture(UNet(**SMALL_UNET), (1, 3, 32, 32))
    with pytest.raises(ShapeRuleError, match="may need a copy"):
        tape.profile(dict(zip(POINTS, (4, 4, 2, 1), strict=True)))

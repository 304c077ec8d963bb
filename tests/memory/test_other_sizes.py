"""A tape asked for other sizes: its figure is the allocator's, and what does not run there has none."""

from __future__ import annotations

import pytest
import torch
from helpers.stems import Stem
from torch.nn import functional as F

from redistill.memory import ShapeRuleError, capture, measure_peak

CALLS = {
    "reflected": lambda y: F.pad(y, (2, 1, 1, 2), mode="reflect"),
    "replicated": lambda y: F.pad(y, (2, 1, 1, 2), mode="replicate"),
    "around": lambda y: F.pad(y, (2, 1, 1, 2), mode="circular"),
    "cropped": lambda y: F.pad(y, (-1, -1, 0, -1)),
    "half": lambda y: F.interpolate(y, scale_factor=0.5),
    "a third, bilinear": lambda y: F.interpolate(y, scale_factor=0.3, mode="bilinear"),
    "a quarter, bicubic": lambda y: F.interpolate(y, scale_factor=0.25, mode="bicubic"),
    "pooled": lambda y: F.max_pool2d(y, 3, 2),
    "pooled apart": lambda y: F.max_pool2d(y, 2, 1, 0, 2),
    "averaged to the end": lambda y: F.avg_pool2d(y, 4, 3, 1, ceil_mode=True),
    "adaptive": lambda y: F.adaptive_max_pool2d(y, (3, None)),
    "unshuffled": lambda y: F.pixel_unshuffle(y, 2),
    "unfolded": lambda y: F.unfold(y, 3),
    "windows": lambda y: y.unfold(2, 3, 2),
    "normalized": lambda y: F.instance_norm(y),
    "normalized over all": lambda y: F.layer_norm(y, y.shape[1:]),
    "a wide kernel": lambda y: F.conv2d(y, torch.zeros(4, 8, 5, 5)),
    "transposed": lambda y: F.conv_transpose2d(y, torch.zeros(8, 4, 3, 3), stride=2, padding=2),
    "without its border": lambda y: y[:, :, 2:-2, 1:],
    "a row": lambda y: y[:, :, 3],
    "two rows": lambda y: y[:, :, [0, 3]],
    "three rows": lambda y: y.narrow(2, 1, 3),
    "most of four parts": lambda y: torch.cat(y.chunk(4, 2)[:3], 2),
    "the second part": lambda y: y.split(3, 2)[1],
    "the largest": lambda y: y.topk(3, dim=2)[0],
    "differences": lambda y: y.diff(dim=2),
    "two halves": lambda y: y.unflatten(2, (2, -1)),
    "lines of four": lambda y: y.view(-1, 4),
    "even beside odd": lambda y: torch.stack([y[..., ::2], y[..., 1::2]], -1),
    "gated": lambda y: F.glu(y, 2),
    "unpooled": lambda y: F.max_unpool2d(*F.max_pool2d(y, 2, return_indices=True), 2),
    "places that are learnt": lambda y: y + torch.zeros(1, 8, 16, 16),
    "a layer of sixteen": lambda y: F.linear(y, torch.zeros(4, 16)),
    "a spectrum": lambda y: torch.fft.irfft(torch.fft.rfft(y)),
}
SIZES = [(32, 32), (8, 8), (6, 6), (4, 4), (2, 2), (1, 1), (10, 4), (2, 32), (5, 7), (3, 12)]


def counted(tape, size):
    try:
        return tape.profile(image_size=size, accounting="eager").peak_bytes
    except ShapeRuleError:
        try:
            return tape.anew(image_size=size).profile(accounting="eager").peak_bytes
        except ValueError:
            return None
    except ValueError:
        return None


def real(model, size):
    try:
        return measure_peak(model, torch.zeros(1, 3, *size))
    except (RuntimeError, IndexError, ValueError):
        return None


@pytest.mark.parametrize("name", CALLS)
def test_a_figure_at_any_size_is_the_allocators_or_none_where_it_does_not_run(name):
    model = Stem(CALLS[name])
    tape = capture(model, (1, 3, 32, 32))
    assert {size: counted(tape, size) for size in SIZES} == {size: real(model, size) for size in SIZES}


def test_what_runs_nowhere_is_no_recording():
    for name in ("two rows", "a third, bilinear", "reflected"):
        with pytest.raises(ValueError, match=r"cannot run on inputs of shape \(1, 3, 2, 2\)"):
            capture(Stem(CALLS[name]), (1, 3, 2, 2))

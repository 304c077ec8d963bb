"""Exact or refused, for any network: random small ones whose Python goes by sizes, against the allocator."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from helpers.odd_networks import CHANNELS, network
from torch import nn
from torch.nn import functional as F

from redistill.memory import ShapeRuleError, Tape, capture, measure_peak
from redistill.networks.strides import apply_strides, set_strides

CASES, BATCHED = 500, 25  # of which so many run in one test
SIZES = (8, 12, 15, 20, 24, 32)


def chosen_settings(chosen: random.Random, tape: Tape) -> dict[str, Any]:
    """Other strides, another size, another batch: any of them, or none."""
    settings: dict[str, Any] = {}
    if chosen.random() < 0.6:
        settings["image_size"] = chosen.choice(SIZES)
    if chosen.random() < 0.4:
        settings["batch"] = chosen.choice((1, 2, 3, 4))
    if chosen.random() < 0.4:
        try:
            settings["strides"] = {name: chosen.choice((1, 2, 4)) for name in tape.strides}
        except ValueError as error:  # of networks whose strides cannot be set
            assert is_sentence(error)
    return settings


def is_sentence(error: Exception) -> bool:
    return str(error).endswith(".") and "\n" not in str(error) and "Error" not in str(error)


def real_peak(model: nn.Module, tape: Tape, inputs: tuple, named: dict, settings: dict[str, Any]) -> int | None:
    """What the allocator says at these settings; None where the network does not run there."""
    first, *others = inputs
    size, batch = settings.get("image_size", first.shape[-1]), settings.get("batch", len(first))
    try:
        if settings.get("strides"):
            apply_strides(model, tape.points, settings["strides"])
        return measure_peak(model, (torch.zeros(batch, CHANNELS, size, size), *others), named)
    except (RuntimeError, ValueError, IndexError, AssertionError, ZeroDivisionError):
        return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("start", range(0, CASES, BATCHED))
def test_the_answer_is_the_allocators_or_a_refusal(start):
    kinds = []
    for seed in range(start, start + BATCHED):
        model, inputs, named, words = network(seed)
        try:
            tape = capture(model, inputs, named)
        except ValueError as error:
            assert is_sentence(error), (words, str(error))
            kinds.append("refused")
            continue
        settings = chosen_settings(random.Random(seed), tape)
        try:
            found = tape.profile(accounting="eager", **settings).peak_bytes
            kinds.append("exact")
        except ShapeRuleError as error:
            assert "anew" in str(error), (words, str(error))
            found = captured_anew(tape, settings)
            kinds.append("refused" if found is None else "anew")
        except ValueError as error:
            assert is_sentence(error), (words, str(error))
            continue
        if found is not None:
            assert found == real_peak(model, tape, inputs, named, settings), (words, settings)
    assert kinds.count("exact") >= BATCHED // 4 and kinds.count("refused") <= BATCHED // 3


def captured_anew(tape: Tape, settings: dict[str, Any]) -> int | None:
    try:
        return tape.anew(**settings).profile(accounting="eager").peak_bytes
    except ValueError as error:
        assert is_sentence(error), str(error)
        return None


INDICES = {
    "a list": lambda y: y[:, :, [0, 3, 6]],
    "a list beside a map": lambda y: y[:, :, [0, 3, 6]].sum() + y[:, :, :1],
    "two lists": lambda y: y[[0, 0], [1, 2]],
    "a range": lambda y: y[:, range(0, 8, 2)],
    "an array": lambda y: y[..., np.array([0, 3])],
    "written to": lambda y: (y.__setitem__((slice(None), [0, 2]), 0.0), y)[1],
}
POOLS = {
    "adaptive": lambda y: F.adaptive_max_pool2d(y, 9),
    "adaptive, a line": lambda y: F.adaptive_max_pool1d(y.flatten(2), 9),
    "fractional": lambda y: F.fractional_max_pool2d(y, 2, output_size=9),
    "windows": lambda y: F.max_pool2d(y, 2),
    "windows, with indices": lambda y: F.max_pool2d(y, 2, return_indices=True)[0],
}

BLOCKS = {
    "apart": lambda y: F.unfold(y, 2, stride=3) * 2,
    "overlapping": lambda y: F.fold(F.unfold(y, 3, padding=1), y.shape[2:], 3, padding=1),
    "past the border": lambda y: F.fold(
        F.unfold(y, 3, stride=3) * 2, tuple(side // 3 * 3 for side in y.shape[2:]), 3, stride=3
    ),
    "of one map": lambda y: F.unfold(y[0], 2, stride=4),
}
CHECKED = {  # whose error codes an operator looks at that gives nothing
    "inverse": lambda y: torch.linalg.inv(y @ y.mT),
    "Cholesky": lambda y: torch.linalg.cholesky(y @ y.mT + 0.1 * torch.eye(y.shape[2])),
    "solved": lambda y: torch.linalg.solve(y @ y.mT, y),
}
BESIDE = INDICES | POOLS | BLOCKS | CHECKED


@pytest.mark.parametrize("kind", BESIDE)
def test_tensors_that_torch_makes_beside_the_result_count(kind):
    """Of a list that is an index, of a pool that chooses in Python whether to give its indices, of blocks that lie in
    more memory than they take, and of errors that are looked for."""

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, 2, 1)

        def forward(self, x):
            return BESIDE[kind](self.conv(x))

    network, images = Network().eval(), torch.rand(2, 3, 32, 32)
    tape = capture(network, (2, 3, 32, 32))
    assert tape.profile(accounting="eager").peak_bytes == measure_peak(network, images)
    if kind in BLOCKS:
        assert resized(tape, {"image_size": 34, "batch": 3}) == measure_peak(network, torch.rand(3, 3, 34, 34))
        set_strides(network, {"conv": 1}, 32)
        assert resized(tape, {"strides": {"conv": 1}}) == measure_peak(network, images)


def resized(tape: Tape, settings: dict[str, Any]) -> int | None:
    try:
        return tape.profile(**settings, accounting="eager").peak_bytes
    except ShapeRuleError:
        return captured_anew(tape, settings)

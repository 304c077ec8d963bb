"""Signs that a run goes wrong: on curves made by hand, smooth and not."""

from __future__ import annotations

import math
import random

import pytest

from app.words.signs import Baseline, baseline_sign, loss_sign, red_sign, step_losses
from redistill.common.values import is_number


def falling(steps: int, seed: int = 0, noise: float = 0.1) -> list[float]:
    """A loss that falls from 4 to about 0.4, with noise of a tenth of it."""
    drawn = random.Random(seed)
    return [(0.4 + 3.6 * math.exp(-3 * i / steps)) * (1 + drawn.uniform(-noise, noise)) for i in range(steps)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("steps", [5, 31, 120, 2000])
def test_a_loss_that_falls_shows_no_sign_at_any_step(steps, seed):
    losses = falling(steps, seed, noise=0.3)
    assert {loss_sign(losses[:end]) for end in range(1, steps + 1, max(1, steps // 50))} == {None}


def test_the_bump_of_a_warm_up_and_a_flat_or_zero_loss_show_no_sign():
    bump = [loss * (1 + 0.3 * math.sin(math.pi * i / 1000)) for i, loss in enumerate(falling(1000))]
    assert {loss_sign(bump[:end]) for end in range(1, 1001, 7)} == {None}
    assert loss_sign([0.0] * 100) is None and loss_sign([1.0] * 100) is None and loss_sign([]) is None


def test_a_loss_that_rises_is_said_while_it_rises():
    losses = falling(1000) + [0.58 * 1.01**i for i in range(200)]
    assert loss_sign(losses[:1000]) is None
    said = loss_sign(losses)
    assert said.startswith("The loss has risen") and "lower learning rate" in said
    assert loss_sign(losses + [0.5] * 300) is None  # it came down again


def test_three_spikes_are_unsettled_and_two_are_an_odd_batch():
    losses = falling(1000, noise=0.0)
    for count in (2, 3):
        spiky = list(losses)
        for i in range(count):
            spiky[-5 * i - 1] *= 4
        said = loss_sign(spiky)
        assert (said is None) == (count == 2)
    assert said.startswith("The loss is not settled: 3 of the last 50 steps")


BASELINE = Baseline("On its own", {50: 0.8, 100: 0.85}, 0.86, 100)


def rows(*pairs, figure="accuracy"):
    return [{"kind": "validation", "step": step, figure: score} for step, score in pairs]


@pytest.mark.parametrize(
    ("records", "steps", "is_behind"),
    [
        (rows((50, 0.7)), 100, True),
        (rows((50, 0.795)), 100, False),  # within the margin
        (rows((50, 0.7), (100, 0.9)), 100, False),  # it has caught up
        (rows((40, 0.1)), 100, False),  # early in the run a student may lag behind
        (rows((60, 0.1)), 100, False),  # the baseline was not judged there
        (rows((50, 0.7)), 200, False),  # another schedule: only the ends can be compared
        ([{"kind": "final", "step": 200, "test_accuracy": 0.84}], 200, True),
        ([*rows((50, 0.7)), {"kind": "final", "step": 100, "test_accuracy": 0.9}], 100, False),
        ([], 100, False),
    ],
)
def test_a_run_below_its_baseline(records, steps, is_behind):
    said = baseline_sign(records, steps, "accuracy", BASELINE)
    assert (said is not None) == is_behind
    if said:
        assert said.startswith("Below the baseline:") and "(On its own)" in said


def test_for_a_prediction_the_higher_loss_is_behind():
    known = Baseline("Alone", {50: 0.2}, 0.2, 100)
    assert "a loss of 0.3 at step 50" in baseline_sign(
        rows((50, 0.3), figure="prediction_loss"), 100, "prediction_loss", known
    )
    assert baseline_sign(rows((50, 0.1), figure="prediction_loss"), 100, "prediction_loss", known) is None


def test_red_blocks_that_raise_the_peak():
    assert "2.00 MiB, without them the student needs 1.00 MiB" in red_sign(2**21, 2**20)
    assert red_sign(2**20, 2**20) is None


def test_only_finite_numbers_are_read():
    records = [{"kind": "step", "loss": value} for value in (1, 2.5, "3", None, math.nan, math.inf, True)]
    assert step_losses([*records, {"kind": "final", "loss": 9}]) == [1.0, 2.5]
    assert not is_number([]) and is_number(0)

"""Curves of a run: thinned, without what is not finite, on an axis that tells small from large."""

from __future__ import annotations

import math

from app.distill import run_curves


def test_a_long_curve_is_thinned_and_ends_where_it_ended():
    x, y = run_curves.thin([(step, float(step % 2)) for step in range(1, 1001)], most=100)
    assert len(x) == 100 and x[-1] == 1000
    assert set(y) == {0.5}
    assert run_curves.thin([(1, 2.0)]) == ([1], [2.0])


def test_losses_that_are_not_finite_leave_a_gap_and_no_invalid_json():
    records = [
        {"kind": "step", "step": 1, "loss": 2.0, "red_loss": 1.0},
        {"kind": "step", "step": 2, "loss": math.nan, "red_loss": "x"},
        {"kind": "validation", "step": 2, "accuracy": 0.25},
    ]
    figure = run_curves.loss_figure(records, 10)
    assert {trace["name"]: trace["y"] for trace in figure["data"]} == {"total": [2.0], "RED": [1.0]}
    score = run_curves.score_figure(records, 10, teacher=0.9)
    assert [trace["y"] for trace in score["data"]] == [[0.25], [0.9, 0.9]]


def test_a_small_loss_beside_a_large_one_is_told_apart():
    records = [{"kind": "step", "step": 1, "loss": 20.0, "red_loss": 0.1, "kd_loss": 15.0}]
    assert run_curves.loss_figure(records, 10)["layout"]["yaxis"]["type"] == "log"
    below = {"kind": "step", "step": 2, "loss": 3.0, "feature_loss": -0.5}  # as VID's can be
    for shown in ([], [*records, below]):
        axis = run_curves.loss_figure(shown, 10)["layout"]["yaxis"]
        assert "type" not in axis and axis["rangemode"] == "tozero"


def test_small_numbers_have_no_metric_prefixes():
    rate = run_curves.step_figure([{"kind": "step", "step": 1, "learning_rate": 5e-5}], 10, "learning_rate")
    for figure in (rate, run_curves.loss_figure([], 10)):
        assert figure["layout"]["yaxis"]["exponentformat"] == "e", "5e-5, not 50µ"

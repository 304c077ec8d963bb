"""The benchmark of torch's operators: what it counts, and that nothing is wrong of some of them."""

from __future__ import annotations

import warnings
from collections import Counter

import torch
from torch import nn

from benchmarks import operators


def test_no_figure_is_wrong_of_some_operators():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = Counter()
        for name, network, x in operators.networks(every=30, samples=1):
            said = operators.answer(network, x)
            assert said != "wrong", name
            found[said] += 1
    assert found["exact"] > 50 and found["exact"] > 10 * found["refused"]


def test_a_wrong_figure_is_told(monkeypatch):
    monkeypatch.setattr(operators, "measure_peak", lambda network, x: 1)
    assert operators.answer(nn.ReLU(), torch.ones(2)) == "wrong"
    assert operators.answer(Choosing(), torch.ones(2)) == "refused"


class Choosing(nn.Module):
    def forward(self, x):
        return x[x > 0]

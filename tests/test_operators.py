"""The benchmark of torch's operators: what it counts, and that nothing is wrong of some of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import operators

ROOT = Path(__file__).parent.parent


@pytest.mark.process
def test_no_figure_is_wrong_of_some_operators():
    """In a process of its own: torch's list of operators sets what all of torch goes by."""
    run = [sys.executable, "-m", "benchmarks.operators", "--quick"]
    ended = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True)
    exact, refused, wrong = map(
        int, re.search(r"exact=(\d+) refused=(\d+) wrong=(\d+)$", ended.stdout.strip()).groups()
    )
    assert wrong == 0 and exact > 50 and exact > 10 * refused, ended.stdout


def test_a_wrong_figure_is_told(monkeypatch):
    monkeypatch.setattr(operators, "measure_peak", lambda network, x: 1)
    assert operators.answer(nn.ReLU(), torch.ones(2)) == "wrong"
    assert operators.answer(Choosing(), torch.ones(2)) == "refused"


class Choosing(nn.Module):
    def forward(self, x):
        return x[x > 0]

"""Networks of one's own that answer with something else than a number for each class are refused before they learn."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from helpers.made import small
from torch import nn

from redistill.training.loop import distill
from redistill.training.per_class import confusion

NETWORK = """
import torch
from torch import nn


class Answers(nn.Module):
    def __init__(self, outputs, shape):
        super().__init__()
        self.conv, self.head, self.shape = nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(8, outputs), shape

    def forward(self, x):
        maps = self.conv(x)
        found = self.head(maps.mean((2, 3)))
        return {
            "logits": lambda: found,
            "dict": lambda: {"logits": found},
            "pair": lambda: (found, found),
            "pair in training": lambda: (found, found) if self.training else found,
            "map": lambda: maps,
        }[self.shape]()


def net(num_classes=10):
    return Answers(OUTPUTS, SHAPE)
"""


@pytest.mark.parametrize(
    ("outputs", "shape", "said"),
    [
        ("num_classes + 4", "logits", r"1 image of 32×32 with \(1, 54\); expected \(1, 50\)"),
        ("1", "logits", r"with \(1, 1\); expected \(1, 50\)"),
        ("num_classes", "dict", "with dict; expected"),
        ("num_classes", "pair", "with tuple; expected"),
        ("num_classes", "pair in training", r"8 images of 32×32 with tuple; expected \(8, 50\)"),
        ("num_classes", "map", r"with \(1, 8, 16, 16\); expected"),
    ],
)
def test_other_answers_are_one_sentence(tmp_path, outputs, shape, said):
    (tmp_path / "net.py").write_text(NETWORK.replace("OUTPUTS", outputs).replace("SHAPE", repr(shape)))
    config = small()
    student = dataclasses.replace(config.student, teacher=f"file:{tmp_path / 'net.py'}:net", strides={}, red=None)
    changes = {"teacher_checkpoint": None, "init": "scratch", "kd_weight": 0.0, "red_weight": 0.0}
    config = dataclasses.replace(config, student=student, batch_size=8, **changes)
    with pytest.raises(ValueError, match=said):
        list(distill(config, tmp_path / "run"))


def test_a_prediction_that_is_no_class_is_not_counted_as_another(monkeypatch):
    class Sixth(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.eye(6)[[5] * len(x)]

    split = type("Pictures", (), {"images": torch.zeros(4, 3, 8, 8, dtype=torch.uint8), "labels": torch.arange(4)})
    with pytest.raises(ValueError, match="for class 5; expected classes below 4"):
        confusion(Sixth(), split, 4)
    assert confusion(Sixth(), split, 6).tolist()[0] == [0, 0, 0, 0, 0, 1]

"""Networks of one's own that answer with something else than a number for each class are refused before they learn."""

from __future__ import annotations

import dataclasses

import pytest
import safetensors.torch
import torch
from helpers.made import small
from torch import nn

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import Metadata
from redistill.networks.head import check_answers
from redistill.networks.student import StudentConfig, build_student
from redistill.training.loop import distill
from redistill.training.per_class import confusion
from redistill.training.step import prepare

NETWORK = """
import torch
from torch import nn
from torch.nn import functional as F


class Answers(nn.Module):
    def __init__(self, outputs, shape):
        super().__init__()
        self.conv, self.head, self.shape = nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(8, outputs), shape
        if shape in ("by batch", "by batch, of vectors"):
            self.norm = nn.BatchNorm2d(8, track_running_stats=False)
            self.rows = nn.BatchNorm1d(8, track_running_stats=False)

    def forward(self, x):
        maps = self.conv(x)
        found = self.head(maps.mean((2, 3)))
        return {
            "logits": lambda: found,
            "dict": lambda: {"logits": found},
            "pair": lambda: (found, found),
            "pair in training": lambda: (found, found) if self.training else found,
            "map": lambda: maps,
            "softmax": lambda: found.softmax(1),
            "log_softmax": lambda: found.log_softmax(1),
            "dropout": lambda: F.dropout(found, 0.5),
            "NaN": lambda: found / 0,
            "by batch": lambda: self.head(self.norm(maps).square().mean((2, 3))),
            "by batch, of vectors": lambda: self.head(self.rows(maps.mean((2, 3)))),
            "by batch, elsewhere": lambda: found - found.mean(0),
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
        ("num_classes", "softmax", "answers with probabilities; leave its softmax out, since training takes logits"),
        ("num_classes", "dropout", "differently each time, also in evaluation mode; .* training=self.training"),
        ("num_classes", "NaN", "answers with what is no number"),
        ("num_classes", "by batch", r"beside it .*: batch norm \('norm', 'rows'\) keeps no running statistics; build"),
        ("num_classes", "by batch, of vectors", r"lies beside it in the batch.* track_running_stats=True\.$"),
        ("num_classes", "by batch, elsewhere", "lies beside it in the batch, .* something in it goes by the whole"),
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


def test_log_probabilities_are_as_good_as_logits(tmp_path):
    (tmp_path / "net.py").write_text(NETWORK.replace("OUTPUTS", "num_classes").replace("SHAPE", "'log_softmax'"))
    network = StudentConfig(f"file:{tmp_path / 'net.py'}:net", 32, 5, red=None)
    check_answers(build_student(network), network)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "densenet121", "timm:levit_128s", "timm:nfnet_l0"])
def test_fresh_networks_are_taken_and_torch_draws_on_as_before(name):
    network = StudentConfig(name, num_classes=2, red=None)
    model = build_student(network)
    before = torch.get_rng_state()
    check_answers(model, network)
    assert torch.equal(torch.get_rng_state(), before)


def test_answers_of_zero_or_beyond_all_numbers_are_taken_of_batch_norm_that_has_seen_nothing():
    network = StudentConfig("resnet18", 32, num_classes=2, red=None)
    model = build_student(network)
    nn.init.zeros_(model.fc.weight)
    nn.init.zeros_(model.fc.bias)
    check_answers(model, network)
    nn.init.constant_(model.fc.weight, 1e38)
    check_answers(model, network)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_var.fill_(2)
    with pytest.raises(ValueError, match="resnet18 answers with what is no number"):
        check_answers(model, network)


@pytest.mark.parametrize(
    ("gain", "kd_weight", "said"), [(1e38, 0.0, "what is no number"), (1.0, 1.0, "with probabilities; leave its")]
)
def test_a_teacher_whose_answers_teach_nothing_is_refused(gain, kd_weight, said, tmp_path):
    (tmp_path / "net.py").write_text(NETWORK.replace("OUTPUTS", "num_classes").replace("SHAPE", "'softmax'"))
    config = small()
    own = {"teacher": f"file:{tmp_path / 'net.py'}:net", "strides": {}, "red": None}
    student = dataclasses.replace(config.student, **own)
    teacher = build_student(student)
    checkpoint.save(teacher, Metadata(student, config.dataset), tmp_path / "teacher")
    weights = {name: value * gain for name, value in teacher.state_dict().items()}
    safetensors.torch.save_file(weights, tmp_path / "teacher" / "model.safetensors")
    student = dataclasses.replace(config.student, strides={}, red=None)
    changes = {"init": "scratch", "kd_weight": kd_weight, "red_weight": 0.0, "feature_loss": "rkd"}
    config = dataclasses.replace(config, student=student, teacher_checkpoint=str(tmp_path / "teacher"), **changes)
    with pytest.raises(ValueError, match=f"^The teacher .*{said}"):
        prepare(config)


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

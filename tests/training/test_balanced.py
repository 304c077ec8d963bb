"""Classes of different sizes: a hint that they are, drawing that makes them equally frequent, and weights in losses."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from helpers.pictures import write_classes
from torch.nn import functional as F

from app.words.settings import on_page
from redistill.cli.options import as_options
from redistill.data.datasets import find_dataset
from redistill.networks.student import StudentConfig
from redistill.training.classification import even_rows, even_weights, task_loss
from redistill.training.config import DistillConfig
from redistill.training.loop import distill
from redistill.training.losses import dkd_loss
from redistill.training.presets import PRESETS
from redistill.training.step import prepare, train_step


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def config(tmp_path):
    folder = write_classes(tmp_path / "P", {"large": 20, "small": 5})
    student = StudentConfig("narrow_resnet", 16, 2, red=None)
    return DistillConfig(student, f"folder:{folder}", steps=1, batch_size=8)


@pytest.mark.parametrize(("counts", "is_told"), [((40, 10), True), ((30, 10), False), ((10, 10), False)])
def test_a_hint_from_three_to_one_on(tmp_path, counts, is_told):
    folder = write_classes(tmp_path / "P", dict(zip(("large", "small"), counts, strict=True)))
    notes = " ".join(find_dataset(f"folder:{folder}").notes)
    assert ("'large' has 32 training pictures, 'small' 8; `balanced`" in notes) == is_told
    assert ("`class_weights`" in notes) == is_told


@pytest.mark.parametrize("sizes", [(900, 90, 9), (1, 500), (50, 50)])
def test_classes_come_equally_often(sizes):
    labels = torch.cat([torch.full((size,), label) for label, size in enumerate(sizes)])
    drawn = torch.cat([labels[even_rows(labels, min(64, len(labels)), step, 3)] for step in range(60)])
    shares = drawn.bincount(minlength=len(sizes)) / len(drawn)
    assert (shares - 1 / len(sizes)).abs().max() < 0.04
    assert torch.equal(even_rows(labels, 8, 5, 3), even_rows(labels, 8, 5, 3))


@pytest.mark.parametrize("sizes", [(900, 90, 9), (1, 500), (50, 50), (40, 0, 10), (7,)])
def test_classes_weigh_the_same_and_a_picture_one_in_the_mean(sizes):
    labels = torch.cat([torch.full((size,), label) for label, size in enumerate(sizes)])
    weights = even_weights(labels, len(sizes))
    assert weights.dtype == torch.float32 and torch.isclose(weights[labels].mean(), torch.tensor(1.0))
    of_classes = [float(weight * size) for weight, size in zip(weights, sizes, strict=True) if size]
    assert max(of_classes) - min(of_classes) < 1e-3 * max(of_classes)
    assert all(weight == 0 for weight, size in zip(weights, sizes, strict=True) if not size)


@pytest.mark.parametrize(("mixed", "smoothing"), [(False, 0.0), (True, 0.0), (False, 0.3), (True, 0.1)])
def test_the_loss_is_the_mean_of_weighted_pictures(config, mixed, smoothing):
    problem, _ = prepare(dataclasses.replace(config, class_weights=True, label_smoothing=smoothing))
    torch.testing.assert_close(problem.class_weights, torch.tensor([19 / (2 * 16), 19 / (2 * 3)]))
    logits, labels = torch.randn(6, 2), torch.tensor([0, 0, 1, 0, 1, 0])
    targets = torch.lerp(F.one_hot(labels, 2).float(), F.one_hot(labels.flip(0), 2).float(), 0.3) if mixed else labels
    shares = targets if mixed else F.one_hot(labels, 2).float()
    shares = (1 - smoothing) * shares + smoothing / 2
    by_hand = -(problem.class_weights * shares * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(task_loss(problem, logits, targets), by_hand)
    halves = [task_loss(problem, *half) for half in zip(logits.split(3), targets.split(3), strict=True)]
    torch.testing.assert_close(sum(halves) / 2, by_hand)  # as two processes share it


def test_labels_are_smoothed(config):
    problem, _ = prepare(dataclasses.replace(config, label_smoothing=0.2))
    logits, labels = torch.randn(6, 2), torch.tensor([0, 0, 1, 0, 1, 0])
    shares = 0.8 * F.one_hot(labels, 2) + 0.1
    torch.testing.assert_close(task_loss(problem, logits, labels), -(shares * logits.log_softmax(1)).sum(1).mean())


def test_dkd_weighs_its_pictures():
    student, teacher, labels = torch.randn(6, 3), torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    one_by_one = torch.stack(
        [dkd_loss(*(part[i : i + 1] for part in (student, teacher, labels)), 4.0) for i in range(6)]
    )
    weights = torch.tensor([0.0, 2.0, 1.0, 0.5, 1.0, 1.5])
    torch.testing.assert_close(dkd_loss(student, teacher, labels, 4.0, weights=weights), (weights * one_by_one).mean())
    torch.testing.assert_close(dkd_loss(student, teacher, labels, 4.0, weights=torch.ones(6)), one_by_one.mean())


@pytest.mark.parametrize("name", ["balanced", "class_weights", "label_smoothing"])
def test_a_run_evens_classes_out_and_settings_stay_as_they_were(tmp_path, config, name):
    assert name not in config.to_dict()
    value = 0.1 if name == "label_smoothing" else True
    even = dataclasses.replace(config, **{name: value})
    assert DistillConfig.from_dict(even.to_dict()) == even
    losses = [next(distill(one, tmp_path / str(place)))["loss"] for place, one in enumerate((config, even))]
    assert losses[0] != losses[1]
    off = "0" if name == "label_smoothing" else "false"
    with pytest.raises(ValueError, match=f"{name} is {value}; expected {off} with a diffusion network"):
        dataclasses.replace(PRESETS["faces"].config, **{name: value})
    with pytest.raises(ValueError, match="balanced and class_weights both make up"):
        dataclasses.replace(config, balanced=True, class_weights=True)


def test_a_stopped_run_with_weights_comes_to_the_same_ones(tmp_path, config):
    config = dataclasses.replace(config, class_weights=True, steps=3, save_every=1, mixup=0.3)
    whole, halves = list(distill(config, tmp_path / "whole")), tmp_path / "halves"
    for record in distill(config, halves):
        if record["step"] == 2:
            break
    losses = lambda records: [record["loss"] for record in records if record["kind"] == "step"]  # noqa: E731
    assert losses(distill(config, halves)) == losses(whole)[2:]


def test_every_choice_of_strides_weighs_classes(tmp_path):
    folder = write_classes(tmp_path / "P", {"large": 12, "small": 4})
    student = StudentConfig("narrow_resnet", 32, 2, red=None)
    config = DistillConfig(student, f"folder:{folder}", steps=1, batch_size=8, stride_vectors=2)
    found = []
    for weighed in (False, True):
        problem, state = prepare(dataclasses.replace(config, class_weights=weighed))
        found.append(train_step(problem, state)["task_loss"])
    assert found[0] != found[1]


def test_the_hint_calls_settings_as_shell_and_page_do(tmp_path):
    folder = write_classes(tmp_path / "P", {"large": 40, "small": 10})
    (hint,) = find_dataset(f"folder:{folder}").notes
    assert "--balanced" in as_options(hint) and "--class-weights" in as_options(hint) and "`" not in as_options(hint)
    assert "“Classes weigh evenly”" in on_page(hint) and "“Classes are drawn evenly”" in on_page(hint)
    assert on_page("`a.png` of `nothing`") == as_options("`a.png` of `nothing`") == "`a.png` of `nothing`"

"""Losses against values worked out by hand or written out in numpy."""

import math

import numpy as np
import pytest
import torch

from redistill.losses import kd_loss, red_loss


def test_red_cosine_by_hand():
    # Channel means: student (1, 0, 0, 0) and (1, 1, 0, 0); teacher (0, 1, 0, 0) and (1, 0, 0, 0).
    student = torch.tensor([[[[2.0, 0], [0, 0]], [[0, 0], [0, 0]]], [[[1.0, 1], [0, 0]], [[1, 1], [0, 0]]]])
    teacher = torch.tensor([[[[0.0, 3], [0, 0]]], [[[5.0, 0], [0, 0]]]])
    expected = ((1 - 0) + (1 - 1 / math.sqrt(2))) / 2
    assert red_loss(student, teacher, "cosine").item() == pytest.approx(expected)


@pytest.mark.parametrize("distance", ["cosine", "mse"])
def test_red_equals_a_reference_with_any_channel_counts(distance):
    torch.manual_seed(0)
    student, teacher = torch.randn(3, 4, 5, 6), torch.randn(3, 7, 5, 6)
    s, t = (x.numpy().mean(1).reshape(3, -1) for x in (student, teacher))
    if distance == "mse":
        expected = np.mean((s - t) ** 2)
    else:
        expected = np.mean(1 - (s * t).sum(1) / np.linalg.norm(s, axis=1) / np.linalg.norm(t, axis=1))
    assert red_loss(student, teacher, distance).item() == pytest.approx(expected, rel=1e-5)


def test_red_of_equal_maps_is_zero_and_gradients_reach_the_student():
    student = torch.randn(2, 3, 4, 4, requires_grad=True)
    assert red_loss(student, student.detach(), "cosine").item() == pytest.approx(0, abs=1e-6)
    red_loss(student, torch.randn(2, 5, 4, 4), "cosine").backward()
    assert student.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("shape", "distance", "words"),
    [((2, 3, 4, 5), "cosine", "equal batch, height and width"), ((2, 3, 4, 4), "l1", r"'l1'; expected one of")],
)
def test_red_refuses_what_does_not_align(shape, distance, words):
    with pytest.raises(ValueError, match=words):
        red_loss(torch.randn(2, 3, 4, 4), torch.randn(shape), distance)


def test_kd_equals_a_reference():
    rng = np.random.default_rng(0)
    s, t = rng.normal(size=(2, 5, 4))
    temperature = 3.0

    def softmax(x):
        e = np.exp(x / temperature)
        return e / e.sum(1, keepdims=True)

    expected = (softmax(t) * np.log(softmax(t) / softmax(s))).sum(1).mean() * temperature**2
    assert kd_loss(torch.tensor(s), torch.tensor(t), temperature).item() == pytest.approx(expected)

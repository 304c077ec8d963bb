"""Distillation losses as pure functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

DISTANCES = ("cosine", "mse")


def channel_mean(features: Tensor) -> Tensor:
    """Mean over channels of a feature map: (batch, channels, height, width) → (batch, 1, height, width)."""
    return features.mean(dim=1, keepdim=True)


def red_loss(student: Tensor, teacher: Tensor, distance: str = "cosine") -> Tensor:
    """RED loss of one aligned pair of feature maps, a scalar (ReDistill, section 3.3).

    Both maps are (batch, channels, height, width) with equal batch, height and width; the channel counts are free
    because each map is reduced to its mean over channels first. "cosine": mean over the batch of 1 − cos of the
    flattened maps, in [0, 2]; "mse": their mean squared error. Maps that have been reduced already (one channel) give
    the same value. Raises ValueError for sizes that differ and for an unknown distance.
    """
    if distance not in DISTANCES:
        raise ValueError(f"RED distance is {distance!r}; expected one of {list(DISTANCES)}.")
    if student.shape[0] != teacher.shape[0] or student.shape[2:] != teacher.shape[2:]:
        raise ValueError(
            f"RED loss of maps {tuple(student.shape)} and {tuple(teacher.shape)}; expected equal batch, height and "
            "width, as aligned layers have."
        )
    s = channel_mean(student).flatten(1)
    t = channel_mean(teacher).flatten(1)
    if distance == "mse":
        return F.mse_loss(s, t)
    return (1 - F.cosine_similarity(s, t, dim=1)).mean()


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Knowledge distillation of logits (batch, classes), a scalar: T² · KL(teacher ‖ student) at temperature T.

    Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network" (2015), section 2.
    """
    teacher = F.log_softmax(teacher_logits / temperature, dim=1)
    student = F.log_softmax(student_logits / temperature, dim=1)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2


def mean_of(losses: list[Tensor]) -> Tensor:
    """Mean of scalar losses; the RED part of the total loss averages over its pairs."""
    return torch.stack(losses).mean()

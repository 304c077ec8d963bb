"""Distillation losses as pure functions of tensors.

Every function returns a scalar and takes the student's tensor first. The teacher's is a constant: gradients reach the
student's alone. Batches come first in every shape; all tensors are of one floating dtype, any but where stated.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

DISTANCES = ("cosine", "mse", "correlation")
MLLD_TEMPERATURES = (0.5, 0.75, 1.0, 1.25, 1.5)  # times the one that is set: 2 to 6, as published, at 4


# Feature maps, after ReDistill


def channel_mean(features: Tensor) -> Tensor:
    """Mean over channels of a feature map: (batch, channels, height, width) → (batch, 1, height, width)."""
    return features.mean(dim=1, keepdim=True)


def red_loss(student: Tensor, teacher: Tensor, distance: str = "cosine") -> Tensor:
    """RED loss of one aligned pair of feature maps, a scalar (ReDistill, section 3.3).

    Both maps are (batch, channels, height, width) with equal batch, height and width; the channel counts are free
    because each map is reduced to its mean over channels first. "cosine": mean over the batch of 1 − cos of the
    flattened maps, in [0, 2]; "mse": their mean squared error; "correlation": as "cosine", of the
    maps less their mean over places, which maps after a ReLU, all of one sign, share whatever they show. Maps that have
    been reduced already (one channel) give the same value. Raises ValueError for sizes that differ and for an unknown
    distance.
    """
    if distance not in DISTANCES:
        raise ValueError(f"RED distance is {distance!r}; expected one of {list(DISTANCES)}.")
    check_places("RED loss", student, teacher)
    s = channel_mean(student).flatten(1)
    t = channel_mean(teacher.detach()).flatten(1)
    if distance == "mse":
        return F.mse_loss(s, t)
    if distance == "correlation":
        s, t = (maps - maps.mean(dim=1, keepdim=True) for maps in (s, t))
    return (1 - F.cosine_similarity(s, t, dim=1)).mean()


def check_places(what: str, student: Tensor, teacher: Tensor) -> None:
    """ValueError, naming the loss `what`, for maps that cannot be compared place by place."""
    if student.shape[0] != teacher.shape[0] or student.shape[2:] != teacher.shape[2:]:
        raise ValueError(
            f"{what} of maps {tuple(student.shape)} and {tuple(teacher.shape)}; expected equal batch, height and "
            "width, as aligned layers have."
        )


def pool_to_smaller(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps (batch, channels, height, width), average-pooled over space to the smaller height and width.

    Maps that have that size are returned as they are. This is how maps of stage-wise alignment become comparable.
    """
    size = [min(sides) for sides in zip(student.shape[2:], teacher.shape[2:], strict=True)]
    pooled = (x if list(x.shape[2:]) == size else F.adaptive_avg_pool2d(x, size) for x in (student, teacher))
    return tuple(pooled)


def mean_of(losses: list[Tensor]) -> Tensor:
    """Mean of scalar losses; the RED part of the total loss averages over its pairs."""
    return torch.stack(losses).mean()


# Logits


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Knowledge distillation of logits (batch, classes), a scalar: T² · KL(teacher ‖ student) at temperature T.

    Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network" (2015), section 2.
    """
    teacher = F.log_softmax(teacher_logits.detach() / temperature, dim=1)
    student = F.log_softmax(student_logits / temperature, dim=1)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2


def mlld_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Multi-level logit distillation of logits (batch, classes), a scalar: KD, and how pictures and classes relate.

    At each of five temperatures, MLLD_TEMPERATURES times the one given, with probabilities p of the student and t of
    the teacher, (batch, classes): `kd_loss` + ‖p pᵀ − t tᵀ‖² / batch + ‖pᵀ p − tᵀ t‖² / classes. The mean over the
    temperatures, where the paper has the sum, so that it weighs about as much as KD.

    Jin, Wang and Lin, "Multi-level logit distillation" (CVPR 2023), equations 3 to 9.
    """
    losses = []
    for factor in MLLD_TEMPERATURES:
        at = factor * temperature
        p, t = F.softmax(student_logits / at, dim=1), F.softmax(teacher_logits.detach() / at, dim=1)
        pictures = (p @ p.T - t @ t.T).square().sum() / len(p)
        classes = (p.T @ p - t.T @ t).square().sum() / p.shape[1]
        losses.append(kd_loss(student_logits, teacher_logits, at) + pictures + classes)
    return mean_of(losses)


def dkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    temperature: float,
    alpha: float = 1.0,
    beta: float = 8.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Decoupled knowledge distillation: T² · (α · TCKD + β · NCKD), the mean over the batch, of pictures that weigh
    `weights`, float (batch,), or 1 each.

    TCKD is the KL divergence between the two-way distributions "the true class or another", NCKD that between the
    distributions over the other classes alone. Logits are (batch, classes), labels (batch,) int64. With α = 1 and
    β = 1 − (the teacher's probability of the true class), picture by picture, it would be `kd_loss`.

    Zhao, Cui, Song, Qiu and Liang, "Decoupled knowledge distillation" (CVPR 2022), equation 7.
    """
    student_two, student_others = _decoupled(student_logits / temperature, labels)
    teacher_two, teacher_others = _decoupled(teacher_logits.detach() / temperature, labels)
    if weights is None:
        target_class = F.kl_div(student_two, teacher_two, reduction="batchmean", log_target=True)
        other_classes = F.kl_div(student_others, teacher_others, reduction="batchmean", log_target=True)
    else:
        target_class, other_classes = (
            (weights * F.kl_div(mine, theirs, reduction="none", log_target=True).sum(dim=1)).mean()
            for mine, theirs in ((student_two, teacher_two), (student_others, teacher_others))
        )
    return (alpha * target_class + beta * other_classes) * temperature**2


def _decoupled(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Log probabilities (batch, 2) of the true class and of all others, and (batch, classes − 1) among the others."""
    true = labels[:, None]
    columns = torch.arange(logits.shape[1] - 1, device=logits.device)
    others = logits.gather(1, columns + (columns >= true).long())  # every column but the true one
    two = torch.cat([logits.gather(1, true), others.logsumexp(dim=1, keepdim=True)], dim=1)
    return F.log_softmax(two, dim=1), F.log_softmax(others, dim=1)

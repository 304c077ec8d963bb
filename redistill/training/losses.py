"""Distillation losses as pure functions of tensors.

Every function returns a scalar and takes the student's tensor first. The teacher's is a constant: gradients reach the
student's alone. Batches come first in every shape; all tensors are of one floating dtype, any but where stated.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

DISTANCES = ("cosine", "mse")
TINY = 1e-12  # keeps quotients of zeros finite


# Feature maps, after ReDistill


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
    _check_places("RED loss", student, teacher)
    s = channel_mean(student).flatten(1)
    t = channel_mean(teacher.detach()).flatten(1)
    if distance == "mse":
        return F.mse_loss(s, t)
    return (1 - F.cosine_similarity(s, t, dim=1)).mean()


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


def dkd_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    temperature: float,
    alpha: float = 1.0,
    beta: float = 8.0,
) -> Tensor:
    """Decoupled knowledge distillation: T² · (α · TCKD + β · NCKD), the mean over the batch.

    TCKD is the KL divergence between the two-way distributions "the true class or another", NCKD that between the
    distributions over the other classes alone. Logits are (batch, classes), labels (batch,) int64. With α = 1 and
    β = 1 − (the teacher's probability of the true class), picture by picture, it would be `kd_loss`.

    Zhao, Cui, Song, Qiu and Liang, "Decoupled knowledge distillation" (CVPR 2022), equation 7.
    """
    student_two, student_others = _decoupled(student_logits / temperature, labels)
    teacher_two, teacher_others = _decoupled(teacher_logits.detach() / temperature, labels)
    target_class = F.kl_div(student_two, teacher_two, reduction="batchmean", log_target=True)
    other_classes = F.kl_div(student_others, teacher_others, reduction="batchmean", log_target=True)
    return (alpha * target_class + beta * other_classes) * temperature**2


def _decoupled(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Log probabilities (batch, 2) of the true class and of all others, and (batch, classes − 1) among the others."""
    true = labels[:, None]
    columns = torch.arange(logits.shape[1] - 1, device=logits.device)
    others = logits.gather(1, columns + (columns >= true).long())  # every column but the true one
    two = torch.cat([logits.gather(1, true), others.logsumexp(dim=1, keepdim=True)], dim=1)
    return F.log_softmax(two, dim=1), F.log_softmax(others, dim=1)


# Feature maps, other methods


def hint_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """FitNets' hint: mean squared error of two feature maps of one shape, (batch, channels, height, width).

    Where the channels differ, a learned regressor brings the student's map to the teacher's shape first.

    Romero et al., "FitNets: hints for thin deep nets" (ICLR 2015), equation 3, here the mean instead of half the sum.
    """
    if student.shape != teacher.shape:
        raise ValueError(
            f"Hint loss of maps {tuple(student.shape)} and {tuple(teacher.shape)}; expected one shape, "
            "as after FitNets' regressor."
        )
    return F.mse_loss(student, teacher.detach())


def attention_map(features: Tensor) -> Tensor:
    """Mean over channels of the squares of a feature map: (batch, channels, height, width) → (batch, 1, height, width).

    Zagoruyko and Komodakis (ICLR 2017), section 3.1: the sum of squares up to a factor that `attention_loss` removes.
    """
    return features.square().mean(dim=1, keepdim=True)


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Attention transfer: mean squared error of two attention maps, each flattened and divided by its length.

    Both are what `attention_map` makes of feature maps, (batch, 1, height, width), of one height and width.

    Zagoruyko and Komodakis, "Paying more attention to attention" (ICLR 2017), equation 2; the mean over places, as
    in the authors' code, for which their weight of 1000 is meant.
    """
    _check_places("Attention transfer", student, teacher)
    return F.mse_loss(F.normalize(student.flatten(1)), F.normalize(teacher.detach().flatten(1)))


def vid_loss(mean: Tensor, variance: Tensor, teacher: Tensor) -> Tensor:
    """Variational information distillation: mean of log σ + (t − μ)² / 2σ² over all elements of the teacher's map t.

    `mean` (μ) is predicted from the student's map, in the teacher's shape (batch, channels, height, width); the
    learned `variance` (σ²), (channels,), is positive. Below 0 where σ is small and the prediction is good.

    Ahn et al., "Variational information distillation for knowledge transfer" (CVPR 2019), equation 5.
    """
    variance = variance.view(1, -1, 1, 1)
    return (0.5 * variance.log() + (teacher.detach() - mean).square() / (2 * variance)).mean()


# Relations between the pictures of a batch


def embedding(features: Tensor) -> Tensor:
    """Mean over space of a feature map: (batch, channels, height, width) → (batch, channels)."""
    return features.mean(dim=(2, 3))


def gram(features: Tensor) -> Tensor:
    """Dot products between the maps of a batch: (batch, channels, height, width) → (batch, batch)."""
    flat = features.flatten(1)
    return flat @ flat.T


def sp_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Similarity-preserving distillation: mean squared error of two similarity matrices with rows of length 1.

    Both are what `gram` makes of feature maps, (batch, batch); the maps need not have the same size.

    Tung and Mori, "Similarity-preserving knowledge distillation" (ICCV 2019), equations 2 and 4.
    """
    _check_batch("Similarity preserving", student, least=2)
    return F.mse_loss(F.normalize(student), F.normalize(teacher.detach()))


def rkd_loss(student: Tensor, teacher: Tensor, distance_weight: float = 25.0, angle_weight: float = 50.0) -> Tensor:
    """Relational distillation: Huber losses of distances between pictures and of angles between three of them.

    Student and teacher are embeddings (batch, features), of any two widths. Distances are divided by their mean in the
    batch. The losses are means over all batch² pairs and batch³ triples, as in the authors' code; those that hold a
    picture twice are always 0. The weights are the paper's, for classification.

    Park, Kim, Lu and Cho, "Relational knowledge distillation" (CVPR 2019), equations 6 to 9.
    """
    _check_batch("Relational distillation", student, least=3)
    teacher = teacher.detach()
    distance = F.smooth_l1_loss(_relative_distances(student), _relative_distances(teacher))
    angle = F.smooth_l1_loss(_angles(student), _angles(teacher))
    return distance_weight * distance + angle_weight * angle


def _relative_distances(x: Tensor) -> Tensor:
    """Distance between each two rows over the mean distance of two different ones: (batch, batch)."""
    count = len(x)
    distances = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")  # whose gradient at 0 is 0
    return distances / (distances.sum() / (count * (count - 1))).clamp_min(TINY)


def _angles(x: Tensor) -> Tensor:
    """Cosine of the angle at row i between the directions to rows j and k: (batch, batch, batch)."""
    directions = F.normalize(x[None] - x[:, None], dim=2)
    return directions @ directions.transpose(1, 2)


def pkt_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Probabilistic knowledge transfer: KL divergence between the batch's neighbour probabilities, mean over pairs.

    Student and teacher are embeddings (batch, features), of any two widths. The probability that picture i picks j ≠ i
    as its neighbour is proportional to (1 + cos) / 2 of their embeddings. The mean is over the batch · (batch − 1)
    pairs, for which the usual weight of 30,000 is meant.

    Passalis and Tefas, "Learning deep representations with probabilistic knowledge transfer" (ECCV 2018), eq. 4 to 6.
    """
    _check_batch("Probabilistic transfer", student, least=2)
    p = _neighbour_probabilities(teacher.detach())
    q = _neighbour_probabilities(student)
    return (p * (p.clamp_min(TINY) / q.clamp_min(TINY)).log()).sum() / (len(p) * (len(p) - 1))


def _neighbour_probabilities(x: Tensor) -> Tensor:
    """Probability that each row picks each other one: (batch, batch), rows of sum 1, zeros on the diagonal."""
    unit = F.normalize(x)
    itself = torch.eye(len(x), dtype=torch.bool, device=x.device)
    kernel = ((unit @ unit.T + 1) / 2).clamp_min(0).masked_fill(itself, 0)
    return kernel / kernel.sum(dim=1, keepdim=True).clamp_min(TINY)


def _check_places(what: str, student: Tensor, teacher: Tensor) -> None:
    if student.shape[0] != teacher.shape[0] or student.shape[2:] != teacher.shape[2:]:
        raise ValueError(
            f"{what} of maps {tuple(student.shape)} and {tuple(teacher.shape)}; expected equal batch, height and "
            "width, as aligned layers have."
        )


def _check_batch(what: str, student: Tensor, least: int) -> None:
    if len(student) < least:
        raise ValueError(
            f"{what} compares the pictures of a batch with each other, but there is {len(student)}; "
            f"expected a batch of at least {least}."
        )

"""One forward pass of student and teacher, with the RED losses between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .alignment import align, feature_pairs
from .hooks import Feature, forward_with_features
from .losses import channel_mean, mean_of, red_loss
from .student import StudentConfig

FeaturePairs = Sequence[tuple[Feature, Feature]]


def aligned_features(config: StudentConfig, student: nn.Module, teacher: nn.Module) -> FeaturePairs:
    """The feature maps that the RED loss compares: all that carry RED blocks, or all aligned ones without blocks.

    Raises ValueError when nothing aligns, since there would be nothing to learn from the teacher's maps.
    """
    pairs = align(student, teacher, config.image_size)
    features = feature_pairs(pairs, config.red.points if config.red else "all")
    if not features:
        reasons = "; ".join(f"{pair.student}: {pair.reason}" for pair in pairs)
        raise ValueError(
            f"No layer of the student aligns with the teacher ({reasons}); "
            "choose other strides, or set red_weight to 0."
        )
    return features


def forward_both(
    student: nn.Module,
    teacher: nn.Module | None,
    inputs: Sequence[Any],
    features: FeaturePairs,
    distance: str,
    with_output: bool,
) -> tuple[Any, Any, Tensor | None]:
    """Outputs of student and teacher for the same inputs, and the mean RED loss over `features` (or None).

    The teacher runs without gradients, and, unless its output is wanted (`with_output`), only as far as its last
    aligned layer; its output is None then. Maps are reduced to their channel mean as they appear, so neither network
    keeps whole feature maps for the loss.
    """
    if teacher is None or not (features or with_output):
        return student(*inputs), None, None
    with torch.no_grad():
        teacher_output, targets = forward_with_features(
            teacher, inputs, [pair[1] for pair in features], channel_mean, stop_after_last=not with_output
        )
    output, maps = forward_with_features(student, inputs, [pair[0] for pair in features], channel_mean)
    losses = [red_loss(maps[mine], targets[theirs], distance) for mine, theirs in features]
    return output, teacher_output, mean_of(losses) if losses else None

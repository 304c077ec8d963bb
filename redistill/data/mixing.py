"""Mixup and CutMix: batches whose pictures are blends of two, with blended labels."""

from __future__ import annotations

import math
import random

import torch
from torch import Tensor
from torch.nn import functional as F


def mix(
    images: Tensor, labels: Tensor, num_classes: int, generator: torch.Generator, mixup: float, cutmix: float
) -> tuple[Tensor, Tensor]:
    """Every picture of a batch mixed with another of it, and the probabilities of the classes.

    images: floating point (B, 3, H, W); labels: int64 (B,), below `num_classes`, both on one device. Returned are the
    images, of the same shape, and float32 (B, num_classes), rows of sum 1.
    generator: all randomness: its seed gives the share, itself the partners. So give one per step.
    mixup, cutmix: α of the share's distribution Beta(α, α), 0 for none; with both, a batch gets one at random.

    Zhang et al., "mixup: beyond empirical risk minimization" (ICLR 2018), section 2; Yun et al., "CutMix" (ICCV 2019),
    section 3.1. The share is one for the batch, as in the authors' code.
    """
    chosen = random.Random(generator.initial_seed())  # on the CPU: nothing waits for the device
    partners = torch.randperm(len(images), generator=generator, device=generator.device).to(images.device)
    cutting = bool(cutmix) and (not mixup or chosen.random() < 0.5)
    alpha = cutmix if cutting else mixup
    share = chosen.betavariate(alpha, alpha)  # of the picture itself
    if cutting:
        top, bottom, left, right = _rectangle(1 - share, *images.shape[2:], chosen)
        images = images.clone()
        images[:, :, top:bottom, left:right] = images[partners, :, top:bottom, left:right]
        share = 1 - (bottom - top) * (right - left) / math.prod(images.shape[2:])
    else:
        images = torch.lerp(images[partners], images, share)
    targets = F.one_hot(labels, num_classes).float()
    return images, torch.lerp(targets[partners], targets, share)


def _rectangle(area: float, height: int, width: int, chosen: random.Random) -> tuple[int, int, int, int]:
    """A rectangle of that part of the picture and of its shape, about a random place, cut off at the border."""
    spans = []
    for side in (height, width):
        half, middle = round(side * math.sqrt(area)) // 2, chosen.randrange(side)
        spans += [max(0, middle - half), min(side, middle + half)]
    return tuple(spans)

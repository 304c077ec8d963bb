"""Batches of pictures changed at random, mixed, shrunk, and as numbers that networks take."""

from __future__ import annotations

import math
import random

import torch
from torch import Tensor
from torch.nn import functional as F

AUGMENTATIONS = ("flip-shift", "affine", "flip", "none")

SHIFT = 1 / 16  # "flip-shift": furthest shift, as a part of the side (4 pixels of 64)
ROTATION = 15.0  # "affine": largest rotation, in degrees
SCALE = (0.85, 1.05)  # "affine": size of the drawing
TRANSLATION = 0.05  # "affine": furthest shift, as a part of the side


def shrink(images: Tensor, image_size: int) -> Tensor:
    """uint8 images of a Split averaged down to `image_size`, a divisor of their side, without augmentation."""
    side = images.shape[-1]
    if image_size < 1 or side % image_size:
        raise ValueError(f"Image size is {image_size!r} for images of side {side}; expected a divisor of it.")
    if side == image_size:
        return images
    return F.avg_pool2d(images.float(), side // image_size).round().to(torch.uint8)


def normalize(images: Tensor) -> Tensor:
    """uint8 images as float32 from -1 to 1: what every model of this project takes."""
    if images.dtype != torch.uint8:
        raise ValueError(f"Images to normalize are {images.dtype}; expected torch.uint8 values from 0 to 255.")
    return images.to(torch.float32) / 127.5 - 1


def augment(images: Tensor, generator: torch.Generator, kind: str, image_size: int | None = None) -> Tensor:
    """Each image of a batch changed at random, on the images' own device; dtype stays.

    images: (B, 3, S, S), uint8 from 0 to 255, or floating point from -1 to 1. Such as `Split.images`.
    generator: all randomness, drawn on the generator's device: one on the CPU gives the same changes on any device.
    kind: "flip-shift" mirrors every second image and shifts by up to a sixteenth of the side, reflecting the border;
        "affine" mirrors, rotates, scales and shifts a little, on a white background; "flip" mirrors alone; "none" does
        nothing.
    image_size: side of the result (default: S). "affine" may shrink: S a multiple of it; the others keep S.
    """
    if images.ndim != 4 or images.shape[2] != images.shape[3]:
        raise ValueError(f"Images to augment have shape {tuple(images.shape)}; expected (batch, 3, size, size).")
    if kind not in AUGMENTATIONS:
        raise ValueError(f"Augmentation is {kind!r}; expected one of: {', '.join(AUGMENTATIONS)}.")
    side = images.shape[-1]
    size = side if image_size is None else image_size
    if size < 1 or side % size or (kind != "affine" and size != side):
        expected = "a divisor" if kind == "affine" else f"exactly that: {kind} keeps the size"
        raise ValueError(f"Augmented size is {size} for images of side {side}; expected {expected}.")
    if kind == "none":
        return images
    random = torch.rand(len(images), 5, generator=generator, device=generator.device).to(images.device)
    if kind == "affine":
        return _affine(images, random, size)
    return _flip_shift(images, random, round(side * SHIFT) if kind == "flip-shift" else 0)


def _flip_shift(images: Tensor, random: Tensor, reach: int) -> Tensor:
    side = images.shape[-1]
    shifts = (random[:, :2] * (2 * reach + 1)).long().clamp_(max=2 * reach) - reach  # (B, 2)
    line = torch.arange(side, device=images.device)
    places = _reflect(line + shifts[:, :, None], side)  # (B, 2, side): rows and columns to take
    columns = torch.where(random[:, 2, None] < 0.5, places[:, 1].flip(-1), places[:, 1])
    rows = places[:, 0, None, :, None].expand(-1, images.shape[1], -1, side)
    return images.gather(2, rows).gather(3, columns[:, None, None, :].expand(images.shape))


def _reflect(places: Tensor, side: int) -> Tensor:
    """Places outside 0 .. side - 1 mirrored back into it at the border pixels."""
    return (side - 1) - ((side - 1) - places.abs()).abs()


def _affine(images: Tensor, random: Tensor, size: int) -> Tensor:
    flip = torch.where(random[:, 0] < 0.5, -1.0, 1.0)
    angle = (2 * random[:, 1] - 1) * math.radians(ROTATION)
    scale = SCALE[0] + (SCALE[1] - SCALE[0]) * random[:, 2]
    shift = (2 * random[:, 3:] - 1) * 2 * TRANSLATION  # grid coordinates run from -1 to 1
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    # For each pixel of the result, the place it comes from: shift back, rotate and scale back, mirror.
    matrix = torch.stack([flip * cos, flip * sin, -sin, cos], dim=1).view(-1, 2, 2)
    theta = torch.cat([matrix, -matrix @ shift[:, :, None]], dim=2)
    white = 255.0 if images.dtype == torch.uint8 else 1.0
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    ink = F.grid_sample(white - images.float(), grid, padding_mode="zeros", align_corners=False)  # outside: no ink
    result = white - F.avg_pool2d(ink, images.shape[-1] // size)
    return result.round().clamp(0, 255).to(torch.uint8) if images.dtype == torch.uint8 else result.to(images.dtype)


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

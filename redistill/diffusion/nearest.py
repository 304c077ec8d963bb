"""The training pictures nearest to a sampled image: whether a generator has made something new or learnt it by heart.

Distances are between pixels, which finds copies and near copies only: the same face shifted by two pixels is far away.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..common.values import is_whole
from ..data.augmentation import shrink
from ..data.datasets import load_split

CHUNK = 256  # pictures compared at once


class Neighbours(NamedTuple):
    """For each of N images its nearest references, the nearest first."""

    rows: Tensor  # int64 (N, count), into the references
    distances: Tensor  # float32 (N, count), root mean squared difference of pixel values, 0 to 255
    mirrored: Tensor  # bool (N, count): the reference is that near when mirrored left to right


def find_nearest(images: Tensor, references: Tensor, count: int = 4, mirrored: bool = True) -> Neighbours:
    """The `count` references nearest to each image by the Euclidean distance of their pixels.

    images: uint8 (N, C, H, W); references: uint8 (M, C, H, W), M at least `count`. With `mirrored` every reference
    also stands for its mirror image, which training with mirrored pictures has shown too. Raises ValueError for other
    dtypes and shapes and for a count that there is not.
    """
    for name, value in (("images", images), ("references", references)):
        if value.dtype != torch.uint8 or value.ndim != 4 or value.shape[1:] != images.shape[1:]:
            raise ValueError(
                f"{name} are {value.dtype} of shape {tuple(value.shape)}; expected uint8 (N, C, H, W) of one size."
            )
    if not is_whole(count, 1, len(references)):
        raise ValueError(f"count is {count!r}; expected a whole number from 1 to {len(references)}, the references.")
    plain = _distances(images, references)
    flipped = _distances(images.flip(-1), references) if mirrored else plain
    distances, rows = torch.minimum(plain, flipped).topk(count, largest=False)
    return Neighbours(rows, distances, (flipped < plain).gather(1, rows))


def training_pictures(dataset: str, image_size: int, split_seed: int = 0) -> Tensor:
    """All training pictures of a data set at a network's size: uint8 (N, 3, image_size, image_size).

    Raises ValueError as `load_split` does.
    """
    return shrink(load_split(dataset, "train", image_size, split_seed=split_seed).images, image_size)


def _distances(images: Tensor, references: Tensor) -> Tensor:
    """Root mean squared differences, float32 (N, M)."""
    flat = images.flatten(1).float()
    parts = [torch.cdist(flat, part.flatten(1).float()) for part in references.split(CHUNK)]
    return torch.cat(parts, dim=1) / flat.shape[1] ** 0.5

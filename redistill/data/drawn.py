"""The data sets that are drawn here, so that they need no files and no network: scenes of emoji, and single ones."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..common.cache import cache_dir, cached_array, fingerprint
from . import emoji, scenes
from .augmentation import augment, shrink
from .source import SPLITS, Split
from .table import DATASETS

CHUNK = 500  # scenes of emoji-clutter in one cached file
EMOJI_TABLES = {"emoji-faces": emoji.FACES, "emoji-food": emoji.FOOD}  # sets whose pictures are one drawing each
EMOJI_DRAWING = "1"  # version of the code that draws them: change it when their pictures change
EMOJI_MARGIN = 3  # units cut off a drawing's frame of 72: a plain smiley then fills 73 % of the picture
EMOJI_SPLIT_SEED = 2024
TEXTURE = 32.0  # "emoji-identity": strongest texture over a spoilt picture, in each channel, of 255


def _load_clutter(split: str, size: int, count: int) -> Split:
    images = np.empty((count, 3, size, size), np.uint8)
    for start in range(0, count, CHUNK):
        stop = min(start + CHUNK, count)
        images[start:stop] = shrink(torch.from_numpy(_clutter_chunk(split, start, stop)), size).numpy()
    return Split(torch.from_numpy(images), torch.from_numpy(scenes.scene_labels(split, count)))


def _clutter_chunk(split: str, start: int, stop: int) -> np.ndarray:
    """Scenes start .. stop - 1 at 64 pixels, of which `start` begins a cached chunk; a short chunk is not stored."""
    file = cache_dir() / "emoji-clutter" / scenes.cache_key() / f"{split}-{start:05d}.npz"
    if stop - start < CHUNK and not os.path.exists(file):
        return scenes.draw_scenes(split, start, stop)
    shape = (CHUNK, 3, scenes.SIDE, scenes.SIDE)
    chunk = cached_array(file, shape, lambda: scenes.draw_scenes(split, start, start + CHUNK))
    return chunk[: stop - start]


def _load_drawings(name: str, split: str, size: int, count: int) -> Split:
    labels = torch.from_numpy(_drawing_order(name)[split][:count])
    return Split(_draw_emoji(name, 2 * size)[labels], labels)


def _load_identity(split: str, size: int, count: int) -> Split:
    """In each 258 pictures in a row all faces twice, changed anew as for emoji-faces: as drawn, then spoilt."""
    faces = _draw_emoji("emoji-faces", 2 * size)
    rounds = []
    for number in range(math.ceil(count / (2 * len(faces)))):
        generator = torch.Generator().manual_seed(len(SPLITS) * number + SPLITS.index(split))
        clean, others = (augment(faces, generator, "affine", size) for _ in range(2))
        rounds += [clean, _spoil(others, generator)]
    images = torch.cat(rounds)
    return Split(images[:count], (torch.arange(len(images)) % (2 * len(faces)))[:count])


def _spoil(images: Tensor, generator: torch.Generator) -> Tensor:
    """Faint texture over each uint8 picture: noise, or stripes or chequers of one or two pixels, of some colour.

    On half of them it lies on the drawing only, or a network would look at nothing but the white around it.
    """
    random = torch.rand(len(images), 6, 1, 1, generator=generator)
    places = torch.arange(images.shape[-1])
    noise = torch.randn(len(images), 1, *images.shape[-2:], generator=generator)
    cells = places // (1 + (random[:, :1] < 0.5).long())  # (B, 1, 1, S)
    stripes = (cells % 2 * 2 - 1).expand(-1, 1, images.shape[-2], -1).float()
    patterns = torch.cat([noise, stripes, stripes.mT, stripes * stripes.mT], dim=1)
    kinds = (4 * random[:, 1]).long().flatten()
    covered = (random[:, 5:] < 0.5) | (images.amin(dim=1, keepdim=True) < 250)
    pattern = patterns[torch.arange(len(images)), kinds][:, None] * covered
    return (images + TEXTURE * random[:, 2:5] * pattern).round().clamp(0, 255).to(torch.uint8)


def _draw_emoji(name: str, size: int) -> Tensor:
    """All drawings of a set of EMOJI_TABLES on white, kept in the cache: uint8 (drawings, 3, size, size)."""
    table = EMOJI_TABLES[name]
    codes = emoji.parse_table(table)
    pictures = cached_array(
        cache_dir() / name / f"{size}-{fingerprint(EMOJI_DRAWING, size, EMOJI_MARGIN, table)}.npz",
        (len(codes), 3, size, size),
        lambda: np.stack([emoji.render_on_white(code, size, EMOJI_MARGIN) for code in codes]),
    )
    return torch.from_numpy(pictures)


def _drawing_order(name: str) -> dict[str, np.ndarray]:
    """Which drawings stand in which split, shuffled once with a fixed seed."""
    spec = DATASETS[name]
    order = np.random.default_rng(EMOJI_SPLIT_SEED).permutation(spec.num_classes)
    ends = np.cumsum([spec.split_sizes[split] for split in SPLITS])
    return dict(zip(SPLITS, np.split(order, ends[:-1]), strict=True))


# By name, what loads the first `count` pictures of a split at an image size.
DRAWN: dict[str, Callable[[str, int, int], Split]] = {
    "emoji-clutter": _load_clutter,
    **{name: partial(_load_drawings, name) for name in EMOJI_TABLES},
    "emoji-identity": _load_identity,
}

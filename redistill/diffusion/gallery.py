"""Pictures that lie ready beside a diffusion network's weights: what it draws can be seen before it draws.

One PNG, a grid without gaps, with the settings that give the same pictures again (`images`); their fingerprint says of
which weights they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms.functional import pil_to_tensor

from ..checkpoint.pipeline import Scheduler
from ..common.files import replaced_file
from .images import SampleSettings, read_settings, sample_settings, to_png, weights_fingerprint
from .sampling import sample, to_grid

FILE = "pictures.png"  # in the checkpoint's folder
SEEDS = tuple(range(16))
SCHEDULER, STEPS = "ddim", 40


@dataclass(frozen=True)
class Gallery:
    """Pictures that a network drew, and how."""

    images: Tensor  # uint8 (N, 3, height, width), one a seed
    settings: SampleSettings


def write_gallery(name: str, folder: Path, model: nn.Module, scheduler: Scheduler) -> Path:
    """Draw SEEDS with the network of `folder`, called `name`, and put them there as one file; returns its path."""
    *_, last = sample(
        model, SEEDS, scheduler=SCHEDULER, steps=STEPS, noise_scheduler=scheduler, preview_every=0, measure=False
    )
    settings = sample_settings(name, folder, model, scheduler, SEEDS, SCHEDULER, STEPS)
    with replaced_file(folder / FILE) as file:
        file.write_bytes(to_png(to_grid(last.images, gap=0), settings.to_dict()))
    return folder / FILE


def read_gallery(folder: Path) -> Gallery | None:
    """The pictures that lie in a checkpoint's folder; None where none do, and for those of other weights."""
    try:
        settings = SampleSettings.from_dict(read_settings(folder / FILE))
        with Image.open(folder / FILE, formats=("PNG",)) as file:
            grid = pil_to_tensor(file.convert("RGB"))
    except (OSError, ValueError, TypeError):
        return None
    if settings.fingerprint != weights_fingerprint(folder):
        return None
    images = _parts(grid, *settings.image_size)
    return Gallery(images, settings) if len(images) == len(settings.seeds) else None


def _parts(grid: Tensor, height: int, width: int) -> Tensor:
    """The pictures of a grid without gaps, row by row; none where it is no such grid."""
    rows, columns = grid.shape[1] // height, grid.shape[2] // width
    if grid.shape[1:] != (rows * height, columns * width) or math.isqrt(rows * columns) ** 2 != rows * columns:
        return torch.zeros(0)
    return grid.unfold(1, height, height).unfold(2, width, width).permute(1, 2, 0, 3, 4).flatten(0, 1).contiguous()

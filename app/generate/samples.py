"""What the networks of tab Generate have sampled, and the way there. No gradio."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from redistill.data.datasets import load_split, needs_download
from redistill.diffusion.images import SampleSettings, sample_settings
from redistill.diffusion.nearest import Neighbours, find_nearest, training_pictures
from redistill.diffusion.sampling import sample

from .networks import Network

MOMENTS = 9  # of the way from noise to image that are shown
THUMBNAIL = 64  # pixels a side, at most, of what is kept of the way from noise to image
NEIGHBOURS = 4
PREVIEWS = 12  # shown and kept on the way, about
Way = tuple[tuple[int, Tensor], ...]  # (step, 0 the noise; uint8 (N, 3, h, w), sides of at most THUMBNAIL pixels)


@dataclass(frozen=True)
class Samples:
    """What stays of one network's images: small enough to keep for as long as the page is open."""

    title: str
    images: Tensor  # uint8 (N, 3, height, width)
    way: Way
    settings: SampleSettings
    dataset: str | None  # what the network learnt from
    split_seed: int

    def row(self, seed: int) -> int:
        """Which of the images has that seed; ValueError for a seed that was not drawn."""
        if isinstance(seed, bool) or seed not in self.settings.seeds:
            raise ValueError(f"Seed {str(seed)[:40]} was not drawn; expected one of {list(self.settings.seeds)}.")
        return self.settings.seeds.index(seed)

    def moments(self, seed: int) -> list[tuple[int, Tensor]]:
        """At most MOMENTS of an image's way, evenly spread, noise and image among them: (step, uint8 (3, h, w))."""
        row, count = self.row(seed), min(MOMENTS, len(self.way))
        chosen = [self.way[round(i * (len(self.way) - 1) / max(1, count - 1))] for i in range(count)]
        return [(step, images[row]) for step, images in chosen]

    def neighbours(self, seed: int) -> tuple[Tensor, Neighbours, int]:
        """The training pictures nearest to an image, uint8 (NEIGHBOURS, 3, S, S), how near, and out of how many.

        Raises ValueError where it is not known what the network learnt from, and for pictures that cannot be had.
        """
        if self.dataset is None:
            raise ValueError(f"What {self.title} learnt from is not written in its folder.")
        pictures = training_pictures(self.dataset, self.images.shape[-1], self.split_seed)
        row = self.row(seed)
        found = find_nearest(self.images[row : row + 1], pictures, min(NEIGHBOURS, len(pictures)))
        return pictures[found.rows[0]], found, len(pictures)


def real_pictures(network: Network, count: int) -> Tensor | None:
    """Some pictures that it learnt from, uint8 (count, 3, S, S) at its size; None where they are not here."""
    metadata = network.metadata
    if metadata is None or not metadata.dataset:
        return None
    try:
        if needs_download(metadata.dataset):
            return None
        side = metadata.student.image_size
        return load_split(metadata.dataset, "train", side, limit=count, split_seed=metadata.split_seed).images
    except (ValueError, OSError):
        return None


def sample_all(
    networks: Sequence[Network], seeds: Sequence[int], steps: int, scheduler: Any
) -> Iterator[list[Network]]:
    """All networks through the same steps at the same time; each record holds what every one has sampled so far."""
    runs = [
        sample(network.model, seeds, scheduler=scheduler, steps=steps, noise_scheduler=network.scheduler)
        for network in networks
    ]
    for steps_taken in zip(*runs, strict=True):
        yield [dataclasses.replace(network, step=step) for network, step in zip(networks, steps_taken, strict=True)]


def thumbnails(images: Tensor) -> Tensor:
    """uint8 images (N, 3, height, width) made smaller until no side is longer than THUMBNAIL."""
    height, width = images.shape[-2:]
    if max(height, width) <= THUMBNAIL:
        return images
    scale = THUMBNAIL / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return F.interpolate(images.float(), size, mode="area").round().to(torch.uint8)


def keep_samples(network: Network, seeds: Sequence[int], scheduler: str, way: Sequence[tuple[int, Tensor]]) -> Samples:
    """What stays of a network's images when it is done, or was stopped."""
    done, metadata = network.step, network.metadata
    name = Path(*network.folder.parts[-3:]) if network.key.startswith("run:") else network.key
    settings = sample_settings(
        str(name), network.folder, network.model, network.scheduler, seeds, scheduler, done.total
    )
    return Samples(
        title=network.title,
        images=done.images,
        way=(*way, (done.step, thumbnails(done.images))),
        settings=dataclasses.replace(settings, stopped_at=None if done.done else done.step),
        dataset=metadata.dataset if metadata else None,
        split_seed=metadata.split_seed if metadata else 0,
    )

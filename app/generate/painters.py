"""The networks that draw on tab Generate, what they have drawn, and the way there. No gradio."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redistill.checkpoint.folder import Metadata, read_metadata
from redistill.checkpoint.pipeline import Scheduler, load_scheduler, load_unet
from redistill.checkpoint.sources import find_pipeline
from redistill.diffusion.images import SampleSettings, sample_settings
from redistill.diffusion.nearest import Neighbours, find_nearest, training_pictures
from redistill.diffusion.sampling import SampleStep, first_noise, sample, to_uint8
from redistill.memory import MemoryProfile, capture
from redistill.networks.strides import PoolingPoint
from redistill.training.config import DistillConfig

from ..runs import choices
from ..words.settings import describe_student, learning_sources

KEPT_BYTES = 2**30  # of networks that stay in memory for the next drawing; the one used last stays whatever it takes
THUMBNAIL = 64  # pixels a side, at most, of what is kept of the way from noise to image
NEIGHBOURS = 4

_KEPT: dict[tuple[Any, ...], Painter] = {}  # by what was asked for and when its folder changed; used last comes last
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Painter:
    """A network that draws, and what it needs for one image in fp32."""

    key: str  # what it was chosen by
    title: str
    folder: Path
    model: nn.Module
    scheduler: Scheduler
    metadata: Metadata | None  # None: a pipeline that was not trained here
    profile: MemoryProfile  # fused
    eager_bytes: int
    points: tuple[PoolingPoint, ...]
    drawn: SampleStep | None = None

    @property
    def weight_bytes(self) -> int:
        """What its weights take in memory."""
        return sum(tensor.nbytes for tensor in self.model.state_dict().values())

    def noise(self, seeds: Sequence[int]) -> Tensor:
        """What its images start from, uint8 (N, channels, height, width)."""
        return to_uint8(first_noise(self.model, seeds))

    @property
    def made(self) -> str:
        """Its network, strides and what it learnt from; empty where its title or its folder leaves nothing to say."""
        try:
            training = {**self.metadata.training, "student": self.metadata.student} if self.metadata else {}
            config = DistillConfig.from_dict(training)
        except (ValueError, TypeError):  # none of ours, or a card written by hand
            return ""
        said = f"{describe_student(config.student)} · {learning_sources(config)}"
        return "" if said in self.title else said

    @property
    def quality(self) -> Mapping[str, Any]:
        """Quality figures of its card, as `quality.Quality.to_dict` writes them; empty where there are none."""
        found = self.metadata.metrics.get("quality") if self.metadata else None
        return found if isinstance(found, Mapping) else {}


@dataclass(frozen=True)
class Painting:
    """What stays of one network's images: small enough to keep for as long as the page is open."""

    title: str
    images: Tensor  # uint8 (N, 3, height, width)
    way: tuple[tuple[int, Tensor], ...]  # (step, 0 the noise; uint8 (N, 3, h, w), sides of at most THUMBNAIL pixels)
    drawing: SampleSettings
    dataset: str | None  # what the network learnt from
    split_seed: int

    def row(self, seed: int) -> int:
        """Which of the images has that seed; ValueError for a seed that was not drawn."""
        if isinstance(seed, bool) or seed not in self.drawing.seeds:
            raise ValueError(f"Seed {str(seed)[:40]} was not drawn; expected one of {list(self.drawing.seeds)}.")
        return self.drawing.seeds.index(seed)

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


def load_painter(value: str) -> Painter:
    """The network of a choice, ready to draw; ValueError for one that is missing or damaged."""
    choice = choices.find(value, choices.is_diffusion)
    return _load(choice.value, choice.title, choices.folder(choice))


def load_elsewhere(source: str) -> Painter:
    """The network in a folder or a repository of the Hub; ValueError for one that cannot be had or does not draw.

    On a Space no folder is opened, nor is what a stranger's repository says it learnt from: that may be a folder too.
    """
    source, folders = source.strip(), choices.folders_open()
    title = Path(source).name if folders and Path(source).is_dir() else source
    painter = _load(source, title, find_pipeline(source, folders))
    return painter if folders else dataclasses.replace(painter, metadata=None)


def _load(key: str, title: str, folder: Path) -> Painter:
    files = [path for path in (folder / "config.json", folder / "model_index.json") if path.is_file()]
    wanted = (key, title, folder, tuple(path.stat().st_mtime_ns for path in files))
    with _LOCK:
        painter = _KEPT.pop(wanted, None)
    painter = painter or _open(key, title, folder)
    with _LOCK:
        _KEPT[wanted] = painter
        while len(_KEPT) > 1 and sum(kept.weight_bytes for kept in _KEPT.values()) > KEPT_BYTES:
            del _KEPT[next(iter(_KEPT))]
    return painter


def _open(key: str, title: str, folder: Path) -> Painter:
    model = load_unet(folder)
    size = model.config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    tape = capture(model, (1, model.config.in_channels, height, width))
    try:
        metadata = read_metadata(folder)
    except ValueError:
        metadata = None  # a pipeline from elsewhere has no config.json of ours
    return Painter(
        key=key,
        title=title,
        folder=folder,
        model=model,
        scheduler=load_scheduler(folder),
        metadata=metadata,
        profile=tape.profile(),
        eager_bytes=tape.profile(accounting="eager").peak_bytes,
        points=tuple(tape.points),
    )


def paint(painters: Sequence[Painter], seeds: Sequence[int], steps: int, scheduler: Any) -> Iterator[list[Painter]]:
    """All networks through the same steps at the same time; each record holds what every one has drawn so far."""
    runs = [
        sample(painter.model, seeds, scheduler=scheduler, steps=steps, noise_scheduler=painter.scheduler)
        for painter in painters
    ]
    for drawn in zip(*runs, strict=True):
        yield [dataclasses.replace(painter, drawn=step) for painter, step in zip(painters, drawn, strict=True)]


def thumbnails(images: Tensor) -> Tensor:
    """uint8 images (N, 3, height, width) made smaller until no side is longer than THUMBNAIL."""
    height, width = images.shape[-2:]
    if max(height, width) <= THUMBNAIL:
        return images
    scale = THUMBNAIL / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return F.interpolate(images.float(), size, mode="area").round().to(torch.uint8)


def keep(painter: Painter, seeds: Sequence[int], scheduler: str, way: Sequence[tuple[int, Tensor]]) -> Painting:
    """What stays of a network's images when it has drawn, or was stopped."""
    done, metadata = painter.drawn, painter.metadata
    name = Path(*painter.folder.parts[-3:]) if painter.key.startswith("run:") else painter.key
    drawing = sample_settings(str(name), painter.folder, painter.model, painter.scheduler, seeds, scheduler, done.total)
    return Painting(
        title=painter.title,
        images=done.images,
        way=(*way, (done.step, thumbnails(done.images))),
        drawing=dataclasses.replace(drawing, stopped_at=None if done.done else done.step),
        dataset=metadata.dataset if metadata else None,
        split_seed=metadata.split_seed if metadata else 0,
    )

"""The diffusion networks of tab Generate: loaded, kept for the next time, and what each needs. No gradio."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from redistill.checkpoint.metadata import Metadata, read_metadata
from redistill.checkpoint.pipeline import Scheduler, load_scheduler, load_unet
from redistill.checkpoint.sources import ON_HUB, find_pipeline
from redistill.diffusion.gallery import Gallery, read_gallery
from redistill.diffusion.sampling import SampleStep, first_noise, to_uint8
from redistill.memory import MemoryProfile, capture
from redistill.networks.pooling_points import PoolingPoint
from redistill.training.config import DistillConfig

from ..runs import choices, from_hub
from ..visitors.who import token_of_request
from ..words.settings import describe_student, learning_sources

KEPT_BYTES = 2**30  # of networks that stay in memory for the next time; the one used last stays whatever it takes

_KEPT: dict[tuple[Any, ...], Network] = {}  # by what was asked for and when its folder changed; used last comes last
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Network:
    """A diffusion network, what it needs for one image in fp32, and how far its images are."""

    key: str  # what it was chosen by
    title: str
    folder: Path
    model: nn.Module
    scheduler: Scheduler
    metadata: Metadata | None  # None: a pipeline that was not trained here
    profile: MemoryProfile  # fused
    eager_bytes: int
    points: tuple[PoolingPoint, ...]
    gallery: Gallery | None = None  # pictures that it drew before
    step: SampleStep | None = None

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


def load_network(value: str) -> Network:
    """The network of a choice, ready to sample; ValueError for one that is missing or damaged."""
    choice = choices.find(value, choices.is_diffusion)
    return _load(choice.value, choice.title, choices.folder(choice))


def load_elsewhere(source: str) -> Network:
    """The network in a folder or a repository of the Hub; ValueError for one that cannot be had or does not sample.

    What was pushed from here, "hub:owner/name", is a choice of who asks from then on. On a Space no folder is opened,
    nor is what a stranger's repository says it learnt from: that may be a folder too.
    """
    if source.startswith(ON_HUB):
        return load_network(from_hub.take(source, token_of_request(), _check_draws).value)
    source, folders = source.strip(), choices.folders_open()
    title = Path(source).name if folders and Path(source).is_dir() else source
    network = _load(source, title, find_pipeline(source, folders))
    return network if folders else dataclasses.replace(network, metadata=None)


def _check_draws(card: Metadata) -> None:
    if not choices.is_diffusion(card):
        raise ValueError(f"It is a {card.student.student_architecture}, a classifier, which draws nothing.")


def _load(key: str, title: str, folder: Path) -> Network:
    files = [path for path in (folder / "config.json", folder / "model_index.json") if path.is_file()]
    wanted = (key, title, folder, tuple(path.stat().st_mtime_ns for path in files))
    with _LOCK:
        network = _KEPT.pop(wanted, None)
    network = network or _open(key, title, folder)
    with _LOCK:
        _KEPT[wanted] = network
        while len(_KEPT) > 1 and sum(kept.weight_bytes for kept in _KEPT.values()) > KEPT_BYTES:
            del _KEPT[next(iter(_KEPT))]
    return network


def _open(key: str, title: str, folder: Path) -> Network:
    model = load_unet(folder)
    size = model.config.sample_size
    if size is None:
        raise ValueError(f"{title} does not say which size it draws (sample_size); expected one that does.")
    height, width = (size, size) if isinstance(size, int) else size
    tape = capture(model, (1, model.config.in_channels, height, width))
    try:
        metadata = read_metadata(folder)
    except ValueError:
        metadata = None  # a pipeline from elsewhere has no config.json of ours
    return Network(
        key=key,
        title=title,
        folder=folder,
        model=model,
        scheduler=load_scheduler(folder),
        metadata=metadata,
        profile=tape.profile(),
        eager_bytes=tape.profile(accounting="eager").peak_bytes,
        points=tuple(tape.points),
        gallery=read_gallery(folder),
    )

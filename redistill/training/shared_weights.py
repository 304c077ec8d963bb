"""A trained network that serves every memory budget: its accuracy at any strides, and fixed students made of it.

What a choice of strides needs is measured once and kept: batch-norm statistics on training pictures, accuracy on
validation pictures. Both lie beside the weights, or, for a checkpoint that ships or cannot be written, in the cache
folder; a checkpoint whose pictures may not travel brings them along.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoint import folder as checkpoint
from ..checkpoint import sources
from ..checkpoint.metadata import Metadata, read_metadata
from ..common.cache import cache_dir
from ..data.classes import match_classes
from ..data.datasets import find_dataset, load_split, needs_download
from ..data.source import Split
from ..memory.comparison import student_tape
from ..memory.search import Candidate
from ..memory.tape import Tape
from ..networks.strides import check_strides, set_strides
from .classification import accuracy
from .evaluation import check_splits, count_parameters, inference_peaks, is_copy, relabelled
from .recalibration import PICTURES, recalibrate, set_statistics, statistics_of
from .stride_store import (
    Measured,
    add_figures,
    add_statistics,
    key_of,
    read_figures,
    read_statistics,
    write_figures,
    write_statistics,
)
from .stride_vectors import VectorSpace, vector_space

Point = tuple[Candidate, Measured]  # strides, and the accuracy that was measured there
FROM = "extracted_from"  # among the figures of a fixed student: what it was taken from
WEIGHTS = "extracted_weights"  # and the fingerprint of that


@dataclass(frozen=True)
class SharedWeights:
    """A checkpoint of one network for every budget."""

    folder: Path
    metadata: Metadata

    @cached_property
    def fingerprint(self) -> str:
        """Twenty characters that change with the weights: what was measured of others does not count."""
        return hashlib.sha256((self.folder / checkpoint.MODEL).read_bytes()).hexdigest()[:20]

    @property
    def name(self) -> str:
        """What to call it: its folder's name, or that of its run."""
        return self.folder.parent.name if self.folder.name == "student" else self.folder.name

    @property
    def space(self) -> VectorSpace:
        """The stride vectors that it was trained for."""
        return vector_space(self.metadata.student)

    @property
    def tape(self) -> Tape:
        """The recorded network."""
        return student_tape(self.metadata.student)

    @property
    def places(self) -> list[Path]:
        """Folders that may hold what was measured; of these the first that can be written gets what is new."""
        cached = cache_dir() / "strides" / self.fingerprint
        is_shipped = self.folder.parent.resolve() == sources.SHIPPED.resolve()
        return [cached, self.folder] if is_shipped else [self.folder, cached]


def open_shared(folder: str | Path, dataset: str | None = None) -> SharedWeights:
    """A checkpoint of `redistill train-any`, by its folder or the name of one that ships.

    dataset: another place of the pictures that it learnt from, such as "folder:PATH"; None: what its card names.

    Raises ValueError, in one sentence, for any other checkpoint, for what is none and for other pictures.
    """
    found = sources.find_checkpoint(folder)
    metadata = read_metadata(found)
    if not is_shared(metadata):
        raise ValueError(
            f"{folder} was trained at one choice of strides; expected a network of `redistill train-any`, which is "
            "trained for all of them."
        )
    if dataset is not None and dataset != metadata.dataset:
        if not is_copy(dataset, metadata):
            raise ValueError(
                f"{dataset} has other pictures than {metadata.dataset}, from which {folder} learnt; its choices of "
                "strides are measured on validation pictures kept from those, so expected a copy of them."
            )
        metadata = dataclasses.replace(metadata, dataset=dataset)
    return SharedWeights(found, metadata)


def is_shared(metadata: Metadata) -> bool:
    """Whether a checkpoint is one network for every budget; a fixed student that was made of one is none any more."""
    return bool(metadata.training.get("stride_vectors")) and FROM not in metadata.metrics


def network_at(shared: SharedWeights, strides: Mapping[str, int]) -> nn.Module:
    """The network at these strides (those not named its own), with batch-norm statistics of them; on the CPU.

    Statistics that are not known yet are measured on the first 2,048 training pictures and kept. Raises ValueError for
    strides that do not fit, and where that needs pictures that are not here.
    """
    student = shared.metadata.student
    full = full_strides(shared, strides)
    model = checkpoint.load(shared.folder)
    set_strides(model, full, student.image_size)
    known = _known_statistics(shared, full)
    if known is not None:
        return set_statistics(model, _unpacked(known, statistics_of(model)))
    limits = [limit for limit in (shared.metadata.training.get("train_limit"), PICTURES) if limit]
    train = _pictures(shared, "train", min(limits), full)
    model.to(memory_format=torch.channels_last)
    recalibrate(model, train).to(memory_format=torch.contiguous_format)
    add_statistics(shared.places, shared.fingerprint, key_of(full), _packed(statistics_of(model)))
    return model.eval()


def measure(shared: SharedWeights, strides: Mapping[str, int], pictures: int | None = None) -> Measured:
    """Accuracy at these strides on the first so many validation pictures (default: all), measured where not known.

    A figure of more pictures than asked for is as good. Raises ValueError as `network_at` does.
    """
    full = full_strides(shared, strides)
    known = measured(shared).get(key_of(full))
    if known and pictures and known.count >= pictures:
        return known
    split = _pictures(shared, "validation", pictures, full)
    if known and known.count >= len(split):
        return known
    model = network_at(shared, full).to(memory_format=torch.channels_last)
    correct = round(accuracy(model, split) * len(split))
    found = Measured(full, correct, len(split))
    add_figures(shared.places, shared.fingerprint, found)
    return found


def measured(shared: SharedWeights) -> dict[str, Measured]:
    """All that is known of its accuracy, by strides such as "4-1-2-2-1"."""
    found: dict[str, Measured] = {}
    for place in reversed(shared.places):
        for key, one in read_figures(place, shared.fingerprint).items():
            if key not in found or found[key].count <= one.count:
                found[key] = one
    return found


def points_of(shared: SharedWeights, candidates: Iterable[Candidate]) -> list[Point]:
    """Those of the candidates that were measured, in their order, each with its accuracy."""
    return points_in(measured(shared), candidates)


def points_in(known: Mapping[str, Measured], candidates: Iterable[Candidate]) -> list[Point]:
    """Those of the candidates of which `known` has the accuracy, by strides such as "4-1-2-2-1"."""
    keyed = [(candidate, known.get(key_of(candidate.strides))) for candidate in candidates]
    return [(candidate, one) for candidate, one in keyed if one is not None]


def front_of(points: Iterable[Point]) -> list[Point]:
    """Those that are surely more accurate than all that need as little memory, the least memory first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point[0].needed_bytes, -point[1].sure)):
        if not front or point[1].sure > front[-1][1].sure:
            front.append(point)
    return front


def measure_all(shared: SharedWeights, pictures: int | None = None) -> Iterator[Measured]:
    """`measure` at every vector of its space, the least memory first."""
    for candidate in shared.space.candidates:
        yield measure(shared, candidate.strides, pictures)


def extract(shared: SharedWeights, strides: Mapping[str, int], out: str | Path) -> Path:
    """Write the fixed student at these strides as an ordinary checkpoint folder, and return that.

    It holds the shared weights and the statistics of these strides. Its test accuracy is measured where the pictures
    are here; what is known on validation pictures stands in it too. Raises ValueError as `network_at` does, and as
    `checkpoint.save` for a folder that holds something else.
    """
    model = network_at(shared, strides)
    full = full_strides(shared, strides)
    before = shared.metadata
    student = dataclasses.replace(before.student, strides=full)
    known = measured(shared).get(key_of(full))
    origin = {FROM: shared.name, WEIGHTS: shared.fingerprint}
    metrics: dict[str, Any] = {"kind": "final", "step": before.metrics.get("step"), **origin}
    if known:
        metrics |= {"validation_accuracy": known.accuracy, "validation_pictures": known.count}
    with contextlib.suppress(ValueError):  # pictures that may not travel
        metrics["test_accuracy"] = accuracy(model, _pictures(shared, "test", None, full))
    metrics |= {"parameters": count_parameters(model), **inference_peaks(model, student.image_size)}
    training = {**before.training, "student": student.to_dict()}
    metadata = dataclasses.replace(before, student=student, metrics=metrics, training=training)
    return checkpoint.save(model, metadata, out)


def best_within(shared: SharedWeights, budget_bytes: int) -> Measured:
    """The vector of its space with the best `Measured.sure` in so many bytes of memory (fused, fp32, batch 1).

    Raises ValueError where none fits, and where none that fits was measured.
    """
    space = shared.space
    fitting = [one for one in space.candidates if one.needed_bytes <= budget_bytes]
    if not fitting:
        raise ValueError(
            f"No choice of strides fits {budget_bytes:,} bytes; the least is {space.smallest.needed_bytes:,}."
        )
    found = [one for _, one in points_of(shared, fitting)]
    if not found:
        raise ValueError(
            f"The accuracy of none of the {len(fitting)} choices of strides that fit was measured yet; run `redistill "
            f"evaluate {shared.folder} --all-strides` first, or give the strides."
        )
    return max(found, key=lambda one: one.sure)


def full_strides(shared: SharedWeights, strides: Mapping[str, int]) -> dict[str, int]:
    """Strides of every pooling point: these, and the network's own where they name none; ValueError as they fit."""
    student = shared.metadata.student
    points = shared.tape.points
    check_strides(strides, points, student.image_size)
    return {point.name: strides.get(point.name, point.stride) for point in points}


def _pictures(shared: SharedWeights, split: str, limit: int | None, strides: Mapping[str, int]) -> Split:
    """Pictures that the network learnt from, or was kept from, with labels as the places of its outputs."""
    metadata = shared.metadata
    try:
        if needs_download(metadata.dataset):
            raise ValueError(
                f"{metadata.dataset} would have to be downloaded, which is not done unasked; `redistill train` on it "
                "does it, or choose strides that were measured."
            )
        check_splits(metadata)
        found = load_split(metadata.dataset, split, metadata.student.image_size, limit, metadata.split_seed)
        names = find_dataset(metadata.dataset, metadata.split_seed).class_names
        pictures = f"the pictures of {metadata.dataset}"
        return relabelled(found, match_classes(names, metadata.class_names, pictures, f"the checkpoint {shared.name}"))
    except ValueError as error:
        raise ValueError(
            f"At strides {key_of(strides)} {shared.name} was not measured yet, and its pictures cannot be had: {error}"
        ) from error


def save_beside(shared: SharedWeights) -> None:
    """Put all that is known into the checkpoint's own folder, so that it travels. OSError where that cannot be."""
    statistics: dict[str, Tensor] = {}
    for place in shared.places:
        statistics |= read_statistics(place, shared.fingerprint)
    write_figures(shared.folder, shared.fingerprint, measured(shared))
    write_statistics(shared.folder, shared.fingerprint, statistics)


def _known_statistics(shared: SharedWeights, strides: Mapping[str, int]) -> Tensor | None:
    found = (read_statistics(place, shared.fingerprint).get(key_of(strides)) for place in shared.places)
    return next((packed for packed in found if packed is not None), None)


def _packed(statistics: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([torch.zeros(0), *(value.flatten().float() for value in statistics.values())])


def _unpacked(packed: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The statistics that `_packed` made; ValueError where they are not of this network."""
    sizes = [value.numel() for value in like.values()]
    if packed.shape != (sum(sizes),):
        raise ValueError(f"Kept statistics hold {packed.numel()} numbers; expected {sum(sizes)} for this network.")
    parts = packed.split(sizes) if sizes else ()
    return {name: part.view_as(value) for (name, value), part in zip(like.items(), parts, strict=True)}

"""What was measured of one network at many stride vectors, in two files: accuracies, and batch-norm statistics.

Both say which weights they are of; what is missing, damaged or of other weights counts as not measured.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from ..common.files import lock_beside, locked, read_json, replaced_file, write_json
from .intervals import wilson

FIGURES, STATISTICS = "strides.json", "strides.safetensors"


@dataclass(frozen=True)
class Measured:
    """How often the network was right at a choice of strides."""

    strides: dict[str, int]  # of every pooling point, by layer path
    correct: int
    count: int  # validation pictures

    @property
    def accuracy(self) -> float:
        """Share of the pictures, in [0, 1]."""
        return self.correct / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """Where the accuracy on many more such pictures lies, by 95 %: Wilson's interval (1927), in [0, 1]."""
        return wilson(self.accuracy, self.count)

    @property
    def sure(self) -> float:
        """The lower end of that interval: what choices are ranked by, or all right on eight pictures would win."""
        return self.interval[0]


def key_of(strides: Mapping[str, int]) -> str:
    """ "4-1-2-2-1": the strides of all pooling points in their order."""
    return "-".join(str(stride) for stride in strides.values())


def read_figures(place: Path, weights: str) -> dict[str, Measured]:
    """The accuracies in a folder by `key_of` their strides."""
    with contextlib.suppress(ValueError, OSError, TypeError, KeyError, AttributeError):
        values = read_json(place / FIGURES)
        if values["weights"] == weights:
            found = {key: Measured(**one) for key, one in values["strides"].items()}
            return {key: one for key, one in found.items() if 0 <= one.correct <= one.count and one.count > 0}
    return {}


def read_statistics(place: Path, weights: str) -> dict[str, Tensor]:
    """The statistics in a folder by `key_of` their strides: all of a network in one float32 vector."""
    try:
        with safetensors.safe_open(place / STATISTICS, "pt") as file:
            is_of_these = (file.metadata() or {}).get("weights") == weights
            return {key: file.get_tensor(key) for key in file.keys() if is_of_these}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError):
        return {}


def write_figures(place: Path, weights: str, figures: Mapping[str, Measured]) -> None:
    """Write the accuracies, whole or not at all."""
    rows = {key: {"strides": one.strides, "correct": one.correct, "count": one.count} for key, one in figures.items()}
    write_json(place / FIGURES, {"weights": weights, "split": "validation", "strides": rows})


def write_statistics(place: Path, weights: str, statistics: Mapping[str, Tensor]) -> None:
    """Write the statistics, whole or not at all."""
    with replaced_file(place / STATISTICS) as part:
        part.write_bytes(safetensors.torch.save(dict(statistics), {"weights": weights}))  # `save_file` is for its owner


def add_figures(places: Sequence[Path], weights: str, one: Measured) -> None:
    """Keep one more accuracy in the first of `places` that can be written; that none can costs the time only."""
    key = key_of(one.strides)
    _add(places, lambda place: write_figures(place, weights, {**read_figures(place, weights), key: one}))


def add_statistics(places: Sequence[Path], weights: str, key: str, packed: Tensor) -> None:
    """The same with the statistics of one choice of strides."""
    _add(places, lambda place: write_statistics(place, weights, {**read_statistics(place, weights), key: packed}))


def _add(places: Sequence[Path], write: Callable[[Path], None]) -> None:
    for place in places:
        with contextlib.suppress(OSError):
            place.mkdir(parents=True, exist_ok=True)
            with locked(lock_beside(place / FIGURES)):
                write(place)
            return

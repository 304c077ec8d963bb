"""What is exported: the network of a checkpoint, named as everywhere, or of a finished run; and its pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from ..checkpoint import folder as checkpoint
from ..checkpoint.metadata import Metadata, read_metadata
from ..checkpoint.sources import CONFIG, ON_HUB, find_checkpoint
from ..common.disk import sentence
from ..common.hub import split_id
from ..data.classes import match_classes
from ..data.datasets import find_dataset, load_split
from ..data.source import Split
from ..data.table import DATASETS
from ..training.evaluation import check_splits, relabelled
from ..training.run import STATUS


@dataclass(frozen=True)
class Opened:
    """A trained network, on the CPU in evaluation mode, and what its checkpoint says."""

    name: str
    folder: Path
    model: nn.Module
    metadata: Metadata
    dataset: str = ""  # whose pictures calibrate and judge it, where not those that it was trained on


def open_network(name: str | Path, dataset: str = "") -> Opened:
    """The network of a checkpoint, as `find_checkpoint` takes it, or of a run's folder.

    dataset: other pictures to calibrate and judge it on, as `load_split` names them; none: those it was trained on.
    Raises ValueError, in one sentence, for what is neither, and for a run that has no checkpoint yet.
    """
    called, folder = checkpoint_of(name)
    return Opened(called, folder, checkpoint.load(folder), read_metadata(folder), dataset)


def checkpoint_of(name: str | Path) -> tuple[str, Path]:
    """What a checkpoint or a run is called, and its folder, as `open_network` takes them; ValueError as it."""
    run = Path(name)
    if (run / "student" / CONFIG).is_file():
        folder, called = run / "student", run.resolve().name
    elif (run / STATUS).is_file():
        raise ValueError(
            f"Run {name} has no checkpoint yet; let it finish, or `redistill keep {name}` writes its best network so "
            "far."
        )
    else:
        folder = find_checkpoint(name)
        own = folder.resolve()
        called = own.parent.name if own.name == "student" else own.name
        if isinstance(name, str) and name.startswith(ON_HUB):  # whose folder has the name of a commit
            repo, _ = split_id(name.removeprefix(ON_HUB))
            called = repo.partition("/")[2]
    return called, folder


def tested_on(metadata: Metadata) -> int | None:
    """How many test pictures its figures are of; None where nothing tells."""
    spec = DATASETS.get(metadata.dataset)
    return metadata.metrics.get("test_pictures") or (spec.split_sizes["test"] if spec else None)


def pictures_of(opened: Opened, split: str = "test") -> Split | str:
    """All pictures of a split of the network's data set, labels as places of its outputs; or why there are none.

    images: uint8 (N, 3, side, side). Raises ValueError where others than its own were asked for, and do not fit.
    """
    metadata = opened.metadata
    if opened.dataset:
        metadata = replace(metadata, dataset=opened.dataset, drawn_from=None)
    if not metadata.dataset:
        return "nothing tells which pictures it was trained on"
    try:
        student = metadata.student
        names = find_dataset(metadata.dataset, metadata.split_seed).class_names
        check_splits(metadata)
        pictures = load_split(metadata.dataset, split, student.image_size, split_seed=metadata.split_seed)
        if student.task == "diffusion":
            return pictures
        here, there = f"the pictures of {metadata.dataset}", f"the checkpoint {opened.folder}"
        return relabelled(pictures, match_classes(names, metadata.class_names, here, there))
    except (ValueError, OSError) as error:
        if opened.dataset:  # asked for by name
            raise
        return sentence(error).rstrip(".")

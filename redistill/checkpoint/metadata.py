"""What a checkpoint's `config.json` says: how to rebuild its network, what made it, its figures; and the model card."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..common.files import read_json, write_json, write_text
from ..common.values import is_number
from ..data.classes import check_class_names
from ..data.datasets import credit
from ..data.table import DATASETS
from ..networks.student import StudentConfig
from ..networks.zoo import HUB, TIMM
from .graph import GRAPH
from .sources import CONFIG, find_checkpoint

OF_RUNS = {"last.pt", "metrics.jsonl", "status.json", ".lock"}  # files that a run's folder has and no checkpoint's
FORMAT = 1
CARD = "README.md"
OPENS_ALONE = (
    "`network.py` opens it with torch alone: `import network; model = network.load()`, which takes images from -1 to "
    "1.\n\n"
)


@dataclass(frozen=True)
class Metadata:
    """What stands in a checkpoint's `config.json`, besides format and versions."""

    student: StudentConfig  # rebuilds the network
    dataset: str  # what it was trained on; "": not known, of a teacher from elsewhere
    metrics: Mapping[str, Any] = field(default_factory=dict)  # the run's final record
    training: Mapping[str, Any] = field(default_factory=dict)  # the run's settings
    drawn_from: str | None = None  # what its splits were drawn from, see `datasets.drawn_from`
    learnt: Mapping[str, Any] = field(default_factory=dict)  # of which pictures, see `twins.Learnt`; empty: not known
    class_names: Sequence[str] = ()  # of a classifier, in the order of its outputs; empty: not known
    # of one from elsewhere: its file, mean and std, or its repository ("hub") and revision there
    imported: Mapping[str, Any] = field(default_factory=dict)
    ranges: Sequence[Sequence[float]] = ()  # of its maps, where it was trained as in int8; see `training.rounding`

    def __post_init__(self) -> None:
        where = f"A checkpoint of {self.student.student_architecture} trained on {self.dataset}"
        object.__setattr__(self, "class_names", check_class_names(self.class_names, self.student.classes, where))

    @property
    def prediction_type(self) -> str:
        """What a diffusion network predicts: "v_prediction" or "epsilon"."""
        return self.training.get("prediction_type", "epsilon")

    @property
    def split_seed(self) -> int:
        """What drew the validation and test pictures from train, where the data set has none of its own."""
        return self.training.get("split_seed", 0)


def read_metadata(folder: str | Path) -> Metadata:
    """What `config.json` of a checkpoint folder says; ValueError for a missing or broken file."""
    file = find_checkpoint(folder) / CONFIG
    values = read_json(file)
    if "format" not in values and any((file.parent / name).exists() for name in OF_RUNS):
        student = file.parent / "student"
        there = "" if student.exists() else ", once it has finished"
        raise ValueError(f"{file.parent} is the folder of a run; its checkpoint is {student}{there}.")
    if values.get("format") != FORMAT:
        raise ValueError(f"{file} has format {values.get('format')!r}; expected {FORMAT}.")
    for name in ("student", "dataset"):
        if name not in values:
            raise ValueError(f"{file} has no {name!r}; it is no checkpoint of redistill.")
    for name, kind, expected in (
        ("dataset", str, "a text"),
        ("metrics", Mapping, "figures by name"),
        ("training", Mapping, "settings by name"),
        ("drawn_from", str | None, "a text or nothing"),
        ("learnt", Mapping, "fingerprints of pictures"),
        ("imported", Mapping, "where its weights are from"),
        ("ranges", list, "pairs of numbers"),
    ):
        if name in values and not isinstance(values[name], kind):
            raise ValueError(f"{file} has the {name} {str(values[name])[:80]!r}; expected {expected}.")
    student, dataset = StudentConfig.from_dict(values["student"]), values["dataset"]
    names = check_class_names(values.get("class_names"), student.classes, str(file))
    spec = DATASETS.get(dataset)
    if not names and spec is not None and student.classes == spec.num_classes:
        names = spec.class_names  # of before they were kept
    return Metadata(
        student=student,
        dataset=dataset,
        metrics=values.get("metrics", {}),
        training=values.get("training", {}),
        drawn_from=values.get("drawn_from"),
        learnt=values.get("learnt", {}),
        class_names=names,
        imported=values.get("imported", {}),
        ranges=_ranges(values.get("ranges", []), file),
    )


def _ranges(values: list[Any], file: Path) -> list[tuple[float, float]]:
    for value in values:
        if not isinstance(value, list) or len(value) != 2 or not all(map(is_number, value)) or value[0] > value[1]:
            raise ValueError(f"{file} has the range {str(value)[:80]}; expected its least and its largest number.")
    return [tuple(value) for value in values]


def write_metadata(metadata: Metadata, folder: Path) -> None:
    """Write `config.json`, with whom the pictures are owed to and the versions that matter, and the model card."""
    used = ("torch", "torchvision", "diffusers", *(["timm"] if _uses_timm(metadata.student) else []))
    packages = {name: version(name) for name in used}
    said = dataclasses.asdict(metadata) | {"student": metadata.student.to_dict()}
    for name in ("imported", "learnt", "ranges"):
        if not said[name]:
            del said[name]
    if metadata.dataset:
        said["pictures"], said["license"] = credit(metadata.dataset)
    write_json(folder / CONFIG, {"format": FORMAT, **said, "versions": packages})
    write_text(folder / CARD, model_card(metadata, folder))


def _uses_timm(student: StudentConfig) -> bool:
    return student.student_architecture.startswith((TIMM, HUB))


def model_card(metadata: Metadata, folder: Path | None = None) -> str:
    """A model card in Markdown: what the network is, its figures, and the settings that made it; `folder` is where its
    files lie, of which it says how they are opened."""
    student, training, metrics = metadata.student, metadata.training, metadata.metrics
    shown = {name: value for name, value in metrics.items() if name not in ("kind", "step")}
    rows = "\n".join(f"| {name} | {value} |" for name, value in _flat(shown).items())
    owner, license_name = credit(metadata.dataset) if metadata.dataset else ("not known", "other")
    library = "diffusers" if student.task == "diffusion" else "redistill"
    classes = "".join(f"{place}. {name}\n" for place, name in enumerate(metadata.class_names))
    classes = f"Classes, by the place of their output:\n\n{classes}\n" if classes else ""
    pictures = metadata.dataset or "own pictures"
    title = f"{student.student_architecture}, {pictures} at {student.image_size} px"
    settings = json.dumps({**training, "student": student.to_dict()}, indent=2)
    return (
        f"---\nlibrary_name: {library}\nlicense: {license_name}\n---\n# {title}\n\n"
        f"{_origin(metadata)}\n\n"
        f"{OPENS_ALONE if folder is not None and (folder / GRAPH).is_file() else ''}Pictures: {owner}.\n\n"
        f"| figure | value |\n| --- | --- |\n| seed | {training.get('seed')} |\n"
        f"| steps | {training.get('steps')} |\n{rows}\n\n{classes}```json\n{settings}\n```\n"
    )


def _origin(metadata: Metadata) -> str:
    """Where the weights come from, in a sentence or two."""
    told = metadata.imported
    if not told:
        return "Trained with `python -m redistill distill --config FILE`, where FILE holds the settings below."
    if "hub" in told:
        return f"From the Hub: {told['hub']}, revision {told.get('revision')}."
    return (
        f"Trained elsewhere: the weights of {told.get('file')} (SHA-256 {told.get('sha256')}), for images of mean "
        f"{told.get('mean')} and std {told.get('std')}. Both are taken into the first layer, so it takes images from "
        "-1 to 1."
    )


def _flat(figures: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Figures that hold figures, one a row."""
    flat: dict[str, Any] = {}
    for name, value in figures.items():
        flat |= _flat(value, f"{prefix}{name} ") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def add_metrics(folder: str | Path, metrics: Mapping[str, Any]) -> Metadata:
    """Put further figures into a checkpoint's `config.json` and model card, and return what it says now.

    Raises ValueError for what is no checkpoint; on a full disk what was there stays.
    """
    folder = find_checkpoint(folder)
    metadata = read_metadata(folder)
    metadata = dataclasses.replace(metadata, metrics={**metadata.metrics, **metrics})
    write_json(folder / CONFIG, read_json(folder / CONFIG) | {"metrics": dict(metadata.metrics)})
    write_text(folder / CARD, model_card(metadata, folder))
    return metadata

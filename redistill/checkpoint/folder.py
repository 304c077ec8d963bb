"""Checkpoints: a folder of weights (safetensors, never pickles), `config.json` and a model card.

A classifier's folder holds `model.safetensors`. A diffusion network's folder is a diffusers pipeline, with our
`config.json` beside its `model_index.json`.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from ..common.files import read_json, write_json, write_text
from ..data.datasets import credit
from ..networks.student import StudentConfig, build_student
from ..networks.zoo import DDPM

if TYPE_CHECKING:
    from .pipeline import Scheduler

FORMAT = 1
# Checkpoints that ship with the project; $REDISTILL_CHECKPOINTS names another folder of them.
SHIPPED = Path(os.environ.get("REDISTILL_CHECKPOINTS") or Path(__file__).resolve().parent.parent.parent / "checkpoints")
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class Metadata:
    """What stands in a checkpoint's `config.json`, besides format and versions."""

    student: StudentConfig  # rebuilds the network
    dataset: str  # what it was trained on
    metrics: Mapping[str, Any] = field(default_factory=dict)  # the run's final record
    training: Mapping[str, Any] = field(default_factory=dict)  # the run's settings
    drawn_from: str | None = None  # what its splits were drawn from, see `datasets.drawn_from`

    @property
    def prediction_type(self) -> str:
        """What a diffusion network predicts: "v_prediction" or "epsilon"."""
        return self.training.get("prediction_type", "epsilon")

    @property
    def split_seed(self) -> int:
        """What drew the validation and test pictures from train, where the data set has none of its own."""
        return self.training.get("split_seed", 0)


def save(
    model: nn.Module,
    metadata: Metadata,
    folder: str | Path,
    scheduler: Scheduler | None = None,
    dtype: torch.dtype | None = None,
) -> Path:
    """Write the checkpoint folder and return it. It is written beside and renamed: all of it appears, or nothing.

    `scheduler` is the noise schedule of a diffusion network (default: that of networks trained from scratch). `dtype`
    is that of the weights in the file (default: the model's own): torch.float16 halves it, and `load` gives fp32 again.
    """
    if dtype is not None:
        model = copy.deepcopy(model).to(dtype)
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        if metadata.student.task == "diffusion":
            from ..networks.schedule import noise_scheduler
            from .pipeline import save_pipeline

            save_pipeline(model, scheduler or noise_scheduler(metadata.prediction_type), temporary)
        else:
            temporary.mkdir()
            state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
            safetensors.torch.save_file(state, temporary / WEIGHTS)
        packages = {name: version(name) for name in ("torch", "torchvision", "diffusers")}
        write_json(temporary / "config.json", {"format": FORMAT, **dataclasses.asdict(metadata), "versions": packages})
        (temporary / "README.md").write_text(model_card(metadata))
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def load(folder: str | Path) -> nn.Module:
    """The network of a checkpoint folder, on the CPU, fp32, in evaluation mode. `folder` may name a shipped checkpoint.

    Raises ValueError, naming the file, for a missing, damaged or foreign one; nothing is ever unpickled.
    """
    folder = find(folder)
    metadata = read_metadata(folder)
    if metadata.student.task == "diffusion":
        from .pipeline import load_unet

        unet = load_unet(folder)
        _check_unet(unet, metadata.student, folder)
        return unet
    model = build_student(metadata.student)
    path = folder / WEIGHTS
    if not path.exists():
        raise ValueError(f"Checkpoint {folder} has no {WEIGHTS}; copy the whole folder.")
    try:
        state = safetensors.torch.load_file(path)
        model.load_state_dict(state)
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(
            f"{path} does not hold the weights of {metadata.student.student_architecture!r} as config.json describes "
            f"it ({str(error).splitlines()[0]}); copy the folder again."
        ) from error
    return model.eval()


def _check_unet(unet: nn.Module, student: StudentConfig, folder: Path) -> None:
    """ValueError where config.json tells of other strides or RED blocks than the network beside it has."""
    if student.teacher.startswith(DDPM):  # whose own strides are wherever it came from
        return
    with torch.device("meta"):
        told = build_student(student)
    for name in ("pooling_strides", "red", "red_sites"):
        if unet.config[name] != told.config[name]:
            raise ValueError(
                f"{folder / 'config.json'} describes a network with {name} {told.config[name]}, but "
                f"{folder / 'unet'} holds one with {unet.config[name]}; copy the whole folder again."
            )


def read_metadata(folder: str | Path) -> Metadata:
    """What `config.json` of a checkpoint folder says; ValueError for a missing or broken file."""
    folder = find(folder)
    values = read_json(folder / "config.json")
    if values.get("format") != FORMAT:
        raise ValueError(f"{folder / 'config.json'} has format {values.get('format')!r}; expected {FORMAT}.")
    for name in ("student", "dataset"):
        if name not in values:
            raise ValueError(f"{folder / 'config.json'} has no {name!r}; it is no checkpoint of redistill.")
    return Metadata(
        student=StudentConfig.from_dict(values["student"]),
        dataset=values["dataset"],
        metrics=values.get("metrics", {}),
        training=values.get("training", {}),
        drawn_from=values.get("drawn_from"),
    )


def find(folder: str | Path) -> Path:
    """The folder itself, or the shipped checkpoint of that name; ValueError, with the shipped ones, for neither."""
    for path in (Path(folder), SHIPPED / folder):
        if (path / "config.json").is_file():
            return path
    raise ValueError(
        f"No checkpoint {str(folder)!r}; expected a folder with a config.json, or {one_of(list_shipped())}."
    )


def list_shipped() -> list[str]:
    """Names of the checkpoints that ship with the project, sorted."""
    return sorted(path.parent.name for path in SHIPPED.glob("*/config.json"))


def one_of(names: list[str]) -> str:
    """What a refusal offers of the checkpoints that ship; an installed package comes without, and says so."""
    missing = "the name of one that ships (none do here; REDISTILL_CHECKPOINTS names the checkpoints/ of a clone)"
    return f"one of {names}" if names else missing


def model_card(metadata: Metadata) -> str:
    """A model card in Markdown: what the network is, its figures, and the settings that made it."""
    student, training, metrics = metadata.student, metadata.training, metadata.metrics
    shown = {name: value for name, value in metrics.items() if name not in ("kind", "step")}
    rows = "\n".join(f"| {name} | {value} |" for name, value in _flat(shown).items())
    owner, license_name = credit(metadata.dataset)
    library = "diffusers" if student.task == "diffusion" else "redistill"
    title = f"{student.student_architecture}, {metadata.dataset} at {student.image_size} px"
    settings = json.dumps({**training, "student": student.to_dict()}, indent=2)
    return (
        f"---\nlibrary_name: {library}\nlicense: {license_name}\n---\n# {title}\n\n"
        "Trained with `python -m redistill distill --config FILE`, where FILE holds the settings below.\n\n"
        f"Pictures: {owner}.\n\n"
        f"| figure | value |\n| --- | --- |\n| seed | {training.get('seed')} |\n"
        f"| steps | {training.get('steps')} |\n{rows}\n\n```json\n{settings}\n```\n"
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
    folder = find(folder)
    metadata = read_metadata(folder)
    metadata = dataclasses.replace(metadata, metrics={**metadata.metrics, **metrics})
    write_json(folder / "config.json", read_json(folder / "config.json") | {"metrics": dict(metadata.metrics)})
    write_text(folder / "README.md", model_card(metadata))
    return metadata

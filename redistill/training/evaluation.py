"""Figures of a trained network: how well it does on a test split, its parameters and the memory of inference."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..checkpoint import folder as checkpoint
from ..checkpoint.metadata import Metadata, read_metadata
from ..checkpoint.pipeline import load_scheduler
from ..checkpoint.sources import find_checkpoint
from ..common.devices import check_device
from ..data.classes import match_classes
from ..data.datasets import drawn_from, find_dataset, has_test, load_split
from ..data.source import SPLITS, Split
from ..data.table import DATASETS
from ..data.twins import Learnt, fingerprints, share_changed_first, share_learnt
from ..memory import capture_images, measure_peak
from ..networks.pooling_points import input_channels
from ..networks.trace import example_inputs
from .begun import are_others, say_others
from .classification import accuracy
from .config import DistillConfig
from .leaks import SEEN
from .per_class import confusion, figures_of
from .step import task_of
from .task import Problem, load_problem

OF_CLASSES = ("per_class", "confusion")
BY_PLACE = "compared by their places: the checkpoint was saved without names of its classes"


def evaluate(folder: str | Path, device: str | torch.device = "cpu", dataset: str | None = None) -> dict[str, Any]:
    """Figures of a checkpoint, a folder or a name, on the test split of what it learnt from, or on another `dataset`:
    on its test pictures where it has some of its own, else on all of it.

    They are "test_accuracy" with its 95 % "test_interval" and "test_pictures", or "test_prediction_loss" of a diffusion
    network, beside `checkpoint`, `dataset`, `parameters`, and of one image `peak_bytes` (fused accounting) and
    `peak_layer`; on another data set also `per_class` and `confusion`, as of `per_class.figures_of`. Classes
    are matched by name; those of a checkpoint without names by their places, which `classes` says. Raises ValueError
    for a checkpoint, a device or pictures that are not there, for classes that differ and for pictures that have
    changed since splits were drawn from them.
    """
    device = check_device(str(device))
    place = find_checkpoint(folder)  # once: a branch on the Hub may move meanwhile
    model, read = checkpoint.load(place).to(device), read_metadata(place)
    metadata = read
    splits = ("test",)
    if dataset is not None and dataset != metadata.dataset:
        splits = ("test",) if is_copy(dataset, metadata) or has_test(dataset) else SPLITS
        metadata = dataclasses.replace(metadata, dataset=dataset, drawn_from=None)
    if not metadata.dataset:
        raise ValueError(f"Nothing tells which pictures {folder} was trained on; name a data set to test it on.")
    places = _places(metadata, f"the checkpoint {folder}")
    config = DistillConfig(
        student=metadata.student,
        dataset=metadata.dataset,
        prediction_type=metadata.prediction_type,
        split_seed=metadata.split_seed,
        train_limit=60,  # judging needs no training pictures; of few, all might be damaged
    )
    task = task_of(config)
    problem = load_problem(task, config, model, None, device)
    if problem.noise_scheduler is not None:
        problem.noise_scheduler = load_scheduler(place)
    check_splits(metadata)
    if metadata.dataset == read.dataset:
        _check_same_pictures(metadata, problem.train)
    judged = _joined([relabelled(_split(config, name), places) for name in splits])
    if config.student.task == "classification":
        found = figures_of(confusion(model, judged, config.student.classes), metadata.class_names)
    else:
        found = task.judge(problem, model, judged)
    learnt = Learnt.from_dict(metadata.learnt) if metadata.dataset != read.dataset else None
    share = share_learnt(learnt, fingerprints(judged.images)) if learnt else 0.0
    seen = f"about {100 * share:.0f} % of these pictures are, by what they show, among those that it was trained on"
    of_classes = {name: found.pop(name) for name in OF_CLASSES if name in found}
    profile = capture_images(model, metadata.student.image_size).profile()
    return {
        "checkpoint": str(folder),
        "dataset": metadata.dataset,
        **{f"test_{name}": value for name, value in found.items()},
        **({"classes": BY_PLACE} if places is None and problem.class_names else {}),
        **({"seen": seen} if share >= SEEN else {}),
        "parameters": count_parameters(model),
        "peak_bytes": profile.peak_bytes,
        "peak_layer": profile.peak_layer,
        **(of_classes if dataset is not None else {}),
    }


def _places(metadata: Metadata, which: str) -> list[int] | None:
    """Where each class of the pictures stands among a classifier's outputs, see `match_classes`; None of a diffusion
    network. ValueError where the pictures are of another number of classes than a classifier tells apart."""
    if metadata.student.task != "classification":
        return None
    names = find_dataset(metadata.dataset, metadata.split_seed).class_names
    places = match_classes(names, metadata.class_names, f"the pictures of {metadata.dataset}", which)
    classes = metadata.student.classes
    if len(names) != classes:
        raise ValueError(
            f"{which[0].upper()}{which[1:]} tells {classes} classes apart, but the pictures of {metadata.dataset} are "
            f"of {len(names)}; expected pictures of all its classes."
        )
    return places


def _check_same_pictures(metadata: Metadata, first: Split) -> None:
    """ValueError where the first training pictures are not those that the network has learnt, as where the folders of
    two classes exchanged their names: figures of the others would be of other things too."""
    learnt = Learnt.from_dict(metadata.learnt)
    if metadata.dataset in DATASETS or learnt is None or first.left_out:
        return
    count = find_dataset(metadata.dataset, metadata.split_seed).split_sizes["train"]
    if learnt.count != min(metadata.training.get("train_limit") or count, count):
        return  # some were added where splits are given, or left out: then places tell nothing
    share, count = share_changed_first(learnt, first.images)
    if are_others(share, count):
        raise ValueError(
            f"{metadata.dataset}: {say_others(share, 'the checkpoint has learnt')}; restore them, or put these into "
            "another folder and name it as the data set."
        )


def _joined(splits: Sequence[Split]) -> Split:
    if len(splits) == 1:
        return splits[0]
    return Split(torch.cat([split.images for split in splits]), torch.cat([split.labels for split in splits]))


def is_copy(dataset: str, metadata: Metadata) -> bool:
    """Whether a data set's splits are drawn from the pictures that a checkpoint's were, wherever they lie."""
    return metadata.drawn_from is not None and drawn_from(dataset) == metadata.drawn_from


def check_splits(metadata: Metadata) -> None:
    """ValueError where the test split is no longer what was kept apart from the checkpoint."""
    if metadata.drawn_from not in (None, drawn_from(metadata.dataset)):
        raise ValueError(
            f"Pictures of {metadata.dataset} were added, removed or renamed since the checkpoint was trained, so the "
            "test split may hold pictures that it has learnt; restore them."
        )


def relabelled(split: Split, places: list[int] | None) -> Split:
    """The split with its labels as places of a network's outputs."""
    return split if places is None else Split(split.images, torch.tensor(places)[split.labels])


def final_figures(problem: Problem, model: nn.Module) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a run ends with: figures on the test split, and on the validation pictures that chose the model; `left_out`
    names test pictures that are damaged. Beside them, of a classifier at strides of its own, `per_class` and
    `confusion` of the test pictures, as of `per_class.figures_of`; those of many classes are too long for a record."""
    test, validation, judge = _split(problem.config, "test"), problem.validation, task_of(problem.config).judge
    of_classes: dict[str, Any] = {}
    if problem.config.student.task == "classification" and not problem.config.stride_vectors:
        found = figures_of(confusion(model, test, problem.config.student.classes), problem.class_names)
        of_classes = {name: found.pop(name) for name in OF_CLASSES}
    else:
        found = judge(problem, model, test)
    figures = {f"test_{name}": value for name, value in found.items()}
    figures |= {f"validation_{name}": value for name, value in judge(problem, model, validation).items()}
    return figures | left_out(test=test), of_classes


def rounded_accuracy(problem: Problem, model: nn.Module) -> dict[str, float]:
    """What a network that is trained as in int8 ends with beside that: its accuracy so, on test and validation."""
    splits = {"test": _split(problem.config, "test"), "validation": problem.validation}
    return {f"{name}_int8_accuracy": accuracy(model, split, is_learning=True) for name, split in splits.items()}


def left_out(**splits: Split) -> dict[str, str]:
    """`left_out`, sentences about damaged pictures of splits, for a record; nothing where there are none."""
    told = [f"{name}: {split.left_out}" for name, split in splits.items() if split.left_out]
    return {"left_out": " ".join(told)} if told else {}


def _split(config: DistillConfig, name: str) -> Split:
    return load_split(config.dataset, name, config.student.image_size, split_seed=config.split_seed)


def count_parameters(model: nn.Module) -> int:
    """Number of parameters, RED blocks included."""
    return sum(parameter.numel() for parameter in model.parameters())


def inference_peaks(model: nn.Module, image_size: int) -> dict[str, int]:
    """Peak activation bytes of one image in the model's own dtype: as measured on its device, and as computed.

    `measured_peak_bytes` is what the allocator saw and, on the CPU, equals the computed `eager_peak_bytes`;
    `fused_peak_bytes` is what a deployment runtime would hold (see `memory.tape`).
    """
    device = next(model.parameters()).device
    size = (1, input_channels(model), image_size, image_size)
    tape = capture_images(model, image_size)
    return {
        "measured_peak_bytes": measure_peak(model, example_inputs(model, size, device)),
        "eager_peak_bytes": tape.profile(accounting="eager").peak_bytes,
        "fused_peak_bytes": tape.profile(accounting="fused").peak_bytes,
    }

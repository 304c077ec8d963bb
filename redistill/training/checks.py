"""What settings alone cannot tell: whether the teacher that a run names, read from its card, may teach it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from ..checkpoint.metadata import Metadata, read_metadata
from ..checkpoint.sources import ddpm_settings, with_unets
from ..common.settings import SettingError, settings_of
from ..data.classes import match_classes
from ..networks.zoo import DDPM, check_pretrained, find_network, is_network, is_pretrained
from .config import DistillConfig


def complete(config: DistillConfig) -> DistillConfig:
    """The settings with those of networks that they name by a place, so that nothing has to be read there again."""
    return dataclasses.replace(config, student=with_unets(config.student))


def check_run_folder(config: DistillConfig, run_dir: str | Path) -> None:
    """ValueError for a run folder inside the folder of the run's own pictures, where it would be taken for some."""
    kind, _, place = config.dataset.partition(":")
    pictures = Path(place).expanduser().resolve()
    if kind == "folder" and pictures.is_dir() and Path(run_dir).resolve().is_relative_to(pictures):
        raise ValueError(
            f"Run folder {run_dir} lies in {pictures}, the folder of its pictures, and would be taken for some of "
            "them; choose a folder elsewhere."
        )


def check_teacher(config: DistillConfig) -> None:
    """ValueError when the teacher of a run has seen what the run keeps apart, or what it predicts cannot be compared.

    Where validation and test pictures are drawn from train, a teacher that was trained at another `split_seed` has
    learnt some of them by heart, and would hand them on.
    """
    name = config.teacher_checkpoint
    if name is None:
        return
    if name.startswith(DDPM):
        _check_ddpm(config, name.removeprefix(DDPM))
        return
    if is_network(name):
        spec = check_pretrained(name) if is_pretrained(name) else find_network(name)
        task, classes = spec.task, spec.num_classes
    else:
        metadata = read_metadata(name)
        task, classes = metadata.student.task, metadata.student.classes
        seed = metadata.split_seed
        if metadata.dataset == config.dataset and seed != config.split_seed:
            raise SettingError(
                "The teacher was trained on the same pictures with {split_seed} {its_seed}, not {value}: it may have "
                "seen what this run validates or tests on; set {split_seed} to {its_seed}.",
                config.split_seed,
                {"its_seed": seed},
            )
        if task == config.student.task == "diffusion":
            _check_prediction(config, name, metadata.prediction_type)
    if config.quantize and (is_network(name) or metadata.student != config.student):
        raise SettingError(
            "{quantize} is {value}, so the run goes on from the network of {name} as it is, but its student is set "
            "otherwise; take all settings of the student from there, as `redistill quantize {name}` does.",
            config.quantize,
            {"name": name},
        )
    _check_task(config, name, task)
    is_other = classes not in (None, config.student.classes)  # None: of one's own file, which says so when it is built
    if config.kd_weight > 0 and config.student.task == "classification" and is_other:
        raise SettingError(
            "The teacher tells {classes} classes apart, the student {value}, so KD cannot compare their answers; "
            "choose a teacher of these pictures, or set {kd_weight} to 0.",
            config.student.classes,
            {"classes": classes},
        )


def teacher_places(config: DistillConfig, card: Metadata | None, class_names: Sequence[str]) -> list[int] | None:
    """For each class of the run's pictures the place of the teacher's output for it, by name.

    None where that cannot be told, of a teacher whose classes have no names: its outputs are then taken by their
    places; and where they are not asked for, of a network that draws or tells other classes apart. Raises ValueError
    where KD would compare the outputs of classes that are not the same.
    """
    if card is None or config.student.task != "classification":
        return None
    who, whose = f"the pictures of {config.dataset}", f"the teacher {config.teacher_checkpoint}"
    try:
        places = match_classes(class_names, card.class_names, who, whose)
    except ValueError as error:
        if config.kd_weight == 0:  # it teaches by its maps alone
            return None
        remedy = "choose a teacher of these classes, rename the folders, or set kd_weight to 0"
        raise ValueError(f"KD compares outputs class by class. {error} So {remedy}.") from error
    return places if len(class_names) == len(card.class_names) else None


def is_judged(config: DistillConfig, card: Metadata | None, places: Sequence[int] | None, count: int) -> bool:
    """Whether a run's teacher teaches by anything, and its figures on the run's pictures, of `count` classes, say how
    well; `places` as of `teacher_places`."""
    teaches = config.red_weight > 0 or config.kd_weight > 0 or config.feature_loss is not None
    if config.student.task != "classification":
        return teaches
    if card is not None:
        is_same = places is not None or (not card.class_names and card.student.classes == count)
    else:
        is_same = find_network(config.teacher_checkpoint).num_classes == count
    return teaches and is_same


def _check_ddpm(config: DistillConfig, source: str) -> None:
    """ValueError where a DDPM from elsewhere draws another size, or predicts something else, than the student."""
    _check_task(config, source, "diffusion")
    size, kind = ddpm_settings(source)
    if size not in (None, config.student.image_size):
        raise SettingError(
            "{source} draws {size} px, the student {value}; set {image_size} to {size}.",
            config.student.image_size,
            {"source": source, "size": size},
        )
    _check_prediction(config, source, kind)


def _check_task(config: DistillConfig, teacher: str, task: str) -> None:
    if task != config.student.task:
        raise ValueError(
            f"The teacher {teacher} is a network for {task}, the student one for {config.student.task}; expected both "
            "for the same."
        )


def _check_prediction(config: DistillConfig, source: str, kind: str) -> None:
    predictions = settings_of(DistillConfig)["prediction_type"]
    if not predictions.fits(kind):
        raise ValueError(f"{source} predicts {kind!r}; expected {predictions.expected}.")
    if kind != config.prediction_type:
        raise SettingError(
            "{source} predicts {kind!r}, the student {value}; set {prediction_type} to {kind!r}.",
            config.prediction_type,
            {"source": source, "kind": kind},
        )

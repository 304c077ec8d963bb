"""The controls for every setting of a run, what they show for a config, and the config that they are set to.

They are made from the settings' own fields, see `redistill.training.config`; a setting that has no place in LAYOUT
stands at the end.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
import torch

from redistill.common.settings import SettingError
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import DDPM, find_network, is_pretrained, pretrained_name
from redistill.training.checks import check_teacher
from redistill.training.config import DistillConfig
from redistill.training.feature_losses import FEATURE_LOSSES

from ..parts.setting_controls import from_page, make_control, to_page
from ..runs import choices
from ..words.settings import RUN, SETTINGS, refusal
from . import data_panel
from .data_panel import DataPanel
from .student_form import read_student

NO_TEACHER = "none"
# By the title of a fold, the lines of controls in it; several names stand side by side.
LAYOUT = {
    "": ["dataset", "image_size", "teacher_checkpoint", "red_weight kd_weight", "steps batch_size",
         "learning_rate seed", "init"],
    "More of the losses": ["distance", "alignment", "feature_loss", "feature_weight task_weight", "kd",
                           "dkd_alpha dkd_beta", "temperature", "prediction_type", "accept_teacher"],
    "More of the training": ["optimizer", "schedule", "milestones gamma", "warmup_steps weight_decay",
                             "grad_clip ema_decay", "precision", "freeze_batch_norm", "augmentation", "mixup cutmix",
                             "label_smoothing", "validate_every save_every", "train_limit split_seed", "device"],
}  # fmt: skip
_PLACED = " ".join(line for lines in LAYOUT.values() for line in lines).split()
_UNPLACED = [name for name in RUN if name not in _PLACED]
FIELDS = (*_PLACED, *_UNPLACED)  # settings of a run, and two of its student, in the order of the page


def build(config: DistillConfig, data: DataPanel) -> dict[str, gr.components.Component]:
    """The controls by name, in the order of FIELDS; build them inside the Blocks context where they should stand."""
    shown = values(config)
    found = {"dataset": data.dataset, "image_size": data.image_size}
    for fold, lines in LAYOUT.items():
        with gr.Accordion(fold, open=False, elem_classes="fold") if fold else contextlib.nullcontext():
            for line in [*lines, *(_UNPLACED if fold == list(LAYOUT)[-1] else [])]:
                names = [name for name in line.split() if name not in found]
                with gr.Row() if len(names) > 1 else contextlib.nullcontext():
                    found |= {name: _control(name, shown[name], config) for name in names}
    return found


def _control(name: str, value: Any, config: DistillConfig) -> gr.components.Component:
    label = SETTINGS[name].label
    if name == "teacher_checkpoint":
        return gr.Radio(teachers(config.student, config.dataset), value=value, label=label, elem_classes="list")
    if name == "device":
        return gr.Radio(devices(), value=value, label=label)
    return make_control(SETTINGS[name], value)


def devices() -> list[str]:
    """What can be trained on here."""
    return ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]


def values(config: DistillConfig) -> dict[str, Any]:
    """What the controls show for a config, by name. A teacher that is not here is shown as the first that is."""
    held = {name: getattr(config if name in RUN else config.student, name) for name in FIELDS}
    wanted = choices.value_of(config.teacher_checkpoint) if config.teacher_checkpoint else NO_TEACHER
    held["teacher_checkpoint"] = _offered_teacher(teachers(config.student, config.dataset), wanted)
    if config.teacher_checkpoint is None:
        held["red_weight"] = 0.0  # there is nothing to compare with
    held["feature_weight"] = config.weights["feature_loss"] if config.feature_loss else None
    return {name: to_page(SETTINGS[name], value) for name, value in held.items()}


def filled(config: DistillConfig) -> dict[str, Any]:
    """Updates of all controls by name."""
    updates = values(config)
    updates["dataset"] = gr.Radio(choices=data_panel.offered(config.student, also=config.dataset), value=config.dataset)
    updates["teacher_checkpoint"] = teacher_choice(config.student, config.dataset, updates["teacher_checkpoint"])
    updates["device"] = _own_device(config.device)
    return updates


def _own_device(wanted: str) -> str:
    """The device of this machine that comes nearest to what a run on another one had."""
    wanted = "cuda:0" if wanted == "cuda" else wanted
    own = devices()
    return wanted if wanted in own else own[-1 if wanted.startswith("cuda") else 0]


def teacher_choice(student: StudentConfig, dataset: str, value: Any = None) -> gr.Radio:
    """The teachers of a student on these pictures, `value` chosen if it is one of them."""
    offered = teachers(student, dataset)
    return gr.Radio(choices=offered, value=_offered_teacher(offered, value))


def _offered_teacher(offered: Sequence[tuple[str, str]], wanted: Any) -> str:
    """`wanted` where it is on offer, else the first that is here: nothing is downloaded unasked."""
    values = [value for _, value in offered]
    return wanted if wanted in values else next(value for value in values if not is_pretrained(value))


def teachers(student: StudentConfig, dataset: str) -> list[tuple[str, str]]:
    """Teachers of a student as (title, value): checkpoints, torchvision's weights, and none."""
    found = choices.checkpoints(choices.teaches(student, dataset))
    titles = [
        (f"{choice.title}, {choices.score_text(choice.metadata) or 'not tested'}", choice.value) for choice in found
    ]
    entry = find_network(student.teacher)
    if entry.name.startswith(DDPM):
        titles.insert(0, (entry.title, entry.name))
    if entry.pretrained and not student.teacher_strides:
        titles.append((f"{entry.title} with trained weights (a download)", pretrained_name(student.teacher)))
    return [*titles, ("None: the pictures alone", NO_TEACHER)]


def read(student: Any, given: Mapping[str, Any]) -> DistillConfig:
    """Values of FIELDS as they come from the page, whatever they are, to a config; ValueError for what does not fit."""
    try:
        return _read(student, given)
    except SettingError as error:
        raise ValueError(refusal(error)) from error


def _read(student: Any, given: Mapping[str, Any]) -> DistillConfig:
    settings = {name: from_page(SETTINGS[name], given[name]) for name in FIELDS}
    chosen = dataclasses.replace(read_student(student), alignment=settings.pop("alignment"))
    if settings["feature_loss"] is None:
        settings["feature_weight"] = None
    chosen = data_panel.fit(chosen, settings["dataset"], settings.pop("image_size"))
    settings["teacher_checkpoint"] = _teacher(settings, chosen, settings["dataset"])
    settings["train_limit"] = settings["train_limit"] or None
    if settings["device"] not in devices():
        raise ValueError(f"Device {str(settings['device'])[:80]!r} is not on this machine.")
    config = DistillConfig(student=chosen, **settings)
    check_teacher(config)
    return config


def _teacher(settings: Mapping[str, Any], student: StudentConfig, dataset: str) -> str | None:
    """The teacher's folder or torchvision name; ValueError where there is none and something is learnt from it."""
    value = settings["teacher_checkpoint"]
    if value in (None, "", NO_TEACHER):
        remedies = [f"“{RUN[name].label}” to 0" for name in ("red_weight", "kd_weight") if settings[name]]
        if settings["init"] == "teacher":
            remedies.append(f"“{RUN['init'].label}” to “{RUN['init'].choices['scratch']}”")
        if settings["feature_loss"]:
            remedies.append(f"“{RUN['feature_loss'].label}” to “{RUN['feature_loss'].empty}”")
        if remedies:
            *others, last = remedies
            changes = f"{', '.join(others)} and {last}" if others else last
            raise ValueError(f"These settings need a trained teacher; choose one, train one first, or set {changes}.")
        return None
    if value == pretrained_name(student.teacher) and find_network(student.teacher).pretrained:
        return value
    if value == student.teacher and value.startswith(DDPM):
        return value
    choice = choices.find(value, choices.teaches(student, dataset))
    return str(choices.folder(choice)) if choice.is_own else choice.value


def published_weight(feature_loss: Any) -> float | None:
    """The weight that a feature loss is published with; empty for none."""
    known = isinstance(feature_loss, str) and feature_loss in FEATURE_LOSSES
    return FEATURE_LOSSES[feature_loss].weight if known else None

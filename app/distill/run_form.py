"""The controls for every setting of a run, what they show for a config, and the config that they are set to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr
import torch

from redistill.data.augmentation import AUGMENTATIONS
from redistill.networks.alignment import RULES
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import DDPM, PRETRAINED, find_network
from redistill.training.config import CHOICES, DistillConfig, SettingError, check_teacher
from redistill.training.feature_losses import FEATURE_LOSSES

from ..parts.fields import NumberField
from ..runs import choices
from ..words.settings import (
    ALIGNMENT_LABELS,
    INIT_LABELS,
    KD_LABELS,
    LABELS,
    NO_FEATURE_LOSS,
    STUDENT_LABELS,
    refusal,
)
from . import data_panel
from .data_panel import DataPanel

NO_TEACHER = "none"
NO_LOSS = "none"
OWN = "own"  # augmentation: the data set's
# In the order of the page.
FIELDS = (
    "dataset", "image_size", "teacher_checkpoint", "red_weight", "kd_weight", "steps", "batch_size", "learning_rate",
    "seed", "init", "distance", "alignment", "feature_loss", "feature_weight", "task_weight", "kd", "dkd_alpha",
    "dkd_beta", "temperature", "prediction_type", "optimizer", "schedule", "milestones", "gamma", "warmup_steps",
    "weight_decay", "grad_clip", "ema_decay", "precision", "freeze_batch_norm", "augmentation", "mixup",
    "cutmix", "validate_every", "save_every", "train_limit", "split_seed", "device",
)  # fmt: skip


class _Builder:
    """Makes one control after the other, labelled as in `wording`, showing the values of a config."""

    def __init__(self, config: DistillConfig) -> None:
        self.values = values(config)
        self.found: dict[str, gr.components.Component] = {}

    def number(self, name: str, **settings: Any) -> None:
        label = settings.pop("label", LABELS.get(name))
        self.found[name] = NumberField(self.values[name], label=label, min_width=120, **settings)

    def count(self, name: str, least: int = 0, **settings: Any) -> None:
        self.number(name, minimum=least, **settings)

    def radio(self, name: str, options: Sequence[Any], **settings: Any) -> None:
        label = {**LABELS, **STUDENT_LABELS}[name]
        self.found[name] = gr.Radio(list(options), value=self.values[name], label=label, **settings)


def build(config: DistillConfig, data: DataPanel) -> dict[str, gr.components.Component]:
    """The controls by name, in the order of FIELDS; build them inside the Blocks context where they should stand."""
    form = _Builder(config)
    form.found |= {"dataset": data.dataset, "image_size": data.image_size}
    form.radio("teacher_checkpoint", teachers(config.student, config.dataset), elem_classes="list")
    with gr.Row():
        form.number("red_weight", minimum=0)
        form.number("kd_weight", minimum=0)
    with gr.Row():
        form.count("steps", 1)
        form.count("batch_size", 1)
    with gr.Row():
        form.number("learning_rate", minimum=0)
        form.count("seed")
    form.radio("init", [(INIT_LABELS[name], name) for name in CHOICES["init"]])
    with gr.Accordion("More of the losses", open=False, elem_classes="fold"):
        _build_losses(form)
    with gr.Accordion("More of the training", open=False, elem_classes="fold"):
        _build_training(form)
    return form.found


def _build_losses(form: _Builder) -> None:
    form.radio("distance", CHOICES["distance"])
    form.radio("alignment", [(ALIGNMENT_LABELS[rule], rule) for rule in RULES])
    losses = [(NO_FEATURE_LOSS, NO_LOSS), *((item.title, name) for name, item in FEATURE_LOSSES.items())]
    form.found["feature_loss"] = gr.Dropdown(
        losses, value=form.values["feature_loss"], label=LABELS["feature_loss"], filterable=False
    )
    with gr.Row():
        form.number("feature_weight", minimum=0)
        form.number("task_weight", minimum=0)
    form.radio("kd", [(KD_LABELS[kind], kind) for kind in CHOICES["kd"]])
    with gr.Row():
        form.number("dkd_alpha", minimum=0)
        form.number("dkd_beta", minimum=0)
    form.number("temperature", minimum=0)
    form.radio("prediction_type", CHOICES["prediction_type"])


def _build_training(form: _Builder) -> None:
    form.radio("optimizer", CHOICES["optimizer"])
    form.radio("schedule", CHOICES["schedule"])
    with gr.Row():
        form.found["milestones"] = gr.Textbox(
            form.values["milestones"], label=LABELS["milestones"], placeholder="400, 600", max_length=200, min_width=120
        )
        form.number("gamma", minimum=0)
    with gr.Row():
        form.count("warmup_steps")
        form.number("weight_decay", minimum=0)
    with gr.Row():
        form.number("grad_clip", minimum=0)
        form.number("ema_decay", minimum=0)
    form.radio("precision", CHOICES["precision"])
    form.found["freeze_batch_norm"] = gr.Checkbox(
        form.values["freeze_batch_norm"], label=LABELS["freeze_batch_norm"], container=False
    )
    form.radio("augmentation", [("the set’s own", OWN), *AUGMENTATIONS])
    with gr.Row():
        form.number("mixup", minimum=0)
        form.number("cutmix", minimum=0)
    with gr.Row():
        form.count("validate_every", 1)
        form.count("save_every", 1)
    with gr.Row():
        form.count("train_limit", label="Training images (empty: all)")
        form.count("split_seed")
    form.radio("device", devices())


def devices() -> list[str]:
    """What can be trained on here."""
    return ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]


def values(config: DistillConfig) -> dict[str, Any]:
    """What the controls show for a config, by name. A teacher that is not here is shown as the first that is."""
    shown = {name: value for name, value in config.to_dict().items() if name != "student"}
    wanted = choices.value_of(config.teacher_checkpoint) if config.teacher_checkpoint else NO_TEACHER
    shown["teacher_checkpoint"] = _offered_teacher(teachers(config.student, config.dataset), wanted)
    if config.teacher_checkpoint is None:
        shown["red_weight"] = 0.0  # there is nothing to compare with
    weight = config.weights["feature_loss"] if config.feature_loss else None
    shown |= {"feature_loss": config.feature_loss or NO_LOSS, "feature_weight": weight}
    shown["augmentation"] = config.augmentation or OWN
    shown["milestones"] = ", ".join(map(str, config.milestones))
    return shown | {"alignment": config.student.alignment, "image_size": config.student.image_size}


def filled(config: DistillConfig) -> list[Any]:
    """Updates of all controls, in the order of FIELDS."""
    shown = values(config)
    updates = {name: shown[name] for name in FIELDS}
    updates["dataset"] = gr.Radio(choices=data_panel.offered(config.student, also=config.dataset), value=config.dataset)
    updates["teacher_checkpoint"] = teacher_choice(config.student, config.dataset, shown["teacher_checkpoint"])
    updates["device"] = _own_device(config.device)
    return list(updates.values())


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
    return wanted if wanted in values else next(value for value in values if not value.startswith(PRETRAINED))


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
        titles.append((f"{entry.title} with ImageNet’s weights (a download)", PRETRAINED + student.teacher))
    return [*titles, ("None: the pictures alone", NO_TEACHER)]


def read(student: Any, given: Sequence[Any]) -> DistillConfig:
    """Values as they come from the page, whatever they are, to a config; ValueError for what does not fit."""
    if len(given) != len(FIELDS):
        raise ValueError(f"{len(given)} settings came from the page; expected {len(FIELDS)}.")
    try:
        return _read(student, given)
    except SettingError as error:
        raise ValueError(refusal(error)) from error


def _read(student: Any, given: Sequence[Any]) -> DistillConfig:
    settings = dict(zip(FIELDS, given, strict=True))
    chosen = dataclasses.replace(read_student(student), alignment=settings.pop("alignment"))
    if settings["feature_loss"] == NO_LOSS:
        settings |= {"feature_loss": None, "feature_weight": None}
    if settings["augmentation"] == OWN:
        settings["augmentation"] = None
    chosen = data_panel.fit(chosen, settings["dataset"], settings.pop("image_size"))
    settings["teacher_checkpoint"] = _teacher(settings, chosen, settings["dataset"])
    settings["milestones"] = _milestones(settings["milestones"])
    settings["train_limit"] = settings["train_limit"] or None
    if settings["device"] not in devices():
        raise ValueError(f"Device {str(settings['device'])[:80]!r} is not on this machine.")
    config = DistillConfig(student=chosen, **settings)
    check_teacher(config)
    return config


def read_student(values: Any) -> StudentConfig:
    """The student of the page's state; ValueError while there is none."""
    if not isinstance(values, Mapping):
        raise ValueError("There is no student yet; choose a preset, or one in Explore.")
    return StudentConfig.from_dict(values)


def _teacher(settings: Mapping[str, Any], student: StudentConfig, dataset: str) -> str | None:
    """The teacher's folder or torchvision name; ValueError where there is none and something is learnt from it."""
    value = settings["teacher_checkpoint"]
    if value in (None, "", NO_TEACHER):
        remedies = [f"“{LABELS[name]}” to 0" for name in ("red_weight", "kd_weight") if settings[name]]
        if settings["init"] == "teacher":
            remedies.append(f"“{LABELS['init']}” to “{INIT_LABELS['scratch']}”")
        if settings["feature_loss"]:
            remedies.append(f"“{LABELS['feature_loss']}” to “{NO_FEATURE_LOSS}”")
        if remedies:
            *others, last = remedies
            changes = f"{', '.join(others)} and {last}" if others else last
            raise ValueError(f"These settings need a trained teacher; choose one, train one first, or set {changes}.")
        return None
    if value == PRETRAINED + student.teacher and find_network(student.teacher).pretrained:
        return value
    if value == student.teacher and value.startswith(DDPM):
        return value
    choice = choices.find(value, choices.teaches(student, dataset))
    return str(choices.folder(choice)) if choice.is_own else choice.value


def _milestones(value: Any) -> tuple[int, ...]:
    parts = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else []
    if not (isinstance(value, str) or value is None) or not all(part.isdecimal() and len(part) < 10 for part in parts):
        expected = "steps with commas, such as 400, 600"
        raise ValueError(f"{LABELS['milestones']} is {str(value)[:80]!r}; expected {expected}.")
    return tuple(int(part) for part in parts)


def published_weight(feature_loss: Any) -> float | None:
    """The weight that a feature loss is published with; empty for none."""
    known = isinstance(feature_loss, str) and feature_loss in FEATURE_LOSSES
    return FEATURE_LOSSES[feature_loss].weight if known else None

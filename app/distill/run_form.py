"""The controls for every setting of a run, what they show for a config, and the config that they are set to.

They are made from the settings' own fields, see `redistill.training.config`; a setting that has no place in a step or
in DRAWER stands at the drawer's end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gradio as gr
import torch

from redistill.common.settings import SettingError
from redistill.networks.alignment import BY_SIZE
from redistill.networks.stem_kinds import AS_BUILT
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import DDPM, find_network, is_pretrained, pretrained_name
from redistill.training.checks import check_teacher
from redistill.training.config import DistillConfig
from redistill.training.feature_losses import FEATURE_LOSSES
from redistill.training.presets import PRESETS, find_preset

from ..parts.explain import infos
from ..parts.fields import LiveRadio
from ..parts.setting_controls import from_page, make_control, to_page
from ..runs import choices
from ..words.settings import RUN, SETTINGS, refusal
from . import data_panel
from .student_form import read_student

NO_TEACHER, TRAIN_FIRST = "none", "train-first"  # choices of a teacher
PLANNED = "planned"  # the checkpoint of a teacher that is trained first, before its run has a name
# The lines of controls in each step of the form, and in the drawer by heading; several names stand side by side.
TEACHER_LINES = ["teacher_checkpoint"]
LENGTH_LINES = ["steps batch_size", "learning_rate seed"]
DRAWER = {
    "Losses": ["red_weight kd_weight", "init", "distance", "alignment", "feature_loss", "feature_weight task_weight",
               "kd", "dkd_alpha dkd_beta", "temperature", "prediction_type", "accept_teacher"],
    "Training": ["optimizer", "schedule", "milestones gamma", "warmup_steps weight_decay", "grad_clip ema_decay",
                 "precision", "quantize", "freeze_batch_norm", "augmentation", "mixup cutmix", "label_smoothing",
                 "validate_every save_every", "train_limit split_seed", "device"],
}  # fmt: skip
_STEPS = ("dataset", "image_size", *" ".join([*TEACHER_LINES, *LENGTH_LINES]).split())
_PLACED = (*_STEPS, *" ".join(line for lines in DRAWER.values() for line in lines).split())
_UNPLACED = [name for name in RUN if name not in _PLACED]
FIELDS = (*_PLACED, *_UNPLACED)  # settings of a run, and two of its student, in the order of the page


class Refused(ValueError):
    """A setting that does not fit, in one sentence; `field` is its control's name."""

    def __init__(self, sentence: str, field: str) -> None:
        super().__init__(sentence)
        self.field = field


def place_of(name: str) -> str:
    """The `elem_id` of a control of the form, by the name of its setting."""
    return f"field-{name}"


def build(lines: Sequence[str], config: DistillConfig, helped: bool = False) -> dict[str, gr.components.Component]:
    """Lines of controls by name, inside the Blocks context; `helped`: each with what the shell says of it."""
    shown, found = values(config), {}
    for line in lines:
        names = line.split()
        with gr.Row() if len(names) > 1 else contextlib.nullcontext():
            found |= {name: _control(name, shown[name], config, helped) for name in names}
    return found


def build_drawer(config: DistillConfig) -> dict[str, gr.components.Component]:
    """All settings that have no place in a step, with what the shell says of each."""
    found: dict[str, gr.components.Component] = {}
    with gr.Accordion("All other settings", open=False, elem_classes="fold", elem_id="drawer"):
        for heading, lines in DRAWER.items():
            words = infos("RED", "KD", "stage-wise") if heading == "Losses" else ""
            gr.HTML(f'<h4 class="drawer-heading">{heading}</h4>{words}')
            found |= build([*lines, *(_UNPLACED if heading == list(DRAWER)[-1] else [])], config, helped=True)
    return found


def _control(name: str, value: Any, config: DistillConfig, helped: bool) -> gr.components.Component:
    label, place = SETTINGS[name].label, place_of(name)
    if name == "teacher_checkpoint":
        offered = teachers(config.student, config.dataset)
        return LiveRadio(offered, value=value, label=label, show_label=False, elem_classes="list", elem_id=place)
    if name == "device":
        return gr.Radio(devices(), value=value, label=label, elem_id=place)
    return make_control(SETTINGS[name], value, helped=helped, elem_id=place)


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
    shown = {name: to_page(SETTINGS[name], value) for name, value in held.items()}
    return shown | {"teacher_steps": teacher_of(config).steps, "seeds": 1}


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


def teacher_network(student: StudentConfig) -> StudentConfig:
    """A student's teacher as a network of its own, with as many classes."""
    strides = student.teacher_strides
    own = {"strides": strides, "teacher_strides": {}, "architecture": None, "red": None, "stem": AS_BUILT}
    return dataclasses.replace(student, alignment=BY_SIZE, **own)


def teacher_of(config: DistillConfig, steps: Any = None) -> DistillConfig:
    """The run that trains the teacher of a student's run, on its pictures and its device: by the preset of that very
    teacher where there is one, else by the settings of those that ship. `steps`: another length than theirs."""
    network = teacher_network(config.student)
    kept = ("dataset", "split_seed", "train_limit", "device", "seed", "prediction_type")
    given = {name: getattr(config, name) for name in kept} | ({} if steps is None else {"steps": steps})
    usual = find_preset("faces-teacher" if network.task == "diffusion" else "teacher").config
    presets = (preset.config for preset in PRESETS.values() if preset.config.teacher_checkpoint is None)
    same = (
        each
        for each in presets
        if each.dataset == config.dataset and dataclasses.replace(each.student, teacher_strides={}) == network
    )
    try:
        return dataclasses.replace(next(same, usual), student=network, **given)
    except SettingError as error:
        raise Refused(f"Of its teacher: {refusal(error)}", "teacher_steps") from error


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
    if not entry.name.startswith(DDPM):
        titles.append(("Train one on these pictures first", TRAIN_FIRST))
    return [*titles, ("None: the pictures alone", NO_TEACHER)]


def read(student: Any, given: Mapping[str, Any]) -> DistillConfig:
    """Values of FIELDS as they come from the page, whatever they are, to a config; ValueError, where it is of one
    setting a `Refused`, for what does not fit. The teacher that is to be trained first is called PLANNED."""
    try:
        return _read(student, given)
    except SettingError as error:
        named = [name for name in re.findall(r"\{(\w+)", error.sentence) if name in FIELDS]
        raise Refused(refusal(error), named[0] if named else "") from error


def _read(student: Any, given: Mapping[str, Any]) -> DistillConfig:
    settings = {}
    for name in FIELDS:
        with _at(name):
            settings[name] = from_page(SETTINGS[name], given[name])
    chosen = dataclasses.replace(read_student(student), alignment=settings.pop("alignment"))
    if settings["feature_loss"] is None:
        settings["feature_weight"] = None
    with _at("image_size"):
        chosen = data_panel.fit(chosen, settings["dataset"], settings.pop("image_size"))
    with _at("teacher_checkpoint"):
        settings["teacher_checkpoint"] = _teacher(settings, chosen, settings["dataset"])
    settings["train_limit"] = settings["train_limit"] or None
    with _at("device"):
        if settings["device"] not in devices():
            raise ValueError(f"Device {str(settings['device'])[:80]!r} is not on this machine.")
    config = DistillConfig(student=chosen, **settings)
    if config.teacher_checkpoint != PLANNED:
        check_teacher(config)
    return config


@contextlib.contextmanager
def _at(field: str) -> Iterator[None]:
    """Lets what does not fit in this block be of one setting, unless it says itself of which."""
    try:
        yield
    except SettingError:
        raise
    except ValueError as error:
        raise Refused(str(error), field) from error


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
    if value == TRAIN_FIRST and not student.teacher.startswith(DDPM):
        return PLANNED
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

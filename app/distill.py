"""Tab Distill: choose settings, start a run in a process of its own, and watch all runs through their files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
import torch

from redistill.alignment import RULES
from redistill.config import CHOICES, DistillConfig, check_teacher
from redistill.feature_losses import FEATURE_LOSSES
from redistill.presets import PRESETS, find_preset
from redistill.student import StudentConfig

from . import choices, data_panel, jobs
from .data_panel import DataPanel
from .fragments import notice
from .plots import format_bytes, format_ratio
from .study import study
from .watch import WatchPanel
from .wording import ALIGNMENT_LABELS, INIT_LABELS, KD_LABELS, describe_student, run_title

NO_TEACHER = "none"
NO_LOSS = "none"
FIRST_PRESET = "quick"


@dataclass(frozen=True)
class DistillTab:
    """The components that the page connects to other tabs."""

    shown: list[Any]  # outputs of `take_student`
    change: gr.Button  # back to Explore
    panel: WatchPanel


def build(tab: gr.Tab) -> DistillTab:
    """Lay the tab out inside the current Blocks context and connect its events."""
    preset = PRESETS[FIRST_PRESET]
    student = gr.State(preset.config.student.to_dict())
    with gr.Row(elem_classes="columns"):
        with gr.Column(min_width=300, elem_classes="controls"):
            with gr.Column(elem_classes="card"):
                presets = gr.Radio(
                    [(item.title, name) for name, item in PRESETS.items()],
                    value=FIRST_PRESET,
                    label="Start from",
                    elem_classes="list",
                )
                about = gr.HTML(_about(FIRST_PRESET))
            with gr.Column(elem_classes="card"):
                card = gr.HTML(_student_card(preset.config.student), elem_id="student")
                change = gr.Button("Change it in Explore", size="sm")
            refusal = gr.HTML(elem_id="refusal")
            start = gr.Button("Start", variant="primary", elem_id="start")
            with gr.Column(elem_classes="card"):
                data = DataPanel(preset.config)
                fields = _fields(preset.config, data)
        panel = WatchPanel()

    form = [student, *fields.values()]
    quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    presets.input(take_preset, presets, [about, card, refusal, *form], **quiet)
    start.click(start_run, form, [refusal, panel.runs, *panel.shown], **quiet)
    fields["alignment"].input(show_alignment, [student, fields["alignment"]], card, **quiet)
    fields["feature_loss"].input(published_weight, fields["feature_loss"], fields["feature_weight"], **quiet)
    _connect_data(tab, data, [about, card, refusal, presets, *form], panel)
    return DistillTab(shown=[about, card, refusal, presets, *form], change=change, panel=panel)


def _connect_data(tab: gr.Tab, data: DataPanel, shown: list[Any], panel: WatchPanel) -> None:
    """`shown`: what describes the student, then the form. Choosing pictures fits the student to them."""
    form = shown[4:]
    student, teacher = form[0], form[1 + FIELDS.index("teacher_checkpoint")]
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    fitted = [student, shown[1], data.said, data.dataset, data.image_size, teacher]
    data.dataset.input(take_data, [student, data.dataset], fitted, **quiet)
    data.image_size.input(take_data, [student, data.dataset, data.image_size], fitted, **quiet)
    brought = gr.State(None)  # name of the data set that was brought in last
    for event, handler, given in (
        (data.upload.upload, data_panel.take_upload, data.upload),
        (data.fetch.click, data_panel.take_hub_id, data.hub),
        (data.hub.submit, data_panel.take_hub_id, data.hub),
    ):
        event(handler, given, [brought, data.said], show_progress_on=data.said, api_visibility="private").success(
            take_brought, [student, brought, data.said], fitted, **quiet
        )
    asked = [student, data.dataset, data.image_size]
    data.teach.click(take_teacher, asked, [data.said, *shown], queue=False, **quiet)
    for event in (tab.select, data.dataset.change):
        event(data_panel.show_pictures, data.dataset, panel.pictures, **quiet)


def _fields(config: DistillConfig, data: DataPanel) -> dict[str, gr.components.Component]:
    """A control for every setting of a run, in the order of the page; `_values` fills them in the same order."""
    found: dict[str, gr.components.Component] = {}
    values = _values(config)

    def number(name: str, label: str, **settings: Any) -> None:
        found[name] = gr.Number(values[name], label=label, min_width=120, **settings)

    def radio(name: str, label: str, options: Sequence[Any]) -> None:
        found[name] = gr.Radio(list(options), value=values[name], label=label)

    found["dataset"], found["image_size"] = data.dataset, data.image_size
    offered = _teachers(config.student, config.dataset)
    found["teacher_checkpoint"] = gr.Radio(
        offered, value=values["teacher_checkpoint"], label="Teacher", elem_classes="list"
    )
    with gr.Row():
        number("red_weight", "RED weight", minimum=0)
        number("kd_weight", "KD weight", minimum=0)
    with gr.Row():
        number("steps", "Steps", precision=0, minimum=1)
        number("batch_size", "Batch", precision=0, minimum=1)
    with gr.Row():
        number("learning_rate", "Learning rate", minimum=0)
        number("seed", "Seed", precision=0)
    radio("init", "Weights to start from", [(INIT_LABELS[init], init) for init in CHOICES["init"]])
    with gr.Accordion("More settings", open=False):
        radio("distance", "Distance of the RED loss", CHOICES["distance"])
        radio("alignment", "Learns from the teacher’s layer", [(ALIGNMENT_LABELS[rule], rule) for rule in RULES])
        losses = [("nothing more", NO_LOSS), *((item.title, name) for name, item in FEATURE_LOSSES.items())]
        found["feature_loss"] = gr.Dropdown(
            losses, value=values["feature_loss"], label="Also learn from", filterable=False
        )
        with gr.Row():
            number("feature_weight", "Its weight", minimum=0)
            number("task_weight", "Task weight", minimum=0)
        radio("kd", "KD compares", [(KD_LABELS[kind], kind) for kind in CHOICES["kd"]])
        with gr.Row():
            number("dkd_alpha", "DKD: true class", minimum=0)
            number("dkd_beta", "DKD: others", minimum=0)
        number("temperature", "KD temperature", minimum=0)
        radio("prediction_type", "Diffusion predicts", CHOICES["prediction_type"])
        radio("optimizer", "Optimizer", CHOICES["optimizer"])
        radio("schedule", "Learning-rate schedule", CHOICES["schedule"])
        with gr.Row():
            number("warmup_steps", "Warm-up steps", precision=0, minimum=0)
            number("weight_decay", "Weight decay", minimum=0)
        with gr.Row():
            number("grad_clip", "Gradient clip", minimum=0)
            number("ema_decay", "EMA decay", minimum=0)
        with gr.Row():
            number("validate_every", "Validate every", precision=0, minimum=1)
            number("save_every", "Save every", precision=0, minimum=1)
        with gr.Row():
            number("train_limit", "Training images (empty: all)", precision=0, minimum=0)
            number("split_seed", "Seed of the splits", precision=0, minimum=0)
        devices = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
        radio("device", "Device", devices)
    return found


def _values(config: DistillConfig) -> dict[str, Any]:
    """What the controls show for a config."""
    values = {name: value for name, value in config.to_dict().items() if name != "student"}
    offered = [value for _, value in _teachers(config.student, config.dataset)]
    wanted = choices.value_of(config.teacher_checkpoint) if config.teacher_checkpoint else NO_TEACHER
    values["teacher_checkpoint"] = wanted if wanted in offered else offered[0]
    weight = config.weights["feature_loss"] if config.feature_loss else None
    values |= {"feature_loss": config.feature_loss or NO_LOSS, "feature_weight": weight}
    return values | {"alignment": config.student.alignment, "image_size": config.student.image_size}


FIELDS = (
    "dataset", "image_size", "teacher_checkpoint", "red_weight", "kd_weight", "steps", "batch_size", "learning_rate",
    "seed", "init", "distance", "alignment", "feature_loss", "feature_weight", "task_weight", "kd", "dkd_alpha",
    "dkd_beta", "temperature", "prediction_type", "optimizer", "schedule", "warmup_steps", "weight_decay", "grad_clip",
    "ema_decay", "validate_every", "save_every", "train_limit", "split_seed", "device",
)  # fmt: skip


def take_preset(name: Any) -> list[Any]:
    """Fill the form with a preset."""
    try:
        config = find_preset(name if isinstance(name, str) else str(name)).config
    except ValueError as error:
        return [gr.skip(), gr.skip(), notice("", str(error)), *_nothing()]
    return [_about(name), _student_card(config.student), "", config.student.to_dict(), *_filled(config)]


def take_student(values: Any) -> list[Any]:
    """Fill the form for a student that was chosen in Explore; all other settings are those of its task's preset."""
    try:
        student, note = adapt(StudentConfig.from_dict(values if isinstance(values, Mapping) else {}))
        base = find_preset("faces" if student.task == "diffusion" else "default").config
        config = dataclasses.replace(base, student=student, red_weight=base.red_weight if student.red else 0.0)
    except ValueError as error:
        return [gr.skip(), gr.skip(), notice("", str(error)), gr.skip(), *_nothing()]
    said = notice("", note, kind="hint") if note else ""
    return [
        "<p class='subline'>Chosen in Explore.</p>",
        _student_card(student),
        said,
        None,
        student.to_dict(),
        *_filled(config),
    ]


def take_config(values: Any) -> list[Any]:
    """Fill the form with all settings of a result that was chosen in Compare."""
    try:
        config = DistillConfig.from_dict(values if isinstance(values, Mapping) else {})
    except (ValueError, TypeError) as error:
        return [gr.skip(), gr.skip(), notice("", str(error)), gr.skip(), *_nothing()]
    return [
        f"<p class='subline'>Settings of a result in Compare: {escape(run_title(config))}.</p>",
        _student_card(config.student),
        "",
        None,
        config.student.to_dict(),
        *_filled(config),
    ]


def show_alignment(student: Any, rule: Any) -> str:
    """The student's card with another alignment, which puts RED blocks elsewhere."""
    try:
        values = student if isinstance(student, Mapping) else {}
        return _student_card(StudentConfig.from_dict({**values, "alignment": rule}))
    except ValueError as error:
        return notice("", str(error))


def published_weight(feature_loss: Any) -> float | None:
    """The weight that a feature loss is published with; empty for none."""
    known = isinstance(feature_loss, str) and feature_loss in FEATURE_LOSSES
    return FEATURE_LOSSES[feature_loss].weight if known else None


def adapt(student: StudentConfig) -> tuple[StudentConfig, str]:
    """The student on the pictures that are drawn here, and a sentence where their size is not the one asked for."""
    dataset = find_preset("faces" if student.task == "diffusion" else "default").config.dataset
    adapted = data_panel.fit(student, dataset)
    if adapted.image_size == student.image_size:
        return adapted, ""
    return adapted, (
        f"{dataset} has no pictures of {student.image_size} px, so the student is distilled at {adapted.image_size} px."
    )


def take_data(student: Any, dataset: Any, image_size: Any = None) -> list[Any]:
    """Fit the student to pictures that were chosen, and offer the teachers that have learnt from them."""
    try:
        fitted = data_panel.fit(_student(student), dataset, image_size)
        teachers = _teachers(fitted, dataset)
    except ValueError as error:
        return [gr.skip(), gr.skip(), notice("", str(error)), gr.skip(), gr.skip(), gr.skip()]
    offered = data_panel.offered(fitted, also=dataset)
    return [
        fitted.to_dict(),
        _student_card(fitted),
        "",
        gr.Radio(choices=offered, value=dataset),
        fitted.image_size,
        gr.Radio(choices=teachers, value=teachers[0][1]),
    ]


def take_brought(student: Any, dataset: Any, said: Any) -> list[Any]:
    """Choose the pictures that were brought in; without any, what was said about that stays."""
    if dataset is None:
        return [gr.skip() for _ in range(6)]
    return take_data(student, dataset)


def take_teacher(student: Any, dataset: Any, image_size: Any) -> list[Any]:
    """Fill the form with a teacher of the student, to be trained on the pictures that are chosen, or say why not."""
    try:
        taught = _student(student)
        own = {"strides": taught.teacher_strides, "architecture": None, "red": None, "alignment": "asynchronous"}
        teacher = data_panel.fit(dataclasses.replace(taught, **own), dataset, image_size)
        base = find_preset("faces-teacher" if teacher.task == "diffusion" else "teacher").config
        config = dataclasses.replace(base, student=teacher, dataset=dataset)
    except ValueError as error:
        return [notice("", str(error)), *[gr.skip() for _ in range(4)], *_nothing()]
    said = (
        "A teacher at its network’s own strides. Once its run has finished, students of these pictures can choose it."
    )
    return ["", f"<p class='subline'>{said}</p>", _student_card(teacher), "", None, teacher.to_dict(), *_filled(config)]


def start_run(student: Any, *values: Any) -> list[Any]:
    """Start or queue a run, and watch it; one sentence where the settings or the disk do not allow it."""
    try:
        config = read_form(student, values)
        run = jobs.start(config.to_dict(), run_title(config))
    except ValueError as error:
        return [notice("Not started.", str(error)), gr.skip(), *WatchPanel.nothing()]
    return ["", *WatchPanel.select(run.name)]


def read_form(student: Any, values: Sequence[Any]) -> DistillConfig:
    """Values as they come from the page, whatever they are, to a config; ValueError for what does not fit."""
    settings = dict(zip(FIELDS, values, strict=True))
    chosen = dataclasses.replace(_student(student), alignment=settings.pop("alignment"))
    if settings["feature_loss"] == NO_LOSS:
        settings |= {"feature_loss": None, "feature_weight": None}
    teacher = settings.pop("teacher_checkpoint")
    dataset = settings["dataset"]
    chosen = data_panel.fit(chosen, dataset, settings.pop("image_size"))
    if teacher in (None, "", NO_TEACHER):
        if settings["kd_weight"] or settings["init"] == "teacher" or settings["feature_loss"]:
            raise ValueError(
                "KD, the teacher's weights and losses of its maps need a trained teacher; "
                "choose one, or do without all three."
            )
        folder = None
        settings["red_weight"] = 0.0
    else:
        choice = choices.find(teacher, choices.teaches(chosen, dataset))
        folder = str(choices.folder(choice)) if choice.is_own else choice.value
    settings["train_limit"] = settings["train_limit"] or None
    if settings["device"] not in ("cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))):
        raise ValueError(f"Device {str(settings['device'])[:80]!r} is not on this machine.")
    config = DistillConfig(student=chosen, teacher_checkpoint=folder, **settings)
    check_teacher(config)
    return config


def _student(values: Any) -> StudentConfig:
    if not isinstance(values, Mapping):
        raise ValueError("There is no student yet; choose a preset, or one in Explore.")
    return StudentConfig.from_dict(values)


def _filled(config: DistillConfig) -> list[Any]:
    values = _values(config)
    updates = {name: values[name] for name in FIELDS}
    updates["dataset"] = gr.Radio(choices=data_panel.offered(config.student, also=config.dataset), value=config.dataset)
    offered = _teachers(config.student, config.dataset)
    updates["teacher_checkpoint"] = gr.Radio(choices=offered, value=values["teacher_checkpoint"])
    return list(updates.values())


def _nothing() -> list[Any]:
    return [gr.skip() for _ in range(len(FIELDS) + 1)]


def _teachers(student: StudentConfig, dataset: str) -> list[tuple[str, str]]:
    """Trained teachers of a student as (title, value), and none."""
    found = choices.checkpoints(choices.teaches(student, dataset))
    titles = [
        (f"{choice.title}, {choices.score_text(choice.metadata) or 'not tested'}", choice.value) for choice in found
    ]
    return [*titles, ("None: the pictures alone", NO_TEACHER)]


def _about(name: str) -> str:
    return f"<p class='subline'>{PRESETS[name].description}</p>"


def _student_card(student: StudentConfig) -> str:
    """The student in words, with what it needs at most."""
    try:
        found = study(dataclasses.replace(student, num_classes=None))
        before, after = found.teacher.peak_bytes, found.student.peak_bytes
        ratio = format_ratio(before, after)
        memory = f"Peak {format_bytes(after)}, teacher {format_bytes(before)}: <strong>{ratio}</strong>"
    except ValueError as error:
        memory = escape(str(error))
    return (
        f'<div class="card-title">Student</div><p class="student">{escape(describe_student(student))}, '
        f'{student.image_size} px</p><p class="subline">{memory}</p>'
    )

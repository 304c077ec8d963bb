"""Tab Distill: choose settings, start a run in a process of its own, and watch all runs through their files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Any

import gradio as gr

from redistill.config import DistillConfig
from redistill.dataset_table import DATASETS
from redistill.datasets import EMBEDDED, find_dataset, load_split, shrink
from redistill.ghost import weightless
from redistill.presets import PRESETS, find_preset
from redistill.student import StudentConfig, build_student

from . import jobs, run_form, student_form
from .estimate_panel import EstimatePanel
from .fragments import notice, picture_strip
from .watch import WatchPanel
from .wording import run_title

FIRST_PRESET = "quick"
SAMPLES = 8  # pictures shown of a data set
QUIET = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
FORM = 1 + len(run_form.FIELDS)  # values of a run: the student, then its settings
FILLED = 5 + FORM + len(student_form.FIELDS)  # what `_filled` returns


@dataclass(frozen=True)
class DistillTab:
    """The components that the page connects to other tabs."""

    shown: list[Any]  # outputs of `take_student` and `take_config`
    change: gr.Button  # back to Explore
    panel: WatchPanel


def build(tab: gr.Tab) -> DistillTab:
    """Lay the tab out inside the current Blocks context and connect its events."""
    config = PRESETS[FIRST_PRESET].config
    student = gr.State(config.student.to_dict())
    with gr.Row(elem_classes="columns"):
        with gr.Column(min_width=300, elem_classes="controls"):
            with gr.Column(elem_classes="card"):
                presets = _preset_choice("Start from", False, FIRST_PRESET)
                with gr.Accordion("Settings of the paper", open=False, elem_classes="fold"):
                    paper = _preset_choice("Data that has to be downloaded", True, None)
                about = gr.HTML(_about(FIRST_PRESET))
            with gr.Column(elem_classes="card"):
                card = gr.HTML(student_form.card(config.student), elem_id="student")
                change = gr.Button("Change it in Explore", size="sm")
                with gr.Accordion("Change it here", open=False, elem_classes="fold"):
                    parts = student_form.build(config.student)
            refusal = gr.HTML(elem_id="refusal")
            start = gr.Button("Start", variant="primary", elem_id="start")
            estimate = EstimatePanel()
            with gr.Column(elem_classes="card"):
                fields = run_form.build(config)
        panel = WatchPanel()

    form = [student, *fields.values()]
    shown = [about, card, refusal, presets, paper, *form, *parts.values()]
    presets.input(take_preset, presets, shown, **QUIET)
    paper.input(take_preset, paper, shown, **QUIET)
    start.click(start_run, form, [refusal, panel.runs, *panel.shown], **QUIET)
    estimate.attach(form, lambda student, *values: run_form.read(student, values))
    _connect_student(student, card, refusal, fields, parts)
    fields["feature_loss"].input(run_form.published_weight, fields["feature_loss"], fields["feature_weight"], **QUIET)
    for event in (tab.select, fields["dataset"].change):
        event(show_pictures, fields["dataset"], panel.pictures, show_progress="hidden", api_visibility="private")
    return DistillTab(shown=shown, change=change, panel=panel)


def _preset_choice(label: str, is_paper: bool, value: str | None) -> gr.Radio:
    offered = [(preset.title, name) for name, preset in PRESETS.items() if preset.is_paper == is_paper]
    return gr.Radio(offered, value=value, label=label, elem_classes="list")


def _connect_student(
    student: gr.State, card: gr.HTML, refusal: gr.HTML, fields: Mapping[str, Any], parts: Mapping[str, Any]
) -> None:
    """Keep card, student and teachers in step with the student's controls, the alignment and the pictures."""
    teacher = fields["teacher_checkpoint"]
    edited = [student, fields["dataset"], teacher, *parts.values()]
    outputs = [card, refusal, student, teacher, parts["strides"], parts["teacher_strides"]]
    for name, control in parts.items():
        event = control.pick if name.endswith("strides") else control.input
        event(take_edit, edited, outputs, trigger_mode="always_last", **QUIET)
    fields["alignment"].input(show_alignment, [student, fields["alignment"]], card, **QUIET)
    pictures = [student, fields["dataset"], teacher]
    fields["dataset"].input(take_dataset, pictures, [card, refusal, student, teacher, parts["image_size"]], **QUIET)


def take_preset(name: Any) -> list[Any]:
    """Fill the form with a preset."""
    try:
        preset = find_preset(name if isinstance(name, str) else str(name))
    except ValueError as error:
        return _refused(error)
    return _filled(preset.config, _about(preset.name), preset=preset.name)


def take_student(values: Any) -> list[Any]:
    """Fill the form for a student that was chosen in Explore; all other settings are those of its task's preset."""
    try:
        student, note = adapt(StudentConfig.from_dict(values if isinstance(values, Mapping) else {}))
        base = find_preset("faces" if student.task == "diffusion" else "default").config
        config = dataclasses.replace(base, student=student, red_weight=base.red_weight if student.red else 0.0)
        return _filled(config, _subline("Chosen in Explore."), notice("", note, kind="hint") if note else "")
    except ValueError as error:
        return _refused(error)


def take_config(values: Any) -> list[Any]:
    """Fill the form with all settings of a result that was chosen in Compare."""
    try:
        config = DistillConfig.from_dict(values if isinstance(values, Mapping) else {})
        return _filled(config, _subline(f"Settings of a result in Compare: {run_title(config)}."))
    except (ValueError, TypeError) as error:
        return _refused(error)


def _filled(config: DistillConfig, about: str, said: str = "", preset: str | None = None) -> list[Any]:
    """About, card, refusal, both lists of presets, the student, every setting and every control of the student."""
    is_paper = preset is not None and PRESETS[preset].is_paper
    lists = [None if is_paper else preset, preset if is_paper else None]
    student = config.student
    head = [about, student_form.card(student), said, *lists, student.to_dict()]
    return [*head, *run_form.filled(config), *student_form.filled(student)]


def _refused(error: Exception) -> list[Any]:
    return [gr.skip(), gr.skip(), notice("", str(error)), *[gr.skip()] * (FILLED - 3)]


def take_edit(student: Any, dataset: Any, teacher: Any, *given: Any) -> list[Any]:
    """The student that its controls are set to: card, refusal, student, teachers and both stride pickers."""
    try:
        chosen = student_form.read(student, *given)
        shown = dict(zip(student_form.FIELDS, student_form.filled(chosen), strict=True))
        offered = run_form.teacher_choice(chosen, dataset if isinstance(dataset, str) else "", teacher)
    except ValueError as error:
        return [gr.skip(), notice("This does not fit.", str(error)), *[gr.skip()] * 4]
    pickers = [shown["strides"], shown["teacher_strides"]]
    return [student_form.card(chosen), "", chosen.to_dict(), offered, *pickers]


def take_dataset(student: Any, dataset: Any, teacher: Any) -> list[Any]:
    """The student on other pictures: card, refusal, student, teachers and the image side."""
    try:
        known = isinstance(dataset, str) and dataset in DATASETS
        chosen = StudentConfig.from_dict(student if isinstance(student, Mapping) else {})
        adapted, note = adapt(chosen, dataset) if known else (chosen, "")
        offered = run_form.teacher_choice(adapted, dataset if isinstance(dataset, str) else "", teacher)
    except ValueError as error:
        return [gr.skip(), notice("", str(error)), *[gr.skip()] * 3]
    said = notice("", note, kind="hint") if note else ""
    return [student_form.card(adapted), said, adapted.to_dict(), offered, adapted.image_size]


def show_alignment(student: Any, rule: Any) -> str:
    """The student's card with another alignment, which puts RED blocks elsewhere."""
    try:
        values = student if isinstance(student, Mapping) else {}
        return student_form.card(StudentConfig.from_dict({**values, "alignment": rule}))
    except ValueError as error:
        return notice("", str(error))


def adapt(student: StudentConfig, dataset: str | None = None) -> tuple[StudentConfig, str]:
    """The student on a data set (the first of its task): its classes, a side it has; a sentence where that differs."""
    spec = DATASETS[dataset] if dataset else run_form.specs(student)[0]
    size = student.image_size if student.image_size in spec.image_sizes else spec.default_size
    classes = None if student.task == "diffusion" else spec.num_classes
    adapted = dataclasses.replace(student, image_size=size, num_classes=classes)
    if size == student.image_size:
        return adapted, ""
    with weightless():
        build_student(adapted)  # the strides must fit the smaller picture too
    return adapted, f"{spec.name} has no pictures of {student.image_size} px, so the student is distilled at {size} px."


def start_run(student: Any, *values: Any) -> list[Any]:
    """Start or queue a run, and watch it; one sentence where the settings or the disk do not allow it."""
    try:
        config = run_form.read(student, values)
        run = jobs.start(config.to_dict(), run_title(config))
    except ValueError as error:
        return [notice("Not started.", str(error)), gr.skip(), *WatchPanel.nothing()]
    return ["", *WatchPanel.select(run.name)]


def _about(name: str) -> str:
    return _subline(PRESETS[name].description)


def _subline(text: str) -> str:
    return f"<p class='subline'>{escape(text)}</p>"


def show_pictures(dataset: Any) -> str:
    """A few pictures of a data set and whom they are owed to; words where they would have to be downloaded first."""
    try:
        name = dataset if isinstance(dataset, str) else str(dataset)[:80]
        return _pictures(name) if name in EMBEDDED else _described(name)
    except (ValueError, OSError) as error:
        return notice("", str(error))


def _described(name: str) -> str:
    if name not in DATASETS:
        if not name.startswith(run_form.FOREIGN):
            raise ValueError(f"No data set {name!r} here; expected one of {list(DATASETS)}.")
        return ""
    spec = DATASETS[name]
    return (
        f'<div class="card"><div class="card-title">{escape(name)}</div><p class="subline">{escape(spec.description)} '
        f"{escape(spec.attribution)}.</p></div>"
    )


@lru_cache(maxsize=8)
def _pictures(dataset: str) -> str:
    spec = find_dataset(dataset)
    split = load_split(dataset, "train", spec.default_size, limit=SAMPLES)
    images = shrink(split.images, spec.default_size)
    names = [spec.class_names[label] for label in split.labels.tolist()]
    return picture_strip(list(images), names, f"Some pictures of {dataset}", spec.attribution)

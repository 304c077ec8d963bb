"""Tab Distill: choose settings, start a run in a process of its own, and watch all runs through their files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

import gradio as gr

from redistill.checkpoint.sources import ddpm_settings, with_unets
from redistill.common.hub import hub_id
from redistill.memory.comparison import early_strides
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import DDPM
from redistill.training.checks import check_teacher
from redistill.training.config import DistillConfig
from redistill.training.presets import PRESETS, Preset, find_preset

from ..parts.events import QUIET, connect
from ..parts.fragments import notice
from ..runs import choices, jobs
from ..words.settings import dataset_title, run_title
from . import data_panel, run_form, student_form, watch
from .data_panel import DataPanel
from .estimate_panel import EstimatePanel
from .watch import WatchPanel

FIRST_PRESET = "quick"
MAX_SOURCE = 1000  # characters of a folder or Hub id
STARTING = """() => '<p class="subline" role="status">Starting…</p>'"""
# The run that was started, or why it was not, where that is out of view: on a phone the run stands far above.
SHOW_START = f"""said => {{
  if (!said) {watch.AWAIT};
  else requestAnimationFrame(() =>
    document.querySelector('#refusal').scrollIntoView({{block: 'nearest', behavior: 'smooth'}}));
}}"""
FOLDED_LISTS = {  # of presets, below the list that is always open; by elem_id: title of the fold, label inside
    "drawing": ("Diffusion networks", "Networks that draw, and one that judges them"),
    "paper": ("Settings of the paper", "Data that has to be downloaded"),
}
PRESET_LISTS = ("presets", *FOLDED_LISTS)  # their elem_ids


@dataclass(frozen=True)
class DistillTab:
    """The components that the page connects to other tabs."""

    shown: dict[str, Any]  # outputs of `take_student` and `take_config` by name, "student" and "refusal" among them
    change: gr.Button  # to Explore, with the student
    panel: WatchPanel


def build(tab: gr.Tab, page: gr.Blocks) -> DistillTab:
    """Lay the tab out inside the current Blocks context and connect its events."""
    config = PRESETS[FIRST_PRESET].config
    student = gr.State(config.student.to_dict())
    with gr.Row(elem_classes="columns"):
        with gr.Column(min_width=300, elem_classes="controls"):
            with gr.Column(elem_classes="card"):
                presets = {"presets": _preset_choice("Start from", PRESET_LISTS[0], FIRST_PRESET)}
                for listed, (title, label) in FOLDED_LISTS.items():
                    with gr.Accordion(title, open=False, elem_classes="fold"):
                        presets[listed] = _preset_choice(label, listed)
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
                data = DataPanel(config)
                fields = run_form.build(config, data)
                with gr.Accordion("A DDPM from elsewhere as teacher", open=False, elem_classes="fold"):
                    source = gr.Textbox(
                        label="Folder or Hub id" if choices.folders_open() else "Hub id",
                        placeholder="google/ddpm-cifar10-32",
                        info="Any unconditional DDPM of diffusers, with weights in safetensors.",
                        max_length=MAX_SOURCE,
                        elem_id="ddpm-source",
                    )
                    take = gr.Button("Take it as teacher", size="sm", elem_id="ddpm-take")
                    taken = gr.HTML(elem_id="ddpm-said")
        panel = WatchPanel()

    form = {"student": student, **fields}
    shown = {"about": about, "card": card, "refusal": refusal, **presets, **form, **parts, "said": data.said}
    for clicked in presets.values():  # at once: what is marked is what was clicked last
        others = [each for each in presets.values() if each is not clicked]
        clicked.input(None, None, others, js=f"() => {json.dumps([None] * len(others))}", **QUIET)
    chosen = partial(gr.on, [each.input for each in presets.values()])
    connect(chosen, take_preset, list(presets.values()), shown, trigger_mode="always_last", **QUIET)
    start.click(None, None, refusal, js=STARTING, **QUIET)  # before the answer, which may take a while
    started = connect(start.click, start_run, form, {"refusal": refusal, **panel.choice}, **QUIET)
    started.then(None, refusal, None, js=SHOW_START, **QUIET)
    started.failure(None, None, refusal, js="() => ''", **QUIET)  # or it would say so for good
    estimate.attach(form, [*fields.values(), *parts.values()], run_form.read)
    _connect_student(shown, parts)
    _connect_data(shown, data)
    given = {name: shown[name] for name in ("student", "dataset", "image_size")}
    connect(data.teach.click, take_teacher, given, shown, **QUIET)
    for event in (take.click, source.submit):
        outputs = shown | {"said": taken}
        look = {"show_progress_on": taken, "api_visibility": "private"}
        connect(event, take_ddpm, [source, data.dataset], outputs, **look)
    fields["feature_loss"].input(run_form.published_weight, fields["feature_loss"], fields["feature_weight"], **QUIET)
    for event in (tab.select, data.dataset.change):
        event(data_panel.show_pictures, data.dataset, panel.pictures, show_progress="hidden", api_visibility="private")
    for event in (page.load, tab.select):
        event(offer_data, [student, data.dataset], data.dataset, **QUIET)
    return DistillTab(shown=shown, change=change, panel=panel)


def _preset_choice(label: str, listed: str, value: str | None = None) -> gr.Radio:
    offered = [(preset.title, name) for name, preset in PRESETS.items() if _list_of(preset) == listed]
    return gr.Radio(offered, value=value, label=label, elem_classes="list", elem_id=listed)


def _list_of(preset: Preset) -> str:
    """Which of PRESET_LISTS shows a preset."""
    if preset.is_paper:
        return "paper"
    if preset.config.student.task == "diffusion" or preset.config.dataset == "emoji-identity":  # what judges drawings
        return "drawing"
    return PRESET_LISTS[0]


def _connect_student(shown: Mapping[str, Any], parts: Mapping[str, Any]) -> None:
    """Keep card, student and teachers in step with the student's controls and the alignment."""
    edited = {name: shown[name] for name in ("student", "dataset", "teacher_checkpoint", *parts)}
    changed = ("card", "refusal", "student", "teacher_checkpoint", "strides", "teacher_strides")
    outputs = {name: shown[name] for name in changed}
    for name, control in parts.items():
        event = control.pick if name.endswith("strides") else control.input
        connect(event, take_edit, edited, outputs, trigger_mode="always_last", **QUIET)
    rule = shown["alignment"]
    rule.input(show_alignment, [shown["student"], rule], shown["card"], **QUIET)


def _connect_data(shown: Mapping[str, Any], data: DataPanel) -> None:
    """Fit the student to the pictures that are chosen or brought, and offer the teachers that have learnt from them."""
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    names = ("student", "card", "said", "dataset", "image_size", "teacher_checkpoint")
    outputs = {name: shown[name] for name in names}
    connect(data.dataset.input, take_data, [shown["student"], data.dataset], outputs, **quiet)
    sized = [shown["student"], data.dataset, data.image_size]
    connect(data.image_size.input, take_data, sized, outputs, **quiet)
    brought = gr.State(None)  # name of the data set that was brought in last
    for event, handler, given in (
        (data.upload.upload, data_panel.take_upload, data.upload),
        (data.fetch.click, data_panel.take_hub_id, data.hub),
        (data.hub.submit, data_panel.take_hub_id, data.hub),
    ):
        came = event(handler, given, [brought, data.said], show_progress_on=data.said, api_visibility="private")
        connect(came.success, take_brought, [shown["student"], brought], outputs, **quiet)


def take_preset(*marked: Any) -> dict[str, Any]:
    """Fill the form with the preset that is marked in one of the lists, which stay as they are: a second click may
    have come meanwhile."""
    name = next((name for name in marked if name is not None), None)
    try:
        preset = find_preset(name if isinstance(name, str) else str(name))
    except ValueError as error:
        return _refused(error)
    return _filled(preset.config, _about(preset.name))


def take_student(
    values: Any, lent: Any = False, before: Any = None, dataset: Any = None, teacher: Any = None
) -> dict[str, Any]:
    """Fill the form for a student that was chosen in Explore; all other settings are those of its task's preset.

    Where Explore was opened with the form's own student (`lent`), which is `before` here, only the student changes: the
    rest of the form stays, `dataset` and `teacher` among it where they suit.
    """
    try:
        student = StudentConfig.from_dict(values if isinstance(values, Mapping) else {})
        if lent and run_form.read_student(before).task == student.task:
            return _changed(student, run_form.read_student(before), dataset, teacher)
        student, note = adapt(student)
        base = find_preset("faces" if student.task == "diffusion" else "default").config
        config = dataclasses.replace(base, student=student, red_weight=base.red_weight if student.red else 0.0)
        return _unmarked() | _filled(config, _subline("Chosen in Explore."), _hint(note))
    except ValueError as error:
        return _refused(error)


def _changed(student: StudentConfig, before: StudentConfig, dataset: Any, teacher: Any) -> dict[str, Any]:
    """The form as it is with another student; ValueError where its pictures do not suit."""
    student, note = adapt(dataclasses.replace(student, alignment=before.alignment), dataset)
    return {
        **_student_shown(student),
        **student_form.filled(student),
        "refusal": _hint(note),
        "image_size": student.image_size,
        "teacher_checkpoint": run_form.teacher_choice(student, dataset, teacher),
    }


def take_config(values: Any) -> dict[str, Any]:
    """Fill the form with all settings of a result that was chosen in Compare."""
    try:
        config = DistillConfig.from_dict(values if isinstance(values, Mapping) else {})
        said = _subline(f"Settings of a result in Compare: {run_title(config)}.")
        return _unmarked() | _filled(config, said)
    except (ValueError, TypeError) as error:
        return _refused(error)


def _filled(config: DistillConfig, about: str, refusal: str = "") -> dict[str, Any]:
    """The student, every setting and every control of the student, and what stands above them."""
    settings = run_form.filled(config) | student_form.filled(config.student)
    return {"about": about, "refusal": refusal, **_student_shown(config.student), **settings}


def _student_shown(student: StudentConfig) -> dict[str, Any]:
    return {"student": student.to_dict(), "card": student_form.card(student)}


def _unmarked() -> dict[str, Any]:
    """No preset is marked: the form holds something else."""
    return dict.fromkeys(PRESET_LISTS)


def _hint(text: str) -> str:
    return notice("", text, kind="hint") if text else ""


def _refused(error: Exception, title: str = "") -> dict[str, Any]:
    return {"refusal": notice(title, str(error))}


def take_edit(student: Any, dataset: Any, teacher_checkpoint: Any, **given: Any) -> dict[str, Any]:
    """The student that its controls are set to, with the teachers it can have and its strides."""
    try:
        chosen = student_form.read(student, given)
        shown = student_form.filled(chosen)
        offered = run_form.teacher_choice(chosen, dataset if isinstance(dataset, str) else "", teacher_checkpoint)
    except ValueError as error:
        return _refused(error, "This does not fit.")
    pickers = {name: shown[name] for name in ("strides", "teacher_strides")}
    return {**_student_shown(chosen), **pickers, "refusal": "", "teacher_checkpoint": offered}


def take_data(student: Any, dataset: Any, image_size: Any = None) -> dict[str, Any]:
    """Fit the student to pictures that were chosen, and offer the teachers that have learnt from them."""
    try:
        fitted = data_panel.fit(run_form.read_student(student), dataset, image_size)
        teachers = run_form.teacher_choice(fitted, dataset)
    except ValueError as error:
        return {"said": notice("", str(error))}
    return {
        **_student_shown(fitted),
        "said": data_panel.said_of(dataset),
        "dataset": gr.Radio(choices=data_panel.offered(fitted, also=dataset), value=dataset),
        "image_size": fitted.image_size,
        "teacher_checkpoint": teachers,
    }


def offer_data(student: Any, dataset: Any) -> Any:
    """The pictures there are by now, for a page that opens: other pages may have brought some in."""
    try:
        also = dataset if isinstance(dataset, str) else None
        return gr.Radio(choices=data_panel.offered(run_form.read_student(student), also=also))
    except ValueError:
        return gr.skip()


def take_brought(student: Any, dataset: Any) -> dict[str, Any]:
    """Choose the pictures that were brought in; without any, what was said about that stays."""
    return {} if dataset is None else take_data(student, dataset)


def take_teacher(student: Any, dataset: Any, image_size: Any) -> dict[str, Any]:
    """Fill the form with a teacher of the student, to be trained on the pictures that are chosen, or say why not."""
    try:
        taught = run_form.read_student(student)
        own = {"strides": taught.teacher_strides, "architecture": None, "red": None, "alignment": "asynchronous"}
        teacher = data_panel.fit(dataclasses.replace(taught, **own), dataset, image_size)
        base = find_preset("faces-teacher" if teacher.task == "diffusion" else "teacher").config
        config = dataclasses.replace(base, student=teacher, dataset=dataset)
    except ValueError as error:
        return {"said": notice("", str(error))}
    said = (
        "A teacher at its network’s own strides. Once its run has finished, students of these pictures can choose it."
    )
    return {"said": "", **_unmarked(), **_filled(config, _subline(said))}


def take_ddpm(source: Any, dataset: Any) -> dict[str, Any]:
    """Fill the form with a student of a DDPM from elsewhere, at strides that pool early, or say why not.

    It learns from the pictures that are chosen where it can draw such, and else from those of emoji-faces.
    """
    try:
        if not isinstance(source, str) or len(source) > MAX_SOURCE:
            raise ValueError("The source is no text; expected a folder or a Hub id such as google/ddpm-cifar10-32.")
        source = hub_id(source)
        size, kind = ddpm_settings(source, choices.folders_open())
        name = DDPM + source
        base = find_preset("faces").config
        student = with_unets(StudentConfig(name, size or base.student.image_size), choices.folders_open())
        student = dataclasses.replace(student, strides=early_strides(name, student.unets))
        suits = "generation" in data_panel.look_up(dataset).tasks
        dataset = dataset if suits else base.dataset
        student = data_panel.fit(student, dataset, student.image_size)
        settings = {"student": student, "dataset": dataset, "teacher_checkpoint": name, "prediction_type": kind}
        config = dataclasses.replace(base, **settings)
        check_teacher(config)
    except (ValueError, OSError) as error:
        return {"said": notice("", str(error))}
    about = _subline(f"A student of {source}, on its noise schedule.")
    return {"said": "", **_unmarked(), **_filled(config, about)}


def show_alignment(student: Any, rule: Any) -> str:
    """The student's card with another alignment, which puts RED blocks elsewhere."""
    try:
        values = student if isinstance(student, Mapping) else {}
        return student_form.card(StudentConfig.from_dict({**values, "alignment": rule}))
    except ValueError as error:
        return notice("", str(error))


def adapt(student: StudentConfig, dataset: Any = None) -> tuple[StudentConfig, str]:
    """The student on a data set, or else on one that is drawn here, and a sentence where that lacks the size asked for.

    ValueError for a data set that does not suit it.
    """
    dataset = dataset or find_preset("faces" if student.task == "diffusion" else "default").config.dataset
    adapted = data_panel.fit(student, dataset)
    if adapted.image_size == student.image_size:
        return adapted, ""
    return adapted, (
        f"{dataset_title(dataset)} has no pictures of {student.image_size} px, so the student is distilled at "
        f"{adapted.image_size} px."
    )


def start_run(student: Any, **settings: Any) -> dict[str, Any]:
    """Start or queue a run, and watch it; one sentence where the settings or the disk do not allow it."""
    try:
        config = run_form.read(student, settings)
        run = jobs.start(config.to_dict(), run_title(config))
    except ValueError as error:
        return _refused(error, "Not started.")
    return {"refusal": "", **watch.choose(run.name)}


def _about(name: str) -> str:
    return _subline(PRESETS[name].description)


def _subline(text: str) -> str:
    return f"<p class='subline'>{escape(text)}</p>"

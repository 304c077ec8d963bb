"""Tab Distill: choose settings, start a run in a process of its own, and watch all runs through their files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from redistill.training.presets import PRESETS

from ..parts.events import QUIET, connect, say_at_once
from ..parts.fields import NumberField
from ..runs import choices
from . import data_panel, handlers, own_weights, plan, run_form, starting, student_form, watch
from .bigger_panel import BiggerPanel
from .data_panel import DataPanel
from .estimate_panel import EstimatePanel
from .own_weights import WeightsPanel
from .preset_cards import PresetCards, list_cards, show_facts
from .watch import WatchPanel

FIRST_PRESET = "quick"
# The run that was started, or why it was not, where that is out of view: on a phone the run stands far above.
SHOW_START = f"""said => {{
  if (!said) {watch.AWAIT};
  else requestAnimationFrame(() =>
    document.querySelector('#refusal').scrollIntoView({{block: 'nearest', behavior: 'smooth'}}));
}}"""
SHOW_FORM = "() => document.querySelector('#student').scrollIntoView({block: 'center', behavior: 'smooth'})"


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
        with gr.Column(min_width=300, elem_classes="starts"), gr.Column(elem_classes="card"):
            preset = PresetCards(FIRST_PRESET, lists=list_cards(), elem_id="presets")
            about = gr.HTML(handlers.subline(PRESETS[FIRST_PRESET].description))
            own = gr.Button("Take its own pictures", size="sm", visible=False, elem_id="own-pictures")
        with gr.Column(min_width=300, elem_classes="controls"):
            with _step(1, "Pictures"):
                data = DataPanel(config)
            fields = {"dataset": data.dataset, "image_size": data.image_size}
            with _step(2, "Teacher"):
                fields |= run_form.build(run_form.TEACHER_LINES, config)
                fields["teacher_steps"] = NumberField(
                    run_form.values(config)["teacher_steps"],
                    label="Steps of its training",
                    minimum=1,
                    visible=False,
                    elem_id=run_form.place_of("teacher_steps"),
                )
                teach = gr.Button("Set the form to the teacher alone", size="sm", elem_id="teach")
                elsewhere = _elsewhere_fold()
                weights = own_weights.build()
            with _step(3, "Student"):
                card = gr.HTML(student_form.card(config.student), elem_id="student")
                change = gr.Button("Change it in Explore", size="sm")
                with gr.Accordion("Change it here", open=False, elem_classes="fold"):
                    parts = student_form.build(config.student)
            with _step(4, "Length"):
                fields |= run_form.build(run_form.LENGTH_LINES, config)
                fields["seeds"] = NumberField(
                    1, label="Runs, a seed each", minimum=1, elem_id=run_form.place_of("seeds")
                )
            with gr.Column(elem_classes="card"):
                fields |= run_form.build_drawer(config)
            with gr.Column(elem_classes="card footer-bar"):
                refusal = gr.HTML(elem_id="refusal")
                again = gr.Button("Start it once more", size="sm", visible=False, elem_id="start-again")
                start = gr.Button("Start", variant="primary", elem_id="start")
                estimate = EstimatePanel()
            with gr.Column(elem_classes="card"):
                bigger = BiggerPanel()
        panel = WatchPanel()

    form = {"student": student, **fields}
    picked = gr.State(None)  # the data set that a person has chosen: no preset takes it away
    shown = {"about": about, "card": card, "refusal": refusal, "preset": preset, **form, **parts, "said": data.said}
    shown |= {"picked": picked, "own": own}
    connect(preset.pick, handlers.take_preset, [picked, preset], shown, trigger_mode="always_last", **QUIET)
    connect(own.click, handlers.take_own_pictures, [preset], shown, **QUIET)
    tab.select(show_facts, None, preset, **QUIET)
    say_at_once(start.click, "Starting…", refusal)
    footer = {"refusal": refusal, "state": gr.State(""), "again": again}
    given = {"drawn": panel.shown["drawn"], **form}
    for button, handler in ((start, starting.start_run), (again, starting.start_again)):
        started = connect(button.click, handler, given, footer | panel.choice, **QUIET)
        started.then(None, refusal, None, js=SHOW_START, **QUIET).then(
            None, None, None, js=starting.MARK_FIELD, **QUIET
        )
        started.failure(None, None, refusal, js="() => ''", **QUIET)  # or it would say so for good
    controls = [*fields.values(), *parts.values()]
    changed = partial(gr.on, [control.change for control in controls])
    given = {"state": footer["state"], **form}
    checked = connect(changed, starting.recheck, given, footer, trigger_mode="always_last", **QUIET)
    checked.then(None, None, None, js=starting.MARK_FIELD, **QUIET)
    teacher = fields["teacher_checkpoint"]
    teacher.change(handlers.show_teacher_steps, teacher, fields["teacher_steps"], **QUIET)
    estimate.attach(form, controls, plan.read_plan)
    bigger.attach(form, controls, panel.choice)
    _connect_student(shown, parts)
    _connect_data(shown, data)
    given = {name: shown[name] for name in ("student", "dataset", "image_size")}
    connect(teach.click, handlers.take_teacher, given, shown, **QUIET)
    connect(panel.finished.distil.click, handlers.take_run, [panel.shown["drawn"]], shown, **QUIET).then(
        None, None, None, js=SHOW_FORM, **QUIET
    )
    given, outputs = [panel.shown["drawn"]], {"said": panel.finished.said, **panel.choice}
    connect(panel.finished.tune.click, starting.start_int8, given, outputs, **QUIET)
    outputs = shown | {"said": elsewhere.said}
    look = {"show_progress_on": elsewhere.said, "api_visibility": "private"}
    brought = [
        connect(event, handlers.take_elsewhere, [elsewhere.source, data.dataset], outputs, **look).then
        for event in (elsewhere.take.click, elsewhere.source.submit)
    ]
    _connect_weights(shown, weights, [page.load, tab.select, *brought])
    fields["feature_loss"].input(run_form.published_weight, fields["feature_loss"], fields["feature_weight"], **QUIET)
    for event in (tab.select, data.dataset.change):
        event(data_panel.show_pictures, data.dataset, panel.pictures, show_progress="hidden", api_visibility="private")
    for event in (page.load, tab.select):
        event(handlers.offer_data, [student, data.dataset], data.dataset, **QUIET)
    return DistillTab(shown=shown, change=change, panel=panel)


def _step(number: int, title: str) -> gr.Column:
    """A card of the form, to be filled as a context."""
    with gr.Column(elem_classes="card step") as card:
        gr.HTML(f'<h3 class="card-title"><span class="step-number">{number}</span> {title}</h3>')
    return card


@dataclass(frozen=True)
class ElsewhereFold:
    """Controls for a teacher from elsewhere."""

    source: gr.Textbox
    take: gr.Button
    said: gr.HTML


def _elsewhere_fold() -> ElsewhereFold:
    with gr.Accordion("A network from elsewhere as teacher", open=False, elem_classes="fold"):
        source = gr.Textbox(
            label="Folder or Hub id" if choices.folders_open() else "Hub id",
            placeholder="hub:owner/name",
            info="hub:owner/name of a network that was pushed from here, or any unconditional DDPM of diffusers, such "
            "as google/ddpm-cifar10-32, with weights in safetensors.",
            max_length=handlers.MAX_SOURCE,
            elem_id="elsewhere-source",
        )
        take = gr.Button("Take it as teacher", size="sm", elem_id="elsewhere-take")
        return ElsewhereFold(source, take, gr.HTML(elem_id="elsewhere-said"))


def _connect_student(shown: Mapping[str, Any], parts: Mapping[str, Any]) -> None:
    """Keep card, student and teachers in step with the student's controls and the alignment."""
    edited = {name: shown[name] for name in ("student", "dataset", "teacher_checkpoint", *parts)}
    changed = ("card", "refusal", "student", "teacher_checkpoint", "strides", "teacher_strides")
    outputs = {name: shown[name] for name in changed}
    for name, control in parts.items():
        event = control.pick if name.endswith("strides") else control.input
        connect(event, handlers.take_edit, edited, outputs, trigger_mode="always_last", **QUIET)
    rule = shown["alignment"]
    rule.input(handlers.show_alignment, [shown["student"], rule], shown["card"], **QUIET)


def _connect_weights(shown: Mapping[str, Any], weights: WeightsPanel, offers: Sequence[Callable[..., Any]]) -> None:
    """Make teachers of weights that are uploaded, list all that were brought in after the events `offers`, and remove
    them."""
    given = [weights.upload, weights.names, weights.mean, weights.std]
    given += [shown[name] for name in ("student", "dataset", "image_size")]
    outputs = {name: getattr(weights, name) for name in ("said", "mine", "remove", "confirm")}
    for event in offers:
        connect(event, own_weights.offer, [], outputs, **QUIET)
    connect(weights.mine.input, own_weights.choose, [weights.mine], outputs, **QUIET)
    connect(weights.remove.click, own_weights.ask_to_remove, [weights.mine], outputs, **QUIET)
    outputs |= {name: shown[name] for name in ("student", "card", "teacher_checkpoint")}
    look = {"show_progress_on": weights.said, "api_visibility": "private"}
    connect(weights.upload.upload, handlers.take_weights, given, outputs, **look)
    given = [weights.mine, *(shown[name] for name in ("student", "dataset", "teacher_checkpoint"))]
    connect(weights.confirm.click, handlers.remove_weights, given, outputs, **QUIET)


def _connect_data(shown: Mapping[str, Any], data: DataPanel) -> None:
    """Fit the student to the pictures that are chosen or brought, and offer the teachers that have learnt from them."""
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    names = ("student", "card", "said", "dataset", "image_size", "teacher_checkpoint", "picked")
    outputs = {name: shown[name] for name in names}
    asked = {"said": data.said, "confirm": data.confirm}
    connect(data.remove.click, data_panel.ask_to_remove, [data.dataset], asked, **quiet)
    connect(data.confirm.click, handlers.remove_data, [shown["student"], data.dataset], outputs | asked, **quiet)
    data.dataset.change(data_panel.can_remove, data.dataset, [data.remove, data.confirm], **QUIET)
    connect(data.dataset.input, handlers.take_data, [shown["student"], data.dataset], outputs, **quiet)
    sized = [shown["student"], data.dataset, data.image_size]
    connect(data.image_size.input, handlers.take_size, sized, outputs, **quiet)
    brought = gr.State(None)  # name of the data set that was brought in last
    for event, handler, given in (
        (data.upload.upload, data_panel.take_upload, data.upload),
        (data.fetch.click, data_panel.take_hub_id, data.hub),
        (data.hub.submit, data_panel.take_hub_id, data.hub),
    ):
        came = event(handler, given, [brought, data.said], show_progress_on=data.said, api_visibility="private")
        connect(came.success, handlers.take_brought, [shown["student"], brought], outputs, **quiet)

"""Tab Distill: choose settings, start a run in a process of its own, and watch all runs through their files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from redistill.training.presets import PRESETS

from ..parts.events import QUIET, connect, say_at_once
from . import data_panel, handlers, own_weights, plan, run_form, starting, watch
from .data_panel import DataPanel
from .layout import Footer, Form, build_footer, build_form, build_starts
from .own_weights import WeightsPanel
from .preset_cards import show_facts
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
    preset = PRESETS[FIRST_PRESET]
    with gr.Row(elem_classes="columns"):
        with gr.Column(min_width=300, elem_classes="starts"):
            starts = build_starts(preset)
        with gr.Column(min_width=300, elem_classes="controls"):
            form = build_form(preset.config)
            footer = build_footer()
        panel = WatchPanel()

    picked = gr.State(None)  # the data set that a person has chosen: no preset takes it away
    shown = {"about": starts.about, "card": form.card, "refusal": footer.refusal, "preset": starts.cards}
    shown |= {**form.settings, **form.parts, "said": form.data.said, "picked": picked, "own": starts.own}
    connect(starts.cards.pick, handlers.take_preset, [picked, starts.cards], shown, trigger_mode="always_last", **QUIET)
    connect(starts.own.click, handlers.take_own_pictures, [starts.cards], shown, **QUIET)
    tab.select(show_facts, None, starts.cards, **QUIET)
    _connect_start(form, footer, panel)
    _connect_student(shown, form.parts)
    _connect_data(shown, form.data)
    _connect_teacher(tab, page, shown, form)
    _connect_finished(shown, panel)
    student, dataset = shown["student"], shown["dataset"]
    for event in (tab.select, dataset.change):
        event(data_panel.show_pictures, dataset, panel.pictures, show_progress="hidden", api_visibility="private")
    for event in (page.load, tab.select):
        event(handlers.offer_data, [student, dataset], dataset, **QUIET)
    return DistillTab(shown=shown, change=form.change, panel=panel)


def _connect_start(form: Form, footer: Footer, panel: WatchPanel) -> None:
    """Start runs of the form's settings, and keep what is said of them true while these change."""
    refusal = footer.refusal
    say_at_once(footer.start.click, "Starting…", refusal)
    told = {"refusal": refusal, "state": gr.State(""), "again": footer.again}
    given = {"drawn": panel.shown["drawn"], **form.settings}
    for button, handler in ((footer.start, starting.start_run), (footer.again, starting.start_again)):
        started = connect(button.click, handler, given, told | panel.choice, **QUIET)
        started.then(None, refusal, None, js=SHOW_START, **QUIET).then(
            None, None, None, js=starting.MARK_FIELD, **QUIET
        )
        started.failure(None, None, refusal, js="() => ''", **QUIET)  # or it would say so for good
    changed = partial(gr.on, [control.change for control in form.controls])
    given = {"state": told["state"], **form.settings}
    checked = connect(changed, starting.recheck, given, told, trigger_mode="always_last", **QUIET)
    checked.then(None, None, None, js=starting.MARK_FIELD, **QUIET)
    footer.estimate.attach(form.settings, form.controls, plan.read_plan)
    footer.bigger.attach(form.settings, form.controls, panel.choice)


def _connect_teacher(tab: gr.Tab, page: gr.Blocks, shown: Mapping[str, Any], form: Form) -> None:
    """Take teachers that are chosen, that are still to be trained, from elsewhere, and of weights of one's own."""
    teacher, elsewhere = shown["teacher_checkpoint"], form.elsewhere
    teacher.change(handlers.show_teacher_steps, teacher, shown["teacher_steps"], **QUIET)
    given = {name: shown[name] for name in ("student", "dataset", "image_size")}
    connect(form.teach.click, handlers.take_teacher, given, shown, **QUIET)
    look = {"show_progress_on": elsewhere.said, "api_visibility": "private"}
    given, outputs = [elsewhere.source, shown["dataset"]], shown | {"said": elsewhere.said}
    brought = [
        connect(event, handlers.take_elsewhere, given, outputs, **look).then
        for event in (elsewhere.take.click, elsewhere.source.submit)
    ]
    _connect_weights(shown, form.weights, [page.load, tab.select, *brought])
    shown["feature_loss"].input(run_form.published_weight, shown["feature_loss"], shown["feature_weight"], **QUIET)


def _connect_finished(shown: Mapping[str, Any], panel: WatchPanel) -> None:
    """Set the form to a student of the teacher that a run made, and start the int8 training of its student."""
    drawn, finished = [panel.shown["drawn"]], panel.finished
    taken = connect(finished.distil.click, handlers.take_run, drawn, shown, **QUIET)
    taken.then(None, None, None, js=SHOW_FORM, **QUIET)
    connect(finished.tune.click, starting.start_int8, drawn, {"said": finished.said, **panel.choice}, **QUIET)


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

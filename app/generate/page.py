"""Tab Generate: images from a teacher and its students with the same seeds, side by side, as they come."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import gradio as gr

from redistill.diffusion.sampling import SCHEDULERS

from ..parts.events import QUIET, UNSEEN, connect, refused_in, say_at_once
from ..parts.export_buttons import attach_exports, handed_over
from ..parts.fields import ClampedSlider, NumberField
from ..parts.live_plot import LivePlot
from ..parts.scripted import ActionHTML, SaveFiles, file_asked
from ..parts.turns import MAX_PAGES
from ..runs import choices
from ..runs.exports import export_with_sampler
from . import drawing, drawn, offered, view
from .checks import MAX_COUNT, MAX_STEPS, MIN_COUNT

STATE_SECONDS = 3600  # that images stay on the server after the page was closed
SCHEDULER_TITLES = {"ddim": "DDIM", "ddpm": "DDPM", "dpm-solver++": "DPM-Solver++"}
NETWORKS = {"teacher": "Teacher as .onnx", "student": "First student as .onnx"}  # each with a script that draws with it


def build(tab: gr.Tab, page: gr.Blocks) -> None:
    """Lay the tab out inside the current Blocks context and connect its events."""
    with gr.Row(elem_classes="columns controls-first"):
        with gr.Column(min_width=300, elem_classes="controls"):
            form = _build_form()
        with gr.Column(min_width=320, elem_classes="results"):
            shown = _build_results()
    shown |= {name: form[name] for name in ("other_said", "go", "stop")}
    shown["kept"] = gr.State(None, time_to_live=STATE_SECONDS)
    # They wait in a line of their own, see turns.py.
    wish = [form[name] for name in ("teacher", "students", "seed", "count", "steps", "scheduler", "other")]
    connect(form["go"].click, drawing.generate, wish, shown, concurrency_limit=MAX_PAGES, **UNSEEN)
    refused = {name: shown[name] for name in ("said", "other_said")}
    connect(form["other"].change, drawing.forget_refusal, [form["other_said"]], refused, **QUIET)
    say_at_once(form["stop"].click, "Stopping…", shown["said"])
    form["stop"].click(drawing.stop_sampling, **QUIET)
    attach_exports(form["exports"], form["exported"], export_network, [form["teacher"], form["students"]])
    _connect_drawn(shown)
    _connect_choice(tab, page, form, shown)


def _build_form() -> dict[str, Any]:
    """Networks and settings of the images, by name."""
    with gr.Column(elem_classes="card"):
        teacher = gr.Radio([], label="Teacher", elem_classes="list", elem_id="generate-teacher")
        students = gr.CheckboxGroup([], label="Students", elem_classes="list", elem_id="generate-students")
        with gr.Accordion("Draw with another checkpoint", open=False, elem_classes="fold"):
            other = gr.Textbox(
                label=choices.source_label(),
                placeholder="google/ddpm-cifar10-32",
                info="Any unconditional DDPM of diffusers, with weights in safetensors, or hub:owner/name of "
                "a network that was pushed from here.",
                elem_id="generate-other",
            )
            other_said = gr.HTML(elem_classes="field-said")
    form = {"teacher": teacher, "students": students, "other": other, "other_said": other_said}
    with gr.Column(elem_classes="card"):
        form["count"] = ClampedSlider(MIN_COUNT, MAX_COUNT, value=8, step=1, label="Images")
        form["steps"] = ClampedSlider(2, MAX_STEPS, value=40, step=1, label="Denoising steps")
        form["seed"] = NumberField(0, label="First seed", minimum=0)
        samplers = [(SCHEDULER_TITLES[name], name) for name in SCHEDULERS]
        form["scheduler"] = gr.Radio(samplers, value=SCHEDULERS[0], label="Sampler")
        form["exports"] = SaveFiles(NETWORKS, elem_id="generate-exports")
        form["exported"] = gr.HTML(elem_id="generate-exported")
    with gr.Row():
        form["go"] = gr.Button("Generate", variant="primary", elem_id="generate")
        form["stop"] = gr.Button("Stop", elem_id="generate-stop", interactive=False)
    return form


def _build_results() -> dict[str, Any]:
    """What is drawn and said of it, by name."""
    shown: dict[str, Any] = {
        "said": gr.HTML(view.INTRODUCTION, elem_id="generate-said"),
        "grids": ActionHTML(elem_id="grids"),
        "real": gr.HTML(elem_id="generate-real"),
    }
    with gr.Column(visible=False) as shown["saving"]:
        shown["files"] = SaveFiles(drawn.FILES, elem_id="generate-files")
    shown["way"] = ActionHTML(elem_id="generate-way")
    shown["near"] = gr.HTML(elem_id="generate-near")
    with gr.Column(visible=False, elem_classes="card") as shown["charted"]:
        shown["legend"] = gr.HTML()
        shown["chart"] = LivePlot(height=260, label="Memory along each network", elem_id="generate-memory")
    return shown


def _connect_drawn(shown: Mapping[str, Any]) -> None:
    """Show of an image that is clicked how it came about and what it resembles, and save what was drawn."""
    near, files, kept = {"near": shown["near"]}, {"files": shown["files"]}, [shown["kept"]]
    connect(shown["grids"].act, drawn.look, kept, {"way": shown["way"]} | near, **QUIET)
    connect(shown["way"].act, drawn.act_on_way, kept, near | files, **UNSEEN)
    connect(shown["files"].ask, drawn.save, kept, files | {"said": shown["said"]}, **UNSEEN)


def _connect_choice(tab: gr.Tab, page: gr.Blocks, form: Mapping[str, Any], shown: Mapping[str, Any]) -> None:
    """Offer the networks that there are, and say of those that are chosen what will be drawn."""
    teacher, students, seed = form["teacher"], form["students"], form["seed"]
    chosen = {"teacher": teacher, "students": students}
    announced = {name: shown[name] for name in ("said", "grids", "real", "charted", "legend", "chart")}
    given = [teacher, students, seed, form["count"], shown["kept"]]

    def then_announce(event: Any) -> None:
        connect(event, drawing.announce, given, announced, trigger_mode="always_last", **QUIET)

    connect(page.load, offered.offer, chosen, chosen, **QUIET)
    then_announce(connect(tab.select, offered.offer, chosen, chosen, **QUIET).then)
    followed = teacher.input(offered.follow, [teacher, students], students, trigger_mode="always_last", **QUIET)
    then_announce(followed.then)
    for event in (students.input, seed.input, form["count"].release):
        then_announce(event)


@refused_in("said")
def export_network(event: gr.EventData, teacher: Any, students: Any) -> dict[str, Any]:
    """The teacher or the first student that is chosen as .onnx, in a zip file with the script that draws with it."""
    asked = file_asked(event, NETWORKS)
    first = next(iter(students), None) if isinstance(students, (list, tuple)) else None
    value = teacher if asked == "teacher" else first
    if value in (None, ""):
        raise ValueError(f"No {asked} is chosen; choose one above.")
    choice = choices.find(value, choices.is_diffusion)
    made = export_with_sampler(choices.folder(choice), re.sub("[^A-Za-z0-9_-]+", "-", choice.value))
    return handed_over(made)

"""Tab Generate: images from a teacher and its students with the same seeds, side by side, as they come."""

from __future__ import annotations

import re
from typing import Any

import gradio as gr

from redistill.diffusion.sampling import SCHEDULERS

from ..parts.events import QUIET, UNSEEN, connect, refused_in
from ..parts.export_buttons import attach_exports, handed_over
from ..parts.fields import ClampedSlider, NumberField
from ..parts.live_plot import LivePlot
from ..parts.scripted import ActionHTML, SaveFiles, file_asked
from ..runs import choices
from ..runs.exports import export_with_sampler
from . import drawing, drawn, offered, view
from .checks import MAX_COUNT, MAX_STEPS, MIN_COUNT

MAX_PAGES = 16  # that sample or wait for it; others wait in gradio's queue, which says nothing
STATE_SECONDS = 3600  # that images stay on the server after the page was closed
SCHEDULER_TITLES = {"ddim": "DDIM", "ddpm": "DDPM", "dpm-solver++": "DPM-Solver++"}
NETWORKS = {"teacher": "Teacher as .onnx", "student": "First student as .onnx"}  # each with a script that draws with it


def build(tab: gr.Tab, page: gr.Blocks) -> None:
    """Lay the tab out inside the current Blocks context and connect its events."""
    with gr.Row(elem_classes="columns controls-first"):
        with gr.Column(min_width=300, elem_classes="controls"):
            with gr.Column(elem_classes="card"):
                teacher = gr.Radio([], label="Teacher", elem_classes="list", elem_id="generate-teacher")
                students = gr.CheckboxGroup([], label="Students", elem_classes="list", elem_id="generate-students")
                with gr.Accordion("Draw with another checkpoint", open=False, elem_classes="fold"):
                    other = gr.Textbox(
                        label="Folder or Hub id" if choices.folders_open() else "Hub id",
                        placeholder="google/ddpm-cifar10-32",
                        info="Any unconditional DDPM of diffusers, with weights in safetensors, or hub:owner/name of "
                        "a network that was pushed from here.",
                        elem_id="generate-other",
                    )
                    other_said = gr.HTML(elem_classes="field-said")
            with gr.Column(elem_classes="card"):
                count = ClampedSlider(MIN_COUNT, MAX_COUNT, value=8, step=1, label="Images")
                steps = ClampedSlider(2, MAX_STEPS, value=40, step=1, label="Denoising steps")
                seed = NumberField(0, label="First seed", minimum=0)
                scheduler = gr.Radio(
                    [(SCHEDULER_TITLES[n], n) for n in SCHEDULERS], value=SCHEDULERS[0], label="Sampler"
                )
                exports = SaveFiles(NETWORKS, elem_id="generate-exports")
                exported = gr.HTML(elem_id="generate-exported")
            with gr.Row():
                go = gr.Button("Generate", variant="primary", elem_id="generate")
                stop = gr.Button("Stop", elem_id="generate-stop", interactive=False)
        with gr.Column(min_width=320, elem_classes="results"):
            said = gr.HTML(view.INTRODUCTION, elem_id="generate-said")
            grids = ActionHTML(elem_id="grids")
            real = gr.HTML(elem_id="generate-real")
            with gr.Column(visible=False) as saving:
                files = SaveFiles(drawn.FILES, elem_id="generate-files")
            way = ActionHTML(elem_id="generate-way")
            near = gr.HTML(elem_id="generate-near")
            with gr.Column(visible=False, elem_classes="card") as charted:
                legend = gr.HTML()
                chart = LivePlot(height=260, label="Memory along each network", elem_id="generate-memory")
    kept = gr.State(None, time_to_live=STATE_SECONDS)
    shown = {
        "said": said,
        "other_said": other_said,
        "grids": grids,
        "real": real,
        "go": go,
        "stop": stop,
        "kept": kept,
        "saving": saving,
        "way": way,
        "near": near,
        "charted": charted,
        "legend": legend,
        "chart": chart,
    }
    wish = [teacher, students, seed, count, steps, scheduler, other]
    # They wait in a line of their own, see drawing.py.
    connect(go.click, drawing.generate, wish, shown, concurrency_limit=MAX_PAGES, **UNSEEN)
    refused = {"said": said, "other_said": other_said}
    connect(other.change, drawing.forget_refusal, [other_said], refused, **QUIET)
    stop.click(drawing.stop_sampling, None, said, **QUIET)
    connect(grids.act, drawn.look, [kept], {"way": way, "near": near}, **QUIET)
    connect(way.act, drawn.act_on_way, [kept], {"near": near, "files": files}, **UNSEEN)
    connect(files.ask, drawn.save, [kept], {"files": files, "said": said}, **UNSEEN)
    attach_exports(exports, exported, export_network, [teacher, students])
    chosen = {"teacher": teacher, "students": students}
    announced = {name: shown[name] for name in ("said", "grids", "real", "charted", "legend", "chart")}

    def then_announce(event: Any) -> None:
        connect(event, drawing.announce, [teacher, students, seed, count, kept], announced, **QUIET)

    connect(page.load, offered.offer, chosen, chosen, **QUIET)
    then_announce(connect(tab.select, offered.offer, chosen, chosen, **QUIET).then)
    then_announce(teacher.input(offered.follow, [teacher, students], students, **QUIET).then)
    for event in (students.input, seed.input, count.release):
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

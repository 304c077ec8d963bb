"""What tab Distill shows left of the runs: the ready-made runs, the form in four steps, and where it is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from redistill.training.config import DistillConfig
from redistill.training.presets import Preset

from ..parts.fields import NumberField
from ..runs import choices
from . import handlers, own_weights, run_form, student_form
from .bigger_panel import BiggerPanel
from .data_panel import DataPanel
from .estimate_panel import EstimatePanel
from .own_weights import WeightsPanel
from .preset_cards import PresetCards, list_cards


@dataclass(frozen=True)
class ElsewhereFold:
    """Controls for a teacher from elsewhere."""

    source: gr.Textbox
    take: gr.Button
    said: gr.HTML


@dataclass(frozen=True)
class Starts:
    """The ready-made runs to start from."""

    cards: PresetCards
    about: gr.HTML
    own: gr.Button


def build_starts(preset: Preset) -> Starts:
    """The ready-made runs, `preset` chosen."""
    with gr.Column(elem_classes="card"):
        cards = PresetCards(preset.name, lists=list_cards(), elem_id="presets")
        about = gr.HTML(handlers.subline(preset.description))
        own = gr.Button("Take its own pictures", size="sm", visible=False, elem_id="own-pictures")
        return Starts(cards, about, own)


@dataclass(frozen=True)
class Form:
    """The controls of a run's settings, and what stands among them."""

    settings: dict[str, Any]  # by name, the student among them: what a run is started with
    parts: dict[str, Any]  # the student's own controls
    data: DataPanel
    teach: gr.Button
    elsewhere: ElsewhereFold
    weights: WeightsPanel
    card: gr.HTML  # of the student
    change: gr.Button  # the student, in Explore

    @property
    def controls(self) -> list[Any]:
        """All that a person can change."""
        return [*(control for name, control in self.settings.items() if name != "student"), *self.parts.values()]


def build_form(config: DistillConfig) -> Form:
    """The form's four steps and the drawer of further settings, filled with `config`."""
    student = gr.State(config.student.to_dict())
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
        fields["seeds"] = NumberField(1, label="Runs, a seed each", minimum=1, elem_id=run_form.place_of("seeds"))
    with gr.Column(elem_classes="card"):
        fields |= run_form.build_drawer(config)
    return Form({"student": student, **fields}, parts, data, teach, elsewhere, weights, card, change)


@dataclass(frozen=True)
class Footer:
    """Below the form: the start of a run, and what it will take."""

    refusal: gr.HTML
    again: gr.Button
    start: gr.Button
    estimate: EstimatePanel
    bigger: BiggerPanel


def build_footer() -> Footer:
    """The button that starts a run, what it will take, and the ways to run it elsewhere."""
    with gr.Column(elem_classes="card footer-bar"):
        refusal = gr.HTML(elem_id="refusal")
        again = gr.Button("Start it once more", size="sm", visible=False, elem_id="start-again")
        start = gr.Button("Start", variant="primary", elem_id="start")
        estimate = EstimatePanel()
    with gr.Column(elem_classes="card"):
        return Footer(refusal, again, start, estimate, BiggerPanel())


def _step(number: int, title: str) -> gr.Column:
    """A card of the form, to be filled as a context."""
    with gr.Column(elem_classes="card step") as card:
        gr.HTML(f'<h3 class="card-title"><span class="step-number">{number}</span> {title}</h3>')
    return card


def _elsewhere_fold() -> ElsewhereFold:
    with gr.Accordion("A network from elsewhere as teacher", open=False, elem_classes="fold"):
        source = gr.Textbox(
            label=choices.source_label(),
            placeholder="hub:owner/name",
            info="hub:owner/name of a network that was pushed from here, or any unconditional DDPM of diffusers, such "
            "as google/ddpm-cifar10-32, with weights in safetensors.",
            max_length=choices.MAX_SOURCE,
            elem_id="elsewhere-source",
        )
        take = gr.Button("Take it as teacher", size="sm", elem_id="elsewhere-take")
        return ElsewhereFold(source, take, gr.HTML(elem_id="elsewhere-said"))

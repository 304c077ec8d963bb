"""The components of Explore and where they stand. What they do is in page.py."""

from __future__ import annotations

import gradio as gr

from redistill.memory.comparison import Comparison
from redistill.networks.red import REDConfig

from ..parts.budget import NO_BUDGET, budget_choices
from ..parts.counting import COUNTINGS
from ..parts.explain import infos
from ..parts.fields import ClampedSlider, NumberField
from ..parts.link_button import LinkButton
from ..parts.live_plot import LivePlot
from ..parts.networks import few, network_choice
from ..parts.scripted import ActionHTML
from ..parts.setting_controls import make_control
from ..parts.stride_picker import StridePicker
from ..parts.trace import Place
from ..words.settings import RED, STUDENT
from . import accuracy_panel, measure_panel, patch_panel, plan_panel, pooled_panel, report_panel, search_panel, view
from .form import IN_RED
from .layer_table import build_layer_table
from .link import DTYPES, MAX_SIDE, MIN_SIDE, Settings, to_query

Controls = dict[str, gr.components.Component]


def build_controls(found: Comparison) -> Controls:
    """The controls by name, and two buttons, laid out in the current column and set to what `found` shows."""
    return _images_card(found) | _strides_card(found) | _blocks_card(found) | _counting_card()


def _images_card(found: Comparison) -> Controls:
    """The network, the images that it is for, and what it has to fit."""
    parts: Controls = {}
    with gr.Column(elem_classes="card"):
        parts["teacher"] = network_choice(
            few(),
            found.config.teacher,
            "Teacher",
            info="Type to search all of timm and torchvision, or hub:owner/name of a network that was pushed.",
            elem_id="teacher",
        )
        parts["image_size"] = ClampedSlider(
            MIN_SIDE, MAX_SIDE, value=found.config.image_size, step=16, label="Image side, pixels"
        )
        with gr.Accordion("Other images", open=False, elem_classes="fold"), gr.Row():
            parts["width"] = NumberField(None, label="Width, px (empty or 0: square)", minimum=MIN_SIDE, min_width=110)
            parts["in_channels"] = NumberField(3, label="Channels", minimum=1, min_width=80)
            parts["batch"] = NumberField(1, label="Batch", minimum=1, min_width=80)
        parts["dtype"] = gr.Radio(list(DTYPES), value="fp32", label="Numbers")
        parts["budget"] = gr.Dropdown(
            budget_choices(),
            value=NO_BUDGET,
            label="Chip to fit, or memory budget",
            filterable=False,
            elem_id="budget",
        )
        parts["kib"] = NumberField(64, label="Budget, KiB", visible=False, elem_id="budget-kib")
        with gr.Row():
            for name, label in (("reserve", "RAM for the rest, KiB"), ("program", "Flash for the rest, KiB")):
                look = {"minimum": 0, "min_width": 110, "visible": False, "elem_id": f"budget-{name}"}
                parts[name] = NumberField(None, label=label, **look)
    return parts


def _strides_card(found: Comparison) -> Controls:
    parts: Controls = {}
    with gr.Column(elem_classes="card"):
        gr.HTML('<h3 class="card-title">Pooling strides of the student <span>teacher’s underlined</span></h3>')
        parts["picker"] = StridePicker(
            found.config.strides, points=view.stride_rows(found), sizes=view.map_sizes(found), elem_id="strides"
        )
        with gr.Row(elem_classes="quiet-buttons"):
            parts["early"] = gr.Button("Pool early", size="sm", min_width=80)
            parts["original"] = gr.Button("As the teacher", size="sm", min_width=80)
        with gr.Accordion("First convolution", open=False, elem_classes="fold"):
            stem = STUDENT["stem"]
            parts["stem"] = make_control(stem, found.config.stem, helped=True, show_label=False, elem_id="stem")
    return parts


def _blocks_card(found: Comparison) -> Controls:
    usual, parts = REDConfig(), {}
    with gr.Column(elem_classes="card"):
        parts["with_red"] = gr.Checkbox(True, label=STUDENT["red"].label)
        with gr.Accordion("Inside a RED block", open=False):
            parts["alignment"] = make_control(STUDENT["alignment"], found.config.alignment, elem_id="alignment")
            parts |= {name: make_control(RED[name], getattr(usual, name), boxed=True) for name in IN_RED}
    return parts


def _counting_card() -> Controls:
    with gr.Column(elem_classes="card"):
        labels = [(counting.title, name) for name, counting in COUNTINGS.items()]
        accounting = gr.Radio(labels, value="fused", label="Counted as")
        gr.HTML(infos("fused", "eager"))
    return {"accounting": accounting}


def build_results(found: Comparison) -> dict[str, gr.blocks.Block]:
    """What `found` shows by name, laid out in two columns of the current row."""
    return {"student": gr.State(found.config.to_dict())} | _seen_first(found) | _seen_beside(found)


def _seen_first(found: Comparison) -> dict[str, gr.blocks.Block]:
    parts: dict[str, gr.blocks.Block] = {}
    with gr.Column(min_width=320, elem_classes="results"):
        parts["link_said"] = gr.HTML(elem_id="link-said")  # what was wrong with the link that the page was opened with
        parts["summary"] = ActionHTML(view.summary(found), elem_id="summary")
        with gr.Column(elem_classes="card chart"):
            with gr.Row(elem_classes="card-head"):
                gr.HTML(
                    '<h3 class="card-title">Memory alive through the network <span>click it for the tensors</span></h3>'
                )
                look = {"size": "sm", "min_width": 170, "scale": 0, "elem_id": "pin"}
                parts["pin"] = gr.Button("Pin this configuration", **look)
            parts["chart"] = LivePlot(
                view.figure(found, (), None),
                height=360,
                label="Memory alive through teacher and student",
                can_save=True,
                elem_id="memory",
            )
    return parts


def _seen_beside(found: Comparison) -> dict[str, gr.blocks.Block]:
    parts: dict[str, gr.blocks.Block] = {}
    with gr.Column(min_width=320, elem_classes="more"):
        with gr.Row(elem_classes="actions"):
            parts["distil"] = gr.Button("Distil this student", variant="primary", elem_id="to-distil")
            parts["link"] = LinkButton(to_query(Settings(found.config)), elem_id="link")
            parts |= report_panel.build()
        parts |= accuracy_panel.build()
        parts["board"] = ActionHTML(elem_id="board")
        for panel in (search_panel, patch_panel, plan_panel):
            parts |= panel.build()
        with gr.Accordion("Tensors alive", open=False, elem_classes="card fold", elem_id="alive") as parts["alive"]:
            parts["tensors"] = ActionHTML(view.tensors(found, Place()), elem_id="tensors")
        with gr.Accordion("Layers as a table", open=False, elem_classes="card fold", elem_id="layers-fold"):
            parts["table"] = build_layer_table(view.table(found))
        parts["pairs"] = gr.HTML(view.pairs_table(found), elem_id="pairs")
        return parts | pooled_panel.build() | measure_panel.build()

"""A teacher of one's own: a file of weights that was trained elsewhere, brought in and removed on tab Distill."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr

from redistill.checkpoint.imported import Weights, free_folder, import_teacher
from redistill.common.values import is_number
from redistill.networks.student import StudentConfig

from ..parts.events import refused_in
from ..parts.fields import LiveRadio
from ..parts.fragments import notice
from ..runs.brought import list_brought, users
from ..runs.choices import IMPORTED
from ..visitors import access
from ..visitors.limits import check_brought, check_network
from .run_form import teacher_network

BRING = (
    "Weights of the teacher’s network above, from <code>safetensors.torch.save_file(model.state_dict(), FILE)</code>; "
    "pickles (.pth) are for <code>redistill import</code> in the shell."
)
MAX_NAMES = 200_000  # characters of class names
MAX_NUMBERS = 400  # of mean or std
KEPT = 40  # characters of a file's name


@dataclass(frozen=True)
class WeightsPanel:
    """Its components."""

    upload: gr.UploadButton
    mine: LiveRadio  # all that was brought in, whatever network it is of
    remove: gr.Button
    confirm: gr.Button
    names: gr.Textbox
    mean: gr.Textbox
    std: gr.Textbox
    said: gr.HTML


def build() -> WeightsPanel:
    """Lay them out inside the Blocks context where they should stand."""
    with gr.Accordion("Your own weights as teacher", open=False, elem_classes="fold"):
        gr.HTML(f'<p class="subline">{BRING}</p>')
        names = gr.Textbox(label="Classes, one a line (empty: not known)", lines=2, max_lines=6, max_length=MAX_NAMES)
        with gr.Row():
            mean = gr.Textbox("0.5", label="Mean of its images", max_length=MAX_NUMBERS, min_width=120)
            std = gr.Textbox("0.5", label="and their std", max_length=MAX_NUMBERS, min_width=120)
        upload = gr.UploadButton("Upload .safetensors", file_types=[".safetensors"], size="sm", elem_id="weights")
        said = gr.HTML(elem_id="weights-said")
        label = "Weights that were brought in"
        mine = LiveRadio([], label=label, visible=False, elem_classes="list", elem_id="brought")
        with gr.Row(elem_classes="quiet-buttons"):
            remove = gr.Button("Remove these weights", size="sm", visible=False, elem_id="remove-weights")
            confirm = gr.Button(
                "Remove them for good", size="sm", variant="stop", visible=False, elem_id="remove-weights-confirm"
            )
    return WeightsPanel(upload, mine, remove, confirm, names, mean, std, said)


def offer() -> dict[str, Any]:
    """All that was brought in by now. What is chosen stays so: a busy server answers late."""
    brought = list_brought()
    return {"mine": gr.Radio(choices=brought, visible=bool(brought))}


def none_chosen() -> dict[str, Any]:
    """The same, none of it chosen."""
    brought, hidden = list_brought(), gr.Button(visible=False)
    return {"mine": gr.Radio(choices=brought, value=None, visible=bool(brought)), "remove": hidden, "confirm": hidden}


def choose(mine: Any) -> dict[str, Any]:
    """The button that removes what is chosen, before it is asked for."""
    return {"said": "", "remove": gr.Button(visible=mine is not None), "confirm": gr.Button(visible=False)}


@refused_in("said")
def ask_to_remove(mine: Any) -> dict[str, Any]:
    """Whether what is chosen is to be removed: nothing happens yet."""
    runs = users(mine)
    learnt = f" {len(runs)} run{'s' if len(runs) > 1 else ''} learnt from them, and can then not go on." if runs else ""
    words = f"Remove the weights “{str(mine).removeprefix(IMPORTED)}” from this machine?{learnt}"
    return {"said": notice("", words, kind="hint"), "confirm": gr.Button(visible=True)}


def read_weights(file: Any, names: Any, mean: Any, std: Any) -> Weights:
    """What the panel is set to, whatever came from the page; ValueError for what does not fit."""
    if not isinstance(file, str):
        raise ValueError("Nothing was uploaded; expected a file of weights in .safetensors.")
    if not isinstance(names or "", str) or len(names or "") > MAX_NAMES:
        raise ValueError("The names of classes are no text; expected one a line.")
    lines = tuple(filter(None, (line.strip() for line in (names or "").splitlines())))
    if len(set(lines)) < len(lines):
        raise ValueError("A class stands twice among the names; expected each once, in the order of the outputs.")
    return Weights(Path(file), _numbers(mean, "Mean"), _numbers(std, "Std"), class_names=lines, only_safetensors=True)


def _numbers(text: Any, what: str) -> tuple[float, ...]:
    parts = re.split(r"[,\s]+", text.strip()) if isinstance(text, str) and len(text) <= MAX_NUMBERS else []
    try:
        values = tuple(float(part) for part in parts)
    except ValueError:
        values = ()
    if not values or not all(map(is_number, values)):
        raise ValueError(f"{what} is {str(text)[:80]!r}; expected a number, or one a channel: 0.485, 0.456, 0.406.")
    return values


def take(student: StudentConfig, weights: Weights) -> str:
    """The name of the teacher that the weights make, of the student's teacher's network at its image size.

    ValueError, with nothing written, for weights that do not fit it.
    """
    network = replace(teacher_network(student), num_classes=None)
    if network.task != "classification":
        raise ValueError("Weights are taken for classifiers; name a DDPM by its folder or Hub id.")
    check_network(network)
    check_brought()
    folder = free_folder(f"{weights.file.stem[:KEPT]}-{student.image_size}px")  # teachers of runs stay what they were
    name = import_teacher(network, weights, folder)[0].name
    access.claim("teacher", name)
    return name

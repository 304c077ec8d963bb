"""See what pooling destroys: one picture through a trained student, its teacher, and a network for every budget."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import Metadata, read_metadata
from redistill.common.values import is_whole
from redistill.data.augmentation import shrink
from redistill.data.classes import names_or_numbers
from redistill.data.datasets import load_split, needs_download
from redistill.training.insight import compare_maps, look_at, through_strides
from redistill.training.prediction import read_picture
from redistill.training.shared_weights import is_shared, open_shared

from ..parts.events import QUIET, UNSEEN, connect, refused_in, say_at_once
from ..parts.fields import NumberField, PictureField
from ..parts.fragments import notice
from ..parts.scripted import script
from ..runs import choices
from . import pooled_view as view

USUAL, FIRST = "emoji-clutter-student", 29  # a bicycle, which networks of the least memory do not know
MAX_PICTURES = 10_000  # of a test set that are counted
INTRODUCTION = (
    '<p class="subline">One picture through a trained student and its teacher: their maps where they are aligned, what '
    "the RED blocks do in between, and what the answer rests on. Then one network at less and less memory.</p>"
)


class FramesHTML(gr.HTML):
    """HTML text with a slider, an input with `data-frames`, that shows one of the elements `.stride-frame`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("", js_on_load=script("stride_slider"), **kwargs)


def build() -> dict[str, gr.blocks.Block]:
    """A folded card, in the Blocks context where it should stand."""
    offered = _offered()
    with gr.Accordion("See what pooling destroys", open=False, elem_classes="card fold", elem_id="pooled"):
        gr.HTML(INTRODUCTION)
        with gr.Row(elem_classes="search-form"):
            student = gr.Dropdown(_titles(offered), value=_usual(offered), label="Student", filterable=False)
            row = NumberField(FIRST, label="Test picture, number", minimum=0, min_width=130)
        own = PictureField(
            label="Or a picture of your own",
            sources=["upload", "webcam", "clipboard"],
            height=160,
            elem_id="pooled-own",
        )
        look = gr.Button("Look", size="sm", elem_id="pooled-look")
        seen = FramesHTML(elem_id="pooled-seen")
    return {"pooled_student": student, "pooled_row": row, "pooled_own": own, "pooled_look": look, "pooled_seen": seen}


def attach(parts: Mapping[str, Any]) -> None:
    """Look when the button is clicked, and offer the students that there are when their list is opened."""
    student, outputs = parts["pooled_student"], {"seen": parts["pooled_seen"]}
    connect(student.focus, offer, [student], {"student": student}, **QUIET)
    say_at_once(parts["pooled_look"].click, "Looking…", parts["pooled_seen"])
    given = [student, parts["pooled_row"], parts["pooled_own"]]
    connect(parts["pooled_look"].click, see, given, outputs, concurrency_limit=1, **UNSEEN)


def offer(student: Any) -> dict[str, Any]:
    """The trained students that there are; what was chosen stays chosen where it still exists."""
    offered = _offered()
    chosen = student if student in [choice.value for choice in offered] else _usual(offered)
    return {"student": gr.update(choices=_titles(offered), value=chosen)}


@refused_in("seen", "Nothing to see:")
def see(student: Any, row: Any, own: Any) -> dict[str, str]:
    """All that there is to see of a picture: one that was uploaded, or the test picture of that number."""
    choice = choices.find(student, is_student)
    metadata, folder = choice.metadata, choices.folder(choice)
    picture, right = _picture(metadata, row, own)
    names = names_or_numbers(metadata.class_names, metadata.student.classes)
    network = checkpoint.load(folder)
    teacher = checkpoint.load(metadata.training["teacher_checkpoint"])
    pairs, blocks = compare_maps(metadata.student, network, teacher, picture)
    figures = [
        view.picture_figure(picture, None if right is None else names[right]),
        view.sight_figure("Teacher", picture, look_at(teacher, picture), names, right),
        view.sight_figure("Student", picture, look_at(network, picture), names, right),
    ]
    shown = view.sights(figures) + view.pair_rows(pairs) + view.block_rows(blocks)
    return {"seen": shown + _through_strides(metadata, picture, right)}


def is_student(metadata: Metadata) -> bool:
    """Whether a checkpoint is a classifying student of a teacher that is here, trained for one choice of strides."""
    teacher, student = metadata.training.get("teacher_checkpoint"), metadata.student
    if student.task != "classification" or not student.strides or is_shared(metadata) or not isinstance(teacher, str):
        return False
    try:
        read_metadata(teacher)
    except (ValueError, OSError):  # of torchvision, or gone
        return False
    return True


def _through_strides(metadata: Metadata, picture: Any, right: int | None) -> str:
    """The slider, of a network for every budget that learnt from the same pictures; a sentence where none did."""

    def serves(other: Metadata) -> bool:
        size = other.student.image_size == metadata.student.image_size
        return is_shared(other) and other.dataset == metadata.dataset and size

    found = choices.checkpoints(serves)
    if not found:
        words = (
            f"No network for every budget learnt from {metadata.dataset} yet: “One network for every budget” on Distill"
        )
        return notice("", f"{words} trains one, and its strides stand here.", kind="hint")
    names = names_or_numbers(found[0].metadata.class_names, found[0].metadata.student.classes)
    steps = list(through_strides(open_shared(choices.folder(found[0])), picture))
    if not steps:
        return notice(
            "", f"{found[0].title} was measured at no strides yet; the card above measures them.", kind="hint"
        )
    return view.stride_slider(picture, steps, names, right)


def _picture(metadata: Metadata, row: Any, own: Any) -> tuple[Any, int | None]:
    """The picture as the network sees it, uint8 (3, S, S), and its class where that is known."""
    size = metadata.student.image_size
    if own is not None:
        if not isinstance(own, str):
            raise ValueError("Nothing was uploaded; expected a picture.")
        return read_picture(Path(own), size), None
    if not is_whole(row, 0, MAX_PICTURES):
        given = "empty" if row is None else str(row)[:40]
        raise ValueError(f"The number of the test picture is {given}; expected a whole number from 0.")
    if needs_download(metadata.dataset):
        raise ValueError(f"The pictures of {metadata.dataset} are not on this machine; choose one of your own.")
    split = load_split(metadata.dataset, "test", size, limit=int(row) + 1, split_seed=metadata.split_seed)
    if row >= len(split):
        raise ValueError(f"The test picture is {int(row)}; {metadata.dataset} has {len(split):,}, counted from 0.")
    return shrink(split.images[-1:], size)[0], int(split.labels[-1])


def _offered() -> list[choices.Choice]:
    return choices.checkpoints(is_student)


def _titles(offered: list[choices.Choice]) -> list[tuple[str, str]]:
    return [(choice.title, choice.value) for choice in offered]


def _usual(offered: list[choices.Choice]) -> str | None:
    values = [choice.value for choice in offered]
    return USUAL if USUAL in values else next(iter(values), None)

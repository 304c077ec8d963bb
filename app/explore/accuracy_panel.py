"""Accuracy of the strides that are shown, live: measured with one network that was trained for all of them.

It is asked for when memory has been redrawn and the hand rests. What is known is shown then; what is not is measured in
the queue, where it keeps nothing waiting, and kept; then the page asks again, for what it shows by then.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import urlencode

import gradio as gr

from redistill.data.datasets import needs_download
from redistill.memory.comparison import Comparison
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import find_network
from redistill.training.shared_weights import (
    WEIGHTS,
    SharedWeights,
    extract,
    full_strides,
    is_shared,
    measure,
    measured,
    open_shared,
)
from redistill.training.stride_store import Measured, key_of

from ..parts.counting import compare_as
from ..parts.events import QUIET, UNSEEN, connect, refused_in
from ..parts.fragments import notice
from ..parts.link_button import CHANGED
from ..parts.scripted import script
from ..runs import choices, jobs, run_list
from ..words.numbers import format_bytes, format_percent, format_ratio
from ..words.settings import dataset_title
from .form import read_settings
from .link import Settings, to_query

NONE = "none"  # of the choice of weights
PICTURES = 1000  # validation pictures that tell the accuracy of strides that nobody asked for yet: a second or two
MEASURED = "studio-measured"  # DOM event: something is known now that was not
AGAIN = f"() => {{ document.dispatchEvent(new Event('{MEASURED}')); }}"
FRESH = "() => { delete document.querySelector('#accuracy [data-stale]')?.dataset.stale; }"
NO_WEIGHTS = (
    '<p class="subline">With a network that was trained for all strides at once (Distill, “One network for every '
    "budget”) the accuracy of each choice is measured, and shown here beside its memory.</p>"
)


class AccuracyHTML(gr.HTML):
    """HTML text that triggers `stale` a moment after the last DOM event `CHANGED` and at once after `MEASURED`, for it
    to be brought up to date, and `unmeasured` when an element of it has the attribute `data-unmeasured`."""

    def __init__(self, value: str = "", **kwargs: Any) -> None:
        super().__init__(value, js_on_load=script("accuracy_card"), changed=CHANGED, measured=MEASURED, **kwargs)


@dataclass(frozen=True)
class Looked:
    """The strides that are shown, with the weights that were chosen."""

    shared: SharedWeights
    strides: dict[str, int]
    found: Comparison  # with the RED blocks of these weights, or without any
    shown: Settings  # what the page shows, whose RED blocks may be others

    @property
    def known(self) -> Measured | None:
        """What is known of its accuracy."""
        return measured(self.shared).get(key_of(self.strides))

    @property
    def key(self) -> str:
        """Of which weights and strides an accuracy is."""
        return f"{self.shared.fingerprint} {key_of(self.strides)}"


def build() -> dict[str, gr.blocks.Block]:
    """A card with the choice of weights and what they reach, in the Blocks context where it should stand."""
    offered = _offered()
    usual = _usual(offered)
    with gr.Column(elem_classes="card", elem_id="accuracy-card"):
        gr.HTML('<h3 class="card-title">Accuracy of these strides <span>measured, not estimated</span></h3>')
        weights = gr.Dropdown(_titles(offered), value=usual, label="With the weights of", filterable=False)
        accuracy = AccuracyHTML(NO_WEIGHTS, elem_id="accuracy")
        save = gr.Button("Save this student", size="sm", visible=usual != NONE, elem_id="save-student")
        saved = gr.HTML(elem_id="student-saved")
        failed = gr.State(None)  # of what no accuracy could be measured, and why
    told = {"accuracy": accuracy, "save_student": save, "student_saved": saved, "failed": failed}
    return {"weights": weights, **told}


def attach(parts: Mapping[str, Any], controls: Mapping[str, gr.components.Component], page: gr.Blocks) -> None:
    """Bring the accuracy up to date when it is stale, and offer the weights that there are."""
    failed = {"failed": parts["failed"]}
    outputs = {name: parts[name] for name in ("accuracy", "save_student", "student_saved")} | failed
    given = {"weights": parts["weights"], **controls}
    offered = {"weights": parts["weights"]}
    connect(page.load, offer, offered, offered, **QUIET)
    connect(parts["weights"].focus, offer, offered, offered, **QUIET)
    for event in (page.load, parts["weights"].change, parts["accuracy"].stale):
        told = connect(event, tell, given | failed, outputs, trigger_mode="always_last", **QUIET)
        told.then(None, js=FRESH, **QUIET)
    queued = {"trigger_mode": "always_last", "concurrency_limit": 1, **UNSEEN}
    connect(parts["accuracy"].unmeasured, measure_shown, given, failed, **queued).then(None, js=AGAIN, **QUIET)
    connect(parts["save_student"].click, save, given, {"saved": parts["student_saved"]}, concurrency_limit=1, **UNSEEN)


def offer(weights: Any) -> dict[str, Any]:
    """The networks for every budget that there are; what was chosen stays chosen where it still exists."""
    offered = _offered()
    values = [NONE, *(choice.value for choice in offered)]
    return {"weights": gr.Dropdown(_titles(offered), value=weights if weights in values else _usual(offered))}


def tell(weights: Any, failed: Any = None, **values: Any) -> dict[str, Any]:
    """What is known at once: the accuracy, or that it is being measured, or why there is none.

    failed: what `measure_shown` answered; it is told once, and the next time one tries again.
    """
    looked = _look(weights, values)
    if isinstance(looked, str):
        return {"accuracy": looked, "save_student": gr.Button(visible=False), "student_saved": ""}
    if failed and failed[0] == looked.key:
        words = notice("Not measured.", failed[1])
        return {"accuracy": words, "save_student": gr.Button(visible=False), "student_saved": "", "failed": None}
    return {"accuracy": _said(looked), "save_student": gr.Button(visible=True), "student_saved": ""}


def measure_shown(weights: Any, **values: Any) -> dict[str, Any]:
    """Measure what is shown where that is not known. The page may show other strides by the time that it is, so `tell`
    is asked what to say; what could not be measured is named beside the reason."""
    looked = _look(weights, values)
    if isinstance(looked, str) or looked.known:
        return {}
    try:
        measure(looked.shared, looked.strides, PICTURES)
    except (ValueError, OSError) as error:
        return {"failed": (looked.key, str(error))}
    return {}


@refused_in("saved", "Not saved.")
def save(weights: Any, **values: Any) -> dict[str, Any]:
    """Keep the fixed student at the strides that are shown among the results, once."""
    looked = _look(weights, values)
    if isinstance(looked, str):
        return {"saved": looked}
    metadata, strides = looked.shared.metadata, looked.strides
    student = dataclasses.replace(metadata.student, strides=strides)
    config = {**metadata.training, "student": student.to_dict()}
    title = f"{looked.shared.name} at {'·'.join(map(str, strides.values()))}"
    alike = [run for run in run_list.list_runs() if (run.title, run.config, run.state) == (title, config, "finished")]
    kept = [record.get(WEIGHTS) for run in alike for record in run_list.records(run)]
    is_kept = looked.shared.fingerprint in kept
    head = "Already saved" if is_kept else "Saved"
    if not is_kept:
        jobs.add_finished(config, title, lambda folder: extract(looked.shared, strides, folder))
    return {"saved": notice(head, f"as “{title}”, among the runs of Distill and Compare.", kind="hint")}


def chosen(weights: Any, values: Mapping[str, Any]) -> SharedWeights | None:
    """The weights that were chosen, where they are of the network that is shown, at its image size; else None.

    Raises ValueError for weights that are not there.
    """
    if weights in (NONE, None, ""):
        return None
    shared = open_shared(choices.folder(choices.find(weights, is_shared)))
    student = shared.metadata.student
    return shared if _network(student) == _network(read_settings(values).student) else None


def _network(student: StudentConfig) -> tuple:
    """What two students of one network for the same images have in common."""
    return student.student_architecture, student.image_size, student.in_channels, student.stem


def _look(weights: Any, values: Mapping[str, Any]) -> Looked | str:
    """What is shown, or the words that stand where the accuracy would."""
    if weights in (NONE, None, ""):
        return NO_WEIGHTS
    try:
        shared = chosen(weights, values)
        if shared is None:
            own = open_shared(choices.folder(choices.find(weights, is_shared))).metadata.student
            title, size = find_network(own.student_architecture).title, own.image_size
            place = urlencode({"teacher": own.student_architecture, "size": size, "channels": own.in_channels})
            return (
                f'<p class="subline">These weights are a {escape(title)}’s, its first convolution {escape(own.stem)}, '
                f"for images of {size} px: "
                f'<a href="?{escape(place)}#explore">show that network</a>.</p>'
            )
        settings = read_settings(values)
        student = dataclasses.replace(shared.metadata.student, strides=full_strides(shared, settings.student.strides))
        found = compare_as(student, settings.accounting, settings.dtype, settings.batch)
    except ValueError as error:
        return notice("", str(error))
    return Looked(shared, dict(student.strides), found, settings)


def _said(looked: Looked) -> str:
    """The figure in a sentence, and what to know of it."""
    peak = looked.found.student.peak_bytes
    known = looked.known
    # With the key in it the words of two choices differ, so that the page asks for the second one's too.
    measuring = f'<span role="status" data-unmeasured="{looked.key}">Measuring…</span>'
    figure = format_percent(known.accuracy) if known else measuring
    lines = [f'<p class="headline"><strong>{figure}</strong> at <span class="nowrap">{format_bytes(peak)}</span></p>']
    if known:
        lines.append(f'<p class="subline">{_how(looked, known)}</p>')
    lines.append(_red_hint(looked))
    if looked.shared.space.find(looked.strides) is None:
        lines.append(notice("", "It was not trained for these strides, only for those that reduce as much as its own "
                            "and need no more memory.", kind="hint"))  # fmt: skip
    return "".join(lines)


def _red_hint(looked: Looked) -> str:
    """What to know of the peak where the weights have other RED blocks than what the page shows; else nothing."""
    own, shown = looked.shared.metadata.student, looked.shown.student
    if own.red is None:
        words = "These weights have no RED blocks; this is the peak without them."
        return notice("", words, kind="hint") if shown.red else ""
    if (shown.red, shown.alignment) == (own.red, own.alignment):
        return ""
    same = dataclasses.replace(shown, red=own.red, alignment=own.alignment)
    query = escape(to_query(dataclasses.replace(looked.shown, student=same)))
    return (
        '<p class="subline">These weights have RED blocks of their own, at the same layers at all strides; this is the '
        f'peak with them: <a href="?{query}#explore">show them</a>.</p>'
    )


def _how(looked: Looked, known: Measured) -> str:
    low, high = known.interval
    metadata = looked.shared.metadata
    said = (
        f"Right on {known.correct:,} of {known.count:,} validation pictures of "
        f"{escape(dataset_title(metadata.dataset))}; 95 %: {format_percent(low)} to {format_percent(high)}."
    )
    if needs_download(metadata.dataset):
        said += " Measured beforehand: these pictures are not here."
    own = looked.shared.tape.strides
    reference = measured(looked.shared).get(key_of(own))
    if reference and own != looked.strides:
        ratio = format_ratio(looked.found.teacher.peak_bytes, looked.found.student.peak_bytes)
        said += f" At the network’s own strides {format_percent(reference.accuracy)}, for {ratio} this memory."
    return said


def _offered() -> list[choices.Choice]:
    return choices.checkpoints(is_shared)


def _titles(offered: list[choices.Choice]) -> list[tuple[str, str]]:
    return [("none", NONE), *((choice.title, choice.value) for choice in offered)]


def _usual(offered: list[choices.Choice]) -> str:
    """The first that there is: what it says of another network is which one it is for."""
    return offered[0].value if offered else NONE

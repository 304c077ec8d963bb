"""What there is of a run that has ended: how well it tells classes apart, its network to take home, and to try."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from redistill.checkpoint.metadata import Metadata, read_metadata
from redistill.training.run import RESUME_POINT

from ..parts.events import UNSEEN, connect, refused_in, say_at_once
from ..parts.export_buttons import PRINTED, attach_exports, handed_over
from ..parts.fields import PictureField
from ..parts.fragments import notice
from ..parts.live_plot import LivePlot
from ..parts.scripted import SaveFiles, event_values, handed, served
from ..runs import answers, by_class, jobs, run_list, saved
from ..runs.exports import KINDS, export_run
from ..runs.pushing import push_run
from ..runs.reports import report_run
from ..visitors.who import token_of_request
from . import finished_view as view

ALONG = [(words.removeprefix("Export "), kind) for kind, words in KINDS.items()]
MAX_REPO = 200  # characters of owner/name
REPORT = "report"  # beside the kinds of exports


class FinishedPanel:
    """The cards; build them inside the Blocks context where they should stand.

    `shown` are outputs of `shown_of`, by name; `distil` asks for a student of the run that is shown, `tune` for a run
    that trains its network on in int8.
    """

    def __init__(self) -> None:
        with gr.Row(elem_classes="finished-cards"):
            self._build()
        self.shown = {name: getattr(self, name) for name in ("home", "lines", "tune", "tested", "classes", "count",
            "matrix", "confusion", "trial", "picture", "answers")}  # fmt: skip
        self.shown |= {"student_said": self.said, "pushed": self.pushed}

    def _build(self) -> None:
        with gr.Column(visible=False, elem_classes="card") as self.home:
            gr.HTML('<h3 class="card-title">Take it home</h3>')
            self.save = SaveFiles({"student": "Save student"}, elem_id="save-student")
            self.exports = SaveFiles({**KINDS, REPORT: "Report of one page"}, elem_id="exports")
            self.said = gr.HTML(elem_id="student-said")
            self.lines = gr.HTML(elem_id="opening")
            self.distil = gr.Button("Distil a student from this", size="sm", elem_id="distil-this")
            self.tune = gr.Button("Train it on for int8", size="sm", visible=False, elem_id="tune-int8")
            with gr.Accordion("Push it to the Hub", open=False, elem_classes="fold"):
                self.repo = gr.Textbox(
                    label="Repository", placeholder="you/small-student", max_length=MAX_REPO, elem_id="push-repo"
                )
                self.private = gr.Checkbox(False, label="Private: seen by its owner alone", container=False)
                self.along = gr.CheckboxGroup(ALONG, label="With files of runtimes")
                self.push = gr.Button("Push", size="sm", elem_id="push")
                self.pushed = gr.HTML(elem_id="push-said")
        with gr.Column(visible=False, elem_classes="card tested") as self.tested:
            gr.HTML('<h3 class="card-title">Right and wrong, class by class <span>on the test pictures</span></h3>')
            self.classes = gr.HTML(elem_id="classes")
            self.count = gr.Button("Test it class by class", size="sm", visible=False, elem_id="count-classes")
            with gr.Column(visible=False) as self.matrix:
                self.confusion = LivePlot(
                    height=420, label="Confusion matrix: answers by true class", elem_id="confusion"
                )
        with gr.Column(visible=False, elem_classes="card") as self.trial:
            gr.HTML('<h3 class="card-title">Try a picture</h3>')
            self.picture = PictureField(
                label="Picture",
                sources=["upload", "webcam", "clipboard"],
                height=220,
                elem_id="try-picture",
            )
            self.draw = gr.Button("One of the test pictures", size="sm", elem_id="try-test")
            self.answers = gr.HTML(elem_id="answers")

    def attach(self, drawn: gr.JSON, woken: gr.JSON) -> None:
        """Connect its events; `drawn` notes which run is shown, and `woken` has the panel look at it again."""
        say_at_once(self.save.ask, "Packing…", self.said)
        outputs = {"save": self.save, "said": self.said}
        connect(self.save.ask, save_student, [drawn], outputs, concurrency_limit=2, **UNSEEN)
        attach_exports(self.exports, self.said, export_file, [drawn])
        given = [drawn, self.repo, self.private, self.along]
        say_at_once(self.push.click, "Packing and sending…", self.pushed)
        connect(self.push.click, push_student, given, {"pushed": self.pushed}, concurrency_limit=2, **UNSEEN)
        say_at_once(self.count.click, "Testing its network once more…", self.classes)
        outputs = {"classes": self.classes, "woken": woken}
        connect(self.count.click, count_classes, [drawn], outputs, concurrency_limit=1, **UNSEEN)
        given, outputs = [drawn, self.picture], {"answers": self.answers, "picture": self.picture}
        for event in (self.picture.upload, self.picture.input):
            connect(event, try_picture, given, outputs, trigger_mode="always_last", concurrency_limit=2, **UNSEEN)
        connect(self.draw.click, try_test_picture, [drawn], outputs, concurrency_limit=2, **UNSEEN)


def shown_run(drawn: Any) -> str:
    """The run that is shown, from what `watch.look` noted; ValueError for anything else that the page may send."""
    name = drawn.get("name") if isinstance(drawn, Mapping) else None
    if not isinstance(name, str):
        raise ValueError("Choose a run in the list first.")
    return name


def shown_of(run: jobs.Run | None) -> dict[str, Any]:
    """What the panel shows of a run; what a person does there comes later, and is not touched."""
    is_over = run is not None and run.state == "finished"
    is_saved = is_over or (run is not None and run.state in jobs.RESUMABLE and (run.path / RESUME_POINT).exists())
    metadata = _metadata(run) if is_over else None
    is_classifier = metadata is not None and metadata.student.task == "classification"
    found = by_class.read_by_class(run) if is_classifier else None
    figure = view.confusion_figure(found)
    return {
        "home": gr.Column(visible=is_saved),
        "lines": view.opening(_lines(run, metadata)) if is_over else "",
        "tune": gr.Button(visible=is_classifier),
        "tested": gr.Column(visible=is_classifier),
        "classes": view.class_table(found) if is_classifier else "",
        "count": gr.Button(visible=is_classifier and found is None),
        "matrix": gr.Column(visible=figure is not None),
        "confusion": figure,
        "trial": gr.Column(visible=is_classifier),
    }


def nothing_tried() -> dict[str, Any]:
    """The panel for another run than before: without what was tried and said of that one."""
    return {"picture": None, "answers": "", "student_said": "", "pushed": ""}


def _metadata(run: jobs.Run) -> Metadata | None:
    try:
        return read_metadata(run.path / "student")
    except (ValueError, OSError):
        return None


def _lines(run: jobs.Run, metadata: Metadata | None) -> str:
    try:
        return saved.opening_lines(metadata, run.path / "student") if metadata else ""
    except (ValueError, OSError):
        return ""


@refused_in("said")
def save_student(drawn: Any) -> dict[str, Any]:
    """The network of the run that is shown as a zip file, for the browser to save."""
    with tempfile.TemporaryDirectory(prefix="redistill-") as folder:
        file = saved.zip_student(shown_run(drawn), Path(folder))
        kept = served(file)
    return {"save": {"name": file.name, "file": kept, "asked": time.time_ns()}, "said": ""}


@refused_in("said")
def export_file(event: gr.EventData, drawn: Any) -> dict[str, Any]:
    """The network of the run that is shown as a file of a runtime, and how it ran there; or its report."""
    name, asked = shown_run(drawn), str(event_values(event).get("save"))
    if asked == REPORT:
        called, text = report_run(name)
        return {"exports": handed(called, text), "said": PRINTED}
    return handed_over(export_run(name, asked))


@refused_in("pushed", "Not pushed.")
def push_student(drawn: Any, repo: Any, private: Any, along: Any) -> dict[str, Any]:
    """Push the network of the run that is shown to a repository of who asks, and say where it is."""
    name = shown_run(drawn)
    if not isinstance(repo, str) or len(repo) > MAX_REPO:
        raise ValueError("The repository is no name; expected owner/name, such as you/small-student.")
    if private not in (True, False) or not isinstance(along or [], list):
        raise ValueError(f"Private is {str(private)[:40]!r}, files are {str(along)[:80]!r}; expected what is ticked.")
    runtimes = [str(kind) for kind in along or []]
    address = push_run(name, repo.strip(), bool(private), token_of_request(), runtimes)
    return {"pushed": view.pushed(address, repo.strip())}


@refused_in("classes")
def count_classes(drawn: Any) -> dict[str, Any]:
    """Test the network of the run that is shown, made before runs counted that themselves, class by class."""
    by_class.count_by_class(shown_run(drawn))
    return {"woken": {"at": time.time()}}


@refused_in("answers")
def try_picture(drawn: Any, picture: Any) -> dict[str, Any]:
    """What the networks of the run that is shown say of a picture that a person chose."""
    if picture is None:
        return {"answers": ""}
    if not isinstance(picture, str):
        raise ValueError("Nothing was uploaded; expected a picture.")
    name = shown_run(drawn)
    try:
        found = answers.ask(name, picture)
    except ValueError as error:
        return {"answers": notice("", str(error)), "picture": None}  # which the browser may have no picture of, either
    return {"answers": view.answers(found, run_list.read_run(name).title)}


@refused_in("answers")
def try_test_picture(drawn: Any) -> dict[str, Any]:
    """What they say of one of the run's test pictures, drawn at random."""
    name = shown_run(drawn)
    with tempfile.TemporaryDirectory(prefix="redistill-") as folder:
        file, truth = answers.draw_test_picture(name, Path(folder))
        said = view.answers(answers.ask(name, file), run_list.read_run(name).title, truth)
        return {"picture": served(file), "answers": said}

"""The right side of tab Distill: the list of runs, and one of them as it goes. It reads files and keeps nothing."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import gradio as gr

from . import jobs, plots
from . import watch_view as view
from .actions import event_values
from .fragments import notice
from .liveplot import LivePlot
from .liveradio import LiveRadio
from .savefiles import SaveFiles

SECONDS = 1.0  # between looks at the files
FILES = {jobs.LOG_FILE: "Save log", "config.json": "Save config", "metrics.jsonl": "Save metrics"}
MAX_SAVED = 8_000_000  # bytes of a file that are saved: its end
QUIET = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


class WatchPanel:
    """The panel's components and events; build it inside the Blocks context where it should stand."""

    def __init__(self) -> None:
        with gr.Column(min_width=320, elem_classes="results"):
            with gr.Column(elem_classes="card"):
                self.progress = gr.HTML(view.NO_RUNS, elem_id="progress")
                with gr.Row(elem_classes="quiet-buttons"):
                    stop = gr.Button("Stop", size="sm", interactive=False, elem_id="stop")
                    resume = gr.Button("Go on", size="sm", interactive=False, elem_id="resume")
                    delete = gr.Button("Delete", size="sm", interactive=False, elem_id="delete")
                with gr.Row(elem_classes="quiet-buttons confirm", visible=False) as self.confirm:
                    self.question = gr.HTML(elem_id="delete-question")
                    confirm = gr.Button("Delete for good", size="sm", variant="stop", elem_id="delete-confirm")
                    keep = gr.Button("Keep it", size="sm", elem_id="delete-keep")
                files = SaveFiles(FILES, elem_id="save-files")
                self.said = gr.HTML(elem_id="run-said")
            with gr.Row(elem_classes="pair"):
                self.losses = _chart("Losses", "losses", 250, "parts before their weights")
                self.scores = _chart("Validation", "scores", 250)
            with gr.Row(elem_classes="pair"):
                self.rate = _chart("Learning rate", "rate", 150)
                self.speed = _chart("Images per second", "speed", 150)
            self.samples = gr.HTML()
        with gr.Column(min_width=320, elem_classes="more"):
            with gr.Column(elem_classes="card"):
                self.runs = LiveRadio([], label="Runs", elem_id="runs", elem_classes="list")
            self.pictures = gr.HTML(elem_id="pictures")
        self.seen, self.asked = gr.State(None), gr.State(None)
        charts = [self.losses, self.scores, self.rate, self.speed]
        self.shown = [self.seen, self.progress, stop, resume, delete, *charts, self.samples]
        everything = [self.said, self.runs, *self.shown]
        self.runs.input(show, self.runs, self.shown, **QUIET)
        gr.Timer(SECONDS).tick(look, [self.runs, self.seen], everything, **QUIET)
        stop.click(stop_run, self.runs, everything, **QUIET)
        resume.click(resume_run, self.runs, everything, **QUIET)
        question = [self.asked, self.confirm, self.question]
        delete.click(ask_to_delete, self.runs, question, **QUIET)
        keep.click(lambda: _asked(None), None, question, **QUIET)
        self.runs.input(lambda: _asked(None), None, question, **QUIET)
        confirm.click(delete_run, self.asked, [*question, *everything], **QUIET)
        files.ask(save_file, self.runs, [files, self.said], **QUIET)

    def attach(self, page: gr.Blocks) -> None:
        """Show what there is as soon as the page opens."""
        page.load(open_page, None, [self.runs, *self.shown], **QUIET)

    @staticmethod
    def nothing() -> list[Any]:
        """No change of `shown`."""
        return [gr.skip() for _ in range(10)]

    @staticmethod
    def select(name: str | None) -> list[Any]:
        """Values of `runs` and `shown` with this run chosen."""
        runs = jobs.list_runs()
        return [LiveRadio(choices=_labels(runs), value=name), *_drawn(runs, name)]


def _chart(title: str, name: str, height: int, remark: str = "") -> LivePlot:
    with gr.Column(elem_classes="card chart", min_width=280):
        gr.HTML(f'<div class="card-title">{title}{f" <span>{remark}</span>" if remark else ""}</div>')
        return LivePlot(height=height, label=f"{title} against steps", elem_id=name)


def open_page() -> list[Any]:
    """The newest run, if there is any."""
    runs = jobs.list_runs()
    return WatchPanel.select(runs[0].name if runs else None)


def look(name: Any, seen: Any) -> list[Any]:
    """What a tick of the clock changes: nothing, unless the files did."""
    runs = jobs.list_runs()
    chosen = name if name in [run.name for run in runs] else None
    signature = _signature(runs, chosen)
    if seen == signature:
        return [gr.skip(), gr.skip(), *WatchPanel.nothing()]
    if isinstance(seen, list) and seen[:1] == signature[:1] and chosen == name:
        return [gr.skip(), gr.skip(), *_drawn(runs, chosen)]
    said = gr.skip()
    if isinstance(name, str) and chosen is None:
        said = notice("", "The run that was shown is gone: its folder has been deleted.", kind="hint")
    if chosen is None and runs:
        chosen = runs[0].name
    return [said, *WatchPanel.select(chosen)]


def show(name: Any) -> list[Any]:
    """Another run was chosen in the list."""
    return _drawn(jobs.list_runs(), name)


def stop_run(name: Any) -> list[Any]:
    """Stop the chosen run with its state saved."""
    return _act(jobs.stop, name)


def resume_run(name: Any) -> list[Any]:
    """Go on with the chosen run from its last saved step."""
    return _act(jobs.resume, name)


def ask_to_delete(name: Any) -> list[Any]:
    """Whether the chosen run is to be deleted: nothing happens yet."""
    try:
        return _asked(jobs.read_run(name))
    except ValueError as error:
        return [None, gr.Row(visible=True), notice("", str(error))]


def delete_run(asked: Any) -> list[Any]:
    """Delete the run that was asked about, whichever is chosen by now."""
    return [*_asked(None), *_act(jobs.delete, asked)]


def _asked(run: jobs.Run | None) -> list[Any]:
    if run is None:
        return [None, gr.Row(visible=False), ""]
    words = f"Delete “{run.title}” with its checkpoint, curves and log?"
    return [run.name, gr.Row(visible=True), notice("", words, kind="hint")]


def save_file(event: gr.EventData, name: Any) -> list[Any]:
    """A file of the chosen run, for the browser to save."""
    try:
        file = event_values(event).get("save")
        if not isinstance(file, str) or file not in FILES:
            raise ValueError(f"No file {str(file)[:80]!r} to save; expected one of {list(FILES)}.")
        path = jobs.read_run(name).path / file
        with open(path, "rb") as content:
            content.seek(max(0, path.stat().st_size - MAX_SAVED))
            text = content.read(MAX_SAVED).decode(errors="replace")
    except FileNotFoundError:
        return [gr.skip(), notice("", f"This run has no {file} yet.", kind="hint")]
    except (ValueError, OSError) as error:
        return [gr.skip(), notice("", str(error))]
    return [{"name": f"{name}-{file}", "text": text, "asked": time.time_ns()}, ""]


def _act(action: Any, name: Any) -> list[Any]:
    try:
        if not isinstance(name, str):
            raise ValueError("Choose a run in the list first.")
        action(name)
        said = ""
    except ValueError as error:
        said = notice("", str(error))
    runs = jobs.list_runs()
    names = [run.name for run in runs]
    return [said, *WatchPanel.select(name if name in names else names[0] if names else None)]


def _labels(runs: Sequence[jobs.Run]) -> list[tuple[str, str]]:
    return [(f"{run.title} · {view.STATE_WORDS[run.state]}", run.name) for run in runs]


def _signature(runs: Sequence[jobs.Run], name: Any) -> list[Any]:
    """What the panel shows depends on nothing else."""
    listed = [[run.name, run.state] for run in runs]
    chosen = next((run for run in runs if run.name == name), None)
    return [listed, [chosen.name, chosen.step, len(jobs.records(chosen))] if chosen else None]


def _drawn(runs: Sequence[jobs.Run], name: Any) -> list[Any]:
    """Values of `shown` for the run of that name."""
    signature = _signature(runs, name)
    run = next((run for run in runs if run.name == name), None)
    if run is None:
        return [signature, view.NO_RUNS, *[gr.Button(interactive=False)] * 3, *_figures([], 1, None), ""]
    records = jobs.records(run)
    teacher = view.teacher_score(run)
    return [
        signature,
        view.progress(run, records, teacher),
        gr.Button(interactive=run.state in jobs.ALIVE and run.state != "stopping"),
        gr.Button(interactive=run.state in jobs.RESUMABLE),
        gr.Button(interactive=run.state not in jobs.ALIVE),
        *_figures(records, run.steps, teacher),
        view.latest_samples(run),
    ]


def _figures(records: Sequence[Any], steps: int, teacher: float | None) -> list[Any]:
    return [
        plots.loss_figure(records, steps),
        plots.score_figure(records, steps, teacher),
        plots.step_figure(records, steps, "learning_rate"),
        plots.step_figure(records, steps, "images_per_second"),
    ]

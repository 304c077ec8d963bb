"""The right side of tab Distill: the list of runs, and one of them as it goes. It reads files and keeps nothing."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import gradio as gr

from redistill import checkpoint

from . import jobs, plots
from .fragments import notice, progress_bar
from .liveplot import LivePlot
from .liveradio import LiveRadio

SECONDS = 1.0  # between looks at the files
STATE_WORDS = {
    "queued": "waiting for the run before it",
    "starting": "starting",
    "running": "running",
    "stopping": "stopping",
    "finished": "finished",
    "stopped": "stopped",
    "failed": "failed",
    "interrupted": "interrupted",
    "broken": "unreadable",
}


class WatchPanel:
    """The panel's components and events; build it inside the Blocks context where it should stand."""

    def __init__(self) -> None:
        with gr.Column(min_width=320, elem_classes="results"):
            with gr.Column(elem_classes="card"):
                self.progress = gr.HTML(_NO_RUNS, elem_id="progress")
                with gr.Row(elem_classes="quiet-buttons"):
                    stop = gr.Button("Stop", size="sm", interactive=False, elem_id="stop")
                    resume = gr.Button("Go on", size="sm", interactive=False, elem_id="resume")
                    delete = gr.Button("Delete", size="sm", interactive=False, elem_id="delete")
                self.said = gr.HTML()
            with gr.Row(elem_classes="pair"):
                with gr.Column(elem_classes="card chart", min_width=280):
                    gr.HTML('<div class="card-title">Losses</div>')
                    self.losses = LivePlot(height=250, label="Losses against steps", elem_id="losses")
                with gr.Column(elem_classes="card chart", min_width=280):
                    gr.HTML('<div class="card-title">Validation</div>')
                    self.scores = LivePlot(height=250, label="Validation score against steps", elem_id="scores")
            self.samples = gr.HTML()
        with gr.Column(min_width=320, elem_classes="more"):
            with gr.Column(elem_classes="card"):
                self.runs = LiveRadio([], label="Runs", elem_id="runs", elem_classes="list")
            self.pictures = gr.HTML(elem_id="pictures")
        self.buttons = [stop, resume, delete]
        self.seen = gr.State(None)
        self.shown = [self.seen, self.progress, *self.buttons, self.losses, self.scores, self.samples]
        quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        self.runs.input(show, self.runs, self.shown, **quiet)
        gr.Timer(SECONDS).tick(look, [self.runs, self.seen], [self.runs, *self.shown], **quiet)
        for button, action in ((stop, stop_run), (resume, resume_run), (delete, delete_run)):
            button.click(action, self.runs, [self.said, self.runs, *self.shown], **quiet)

    def attach(self, page: gr.Blocks) -> None:
        """Show what there is as soon as the page opens."""
        page.load(
            open_page, None, [self.runs, *self.shown], queue=False, show_progress="hidden", api_visibility="private"
        )

    @staticmethod
    def nothing() -> list[Any]:
        """No change of `shown`."""
        return [gr.skip() for _ in range(8)]

    @staticmethod
    def select(name: str | None) -> list[Any]:
        """Values of `runs` and `shown` with this run chosen."""
        runs = jobs.list_runs()
        return [LiveRadio(choices=_labels(runs), value=name), *_drawn(runs, name)]


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
        return [gr.skip(), *WatchPanel.nothing()]
    if isinstance(seen, list) and seen[:1] == signature[:1] and chosen == name:
        return [gr.skip(), *_drawn(runs, chosen)]
    if chosen is None and runs:
        chosen = runs[0].name
    return WatchPanel.select(chosen)


def show(name: Any) -> list[Any]:
    """Another run was chosen in the list."""
    return _drawn(jobs.list_runs(), name)


def stop_run(name: Any) -> list[Any]:
    """Stop the chosen run with its state saved."""
    return _act(jobs.stop, name)


def resume_run(name: Any) -> list[Any]:
    """Go on with the chosen run from its last saved step."""
    return _act(jobs.resume, name)


def delete_run(name: Any) -> list[Any]:
    """Delete the chosen run."""
    return _act(jobs.delete, name)


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
    return [(f"{run.title} · {STATE_WORDS[run.state]}", run.name) for run in runs]


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
        off = [gr.Button(interactive=False)] * 3
        return [signature, _NO_RUNS, *off, plots.loss_figure([], 1), plots.score_figure([], 1), ""]
    records = jobs.records(run)
    teacher = teacher_score(run)
    return [
        signature,
        _progress(run, records, teacher),
        gr.Button(interactive=run.state in jobs.ALIVE and run.state != "stopping"),
        gr.Button(interactive=run.state in jobs.RESUMABLE),
        gr.Button(interactive=run.state not in jobs.ALIVE),
        plots.loss_figure(records, run.steps),
        plots.score_figure(records, run.steps, teacher),
        _latest_samples(run),
    ]


def teacher_score(run: jobs.Run) -> float | None:
    """The test figure of the run's teacher: accuracy, or the loss of its prediction; None where it is not known."""
    folder = run.config.get("teacher_checkpoint")
    if not folder:
        return None
    try:
        figures = checkpoint.read_metadata(folder).metrics
    except (ValueError, OSError):
        return None
    score = figures.get("test_accuracy", figures.get("test_prediction_loss"))
    return score if isinstance(score, (int, float)) else None


def _progress(run: jobs.Run, records: Sequence[Mapping[str, Any]], teacher: float | None) -> str:
    share = run.step / run.steps if run.steps else 0.0
    words = [STATE_WORDS[run.state], f"step {run.step:,} of {run.steps:,}" if run.step else ""]
    rates = [
        row["images_per_second"] for row in records[-30:] if row.get("kind") == "step" and row.get("images_per_second")
    ]
    if run.state == "running" and not run.step:
        words[1] = "preparing the pictures; the first time takes about a minute"
    if run.state == "running" and rates:
        rate = sorted(rates)[len(rates) // 2]
        left = (run.steps - run.step) * int(run.config.get("batch_size", 1)) / rate
        words += [f"{rate:,.0f} images/s", f"about {plots.format_duration(left)} left"]
    bar = progress_bar(run.title, run.state, 1.0 if run.state == "finished" else share, " · ".join(filter(None, words)))
    if run.error:
        bar += notice("", run.error)
    final = next((row for row in reversed(records) if row.get("kind") == "final"), None)
    return bar + (_result(final, teacher) if final else "")


def _result(final: Mapping[str, Any], teacher: float | None) -> str:
    """The figures on the test pictures, in a sentence."""
    seconds = plots.format_duration(final.get("seconds", 0))
    if "test_accuracy" in final:
        text = f"<strong>{plots.format_percent(final['test_accuracy'])}</strong> test accuracy"
        text += f", the teacher has {plots.format_percent(teacher)}" if teacher is not None else ""
    else:
        text = (
            f"Test loss of the prediction <strong>{plots.format_number(final.get('test_prediction_loss', 0))}</strong>"
        )
        text += f", the teacher has {plots.format_number(teacher)}" if teacher is not None else ""
    return (
        f'<p class="result">{text}. <span>{seconds} on {escape(str(final.get("device", "this machine")))}.</span></p>'
    )


def _latest_samples(run: jobs.Run) -> str:
    """The images that a diffusion run drew last."""
    drawn = sorted((run.path / "samples").glob("step-*.png"))
    if not drawn:
        return ""
    try:
        data = base64.b64encode(drawn[-1].read_bytes()).decode()
    except OSError:
        return ""
    step = int(drawn[-1].stem.removeprefix("step-"))
    return (
        f'<div class="card"><div class="card-title">Drawn at step {step:,} <span>same seeds every time</span></div>'
        f'<img class="pixels" alt="images drawn at step {step}" src="data:image/png;base64,{data}"></div>'
    )


_NO_RUNS = '<p class="headline">No run yet.</p><p class="subline">Choose a preset on the left and press Start.</p>'

"""The right side of tab Distill: the list of runs, and one of them as it goes. It reads files and keeps nothing.

Answers can reach a page in another order than they were asked for, so each thing has one writer. What a person does
writes the choice of a run and nothing else of the panel. `look` draws the panel for the choice there is, one look at a
time, and never writes the choice. What it drew is noted on the page, beside what is drawn: the next look compares with
that, and the buttons act on the run that stands above them.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import gradio as gr

from redistill.data.table import DATASETS
from redistill.training.config import DistillConfig
from redistill.training.run import CLASSES

from ..parts.events import QUIET, connect
from ..parts.fields import LiveRadio, NumberField
from ..parts.fragments import notice
from ..parts.live_plot import LivePlot
from ..parts.scripted import SaveFiles, file_asked, handed
from ..runs import jobs, on_hub, run_list
from ..runs.processes import LOG_FILE
from ..runs.titles import run_facts
from ..visitors import limits
from ..visitors.who import token_of_request
from ..words.places import hide_places, is_shared
from . import lent_panel, run_curves, run_form
from . import watch_view as view
from .data_panel import offered
from .finished import FinishedPanel, nothing_tried, shown_of, shown_run
from .ready_made import shipped_run
from .seed_rows import seed_table

SECONDS = 1.0  # between looks at the files while a run goes
IDLE_SECONDS = 5.0  # and while none does: one may be started from another page, or the shell
FILES = {LOG_FILE: "Save log", "config.json": "Save config", "metrics.jsonl": "Save metrics"}
MAX_SAVED = 8_000_000  # bytes of a file that are saved: its end
# Where nothing that is there was chosen, the list marks the run that is shown in its place; done on the page, so that
# a choice which was made meanwhile stays. A run that is awaited, see `AWAIT`, is brought into view once it is drawn:
# what appears above while the page scrolls would end that.
DRAWN = """(chosen, drawn) => {
  const progress = document.querySelector('#progress');
  if (progress?.dataset.awaited && drawn?.name === chosen) {
    delete progress.dataset.awaited;
    requestAnimationFrame(() => progress.scrollIntoView({block: 'nearest', behavior: 'smooth'}));
  }
  return drawn && chosen === drawn.chosen ? drawn.name : chosen;
}"""
AS_BEFORE = "as before"
AWAIT = "document.querySelector('#progress').dataset.awaited = 'yes'"


class WatchPanel:
    """The panel's components and events; build it inside the Blocks context where it should stand."""

    def __init__(self) -> None:
        with gr.Column(min_width=320, elem_classes="results"):
            with gr.Column(elem_classes="card"):
                progress = gr.HTML(view.no_runs(), elem_id="progress")
                lent = lent_panel.build()
                if words := limits.said():
                    gr.HTML(notice("", words, kind="hint"), elem_id="limits")
                buttons = _build_buttons()
                files = SaveFiles(FILES, elem_id="save-files")
                said = gr.HTML(elem_id="run-said")
            self.finished = FinishedPanel()
            charts = _build_charts()
            samples = gr.HTML()
        with gr.Column(min_width=320, elem_classes="more"):
            with gr.Column(elem_classes="card"):
                seeds = gr.HTML(elem_id="seeds")
                self.runs = LiveRadio([], label="Runs", elem_id="runs", elem_classes="list")
            self.pictures = gr.HTML(elem_id="pictures")
        drawn = gr.JSON(visible="hidden")  # what `look` noted
        # Outputs of what chooses a run. `woken` is no State, of which gradio tells no change outside the queue.
        self.choice = {"runs": self.runs, "woken": gr.JSON(visible="hidden")}
        self.timer = gr.Timer(SECONDS, active=False)  # until the tab is seen
        self.shown = {"drawn": drawn, "progress": progress, "said": said, "samples": samples, "seeds": seeds, **charts}
        self.shown |= {name: buttons[name] for name in ("stop", "resume", "delete", "extend", "moved")}
        self.shown |= self.finished.shown
        self.finished.attach(drawn, self.choice["woken"])
        lent_panel.attach(lent, self.choice["woken"])
        self._connect_buttons(buttons)
        files.ask(save_file, drawn, [files, said], **QUIET)

    def _connect_buttons(self, buttons: Mapping[str, Any]) -> None:
        """Let the buttons act on the run that is drawn; one that is deleted is asked about first."""
        drawn, asked = self.shown["drawn"], gr.State(None)  # the run that may be deleted
        done = {"said": self.shown["said"], "woken": self.choice["woken"]}
        connect(buttons["stop"].click, stop_run, [drawn], done, **QUIET)
        connect(buttons["resume"].click, resume_run, [drawn], done, **QUIET)
        longer = [buttons[name] for name in ("steps", "rate", "device", "moved")]
        connect(buttons["extend"].click, extend_run, [drawn, *longer], done, **QUIET)
        question = {"asked": asked, "confirm": buttons["confirmation"], "question": buttons["question"]}
        connect(buttons["delete"].click, ask_to_delete, [drawn], question, **QUIET)
        for event in (buttons["keep"].click, self.runs.input):
            connect(event, keep_run, [], question, **QUIET)
        connect(buttons["confirm"].click, delete_run, [asked, self.runs], question | done | self.choice, **QUIET)

    def attach(self, page: gr.Blocks, tab: gr.Tab) -> None:
        """Show what there is as soon as the page opens, and follow the choice, and the files while the tab is seen."""
        events = [page.load, tab.select, self.timer.tick, self.runs.input, self.choice["woken"].change]
        seen = [self.runs, self.shown["drawn"]]
        outputs = {"runs": self.runs, **self.shown, "timer": self.timer}
        looked = connect(partial(gr.on, events), look, seen, outputs, trigger_mode="always_last", **QUIET)
        looked.then(None, seen, self.runs, js=DRAWN, **QUIET)


def _build_buttons() -> dict[str, Any]:
    """What can be done with a run: its buttons, and the fields that these ask for, by name."""
    made: dict[str, Any] = {}
    with gr.Row(elem_classes="quiet-buttons"):
        for name, title in (("stop", "Stop"), ("resume", "Go on"), ("delete", "Delete")):
            made[name] = gr.Button(title, size="sm", interactive=False, elem_id=name)
    with gr.Accordion("Go on for longer", open=False, elem_classes="fold"):
        with gr.Row():
            made["steps"] = NumberField(None, label="Steps in all (empty or 0: as before)", minimum=1, min_width=120)
            made["rate"] = NumberField(None, label="Learning rate (empty or 0: as before)", minimum=0, min_width=120)
        devices = [AS_BEFORE, *run_form.devices()]
        made["device"] = gr.Radio(devices, value=AS_BEFORE, label="Device", visible=len(devices) > 2)
        made["moved"] = LiveRadio(
            [AS_BEFORE], value=AS_BEFORE, label="Its pictures, if they have moved", elem_id="moved"
        )
        made["extend"] = gr.Button("Go on", size="sm", interactive=False, elem_id="extend")
    with gr.Row(elem_classes="quiet-buttons confirm", visible=False) as made["confirmation"]:
        made["question"] = gr.HTML(elem_id="delete-question")
        made["confirm"] = gr.Button("Delete for good", size="sm", variant="stop", elem_id="delete-confirm")
        made["keep"] = gr.Button("Keep it", size="sm", elem_id="delete-keep")
    return made


def _build_charts() -> dict[str, LivePlot]:
    """The run's curves by name."""
    with gr.Row(elem_classes="pair"):
        charts = {
            "losses": _chart("Losses", "losses", 250, "parts before their weights"),
            "scores": _chart("Validation", "scores", 250),
        }
    with gr.Row(elem_classes="pair"):
        charts |= {
            "rate": _chart("Learning rate", "rate", 150),
            "speed": _chart("Images per second", "speed", 150),
        }
    return charts


def _chart(title: str, name: str, height: int, remark: str = "") -> LivePlot:
    with gr.Column(elem_classes="card chart", min_width=280):
        gr.HTML(f'<h3 class="card-title">{title}{f" <span>{remark}</span>" if remark else ""}</h3>')
        return LivePlot(height=height, label=f"{title} against steps", elem_id=name)


def look(chosen: Any, drawn: Any) -> dict[str, Any]:
    """What the panel shows for the chosen run, as far as that differs from what was drawn.

    Without a chosen run that is there, it is the one that was shown, or else the newest.
    """
    runs = run_list.list_runs()
    names = [run.name for run in runs]
    before = drawn if isinstance(drawn, Mapping) else {}
    wanted = [name for name in (chosen, before.get("name")) if name in names]
    run = next((run for run in runs if run.name in (wanted or names)[:1]), None)
    now = _signature(runs, chosen, run)
    if run and run.job:
        on_hub.hear_soon(run.path, run.job, token_of_request())
    changed = {part for part in now if part not in before or before[part] != now[part]}
    if not changed:
        return {}
    shown = {"drawn": now}
    if changed & {"name", "runs", "at"}:
        shown |= _course(run)
    if changed & {"name", "can"}:
        shown |= _buttons(run) | shown_of(run)
    if changed & {"name", "images"}:
        shown["samples"] = view.latest_samples(run) if run else ""
    if "name" in changed:
        shown |= nothing_tried() | {"moved": LiveRadio(choices=_places(run), value=AS_BEFORE)}
    if "clock" in changed:
        shown["timer"] = gr.Timer(float(now["clock"]))
    if isinstance(chosen, str) and chosen not in names:
        shown["said"] = notice("", "The run that was shown is gone: its folder has been deleted.", kind="hint")
    if "runs" in changed:
        shown |= {"runs": LiveRadio(choices=_labels(runs)), "seeds": seed_table(runs)}
    return shown


def choose(name: str | None, **more: Any) -> dict[str, Any]:
    """Values of `WatchPanel.choice` with this run chosen; `more` of `lent_panel.wake`."""
    return {"runs": LiveRadio(choices=_labels(run_list.list_runs()), value=name), "woken": {"at": time.time(), **more}}


def stop_run(drawn: Any) -> dict[str, Any]:
    """Stop the run that is shown with its state saved."""
    return {"said": _act(lambda name: jobs.stop(name, token_of_request()), drawn), "woken": {"at": time.time()}}


def resume_run(drawn: Any) -> dict[str, Any]:
    """Go on with the run that is shown from its last saved step."""
    return _gone_on(lambda name: jobs.resume(name, token_of_request()), drawn)


def extend_run(drawn: Any, steps: Any, rate: Any, device: Any, moved: Any = AS_BEFORE) -> dict[str, Any]:
    """Go on with the run that is shown up to so many steps in all, at another rate, elsewhere, or with its pictures
    from where they are now, where one is given; also where it has finished."""
    # gradio shows a number without a value as 0 once its accordion is opened, and sends that with the next click
    numbers = {"steps": steps or None, "learning_rate": rate or None}
    given = {**numbers, "device": device, "dataset": moved}
    changes = {name: value for name, value in given.items() if value not in (None, AS_BEFORE)}
    return _gone_on(lambda name: jobs.extend(name, changes), drawn)


def _places(run: jobs.Run | None) -> list[str | tuple[str, str]]:
    """Where the pictures of a run may lie now: folders and uploads that Distill offers to such a student, but what it
    began with. Those that have a name are where they always are."""
    try:
        config = DistillConfig.from_dict(run.config) if run else None
    except (ValueError, TypeError):  # a run that cannot be read goes on nowhere
        config = None
    if config is None or config.dataset in DATASETS:
        return [AS_BEFORE]
    return [AS_BEFORE, *(one for one in offered(config.student) if one[1] not in (config.dataset, *DATASETS))]


def _gone_on(action: Callable[[str], jobs.Run], drawn: Any) -> dict[str, Any]:
    woken: dict[str, Any] = {"at": time.time()}
    said = _act(lambda name: woken.update(lent_panel.wake(action(name))), drawn)
    return {"said": said, "woken": woken}


def ask_to_delete(drawn: Any) -> dict[str, Any]:
    """Whether the run that is shown is to be deleted: nothing happens yet."""
    try:
        run = run_list.read_run(shown_run(drawn))
    except ValueError as error:
        return {"asked": None, "confirm": gr.Row(visible=True), "question": notice("", str(error))}
    words = f"Delete “{' · '.join(filter(None, (run.title, run_facts(run))))}” with its checkpoint, curves and log?"
    return {"asked": run.name, "confirm": gr.Row(visible=True), "question": notice("", words, kind="hint")}


def keep_run() -> dict[str, Any]:
    """Nothing is to be deleted."""
    return {"asked": None, "confirm": gr.Row(visible=False), "question": ""}


def delete_run(asked: Any, chosen: Any) -> dict[str, Any]:
    """Delete the run that was asked about, whichever is chosen by now."""
    said = _act(jobs.delete, {"name": asked})
    names = [run.name for run in run_list.list_runs()]
    return keep_run() | {"said": said} | choose(chosen if chosen in names else names[0] if names else None)


def save_file(event: gr.EventData, drawn: Any) -> list[Any]:
    """A file of the run that is shown, for the browser to save."""
    try:
        name = shown_run(drawn)
        file = file_asked(event, FILES)
        path = run_list.read_run(name).path / file
        with open(path, "rb") as content:
            content.seek(max(0, path.stat().st_size - MAX_SAVED))
            text = content.read(MAX_SAVED).decode(errors="replace")
        text = hide_places(text) if is_shared() else text
    except FileNotFoundError:
        return [gr.skip(), notice("", f"This run has no {file} yet.", kind="hint")]
    except (ValueError, OSError) as error:
        return [gr.skip(), notice("", str(error))]
    return [handed(f"{name}-{file}", text), ""]


def _act(action: Callable[[str], Any], drawn: Any) -> str:
    """What to say about it: nothing where it worked."""
    try:
        action(shown_run(drawn))
    except ValueError as error:
        return notice("", str(error))
    return ""


def _labels(runs: Sequence[jobs.Run]) -> list[tuple[str, str]]:
    facts = ((run.title, view.state_text(run), run_facts(run)) for run in runs)
    return [(" · ".join(filter(None, words)), run.name) for words, run in zip(facts, runs, strict=True)]


def _signature(runs: Sequence[jobs.Run], chosen: Any, run: jobs.Run | None) -> dict[str, str | None]:
    """What the panel shows depends on nothing else, part by part: the list on all `runs`, the buttons and the cards of
    a run that has ended on what one `can` do with the one that is shown, its curves on how far it is (`at`).

    With `chosen`, the choice that it was drawn for. All values are texts, which stay what they are on the page.
    """
    listed = json.dumps([[run.name, run.state] for run in runs])
    return {
        "runs": hashlib.sha256(listed.encode()).hexdigest()[:16],
        "chosen": chosen if isinstance(chosen, str) else None,
        "name": run.name if run else None,
        "can": f"{run.state} {(run.path / CLASSES).exists()}" if run else None,
        "at": f"{run.step} {len(run_list.records(run))} {run.told if run.job else ''}" if run else None,
        "images": str(view.latest_file(run)) if run else None,
        "clock": str(SECONDS if any(run.state in jobs.ALIVE for run in runs) else IDLE_SECONDS),
    }


def _course(run: jobs.Run | None) -> dict[str, Any]:
    """How far a run is, in words and curves; without one, a run that came with the page, but nothing to whom has
    deleted their own."""
    told = run or (None if jobs.has_deleted() else shipped_run())
    records, steps, teacher = (run_list.records(told), told.steps, view.teacher_score(told)) if told else ([], 1, None)
    if run:
        words = view.progress(run, records, teacher)
    else:
        words = view.example(told, records, teacher) if told else view.no_runs(jobs.has_deleted())
    return {
        "progress": words,
        "losses": run_curves.loss_figure(records, steps),
        "scores": run_curves.score_figure(records, steps, teacher),
        "rate": run_curves.step_figure(records, steps, "learning_rate"),
        "speed": run_curves.step_figure(records, steps, "images_per_second"),
    }


def _buttons(run: jobs.Run | None) -> dict[str, gr.Button]:
    """Which of the buttons do something for the run that is shown."""
    state = run.state if run else None
    can = {
        "stop": state in jobs.ALIVE and state != "stopping",
        "resume": state in jobs.RESUMABLE,
        "delete": run is not None and state not in jobs.ALIVE,
        "extend": state in (*jobs.RESUMABLE, "finished") and run.job is None,
    }
    return {name: gr.Button(interactive=is_possible) for name, is_possible in can.items()}

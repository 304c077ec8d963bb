"""Bigger than this machine: what the form is set to as lines to paste, or as a job on Hugging Face's hardware."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from redistill.training import hub_jobs
from redistill.training.config import DistillConfig
from redistill.training.launching import launch_lines, sbatch_file, stays_here

from ..parts.events import QUIET, UNSEEN, connect, refused_in
from ..parts.fields import LiveRadio, NumberField
from ..parts.fragments import notice, status_line
from ..runs import jobs
from ..visitors.who import token_of_request
from ..words.places import is_shared
from ..words.settings import run_title
from . import estimate_panel, plan, watch
from .plan import Plan

WAYS = {"launch": "Lines for the shell", "sbatch": "File for Slurm’s sbatch"}
FORGET_LINES = "() => [{__type__: 'update', value: '', visible: false}, '']"


@dataclass(frozen=True)
class Priced:
    """What a price was said of."""

    settings: str  # of the run, as JSON
    hardware: hub_jobs.Hardware
    space: str
    seconds: float  # by the estimate


class BiggerPanel:
    """The fold; build it inside the Blocks context where it should stand."""

    def __init__(self) -> None:
        with gr.Accordion("Bigger than this machine", open=False, elem_classes="fold", elem_id="bigger"):
            gr.HTML('<h4 class="fold-title">Several GPUs or machines of yours</h4>')
            with gr.Row():
                self.gpus = NumberField(2, label="GPUs each", minimum=1, min_width=120)
                self.machines = NumberField(1, label="Machines", minimum=1, min_width=120)
            self.way = gr.Radio([(title, name) for name, title in WAYS.items()], value="launch", label="As")
            self.write = gr.Button("Write it", size="sm", elem_id="bigger-write")
            self.lines = gr.Textbox(
                "",
                label="Paste this",
                lines=3,
                max_lines=10,
                buttons=["copy"],
                interactive=False,
                visible=False,
                elem_id="bigger-lines",
            )
            gr.HTML('<h4 class="fold-title">Hugging Face Jobs</h4>')
            self.hardware = LiveRadio([], label="Hardware, paid by your account", visible=False, elem_classes="list")
            self.space = gr.Textbox(
                os.environ.get("SPACE_ID", ""),
                label="Space with this page",
                placeholder="owner/name",
                info="The job runs in its image; docs/SPACE.md says how to put one up.",
                visible=False,
            )
            with gr.Row(elem_classes="quiet-buttons"):
                self.list = gr.Button("List the hardware", size="sm", elem_id="jobs-list")
                self.ask = gr.Button("Say the price", size="sm", visible=False, elem_id="jobs-ask")
                self.start = gr.Button("Start it there", size="sm", visible=False, elem_id="jobs-start")
            self.said = gr.HTML(elem_id="bigger-said")
            self.priced = gr.State(None)  # the settings whose price was said last, and where

    def attach(
        self,
        form: Mapping[str, gr.components.Component],
        controls: Sequence[gr.components.Component],
        choice: Mapping[str, gr.blocks.Block],
    ) -> None:
        """Act on what the form is set to; `controls` are what a person sees of it, `choice` chooses a run."""
        shown = {"said": self.said, "lines": self.lines, "hardware": self.hardware, "space": self.space}
        shown |= {"ask": self.ask, "start": self.start, "priced": self.priced}
        given = {"way": self.way, "gpus": self.gpus, "machines": self.machines, **form}
        connect(self.write.click, write, given, shown, **QUIET)
        gr.on([control.change for control in controls], None, None, [self.lines, self.said], js=FORGET_LINES, **QUIET)
        connect(self.list.click, list_hardware, [], shown, **UNSEEN)
        given = {"hardware": self.hardware, "space": self.space, **form}
        line = {"concurrency_limit": 1, "concurrency_id": "estimate"}
        connect(self.ask.click, ask_price, given, shown, **UNSEEN | line)
        given = {"priced": self.priced, **form}
        connect(self.start.click, start_there, given, shown | dict(choice), **UNSEEN | {"concurrency_limit": 1})


def write(student: Any, way: Any, gpus: Any, machines: Any, **settings: Any) -> dict[str, Any]:
    """The runs that the form is set to, as text to paste."""
    try:
        if not isinstance(way, str) or way not in WAYS:
            raise ValueError(f"As is {str(way)[:40]!r}; expected one of {list(WAYS)}.")
        runs = _portable(plan.read_plan(student, settings))
        text = (launch_lines if way == "launch" else sbatch_file)(runs, gpus, machines)
    except ValueError as error:
        return {"said": notice("Not written.", str(error)), "lines": gr.Textbox("", visible=False)}
    return {"said": "", "lines": gr.Textbox(text, visible=True)}


def _portable(planned: Plan) -> dict[str, DistillConfig]:
    """All runs of a plan by the folders that they have elsewhere; ValueError for what lies on this machine."""
    runs: dict[str, DistillConfig] = {}
    teacher = ""
    for config in planned.all:
        slug = re.sub(r"[^a-z0-9]+", "-", run_title(config).lower()).strip("-")[:60]
        folder = f"runs/{slug}-{config.seed}"
        if planned.teacher and config is not planned.teacher:
            config = plan.taught_by(config, teacher)
        if reason := stays_here(config, [teacher] if teacher else []):
            raise ValueError(reason)
        runs[folder] = config
        teacher = teacher or f"{folder}/{hub_jobs.STUDENT}"
    return runs


@refused_in("said")
def list_hardware() -> dict[str, Any]:
    """What there is, with its prices."""
    found = hub_jobs.list_hardware(token_of_request())
    rows = [(f"{one.title} · {one.memory} · ${one.dollars_an_hour:,.2f} an hour", one.name) for one in found]
    first = next((one.name for one in found if one.gpus), found[0].name if found else None)
    return {
        "said": "",
        "hardware": LiveRadio(choices=rows, value=first, visible=True),
        "space": gr.Textbox(visible=not is_shared()),
        "ask": gr.Button(visible=bool(found)),
        "start": gr.Button(visible=False),
    }


def ask_price(student: Any, hardware: Any, space: Any, **settings: Any) -> Iterator[dict[str, Any]]:
    """What the run costs there, by the estimate that is made of it here; then it can be started."""
    forgotten = {"priced": None, "start": gr.Button(visible=False)}
    try:
        config = _only_run(plan.read_plan(student, settings))
        there = next((one for one in hub_jobs.list_hardware(token_of_request()) if one.name == hardware), None)
        if there is None:
            raise ValueError(f"Hardware is {str(hardware)[:40]!r}; list it, and choose one.")
        seconds = None
        for event in estimate_panel.measure(config, goes_elsewhere=True):
            if isinstance(event, float):
                yield {**forgotten, "said": status_line(f"Measuring a few steps… {event:.0f} s")}
            else:
                seconds = float(event["seconds"])
    except ValueError as error:
        yield {**forgotten, "said": notice("", str(error))}
        return
    yield {
        "said": status_line(hub_jobs.said_price(there, seconds)),
        "priced": Priced(_text(config), there, str(space or "").strip(), seconds),
        "start": gr.Button(f"Start it on {there.name}", visible=True),
    }


def start_there(student: Any, priced: Any, **settings: Any) -> dict[str, Any]:
    """Start what the price was said of, once; nothing where the form has changed since."""
    forgotten = {"priced": None, "start": gr.Button(visible=False)}
    try:
        if not isinstance(priced, Priced):
            raise ValueError("Nothing is to be started; ask for the price first.")
        config = _only_run(plan.read_plan(student, settings))
        if _text(config) != priced.settings:
            raise ValueError("The form has changed since the price was said; ask for it once more.")
        seconds, there = hub_jobs.most_seconds(priced.seconds), priced.hardware
        run = jobs.start_on_hub(config, run_title(config), there, priced.space, seconds, token_of_request())
    except (ValueError, OSError) as error:
        return {**forgotten, "said": notice("Not started.", str(error))}
    words = f"Started on {there.name}. It trains without this page, which fetches how it goes while open."
    return {**forgotten, "said": notice("", words, kind="good"), **watch.choose(run.name)}


def _only_run(planned: Plan) -> DistillConfig:
    if len(planned.all) > 1:
        raise ValueError("A job trains one run: set one seed, and a teacher that is there already.")
    (config,) = planned.all
    if reason := stays_here(config):
        raise ValueError(reason)
    return config


def _text(config: DistillConfig) -> str:
    return json.dumps(config.to_dict(), sort_keys=True)

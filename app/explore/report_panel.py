"""A report of one page of what Explore shows, whose memory alone is known: for the browser to save and to print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from redistill.deploy.report import setting_report
from redistill.memory.comparison import Comparison

from ..parts.budget import Budget
from ..parts.events import UNSEEN, connect, refused_in
from ..parts.export_buttons import PRINTED
from ..parts.scripted import SaveFiles, handed
from .form import read_settings
from .view import file_name


def build() -> dict[str, gr.components.Component]:
    """The button, in the Blocks context where it should stand."""
    button = SaveFiles({"report": "Report of one page"}, elem_id="explore-report")
    return {"report": button, "report_said": gr.HTML(elem_id="explore-report-said")}


def attach(parts: Mapping[str, Any], controls: Mapping[str, gr.components.Component]) -> None:
    """Hand out the report of what the controls are set to when the button among `parts` is clicked."""
    outputs = {name: parts[name] for name in ("report", "report_said")}
    connect(parts["report"].ask, save_report, controls, outputs, concurrency_limit=1, **UNSEEN)


@refused_in("report_said", "No report.")
def save_report(**values: Any) -> dict[str, Any]:
    """The report of these values, whatever they are."""
    settings = read_settings(values)
    found = settings.count()
    text = setting_report(settings.student, settings.batch, _fits(found, settings.budget))
    name = f"{file_name(found).replace('memory', 'report', 1)}.html"
    return {"report": handed(name, text), "report_said": PRINTED}


def _fits(found: Comparison, budget: Budget | None) -> list[str]:
    """Whether the student fits what is looked at, in sentences."""
    if budget is None:
        return []
    if budget.room:
        return budget.room.told("the student", found.student, found.dtype)
    needed = found.student.needed_bytes
    return [f"{budget.title} of {budget.bytes:,} bytes: the student needs {needed:,}, it {budget.verdict(needed)}"]

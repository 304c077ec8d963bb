"""Reports of one page for the page: of a run's network, and of a setting that nobody has trained. No gradio."""

from __future__ import annotations

from redistill.deploy.report import network_report

from ..words.places import hide_places, is_shared
from . import run_list


def report_run(name: str) -> tuple[str, str]:
    """Name and HTML of the report of a finished run; ValueError, in one sentence, where there is none."""
    run = run_list.read_run(name)
    if run.state != "finished":
        raise ValueError(f"Run “{run.title}” is {run.state}; its report can be made once it has finished.")
    text = network_report(run.path)
    return f"{run.name}-report.html", hide_places(text) if is_shared() else text

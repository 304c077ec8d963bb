"""What tells runs of one title apart. No gradio."""

from __future__ import annotations

import time
from collections.abc import Sequence

from .jobs import Run


def run_facts(run: Run) -> str:
    """What tells a run from others of its title: "120 steps, 14:05:32", or "120 steps, 3 May 14:05" on other days."""
    try:
        started = time.localtime(run.created) if run.created else None
    except (OverflowError, ValueError, OSError):  # a damaged file
        started = None
    parts = [f"{run.steps:,} steps"] if run.steps else []
    if started:
        today = started[:3] == time.localtime()[:3]
        parts.append(time.strftime("%H:%M:%S" if today else f"{started.tm_mday} %b %H:%M", started))
    return ", ".join(parts)


def distinct_titles(runs: Sequence[Run]) -> dict[str, str]:
    """The title of each run by its name, with what tells them apart where several have the same."""
    titles = [run.title for run in runs]
    facts = {run.name: run_facts(run) for run in runs if titles.count(run.title) > 1}
    return {run.name: f"{run.title} · {facts[run.name]}" if facts.get(run.name) else run.title for run in runs}

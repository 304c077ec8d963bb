"""Endpoints of runs: presets, estimate, start, status, metrics, stop, resume, delete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from redistill.common.values import is_whole
from redistill.training.presets import PRESETS

from ..distill import estimate_panel
from ..runs import choices, jobs, on_hub, run_list
from ..visitors.who import token_of_request
from ..words.settings import run_title
from .kinds import MOST, NONE, Name, whole
from .run_settings import read_settings

Settings = Annotated[
    dict[Annotated[str, Field(max_length=80)], Any],
    Field(
        max_length=100,
        description='that differ from the preset, such as {"steps": 100, "student": {"strides": {"conv1": 4}}}',
    ),
]
Preset = Literal[tuple(PRESETS)]
LONGEST = 10**7  # steps of a run, as `resume` takes them


def presets() -> dict:
    """Ready-made settings that runs start from, all of them; `start` and `estimate` take a preset and what differs.

    Example:
        client.predict(api_name="/presets")
    """
    rows = [
        {"name": name, "title": preset.title, "description": preset.description, "settings": preset.config.to_dict()}
        for name, preset in PRESETS.items()
    ]
    return {"presets": rows}


def estimate(preset: Preset = "quick", settings: Settings = NONE) -> dict:
    """Time and peak memory of a run, measured by a few of its steps; it takes seconds, one at a time.

    Example:
        client.predict("quick", {"steps": 500}, api_name="/estimate")
    """
    found = {}
    for event in estimate_panel.measure(read_settings(preset, settings)):
        found = {} if isinstance(event, float) else dict(event)
    return found


def start(preset: Preset = "quick", settings: Settings = NONE) -> dict:
    """Start a run, or queue it while its device is taken; `run` of the answer is its name for the other endpoints.

    Settings of its student that the preset has are replaced one by one; `dataset` also sets its classes.

    Example:
        client.predict("quick", {"steps": 2, "batch_size": 8, "train_limit": 16}, api_name="/start")
    """
    config = read_settings(preset, settings)
    return _told(jobs.start(config.to_dict(), run_title(config)))


def status(run: Name | None = None) -> dict:
    """All runs, the newest first; or one of them, with its settings.

    `state` is queued, starting, running, stopping, stopped, failed, interrupted, finished or broken.

    Example:
        client.predict(api_name="/status")
    """
    if run is None:
        return {"runs": [_told(found) for found in run_list.list_runs()]}
    found = _heard(run)
    return _told(found) | {"settings": _named(found.config)}


def metrics(
    run: Name,
    after: whole(-1, LONGEST, "only records of later steps") = -1,
    limit: whole(1, MOST, "records at most, the last") = MOST,
) -> dict:
    """What a run has recorded: losses by step, validations, and at its end the test figures.

    Example:
        client.predict(run, api_name="/metrics")
    """
    found = _heard(run)
    kept = [record for record in run_list.records(found) if not is_whole(record.get("step"), 0, after)]
    return {"run": found.name, "state": found.state, "records": kept[-limit:]}


def stop(run: Name) -> dict:
    """Let a run stop with its state saved; it can go on later.

    Example:
        client.predict(run, api_name="/stop")
    """
    jobs.stop(run, token_of_request())
    return _told(run_list.read_run(run))


def resume(run: Name, steps: whole(1, LONGEST, "in all; by default those it began with") | None = None) -> dict:
    """Go on with a run that was stopped, failed or was interrupted; with `steps` also with a finished one, for longer.

    Example:
        client.predict(run, steps=4, api_name="/resume")
    """
    return _told(jobs.resume(run, token_of_request()) if steps is None else jobs.extend(run, {"steps": steps}))


def delete(run: Name) -> dict:
    """Delete a run that does not go, with its checkpoint, curves and log.

    Example:
        client.predict(run, api_name="/delete")
    """
    jobs.delete(run)
    return {"deleted": run}


def _heard(name: str) -> jobs.Run:
    """A run as it is known here; of one that a job trains, what is new is fetched meanwhile for the next time."""
    run = run_list.read_run(name)
    if run.job:
        on_hub.hear_soon(run.path, run.job, token_of_request())
    return run


def _told(run: jobs.Run) -> dict:
    """A run without its settings."""
    kept = ("title", "state", "step", "steps", "error", "created")
    return {"run": run.name, **{name: getattr(run, name) for name in kept}}


def _named(config: Mapping[str, Any]) -> dict:
    """A run's settings, with its teacher called as the endpoints call it."""
    teacher = config.get("teacher_checkpoint")
    return {**config, "teacher_checkpoint": choices.value_of(teacher) if isinstance(teacher, str) else None}

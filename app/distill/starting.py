"""The footer of tab Distill: what Start starts, what stands in its way, and whether that has been mended since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import gradio as gr

from redistill.training.int8_training import int8_run

from ..parts.events import refused_in
from ..parts.fragments import notice
from ..runs import choices, jobs, run_list
from ..runs.titles import run_facts
from . import lent_panel, plan, run_form, watch
from .finished import shown_run
from .plan import Plan
from .watch_view import state_text

REFUSED, ASKED = "refused", "asked"  # what the footer says: why nothing starts, or whether it is to start once more
# Says at its field what the footer says of it; the field is drawn only where its drawer is open.
MARK_FIELD = """() => {
  for (const note of document.querySelectorAll('.field-refusal')) note.remove();
  for (const input of document.querySelectorAll('.controls [aria-invalid]')) input.removeAttribute('aria-invalid');
  const said = document.querySelector('#refusal [data-field]');
  const field = said && document.getElementById(said.dataset.field);
  if (!field) return;
  const note = document.createElement('p');
  note.className = 'field-refusal';
  note.textContent = said.querySelector('.notice').lastChild.textContent.trim();
  field.append(note);
  for (const input of field.querySelectorAll('input, textarea')) input.setAttribute('aria-invalid', 'true');
}"""


def start_run(student: Any, drawn: Any = None, **settings: Any) -> dict[str, Any]:
    """Start or queue what the form is set to, and watch it; one sentence where that cannot be, or has been before."""
    try:
        planned = plan.read_plan(student, settings)
        if same := plan.find_same(planned):
            return _said(notice("", _same(same), kind="hint"), ASKED)
        return _started(planned, drawn)
    except (ValueError, OSError) as error:
        return _said(_not_started(error), REFUSED)


def start_again(student: Any, drawn: Any = None, **settings: Any) -> dict[str, Any]:
    """The same for who has been told that it has run before."""
    try:
        return _started(plan.read_plan(student, settings), drawn)
    except (ValueError, OSError) as error:
        return _said(_not_started(error), REFUSED)


@refused_in("said")
def start_int8(drawn: Any) -> dict[str, Any]:
    """Start or queue a run that trains the network of the run that is shown on in int8, and watch it."""
    run = run_list.read_run(shown_run(drawn))
    if run.state != "finished":
        raise ValueError(f"Run “{run.title}” is {run.state}; its network can be trained on once it has finished.")
    planned = Plan((int8_run(run.path, device=str(run.config.get("device", "cpu"))),))
    choices.check_opens_no_file(planned.students[0].student)
    if same := plan.find_same(planned):
        return {"said": notice("", _same(same), kind="hint")}
    started = plan.start(planned)[0]
    return {"said": "", **watch.choose(started.name, **lent_panel.wake(started))}


def recheck(state: Any, student: Any, **settings: Any) -> dict[str, Any]:
    """What the footer says once the form has changed: nothing more where what it said is mended."""
    if state not in (REFUSED, ASKED):
        return {}
    try:
        plan.read_plan(student, settings)
    except (ValueError, OSError) as error:
        return _said(_not_started(error), REFUSED)
    return _said("", "")


def _said(words: str, state: str) -> dict[str, Any]:
    return {"refusal": words, "state": state, "again": gr.Button(visible=state == ASKED)}


def _not_started(error: Exception) -> str:
    place = run_form.place_of(getattr(error, "field", ""))
    return f'<div data-field="{escape(place)}">{notice("Not started.", str(error))}</div>'


def _same(runs: Sequence[jobs.Run]) -> str:
    run = runs[0]
    facts = ", ".join(filter(None, (state_text(run), run_facts(run))))
    return f"These settings have run before: “{run.title}” ({facts}). Once more they give the same."


def _started(planned: Plan, drawn: Any) -> dict[str, Any]:
    """Start all of it, and show the first run, or where that waits the one before it, which is on the page now."""
    started = plan.start(planned)
    ahead = plan.ahead_of(started)
    words = [_count(planned, started)] if len(started) > 1 else []
    own = {run.name: run for run in run_list.list_runs()}
    if ahead:
        named = [f"“{own[run.name].title}”" for run in ahead if run.name in own]
        others = f"{len(ahead)} run{'s' if len(ahead) > 1 else ''}"
        words.append(f"Queued behind {named[-1] if len(ahead) == len(named) == 1 else others}.")
    said = _said(notice("", " ".join(words), kind="good") if words else "", "")
    if ahead and _shown_name(drawn) in {run.name for run in ahead}:
        return {**said, **watch.choose(_shown_name(drawn))}
    return {**said, **watch.choose(started[0].name, **lent_panel.wake(*started))}


def _count(planned: Plan, started: Sequence[jobs.Run]) -> str:
    students = f"{len(planned.students)} students" if len(planned.students) > 1 else "the student"
    if planned.teacher:
        return f"Two steps: first “{started[0].title}”, then {students} from it."
    return f"{students.capitalize()}, one after the other."


def _shown_name(drawn: Mapping[str, Any] | Any) -> str | None:
    try:
        return shown_run(drawn)
    except ValueError:
        return None

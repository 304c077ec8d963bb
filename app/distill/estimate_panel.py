"""What a run will take, measured by a few of its steps in a process of its own: the page stays live meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from redistill.common.files import write_json
from redistill.common.values import is_number
from redistill.training.config import DistillConfig

from ..parts.events import QUIET, UNSEEN, say_at_once
from ..parts.fragments import notice, status_line
from ..parts.turns import MAX_PAGES, Turn, Turns
from ..runs import lent, processes, run_list
from ..visitors import quota, who
from ..visitors.limits import check_run
from ..visitors.place import worker_environment
from ..words import numbers
from .plan import Plan
from .watch_view import seconds_left

# The settings that an estimate is of are noted on the page when it is asked for, and compared with at every change: so
# the answer to an earlier question is told too, and one whose settings are there again is not.
# The answer will stand below the button, which may be the last thing in view: the page makes room for it at the click.
NOTE_SETTINGS = """(...values) => {
  const estimated = document.querySelector('#estimated');
  estimated.dataset.of = JSON.stringify(values);
  estimated.scrollIntoView({block: 'nearest', behavior: 'smooth'});
  return '';
}"""
OTHERS = status_line("Of other settings than the form has now; estimate again.")
TELL_OTHERS = f"""(...values) => {{
  const of = document.querySelector('#estimated')?.dataset.of;
  return of && of !== JSON.stringify(values) ? {json.dumps(OTHERS)} : '';
}}"""
FORGET = """() => {
  delete document.querySelector('#estimated').dataset.of;
  return '';
}"""
SECONDS = 0.2  # between looks at the process
LONGEST = 600.0  # seconds; drawing or downloading a data set for the first time takes a while
_turns = Turns()


class EstimatePanel:
    """A button with its result; build it inside the Blocks context where it should stand."""

    def __init__(self) -> None:
        with gr.Row(elem_classes="quiet-buttons"):
            self.ask = gr.Button("Estimate time and memory", size="sm", elem_id="estimate")
            self.cancel = gr.Button("Cancel", size="sm", visible=False, elem_id="estimate-cancel")
        self.of = gr.HTML(elem_id="estimate-of")
        self.shown = gr.HTML(elem_id="estimated")

    def attach(
        self,
        form: Mapping[str, gr.components.Component],
        controls: Sequence[gr.components.Component],
        read: Callable[..., Plan],
    ) -> None:
        """Estimate what the form is set to; `read` turns its student and its settings by name into a plan.

        `controls` are what a person sees of the form: once they say something else, so does the panel.
        """
        outputs = [self.shown, self.ask, self.cancel]

        def estimate(request: gr.Request, *values: Any) -> Iterator[list[Any]]:
            settings = dict(zip(form, values, strict=True))
            with _turns.take(request) as turn:
                yield from show(lambda: read(settings.pop("student"), settings), turn)

        self.ask.click(None, list(controls), self.of, js=NOTE_SETTINGS, **QUIET)
        self.cancel.click(None, None, self.of, js=FORGET, **QUIET)
        changes = [control.change for control in controls]
        gr.on(changes, None, list(controls), self.of, js=TELL_OTHERS, trigger_mode="always_last", **QUIET)
        self.ask.click(estimate, list(form.values()), outputs, concurrency_limit=MAX_PAGES, **UNSEEN)
        say_at_once(self.cancel.click, "Cancelling…", self.shown)
        self.cancel.click(cancel, **QUIET)


def cancel(request: gr.Request) -> None:
    """Let the page's estimate end without one."""
    _turns.stop(request)


def show(read: Callable[[], Plan], turn: Turn) -> Iterator[list[Any]]:
    """What the panel shows while it waits for its turn, since two estimates would take the time from each other, while
    it measures, and then; nothing once it is stopped.

    Closing the iterator ends the process, and so does stopping.
    """
    for _ in turn.wait():
        yield _going("Waiting for another estimate…")
    if turn.is_stopped:
        yield _ended("")
        return
    try:
        planned = read()
        config = planned.all[0]
        for event in measure(config):
            if turn.is_stopped:
                yield _ended("")
                return
            if isinstance(event, float):
                yield _going(f"Measuring a few steps… {event:.0f} s")
            else:
                waits = _calls(config, event.get("pace")) or place_in_line(config)
                line = " ".join(filter(None, (_of_several(planned), waits)))
                yield _ended(table(event, line))
    except ValueError as error:
        yield _ended(notice("No estimate.", str(error)))


def _going(words: str) -> list[Any]:
    return [status_line(words), gr.Button(interactive=False), gr.Button(visible=True)]


def _ended(said: str) -> list[Any]:
    return [said, gr.Button(interactive=True), gr.Button(visible=False)]


def _of_several(planned: Plan) -> str:
    """Of which run of a plan the estimate is."""
    if planned.teacher:
        return "This is the run of the teacher; its student’s can be estimated once it has finished."
    count = len(planned.students)
    return f"Each of the {count} runs takes that." if count > 1 else ""


def measure(config: DistillConfig, goes_elsewhere: bool = False) -> Iterator[float | Mapping[str, Any]]:
    """The seconds it has taken so far, again and again, then the estimate as `redistill.estimate` gives it.

    Raises ValueError with the sentence of the process when it ends without one, for a run beyond what a visitor may ask
    for here, and for one that `goes_elsewhere` where a step of it is.
    """
    check_run(config.to_dict() | ({"steps": 1} if goes_elsewhere else {}))
    if lent.is_lent(config.to_dict()):
        yield 0.0
        yield _on_a_lent_gpu(config)
        return
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="redistill-estimate-") as folder:
        path = Path(folder)
        try:
            write_json(path / "config.json", config.to_dict())
            process = _start(path)
        except OSError as error:
            raise ValueError(f"{path} cannot be written ({error.strerror}); free some space.") from error
        try:
            while process.poll() is None:
                yield time.monotonic() - started
                if time.monotonic() - started > LONGEST:
                    raise ValueError(f"It took longer than {LONGEST:.0f} s and was ended; start the run to see.")
                time.sleep(SECONDS)
        finally:
            _end(process)
        yield _read(path, process.returncode)


def _on_a_lent_gpu(config: DistillConfig) -> Mapping[str, Any]:
    found = lent.measured(config)
    quota.spend(found["pace"]["used"])
    return found


def _calls(config: DistillConfig, pace: Any) -> str:
    """How many calls of a lent GPU a run takes, and what is left of the quota; nothing for any other run."""
    if not isinstance(pace, Mapping):
        return ""
    calls = lent.Pace(**pace).calls_left(config, 0)
    return (
        f"It takes about {calls} call{'s' if calls > 1 else ''} of at most {lent.CALL_SECONDS:.0f} s, with this page "
        f"open. {quota.said(who.account_of_request())}"
    )


def _start(folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "redistill", "estimate", "--config", str(folder / "config.json")]
    with open(folder / "out", "wb") as out, open(folder / "err", "wb") as err:
        return subprocess.Popen(
            command,
            cwd=processes.REPOSITORY,
            env=worker_environment(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )


def _end(process: subprocess.Popen) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # it has nothing to save
        process.wait()


def _read(folder: Path, code: int) -> Mapping[str, Any]:
    try:
        values = json.loads((folder / "out").read_text())
    except ValueError:
        values = None
    if code == 0 and isinstance(values, dict):
        return values
    lines = (folder / "err").read_text(errors="replace").strip().splitlines() or [f"its process ended with {code}"]
    if code == -signal.SIGKILL:
        lines = ["The system ended it, most likely for want of memory; choose a smaller batch."]
    raise ValueError(lines[-1].removeprefix("redistill: ")[:400])


def place_in_line(config: DistillConfig) -> str:
    """What the runs on the same device mean for one that is started now, in a sentence; nothing without any."""
    device = processes.device_of(config.to_dict())
    others = [run for run in run_list.everybodys() if run.goes_here and processes.device_of(run.config) == device]
    before = len(others) - processes.slots_of(device) + 1  # runs that have to end first
    if not others:
        return ""
    if before < 1:
        return f"{len(others)} run{'s train' if len(others) > 1 else ' trains'} there now, which slows this one."
    words = f"Started now, it waits for {before} run{'s' if before > 1 else ''} there to end"
    left = [seconds_left(run, run_list.records(run)) for run in others]
    if before == 1 and None not in left:
        words += f", about {numbers.format_duration(min(left))}"
    return f"{words}; measured beside what trains there now, it may then be faster."


def _of_teacher(trial: Any) -> list[tuple[str, str]]:
    """How the teacher does on the run's pictures, as a row of the table; none without one."""
    if not isinstance(trial, Mapping):
        return []
    if trial.get("bad"):
        return [("Teacher", f'<strong class="misses">{escape(str(trial["bad"]))}</strong>')]
    if is_number(trial.get("accuracy")):
        return [("Teacher", f"right on {100 * trial['accuracy']:.1f} % of the validation pictures")]
    return [("Teacher", f"error {trial['prediction_loss']:.3f}")] if is_number(trial.get("prediction_loss")) else []


def table(values: Mapping[str, Any], line: str = "") -> str:
    """An estimate in words: how long, how much memory, and whether that is there; `line` as of `place_in_line`."""
    rows = []
    if is_number(values.get("seconds")):
        rows.append(("Time", f"about {numbers.format_duration(values['seconds'])}"))
    if is_number(values.get("images_per_second")):
        rows.append(("Speed", f"{values['images_per_second']:,.0f} images/s"))
    if values.get("training_precision") == "bf16":
        rows.append(("Numbers", "bf16 (mixed), which this machine trains faster in"))
    peak, available = values.get("training_peak_bytes"), values.get("available_bytes")
    if is_number(peak):
        rows.append(("Peak while training", numbers.format_bytes(peak)))
    fits = values.get("fits") is True
    if is_number(available):
        verdict = f'<strong class="{"fits" if fits else "misses"}">{"fits" if fits else "does not fit"}</strong>'
        rows.append(("Free memory", f"{numbers.format_bytes(available)}: {verdict}"))
    rows += _of_teacher(values.get("teacher"))
    body = "".join(f"<tr><td>{label}</td><td>{text}</td></tr>" for label, text in rows)
    device = escape(str(values.get("device", "this machine")))
    return (
        f'<table class="facts numbers estimate"><tbody>{body}</tbody></table>'
        f'<p class="subline">Measured by a few steps on {device}. {line}</p>'
    )

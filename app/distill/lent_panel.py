"""Runs on a GPU that is lent by the call: the page takes them further, call by call, as long as it is open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gradio as gr

from redistill.training.config import DistillConfig

from ..parts.events import UNSEEN, connect
from ..parts.fragments import notice
from ..runs import jobs, lent, run_list
from ..visitors import quota, who
from ..visitors.place import is_zero_gpu

MOST_RUNS = 20  # that a page drives one after the other
MOST_PAGES = 32  # that drive a run or wait for a GPU; ZeroGPU has a line of its own


def build() -> gr.HTML | None:
    """Where the page says how far the calls are; None where no GPU is lent."""
    return gr.HTML(elem_id="lent") if is_zero_gpu() else None


def attach(said: gr.HTML | None, woken: gr.components.Component) -> None:
    """Drive the runs that `woken` names, whenever it names some."""
    if said is not None:  # in the queue: only there a page sends along whose quota it is
        connect(woken.change, drive, [woken], {"said": said}, concurrency_limit=MOST_PAGES, **UNSEEN)


def wake(*runs: jobs.Run) -> dict[str, list[str]]:
    """What `woken` says of runs that were begun or go on: that the page is to drive them, where nobody else does."""
    names = [run.name for run in runs if run.is_lent]
    return {"drive": names} if names else {}


def drive(woken: Any) -> Iterator[dict[str, Any]]:
    """Take runs further, call by call, and say before each what it will take and what is left of the quota."""
    names = woken.get("drive") if isinstance(woken, Mapping) else None
    if not isinstance(names, list) or len(names) > MOST_RUNS or not all(isinstance(name, str) for name in names):
        yield {}
        return
    try:
        for run in _in_turn(names):
            used = _used(run)
            for pace in jobs.drive(run.name):
                quota.spend(pace.used - used)
                used = pace.used
                yield {"said": notice("", _words(run_list.read_run(run.name), pace), kind="hint")}
            quota.spend(_used(run) - used)
            if run_list.read_run(run.name).state != "finished":
                break
        yield {"said": notice("", quota.said(who.account_of_request()), kind="hint")}
    except ValueError as error:
        words = f"{error} What the run has so far is kept; “Go on” takes it further."
        yield {"said": notice("", words) + notice("", quota.said(who.account_of_request()), kind="hint")}


def _in_turn(names: Sequence[str]) -> Iterator[jobs.Run]:
    """Runs to drive: each after the one that trains its teacher, which may have been stopped, and before those that
    have waited for its own network since they were started with it."""
    left, had = list(names), set()
    while left:
        run = run_list.read_run(left.pop(0))
        teacher = jobs.unfinished_teacher(run)
        if teacher and teacher.is_lent and teacher.name not in had:
            left[:0] = [teacher.name, run.name]
        elif run.name not in had:
            had.add(run.name)
            yield run
            left += [other.name for other in reversed(run_list.list_runs()) if _waits_for(other, run)]


def _waits_for(other: jobs.Run, run: jobs.Run) -> bool:
    return other.after == run.name and other.is_lent and other.state == "stopped" and not other.step


def _used(run: jobs.Run) -> float:
    pace = lent.read_pace(run.path)
    return pace.used if pace else 0.0


def _words(run: jobs.Run, pace: lent.Pace) -> str:
    calls = pace.calls_left(DistillConfig.from_dict(run.config), run.step)
    more = f"about {calls} more calls" if calls > 1 else "one more call"
    return (
        f"“{run.title}” takes {more} of a lent GPU, each of at most {lent.CALL_SECONDS:.0f} s, and has used "
        f"{pace.used:.0f} s. Keep the page open: closed, it stops after the call that goes, and “Go on” takes it "
        f"further. {quota.said(who.account_of_request())}"
    )

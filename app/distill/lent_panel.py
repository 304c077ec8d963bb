"""Runs on a GPU that is lent by the call: the page takes them further, call by call, as long as it is open."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr

from redistill.training.config import DistillConfig

from ..parts.events import UNSEEN, connect
from ..parts.fragments import notice
from ..runs import jobs, lent
from ..visitors import quota, who
from ..visitors.place import is_zero_gpu

MOST_PAGES = 32  # that drive a run or wait for a GPU; ZeroGPU has a line of its own


def build() -> gr.HTML | None:
    """Where the page says how far the calls are; None where no GPU is lent."""
    return gr.HTML(elem_id="lent") if is_zero_gpu() else None


def attach(said: gr.HTML | None, woken: gr.components.Component) -> None:
    """Drive the run that `woken` names, whenever it names one."""
    if said is not None:  # in the queue: only there a page sends along whose quota it is
        connect(woken.change, drive, [woken], {"said": said}, concurrency_limit=MOST_PAGES, **UNSEEN)


def wake(run: jobs.Run) -> dict[str, str]:
    """What `woken` says of a run that was begun or goes on: that the page is to drive it, where nobody else does."""
    return {"drive": run.name} if run.is_lent else {}


def drive(woken: Any) -> Iterator[dict[str, Any]]:
    """Take a run further, call by call, and say before each what it will take and what is left of the quota."""
    name = woken.get("drive") if isinstance(woken, Mapping) else None
    if not isinstance(name, str):
        yield {}
        return
    try:
        run = jobs.read_run(name)
        used = _used(run)
        for pace in jobs.drive(name):
            quota.spend(pace.used - used)
            used = pace.used
            yield {"said": notice("", _words(jobs.read_run(name), pace), kind="hint")}
        quota.spend(_used(run) - used)
        yield {"said": notice("", quota.said(who.account_of_request()), kind="hint")}
    except ValueError as error:
        words = f"{error} What the run has so far is kept; “Go on” takes it further."
        yield {"said": notice("", words) + notice("", quota.said(who.account_of_request()), kind="hint")}


def _used(run: jobs.Run) -> float:
    pace = lent.read_pace(run.path)
    return pace.used if pace else 0.0


def _words(run: jobs.Run, pace: lent.Pace) -> str:
    calls = pace.calls_left(DistillConfig.from_dict(run.config), run.step)
    more = f"about {calls} more calls" if calls > 1 else "one more call"
    return (
        f"This run takes {more} of a lent GPU, each of at most {lent.CALL_SECONDS:.0f} s, and has used "
        f"{pace.used:.0f} s. Keep the page open: closed, it stops after the call that goes, and “Go on” takes it "
        f"further. {quota.said(who.account_of_request())}"
    )

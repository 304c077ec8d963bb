"""Tab Compare: results on the plane of memory and accuracy, what one was trained with, what two differ in."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ..parts.events import QUIET, connect
from ..parts.fields import LiveRadio
from ..parts.fragments import notice
from ..parts.live_plot import LivePlot
from ..parts.scripted import event_values
from ..runs import jobs
from ..runs.results import Result, all_results, groups
from . import view
from .plane import plane_figure
from .result_table import build_result_table, result_rows

SECONDS = 3.0  # between looks at the files
SCROLL = "() => document.querySelector('#chosen').scrollIntoView({block: 'nearest', behavior: 'smooth'})"


@dataclass(frozen=True)
class CompareTab:
    """The components that the page connects to other tabs."""

    chosen: gr.State  # key of the chosen result, or None
    load: gr.Button
    timer: gr.Timer  # off until the tab is seen


def build(tab: gr.Tab) -> CompareTab:
    """Lay the tab out inside the current Blocks context and connect its events."""
    chosen, kept = gr.State(None), gr.State(None)
    seen = gr.State(None)  # what was shown last, see `_signature`; None: the tab was never opened
    with gr.Row(elem_classes="columns"):
        with gr.Column(min_width=300, elem_classes="controls"):
            with gr.Column(elem_classes="card"):
                group = LiveRadio([], label="Results on", elem_id="groups", elem_classes="list")
            with gr.Column(elem_classes="card"):
                card = gr.HTML(view.NOTHING_CHOSEN, elem_id="chosen")
                load = gr.Button("Load into Distill", size="sm", interactive=False, elem_id="load")
                keep = gr.Button("Compare with another", size="sm", interactive=False, elem_id="keep")
        with gr.Column(min_width=320, elem_classes="results"):
            said = gr.HTML(view.NO_RESULTS, elem_id="front-said")
            with gr.Column(elem_classes="card chart"):
                chart = LivePlot(height=400, label="Peak memory against test score", elem_id="plane")
                gr.HTML(view.legend())
        with gr.Column(min_width=320, elem_classes="more"):
            differs = gr.HTML(elem_id="differs")
            with gr.Column(elem_classes="card"):
                table = build_result_table()
    shown = {
        "seen": seen,
        "group": group,
        "said": said,
        "chart": chart,
        "card": card,
        "load": load,
        "keep": keep,
        "differs": differs,
        "table": table,
    }
    state = [group, chosen, kept]
    connect(tab.select, refresh, state, shown, **QUIET)
    timer = gr.Timer(SECONDS, active=False)
    connect(timer.tick, _look_while_runs_go, [*state, seen], {**shown, "timer": timer}, **QUIET)
    connect(group.input, show_group, [group], {"chosen": chosen, "kept": kept, **shown}, **QUIET)
    for event in (chart.mark_click, table.pick):
        connect(event, pick, [group, kept], {"chosen": chosen, **shown}, **QUIET).then(None, js=SCROLL, **QUIET)
    connect(keep.click, keep_chosen, state, {"kept": kept, **shown}, **QUIET)
    return CompareTab(chosen, load, timer)


def refresh(group: Any, chosen: Any, kept: Any) -> dict[str, Any]:
    """Everything the tab shows, from the files as they are now."""
    results = all_results()
    offered = groups(results)
    names = [name for _, name in offered]
    group = group if group in names else names[0] if names else None
    own = [result for result in results if result.group == group]
    one, other = _find(own, chosen), _find(own, kept)
    return {
        "seen": _signature(results, group, chosen, kept),
        "group": LiveRadio(choices=offered, value=group),
        "said": view.headline(own),
        "chart": plane_figure(own, one.key if one else None, other.key if other else None),
        "card": view.chosen_card(one),
        "load": gr.Button(interactive=one is not None),
        "keep": gr.Button("Stop comparing" if other else "Compare with another", interactive=bool(one or other)),
        "differs": view.difference(other, one),
        "table": result_rows(own, one.key if one else None),
    }


def look(group: Any, chosen: Any, kept: Any, seen: Any) -> dict[str, Any]:
    """What a tick of the clock changes: nothing, unless the files did, or a click came before the last one was
    done."""
    if seen is None or seen == _signature(all_results(), group, chosen, kept):
        return {}
    return refresh(group, chosen, kept)


@functools.wraps(look)
def _look_while_runs_go(*values: Any) -> dict[str, Any]:
    """`look`, and the clock stops where no run goes, until the tab is chosen again."""
    goes = any(run.state in jobs.ALIVE for run in jobs.list_runs())  # before the results: its last one is among them
    return look(*values) | ({} if goes else {"timer": gr.Timer(active=False)})


def show_group(group: Any) -> dict[str, Any]:
    """Results on other pictures, none of them chosen."""
    return {"chosen": None, "kept": None, **refresh(group, None, None)}


def pick(event: gr.EventData, group: Any, kept: Any) -> dict[str, Any]:
    """Choose the result that was clicked, in the chart or the table."""
    try:
        values = event_values(event)
    except ValueError as error:
        return {"said": notice("", str(error))}
    key = values.get("key", values.get("mark"))
    return {"chosen": key if isinstance(key, str) else None, **refresh(group, key, kept)}


def keep_chosen(group: Any, chosen: Any, kept: Any) -> dict[str, Any]:
    """Keep the chosen result to compare others with; if there is one already, stop comparing."""
    kept = None if kept else chosen
    return {"kept": kept, **refresh(group, chosen, kept)}


def chosen_config(chosen: Any) -> dict[str, Any] | None:
    """All settings of the chosen result, for the form of Distill; None when it is gone."""
    result = _find(all_results(), chosen)
    return result.config.to_dict() if result else None


def _find(results: Sequence[Result], key: Any) -> Result | None:
    return next((result for result in results if result.key == key), None)


def _signature(results: Sequence[Result], group: Any, chosen: Any, kept: Any) -> list[Any]:
    """What the tab shows depends on nothing else."""
    return [group, chosen, kept, [[result.key, result.state, result.score] for result in results]]

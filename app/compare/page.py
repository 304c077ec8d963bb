"""Tab Compare: results on the plane of memory and accuracy, what one was trained with, what two differ in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ..parts.events import QUIET
from ..parts.fields import LiveRadio
from ..parts.fragments import notice
from ..parts.live_plot import LivePlot
from ..parts.scripted import event_values
from ..parts.sortable_table import SortableTable
from ..runs.results import Result, all_results, groups
from . import view
from .plane import plane_figure
from .result_table import build_result_table, result_rows

SECONDS = 3.0  # between looks at the files
SCROLL = "() => document.querySelector('#chosen').scrollIntoView({block: 'nearest', behavior: 'smooth'})"
Shown = dict[Any, Any]  # component → what it shows now; `gr.skip()` alone: all stays


@dataclass(frozen=True)
class CompareTab:
    """The tab's components, and what happens to them."""

    chosen: gr.State  # key of the chosen result, or None
    kept: gr.State  # of the one that it is compared with
    seen: gr.State  # what was shown last, see `_signature`; None: the tab was never opened
    group: LiveRadio
    said: gr.HTML
    chart: LivePlot
    card: gr.HTML
    load: gr.Button
    keep: gr.Button
    differs: gr.HTML
    table: SortableTable

    def connect(self, tab: gr.Tab) -> None:
        """Let clicks and the clock call the handlers."""
        state = [self.group, self.chosen, self.kept]
        outputs = list(vars(self).values())
        tab.select(self.refresh, state, outputs, **QUIET)
        gr.Timer(SECONDS).tick(self.look, [*state, self.seen], outputs, **QUIET)
        self.group.input(self.show_group, self.group, outputs, **QUIET)
        for event in (self.chart.mark_click, self.table.pick):
            event(self.pick, [self.group, self.kept], outputs, **QUIET).then(None, js=SCROLL, **QUIET)
        self.keep.click(self.keep_chosen, state, outputs, **QUIET)

    def refresh(self, group: Any, chosen: Any, kept: Any) -> Shown:
        """Everything the tab shows, from the files as they are now."""
        results = all_results()
        offered = groups(results)
        names = [name for _, name in offered]
        group = group if group in names else names[0] if names else None
        own = [result for result in results if result.group == group]
        one, other = _find(own, chosen), _find(own, kept)
        return {
            self.seen: _signature(results, group, chosen, kept),
            self.group: LiveRadio(choices=offered, value=group),
            self.said: view.headline(own),
            self.chart: plane_figure(own, one.key if one else None, other.key if other else None),
            self.card: view.chosen_card(one),
            self.load: gr.Button(interactive=one is not None),
            self.keep: gr.Button("Stop comparing" if other else "Compare with another", interactive=bool(one or other)),
            self.differs: view.difference(other, one),
            self.table: result_rows(own, one.key if one else None),
        }

    def look(self, group: Any, chosen: Any, kept: Any, seen: Any) -> Shown:
        """What a tick of the clock changes: nothing, unless the files did, or a click came before the last one was
        done."""
        if seen is None or seen == _signature(all_results(), group, chosen, kept):
            return gr.skip()
        return self.refresh(group, chosen, kept)

    def show_group(self, group: Any) -> Shown:
        """Results on other pictures, none of them chosen."""
        return {self.chosen: None, self.kept: None, **self.refresh(group, None, None)}

    def pick(self, event: gr.EventData, group: Any, kept: Any) -> Shown:
        """Choose the result that was clicked, in the chart or the table."""
        try:
            values = event_values(event)
        except ValueError as error:
            return {self.said: notice("", str(error))}
        key = values.get("key", values.get("mark"))
        return {self.chosen: key if isinstance(key, str) else None, **self.refresh(group, key, kept)}

    def keep_chosen(self, group: Any, chosen: Any, kept: Any) -> Shown:
        """Keep the chosen result to compare others with; if there is one already, stop comparing."""
        kept = None if kept else chosen
        return {self.kept: kept, **self.refresh(group, chosen, kept)}


def build(tab: gr.Tab) -> CompareTab:
    """Lay the tab out inside the current Blocks context and connect its events."""
    chosen, kept, seen = gr.State(None), gr.State(None), gr.State(None)
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
    built = CompareTab(chosen, kept, seen, group, said, chart, card, load, keep, differs, table)
    built.connect(tab)
    return built


def chosen_config(chosen: Any) -> dict[str, Any] | None:
    """All settings of the chosen result, for the form of Distill; None when it is gone."""
    result = _find(all_results(), chosen)
    return result.config.to_dict() if result else None


def _find(results: Sequence[Result], key: Any) -> Result | None:
    return next((result for result in results if result.key == key), None)


def _signature(results: Sequence[Result], group: Any, chosen: Any, kept: Any) -> list[Any]:
    """What the tab shows depends on nothing else."""
    return [group, chosen, kept, [[result.key, result.state, result.score] for result in results]]

"""Tab Compare: what memory buys as a curve, one memory result by result, what each part adds, and the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from ..parts.events import QUIET, connect
from ..parts.export_buttons import attach_exports
from ..parts.fields import LiveRadio
from ..parts.link_button import LinkButton
from ..parts.live_plot import LivePlot
from ..parts.scripted import SaveFiles
from ..runs.exports import KINDS
from . import curve, handlers, ladder, view
from .files import FORMATS
from .result_table import build_result_table
from .shown import example_of, scores_label

SECONDS = 3.0  # between looks at the files
SCROLL = "() => document.querySelector('#chosen').scrollIntoView({block: 'nearest', behavior: 'smooth'})"
ADDRESS = "(_, ...rest) => [location.hash, ...rest]"  # what the address says when the tab is opened
FIELDS = ("group", "by", "words", "peaks", "scores", "memory", "ticked")


@dataclass(frozen=True)
class CompareTab:
    """The components that the page connects to other tabs."""

    ticked: gr.State  # keys of the ticked results, the latest last
    load: gr.Button
    timer: gr.Timer  # off until the tab is seen


def build(tab: gr.Tab) -> CompareTab:
    """Lay the tab out inside the current Blocks context and connect its events."""
    # What was shown last, see `signature`; None: the tab was never opened.
    shown: dict[str, Any] = {"ticked": gr.State(()), "memory": gr.State(None), "seen": gr.State(None)}
    address = gr.Textbox(visible="hidden")
    with gr.Row(elem_classes="columns"):
        with gr.Column(min_width=300, elem_classes="controls"):
            shown |= _controls()
        with gr.Column(min_width=320, elem_classes="results"):
            shown |= _curve()
        with gr.Column(min_width=320, elem_classes="more"):
            shown |= _views()
    state = {name: shown[name] for name in FIELDS}
    connect(tab.select, handlers.open_tab, {"address": address, **state}, shown, js=ADDRESS, **QUIET)
    connect(shown["link"].opened, handlers.open_link, [], shown, **QUIET)
    timer = gr.Timer(SECONDS, active=False)
    given, outputs = {**state, "seen": shown["seen"]}, {**shown, "timer": timer}
    connect(timer.tick, handlers.look_while_runs_go, given, outputs, **QUIET)
    # Each click counts, or the answer to the first would take back the second.
    connect(shown["group"].input, handlers.show_group, state, shown, trigger_mode="multiple", **QUIET)
    connect(shown["by"].input, handlers.show_by, state, shown, trigger_mode="multiple", **QUIET)
    for name in ("words", "peaks", "scores"):  # whose input event hears no deletion
        connect(shown[name].change, handlers.refresh, state, shown, trigger_mode="always_last", **QUIET)
    connect(shown["memories"].input, handlers.choose_memory, {"memories": shown["memories"], **state}, shown, **QUIET)
    for event in (shown["curve"].mark_click, shown["dots"].mark_click, shown["ladder"].mark_click):
        connect(event, handlers.pick, state, shown, **QUIET).then(None, js=SCROLL, **QUIET)
    connect(shown["table"].pick, handlers.tick, state, shown, trigger_mode="multiple", **QUIET)
    connect(shown["curve"].zoom, handlers.zoom, state, shown, **QUIET)
    connect(shown["whole"].click, handlers.show_all, state, shown, **QUIET)
    connect(shown["untick"].click, handlers.untick, state, shown, **QUIET)
    exports, exported = shown.pop("exports"), shown.pop("exported")
    attach_exports(exports, exported, handlers.export_ticked, [shown["ticked"]])
    files = shown.pop("files")
    connect(files.ask, handlers.save, state, {"files": files, "said": shown["said"]}, **QUIET)
    return CompareTab(shown["ticked"], shown["load"], timer)


def _controls() -> dict[str, Any]:
    with gr.Column(elem_classes="card"):
        group = LiveRadio([], label="Results on", elem_id="groups", elem_classes="list")
    with gr.Column(elem_classes="card", elem_id="sight"):
        gr.HTML('<h3 class="card-title">Show only</h3>')
        words = gr.Textbox(label="Words in the name", placeholder="such as RED + KD", elem_id="words")
        peaks = gr.Textbox(label="Peak, KiB", placeholder=f"such as {example_of('peaks', ())}", elem_id="peaks")
        peaks_said = gr.HTML(elem_classes="field-said")
        scores = gr.Textbox(
            label=scores_label(True), placeholder=f"such as {example_of('scores', ())}", elem_id="scores"
        )
        scores_said = gr.HTML(elem_classes="field-said")
        with gr.Row(elem_classes="quiet-buttons"):
            whole = gr.Button("Show all", size="sm", elem_id="whole")
            link = LinkButton(tab="compare", elem_id="compare-link")
    with gr.Column(elem_classes="card"):
        card = gr.HTML(view.NOTHING_TICKED, elem_id="chosen")
        with gr.Row(elem_classes="quiet-buttons"):
            load = gr.Button("Load into Distill", size="sm", interactive=False, elem_id="load")
            untick = gr.Button("Untick", size="sm", interactive=False, elem_id="untick")
        exports = SaveFiles(KINDS, elem_id="compare-exports")
        exported = gr.HTML(elem_id="compare-exported")
    fields = {"group": group, "words": words, "peaks": peaks, "scores": scores}
    fields |= {"peaks_said": peaks_said, "scores_said": scores_said}
    shown = {"whole": whole, "link": link, "card": card, "load": load, "untick": untick}
    return {**fields, **shown, "exports": exports, "exported": exported}


def _curve() -> dict[str, Any]:
    said = gr.HTML(view.NO_RESULTS, elem_id="front-said")
    with gr.Column(elem_classes="card chart"):
        gr.HTML('<h3 class="card-title">What memory buys</h3>')
        by = LiveRadio([], label="Judged by", visible=False, elem_id="judged-by", elem_classes="pills")
        plot = LivePlot(height=curve.HEIGHT, label="Peak memory against test score", can_save=True, elem_id="plane")
        legend = gr.HTML(elem_id="curve-legend")
    return {"said": said, "by": by, "curve": plot, "legend": legend}


def _views() -> dict[str, Any]:
    differs = gr.HTML(elem_id="differs")
    with gr.Column(elem_classes="card chart"):
        gr.HTML('<h3 class="card-title">One memory, result by result</h3>')
        memories = LiveRadio([], label="Peak memory", elem_id="memory-of", elem_classes="pills")
        dots = LivePlot(height=200, label="Test score of every seed at one memory", can_save=True, elem_id="dots")
    with gr.Column(elem_classes="card chart", elem_id="parts") as parts:
        gr.HTML('<h3 class="card-title">What each part adds</h3>')
        plot = LivePlot(
            height=ladder.HEIGHT, label="Test score, one part more from left to right", can_save=True, elem_id="ladder"
        )
        text = gr.HTML(elem_id="ladder-said")
    with gr.Column(elem_classes="card"):
        table = build_result_table()
        files = SaveFiles({name: f"Save as {words}" for name, words in FORMATS.items()}, elem_id="save-results")
    views = {"differs": differs, "memories": memories, "dots": dots, "parts": parts, "ladder": plot, "steps": text}
    return {**views, "table": table, "files": files}

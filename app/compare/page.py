"""Tab Compare: what memory buys as a curve, one memory result by result, what each part adds, and the table."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ..parts.events import QUIET, UNSEEN, connect, refused_in
from ..parts.export_buttons import EXPORTING, told
from ..parts.fields import LiveRadio
from ..parts.fragments import notice
from ..parts.link_button import LinkButton
from ..parts.live_plot import LivePlot
from ..parts.scripted import SaveFiles, event_values, handed
from ..runs import jobs
from ..runs.exports import KINDS, export_results
from ..runs.result import Result, groups
from ..runs.results import all_results
from . import curve, ladder, view
from .dots import dots_figure
from .drawn import TITLES, figures_of, judged_by
from .files import FORMATS, export, file_name
from .result_table import build_result_table, result_rows
from .sight import NO_SPAN, Sight, ends_text, from_query, read, read_ends, read_span, to_query
from .ways import memory_titles, teacher_of

SECONDS = 3.0  # between looks at the files
MOST_MEMORIES = 40  # buttons
KIB = 2**10
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
    # What was shown last, see `_signature`; None: the tab was never opened.
    shown: dict[str, Any] = {"ticked": gr.State(()), "memory": gr.State(None), "seen": gr.State(None)}
    address, asked = gr.Textbox(visible="hidden"), gr.State(0)
    with gr.Row(elem_classes="columns"):
        with gr.Column(min_width=300, elem_classes="controls"):
            shown |= _controls()
        with gr.Column(min_width=320, elem_classes="results"):
            shown |= _curve()
        with gr.Column(min_width=320, elem_classes="more"):
            shown |= _views()
    state = {name: shown[name] for name in FIELDS}
    connect(tab.select, open_tab, {"address": address, **state}, shown, js=ADDRESS, **QUIET)
    connect(shown["link"].opened, open_link, [], shown, **QUIET)
    timer = gr.Timer(SECONDS, active=False)
    connect(timer.tick, _look_while_runs_go, {**state, "seen": shown["seen"]}, {**shown, "timer": timer}, **QUIET)
    connect(shown["group"].input, show_group, state, shown, **QUIET)
    connect(shown["by"].input, show_by, state, shown, **QUIET)
    for name in ("words", "peaks", "scores"):
        connect(shown[name].input, refresh, state, shown, trigger_mode="always_last", **QUIET)
    connect(shown["memories"].input, choose_memory, {"memories": shown["memories"], **state}, shown, **QUIET)
    for event in (shown["curve"].mark_click, shown["dots"].mark_click, shown["ladder"].mark_click):
        connect(event, pick, state, shown, **QUIET).then(None, js=SCROLL, **QUIET)
    connect(shown["table"].pick, tick, state, shown, trigger_mode="multiple", **QUIET)
    connect(shown["curve"].zoom, zoom, state, shown, **QUIET)
    connect(shown["whole"].click, show_all, state, shown, **QUIET)
    connect(shown["untick"].click, untick, state, shown, **QUIET)
    exports, exported = shown.pop("exports"), shown.pop("exported")
    exports.ask(None, None, exported, js=EXPORTING, **QUIET)
    outputs = {"exports": exports, "exported": exported}
    connect(exports.ask, export_ticked, [shown["ticked"]], outputs, concurrency_limit=2, **UNSEEN)
    files = shown.pop("files")
    connect(
        files.ask, save, {**state, "asked": asked}, {"files": files, "asked": asked, "said": shown["said"]}, **QUIET
    )
    return CompareTab(shown["ticked"], shown["load"], timer)


def _controls() -> dict[str, Any]:
    with gr.Column(elem_classes="card"):
        group = LiveRadio([], label="Results on", elem_id="groups", elem_classes="list")
    with gr.Column(elem_classes="card", elem_id="sight"):
        gr.HTML('<h3 class="card-title">Show only</h3>')
        words = gr.Textbox(label="Words in the name", placeholder="such as RED + KD", elem_id="words")
        peaks = gr.Textbox(label="Peak, KiB", placeholder="such as 48-128", elem_id="peaks")
        scores = gr.Textbox(label=_scores_label(True), placeholder="such as 70-80", elem_id="scores")
        with gr.Row(elem_classes="quiet-buttons"):
            whole = gr.Button("Show all", size="sm", elem_id="whole")
            link = LinkButton(tab="compare", elem_id="compare-link")
    with gr.Column(elem_classes="card"):
        card = gr.HTML(view.NOTHING_TICKED, elem_id="chosen")
        with gr.Row(elem_classes="quiet-buttons"):
            load = gr.Button("Load into Distill", size="sm", interactive=False, elem_id="load")
            untick = gr.Button("Untick", size="sm", interactive=False, elem_id="untick")
        exports = SaveFiles({kind: words for kind, (words, *_) in KINDS.items()}, elem_id="compare-exports")
        exported = gr.HTML(elem_id="compare-exported")
    fields = {"group": group, "words": words, "peaks": peaks, "scores": scores}
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


@refused_in("said")
def refresh(**fields: Any) -> dict[str, Any]:
    """Everything the tab shows but the filter's fields, which whoever types in them has as they should be."""
    results = all_results()
    return show(read_sight(results, **fields), results)


def read_sight(results: Sequence[Result], **fields: Any) -> Sight:
    """What the FIELDS ask for, in bytes and shares where the page has KiB and percent. ValueError for other ends."""
    unit = 100 if _is_share(results, fields.get("group")) else 1
    peaks = [None if end is None else round(end * KIB) for end in read_ends("Peaks", fields.get("peaks"), "48-128")]
    scores = [None if end is None else end / unit for end in read_ends("Scores", fields.get("scores"), "70-80")]
    values = [fields.get(name) for name in ("group", "by", "words", "memory", "ticked")]
    return settle(read(*values[:3], peaks, scores, *values[3:]), results)


def settle(sight: Sight, results: Sequence[Result]) -> Sight:
    """The sight with a group that there is, judged by what it has, and without ticked results that there are not."""
    names = [name for _, name in groups(results)]
    group = sight.group if sight.group in names else next(iter(names), None)
    own = [result for result in results if result.group == group]
    keys = {result.key for result in own}
    by = sight.by if sight.by in figures_of(own) else ""
    return dataclasses.replace(sight, group=group, by=by, ticked=tuple(key for key in sight.ticked if key in keys))


def show(sight: Sight, results: Sequence[Result], said: str = "") -> dict[str, Any]:
    """Everything the tab shows of a settled sight but the filter's fields; `said` stands above the headline."""
    own = [result for result in results if result.group == sight.group]
    ticked = [result for key in sight.ticked for result in own if result.key == key]
    offered = figures_of(own)
    return {
        "seen": _signature(results, sight),
        "ticked": sight.ticked,
        "memory": sight.memory,
        "group": gr.update(choices=groups(results), value=sight.group),
        "by": gr.update(choices=[(TITLES[name], name) for name in offered], value=sight.by, visible=len(offered) > 1),
        "whole": gr.update(interactive=sight.is_narrowed),
        "link": to_query(sight),
        "card": view.chosen_card(ticked[-1] if ticked else None),
        "load": gr.update(interactive=bool(ticked)),
        "untick": gr.update(interactive=bool(ticked)),
        "differs": view.difference(ticked),
        **_views_of(sight, own, said),
    }


def show_anew(sight: Sight, results: Sequence[Result], said: str = "") -> dict[str, Any]:
    """`show`, with the filter's fields as the sight has them."""
    is_share = _is_share(results, sight.group)
    scores = [None if end is None else 100 * end if is_share else end for end in sight.scores]
    fields = {
        "words": sight.words,
        "peaks": ends_text([None if end is None else end / KIB for end in sight.peaks]),
        "scores": gr.update(value=ends_text(scores), label=_scores_label(is_share, sight.by)),
    }
    return fields | show(sight, results, said)


def _scores_label(is_share: bool, by: str = "") -> str:
    return "Test accuracy, %" if is_share else TITLES[by]


def _is_share(results: Sequence[Result], group: Any) -> bool:
    return next((result.is_classifier for result in results if result.group == group), True)


def _views_of(sight: Sight, own: Sequence[Result], said: str) -> dict[str, Any]:
    """The views of one group's results."""
    judged = judged_by(own, sight.by)
    seen = [result for result in judged if sight.shows(result)]
    named_so = [result for result in judged if sight.has_words(result)]
    teacher = teacher_of(judged)
    named = _named(own, seen, teacher)
    peaks = _memories(seen, named)
    memory = sight.memory if sight.memory in peaks else named.peak_bytes if named else next(iter(peaks), None)
    if named and memory != named.peak_bytes:
        named = _named(own, [result for result in seen if result.peak_bytes == memory], None)
    chosen = ladder.choose_ladder(ladder.find_ladders(seen), memory, sight.ticked)
    titles = memory_titles(peaks)
    plane = curve.curve_figure(named_so, sight.ticked, sight.peaks, sight.scores)
    dots = dots_figure(seen, memory, sight.ticked, sight.scores, teacher)
    steps = ladder.ladder_figure(chosen, sight.ticked, teacher) if chosen else None
    return {
        "said": said + view.headline(seen, named, teacher),
        "curve": _titled(plane, "What memory buys", own, "curve"),
        "legend": view.legend(seen) + view.outside_text(curve.count_outside(plane), len(named_so)),
        "memories": gr.update(choices=[(title, peak) for peak, title in titles.items()], value=memory),
        "dots": _titled(dots, f"Peak {titles.get(memory, '')}", own, "memory"),
        "parts": gr.update(visible=chosen is not None),
        "ladder": _titled(steps, chosen.title if chosen else "", own, "parts"),
        "steps": view.ladder_text(chosen) if chosen else "",
        "table": result_rows(_as_they_are(own, seen), sight.ticked),
    }


def _named(own: Sequence[Result], seen: Sequence[Result], teacher: Result | None) -> Result | None:
    """What the headline names of the results in `seen` that have a score. It is chosen on validation pictures, whatever
    they are judged by."""
    scored = [result for result in seen if result.score is not None]
    found = view.headline_result(_as_they_are(own, scored), teacher)
    return next((result for result in scored if found and result.key == found.key), None)


def _as_they_are(own: Sequence[Result], seen: Sequence[Result]) -> list[Result]:
    """The results in `seen` by their test scores, whatever they are judged by."""
    keys = {result.key for result in seen}
    return [result for result in own if result.key in keys]


def _titled(figure: dict[str, Any] | None, title: str, own: Sequence[Result], file: str) -> dict[str, Any] | None:
    """A figure with what a saved picture of it carries."""
    if figure is None:
        return None
    return {**figure, "title": f"{own[0].group_title}: {title}" if own else title, "file": f"{file_name(own)}-{file}"}


def _memories(seen: Sequence[Result], named: Result | None) -> list[int]:
    """Peaks that can be chosen, rising: those of the most results where there are very many, the headline's always."""
    found = [result.peak_bytes for result in seen if result.score is not None]
    most = sorted(set(found), key=lambda peak: (named is None or peak != named.peak_bytes, -found.count(peak), peak))
    return sorted(most[:MOST_MEMORIES])


@refused_in("said")
def open_tab(address: Any, **fields: Any) -> dict[str, Any]:
    """What the address asks for; without a query in it what was shown before."""
    query = address.partition("?")[2] if isinstance(address, str) else ""
    return open_query(query) if query else refresh(**fields)


@refused_in("said")
def open_link(event: gr.EventData) -> dict[str, Any]:
    """What another address asks for, put in where the tab was open."""
    query = event_values(event).get("query")
    return open_query(query if isinstance(query, str) else "")


def open_query(query: str) -> dict[str, Any]:
    """What an address shows, and what of it is not here; what cannot be read is said above the results."""
    results = all_results()
    try:
        asked = from_query(query)
    except ValueError as error:
        return show_anew(settle(Sight(), results), results, notice("This address shows all results:", str(error)))
    sight = settle(asked, results)
    gone = [key for key in asked.ticked if key not in sight.ticked]
    gone = [asked.group] if asked.group and asked.group != sight.group else gone
    said = notice("Not here:", f"{', '.join(gone)[:200]}. Own runs are those of the machine that trained them.", "hint")
    return show_anew(sight, results, said if gone else "")


@refused_in("said")
def look(seen: Any, **fields: Any) -> dict[str, Any]:
    """What a tick of the clock changes: nothing, unless the files did, or a click came before the last one was
    done."""
    results = all_results()
    sight = read_sight(results, **fields)
    return {} if seen is None or seen == _signature(results, sight) else show(sight, results)


@functools.wraps(look)
def _look_while_runs_go(**values: Any) -> dict[str, Any]:
    """`look`, and the clock stops where no run goes, until the tab is chosen again."""
    goes = any(run.state in jobs.ALIVE for run in jobs.list_runs())  # before the results: its last one is among them
    return look(**values) | ({} if goes else {"timer": gr.Timer(active=False)})


@refused_in("said")
def show_group(group: Any, words: Any, **_: Any) -> dict[str, Any]:
    """Results on other pictures: all that have the words, none of them ticked."""
    results = all_results()
    return show_anew(read_sight(results, group=group, words=words), results)


@refused_in("said")
def show_by(**fields: Any) -> dict[str, Any]:
    """The results judged by another figure, whose range is another: no end of the one before stays."""
    results = all_results()
    return show_anew(read_sight(results, **fields | {"scores": ""}), results)


@refused_in("said")
def choose_memory(memories: Any, **fields: Any) -> dict[str, Any]:
    """Results of another memory, side by side."""
    return refresh(**fields | {"memory": memories})


@refused_in("said")
def pick(event: gr.EventData, **fields: Any) -> dict[str, Any]:
    """Tick the result whose mark was clicked, or untick it; its memory's results stand side by side."""
    key = event_values(event).get("mark")
    results = all_results()
    sight = read_sight(results, **fields)
    found = next((result for result in results if result.key == key and result.group == sight.group), None)
    if found is None:
        return show(sight, results)
    sight = sight.tick(found.key)
    memory = found.peak_bytes if found.key in sight.ticked else sight.memory
    return show(dataclasses.replace(sight, memory=memory), results)


@refused_in("said")
def tick(event: gr.EventData, **fields: Any) -> dict[str, Any]:
    """The rows that are ticked in the table."""
    ticked = event_values(event).get("ticked")
    return refresh(**fields | {"ticked": ticked})


@refused_in("said")
def untick(**fields: Any) -> dict[str, Any]:
    """Nothing ticked."""
    return refresh(**fields | {"ticked": ()})


@refused_in("said")
def zoom(event: gr.EventData, **fields: Any) -> dict[str, Any]:
    """The part of the curve that was dragged over; all of it after a double click."""
    values = event_values(event)
    results = all_results()
    sight = read_sight(results, **fields)
    x, y = (read_span(ends if isinstance(ends := values.get(axis), list) else ()) for axis in ("x", "y"))
    peaks = [None if end is None or end > 60 else 128 * round(2**end / 128) for end in x]
    scores = [None if end is None else round(end, 4) for end in y]
    sight = dataclasses.replace(
        sight,
        peaks=read_span(peaks) if "x" in values else NO_SPAN,
        scores=read_span(scores) if "y" in values else NO_SPAN,
    )
    return show_anew(sight, results)


@refused_in("said")
def show_all(**fields: Any) -> dict[str, Any]:
    """No filter and no zoom."""
    results = all_results()
    sight = read_sight(results, **fields)
    return show_anew(dataclasses.replace(sight, words="", peaks=NO_SPAN, scores=NO_SPAN), results)


@refused_in("said")
def save(event: gr.EventData, asked: Any, **fields: Any) -> dict[str, Any]:
    """The results in sight as a file in one of FORMATS."""
    results = all_results()
    sight = read_sight(results, **fields)
    own = [result for result in results if result.group == sight.group]
    seen = [result for result in judged_by(own, sight.by) if sight.shows(result)]
    file = export(_as_they_are(own, seen), event_values(event).get("save"))
    asked = asked + 1 if isinstance(asked, int) else 0
    return {"files": file | {"asked": asked}, "asked": asked}


@refused_in("exported")
def export_ticked(event: gr.EventData, ticked: Any) -> dict[str, Any]:
    """The networks of the ticked results as a file of a runtime, two in a zip file, and how they ran there."""
    known = {result.key for result in all_results()}
    keys = [key for key in ticked if key in known] if isinstance(ticked, (list, tuple)) else []
    made = export_results(keys, str(event_values(event).get("save")))
    return {"exports": handed(made.name, made.content), "exported": told(made.lines)}


def chosen_config(ticked: Any) -> dict[str, Any] | None:
    """All settings of the result that was ticked last, for the form of Distill; None when it is gone."""
    key = ticked[-1] if isinstance(ticked, (list, tuple)) and ticked else None
    result = next((result for result in all_results() if result.key == key), None)
    return result.config.to_dict() if result else None


def _signature(results: Sequence[Result], sight: Sight) -> list[Any]:
    """What the tab shows depends on nothing else."""
    return [sight, [(result.key, result.state, result.score) for result in results]]

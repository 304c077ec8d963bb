"""Everything the tab shows of the results in sight: headline, charts, table and the card of what is ticked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from ..parts.fragments import field_refusal
from ..runs.result import Result, groups
from . import curve, ladder, view
from .dots import dots_figure
from .drawn import TITLES, figures_of, judged_by
from .files import file_name
from .result_table import result_rows
from .sight import NO_SPAN, Sight, Span, ends_text, read, read_ends, to_query
from .ways import memory_titles, teacher_of

MOST_MEMORIES = 40  # buttons
KIB = 2**10
ENDS = {"peaks": "Peaks", "scores": "Scores"}  # fields of two ends, and what these are called


def read_sight(results: Sequence[Result], **fields: Any) -> Sight:
    """What the FIELDS ask for, in bytes and shares where the page has KiB and percent. Ends that are none leave nothing
    out: `refusals` says so at their field."""
    unit = 100 if _is_share(results, fields.get("group")) else 1
    peaks, scores = (_ends(name, results, fields)[0] for name in ENDS)
    peaks = [None if end is None else round(end * KIB) for end in peaks]
    scores = [None if end is None else end / unit for end in scores]
    values = [fields.get(name) for name in ("group", "by", "words", "memory", "ticked")]
    return settle(read(*values[:3], peaks, scores, *values[3:]), results)


def refusals(results: Sequence[Result], **fields: Any) -> dict[str, str]:
    """What is said at the fields of ends: why they leave nothing out, or nothing."""
    return {f"{name}_said": _ends(name, results, fields)[1] for name in ENDS}


def _ends(name: str, results: Sequence[Result], fields: Mapping[str, Any]) -> tuple[Span, str]:
    """The ends in a field, and what is said there."""
    try:
        return read_ends(ENDS[name], fields.get(name), example_of(name, results, fields.get("group"))), ""
    except ValueError as error:
        return NO_SPAN, field_refusal(f"{error} Until then none is left out.")


def example_of(name: str, results: Sequence[Result], group: Any = None) -> str:
    """Two ends for a field, of KiB, percent or what a group is judged by: "48-128"."""
    if name == "peaks":
        return "48-128"
    if _is_share(results, group):
        return "70-80"
    found = [result.score for result in results if result.group == group and result.score is not None] or [0.1, 0.2]
    return f"{min(found):.2g}-{max(found):.2g}"


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
        "seen": signature(results, sight),
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
        "scores": gr.update(
            value=ends_text(scores),
            label=scores_label(is_share, sight.by),
            placeholder=f"such as {example_of('scores', judged_by(results, sight.by), sight.group)}",
        ),
    }
    return fields | refusals(results) | show(sight, results, said)


def scores_label(is_share: bool, by: str = "") -> str:
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
        "said": said + view.headline(seen, named, teacher, len(own)),
        "curve": _titled(plane, "What memory buys", own, "curve"),
        "legend": view.legend(seen) + view.outside_text(curve.count_outside(plane), len(named_so)),
        "memories": gr.update(choices=[(title, peak) for peak, title in titles.items()], value=memory),
        "dots": _titled(dots, f"Peak {titles.get(memory, '')}", own, "memory"),
        "parts": gr.update(visible=chosen is not None),
        "ladder": _titled(steps, chosen.title if chosen else "", own, "parts"),
        "steps": view.ladder_text(chosen) if chosen else "",
        "table": result_rows(as_they_are(own, seen), sight.ticked),
    }


def _named(own: Sequence[Result], seen: Sequence[Result], teacher: Result | None) -> Result | None:
    """What the headline names of the results in `seen` that have a score. It is chosen on validation pictures, whatever
    they are judged by."""
    scored = [result for result in seen if result.score is not None]
    found = view.headline_result(as_they_are(own, scored), teacher)
    return next((result for result in scored if found and result.key == found.key), None)


def as_they_are(own: Sequence[Result], seen: Sequence[Result]) -> list[Result]:
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


def signature(results: Sequence[Result], sight: Sight) -> list[Any]:
    """What the tab shows depends on nothing else."""
    return [sight, [(result.key, result.state, result.score) for result in results]]

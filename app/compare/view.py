"""The texts and the difference table of Compare as HTML. Whatever comes from outside is escaped here."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from html import escape

from ..runs.result import Result, counted
from ..words import numbers
from ..words.settings import figure_rows, row_label, run_sentences, setting_rows
from .drawn import QUALITY, quality_of, quality_text
from .ladder import Ladder, change_text, is_within_seeds
from .result_table import MEANS
from .ways import (
    METHODS,
    STRIDES,
    SYMBOLS,
    chosen_on_validation,
    each_setting,
    kind_of,
    learning_title,
    method_of,
    place_title,
    range_text,
    score_name,
    score_of,
    score_text,
)

NO_RESULTS = (
    '<p class="headline">Nothing to compare yet.</p><p class="subline">Train a network on the Distill tab; it '
    "appears here with its first validation.</p>"
)
NONE_IN_SIGHT = (
    '<p class="headline">{none} is in sight.</p><p class="subline">Other words, a wider range or “Show all” brings '
    "results back.</p>"
)
NOTHING_TICKED = (
    '<h3 class="card-title">No result ticked</h3><p class="subline">Click a mark or tick a row to see how it was '
    "trained; tick two to see what differs.</p>"
)
_SIGNS = {
    "square": "■",
    "circle": "●",
    "triangle-up": "▲",
    "diamond": "◆",
    "hexagon": "⬢",
    "hexagon2": "⬣",
    "star": "★",
}


def headline_result(results: Sequence[Result], teacher: Result | None) -> Result | None:
    """The setting that the headline names: the best on validation within a quarter of the teacher's memory.

    Where none is that small, within half of it, else of all students.
    """
    students = [result for result in results if not result.is_teacher and not result.has_own_strides]
    limits = [teacher.peak_bytes / parts for parts in (4, 2, 1)] if teacher else []
    for limit in limits:
        found = chosen_on_validation([result for result in students if result.peak_bytes <= limit])
        if found:
            return found
    return chosen_on_validation(students or results)


def headline(results: Sequence[Result], named: Result | None, teacher: Result | None, count: int) -> str:
    """What one gets, in a sentence: the mean on test pictures of the setting `named`, beside the teacher.

    results: those in sight, of `count` that there are.
    """
    if not results:
        none = f"None of the {count} results here" if count > 1 else "No result"
        return NONE_IN_SIGHT.format(none=none) if count else NO_RESULTS
    if named is None:
        return '<p class="headline">No result in sight has figures on both validation and test pictures yet.</p>'
    what = score_name(named) + ("" if named.is_better_high else " (lower is better)")
    text = f"A peak of <strong>{numbers.format_bytes(named.peak_bytes)}</strong> reaches "
    text += f"<strong>{score_text(named)}</strong> {what}"
    if teacher and teacher.key != named.key:
        ratio = numbers.format_ratio(teacher.peak_bytes, named.peak_bytes)
        text += (
            f"; the teacher needs {numbers.format_bytes(teacher.peak_bytes)}, "
            f'<strong class="ratio">{ratio}</strong> as much, and reaches <strong>{score_of(teacher)}</strong>'
        )
    others = sum(one.peak_bytes == named.peak_bytes and one.is_tested for one in each_setting(results)) - 1
    among = f"the best of {others + 1} settings with this memory" if others else "the only setting with this memory"
    how = "chosen on validation pictures" if others else ""
    said = f"{escape(place_title(named))}, {escape(learning_title(named))}: {range_text(named)}; {among}"
    return f'<p class="headline">{text}.</p><p class="subline">{said[:1].upper()}{said[1:]}{", " * bool(how)}{how}.</p>'


def legend(results: Sequence[Result]) -> str:
    """What the colours and marks mean, of those that there are."""
    methods = {method_of(result) for result in results}
    kinds = {kind_of(result) for result in results if not result.is_teacher}
    colours = "".join(
        f'<span class="nowrap"><i class="swatch" style="background:{colour}"></i>{method}</span> '
        for method, colour in METHODS.items()
        if method in methods
    )
    marks = "".join(
        f'<span class="nowrap">{_SIGNS[symbol]} {kind}</span> ' for kind, symbol in SYMBOLS.items() if kind in kinds
    )
    return (
        f'<p class="legend">{colours}</p><p class="legend">{marks * (kinds != {STRIDES})}</p>'
        '<p class="subline">Lines join the best settings of each way, by validation; bars span the seeds; hollow marks '
        'are not tested yet. <span class="for-pointer">Drag to zoom, double-click to see all.</span></p>'
    )


def outside_text(out: int, total: int) -> str:
    """How many results the axes of the curve leave out."""
    if not out:
        return ""
    lie = "lies" if out == 1 else "lie"
    return f'<p class="subline">{out} of {total} {lie} outside; the table has all.</p>'


def ladder_text(ladder: Ladder) -> str:
    """The steps in words: what each adds, at how many parameters, and whether that is more than chance."""
    lines = []
    for (_, before), (name, after) in itertools.pairwise(ladder.steps):
        unit = " points" if after.is_classifier else f" of {QUALITY.get(after.judged_by, 'loss')}"
        more = after.figures.get("parameters", 0) - before.figures.get("parameters", 0)
        cost = f" for {numbers.format_count(more)} more parameters" if more > 0 else ""
        within = is_within_seeds(before, after)
        doubt = {True: " (the seeds differ as much)", None: " (one seed: may be chance)"}.get(within, "")
        lines.append(f"<strong>{escape(name)}</strong> {change_text(before, after)}{unit}{cost}{doubt}")
    return f'<p class="subline">{escape(ladder.title)}: {"; ".join(lines)}.</p>'


def chosen_card(result: Result | None) -> str:
    """A result's figures and settings in words."""
    if result is None:
        return NOTHING_TICKED
    student = result.config.student
    peak = f"Peak {numbers.format_bytes(result.peak_bytes)}"
    if not result.has_own_strides:
        before = counted(dataclasses.replace(student, architecture=None, strides={}, red=None)).teacher.peak_bytes
        ratio = numbers.format_ratio(before, result.peak_bytes)
        peak += f", its teacher {numbers.format_bytes(before)}: <strong>{ratio}</strong>"
    sentences = "".join(f"<li>{escape(text)}</li>" for text in run_sentences(result.config, result.seeds))
    origin = result.origin if result.is_tested else f"{result.origin}, {result.state}"
    drawn = "".join(f"{title} {quality_text(result, name)}. " for name, title in QUALITY.items() if quality_of(result))
    return (
        f'<h3 class="card-title">{escape(result.title)} <span>{escape(origin)}</span></h3>'
        f'<p class="result"><strong>{escape(score_text(result))}</strong> {_score_name(result)}</p>'
        f'<p class="subline">{peak}</p><p class="subline">{drawn}</p><ul class="settings">{sentences}</ul>'
    )


def difference(ticked: Sequence[Result]) -> str:
    """Two results row by row, only what differs; a hint while only one is ticked."""
    if not ticked:
        return ""
    one, other = ticked[0], ticked[-1]
    if one is other:
        return (
            f'<section class="card"><h3 class="card-title">Compare with {escape(one.title)}</h3>'
            '<p class="subline">Tick another result in a chart or the table.</p></section>'
        )
    body = _rows(_figures(one), _figures(other)) + _rows(_settings(one), _settings(other), " class='first'")
    averaged = " " + MEANS if max(len(one.seeds), len(other.seeds)) > 1 else ""
    return (
        '<section class="card"><h3 class="card-title">What differs</h3><div class="scroll">'
        '<table class="facts difference"><thead><tr><th scope="col">Figure or setting</th>'
        f'<th scope="col">{escape(one.title)}</th><th scope="col">{escape(other.title)}</th></tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
        f'<p class="subline">Everything else is the same in both.{averaged}</p></section>'
    )


def _rows(before: dict[str, str], after: dict[str, str], first: str = "") -> str:
    labels = [label for label in {**before, **after} if before.get(label) != after.get(label)]
    return "".join(
        f"<tr{first if i == 0 else ''}><th scope='row'>{escape(label)}</th>"
        f"<td>{escape(before.get(label, '–'))}</td><td>{escape(after.get(label, '–'))}</td></tr>"
        for i, label in enumerate(labels)
    )


def _figures(result: Result) -> dict[str, str]:
    figures = figure_rows(result.figures)
    if result.is_tested and len(result.scores) > 1:
        figures["Test accuracy" if result.is_classifier else "Test loss of the prediction"] = score_text(result)
    macs = {"MACs, with RED blocks": numbers.format_count(result.macs)} if result.macs else {}
    drawn = {
        title[:1].upper() + title[1:]: quality_text(result, name)
        for name, title in QUALITY.items()
        if quality_of(result)
    }
    return {"Peak activation memory": numbers.format_bytes(result.peak_bytes)} | macs | drawn | figures


def _settings(result: Result) -> dict[str, str]:
    rows = setting_rows(dataclasses.asdict(result.config))
    return rows | {row_label("seed"): ", ".join(map(str, result.seeds))}


def _score_name(result: Result) -> str:
    name = "accuracy" if result.is_classifier else "loss of the prediction"
    return f"test {name}" if result.is_tested else "" if result.score is None else f"best validation {name} so far"

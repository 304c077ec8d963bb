"""The texts and the difference table of Compare as HTML. Whatever comes from outside is escaped here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from html import escape

from redistill.networks.student import StudentConfig

from ..runs.results import Result, pareto_front, peak_bytes
from ..words import numbers
from ..words.settings import figure_rows, run_sentences, setting_rows
from .plane import COLOURS, score_text
from .result_table import MEANS, seed_row

NO_RESULTS = (
    '<p class="headline">Nothing to compare yet.</p><p class="subline">Train a network on the Distill tab; it '
    "appears here with its first validation.</p>"
)
NOTHING_CHOSEN = (
    '<h3 class="card-title">No result chosen</h3><p class="subline">Click a point of the chart or a row of the '
    "table to see how it was trained.</p>"
)


def headline(results: Sequence[Result]) -> str:
    """What the plane shows, in a sentence: the teacher, and the best network of the front in half its memory.

    Where none is that small, the smallest: it is the nearest to what one came for.
    """
    front = pareto_front(results)
    teachers = [result for result in results if result.is_teacher and result.is_tested]
    if not front:
        return NO_RESULTS if not results else '<p class="headline">No result has a test figure yet.</p>'
    teacher = min(teachers, key=_cost, default=None)
    small = [result for result in front if teacher and 2 * result.peak_bytes <= teacher.peak_bytes]
    named = small[-1] if small else front[0]  # by rising memory, so by rising score too
    text = f"A peak of <strong>{numbers.format_bytes(named.peak_bytes)}</strong> reaches {_score(named)}"
    if teacher and teacher.key != named.key:
        ratio = numbers.format_ratio(teacher.peak_bytes, named.peak_bytes)
        number = _score(teacher).partition("</strong>")[0] + "</strong>"
        text += (
            f"; the teacher needs {numbers.format_bytes(teacher.peak_bytes)}, "
            f'<strong class="ratio">{ratio}</strong> as much, and reaches {number}'
        )
    beaten = sum(result.is_tested for result in results) - len(front)
    others = " For each of the others there is one as small and better." if beaten else ""
    return (
        f'<p class="headline">{text}.</p><p class="subline">{len(front)} of {len(front) + beaten} tested results '
        f"{'stand' if len(front) > 1 else 'stands'} on the front.{others}</p>"
    )


def legend() -> str:
    """How to read the marks."""
    kinds = "".join(
        f'<span class="nowrap"><i class="swatch" style="background:{colour}"></i>{kind}</span> '
        for kind, colour in COLOURS.items()
    )
    return (
        f'<p class="legend">{kinds}</p><p class="subline">Circles are own runs, squares ready-made ones, diamonds '
        "networks at their own strides, hexagons other networks than the teacher’s; those of one memory make room for "
        "each other sideways. Pale: another is as small and better. Hollow: not tested yet. Triangles lie beyond the "
        "axis. The dotted line is the Pareto front. Drag up or down to zoom in, double-click to zoom out; a row of the "
        "table under the pointer is shown in the chart.</p>"
    )


def chosen_card(result: Result | None) -> str:
    """A result's figures and settings in words."""
    if result is None:
        return NOTHING_CHOSEN
    student = result.config.student
    teacher = StudentConfig(student.teacher, student.image_size, student.num_classes, student.teacher_strides, red=None)
    peak = f"Peak {numbers.format_bytes(result.peak_bytes)}"
    if not result.has_own_strides:
        before = peak_bytes(teacher)
        ratio = numbers.format_ratio(before, result.peak_bytes)
        peak += f", its teacher {numbers.format_bytes(before)}: <strong>{ratio}</strong>"
    sentences = "".join(f"<li>{escape(text)}</li>" for text in run_sentences(result.config, result.seeds))
    origin = result.origin if result.is_tested else f"{result.origin}, {result.state}"
    return (
        f'<h3 class="card-title">{escape(result.title)} <span>{escape(origin)}</span></h3>'
        f'<p class="result">{_strong(score_text(result))}</p><p class="subline">{peak}</p>'
        f'<ul class="settings">{sentences}</ul>'
    )


def difference(kept: Result | None, chosen: Result | None) -> str:
    """Two results row by row, only what differs; a hint while only one of them is chosen."""
    if kept is None:
        return ""
    if chosen is None or chosen.key == kept.key:
        return (
            f'<section class="card"><h3 class="card-title">Compare with {escape(kept.title)}</h3>'
            '<p class="subline">Choose another result in the chart or the table.</p></section>'
        )
    body = _rows(_figures(kept), _figures(chosen)) + _rows(_settings(kept), _settings(chosen), " class='first'")
    averaged = " " + MEANS if max(len(kept.seeds), len(chosen.seeds)) > 1 else ""
    return (
        '<section class="card"><h3 class="card-title">What differs</h3><div class="scroll">'
        '<table class="facts difference"><thead><tr><th><span class="sr-only">Setting</span></th>'
        f"<th>{escape(kept.title)}</th><th>{escape(chosen.title)}</th></tr></thead><tbody>{body}</tbody></table></div>"
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
    if result.is_tested and len(result.seeds) > 1:
        figures["Test accuracy"] = score_text(result).removesuffix(" test accuracy")
    return {"Peak activation memory": f"{numbers.format_bytes(result.peak_bytes)}"} | figures


def _settings(result: Result) -> dict[str, str]:
    rows = setting_rows(dataclasses.asdict(result.config))
    return rows | seed_row(result)


def _score(result: Result) -> str:
    return _strong(score_text(result))


def _strong(text: str) -> str:
    """The figure itself in bold, its name after it."""
    for name in (" test ", " best "):
        if name in text:
            number, rest = text.split(name, 1)
            return f"<strong>{escape(number)}</strong>{name}{escape(rest)}"
    return escape(text)


def _cost(result: Result) -> float:
    return -result.score if result.is_classifier else result.score

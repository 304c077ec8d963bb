"""The front of memory against measured accuracy, of a network that was trained for all strides: rows and a drawing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from redistill.memory.search import Candidate, search_strides
from redistill.training.shared_weights import Point, SharedWeights, front_of, measure, measured, points_of
from redistill.training.stride_store import key_of

from ..parts.counting import check_counting
from ..words.numbers import format_bytes, format_kib, format_percent, format_ratio
from ..words.settings import dataset_title
from . import search_table
from .link import Settings, to_query

WIDTH, HEIGHT, EDGE = 460, 200, 34  # of the drawing, in its own pixels


def fill(shared: SharedWeights, pictures: int) -> Iterator[tuple[int, int]]:
    """Measure the choices of its space that are not known yet; yields how many are, and of how many, before each."""
    candidates = shared.space.candidates
    known = measured(shared)
    for number, candidate in enumerate(candidates):
        if key_of(candidate.strides) not in known:
            yield number, len(candidates)
            measure(shared, candidate.strides, pictures)


def show(shared: SharedWeights, settings: Settings) -> str:
    """The sentence, the drawing and the rows, each a link to its settings, the budget among them.

    `settings` have the RED blocks of the weights.
    """
    student = settings.student
    counted = {"dtype": settings.dtype, "batch": settings.batch, **check_counting(settings.accounting).settings}
    counted |= {"red": student.red, "alignment": student.alignment, "room": settings.room}
    found = search_strides(shared.tape, student.image_size, **counted)
    points = points_of(shared, found.candidates)
    front = front_of(points)
    budget = settings.budget_bytes
    fitting = [point for point in front if budget is None or point[0].fits(budget)]
    best = fitting[-1] if fitting else None
    rows = "".join(_row(point, found.teacher, settings, point is best) for point in front)
    return (
        f'<p class="student" role="status">{_sentence(points, best, settings)}</p>{_drawing(points, front, budget)}'
        '<div class="scroll front-rows"><table class="facts numbers front"><thead><tr><th>Strides</th><th>Needs</th>'
        '<th title="how many times less than the network’s own">Ratio</th><th>Accuracy</th><th>95 %</th>'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
        f'<p class="subline">{_told(shared, points)}</p>'
    )


def _sentence(points: list[Point], best: Point | None, settings: Settings) -> str:
    budget, (least, _) = settings.budget_bytes, points[0]
    if best is None and not least.weights_fit:
        where = search_table.weights_where(settings.room)
        taken = format_bytes(least.stored_bytes)
        return f"None of {len(points)} measured stride settings fits{where}: these take {taken} at any strides."
    if best is None:
        most = f"{format_kib(budget)}; the least is {format_bytes(least.needed_bytes)}"
        return f"None of {len(points)} measured stride settings fits {most}."
    where = f"Within {format_kib(budget)}" if budget else "Of all"
    return (
        f"{where} the best of {len(points)} measured stride settings has {format_percent(best[1].accuracy)} at "
        f"{format_bytes(best[0].needed_bytes)}."
    )


def _row(point: Point, teacher: Candidate, settings: Settings, is_best: bool) -> str:
    candidate, one = point
    student = dataclasses.replace(settings.student, strides=candidate.strides)
    query = escape(to_query(dataclasses.replace(settings, student=student)))
    named = ", ".join(f"{name} {stride}" for name, stride in candidate.strides.items())
    low, high = one.interval
    cells = [
        f'<button type="button" class="plain" title="{escape(named)}">'
        f"{'·'.join(map(str, candidate.strides.values()))}</button>",
        f'<span class="nowrap">{format_bytes(candidate.needed_bytes)}</span>',
        format_ratio(teacher.needed_bytes, candidate.needed_bytes),
        format_percent(one.accuracy),
        f"{100 * low:.1f}–{100 * high:.1f}",
    ]
    kind = ' class="best"' if is_best else ""
    return f'<tr data-act="open" data-query="{query}"{kind}>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _drawing(points: list[Point], front: list[Point], budget: int | None) -> str:
    """All measured choices as dots, the front as a line, the budget as a bar; memory to the right, accuracy up."""
    peaks = [candidate.needed_bytes for candidate, _ in points]
    shares = [one.accuracy for _, one in points]
    low, high, most = min(shares), max(shares), max(peaks)
    tall = (high - low) or 1

    def place(peak: float, share: float) -> tuple[float, float]:
        return EDGE + (WIDTH - 2 * EDGE) * peak / most, HEIGHT - EDGE - (HEIGHT - 1.6 * EDGE) * (share - low) / tall

    def dot(point: Point) -> str:
        candidate, one = point
        x, y = place(candidate.needed_bytes, one.accuracy)
        kind = "on" if point in front else "off"
        said = f"{'·'.join(map(str, candidate.strides.values()))}: {format_percent(one.accuracy)}"
        return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{said}</title></circle>'

    line = " ".join("{:.1f},{:.1f}".format(*place(c.needed_bytes, one.accuracy)) for c, one in front)
    base = HEIGHT - EDGE
    marks = [
        (EDGE - 4, place(0, low)[1] + 4, "end", f"{100 * low:.0f} %"),
        (EDGE - 4, place(0, high)[1] + 4, "end", f"{100 * high:.0f} %"),
        (WIDTH - EDGE, base + 18, "end", format_bytes(most)),
        (EDGE, base + 18, "start", "0 KiB"),
    ]
    texts = "".join(f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{side}">{said}</text>' for x, y, side, said in marks)
    bar = ""
    if budget and budget < most:
        x = place(budget, low)[0]
        bar = f'<line class="budget" x1="{x:.1f}" x2="{x:.1f}" y1="8" y2="{base}"/>'
    return (
        f'<svg class="accuracy-front" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Measured accuracy against '
        f'peak memory"><path d="M{EDGE} 8V{base}H{WIDTH - EDGE}"/>{bar}<polyline points="{line}"/>'
        f"{''.join(map(dot, points))}{texts}</svg>"
    )


def _told(shared: SharedWeights, points: list[Point]) -> str:
    counts: Mapping[int, Any] = dict.fromkeys(sorted({one.count for _, one in points}))
    pictures = " to ".join(f"{count:,}" for count in [*counts][:: max(1, len(counts) - 1)])
    blocks = "with its RED blocks" if shared.metadata.student.red else "without RED blocks"
    return (
        f"Accuracy of {escape(shared.name)}, {blocks}, on {pictures} validation pictures of "
        f"{escape(dataset_title(shared.metadata.dataset))}: one set of weights for all. The best of many looks better "
        "than it is: its 95 % say by how much. Click a row to see it above."
    )

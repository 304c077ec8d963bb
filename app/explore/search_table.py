"""What a search found, as a sentence, rows that are links, and a CSV file. Whatever comes from outside is escaped."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from html import escape

from redistill.memory.patch_search import MOST_OVERHEAD, PatchedCandidate
from redistill.memory.search import Candidate, SearchResult
from redistill.networks.zoo import find_network

from ..words.numbers import format_added, format_bytes, format_duration, format_pixels, format_ratio
from .link import Settings, to_query

KIB = 2**10
# What a budget is compared with, by the way of counting.
_ARENA = "the arena that a runtime plans (of two greedy plans the smaller)"
NEEDS = {
    "fused": _ARENA,
    "fused-add": _ARENA,
    "executorch": "the arena that ExecuTorch plans, and the input",
    "onnxruntime": "the peak: onnxruntime allocates as it goes",
    "eager": "the peak: PyTorch allocates as it goes",
}
_HEAD = (
    '<th>Strides</th>{patches}<th title="what fits: {needs}">Needs</th>'
    '<th title="how many times less than the teacher">Ratio</th>'
    '<th title="of the teacher’s MACs, RED blocks left out">MACs kept</th>'
    '<th title="what {adds}, of the teacher’s MACs">{title}</th>'
)


def result(found: SearchResult, settings: Settings, patched: Sequence[PatchedCandidate] | None = None) -> str:
    """The answer in one sentence, the front below it, what fits with patches where that was searched, and what was."""
    budget = settings.budget_bytes
    rows = found.within(found.teacher.needed_bytes)
    fitting = [candidate for candidate in rows if budget is not None and candidate.needed_bytes <= budget]
    best = fitting[-1] if fitting else None
    table = "".join(_row(candidate, found.teacher, settings, budget, candidate is best) for candidate in rows)
    head = _HEAD.format(patches="", needs=NEEDS[settings.accounting], adds="RED blocks compute", title="RED adds")
    head += "" if budget is None else "<th>Fits</th>"
    with_patches = patched_rows(found, settings, patched)
    return (
        f'<p class="student" role="status">{_sentence(found, best, budget, len(fitting))}</p>'
        f'<div class="scroll front-rows">{_table(head, table)}</div>'
        f'{with_patches}<p class="subline">{_searched(found, settings)}</p>'
    )


def _table(head: str, rows: str) -> str:
    return f'<table class="facts numbers stacked front"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _sentence(found: SearchResult, best: Candidate | None, budget: int | None, shown: int) -> str:
    """How many fit, and how many of these stand below: `shown`, each of which keeps more than all that need less."""
    tried = f"{found.tried:,} stride settings"
    least = f"the least that any needs is {format_bytes(found.candidates[0].needed_bytes)}"
    if budget is None:
        return f"Of {tried}, {least}."
    fitting = sum(candidate.needed_bytes <= budget for candidate in found.candidates)
    if not fitting:
        return f"None of {tried} fits {budget / KIB:,g} KiB; {least}."
    said = f"{fitting:,} of {tried} {'fits' if fitting == 1 else 'fit'} {budget / KIB:,g} KiB"
    if not best:
        return f"{said}."
    kept = _kept(best, found.teacher)
    return f"{said}; the best keeps {kept} of the teacher’s MACs. Below: {shown:,} best of {fitting:,} that fit."


def _row(candidate: Candidate, teacher: Candidate, settings: Settings, budget: int | None, is_best: bool) -> str:
    added = f"{100 * (candidate.macs - candidate.bare_macs) / teacher.macs:.0f} %" if settings.student.red else "–"
    cells = {
        "Needs": _needed(candidate.needed_bytes, candidate.peak_bytes),
        "Ratio": format_ratio(teacher.needed_bytes, candidate.needed_bytes),
        "MACs kept": _kept(candidate, teacher),
        "RED adds": added,
    }
    if budget is not None:
        fits = candidate.needed_bytes <= budget
        cells["Fits"] = "yes" if fits else '<span class="misses">no</span>'
    return _linked(candidate, dataclasses.replace(settings, patch=None), cells, is_best)


def _linked(candidate: Candidate, settings: Settings, cells: Mapping[str, str], is_best: bool) -> str:
    """A row that opens the strides of a candidate at these settings; `cells` by the words above them."""
    student = dataclasses.replace(settings.student, strides=candidate.strides)
    query = escape(to_query(dataclasses.replace(settings, student=student)))
    strides = "·".join(str(stride) for stride in candidate.strides.values())
    first = f'<button type="button" class="plain" title="{escape(_named(candidate))}">{strides}</button>'
    kind = ' class="best"' if is_best else ""
    body = "".join(f'<td data-title="{title}">{cell}</td>' for title, cell in cells.items())
    return f'<tr data-act="open" data-query="{query}"{kind}><td>{first}</td>{body}</tr>'


def patched_rows(found: SearchResult, settings: Settings, patched: Sequence[PatchedCandidate] | None) -> str:
    """What fits the budget where the first layers are computed in patches, each for more computation than the last."""
    if patched is None:
        return ""
    most = f"for at most {100 * MOST_OVERHEAD:.0f} % more computation"
    if not patched:
        return f'<p class="student">Nothing more fits patch by patch, {most}.</p>'
    alive = "what is alive, since no runtime plans patches"
    head = _HEAD.format(patches="<th>Patches</th>", needs=alive, adds="patches compute twice", title="Patches add")
    rows = "".join(_patched_row(row, found.teacher, settings) for row in patched)
    return (
        f'<p class="student">Patch by patch, {most}, {len(patched)} of what fits keep more and more:</p>'
        f'<div class="scroll front-rows">{_table(head, rows)}</div>'
    )


def _patched_row(row: PatchedCandidate, teacher: Candidate, settings: Settings) -> str:
    patch = (row.patched.upto, row.patched.grid) if row.patched else None
    own = row.candidate is teacher or row.candidate.strides == teacher.strides
    student = dataclasses.replace(settings.student, red=None) if own else settings.student  # as it is, without blocks
    cells = {
        "Patches": f"<code>{escape(patch[0])}</code> {patch[1]}×{patch[1]}" if patch else "none",
        "Needs": _needed(row.needed_bytes, row.peak_bytes),
        "Ratio": format_ratio(teacher.needed_bytes, row.needed_bytes),
        "MACs kept": _kept(row.candidate, teacher),
        "Patches add": format_added(row.overhead),
    }
    return _linked(row.candidate, dataclasses.replace(settings, student=student, patch=patch), cells, False)


def _needed(count: int, peak: int) -> str:
    """In KiB, as the memory to fit is given; on a mouse's rest what is alive of it."""
    return f'<span class="nowrap" title="peak {format_bytes(peak, KIB)} alive">{format_bytes(count, KIB)}</span>'


def _named(candidate: Candidate) -> str:
    return ", ".join(f"{name} {stride}" for name, stride in candidate.strides.items())


def _kept(candidate: Candidate, teacher: Candidate) -> str:
    """The network's own MACs as a share of the teacher's; RED blocks compute besides."""
    return f"{100 * candidate.bare_macs / teacher.macs:.0f} %"


def _searched(found: SearchResult, settings: Settings) -> str:
    student = settings.student
    refused = f"{found.refused:,} do not fit the image. " if found.refused else ""
    refused += f"{found.captured:,} were captured anew. " if found.captured else ""
    blocks = "with RED blocks" if student.red else "without RED blocks"
    return (
        f"{escape(find_network(student.teacher).title)}, {format_pixels(student.image_size)}, {blocks}, "
        f"{settings.accounting}, {settings.dtype}; what fits is {NEEDS[settings.accounting]}. {refused}"
        f"Searched in {format_duration(found.seconds)}. Click a row "
        "to see it above. MACs stand in for the accuracy that can be kept; they are no promise of it."
    )


def csv_text(found: SearchResult, settings: Settings, patched: Sequence[PatchedCandidate] | None = None) -> str:
    """All choices of strides as CSV, the least need first, and after them those with patches; in bytes and MACs."""
    file, points, budget = io.StringIO(), list(found.teacher.strides), settings.budget_bytes
    rows = csv.writer(file, lineterminator="\n")
    facts = [
        "needed_bytes",
        "peak_bytes",
        "peak_bytes_without_red",
        "peak_layer",
        "macs",
        "macs_without_red",
        "fits",
        "best",
    ]
    rows.writerow([*points, *facts, "patches_to", "patches_a_side", "patches_add"])
    best = {id(candidate) for candidate in found.front}
    for row in [*(PatchedCandidate(c, None) for c in found.candidates), *(row for row in patched or () if row.patched)]:
        found_row, patch = row.candidate, row.patched
        fits = "" if budget is None else "yes" if row.needed_bytes <= budget else "no"
        kept = "yes" if patch or id(found_row) in best else "no"
        macs = patch.macs if patch else found_row.macs
        numbers = [
            row.needed_bytes,
            row.peak_bytes,
            found_row.bare_peak_bytes,
            found_row.peak_layer,
            macs,
            found_row.bare_macs,
        ]
        ends = [patch.upto, patch.grid, f"{patch.overhead:.4f}"] if patch else ["", "", ""]
        rows.writerow([*found_row.strides.values(), *numbers, fits, kept, *ends])
    return file.getvalue()

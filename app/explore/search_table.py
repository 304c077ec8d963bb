"""What a search found, as a sentence, rows that are links, and a CSV file. Whatever comes from outside is escaped."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from redistill.memory.chips import Room
from redistill.memory.patch_search import MOST_OVERHEAD, PatchedCandidate
from redistill.memory.search import Candidate, SearchResult
from redistill.networks.zoo import find_network
from redistill.training.shared_weights import front_of, points_in
from redistill.training.stride_store import Measured, key_of

from ..parts.budget import room_text
from ..words.numbers import format_added, format_bytes, format_duration, format_kib, format_pixels, format_ratio
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
    fitting = [candidate for candidate in rows if budget is not None and candidate.fits(budget)]
    best = fitting[-1] if fitting else None
    table = "".join(_row(candidate, found.teacher, settings, budget, candidate is best) for candidate in rows)
    head = _HEAD.format(patches="", needs=NEEDS[settings.accounting], adds="RED blocks compute", title="RED adds")
    head += _weights_head(settings) + ("" if budget is None else "<th>Fits</th>")
    with_patches = patched_rows(found, settings, patched)
    return (
        f'<p class="student" role="status">{_sentence(found, best, settings, len(fitting))}</p>'
        f'<div class="scroll front-rows">{_table(head, table)}</div>'
        f'{with_patches}<p class="subline">{_searched(found, settings)}</p>'
    )


def _table(head: str, rows: str) -> str:
    if not rows:
        return ""
    return f'<table class="facts numbers stacked front"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _sentence(found: SearchResult, best: Candidate | None, settings: Settings, shown: int) -> str:
    """How many fit, and how many of these stand below: `shown`, each of which keeps more than all that need less."""
    tried, budget, room = f"{found.tried:,} stride settings", settings.budget_bytes, settings.room
    least = f"the least that any needs is {format_bytes(found.candidates[0].needed_bytes, KIB)}"
    if budget is None:
        return f"Of {tried}, {least}."
    fitting = sum(candidate.fits(budget) for candidate in found.candidates)
    where = format_kib(budget) + (weights_where(room) if room else "")
    heavy = _too_heavy(found, settings) if room else ""
    on = f"{escape(settings.budget.title)}: " if settings.budget.room else ""
    if not fitting:
        which = "" if heavy else f"; {least}"
        return f"{on}{'none' if on else 'None'} of {tried} fits {where}{which}.{heavy}"
    said = f"{on}{fitting:,} of {tried} {'fits' if fitting == 1 else 'fit'} {where}"
    if not best:
        return f"{said}.{heavy}"
    kept = _kept(best, found.teacher)
    return f"{said}; the best keeps {kept} of the teacher’s MACs. Below: {shown:,} best of {fitting:,} that fit.{heavy}"


def weights_where(room: Room) -> str:
    """ " with their weights in 3.88 MiB of flash"."""
    return " with their weights" + ("" if room.weights is None else f" in {room_text(room.weights)} of flash")


def _too_heavy(found: SearchResult, settings: Settings) -> str:
    """How many would fit but for their weights, and what helps; nothing where there are none."""
    budget, own = settings.budget_bytes, found.teacher.stored_bytes
    held = [one for one in found.candidates if one.needed_bytes <= budget]
    heavy = [one for one in held if not one.fits(budget)]
    if not heavy:
        return ""
    said = (
        f" Of {len(heavy):,} {'more' if len(heavy) < len(held) else 'whose activations would,'} the weights do not fit"
    )
    if not settings.room.beside(own):
        return f"{said}: the network’s own take {format_bytes(own)} in {settings.dtype}, at any strides."
    return f"{said}, RED blocks among them: search without these." if settings.student.red else f"{said}."


def _weights_head(settings: Settings) -> str:
    """The head of the column that says what weights take on the chip; nothing where that is not bounded."""
    if not settings.room:
        return ""
    if settings.room.weights is None:
        return '<th title="RED blocks included, beside the activations in RAM">Weights</th>'
    return '<th title="the file with the weights, RED blocks included">Flash</th>'


def _weights_cell(candidate: Candidate, teacher: Candidate, settings: Settings) -> dict[str, str]:
    """What stands below that head, in the unit of the network's own."""
    if not settings.room:
        return {}
    taken = f'<span class="nowrap">{format_bytes(candidate.stored_bytes, teacher.stored_bytes)}</span>'
    return {"Weights" if settings.room.weights is None else "Flash": taken}


def _row(candidate: Candidate, teacher: Candidate, settings: Settings, budget: int | None, is_best: bool) -> str:
    added = f"{100 * (candidate.macs - candidate.bare_macs) / teacher.macs:.0f} %" if settings.student.red else "–"
    cells = {
        "Needs": _needed(candidate.needed_bytes, candidate.peak_bytes),
        "Ratio": format_ratio(teacher.needed_bytes, candidate.needed_bytes),
        "MACs kept": _kept(candidate, teacher),
        "RED adds": added,
        **_weights_cell(candidate, teacher, settings),
    }
    if budget is not None:
        cells["Fits"] = "yes" if candidate.fits(budget) else '<span class="misses">no</span>'
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
    alive = "what is alive, as the export to C computes"
    head = _HEAD.format(patches="<th>Patches</th>", needs=alive, adds="patches compute twice", title="Patches add")
    head += _weights_head(settings)
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
        **_weights_cell(row.candidate, teacher, settings),
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


def csv_text(
    found: SearchResult,
    settings: Settings,
    patched: Sequence[PatchedCandidate] | None = None,
    known: Mapping[str, Measured] | None = None,
) -> str:
    """All choices of strides as CSV, the least need first, and after them those with patches; in bytes and MACs.

    With `known`, accuracies by `key_of` the strides, these too, and the best are those of which no other is more
    accurate in as little memory.
    """
    file, points, budget = io.StringIO(), list(found.teacher.strides), settings.budget_bytes
    rows = csv.writer(file, lineterminator="\n")
    facts = [
        "needed_bytes",
        "peak_bytes",
        "peak_bytes_without_red",
        "peak_layer",
        "macs",
        "macs_without_red",
        "weights_bytes",
        "fits",
        "best",
    ]
    measured = [] if known is None else ["accuracy", "right", "pictures"]
    rows.writerow([*points, *facts, "patches_to", "patches_a_side", "patches_add", *measured])
    front = found.front if known is None else [one for one, _ in front_of(points_in(known, found.candidates))]
    best = {id(candidate) for candidate in front}
    for row in [*(PatchedCandidate(c, None) for c in found.candidates), *(row for row in patched or () if row.patched)]:
        found_row, patch = row.candidate, row.patched
        fits = "" if budget is None else "yes" if row.needed_bytes <= found_row.left_of(budget) else "no"
        kept = "yes" if patch or id(found_row) in best else "no"
        macs = patch.macs if patch else found_row.macs
        numbers = [
            row.needed_bytes,
            row.peak_bytes,
            found_row.bare_peak_bytes,
            found_row.peak_layer,
            macs,
            found_row.bare_macs,
            "" if found_row.stored_bytes is None else found_row.stored_bytes,
        ]
        ends = [patch.upto, patch.grid, f"{patch.overhead:.4f}"] if patch else ["", "", ""]
        rows.writerow([*found_row.strides.values(), *numbers, fits, kept, *ends, *_measured_cells(found_row, known)])
    return file.getvalue()


def _measured_cells(candidate: Candidate, known: Mapping[str, Measured] | None) -> list[Any]:
    if known is None:
        return []
    one = known.get(key_of(candidate.strides))
    return [f"{one.accuracy:.4f}", one.correct, one.count] if one else ["", "", ""]

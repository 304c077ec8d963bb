"""The texts and tables of Explore as HTML. Whatever comes from outside is escaped here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Any

from redistill.common.sentences import listed
from redistill.memory import LiveTensor, MemoryProfile
from redistill.memory.chips import Room
from redistill.memory.comparison import Comparison
from redistill.memory.file_size import CLOSENESS, KINDS
from redistill.memory.patching import PatchedMemory
from redistill.memory.profile import GAPS, PLANNED
from redistill.networks.alignment import BY_SIZE
from redistill.networks.stem_kinds import AS_BUILT

from ..parts import plots
from ..parts.budget import Budget, room_text
from ..parts.counting import counting_of
from ..parts.fragments import notice
from ..parts.memory_plot import PIN_COLOURS, PinnedCurve, memory_figure
from ..parts.stride_picker import StridePicker
from ..parts.trace import Place, layer_label, locate, memory_curve, peak_label
from ..words import memory, numbers
from ..words.memory import size_text, tick_labels, warnings
from .layer_table import layer_rows
from .pins import Pin, describe

USERS_NAMED = 2  # of the operators that still need a tensor; the others are counted


def figure(found: Comparison, pins: Sequence[Pin], budget: Budget | None) -> dict[str, Any]:
    """The chart, with the title and the file name that it is saved under."""
    network = found.config.teacher
    pinned = []
    for pin in pins:
        student, is_alike = pin.found.student, pin.found.config.teacher == network
        pinned.append(PinnedCurve(pin.letter, student.peak_bytes, memory_curve(student) if is_alike else None))
    drawn = memory_figure(memory_curve(found.teacher), memory_curve(found.student), tick_labels(found), pinned, budget)
    unit = memory.unit_of(found)
    peaks = " → ".join(numbers.format_bytes(profile.peak_bytes, unit) for _, profile in _both(found))
    said = "; ".join(
        f"the {who} peaks at {numbers.format_bytes(profile.peak_bytes, unit)} in {peak_label(profile)}"
        for who, profile in _both(found)
    )
    said = f"Memory alive through the network: {said}"
    return drawn | {"title": f"{describe(found)}: {peaks}", "label": said, "file": file_name(found)}


def file_name(found: Comparison) -> str:
    """ "memory-resnet18-8.1.1.2.2.1-red-224-fused-fp32", for files that a person saves."""
    config = found.config
    strides = ".".join(str(stride) for stride in config.strides.values())
    red = ("red" if config.alignment == BY_SIZE else f"red-{config.alignment}") if config.red else ""
    stem = "" if config.stem == AS_BUILT else f"{config.stem}-stem".replace(" ", "-")
    size = str(config.image_size) if config.is_square else "x".join(map(str, config.image_size))
    channels = f"{config.in_channels}ch" if config.in_channels != 3 else ""
    batch = f"batch{found.batch}" if found.batch > 1 else ""
    network = re.sub("[^a-zA-Z0-9._-]", "-", config.teacher)
    parts = ("memory", network, strides, stem, red, size, channels, batch, counting_of(found), found.dtype)
    return "-".join(filter(None, parts))


def table(found: Comparison) -> dict[str, Any]:
    """The layers of both networks, as `layer_table` shows them."""
    return layer_rows(found, file_name(found))


def picker(found: Comparison) -> StridePicker:
    """All of the stride picker: another network's points, its strides and map sizes."""
    strides = {point.name: point.stride for point in found.points if point.is_offered}
    return StridePicker(strides, points=stride_rows(found), sizes=map_sizes(found))


def stride_rows(found: Comparison) -> list[dict[str, Any]]:
    """The picker's rows: one for each pooling point of the teacher, with the reason where its stride cannot be set."""
    return memory.point_rows(found.teacher_points)


def map_sizes(found: Comparison) -> dict[str, str]:
    """Map sizes before and after each pooling point, as text."""
    return {point.name: size_text(point) for point in found.points if point.direction == "down"}


def summary(found: Comparison, budget: Budget | None = None, patched: PatchedMemory | str | None = None) -> str:
    """The sentence above the chart, the facts beside it and what one should know before trusting the ratio.

    `patched` is the student computed patch by patch, or why it cannot be.
    """
    before, bare, unit = found.teacher.peak_bytes, found.bare.peak_bytes, memory.unit_of(found)
    lines = [f'<p class="headline">{_headline(found)}</p>']
    if found.config.red:
        weights = [numbers.format_bytes(profile.weight_bytes) for profile in (found.teacher, found.student)]
        lines.append(
            f'<p class="subline">Without RED blocks the student peaks at {numbers.format_bytes(bare, unit)}: '
            f"<strong>{numbers.format_ratio(before, bare)}</strong>. Weights {' → '.join(weights)}.</p>"
        )
    if isinstance(patched, PatchedMemory):
        lines.append(_patched_line(found, patched))
    elif patched:
        lines.append(notice("No patches:", patched, kind="hint"))
    if budget:
        lines.append(_budget_line(found, budget, patched if isinstance(patched, PatchedMemory) else None))
    if found.refusal:
        lines.append(notice("No strides of it can be set:", found.refusal, kind="hint"))
    lines += [notice("", text, kind="hint") for text in warnings(found)]
    return "".join(lines)


def _headline(found: Comparison) -> str:
    before, after, unit = found.teacher.peak_bytes, found.student.peak_bytes, memory.unit_of(found)
    included = ", RED blocks included" if found.config.red else ""
    if before == after:
        where, there = peak_label(found.teacher), peak_label(found.student)
        layers = where if where == there else f"{where}; in the student {there}"
        return f"Peak stays at {_peak(before, layers, unit)}: {_ratio(before, after)}{included}."
    verb = "falls" if after < before else "rises"
    texts = {numbers.format_bytes(count, unit) for count in (before, after)}
    by = f" by {abs(before - after):,} B" if len(texts) == 1 else ""
    peaks = [_peak(profile.peak_bytes, peak_label(profile), unit) for _, profile in _both(found)]
    said = f"Peak {verb}{by}" if after < before else f'<span class="misses">Peak {verb}{by}</span>'
    return f"{said} from {peaks[0]} to {peaks[1]}: {_ratio(before, after)}{included}."


def _peak(count: int, where: str, like: int) -> str:
    return f'<strong class="nowrap">{numbers.format_bytes(count, like)}</strong> <code>({escape(where)})</code>'


def _ratio(before: int, after: int) -> str:
    kind = "ratio misses" if after > before else "ratio"
    return f'<strong class="{kind}">{numbers.format_ratio(before, after)}</strong>'


def _patched_line(found: Comparison, patched: PatchedMemory) -> str:
    return (
        f'<p class="subline">In {patched.grid}×{patched.grid} patches up to <code>{escape(patched.upto)}</code> '
        f"the student peaks at <strong>{numbers.format_bytes(patched.peak_bytes, memory.unit_of(found))}</strong>: "
        f"<strong>{numbers.format_ratio(found.teacher.peak_bytes, patched.peak_bytes)}</strong>, for "
        f"{numbers.format_added(patched.overhead)} computation. The chart shows it without them.</p>"
    )


def _budget_line(found: Comparison, budget: Budget, patched: PatchedMemory | None) -> str:
    """Whether activations and weights of both networks fit, each by itself, with what the figures of the chip are."""
    parts = [f"the {who} {_verdict(budget, profile.needed_bytes)}{_planned(profile)}" for who, profile in _both(found)]
    parts += [f"in patches it {_verdict(budget, patched.peak_bytes)}"] if patched else []
    said = f"{escape(budget.title)}, {room_text(budget.bytes)} for activations: {'; '.join(parts)}."
    red_is_heavy = budget.is_too_small_for(found.student) and not budget.is_too_small_for(found.bare)
    if red_is_heavy or not budget.fits(patched.peak_bytes if patched else found.student.needed_bytes):
        said += ' <button type="button" class="plain" data-act="search">Find strides that fit</button>'
    return f'<div class="budget" id="budget-said"><p>{said}</p>{_weights_line(found, budget)}</div>'


def _planned(profile: MemoryProfile) -> str:
    """How much more its arena takes than what is alive in it, where a runtime plans one with gaps."""
    plan = profile.plan() if profile.accounting in PLANNED else None
    if plan is None or plan.bytes == plan.live_bytes:
        return ""
    sizes = f"{numbers.format_bytes(plan.bytes)}, {100 * plan.gap:.1f} % more than the"
    return f" (its arena takes {sizes} {numbers.format_bytes(plan.live_bytes)} alive)"


def _weights_line(found: Comparison, budget: Budget) -> str:
    if not budget.has_weights:
        where = f" {escape(budget.title)} has no flash of its own for them." if budget.room else ""
        weights = numbers.format_bytes(found.student.weight_bytes)
        taken = _taken(budget.room) if budget.room else ""
        return (
            f"<span>Activations only: the student’s weights, {weights}, and the program need room of their own."
            f"{where}{taken}</span>"
        )
    room = budget.room
    parts = []
    for who, profile in _both(found):
        kind = "fits" if budget.weights_fit(profile) else "misses"
        verdict = f'<strong class="{kind}">{escape(budget.weights_verdict(profile))}</strong>'
        parts.append(f"the {who}’s {numbers.format_bytes(room.stored_bytes(profile))} {verdict}")
    if room.weights is None:
        what = "Weights, in the same RAM"
    else:
        file = f"its size computed within {100 * CLOSENESS:.0f} %"
        what = f"{KINDS[found.student.file_kind]} file, {file}, {room_text(room.weights)} of flash"
    return f"<p>{what}: {'; '.join(parts)}.</p><span>{_taken(room).strip()}</span>"


def _taken(room: Room) -> str:
    """ "Of AXI SRAM 512 KiB, ...; the rest is assumed to take 32.0 KiB of RAM and 128 KiB of flash. Source: ..."."""
    banks = ", ".join(f"{bank.name} {room_text(bank.bytes)}" for bank in (*room.chip.ram, *room.chip.flash))
    flash = f" and {numbers.format_bytes(room.program)} of flash" if room.chip.flash else ""
    return escape(
        f" It has {banks}; runtime, stacks and program are taken to need {numbers.format_bytes(room.reserve)} of RAM"
        f"{flash}. Source: {room.chip.source}."
    )


def _both(found: Comparison) -> list[tuple[str, MemoryProfile]]:
    return [("teacher", found.teacher), ("student", found.student)]


def _verdict(budget: Budget, peak_bytes: int) -> str:
    kind = "fits" if budget.fits(peak_bytes) else "misses"
    return f'<strong class="{kind}">{escape(budget.verdict(peak_bytes))}</strong>'


def pairs_table(found: Comparison) -> str:
    """Which layer learns from which; layers without a partner stand in it with the reason."""
    rows = "".join(
        '<tr{}><td><code>{}</code></td><td data-title="learns from teacher’s">{}</td>'
        '<td data-title="aligned">{}</td><td data-title="because">{}</td></tr>'.format(
            "" if pair.teacher else ' class="unaligned"',
            escape(pair.student),
            f"<code>{escape(pair.teacher)}</code>" if pair.teacher else "none",
            " and ".join(f"{side}put" for side in pair.sides) or "–",
            escape(pair.reason),
        )
        for pair in found.pairs
    )
    return (
        '<details class="card pairs" open><summary>Aligned layers</summary><div class="scroll">'
        '<table class="facts stacked"><thead><tr>'
        "<th>Student</th><th>learns from teacher’s</th><th>aligned</th><th>because</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div></details>"
    )


def pin_board(found: Comparison | None, pins: Sequence[Pin], budget: Budget | None = None, said: str = "") -> str:
    """What is pinned beside what is shown, if that fits, one line each; nothing when there is nothing to say."""
    message = notice("Not pinned.", said) if said else ""
    if not pins:
        return f"<section>{message}</section>" if said else ""
    shown = [Pin("", found), *pins] if found else pins
    titles = ["Configuration", "Peak", "Ratio", "RED blocks’ peak", "Weights", "MACs", "RED blocks’ MACs"]
    titles += ["Budget"] if budget else []
    head = "".join(f"<th>{title}</th>" for title in titles) + '<th><span class="sr-only">What to do</span></th>'
    students = [pin.found.student for pin in shown]
    most = (max(x.peak_bytes for x in students), max(x.weight_bytes for x in students), max(x.macs for x in students))
    rows = "".join(_pin_row(pin, titles, budget, most) for pin in shown)
    return (
        '<section class="card"><h3 class="card-title">Pinned configurations</h3><div class="scroll">'
        f'<table class="facts stacked board"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        f"{message}</section>"
    )


def _pin_row(pin: Pin, titles: Sequence[str], budget: Budget | None, most: tuple[int, int, int]) -> str:
    """One line; figures below each other stand in one unit, that of the `most` bytes, bytes of weights, and MACs."""
    student, own = pin.found.student, pin.found.bare.macs
    peak, weights, macs = most
    cells = {
        "Peak": f"<strong>{numbers.format_bytes(student.peak_bytes, peak)}</strong>",
        "Ratio": numbers.format_ratio(pin.found.teacher.peak_bytes, student.peak_bytes),
        "RED blocks’ peak": numbers.format_bytes(student.red_peak_bytes, peak) if student.red_peak_bytes else "–",
        "Weights": numbers.format_bytes(student.weight_bytes, weights),
        "MACs": numbers.format_count(own, macs),
        "RED blocks’ MACs": numbers.format_count(student.macs - own, macs) if student.macs > own else "–",
        "Budget": _pin_verdict(budget, student) if budget else "",
    }
    body = "".join(f'<td data-title="{title}">{cells[title]}</td>' for title in titles if title in cells)
    colour = PIN_COLOURS.get(pin.letter, plots.STUDENT)
    name = pin.letter or "Shown"
    buttons = "".join(
        f'<button type="button" class="plain" data-act="{act}" data-letter="{pin.letter}" '
        f'aria-label="{act.capitalize()} {pin.letter}">{act.capitalize()}</button>'
        for act in (("load", "remove") if pin.letter else ())
    )
    return (
        f'<tr><th scope="row"><span class="swatch" style="background:{colour}"></span><b>{name}</b> '
        f'{escape(describe(pin.found))}</th>{body}<td class="board-buttons">{buttons}</td></tr>'
    )


def _pin_verdict(budget: Budget, student: MemoryProfile) -> str:
    """Whether the activations fit, and that the weights do not where that is so."""
    heavy = '; <strong class="misses">its weights do not fit</strong>' if budget.is_too_small_for(student) else ""
    return _verdict(budget, student.needed_bytes) + heavy


def tensors(found: Comparison, place: Place) -> str:
    """The tensors alive at one operator, largest first, with who made each and who still needs it."""
    profile = found.teacher if place.network == "teacher" else found.student
    index = locate(profile, place)
    op = profile.timeline[index]
    alive = profile.live_tensors(index)
    rows = "".join(_tensor_row(tensor, op.live_bytes) for tensor in alive)
    peak = "the peak of" if index == profile.peak_index else "in"
    count = f"{len(alive)} tensor{'s' if len(alive) > 1 else ''}"
    buttons = "".join(
        f'<button type="button" class="plain" data-act="peak" data-network="{network}">{title}’s peak</button>'
        for network, title in (("student", "Student"), ("teacher", "Teacher"))
    )
    return (
        f'<p class="alive-where">While <code>{escape(layer_label(op.layer))}</code> runs ({escape(op.op)}), {peak} '
        f"the {place.network}: <strong>{numbers.format_bytes(op.live_bytes)}</strong> in {count}.</p>"
        '<div class="scroll"><table class="facts stacked alive"><thead><tr>'
        "<th>Tensor</th><th>Bytes</th><th>made by</th><th>needed by</th></tr></thead>"
        f"<tbody>{rows}</tbody><tfoot><tr><td>Sum</td><td>{op.live_bytes:,}</td><td></td><td></td></tr></tfoot>"
        f'</table></div><p class="alive-peaks">Go to {buttons}</p>'
    )


def _tensor_row(tensor: LiveTensor, total: int) -> str:
    share = 100 * tensor.bytes / total if total else 0
    named = {("input", ""): "the input", GAPS: "nobody: gaps in the plan"}
    made = named.get(tensor.made_by) or _operator(tensor.made_by)
    users = list(dict.fromkeys(_operator(user) for user in tensor.needed_by))
    needed = listed(users, USERS_NAMED) or "nobody any more"
    return (
        f"<tr><td>{numbers.format_size(tensor.shape) or ('a number' if tensor.is_tensor else '–')}</td>"
        f'<td data-bytes="{tensor.bytes}">{tensor.bytes:,}<div class="share"><div style="width:{share:.1f}%"></div>'
        f'</div></td><td data-title="made by">{made}</td><td data-title="needed by">{needed}</td></tr>'
    )


def _operator(named: tuple[str, str]) -> str:
    op, layer = named
    if named == ("output", ""):
        return "the output"
    return f"<code>{escape(layer_label(layer))}</code> ({escape(op)})"

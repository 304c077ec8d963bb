"""Patch by patch: what teacher and student need when their first layers are computed in patches of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from html import escape

import gradio as gr

from redistill.memory.comparison import Comparison, student_on_tape
from redistill.memory.patching import PatchedMemory, count_patched, every_patching, least_memory, patching_ends
from redistill.networks.student import StudentConfig

from ..parts.counting import COUNTINGS, counting_of
from ..parts.scripted import ActionHTML
from ..words.numbers import format_added, format_bytes, format_ratio
from .asked import Asked
from .link import Settings, patch_text
from .pins import describe

MOST_OVERHEAD = 1.0  # shares of computation added: what costs more is not worth a row
GOOD_OVERHEAD = 0.25  # of what is said first, where no budget asks for more


def build() -> dict[str, gr.components.Component]:
    """A folded card with the button and its result, in the Blocks context where it should stand."""
    with gr.Accordion("Compute it patch by patch", open=False, elem_classes="card fold", elem_id="patches"):
        gr.HTML(_INTRODUCTION)
        start = gr.Button("Count patches for these strides", size="sm", elem_id="patches-start")
        patched = ActionHTML(elem_id="patched")
        patch = gr.Textbox(
            "", label="Shown above with patches up to", placeholder="a layer and how many a side, such as layer2:4",
            max_lines=1, elem_id="patch",
        )  # fmt: skip
        return {"count_patches": start, "patched": patched, "patch": patch}


def _tables(settings: Settings) -> str:
    student = settings.student
    teacher = replace(student, strides={}, red=None)
    found = settings.count()
    named = {"Student": (student, found.student), "Teacher": (teacher, found.teacher)}
    tables = [
        _table(
            name,
            *_counted(config, settings),
            name == "Student",
            profile.peak_bytes,
            found.teacher.peak_bytes,
            settings.budget_bytes,
        )
        for name, (config, profile) in named.items()
    ]
    return (
        "".join(tables) + f'<p class="subline">{escape(describe(found))}. Answers and accuracy stay what they are. In '
        "PyTorch: <code>redistill.patched(network, layer, patches)</code>.</p>"
    )


def _counted(config: StudentConfig, settings: Settings) -> tuple[list[PatchedMemory], str]:
    """What is worth it, and why no later layer can be computed so."""
    tape, changes = student_on_tape(config, settings.batch)
    changes |= {"dtype": settings.dtype, **COUNTINGS[settings.accounting].settings}
    return least_memory(every_patching(tape, most_overhead=MOST_OVERHEAD, **changes)), patching_ends(tape, **changes)


def patched_of(found: Comparison, patch: tuple[str, int]) -> PatchedMemory:
    """The student computed in patches. ValueError, in one sentence, where it cannot be."""
    tape, changes = student_on_tape(found.config, found.batch)
    changes |= {"dtype": found.dtype, **COUNTINGS[counting_of(found)].settings}
    return count_patched(tape, *patch, **changes)


def _table(
    name: str,
    rows: Sequence[PatchedMemory],
    end: str,
    is_shown: bool,
    peak: int,
    teacher_peak: int,
    budget: int | None,
) -> str:
    """The rows of one network; those of the student, which `is_shown` above, can be chosen."""
    if not rows:
        said = f"no patches of its first layers lower the peak of {format_bytes(peak)}"
        return f'<p class="student">{name}: {said}.{f" They end where {escape(end)}." if end else ""}</p>'
    best = _said_first(rows, budget)
    head = "".join(f"<th>{title}</th>" for title in (f"{name}, up to", "Patches", "Peak", "Ratio", "Computation"))
    body = "".join(_row(row, teacher_peak, row is best, is_shown) for row in rows)
    return (
        f'<p class="student">{name}: patching to <code>{escape(best.upto)}</code> takes '
        f"<strong>{format_bytes(best.peak_bytes)}</strong> in place of {format_bytes(peak)}, for "
        f'{format_added(best.overhead)} computation.</p><div class="scroll">'
        f'<table class="facts numbers front"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _said_first(rows: Sequence[PatchedMemory], budget: int | None) -> PatchedMemory:
    """The cheapest that fits the budget; without one that does, the least memory for little computation."""
    fitting = [row for row in rows if budget is not None and row.peak_bytes <= budget]
    cheap = [row for row in rows if row.overhead <= GOOD_OVERHEAD]
    return fitting[0] if fitting else (cheap or rows[:1])[-1]


def _row(row: PatchedMemory, teacher_peak: int, is_best: bool, is_shown: bool) -> str:
    layer, patch = f"<code>{escape(row.upto)}</code>", escape(patch_text((row.upto, row.grid)))
    act = f'type="button" class="plain" title="Show it above" data-act="patch" data-patch="{patch}"'
    cells = [
        f"<button {act}>{layer}</button>" if is_shown else layer,
        f"{row.grid}×{row.grid}",
        f'<span class="nowrap">{format_bytes(row.peak_bytes)}</span>',
        format_ratio(teacher_peak, row.peak_bytes),
        format_added(row.overhead),
    ]
    kind = ' class="best"' if is_best else ""
    return f"<tr{kind}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


_INTRODUCTION = (
    '<p class="subline">The first layers run on one part of the image after another, exactly as on the whole: memory '
    "falls, and what neighbours have in common is computed again. It goes on top of strides, or in place of them.</p>"
)
CARD = Asked("count_patches", "patched", "Counting…", "Not counted.", _tables)

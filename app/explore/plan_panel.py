"""Where a runtime's planner puts every tensor: one arena for teacher and one for student, drawn."""

from __future__ import annotations

from html import escape

import gradio as gr

from redistill.memory.profile import ArenaPlan, MemoryProfile, PlacedTensor

from ..parts.trace import layer_label
from ..words.numbers import format_bytes
from .asked import Asked
from .link import Settings
from .pins import describe

WIDTH, HEIGHT = 640, 180  # of the larger drawing; on the page, HEIGHT pixels
PLANNERS = {"by size": "greedy, the largest first", "by breadth": "greedy, by the step with most alive first"}
NAMED = 6  # tensors of the peak that are told by name


def build() -> dict[str, gr.components.Component]:
    """A folded card with the button and the drawings, in the Blocks context where it should stand."""
    with gr.Accordion("Place it in one arena", open=False, elem_classes="card fold", elem_id="plan"):
        gr.HTML(_INTRODUCTION)
        start = gr.Button("Plan the arena for these strides", size="sm", elem_id="plan-start")
        return {"plan": start, "planned": gr.HTML(elem_id="planned")}


def _drawings(settings: Settings) -> str:
    found = settings.count()
    profiles = {"Teacher": found.teacher, "Student": found.student}
    plans = {name: profile.plan() for name, profile in profiles.items()}
    largest = max(1, *(plan.bytes for plan in plans.values()))
    budget = settings.budget_bytes if (settings.budget_bytes or 0) <= 2 * largest else None  # or nothing else is seen
    top = max(largest, budget or 0)
    drawn = "".join(
        f"<figure>{_drawing(name, plan, profiles[name], top, budget)}"
        f"<figcaption>{_said(name, plan, profiles[name])}</figcaption></figure>"
        for name, plan in plans.items()
    )
    return f'<div class="arenas">{drawn}</div><p class="subline">{escape(describe(found))}.</p>'


def _drawing(name: str, plan: ArenaPlan, profile: MemoryProfile, top: int, budget: int | None) -> str:
    """Time to the right, addresses up, both networks at one scale; a rectangle a tensor, those of the peak filled."""
    steps = max(1, len(profile.timeline))
    ceiling = max(plan.bytes, budget or 0)
    tall = HEIGHT * ceiling / top

    def rectangle(tensor: PlacedTensor) -> str:
        x, width = WIDTH * tensor.first / steps, WIDTH * (tensor.last - tensor.first + 1) / steps
        height = HEIGHT * tensor.bytes / top
        y = tall - HEIGHT * tensor.offset / top - height
        kinds = ["red"] if tensor.is_red else []
        kinds += ["alive"] if tensor.first <= profile.peak_index <= tensor.last else []
        return (
            f'<rect class="{" ".join(kinds)}" x="{x:.1f}" y="{y:.2f}" width="{width:.1f}" height="{height:.2f}"><title>'
            f"{escape(_named(tensor))}, from {format_bytes(tensor.offset)} on, operators {tensor.first + 1} to "
            f"{tensor.last + 1} of {steps}</title></rect>"
        )

    bar = ""
    if budget:
        y = tall - HEIGHT * budget / top
        bar = f'<line class="budget" x1="0" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return (
        f'<svg class="{name.lower()}" viewBox="0 0 {WIDTH} {tall:.1f}" style="height:{tall:.0f}px" '
        f'preserveAspectRatio="none" role="img" aria-label="Arena of the {name.lower()}: {format_bytes(plan.bytes)}">'
        f"{''.join(map(rectangle, plan.tensors))}{bar}</svg>"
    )


def _said(name: str, plan: ArenaPlan, profile: MemoryProfile) -> str:
    alive = [tensor for tensor in plan.tensors if tensor.first <= profile.peak_index <= tensor.last]
    most = sum(tensor.bytes for tensor in alive)
    more = f"{100 * (plan.bytes / most - 1):.1f} % more than" if most and plan.bytes > most else "no more than"
    alive.sort(key=lambda tensor: -tensor.bytes)
    names = "; ".join(map(_named, alive[:NAMED])) + (f"; {len(alive) - NAMED} smaller ones" * (len(alive) > NAMED))
    return (
        f"<strong>{name}: {format_bytes(plan.bytes)}</strong> in {len(plan.tensors)} tensors, {more} what is alive at "
        f"the peak: {escape(names)}. Planner: {escape(PLANNERS.get(plan.planner, plan.planner))}."
    )


def _named(tensor: PlacedTensor) -> str:
    operator, layer = tensor.made_by
    return f"{operator if operator == 'input' else f'{layer_label(layer)} ({operator})'} {format_bytes(tensor.bytes)}"


_INTRODUCTION = (
    '<p class="subline">Runtimes without an allocator give each tensor a place beforehand. Time goes to the right and '
    "addresses go up, both networks at one scale; filled is what is alive at the peak, red what RED blocks make.</p>"
)
CARD = Asked("plan", "planned", "Planning…", "Not planned.", _drawings)

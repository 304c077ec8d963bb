"""Tab Generate: images from a teacher and its students with the same seeds, side by side, as they come."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from torch import nn

from redistill import checkpoint
from redistill.datasets import DATASETS
from redistill.memory import capture
from redistill.pipeline import load_scheduler
from redistill.sampling import MAX_SEED, SCHEDULERS, SampleStep, sample

from . import choices, plots
from .fragments import image_tag, notice

MIN_COUNT, MAX_COUNT = 4, 16
MAX_STEPS = 250
MAX_STUDENTS = 3
PREVIEWS = 12  # shown on the way, about
SCHEDULER_TITLES = {"ddim": "DDIM", "ddpm": "DDPM", "dpm-solver++": "DPM-Solver++"}


@dataclass(frozen=True)
class Painter:
    """A network that draws, and what it needs for one image."""

    choice: choices.Choice
    model: nn.Module
    scheduler: Any
    peak_bytes: int  # fused accounting, one image, fp32
    drawn: SampleStep | None = None


def build(tab: gr.Tab, page: gr.Blocks) -> None:
    """Lay the tab out inside the current Blocks context and connect its events."""
    with gr.Row(elem_classes="columns"):
        with gr.Column(min_width=300, elem_classes="controls"):
            with gr.Column(elem_classes="card"):
                teacher = gr.Radio([], label="Teacher", elem_classes="list", elem_id="generate-teacher")
                students = gr.CheckboxGroup([], label="Students", elem_classes="list", elem_id="generate-students")
            with gr.Column(elem_classes="card"):
                count = gr.Slider(MIN_COUNT, MAX_COUNT, value=8, step=1, label="Images")
                steps = gr.Slider(2, MAX_STEPS, value=40, step=1, label="Denoising steps")
                seed = gr.Number(0, label="First seed", precision=0, minimum=0)
                scheduler = gr.Radio(
                    [(SCHEDULER_TITLES[n], n) for n in SCHEDULERS], value=SCHEDULERS[0], label="Sampler"
                )
            with gr.Row():
                go = gr.Button("Generate", variant="primary", elem_id="generate")
                stop = gr.Button("Stop", elem_id="generate-stop", interactive=False)
        with gr.Column(min_width=320, elem_classes="results"):
            said = gr.HTML(_INTRODUCTION, elem_id="generate-said")
            grids = gr.HTML(elem_id="grids")
    settings = [teacher, students, seed, count, steps, scheduler]
    go.click(
        generate,
        settings,
        [said, grids, go, stop],
        show_progress="hidden",
        concurrency_limit=1,
        concurrency_id="generate",
        api_visibility="private",
    )
    quiet = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    stop.click(stop_drawing, None, said, **quiet)
    for opened in (tab.select, page.load):
        opened(offer, [teacher, students], [teacher, students], **quiet)


def offer(teacher: Any, students: Any) -> list[Any]:
    """The diffusion checkpoints there are; what was chosen stays chosen where it still exists."""
    found = choices.checkpoints(choices.is_diffusion)
    teachers = [choice for choice in found if not choice.is_student]
    others = [choice for choice in found if choice.is_student]
    names, other_names = [choice.value for choice in teachers], [choice.value for choice in others]
    kept = [value for value in students if value in other_names] if isinstance(students, list) else []
    return [
        gr.Radio(
            [(c.title, c.value) for c in teachers], value=teacher if teacher in names else next(iter(names), None)
        ),
        gr.CheckboxGroup([(c.title, c.value) for c in others], value=kept or other_names[:1]),
    ]


def generate(
    teacher: Any, students: Any, seed: Any, count: Any, steps: Any, scheduler: Any, request: gr.Request | None = None
) -> Iterator[list[Any]]:
    """Draw with all chosen networks, step by step together, and show the images as they come."""
    on, off = gr.Button(interactive=True), gr.Button(interactive=False)
    session = _session(request)
    _stopping.discard(session)
    yield [_words("Loading…"), gr.skip(), off, on]
    try:
        seeds, steps = check_numbers(seed, count, steps)
        painters = [load_painter(value) for value in check_names(teacher, students)]
        words = "Done."
        for drawn in paint(painters, seeds, steps, scheduler):
            step = drawn[0].drawn.step
            if session in _stopping and step < steps:
                words = f"Stopped at step {step} of {steps}."
                break
            if step % max(1, steps // PREVIEWS) == 0 and step < steps:
                yield [_words(f"Step {step} of {steps}"), panels(drawn, seeds), gr.skip(), gr.skip()]
    except (ValueError, OSError) as error:
        yield [notice("Nothing drawn.", str(error)), gr.skip(), on, off]
        return
    yield [_words(words), panels(drawn, seeds), on, off]


# Pages that asked to stop. Gradio's `cancels` leaves a cancelled event pending on the page, which then ignores the
# next click; so the drawing itself looks here between steps.
_stopping: set[str] = set()


def stop_drawing(request: gr.Request | None = None) -> str:
    """Let the page's drawing end after the step that it is at."""
    _stopping.add(_session(request))
    return _words("Stopping…")


def _session(request: gr.Request | None) -> str:
    return getattr(request, "session_hash", None) or ""


def _words(text: str) -> str:
    return f"<p class='subline' role='status'>{escape(text)}</p>"


def check_names(teacher: Any, students: Any) -> list[str]:
    """The chosen checkpoints, the teacher first; ValueError for none, for too many and for what is no choice."""
    if students is not None and not isinstance(students, (list, tuple)):
        raise ValueError("Students must be a list of checkpoints.")
    names = [name for name in (teacher, *(students or [])) if name not in (None, "")]
    if not names:
        raise ValueError("Choose at least one checkpoint; without any, train a diffusion teacher on the Distill tab.")
    if len(names) > MAX_STUDENTS + 1:
        raise ValueError(f"{len(names) - 1} students are chosen; at most {MAX_STUDENTS} are drawn side by side.")
    return [str(name) for name in dict.fromkeys(map(str, names))]


def check_numbers(seed: Any, count: Any, steps: Any) -> tuple[list[int], int]:
    """Seeds of the images, and the number of steps; ValueError for what is no number or out of range."""
    seed = _whole("First seed", seed, 0, MAX_SEED - MAX_COUNT)
    count = _whole("Images", count, MIN_COUNT, MAX_COUNT)
    return list(range(seed, seed + count)), _whole("Denoising steps", steps, 1, MAX_STEPS)


def _whole(name: str, value: Any, low: int, high: int) -> int:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    whole = number and (isinstance(value, int) or value.is_integer())
    if not whole or not low <= value <= high:
        raise ValueError(f"{name} is {str(value)[:40]}; expected a whole number from {low} to {high}.")
    return int(value)


def load_painter(value: str) -> Painter:
    """The network of a choice, ready to draw; ValueError for one that is missing or damaged."""
    choice = choices.find(value, choices.is_diffusion)
    folder = choices.folder(choice)
    model, scheduler, peak = _load(folder, (folder / "config.json").stat().st_mtime_ns)
    return Painter(choice, model, scheduler, peak)


@lru_cache(maxsize=2 * (MAX_STUDENTS + 1))
def _load(folder: Path, changed: int) -> tuple[nn.Module, Any, int]:
    model = checkpoint.load(folder)
    size = model.config.sample_size
    peak = capture(model, (1, model.config.in_channels, size, size)).profile().peak_bytes
    return model, load_scheduler(folder), peak


def paint(painters: Sequence[Painter], seeds: Sequence[int], steps: int, scheduler: Any) -> Iterator[list[Painter]]:
    """All networks through the same steps at the same time; each record holds what every one has drawn so far."""
    runs = [
        sample(painter.model, seeds, scheduler=scheduler, steps=steps, noise_scheduler=painter.scheduler)
        for painter in painters
    ]
    for drawn in zip(*runs, strict=True):
        yield [replace(painter, drawn=step) for painter, step in zip(painters, drawn, strict=True)]


def panels(painters: Sequence[Painter], seeds: Sequence[int]) -> str:
    """One grid a network, with its time and memory, and what the first one needs in comparison."""
    first = painters[0]
    figures = []
    for painter in painters:
        images = "".join(
            image_tag(image, f"image of seed {seed}") for image, seed in zip(painter.drawn.images, seeds, strict=True)
        )
        facts = f"{plots.format_bytes(painter.peak_bytes)} peak"
        if painter is not first:
            facts += f" · <strong>{plots.format_ratio(first.peak_bytes, painter.peak_bytes)}</strong> less"
        time = plots.format_duration(painter.drawn.seconds)
        figures.append(
            f'<figure class="card painted" data-checkpoint="{escape(painter.choice.value)}"><figcaption>'
            f'<span class="card-title">{escape(painter.choice.title)}</span>'
            f'<span class="painted-facts">{facts} · {time}'
            f'</span></figcaption><div class="painted-images">{images}</div></figure>'
        )
    sources = {painter.choice.metadata.dataset for painter in painters}
    thanks = "; ".join(sorted({DATASETS[name].attribution for name in sources if name in DATASETS}))
    return (
        f'<div class="painted-row">{"".join(figures)}</div><p class="subline">Peak: activations for one image in fp32, '
        f"counted as deployed. Time: all {len(seeds)} images on this machine. Learnt from: {escape(thanks)}.</p>"
    )


_INTRODUCTION = (
    '<p class="headline">Same seeds, a fraction of the memory.</p>'
    '<p class="subline">Every network starts from the same '
    "noise, so the images differ only by what the student has kept.</p>"
)

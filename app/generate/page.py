"""Tab Generate: images from a teacher and its students with the same seeds, side by side, as they come."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr

from redistill.common.hub import hub_id
from redistill.diffusion.sampling import SCHEDULERS

from ..parts.fields import ClampedSlider, NumberField
from ..parts.fragments import notice
from ..parts.live_plot import LivePlot
from ..parts.scripted import ActionHTML, SaveFiles, event_values
from ..runs import choices
from . import view
from .files import grid_png, zip_file
from .painters import Painter, Painting, keep, load_elsewhere, load_painter, paint, thumbnails

MIN_COUNT, MAX_COUNT = 4, 16
MAX_FIRST_SEED = 2**53 - MAX_COUNT  # a browser holds whole numbers exactly below 2**53
MAX_STEPS = 250
MAX_STUDENTS = 3
MAX_SOURCE = 1000  # characters of a folder or Hub id
MAX_PAGES = 16  # that draw or wait for it; others wait in gradio's queue, which says nothing
LOOK_SECONDS = 0.3  # between two looks whether it is one's turn
PREVIEWS = 12  # shown on the way, about
STATE_SECONDS = 3600  # that images stay on the server after the page was closed
SCHEDULER_TITLES = {"ddim": "DDIM", "ddpm": "DDPM", "dpm-solver++": "DPM-Solver++"}
FILES = {"grid": "Grid as PNG", "zip": "All images as zip"}
QUIET = {"show_progress": "hidden", "api_visibility": "private"}
AT_ONCE = {"queue": False, **QUIET}


def build(tab: gr.Tab, page: gr.Blocks) -> None:
    """Lay the tab out inside the current Blocks context and connect its events."""
    with gr.Row(elem_classes="columns controls-first"):
        with gr.Column(min_width=300, elem_classes="controls"):
            with gr.Column(elem_classes="card"):
                teacher = gr.Radio([], label="Teacher", elem_classes="list", elem_id="generate-teacher")
                students = gr.CheckboxGroup([], label="Students", elem_classes="list", elem_id="generate-students")
                with gr.Accordion("Draw with another checkpoint", open=False, elem_classes="fold"):
                    other = gr.Textbox(
                        label="Folder or Hub id" if choices.folders_open() else "Hub id",
                        placeholder="google/ddpm-cifar10-32",
                        info="Any unconditional DDPM of diffusers, with weights in safetensors.",
                        elem_id="generate-other",
                    )
            with gr.Column(elem_classes="card"):
                count = ClampedSlider(MIN_COUNT, MAX_COUNT, value=8, step=1, label="Images")
                steps = ClampedSlider(2, MAX_STEPS, value=40, step=1, label="Denoising steps")
                seed = NumberField(0, label="First seed", minimum=0)
                scheduler = gr.Radio(
                    [(SCHEDULER_TITLES[n], n) for n in SCHEDULERS], value=SCHEDULERS[0], label="Sampler"
                )
            with gr.Row():
                go = gr.Button("Generate", variant="primary", elem_id="generate")
                stop = gr.Button("Stop", elem_id="generate-stop", interactive=False)
        with gr.Column(min_width=320, elem_classes="results"):
            said = gr.HTML(view.INTRODUCTION, elem_id="generate-said")
            grids = ActionHTML(elem_id="grids")
            with gr.Column(visible=False) as saving:
                files = SaveFiles(FILES, elem_id="generate-files")
            way = ActionHTML(elem_id="generate-way")
            near = gr.HTML(elem_id="generate-near")
            with gr.Column(visible=False, elem_classes="card") as charted:
                legend = gr.HTML()
                chart = LivePlot(height=260, label="Memory along each network", elem_id="generate-memory")
    kept = gr.State(None, time_to_live=STATE_SECONDS)
    go.click(
        generate,
        [teacher, students, seed, count, steps, scheduler, other],
        [said, grids, go, stop, kept, saving, way, near, charted, legend, chart],
        concurrency_limit=MAX_PAGES,  # they wait in a line of their own, see `generate`
        **QUIET,
    )
    stop.click(stop_drawing, None, said, **AT_ONCE)
    grids.act(look, kept, [way, near], **AT_ONCE)
    way.act(look_nearest, kept, near, **QUIET)
    files.ask(save, kept, [files, said], **QUIET)
    awaited = {"inputs": [teacher, students, seed, count, kept], "outputs": [said, grids, charted, legend, chart]}
    page.load(offer, [teacher, students], [teacher, students], **AT_ONCE)
    tab.select(offer, [teacher, students], [teacher, students], **AT_ONCE).then(announce, **awaited, **AT_ONCE)
    teacher.input(follow, [teacher, students], students, **AT_ONCE).then(announce, **awaited, **AT_ONCE)
    for chosen in (students.input, seed.input, count.release):
        chosen(announce, **awaited, **AT_ONCE)


def offer(teacher: Any, students: Any) -> list[Any]:
    """The diffusion checkpoints there are; what was chosen stays chosen where it still exists."""
    found = choices.checkpoints(choices.is_diffusion)
    teachers = [choice for choice in found if not choice.is_student]
    others = [choice for choice in found if choice.is_student]
    teacher = teacher if teacher in [choice.value for choice in teachers] else next((c.value for c in teachers), None)
    names = [choice.value for choice in others]
    chosen = _still_there(students, names) or _own_students(found, teacher)[:1]
    return [
        gr.Radio([(c.title, c.value) for c in teachers], value=teacher),
        gr.CheckboxGroup([(c.title, c.value) for c in others], value=chosen),
    ]


def follow(teacher: Any, students: Any) -> list[str]:
    """The students beside another teacher: those chosen that learnt from the same pictures, or else the first such."""
    own = _own_students(choices.checkpoints(choices.is_diffusion), teacher)
    return _still_there(students, own) or own[:1]


def _still_there(chosen: Any, names: Sequence[str]) -> list[str]:
    return [value for value in chosen if value in names] if isinstance(chosen, list) else []


def _own_students(found: Sequence[choices.Choice], teacher: Any) -> list[str]:
    """Students that learnt from the pictures of the teacher chosen."""
    datasets = [choice.metadata.dataset for choice in found if choice.value == teacher]
    return [choice.value for choice in found if choice.is_student and choice.metadata.dataset in datasets]


def announce(teacher: Any, students: Any, seed: Any, count: Any, kept: Any) -> list[Any]:
    """Until the page draws for the first time: the chosen networks, their memory, and the noise they start from."""
    if kept is not None:
        return [gr.skip()] * 5
    try:
        seeds, _ = check_numbers(seed, count, MAX_STEPS)
        painters = [*map(load_painter, check_names(teacher, students))]
    except (ValueError, OSError) as error:
        return [notice("", str(error)), "", gr.Column(visible=False), "", gr.skip()]
    return [view.INTRODUCTION, view.panels(painters, seeds), *_charted(painters)]


def generate(
    teacher: Any,
    students: Any,
    seed: Any,
    count: Any,
    steps: Any,
    scheduler: Any,
    other: Any = "",
    request: gr.Request | None = None,
) -> Iterator[list[Any]]:
    """Draw with all chosen networks, step by step together, and show the images as they come.

    One page draws at a time, the one that asked first; the others say that they wait, and can be stopped.
    """
    session, turn = _session(request), object()
    _stopping.discard(session)
    _line.append(turn)
    try:
        if _line[0] is not turn:
            yield _update(view.words("Waiting for another drawing…"), running=True)
        while _line[0] is not turn:
            if session in _stopping:
                yield _update(view.words("Stopped before it began."))
                return
            time.sleep(LOOK_SECONDS)
            yield [gr.skip()] * 11  # gradio ends a drawing whose page is gone between two of these
        yield from _draw(session, teacher, students, seed, count, steps, scheduler, other)
    finally:
        _line.remove(turn)


def _draw(
    session: str, teacher: Any, students: Any, seed: Any, count: Any, steps: Any, scheduler: Any, other: Any
) -> Iterator[list[Any]]:
    yield _update(view.words("Loading…"), running=True)
    try:
        seeds, steps = check_numbers(seed, count, steps)
        elsewhere = check_source(other)
        names = check_names(teacher, students, also=bool(elsewhere))
        painters = [*map(load_painter, names), *map(load_elsewhere, elsewhere)]
        noise = view.panels(painters, seeds)  # the images before cannot be clicked any more
        yield _update(view.words("Loading…"), noise, running=True, saved=(), charted=painters)
        words, ways = "Done.", [[(0, thumbnails(painter.noise(seeds)))] for painter in painters]
        for drawn in paint(painters, seeds, steps, scheduler):
            step = drawn[0].drawn.step
            if session in _stopping and step < steps:
                words = f"Stopped at step {step} of {steps}."
                break
            if step % max(1, steps // PREVIEWS) == 0 and step < steps:
                for way, painter in zip(ways, drawn, strict=True):
                    way.append((step, thumbnails(painter.drawn.images)))
                yield _update(view.words(f"Step {step} of {steps}"), view.panels(drawn, seeds), running=True)
        paintings = tuple(keep(painter, seeds, scheduler, way) for painter, way in zip(drawn, ways, strict=True))
    except (ValueError, OSError) as error:
        yield _update(notice("Nothing drawn.", str(error)))
        return
    yield _update(view.words(words), view.panels(drawn, seeds, paintings), saved=paintings)


def _update(
    said: str,
    grids: str | None = None,
    running: bool = False,
    saved: tuple[Painting, ...] | None = None,
    charted: Sequence[Painter] = (),
) -> list[Any]:
    """Values of the outputs of `generate`; what is not given stays. `saved` also empties what was looked at before."""
    skip = gr.skip()
    found = [said, skip if grids is None else grids, gr.Button(interactive=not running), gr.Button(interactive=running)]
    if saved is None:
        found += [skip] * 4
    else:
        found += [saved, gr.Column(visible=bool(saved)), "", ""]
    return [*found, *(_charted(charted) if charted else [skip] * 3)]


def _charted(painters: Sequence[Painter]) -> list[Any]:
    return [gr.Column(visible=True), view.legend(painters), view.chart(painters)]


def look(event: gr.EventData, paintings: Any) -> list[str]:
    """The way from noise to the image that was clicked, in every network; what was found near another goes."""
    try:
        return [view.way_card(_paintings(paintings), _clicked_seed(event)), ""]
    except ValueError as error:
        return [notice("", str(error)), ""]


def look_nearest(event: gr.EventData, paintings: Any) -> str:
    """The training pictures nearest to the image that is looked at."""
    try:
        return view.nearest_card(_paintings(paintings), _clicked_seed(event))
    except ValueError as error:
        return notice("", str(error))


def save(event: gr.EventData, paintings: Any) -> list[Any]:
    """The file that was asked for, one of FILES, for the browser to save."""
    try:
        asked, found = event_values(event).get("save"), _paintings(paintings)
        if not isinstance(asked, str) or asked not in FILES:
            raise ValueError(f"There is no file {str(asked)[:40]!r} to save; expected one of {list(FILES)}.")
    except ValueError as error:
        return [gr.skip(), notice("Nothing saved.", str(error))]
    name, content = ("images.png", grid_png(found)) if asked == "grid" else ("images.zip", zip_file(found))
    data = base64.b64encode(content).decode()
    return [{"name": name, "base64": data, "asked": time.time()}, gr.skip()]


def _paintings(value: Any) -> tuple[Painting, ...]:
    if not isinstance(value, tuple) or not value:
        raise ValueError("The images are no longer here; draw them again.")
    return value


def _clicked_seed(event: Any) -> int:
    seed = event_values(event).get("seed")
    if not isinstance(seed, str) or not seed.isdecimal() or len(seed) > 20:
        raise ValueError(f"Seed is {str(seed)[:40]!r}; expected that of an image.")
    return int(seed)


# Pages that asked to stop. Gradio's `cancels` leaves a cancelled event pending on the page, which then ignores the
# next click; so the drawing itself looks here between steps.
_stopping: set[str] = set()
# Drawings in the order in which they were asked for; the first one is being drawn.
_line: list[object] = []


def stop_drawing(request: gr.Request | None = None) -> str:
    """Let the page's drawing end after the step that it is at."""
    _stopping.add(_session(request))
    return view.words("Stopping…")


def _session(request: gr.Request | None) -> str:
    return getattr(request, "session_hash", None) or ""


def check_source(other: Any) -> list[str]:
    """The folder or Hub id that was typed, if any; ValueError for what is no text."""
    if other is None:  # the field was never opened
        return []
    if not isinstance(other, str) or len(other) > MAX_SOURCE:
        raise ValueError(f"Folder or Hub id is {str(other)[:40]!r}; expected a text such as google/ddpm-cifar10-32.")
    return [hub_id(other)] if other.strip() else []


def check_names(teacher: Any, students: Any, also: bool = False) -> list[str]:
    """The chosen checkpoints, the teacher first; ValueError for none (unless there is one `also`) and for too many."""
    if students is not None and not isinstance(students, (list, tuple)):
        raise ValueError("Students must be a list of checkpoints.")
    names = [name for name in (teacher, *(students or [])) if name not in (None, "")]
    if not names and not also:
        raise ValueError("Choose at least one checkpoint; without any, train a diffusion teacher on the Distill tab.")
    if len(names) > MAX_STUDENTS + 1:
        raise ValueError(f"{len(names) - 1} students are chosen; at most {MAX_STUDENTS} are drawn side by side.")
    return [str(name) for name in dict.fromkeys(map(str, names))]


def check_numbers(seed: Any, count: Any, steps: Any) -> tuple[list[int], int]:
    """Seeds of the images, and the number of steps; ValueError for what is no number or out of range."""
    seed = _whole("First seed", seed, 0, MAX_FIRST_SEED)
    count = _whole("Images", count, MIN_COUNT, MAX_COUNT)
    return list(range(seed, seed + count)), _whole("Denoising steps", steps, 1, MAX_STEPS)


def _whole(name: str, value: Any, low: int, high: int) -> int:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    whole = number and (isinstance(value, int) or value.is_integer())
    if not whole or not low <= value <= high:
        given = "empty" if value is None else str(value)[:40]
        raise ValueError(f"{name} is {given}; expected a whole number from {low} to {high}.")
    return int(value)

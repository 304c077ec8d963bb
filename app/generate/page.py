"""Tab Generate: images from a teacher and its students with the same seeds, side by side, as they come."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr

from redistill.checkpoint.sources import ON_HUB
from redistill.common.hub import hub_id
from redistill.common.values import is_number
from redistill.diffusion.sampling import SCHEDULERS

from ..parts.events import QUIET, UNSEEN, connect, refused_in
from ..parts.export_buttons import EXPORTING, told
from ..parts.fields import ClampedSlider, NumberField
from ..parts.fragments import notice
from ..parts.live_plot import LivePlot
from ..parts.scripted import ActionHTML, SaveFiles, event_values, handed
from ..runs import choices
from ..runs.exports import export_with_sampler
from ..runs.lent import CALL_SECONDS
from ..visitors import quota, who
from ..visitors.place import is_zero_gpu
from . import lent_drawing, view
from .files import grid_png, zip_file
from .networks import Network, load_elsewhere, load_network
from .samples import PREVIEWS, Samples, keep_samples, sample_all, thumbnails
from .sheet import sheet_png

MIN_COUNT, MAX_COUNT = 4, 16
MAX_FIRST_SEED = 2**53 - MAX_COUNT  # a browser holds whole numbers exactly below 2**53
MAX_STEPS = 250
MAX_STUDENTS = 3
MAX_SOURCE = 1000  # characters of a folder or Hub id
MAX_PAGES = 16  # that sample or wait for it; others wait in gradio's queue, which says nothing
LOOK_SECONDS = 0.3  # between two looks whether it is one's turn
STATE_SECONDS = 3600  # that images stay on the server after the page was closed
SCHEDULER_TITLES = {"ddim": "DDIM", "ddpm": "DDPM", "dpm-solver++": "DPM-Solver++"}
FILES = {"grid": "Grid as PNG", "zip": "All images as zip"}
NETWORKS = {"teacher": "Teacher as .onnx", "student": "First student as .onnx"}  # each with a script that draws with it


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
                        info="Any unconditional DDPM of diffusers, with weights in safetensors, or hub:owner/name of "
                        "a network that was pushed from here.",
                        elem_id="generate-other",
                    )
            with gr.Column(elem_classes="card"):
                count = ClampedSlider(MIN_COUNT, MAX_COUNT, value=8, step=1, label="Images")
                steps = ClampedSlider(2, MAX_STEPS, value=40, step=1, label="Denoising steps")
                seed = NumberField(0, label="First seed", minimum=0)
                scheduler = gr.Radio(
                    [(SCHEDULER_TITLES[n], n) for n in SCHEDULERS], value=SCHEDULERS[0], label="Sampler"
                )
                exports = SaveFiles(NETWORKS, elem_id="generate-exports")
                exported = gr.HTML(elem_id="generate-exported")
            with gr.Row():
                go = gr.Button("Generate", variant="primary", elem_id="generate")
                stop = gr.Button("Stop", elem_id="generate-stop", interactive=False)
        with gr.Column(min_width=320, elem_classes="results"):
            said = gr.HTML(view.INTRODUCTION, elem_id="generate-said")
            grids = ActionHTML(elem_id="grids")
            real = gr.HTML(elem_id="generate-real")
            with gr.Column(visible=False) as saving:
                files = SaveFiles(FILES, elem_id="generate-files")
            way = ActionHTML(elem_id="generate-way")
            near = gr.HTML(elem_id="generate-near")
            with gr.Column(visible=False, elem_classes="card") as charted:
                legend = gr.HTML()
                chart = LivePlot(height=260, label="Memory along each network", elem_id="generate-memory")
    kept = gr.State(None, time_to_live=STATE_SECONDS)
    shown = {
        "said": said,
        "grids": grids,
        "real": real,
        "go": go,
        "stop": stop,
        "kept": kept,
        "saving": saving,
        "way": way,
        "near": near,
        "charted": charted,
        "legend": legend,
        "chart": chart,
    }
    wish = [teacher, students, seed, count, steps, scheduler, other]
    # They wait in a line of their own, see `generate`.
    connect(go.click, generate, wish, shown, concurrency_limit=MAX_PAGES, **UNSEEN)
    stop.click(stop_sampling, None, said, **QUIET)
    connect(grids.act, look, [kept], {"way": way, "near": near}, **QUIET)
    connect(way.act, act_on_way, [kept], {"near": near, "files": files}, **UNSEEN)
    connect(files.ask, save, [kept], {"files": files, "said": said}, **UNSEEN)
    exports.ask(None, None, exported, js=EXPORTING, **QUIET)
    outputs = {"exports": exports, "exported": exported}
    connect(exports.ask, export_network, [teacher, students], outputs, concurrency_limit=2, **UNSEEN)
    offered = {"teacher": teacher, "students": students}
    announced = {name: shown[name] for name in ("said", "grids", "real", "charted", "legend", "chart")}

    def then_announce(event: Any) -> None:
        connect(event, announce, [teacher, students, seed, count, kept], announced, **QUIET)

    connect(page.load, offer, offered, offered, **QUIET)
    then_announce(connect(tab.select, offer, offered, offered, **QUIET).then)
    then_announce(teacher.input(follow, [teacher, students], students, **QUIET).then)
    for event in (students.input, seed.input, count.release):
        then_announce(event)


def offer(teacher: Any, students: Any) -> dict[str, Any]:
    """The diffusion checkpoints there are; what was chosen stays chosen where it still exists."""
    found = choices.checkpoints(choices.is_diffusion)
    teachers = [choice for choice in found if not choice.is_student]
    others = [choice for choice in found if choice.is_student]
    teacher = teacher if teacher in [choice.value for choice in teachers] else next((c.value for c in teachers), None)
    names = [choice.value for choice in others]
    chosen = _still_there(students, names) or _own_students(found, teacher)[:1]
    return {
        "teacher": gr.Radio([(c.title, c.value) for c in teachers], value=teacher),
        "students": gr.CheckboxGroup(_titled(found, teacher), value=chosen),
    }


def follow(teacher: Any, students: Any) -> dict[str, Any]:
    """The students beside another teacher: those chosen that learnt from the same pictures, or else the first such."""
    found = choices.checkpoints(choices.is_diffusion)
    own = _own_students(found, teacher)
    return gr.update(choices=_titled(found, teacher), value=_still_there(students, own) or own[:1])


def _titled(found: Sequence[choices.Choice], teacher: Any) -> list[tuple[str, str]]:
    """All students as they are offered beside a teacher: its own first, of the others what they learnt from."""
    own = _own_students(found, teacher)
    others = [c for c in found if c.is_student and c.value not in own]
    titles = {choice.value: choice.title for choice in found}
    strange = [(f"{c.title} (draws {c.metadata.dataset or 'other pictures'})", c.value) for c in others]
    return [(titles[value], value) for value in own] + strange


def _still_there(chosen: Any, names: Sequence[str]) -> list[str]:
    return [value for value in chosen if value in names] if isinstance(chosen, list) else []


def _own_students(found: Sequence[choices.Choice], teacher: Any) -> list[str]:
    """Students that learnt from the pictures of the teacher chosen."""
    datasets = [choice.metadata.dataset for choice in found if choice.value == teacher]
    return [choice.value for choice in found if choice.is_student and choice.metadata.dataset in datasets]


def announce(teacher: Any, students: Any, seed: Any, count: Any, kept: Any) -> dict[str, Any]:
    """Until the page samples for the first time: the chosen networks, their memory, and the noise they start from."""
    if kept is not None:
        return {}
    try:
        seeds, _ = check_numbers(seed, count, MAX_STEPS)
        networks = [*map(load_network, check_names(teacher, students))]
    except (ValueError, OSError) as error:
        gone = {"grids": "", "real": "", "legend": "", "charted": gr.Column(visible=False)}
        return {"said": notice("", str(error)), **gone}
    said = view.INTRODUCTION + view.strangers(networks)
    return {"said": said, "grids": view.panels(networks, seeds, ready=True), **_charted(networks)}


def generate(
    teacher: Any,
    students: Any,
    seed: Any,
    count: Any,
    steps: Any,
    scheduler: Any,
    other: Any = "",
    request: gr.Request | None = None,
) -> Iterator[dict[str, Any]]:
    """Sample with all chosen networks, step by step together, and show the images as they come.

    One page samples at a time, the one that asked first; the others say that they wait, and can be stopped.
    """
    session, turn = _session(request), object()
    _waiting[turn] = session
    _stopping.discard(session)
    _line.append(turn)
    try:
        if _line[0] is not turn:
            yield _running(view.words("Waiting for another drawing…"))
        while _line[0] is not turn:
            if session in _stopping:
                yield _ended(view.words("Stopped before it began."))
                return
            time.sleep(LOOK_SECONDS)
            yield {}  # gradio ends an event whose page is gone between two of these
        yield from _sample(session, teacher, students, seed, count, steps, scheduler, other)
    finally:
        _line.remove(turn)
        del _waiting[turn]
        if session not in _waiting.values():
            _stopping.discard(session)


def _sample(
    session: str, teacher: Any, students: Any, seed: Any, count: Any, steps: Any, scheduler: Any, other: Any
) -> Iterator[dict[str, Any]]:
    yield _running(view.words("Loading…"))
    try:
        seeds, steps = check_numbers(seed, count, steps)
        elsewhere = check_source(other)
        names = check_names(teacher, students, also=bool(elsewhere))
        networks = [*map(load_network, names), *map(load_elsewhere, elsewhere)]
        noise = view.panels(networks, seeds)  # the images before cannot be clicked any more
        yield {**_running(view.words("Loading…"), noise), **_kept(()), **_charted(networks)}
        if is_zero_gpu():
            yield from _sample_lent(session, networks, seeds, steps, scheduler)
            return
        words, ways = "Done.", [[(0, thumbnails(network.noise(seeds)))] for network in networks]
        for sampled in sample_all(networks, seeds, steps, scheduler):
            step = sampled[0].step.step
            if session in _stopping and step < steps:
                words = f"Stopped at step {step} of {steps}."
                break
            if step % max(1, steps // PREVIEWS) == 0 and step < steps:
                for way, network in zip(ways, sampled, strict=True):
                    way.append((step, thumbnails(network.step.images)))
                yield _running(view.words(f"Step {step} of {steps}"), view.panels(sampled, seeds))
        kept = tuple(keep_samples(network, seeds, scheduler, way) for network, way in zip(sampled, ways, strict=True))
    except (ValueError, OSError) as error:
        yield _ended(notice("Nothing drawn.", str(error)))
        return
    said = view.words(words) + view.strangers(networks)
    yield {**_ended(said), "grids": view.panels(sampled, seeds, kept), **_kept(kept)}


def _sample_lent(
    session: str, networks: Sequence[Network], seeds: list[int], steps: int, scheduler: Any
) -> Iterator[dict[str, Any]]:
    """The same on a GPU that is lent by the call: some images of all networks at a time, and what is left of it."""
    ahead = lent_drawing.calls(networks, len(seeds), steps)
    asked = f"About {ahead} calls" if ahead > 1 else "One call"
    yield _running(view.words(f"{asked} of a lent GPU, each of at most {CALL_SECONDS:.0f} s…{_quota()}"))
    drawn, words, refused = None, "Done.", ""
    try:
        for drawn in lent_drawing.draw_lent(networks, seeds, steps, scheduler):
            quota.spend(drawn.used)
            if len(drawn.seeds) == len(seeds):
                break
            said = f"{len(drawn.seeds)} of {len(seeds)} images drawn…{_quota()}"
            yield _running(view.words(said), view.panels(drawn.networks, drawn.seeds))
            if session in _stopping:
                words = f"Stopped at {len(drawn.seeds)} of {len(seeds)} images."
                break
    except ValueError as error:
        if drawn is None:
            raise
        words, refused = "What was drawn before stands here.", notice("Not all drawn.", str(error))
    kept = _kept_of(drawn, scheduler)
    said = refused + view.words(words + _quota()) + view.strangers(networks)
    yield {**_ended(said), "grids": view.panels(drawn.networks, drawn.seeds, kept), **_kept(kept)}


def _quota() -> str:
    return f" {quota.said(who.account_of_request())}"


def _kept_of(drawn: lent_drawing.Drawn, scheduler: Any) -> tuple[Samples, ...]:
    """What stays of the images that calls have drawn, with the noise that they came from."""
    found = zip(drawn.networks, drawn.ways, strict=True)
    ways = [(network, ((0, thumbnails(network.noise(drawn.seeds))), *way)) for network, way in found]
    return tuple(keep_samples(network, drawn.seeds, scheduler, way) for network, way in ways)


def _running(said: str, grids: str | None = None) -> dict[str, Any]:
    shown = {"said": said, "go": gr.Button(interactive=False), "stop": gr.Button(interactive=True)}
    return shown if grids is None else {**shown, "grids": grids}


def _ended(said: str) -> dict[str, Any]:
    return {"said": said, "go": gr.Button(interactive=True), "stop": gr.Button(interactive=False)}


def _kept(samples: tuple[Samples, ...]) -> dict[str, Any]:
    """The images that can be clicked and saved from now on; what was looked at before goes."""
    return {"kept": samples, "saving": gr.Column(visible=bool(samples)), "way": "", "near": ""}


def _charted(networks: Sequence[Network]) -> dict[str, Any]:
    charted = {"charted": gr.Column(visible=True), "legend": view.legend(networks), "chart": view.chart(networks)}
    return {**charted, "real": view.real_card(networks)}


def look(event: gr.EventData, kept: Any) -> dict[str, str]:
    """The way from noise to the image that was clicked, in every network; what was found near another goes."""
    try:
        return {"way": view.way_card(_kept_samples(kept), _clicked_seed(event)), "near": ""}
    except ValueError as error:
        return {"way": notice("", str(error)), "near": ""}


def act_on_way(event: gr.EventData, kept: Any) -> dict[str, Any]:
    """What a button below the image that is looked at asks for: the training pictures nearest to it, or its sheet."""
    try:
        found, seed = _kept_samples(kept), _clicked_seed(event)
        if event_values(event).get("act") == "sheet":
            return {"files": handed(f"redistill-seed-{seed}-sheet.png", sheet_png(found, seed))}
        return {"near": view.nearest_card(found, seed)}
    except ValueError as error:
        return {"near": notice("", str(error))}


def save(event: gr.EventData, kept: Any) -> dict[str, Any]:
    """The file that was asked for, one of FILES, for the browser to save."""
    try:
        asked, found = event_values(event).get("save"), _kept_samples(kept)
        if not isinstance(asked, str) or asked not in FILES:
            raise ValueError(f"There is no file {str(asked)[:40]!r} to save; expected one of {list(FILES)}.")
    except ValueError as error:
        return {"said": notice("Nothing saved.", str(error))}
    name, content = ("images.png", grid_png(found)) if asked == "grid" else ("images.zip", zip_file(found))
    return {"files": handed(name, content)}


@refused_in("exported")
def export_network(event: gr.EventData, teacher: Any, students: Any) -> dict[str, Any]:
    """The teacher or the first student that is chosen as .onnx, in a zip file with the script that draws with it."""
    asked = event_values(event).get("save")
    if not isinstance(asked, str) or asked not in NETWORKS:
        raise ValueError(f"There is no file {str(asked)[:40]!r} to export; expected one of {list(NETWORKS)}.")
    first = next(iter(students), None) if isinstance(students, (list, tuple)) else None
    value = teacher if asked == "teacher" else first
    if value in (None, ""):
        raise ValueError(f"No {asked} is chosen; choose one above.")
    choice = choices.find(value, choices.is_diffusion)
    made = export_with_sampler(choices.folder(choice), re.sub("[^A-Za-z0-9_-]+", "-", choice.value))
    return {"exports": handed(made.name, made.content), "exported": told(made.lines)}


def _kept_samples(value: Any) -> tuple[Samples, ...]:
    if not isinstance(value, tuple) or not value:
        raise ValueError("The images are no longer here; draw them again.")
    return value


def _clicked_seed(event: Any) -> int:
    seed = event_values(event).get("seed")
    if not isinstance(seed, str) or not seed.isdecimal() or len(seed) > 20:
        raise ValueError(f"Seed is {str(seed)[:40]!r}; expected that of an image.")
    return int(seed)


# Pages that asked to stop. Gradio's `cancels` leaves a cancelled event pending on the page, which then ignores the
# next click; so the sampling itself looks here between steps.
_stopping: set[str] = set()
# What was asked for, in that order; the first one is being sampled. And which page asked.
_line: list[object] = []
_waiting: dict[object, str] = {}


def stop_sampling(request: gr.Request | None = None) -> str:
    """Let the page's sampling end after the step that it is at."""
    if (session := _session(request)) in _waiting.values():  # or names of pages that are gone would stay
        _stopping.add(session)
    return view.words("Stopping…")


def _session(request: gr.Request | None) -> str:
    return getattr(request, "session_hash", None) or ""


def check_source(other: Any) -> list[str]:
    """The folder or Hub id that was typed, if any; ValueError for what is no text."""
    if other is None:  # the field was never opened
        return []
    if not isinstance(other, str) or len(other) > MAX_SOURCE:
        raise ValueError(f"Folder or Hub id is {str(other)[:40]!r}; expected a text such as google/ddpm-cifar10-32.")
    other = other.strip()
    return [other if other.startswith(ON_HUB) else hub_id(other)] if other else []


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
    if not (is_number(value) and low <= value <= high and value == int(value)):
        given = "empty" if value is None else str(value)[:40]
        raise ValueError(f"{name} is {given}; expected a whole number from {low} to {high}.")
    return int(value)

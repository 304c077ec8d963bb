"""Find strides that fit: a search over all stride settings of the teacher, with a row to click for each good one."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

import gradio as gr

from redistill.memory.comparison import student_tape
from redistill.memory.patch_search import PatchedCandidate
from redistill.memory.patch_search import search_patches as patches_on_top
from redistill.memory.search import REDUCTIONS, Done, SearchResult, search_steps
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig
from redistill.training.shared_weights import SharedWeights, measured

from ..parts.budget import CONTROLS, OTHER, read_budget
from ..parts.counting import COUNTINGS
from ..parts.events import QUIET, UNSEEN, connect, refused_in
from ..parts.fields import NumberField
from ..parts.fragments import notice, status_line
from ..parts.scripted import ActionHTML, SaveFiles, handed
from . import accuracy_front, accuracy_panel, search_table
from .form import read_settings
from .link import Settings, clip

DEFAULT_BUDGET = 512.0  # KiB
WISH = ("search_budget", "search_reduction", "search_red", "search_patches")  # the panel's own settings
KIB = 2**10
TELL_EVERY = 0.5  # seconds, at least
# A link to the page that ends in #fit searches at once. What is folded is not there before it was opened.
SEARCH = """() => {
  const fold = document.querySelector('#search button');
  if (!fold.classList.contains('open')) fold.click();
  const start = () => {
    const button = document.querySelector('#search-start');
    if (!button) return setTimeout(start, 50);
    button.click();
    document.querySelector('#search').scrollIntoView({block: 'center', behavior: 'smooth'});
  };
  start();
}"""
START = f"() => {{ if (location.hash === '#fit') ({SEARCH})(); }}"
# What was found for other settings says so, and where the page was opened to search it is found anew, once those rest.
STALE = """() => {
  const rows = document.querySelector('#front .front-rows');
  if (!rows) return;
  if (!document.querySelector('#front .outdated')) {
    const said = Object.assign(document.createElement('p'), {className: 'outdated', role: 'status'});
    said.textContent = 'Settings have changed since: this was found for those before. Search again.';
    document.querySelector('#front .student').before(said);
  }
  clearTimeout(window.searchSoon);
  if (location.hash !== '#fit') return;
  window.searchSoon = setTimeout(() => document.querySelector('#search-start').click(), 600);
}"""
# Controls that a search does not ask for: rows set the strides, and the panel has a choice of RED blocks of its own.
UNSEARCHED = ("picker", "with_red", "patch")
REDUCTION_LABELS = {"same": "As the teacher", "any": "Any"}


def build() -> dict[str, gr.components.Component]:
    """A folded card with the settings of the search and its result, in the Blocks context where it should stand."""
    with gr.Accordion("Find strides that fit", open=False, elem_classes="card fold", elem_id="search"):
        with gr.Row(elem_classes="search-form"):
            budget = NumberField(DEFAULT_BUDGET, label="Memory to fit, KiB", minimum=0, min_width=130)
            reductions = [(REDUCTION_LABELS[name], name) for name in REDUCTIONS]
            reduction = gr.Radio(reductions, value="same", label="Total reduction")
            with_red = gr.Checkbox(True, label="With RED blocks")
            with_patches = gr.Checkbox(False, label="And patch by patch (takes longer)")
        start = gr.Button("Search", size="sm", elem_id="search-start")
        front = ActionHTML(elem_id="front")
        save = SaveFiles({"search": "Save all as CSV"}, elem_id="search-files")
    wish = {"search_budget": budget, "search_reduction": reduction, "search_red": with_red}
    return {**wish, "search_patches": with_patches, "search": start, "front": front, "search_files": save}


def attach(parts: Mapping[str, Any], controls: Mapping[str, gr.components.Component]) -> None:
    """Search for what the controls are set to when the button among `parts` is clicked.

    The panel's budget takes over what Explore's own is set to.
    """
    budget = [parts[name] for name in CONTROLS]
    gr.on([part.change for part in budget], take_budget, budget, parts["search_budget"], **QUIET)
    start_after(partial(gr.on, [part.input for part in budget]), parts, STALE)
    changed = [parts[name].input for name in WISH]  # rows and links set these and budgets too
    changed += [part.change for name, part in controls.items() if name not in (*UNSEARCHED, *CONTROLS)]
    gr.on(changed, None, js=STALE, **QUIET)
    outputs = {name: parts[name] for name in ("front", "search")}
    wish = {name: parts[name] for name in WISH}
    waiting = connect(parts["search"].click, wait, [], outputs, **QUIET)
    given = {"weights": parts["weights"], **wish, **controls}
    connect(waiting.then, find, given, outputs, concurrency_limit=1, **UNSEEN)
    files = {name: parts[name] for name in ("search_files", "front")}
    connect(parts["search_files"].ask, save, given, files, concurrency_limit=1, **UNSEEN)


def start_after(event: Callable[..., Any], parts: Mapping[str, Any], js: str) -> None:
    """Let `event` run a script that searches, once the panel has Explore's budget: a busy server answers late."""
    budget = [parts[name] for name in CONTROLS]
    event(fn=take_budget, inputs=budget, outputs=parts["search_budget"], **QUIET).then(None, js=js, **QUIET)


def wait() -> dict[str, Any]:
    """What stands on the page until the result is there."""
    return {"front": status_line("Searching…"), "search": gr.Button(interactive=False)}


def find(weights: Any, **values: Any) -> Iterator[dict[str, Any]]:
    """What `show` gives, or, with weights for all strides of the network that is shown, the front of measured accuracy.

    Choices that were not measured yet are measured first; how many are is said meanwhile.
    """
    try:
        shared = accuracy_panel.chosen(weights, values)
        if shared is None:
            yield from _told(values)
            yield show(**values)
            return
        for number, count in accuracy_front.fill(shared, accuracy_panel.PICTURES):
            yield {"front": status_line(f"Measuring accuracy: {number} of {count} choices are known…")}
        asked, values = values, _as_measured(shared, values)
        shown = accuracy_front.show(shared, _wanted(values["search_budget"], values["search_red"], values))
        if asked["search_reduction"] != values["search_reduction"]:
            words = "These weights are for choices that reduce as much as the network’s own; no others were searched."
            shown += notice("", words, kind="hint")
        if values.get("search_patches") is True:  # whose accuracy nobody measures: it is that of the same strides
            yield from _told(values)
            shown += search_table.patched_rows(*_searched(**values))
    except (ValueError, OSError) as error:
        shown = notice("Not searched.", str(error))
    yield {"front": shown, "search": gr.Button(interactive=True)}


def show(**values: Any) -> dict[str, Any]:
    """The sentence and the rows for these values, whatever they are; a sentence where nothing is searched.

    A row is a link to its settings, the budget among them.
    """
    try:
        shown = search_table.result(*_searched(**values))
    except ValueError as error:
        shown = notice("Not searched.", str(error))
    return {"front": shown, "search": gr.Button(interactive=True)}


def _as_measured(shared: SharedWeights, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a search for strides of these weights: with their RED blocks, or none, and their reduction."""
    student = shared.metadata.student
    blocks = {} if student.red is None else {"alignment": student.alignment, **dataclasses.asdict(student.red)}
    has_red = student.red is not None
    return {**values, **blocks, "with_red": has_red, "search_red": has_red, "search_reduction": "same"}


@refused_in("front", "Not saved.")
def save(weights: Any = accuracy_panel.NONE, **values: Any) -> dict[str, Any]:
    """All that the search finds for what the controls are set to now, as a CSV file, with accuracies of the weights."""
    shared = accuracy_panel.chosen(weights, values)
    if shared is not None:
        values = _as_measured(shared, values)
    found, settings, patched = _searched(**values)
    text = search_table.csv_text(found, settings, patched, None if shared is None else measured(shared))
    name = re.sub("[^a-zA-Z0-9._-]", "-", f"strides-{settings.student.teacher}-{settings.accounting}-{settings.dtype}")
    return {"search_files": handed(f"{name}.csv", text)}


def _searched(
    search_budget: Any, search_reduction: Any, search_red: Any, search_patches: Any = False, **values: Any
) -> tuple[SearchResult, Settings, list[PatchedCandidate] | None]:
    """What the search finds for the panel's own settings among `values`, in which settings, and patch by patch."""
    settings = _wanted(search_budget, search_red, values)
    found = search(settings, _reduction(search_reduction))
    return found, settings, _with_patches(settings, search_reduction, search_patches)


def _with_patches(settings: Settings, reduction: str, wanted: Any) -> list[PatchedCandidate] | None:
    """What fits the budget patch by patch, where that is asked for; kept. ValueError where there is no budget."""
    budget, held, student = settings.budget_bytes, _held(settings, reduction), settings.student
    if wanted is not True:
        return None
    if budget is None:
        raise ValueError("Patches need a memory to fit; give one in KiB.")
    if budget not in held.patched:
        tape = student_tape(student)
        counted = {"dtype": settings.dtype, **COUNTINGS[settings.accounting].settings}
        counted |= {"batch": settings.batch, **_blocks(student)}
        held.patched[budget] = patches_on_top(tape, held.result, budget, student.image_size, **counted)
    return held.patched[budget]


def _wanted(search_budget: Any, search_red: Any, values: Mapping[str, Any]) -> Settings:
    """What is searched: Explore's settings with the panel's own."""
    settings = _budgeted(read_settings(values), search_budget)
    red = None if search_red is False else settings.student.red or REDConfig()
    student = dataclasses.replace(settings.student, red=red)
    return dataclasses.replace(settings, student=student)


def _budgeted(settings: Settings, kib: Any) -> Settings:
    """The settings with the panel's own budget; that of Explore stays, chip and all, where it is as large."""
    target = read_budget(OTHER, None if kib == "" else kib)
    if target and settings.budget and settings.budget.bytes == target.bytes:
        return settings
    return dataclasses.replace(settings, budget=target)


def _told(values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """How far the search is, while it captures networks that no tape tells of."""
    others = dict(values)
    budget, reduction, red, _ = (others.pop(name, None) for name in WISH)
    told = 0.0
    for done, count, captured in searching(_wanted(budget, red, others), _reduction(reduction)):
        if captured and time.monotonic() - told > TELL_EVERY:
            told = time.monotonic()
            words = f"Searching: {done:,} of {count:,} stride settings, {captured:,} captured anew…"
            yield {"front": status_line(words)}


def take_budget(*controls: Any) -> Any:
    """The budget that Explore is set to in KiB; the panel's own stays where that is none."""
    try:
        target = read_budget(*controls)
    except ValueError:  # said above the chart
        return gr.skip()
    return target.bytes / KIB if target else gr.skip()


def search(settings: Settings, reduction: str) -> SearchResult:
    """Every choice of strides for the student's teacher, size and RED blocks; its own strides do not matter."""
    for _ in searching(settings, reduction):
        pass
    return _held(settings, reduction).result


def searching(settings: Settings, reduction: str) -> Iterator[Done]:
    """The same step by step, once: what was searched is kept."""
    held, student = _held(settings, reduction), settings.student
    if held.result is None:
        held.result = yield from search_steps(
            student_tape(student),
            student.image_size,
            batch=settings.batch,
            reduction=reduction,
            **_blocks(student),
            dtype=settings.dtype,
            room=settings.room,
            **COUNTINGS[settings.accounting].settings,
        )


@dataclasses.dataclass
class _Held:
    """The result of a search, once there is one, and what was searched patch by patch on top of it."""

    result: SearchResult | None = None
    patched: dict[int, list[PatchedCandidate]] = dataclasses.field(default_factory=dict)  # by budget in bytes


def _held(settings: Settings, reduction: str) -> _Held:
    student = settings.student
    images = (student.image_size, student.in_channels, student.stem, settings.batch)
    counted = (settings.accounting, settings.dtype, settings.room)
    return _holder(student.teacher, images, reduction, *_blocks(student).values(), *counted)


def _blocks(student: StudentConfig) -> dict[str, Any]:
    """What a search is told of RED blocks."""
    return {"red": student.red, "alignment": student.alignment}


@lru_cache(maxsize=16)
def _holder(*searched: Any) -> _Held:
    return _Held()


def _reduction(value: Any) -> str:
    if not isinstance(value, str) or value not in REDUCTIONS:
        raise ValueError(f"Total reduction is {clip(value)}; expected one of {', '.join(REDUCTION_LABELS.values())}.")
    return value

"""Find strides that fit: a search over all stride settings of the teacher, with a row to click for each good one."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from html import escape
from typing import Any

import gradio as gr

from redistill.memory.comparison import network_tape
from redistill.memory.search import REDUCTIONS, STRIDES, Candidate, Done, SearchResult, search_steps
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import find_network

from ..parts.budget import CONTROLS, OTHER, read_budget
from ..parts.counting import COUNTINGS
from ..parts.events import QUIET, UNSEEN, connect
from ..parts.fields import NumberField
from ..parts.fragments import notice
from ..parts.scripted import ActionHTML
from ..words.numbers import format_bytes, format_duration, format_pixels, format_ratio
from . import accuracy_front, accuracy_panel
from .form import read_settings
from .link import Settings, clip, to_query

DEFAULT_BUDGET = 512.0  # KiB
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
REDUCTION_LABELS = {"same": "As the teacher", "any": "Any"}


def build() -> dict[str, gr.components.Component]:
    """A folded card with the settings of the search and its result, in the Blocks context where it should stand."""
    with gr.Accordion("Find strides that fit", open=False, elem_classes="card fold", elem_id="search"):
        with gr.Row(elem_classes="search-form"):
            budget = NumberField(DEFAULT_BUDGET, label="Memory to fit, KiB", minimum=0, min_width=130)
            reductions = [(REDUCTION_LABELS[name], name) for name in REDUCTIONS]
            reduction = gr.Radio(reductions, value="same", label="Total reduction")
            with_red = gr.Checkbox(True, label="With RED blocks")
        start = gr.Button("Search", size="sm", elem_id="search-start")
        front = ActionHTML(elem_id="front")
    wish = {"search_budget": budget, "search_reduction": reduction, "search_red": with_red}
    return {**wish, "search": start, "front": front}


def attach(parts: Mapping[str, Any], controls: Mapping[str, gr.components.Component]) -> None:
    """Search for what the controls are set to when the button among `parts` is clicked.

    The panel's budget takes over what Explore's own is set to.
    """
    budget = [parts[name] for name in CONTROLS]
    gr.on([part.change for part in budget], take_budget, budget, parts["search_budget"], **QUIET)
    outputs = {name: parts[name] for name in ("front", "search")}
    wish = {name: parts[name] for name in ("search_budget", "search_reduction", "search_red")}
    waiting = connect(parts["search"].click, wait, [], outputs, **QUIET)
    given = {"weights": parts["weights"], **wish, **controls}
    connect(waiting.then, find, given, outputs, concurrency_limit=1, **UNSEEN)


def wait() -> dict[str, Any]:
    """What stands on the page until the result is there."""
    words = '<p class="subline" role="status">Searching…</p>'
    return {"front": words, "search": gr.Button(interactive=False)}


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
        settings = _budgeted(read_settings(values), values["search_budget"])
        for number, count in accuracy_front.fill(shared, accuracy_panel.PICTURES):
            words = f'<p class="subline" role="status">Measuring accuracy: {number} of {count} choices are known…</p>'
            yield {"front": words}
        shown = accuracy_front.show(shared, settings)
    except (ValueError, OSError) as error:
        shown = notice("Not searched.", str(error))
    yield {"front": shown, "search": gr.Button(interactive=True)}


def show(search_budget: Any, search_reduction: Any, search_red: Any, **values: Any) -> dict[str, Any]:
    """The sentence and the rows for these values, whatever they are; a sentence where nothing is searched.

    A row is a link to its settings, the budget among them.
    """
    try:
        settings = _wanted(search_budget, search_red, values)
        shown = _result(search(settings, _reduction(search_reduction)), settings)
    except ValueError as error:
        shown = notice("Not searched.", str(error))
    return {"front": shown, "search": gr.Button(interactive=True)}


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
    budget, reduction, red = (others.pop(f"search_{name}") for name in ("budget", "reduction", "red"))
    told = 0.0
    for done, count, captured in searching(_wanted(budget, red, others), _reduction(reduction)):
        if captured and time.monotonic() - told > TELL_EVERY:
            told = time.monotonic()
            words = f"Searching: {done:,} of {count:,} stride settings, {captured:,} captured anew…"
            yield {"front": f'<p class="subline" role="status">{words}</p>'}


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
            network_tape(student.teacher, image_size=student.image_size, in_channels=student.in_channels),
            student.image_size,
            batch=settings.batch,
            strides=STRIDES,
            reduction=reduction,
            red=student.red,
            dtype=settings.dtype,
            **COUNTINGS[settings.accounting].settings,
        )


@dataclasses.dataclass
class _Held:
    """The result of a search, once there is one."""

    result: SearchResult | None = None


def _held(settings: Settings, reduction: str) -> _Held:
    student = settings.student
    images = (student.image_size, student.in_channels, settings.batch)
    return _holder(student.teacher, images, reduction, student.red, settings.accounting, settings.dtype)


@lru_cache(maxsize=16)
def _holder(*searched: Any) -> _Held:
    return _Held()


def _reduction(value: Any) -> str:
    if not isinstance(value, str) or value not in REDUCTIONS:
        raise ValueError(f"Total reduction is {clip(value)}; expected one of {', '.join(REDUCTION_LABELS.values())}.")
    return value


def _result(found: SearchResult, settings: Settings) -> str:
    """The answer in one sentence, the front below it, and what was searched."""
    budget = settings.budget_bytes
    rows = [candidate for candidate in found.front if candidate.peak_bytes <= found.teacher.peak_bytes]
    fitting = [candidate for candidate in rows if budget is not None and candidate.peak_bytes <= budget]
    best = fitting[-1] if fitting else None
    table = "".join(_row(candidate, found.teacher, settings, candidate is best) for candidate in rows)
    fits = "" if budget is None else "<th>Fits</th>"
    return (
        f'<p class="student" role="status">{_sentence(found, best, budget)}</p><div class="scroll front-rows">'
        '<table class="facts numbers front"><thead><tr><th>Strides</th><th>Peak</th>'
        '<th title="how many times less than the teacher">Ratio</th>'
        f'<th title="of the teacher’s, RED blocks left out">MACs</th>{fits}</tr></thead><tbody>{table}</tbody></table>'
        f'</div><p class="subline">{_searched(found, settings)}</p>'
    )


def _sentence(found: SearchResult, best: Candidate | None, budget: int | None) -> str:
    tried = f"{found.tried:,} stride settings"
    least = f"the smallest peak is {format_bytes(found.candidates[0].peak_bytes)}"
    if budget is None:
        return f"Of {tried}, {least}."
    fitting = sum(candidate.peak_bytes <= budget for candidate in found.candidates)
    if not fitting:
        return f"None of {tried} fits {budget / KIB:,g} KiB; {least}."
    said = f"{fitting:,} of {tried} {'fits' if fitting == 1 else 'fit'} {budget / KIB:,g} KiB"
    return f"{said}; the best keeps {_kept(best, found.teacher)} of the teacher’s MACs." if best else f"{said}."


def _row(candidate: Candidate, teacher: Candidate, settings: Settings, is_best: bool) -> str:
    student = dataclasses.replace(settings.student, strides=candidate.strides)
    query = escape(to_query(dataclasses.replace(settings, student=student)))
    strides = "·".join(str(stride) for stride in candidate.strides.values())
    cells = [
        f'<button type="button" class="plain" title="{escape(_named(candidate))}">{strides}</button>',
        f'<span class="nowrap">{format_bytes(candidate.peak_bytes)}</span>',
        format_ratio(teacher.peak_bytes, candidate.peak_bytes),
        _kept(candidate, teacher),
    ]
    if settings.budget_bytes is not None:
        cells.append("yes" if candidate.peak_bytes <= settings.budget_bytes else "no")
    kind = ' class="best"' if is_best else ""
    return f'<tr data-act="open" data-query="{query}"{kind}>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _named(candidate: Candidate) -> str:
    return ", ".join(f"{name} {stride}" for name, stride in candidate.strides.items())


def _kept(candidate: Candidate, teacher: Candidate) -> str:
    """The network's own MACs as a share of the teacher's; RED blocks compute besides."""
    return f"{100 * candidate.bare_macs / teacher.macs:.0f} %"


def _searched(found: SearchResult, settings: Settings) -> str:
    student: StudentConfig = settings.student
    refused = f"{found.refused:,} do not fit the image. " if found.refused else ""
    refused += f"{found.captured:,} were captured anew. " if found.captured else ""
    blocks = "with RED blocks" if student.red else "without RED blocks"
    return (
        f"{escape(find_network(student.teacher).title)}, {format_pixels(student.image_size)}, {blocks}, "
        f"{settings.accounting}, {settings.dtype}. {refused}Searched in {format_duration(found.seconds)}. Click a row "
        "to see it above. MACs stand in for the accuracy that can be kept; they are no promise of it."
    )

"""Find strides that fit: a search over all stride settings of the teacher, with a row to click for each good one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from html import escape
from typing import Any

import gradio as gr

from redistill.memory.comparison import network_tape
from redistill.memory.search import REDUCTIONS, STRIDES, Candidate, SearchResult, search_strides
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import find_network

from ..parts.budget import OTHER, read_budget
from ..parts.counting import COUNTINGS
from ..parts.fields import NumberField
from ..parts.fragments import notice
from ..parts.scripted import ActionHTML
from ..words.numbers import format_bytes, format_duration, format_ratio
from .link import Settings, clip, to_query
from .link_button import SettingsLink

DEFAULT_BUDGET = 512.0  # KiB
KIB = 2**10
REDUCTION_LABELS = {"same": "As the teacher", "any": "Any"}


class SearchPanel:
    """A folded card with the settings of the search and its result; build it where it should stand."""

    def __init__(self) -> None:
        with gr.Accordion("Find strides that fit", open=False, elem_classes="card fold", elem_id="search"):
            with gr.Row(elem_classes="search-form"):
                self.budget = NumberField(DEFAULT_BUDGET, label="Memory to fit, KiB", minimum=0, min_width=130)
                self.reduction = gr.Radio(
                    [(REDUCTION_LABELS[name], name) for name in REDUCTIONS], value="same", label="Total reduction"
                )
                self.with_red = gr.Checkbox(True, label="With RED blocks")
            self.button = gr.Button("Search", size="sm", elem_id="search-start")
            self.shown = ActionHTML(elem_id="front")

    def attach(
        self,
        controls: Sequence[gr.components.Component],
        budget: Sequence[gr.components.Component],
        read: Callable[[Mapping[Any, Any]], Settings],
        link: SettingsLink,
    ) -> None:
        """Search for what the controls are set to, which `read` turns into settings; a row opens as a link does.

        `budget` are the two of the controls that set Explore's own; the panel's takes over what they are set to.
        """
        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        gr.on([part.change for part in budget], take_budget, list(budget), self.budget, queue=False, **quiet)
        outputs = [self.shown, self.button]
        self.button.click(self.wait, None, outputs, queue=False, **quiet).then(
            lambda values: self.show(read, values),
            {self.budget, self.reduction, self.with_red, *controls},
            outputs,
            concurrency_limit=1,
            **quiet,
        )
        self.shown.act(link.open_row, link.inputs, link.opened, queue=False, **quiet)

    def wait(self) -> dict[Any, Any]:
        """What stands on the page until the result is there."""
        return {
            self.shown: '<p class="subline" role="status">Searching…</p>',
            self.button: gr.Button(interactive=False),
        }

    def show(self, read: Callable[[Mapping[Any, Any]], Settings], values: Mapping[Any, Any]) -> dict[Any, Any]:
        """The sentence and the rows for these values, whatever they are; a sentence where nothing is searched.

        A row is a link to its settings, the budget among them.
        """
        budget = values[self.budget]
        try:
            target = read_budget(OTHER, None if budget == "" else budget)
            settings = read(values)
            red = None if values[self.with_red] is False else settings.student.red or REDConfig()
            settings = dataclasses.replace(
                settings,
                student=dataclasses.replace(settings.student, red=red),
                budget_bytes=target.bytes if target else None,
            )
            shown = _result(search(settings, _reduction(values[self.reduction])), settings)
        except ValueError as error:
            shown = notice("Not searched.", str(error))
        return {self.shown: shown, self.button: gr.Button(interactive=True)}


def take_budget(choice: Any, kib: Any) -> Any:
    """The budget that Explore is set to in KiB; the panel's own stays where that is none."""
    try:
        target = read_budget(choice, kib)
    except ValueError:  # said above the chart
        return gr.skip()
    return target.bytes / KIB if target else gr.skip()


def search(settings: Settings, reduction: str) -> SearchResult:
    """Every choice of strides for the student's teacher, size and RED blocks; its own strides do not matter."""
    student = settings.student
    return _search(student.teacher, student.image_size, reduction, student.red, settings.accounting, settings.dtype)


@lru_cache(maxsize=16)
def _search(
    teacher: str, image_size: int, reduction: str, red: REDConfig | None, accounting: str, dtype: str
) -> SearchResult:
    return search_strides(
        network_tape(teacher),
        image_size,
        strides=STRIDES,
        reduction=reduction,
        red=red,
        dtype=dtype,
        **COUNTINGS[accounting].settings,
    )


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
    blocks = "with RED blocks" if student.red else "without RED blocks"
    return (
        f"{escape(find_network(student.teacher).title)}, {student.image_size} px, {blocks}, {settings.accounting}, "
        f"{settings.dtype}. {refused}Searched in {format_duration(found.seconds)}. Click a row to see it above. MACs "
        "stand in for the accuracy that can be kept; they are no promise of it."
    )

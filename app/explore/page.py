"""Tab Explore: choose a teacher, its student's strides and RED blocks; see live memory through both at once.

Handlers take what the controls are set to by their names, see `form`, and return what is shown now by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from redistill.checkpoint.sources import ON_HUB
from redistill.memory.comparison import Comparison
from redistill.memory.patching import PatchedMemory
from redistill.memory.usual_strides import early_strides, own_strides
from redistill.networks.names import is_own
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import DDPM, NETWORKS, find_network, usual_size

from ..parts.budget import CONTROLS, OTHER, Budget, budget_controls
from ..parts.counting import compare_as
from ..parts.events import QUIET, connect
from ..parts.fragments import notice
from ..parts.link_button import CHANGED
from ..parts.networks import check_network, let_search
from ..parts.scripted import event_values
from ..parts.stride_picker import StridePicker
from ..parts.trace import Place, read_place
from ..runs import from_hub
from ..visitors.who import token_of_request
from . import accuracy_panel, measure_panel, patch_panel, plan_panel, pooled_panel, report_panel, search_panel, view
from .form import (
    CONFIGURATION,
    IMAGES,
    IN_RED,
    INPUTS,
    LINKED,
    Look,
    budget_of,
    read_batch,
    read_counting,
    read_found,
    read_look,
    read_settings,
    read_size,
    set_to,
    sides,
)
from .layout import build_controls, build_results
from .link import (
    DEFAULT_TEACHER,
    KEYS,
    Settings,
    clip,
    from_query,
    parse_query,
    patch_text,
    read_patch,
    to_query,
    unknown_keys,
)
from .pins import Pin, add_pin, find_pin

LIVE = {**QUIET, "trigger_mode": "always_last"}
TASKS = ("classification", "diffusion")  # that can be distilled
SCROLL = "() => document.querySelector('#alive').scrollIntoView({block: 'nearest', behavior: 'smooth'})"
# What `_drawn` fills; `drawn` notes what of.
DRAWN = ("student", "distil", "summary", "chart", "pairs", "board", "tensors", "table", "drawn")
_STAYS = "Below stands what fitted last."
SET = (*CONFIGURATION, *DRAWN)  # what `show_student` fills
Parts = dict[str, Any]  # components of the tab by name
Shown = dict[str, Any]


def build(page: gr.Blocks) -> Parts:
    """Lay the tab out inside the current Blocks context of `page`, connect its events, and return its components."""
    entry = NETWORKS[DEFAULT_TEACHER]
    found = compare_as(StudentConfig(entry.name, entry.image_size, strides=early_strides(entry.name)))
    parts: Parts = {"pins": gr.State(()), "place": gr.State(Place())}
    with gr.Row(elem_classes="columns"):
        with gr.Column(min_width=300, elem_classes="controls"):
            parts |= build_controls(found)
        parts |= build_results(found)
    parts["drawn"] = gr.State(to_query(Settings(found.config)))
    _connect_controls(parts)
    _connect_link(parts, page)
    linked = {name: parts[name] for name in LINKED}
    accuracy_panel.attach(parts, linked, page)
    report_panel.attach(parts, linked)
    search_panel.attach(parts, linked)
    patch_panel.CARD.attach(parts, linked)
    plan_panel.CARD.attach(parts, linked)
    pooled_panel.attach(parts)
    measure_panel.CARD.attach(parts, linked)
    return parts


def _connect_controls(parts: Parts) -> None:
    inputs = {name: parts[name] for name in (*INPUTS, "student")}
    redrawn = [
        parts[name].input
        for name in ("stem", "alignment", *IN_RED, *IMAGES, "with_red", "accounting", "dtype", *CONTROLS[1:])
    ]
    looked = ("place", "alive", "tensors")
    for event, handler, names in (
        *((event, show, ("picker", *DRAWN)) for event in (*redrawn, parts["picker"].pick)),
        (parts["budget"].input, show_budget, (*CONTROLS[1:], "picker", *DRAWN)),
        (parts["teacher"].input, show_teacher, ("patch", *SET)),
        *((event, show, ("picker", *DRAWN)) for event in (parts["patch"].submit, parts["patch"].blur)),
        (parts["patched"].act, use_patch, ("patch", "picker", *DRAWN)),
        (parts["early"].click, pool_early, ("picker", *DRAWN)),
        (parts["original"].click, pool_as_teacher, ("picker", *DRAWN)),
        (parts["pin"].click, pin_shown, ("pins", "chart", "board", "drawn")),
        (parts["board"].act, use_pin, ("pins", *SET)),
        *((event, look_at, looked) for event in (parts["chart"].mark_click, parts["table"].pick, parts["tensors"].act)),
    ):
        done = connect(event, handler, inputs, {name: parts[name] for name in names}, **LIVE)
        if handler is look_at:
            done.then(None, js=SCROLL, **LIVE)


def _connect_link(parts: Parts, page: gr.Blocks) -> None:
    """Open the page's own link when it is loaded, keep the link up to date, and open the links of the search's rows."""
    inputs = {name: parts[name] for name in INPUTS}
    opened = {name: parts[name] for name in ("link_said", "link", *LINKED, "pins", *DRAWN)}
    loaded = connect(page.load, open_page, inputs, opened, **QUIET)
    search_panel.start_after(loaded.then, parts, search_panel.START)
    let_search(parts["teacher"])
    search_panel.start_after(parts["summary"].act, parts, search_panel.SEARCH)
    connect(parts["front"].act, open_row, inputs, opened, **QUIET)
    notify = f"() => {{ document.dispatchEvent(new Event('{CHANGED}')); }}"
    changing = (*LINKED, "board", "summary")  # gradio cannot tell whether a State changed that holds dicts
    gr.on([parts[name].change for name in changing], None, js=notify, **QUIET)
    told = {name: parts[name] for name in ("link", "link_said", "picker", *DRAWN)}
    followed = {name: parts[name] for name in ("link", "drawn", "student")} | inputs
    connect(parts["link"].stale, follow, followed, told, **LIVE)


def show(**values: Any) -> Shown:
    """Everything that a change of a control redraws. What does not fit is said, and the chart stays as it was."""
    try:
        found, look = read_found(values), read_look(values)
    except ValueError as error:
        return {} if _is_on_its_way(values) else _refused(error, values)
    return {"picker": StridePicker(sizes=view.map_sizes(found)), **_drawn(found, look)}


def show_budget(**values: Any) -> Shown:
    """The same for another budget, with the fields that belong to it: a number of KiB, or what is taken of a chip."""
    values |= {"reserve": None, "program": None}  # of the chip that was chosen before
    try:
        fields = budget_fields(values["budget"], budget_of(values))
    except ValueError as error:
        return _refused(error, values)
    return {**fields, **show(**values)}


def budget_fields(choice: str, budget: Budget | None) -> Shown:
    """The three fields beside the choice of a budget: only those that belong to it are there; values as it has them."""
    values = budget_controls(budget)
    room = budget.room if budget else None
    kib = {} if budget is None or room else {"value": values["kib"]}
    reserve = {"value": values["reserve"], "visible": True} if room else {"visible": False}
    program = {"value": values["program"], "visible": True} if room and room.chip.flash else {"visible": False}
    return {
        "kib": gr.Number(visible=choice == OTHER, **kib),
        "reserve": gr.Number(**reserve),
        "program": gr.Number(**program),
    }


def show_teacher(**values: Any) -> Shown:
    """Another teacher at its usual image side, with a student to start from; without one where it allows none.

    Of "hub:owner/name", which was pushed from here, it is that very student. The one that is shown stays as it is: a
    list that is left says that something was chosen.
    """
    try:
        if isinstance(typed := values["teacher"], str) and typed.strip().startswith(ON_HUB):
            card = from_hub.look_up(typed.strip(), token_of_request())
            return {**show_student(card.student, values | {"patch": ""}), "patch": ""}
        name, student = check_network(values["teacher"]), values.get("student")
        if isinstance(student, Mapping) and student.get("teacher") == name == values["teacher"]:
            return {}
        shown = {"teacher": name, **sides(usual_size(find_network(name))), "patch": ""}
        try:
            return shown | _with_strides(early_strides, values | shown)
        except ValueError:
            return shown | _with_strides(own_strides, values | shown)
    except ValueError as error:
        return _refused(error, values)


def pool_early(**values: Any) -> Shown:
    """The strides that a new teacher starts with."""
    try:
        return _with_strides(early_strides, values)
    except ValueError as error:
        return _refused(error, values)


def pool_as_teacher(**values: Any) -> Shown:
    """The teacher's own strides."""
    try:
        return _with_strides(own_strides, values)
    except ValueError as error:
        return _refused(error, values)


def _with_strides(choose: Callable[..., dict[str, int]], values: Mapping[str, Any]) -> Shown:
    """What is shown of the strides that `choose` gives for the teacher; ValueError for what does not fit."""
    values = values | {"picker": choose(check_network(values["teacher"]), image_size=read_size(values))}
    found, look = read_found(values), read_look(values)
    return {"picker": view.picker(found), **_drawn(found, look)}


def pin_shown(**values: Any) -> Shown:
    """Keep what is shown to compare with."""
    found, look = None, Look()
    try:
        look = read_look(values)
        found = read_found(values)
        pins = add_pin(look.pins, found)
    except ValueError as error:
        return {"board": view.pin_board(found, look.pins, look.budget, str(error))}
    look = replace(look, pins=pins)
    board = view.pin_board(found, pins, look.budget)
    return {"pins": pins, "chart": view.figure(found, pins, look.budget), "board": board, "drawn": _query(found, look)}


def use_pin(event: gr.EventData, **values: Any) -> Shown:
    """Remove the pin that was clicked, or set all controls to it."""
    try:
        clicked, look = event_values(event), read_look(values)
        pin = find_pin(look.pins, clicked.get("letter"))
    except ValueError as error:
        return _refused(error, values)
    if clicked.get("act") == "remove":
        return _unpinned(pin, look, values)
    return {**set_to(pin.found), **_drawn(pin.found, look)}


def _unpinned(pin: Pin, look: Look, values: Mapping[str, Any]) -> Shown:
    """What is shown without that pin, whether or not what the controls are set to fits."""
    look = replace(look, pins=tuple(other for other in look.pins if other is not pin))
    try:
        shown = _drawn(read_found(values), look)
    except ValueError as error:
        shown = {**_refused(error, values), "board": view.pin_board(None, look.pins, look.budget)}
    return {"pins": look.pins, **shown}


def use_patch(event: gr.EventData, **values: Any) -> Shown:
    """The student in the patches of the row that was clicked."""
    try:
        patch = patch_text(read_patch(event_values(event).get("patch")))
    except ValueError as error:
        return _refused(error, values)
    return {"patch": patch, **show(**values | {"patch": patch})}


def look_at(event: gr.EventData, **values: Any) -> Shown:
    """The tensors alive where a person clicked: in the chart, at a row of the table, or at a network's peak."""
    opened = {"alive": gr.Accordion(open=True)}
    try:
        place = _clicked_place(event)
        found = read_found(values)
    except ValueError as error:
        return {**opened, "tensors": notice("", str(error))}
    return {**opened, "place": place, "tensors": view.tensors(found, place)}


def show_student(student: StudentConfig, values: Mapping[str, Any]) -> Shown:
    """What is shown of a student from another tab; all else stays as the page has it.

    ValueError, in one sentence, for a student that the controls cannot be set to.
    """
    network, teacher = find_network(student.student_architecture), find_network(student.teacher)
    if network != teacher:
        raise ValueError(
            f"Explore shows students of their teacher’s own network; this one is a {network.title} that learns "
            f"from a {teacher.title}."
        )
    if teacher.name.startswith(DDPM) or is_own(teacher.name):
        raise ValueError(f"Explore shows the networks that come with the packages; {teacher.title} is none of them.")
    if student.teacher_strides:
        raise ValueError("Explore shows teachers at their own strides; this student’s teacher has others.")
    own = own_strides(teacher.name, image_size=student.image_size) | dict(student.strides)
    alone = StudentConfig(
        teacher.name,
        student.image_size,
        strides=own,
        red=student.red,
        alignment=student.alignment,
        in_channels=student.in_channels,
        stem=student.stem,
    )
    found = Settings(alone, *read_counting(values), batch=read_batch(values)).count()
    return {**set_to(found), **_drawn(found, read_look(values))}


def open_page(request: gr.Request, **values: Any) -> Shown:
    """What `open_query` gives for the address of the page; nothing changes where it has no query string."""
    given = request.query_params
    query: dict[str, list[str]] = {}
    for key, value in getattr(given, "multi_items", given.items)():
        query.setdefault(key, []).append(value)
    return open_query(query, values)


def open_row(event: gr.EventData, **values: Any) -> Shown:
    """What `open_query` gives for the query string of a row of the search that was clicked."""
    try:
        query = event_values(event).get("query")
    except ValueError:
        query = None
    return open_query(parse_query(query if isinstance(query, str) else ""), values)


def open_query(query: Mapping[str, Sequence[str]], values: Mapping[str, Any]) -> Shown:
    """All that a query string sets, and what is drawn for it; a sentence alone where it does not fit."""
    unknown = unknown_keys(query)
    if not unknown and not any(key in KEYS for key in query):
        return {}
    try:
        settings = from_query(query)
        drawn = _show_settings(settings, values)
    except ValueError as error:
        words = f"{error} The page shows its usual settings instead."
        return {"link_said": notice("This link does not fit:", words)}
    words = f"Left out of the link: {', '.join(map(clip, unknown))}, no setting of this page." if unknown else ""
    said = notice("", words, kind="hint") if words else ""
    return {"link_said": said, "link": to_query(settings), **drawn}


def _show_settings(settings: Settings, values: Mapping[str, Any]) -> Shown:
    """All that a link restores, and what is drawn for it. The pins stay where it has none."""
    controls = budget_controls(settings.budget)
    pinned = [Pin(letter, pin.count()) for letter, pin in settings.pins]
    pins = sorted(pinned, key=lambda pin: pin.letter) if pinned else values["pins"]
    patch = patch_text(settings.patch)
    look = read_look({**values, **controls, "pins": pins, "patch": patch})
    found = settings.count()
    fields = budget_fields(controls["budget"], settings.budget)
    return {**set_to(found), **controls, **fields, "patch": patch, "pins": look.pins, **_drawn(found, look)}


def follow(link: Any, drawn: Any = None, **values: Any) -> Shown:
    """The link to what the controls are set to; what was said of the one before goes when they differ from it.

    Answers may come in another order than they were asked for: what they left `drawn` of other settings is drawn anew.
    """
    now = _asked(values)  # empty: the sentence above the chart says why, and the link stays that of what fitted last
    redrawn = {} if now == drawn else show(**values)
    return redrawn if now in ("", link) else {"link": now, "link_said": "", **redrawn}


def _is_on_its_way(values: Mapping[str, Any]) -> bool:
    """Whether another network was chosen than is drawn, which `show_teacher` is still capturing: what the picker is set
    to belongs to the one before, and is no choice of a person's."""
    student, typed = values.get("student"), values["teacher"]
    try:
        is_on_hub = isinstance(typed, str) and typed.strip().startswith(ON_HUB)  # which takes longest
        return isinstance(student, Mapping) and (is_on_hub or student.get("teacher") != check_network(typed))
    except ValueError:
        return False


def _drawn(found: Comparison, look: Look) -> Shown:
    return {
        "student": found.config.to_dict(),
        "distil": gr.Button(interactive=not found.refusal and found.config.task in TASKS),
        "summary": view.summary(found, look.budget, _patched(found, look)),
        "chart": view.figure(found, look.pins, look.budget),
        "pairs": view.pairs_table(found),
        "board": view.pin_board(found, look.pins, look.budget),
        "tensors": view.tensors(found, look.place),
        "table": view.table(found),
        "drawn": _query(found, look),
    }


def _query(found: Comparison, look: Look) -> str:
    """The link to what is drawn."""
    pins = tuple((pin.letter, Settings.of(pin.found)) for pin in look.pins)
    return to_query(replace(Settings.of(found), budget=look.budget, pins=pins, patch=look.patch))


def _patched(found: Comparison, look: Look) -> PatchedMemory | str | None:
    """What the patches that are looked at need, or why there are none."""
    try:
        return patch_panel.patched_of(found, look.patch) if look.patch else None
    except ValueError as error:
        return str(error)


def _refused(error: ValueError, values: Mapping[str, Any]) -> Shown:
    """The sentence for settings that do not fit; all that was drawn stays as it was, and the page dims the chart."""
    said = f'<div class="refused">{notice("This does not fit.", f"{error} {_STAYS}")}</div>'
    return {"student": None, "distil": gr.Button(interactive=False), "summary": said, "drawn": _asked(values)}


def _asked(values: Mapping[str, Any]) -> str:
    """The link to what the controls are set to; empty where that is nothing to link to."""
    try:
        return to_query(read_settings(values))
    except ValueError:
        return ""


def _clicked_place(event: Any) -> Place:
    clicked = event_values(event)
    if "part" in clicked:  # of the table
        return read_place({"network": clicked["part"], "layer": clicked.get("key")})
    if "mark" not in clicked:
        return read_place(clicked)
    mark = clicked["mark"]
    if not isinstance(mark, list) or len(mark) < 3:
        raise ValueError("What was clicked in the chart says no layer; click once more.")
    return read_place({"network": mark[0], "layer": mark[1], "turn": mark[2]})

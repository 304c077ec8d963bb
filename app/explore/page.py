"""Tab Explore: choose a teacher, its student's strides and RED blocks; see live memory through both at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import gradio as gr

from redistill.memory.comparison import Comparison, early_strides, own_strides
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import NETWORKS, find_network

from ..parts.budget import NO_BUDGET, OTHER, Budget, budget_controls, read_budget
from ..parts.counting import compare_as, counting_of
from ..parts.fragments import notice
from ..parts.scripted import event_values
from ..parts.stride_picker import StridePicker, check_strides_form
from ..parts.trace import Place, read_place
from . import view
from .layout import Controls, Results, build_controls, build_results
from .link import DEFAULT_TEACHER, Settings, check_size
from .link_button import SettingsLink
from .pins import Pin, add_pin, check_pins, find_pin, make_pin

LIVE = {"queue": False, "show_progress": "hidden", "trigger_mode": "always_last", "api_visibility": "private"}
SETTINGS = 11  # values of a configuration, in the order of `Controls.settings`; those of `Look` follow
SHOWN = SETTINGS + 8  # what `show_student` returns
SCROLL = "() => document.querySelector('#alive').scrollIntoView({block: 'nearest', behavior: 'smooth'})"


@dataclass(frozen=True)
class ExploreTab:
    """The components that the page connects to other tabs."""

    student: gr.State  # StudentConfig.to_dict() of what is shown, or None
    distil: gr.Button
    link: SettingsLink
    looked: list[Any]  # what `show_student` needs beside the student, and
    shown: list[Any]  # what it fills


@dataclass(frozen=True)
class Look:
    """What a configuration is looked at with: the budget, the pinned ones beside it, the operator of interest."""

    budget: Budget | None = None
    pins: tuple[Pin, ...] = ()
    place: Place = field(default_factory=Place)


def build() -> ExploreTab:
    """Lay the tab out inside the current Blocks context and connect its events."""
    entry = NETWORKS[DEFAULT_TEACHER]
    found = compare_as(StudentConfig(entry.name, entry.image_size, strides=early_strides(entry.name)))
    pins, place = gr.State(()), gr.State(Place())
    with gr.Row(elem_classes="columns"):
        with gr.Column(min_width=300, elem_classes="controls"):
            controls = build_controls(found)
        results = build_results(found)
    _connect(controls, results, pins, place)
    drawn = results.drawn(controls.picker)[1:]
    link = SettingsLink(
        results.link,
        results.link_said,
        controls=[*controls.linked, pins],
        drawn=drawn,
        changing=[*controls.linked, results.board],  # gradio cannot tell whether a State changed that holds dicts
        states=[pins, place],
        read=read_link,
        draw=draw_link,
    )
    results.search.attach(controls.linked, [controls.budget, controls.kib], read_link, link)
    results.measure.attach(controls.linked, read_link)
    gr.api(memory, api_name="memory", api_description="Peak activation memory of a teacher and its student, in bytes.")
    looked = [*controls.counting, controls.budget, controls.kib, pins, place]
    shown = [*controls.settings, *drawn]
    return ExploreTab(results.student, results.distil, link, looked, shown)


def _connect(controls: Controls, results: Results, pins: gr.State, place: gr.State) -> None:
    look = [controls.budget, controls.kib, pins, place]
    inputs, drawn = [*controls.settings, *look], results.drawn(controls.picker)
    for control in (*controls.red, *controls.counting, controls.image_size, controls.kib):
        control.input(show, inputs, drawn, **LIVE)
    controls.picker.pick(show, inputs, drawn, **LIVE)
    controls.budget.input(show_budget, inputs, [controls.kib, *drawn], **LIVE)
    other = [controls.teacher, *controls.red, *controls.counting, *look]
    controls.teacher.input(show_teacher, other, [controls.image_size, *drawn], **LIVE)
    controls.early.click(pool_early, inputs, drawn, **LIVE)
    controls.original.click(pool_as_teacher, inputs, drawn, **LIVE)

    results.pin.click(pin_shown, inputs, [pins, results.chart, results.board], **LIVE)
    set_by_pin = [controls.teacher, controls.image_size, *controls.red, *controls.counting]
    results.board.act(use_pin, inputs, [pins, *set_by_pin, *drawn], **LIVE)

    looked = [place, results.alive, results.tensors]
    for event in (results.chart.mark_click, results.table.pick, results.tensors.act):
        event(look_at, inputs, looked, **LIVE).then(None, js=SCROLL, **LIVE)


def show(*values: Any) -> list[Any]:
    """Everything that a change of a control redraws. What does not fit is said, and the chart stays as it was.

    `values` are teacher, image side, strides, the RED settings (blocks, gate, its kernel, residual encoder, its
    kernel, points), accounting and dtype; then what `_look` takes, or nothing of that.
    """
    try:
        found, look = _read(values)
    except ValueError as error:
        return _refused(error)
    return [StridePicker(sizes=view.map_sizes(found)), *_drawn(found, look)]


def show_budget(*values: Any) -> list[Any]:
    """The same for another budget; the field for a number of KiB is there when it is asked for."""
    choice = values[SETTINGS] if len(values) > SETTINGS else None
    return [gr.Number(visible=choice == OTHER), *show(*values)]


def show_teacher(teacher: Any, *others: Any) -> list[Any]:
    """Another teacher at its usual image side, with a student to start from; `others` as in `show`, from RED on."""
    try:
        entry = NETWORKS[_network(teacher)]
        found, look = _read((entry.name, entry.image_size, early_strides(entry.name), *others))
    except ValueError as error:
        return [gr.skip(), *_refused(error)]
    return [entry.image_size, view.picker(found), *_drawn(found, look)]


def pool_early(*values: Any) -> list[Any]:
    """The strides that a new teacher starts with; `values` as in `show`."""
    return _show_strides(early_strides, values)


def pool_as_teacher(*values: Any) -> list[Any]:
    """The teacher's own strides; `values` as in `show`."""
    return _show_strides(own_strides, values)


def pin_shown(*values: Any) -> list[Any]:
    """Keep what is shown to compare with: the pins, the chart and the table of pins."""
    found, look = None, Look()
    try:
        look = _look(*values[SETTINGS:])
        found = _study(*_settings(values))
        pins = add_pin(look.pins, found)
    except ValueError as error:
        return [gr.skip(), gr.skip(), view.pin_board(found, look.pins, look.budget, str(error))]
    return [pins, view.figure(found, pins, look.budget), view.pin_board(found, pins, look.budget)]


def use_pin(event: gr.EventData, *values: Any) -> list[Any]:
    """Remove a pin, or set all controls to it: the pins, the controls but the picker, and what `show` returns."""
    try:
        clicked, look = event_values(event), _look(*values[SETTINGS:])
        pin = find_pin(look.pins, clicked.get("letter"))
        if clicked.get("act") == "remove":
            return _unpinned(pin, look, values)
        found = compare_as(pin.config, pin.accounting, pin.dtype)
    except ValueError as error:
        return [*[gr.skip()] * 11, *_refused(error)]
    teacher, image_size, picker, *others = _set_to(found)
    return [gr.skip(), teacher, image_size, *others, picker, *_drawn(found, look)]


def _unpinned(pin: Pin, look: Look, values: Sequence[Any]) -> list[Any]:
    """What `use_pin` returns without that pin, whether or not what the controls are set to fits."""
    look = replace(look, pins=tuple(other for other in look.pins if other is not pin))
    kept = [look.pins, *[gr.skip()] * 10]
    try:
        found = _study(*_settings(values))
    except ValueError as error:
        return [*kept, *_refused(error, view.pin_board(None, look.pins, look.budget))]
    return [*kept, gr.skip(), *_drawn(found, look)]


def read_link(*values: Any) -> Settings:
    """What a link restores, from values of `Controls.linked` and perhaps the pins, whatever they are.

    ValueError for what does not fit.
    """
    config, accounting, dtype = _config(*_settings(values))
    look = _look(*values[SETTINGS:])
    pins = tuple((pin.letter, Settings(pin.config, pin.accounting, pin.dtype)) for pin in look.pins)
    return Settings(config, accounting, dtype, look.budget.bytes if look.budget else None, pins)


def draw_link(settings: Settings, pins: Any, place: Any) -> list[Any]:
    """Values of `Controls.linked` and the pins for these settings, and what is drawn for them.

    The pins stay where the settings have none.
    """
    choice, kib = budget_controls(settings.budget_bytes)
    if settings.pins:
        made = (make_pin(compare_as(pin.student, pin.accounting, pin.dtype), letter) for letter, pin in settings.pins)
        pins = sorted(made, key=lambda pin: pin.letter)
    look = _look(choice, kib, pins, place)
    found = compare_as(settings.student, settings.accounting, settings.dtype)
    field = gr.Number(kib, visible=True) if choice == OTHER else gr.Number(visible=False)
    return [*_set_to(found), choice, field, look.pins, *_drawn(found, look)]


def show_student(student: StudentConfig, accounting: Any, dtype: Any, *look: Any) -> list[Any]:
    """Values of `ExploreTab.shown` for a student from another tab; all else stays as the page has it.

    ValueError, in one sentence, for a student that the controls cannot be set to.
    """
    network, teacher = find_network(student.student_architecture), find_network(student.teacher)
    if network != teacher:
        raise ValueError(
            f"Explore shows students of their teacher’s own network; this one is a {network.title} that learns from a "
            f"{teacher.title}."
        )
    if teacher.name not in NETWORKS:
        raise ValueError(f"Explore shows the networks of its list; {teacher.title} is none of them.")
    if student.teacher_strides:
        raise ValueError("Explore shows teachers at their own strides; this student’s teacher has others.")
    if student.alignment != "asynchronous":
        raise ValueError("Explore puts RED blocks where maps have the same size; this student has them elsewhere.")
    own = own_strides(teacher.name) | dict(student.strides)
    alone = StudentConfig(teacher.name, student.image_size, strides=own, red=student.red)
    settings = Settings(alone, _text("accounting", accounting), _text("dtype", dtype))
    found = compare_as(settings.student, settings.accounting, settings.dtype)
    return [*_set_to(found), *_drawn(found, _look(*look))]


def look_at(event: gr.EventData, *values: Any) -> list[Any]:
    """The tensors alive where a person clicked: in the chart, at a layer of the table, or at a network's peak."""
    try:
        place = _clicked_place(event)
        found, _ = _read(values)
    except ValueError as error:
        return [gr.skip(), gr.Accordion(open=True), notice("", str(error))]
    return [place, gr.Accordion(open=True), view.tensors(found, place)]


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


def memory(
    teacher: str, strides: dict[str, int], image_size: int = 0, red: bool = True, accounting: str = "fused"
) -> dict:
    """Peak activation memory of a teacher and its student, in bytes, at batch 1 in fp32.

    `strides` are keyed by layer path, such as {"conv1": 4, "maxpool": 1}; layers not named keep theirs. `image_size`
    is in pixels a side, 0 for the network's usual one.
    """
    try:
        name = _network(teacher)
        size = image_size or NETWORKS[name].image_size
        found = _study(name, size, strides, red, True, 1, True, 3, "all", accounting, "fp32")
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from error
    peaks = {"teacher": found.teacher, "student": found.student, "student_without_red": found.bare}
    return {name: {"peak_bytes": peak.peak_bytes, "peak_layer": peak.peak_layer} for name, peak in peaks.items()}


def _show_strides(choose: Callable[[str], dict[str, int]], values: Sequence[Any]) -> list[Any]:
    try:
        teacher, image_size, _, *others = values
        strides = choose(_network(teacher))
        found, look = _read((teacher, image_size, strides, *others))
    except ValueError as error:
        return _refused(error)
    return [view.picker(found), *_drawn(found, look)]


def _read(values: Sequence[Any]) -> tuple[Comparison, Look]:
    """Values as they come from the page, whatever they are; ValueError, in one sentence, for what does not fit."""
    return _study(*_settings(values)), _look(*values[SETTINGS:])


def _settings(values: Sequence[Any]) -> Sequence[Any]:
    if len(values) < SETTINGS:
        raise ValueError(f"{len(values)} settings came from the page; expected {SETTINGS}.")
    return values[:SETTINGS]


def _study(*settings: Any) -> Comparison:
    return compare_as(*_config(*settings))


def _config(
    teacher: Any,
    image_size: Any,
    strides: Any,
    with_red: Any,
    gate: Any,
    gate_kernel: Any,
    residual: Any,
    residual_kernel: Any,
    points: Any,
    accounting: Any,
    dtype: Any,
) -> tuple[StudentConfig, str, str]:
    red = None
    if with_red is not False:
        red = REDConfig(gate, residual, gate_kernel, residual_kernel, _text("points", points))
    size = int(image_size) if isinstance(image_size, float) and image_size.is_integer() else image_size
    config = StudentConfig(_network(teacher), check_size(size), strides=check_strides_form(strides), red=red)
    return config, _text("accounting", accounting), _text("dtype", dtype)


def _set_to(found: Comparison) -> list[Any]:
    """Values of `Controls.settings` for what is shown."""
    config, red = found.config, found.config.red or REDConfig()
    inside = [red.gate, red.gate_kernel, red.residual_encoder, red.residual_kernel, red.points]
    counting = [counting_of(found), found.dtype]
    return [config.teacher, config.image_size, view.picker(found), config.red is not None, *inside, *counting]


def _look(budget: Any = NO_BUDGET, kib: Any = None, pins: Any = (), place: Any = None) -> Look:
    if place is not None and not isinstance(place, Place):
        raise ValueError(f"A place is {str(place)[:40]!r}; expected one that was clicked.")
    return Look(read_budget(budget, kib), check_pins(pins), place or Place())


def _network(value: Any) -> str:
    """The name of a network of the table; ValueError for any other, as a DDPM from elsewhere, which Explore lacks."""
    name = _text("teacher", value)
    if name not in NETWORKS:
        raise ValueError(f"No network {name[:80]!r}; expected one of {list(NETWORKS)}.")
    return name


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is {str(value)[:80]!r}; expected one of the choices on the page.")
    return value


def _drawn(found: Comparison, look: Look) -> list[Any]:
    return [
        found.config.to_dict(),
        gr.Button(interactive=True),
        view.summary(found, look.budget),
        view.figure(found, look.pins, look.budget),
        view.pairs_table(found),
        view.pin_board(found, look.pins, look.budget),
        view.tensors(found, look.place),
        view.table(found),
    ]


def _refused(error: ValueError, board: Any = None) -> list[Any]:
    """What `show` returns for settings that do not fit: the sentence; all that was drawn stays as it was."""
    said = notice("This does not fit.", str(error))
    kept = gr.skip()
    return [kept, None, gr.Button(interactive=False), said, kept, kept, kept if board is None else board, kept, kept]

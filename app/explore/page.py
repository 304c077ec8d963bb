"""Tab Explore: choose a teacher, its student's strides and RED blocks; see live memory through both at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import gradio as gr

from redistill.memory.comparison import Comparison, early_strides, own_strides
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import NETWORKS, find_network

from ..parts.budget import OTHER, Budget, budget_controls, read_budget
from ..parts.counting import compare_as, counting_of
from ..parts.fragments import notice
from ..parts.scripted import event_values
from ..parts.stride_picker import StridePicker, check_strides_form
from ..parts.trace import Place, read_place
from . import view
from .layout import Controls, Results, build_controls, build_results
from .link import DEFAULT_TEACHER, Settings, check_size
from .link_button import SettingsLink
from .pins import Pin, add_pin, check_pins, find_pin

LIVE = {"queue": False, "show_progress": "hidden", "trigger_mode": "always_last", "api_visibility": "private"}
SCROLL = "() => document.querySelector('#alive').scrollIntoView({block: 'nearest', behavior: 'smooth'})"
Values = Mapping[Any, Any]  # component → its value as it comes from the page, whatever that is
Shown = dict[Any, Any]  # component → what it shows now; those left out stay as they are


@dataclass(frozen=True)
class Look:
    """What a configuration is looked at with: the budget, the pinned ones beside it, the operator of interest."""

    budget: Budget | None = None
    pins: tuple[Pin, ...] = ()
    place: Place = field(default_factory=Place)


@dataclass(frozen=True)
class ExploreTab:
    """The tab's components, and what happens to them."""

    controls: Controls
    results: Results
    pins: gr.State
    place: gr.State

    @property
    def inputs(self) -> set[Any]:
        """What handlers are given: a configuration, and what it is looked at with."""
        return {*self.controls.linked, self.pins, self.place}

    @property
    def drawn(self) -> list[Any]:
        """What `_drawn` fills."""
        shown = self.results
        return [shown.student, shown.distil, shown.summary, shown.chart, shown.pairs, shown.board, shown.tensors,
                shown.table]  # fmt: skip

    @property
    def link(self) -> SettingsLink:
        """The link to what is shown."""
        linked = self.controls.linked
        return SettingsLink(
            self.results.link,
            self.results.link_said,
            inputs=self.inputs,
            outputs=[*linked, self.pins, *self.drawn],
            changing=[*linked, self.results.board],  # gradio cannot tell whether a State changed that holds dicts
            read=self.read_link,
            draw=self.draw_link,
        )

    def connect(self) -> None:
        """Let controls and clicks call the handlers."""
        controls, results, inputs = self.controls, self.results, self.inputs
        shown = [controls.picker, *self.drawn]
        for control in (*controls.red, controls.accounting, controls.dtype, controls.image_size, controls.kib):
            control.input(self.show, inputs, shown, **LIVE)
        controls.picker.pick(self.show, inputs, shown, **LIVE)
        controls.budget.input(self.show_budget, inputs, [controls.kib, *shown], **LIVE)
        controls.teacher.input(self.show_teacher, inputs, [controls.image_size, *shown], **LIVE)
        controls.early.click(self.pool_early, inputs, shown, **LIVE)
        controls.original.click(self.pool_as_teacher, inputs, shown, **LIVE)
        results.pin.click(self.pin_shown, inputs, [self.pins, results.chart, results.board], **LIVE)
        results.board.act(self.use_pin, inputs, [self.pins, *controls.settings, *self.drawn], **LIVE)
        looked = [self.place, results.alive, results.tensors]
        for event in (results.chart.mark_click, results.table.pick, results.tensors.act):
            event(self.look_at, inputs, looked, **LIVE).then(None, js=SCROLL, **LIVE)
        results.search.attach(controls.linked, [controls.budget, controls.kib], self.read_link, self.link)
        results.measure.attach(controls.linked, self.read_link)

    def show(self, values: Values) -> Shown:
        """Everything that a change of a control redraws. What does not fit is said, and the chart stays as it was."""
        try:
            found, look = self._read(values)
        except ValueError as error:
            return self._refused(error)
        return {self.controls.picker: StridePicker(sizes=view.map_sizes(found)), **self._drawn(found, look)}

    def show_budget(self, values: Values) -> Shown:
        """The same for another budget; the field for a number of KiB is there when it is asked for."""
        asked = values[self.controls.budget] == OTHER
        return {self.controls.kib: gr.Number(visible=asked), **self.show(values)}

    def show_teacher(self, values: Values) -> Shown:
        """Another teacher at its usual image side, with a student to start from."""
        controls = self.controls
        try:
            entry = NETWORKS[_network(values[controls.teacher])]
            start = {controls.image_size: entry.image_size, controls.picker: early_strides(entry.name)}
            found, look = self._read({**values, **start})
        except ValueError as error:
            return self._refused(error)
        size = {controls.image_size: entry.image_size}
        return {**size, controls.picker: view.picker(found), **self._drawn(found, look)}

    def pool_early(self, values: Values) -> Shown:
        """The strides that a new teacher starts with."""
        return self._show_strides(early_strides, values)

    def pool_as_teacher(self, values: Values) -> Shown:
        """The teacher's own strides."""
        return self._show_strides(own_strides, values)

    def _show_strides(self, choose: Callable[[str], dict[str, int]], values: Values) -> Shown:
        try:
            strides = choose(_network(values[self.controls.teacher]))
            found, look = self._read({**values, self.controls.picker: strides})
        except ValueError as error:
            return self._refused(error)
        return {self.controls.picker: view.picker(found), **self._drawn(found, look)}

    def pin_shown(self, values: Values) -> Shown:
        """Keep what is shown to compare with."""
        results = self.results
        found, look = None, Look()
        try:
            look = self._look(values)
            found = compare_as(*self._config(values))
            pins = add_pin(look.pins, found)
        except ValueError as error:
            return {results.board: view.pin_board(found, look.pins, look.budget, str(error))}
        board = view.pin_board(found, pins, look.budget)
        return {self.pins: pins, results.chart: view.figure(found, pins, look.budget), results.board: board}

    def use_pin(self, values: Values, event: gr.EventData) -> Shown:
        """Remove the pin that was clicked, or set all controls to it."""
        try:
            clicked, look = event_values(event), self._look(values)
            pin = find_pin(look.pins, clicked.get("letter"))
            if clicked.get("act") == "remove":
                return self._unpinned(pin, look, values)
            found = pin.found
        except ValueError as error:
            return self._refused(error)
        return {**self._set_to(found), **self._drawn(found, look)}

    def _unpinned(self, pin: Pin, look: Look, values: Values) -> Shown:
        """What is shown without that pin, whether or not what the controls are set to fits."""
        look = replace(look, pins=tuple(other for other in look.pins if other is not pin))
        try:
            shown = self._drawn(compare_as(*self._config(values)), look)
        except ValueError as error:
            shown = {**self._refused(error), self.results.board: view.pin_board(None, look.pins, look.budget)}
        return {self.pins: look.pins, **shown}

    def look_at(self, values: Values, event: gr.EventData) -> Shown:
        """The tensors alive where a person clicked: in the chart, at a row of the table, or at a network's peak."""
        results = self.results
        opened = {results.alive: gr.Accordion(open=True)}
        try:
            place = _clicked_place(event)
            found, _ = self._read(values)
        except ValueError as error:
            return {**opened, results.tensors: notice("", str(error))}
        return {**opened, self.place: place, results.tensors: view.tensors(found, place)}

    def read_link(self, values: Values) -> Settings:
        """What a link restores; ValueError for what does not fit."""
        config, accounting, dtype = self._config(values)
        look = self._look(values)
        pins = tuple((pin.letter, Settings.of(pin.found)) for pin in look.pins)
        return Settings(config, accounting, dtype, look.budget.bytes if look.budget else None, pins)

    def draw_link(self, settings: Settings, values: Values) -> Shown:
        """All that a link restores, and what is drawn for it. The pins stay where it has none."""
        controls = self.controls
        choice, kib = budget_controls(settings.budget_bytes)
        pins = values[self.pins]
        if settings.pins:
            made = [Pin(letter, pinned.count()) for letter, pinned in settings.pins]
            pins = sorted(made, key=lambda pin: pin.letter)
        look = self._look({**values, controls.budget: choice, controls.kib: kib, self.pins: pins})
        found = settings.count()
        number = gr.Number(kib, visible=True) if choice == OTHER else gr.Number(visible=False)
        budget = {controls.budget: choice, controls.kib: number}
        return {**self._set_to(found), **budget, self.pins: look.pins, **self._drawn(found, look)}

    def show_student(self, student: StudentConfig, values: Values) -> Shown:
        """What is shown of a student from another tab; all else stays as the page has it.

        ValueError, in one sentence, for a student that the controls cannot be set to.
        """
        network, teacher = find_network(student.student_architecture), find_network(student.teacher)
        if network != teacher:
            raise ValueError(
                f"Explore shows students of their teacher’s own network; this one is a {network.title} that learns "
                f"from a {teacher.title}."
            )
        if teacher.name not in NETWORKS:
            raise ValueError(f"Explore shows the networks of its list; {teacher.title} is none of them.")
        if student.teacher_strides:
            raise ValueError("Explore shows teachers at their own strides; this student’s teacher has others.")
        if student.alignment != "asynchronous":
            raise ValueError("Explore puts RED blocks where maps have the same size; this student has them elsewhere.")
        own = own_strides(teacher.name) | dict(student.strides)
        alone = StudentConfig(teacher.name, student.image_size, strides=own, red=student.red)
        settings = Settings(alone, *self._counted(values))
        found = settings.count()
        return {**self._set_to(found), **self._drawn(found, self._look(values))}

    def _read(self, values: Values) -> tuple[Comparison, Look]:
        """What values mean; ValueError, in one sentence, for what does not fit."""
        return compare_as(*self._config(values)), self._look(values)

    def _config(self, values: Values) -> tuple[StudentConfig, str, str]:
        """The student, and how it is counted."""
        controls = self.controls
        red = None
        if values[controls.with_red] is not False:
            red = REDConfig(
                gate=values[controls.gate],
                gate_kernel=values[controls.gate_kernel],
                residual_encoder=values[controls.residual],
                residual_kernel=values[controls.residual_kernel],
                points=_text("points", values[controls.points]),
            )
        chosen = [values[control] for control in (controls.teacher, controls.image_size, controls.picker)]
        return _student(*chosen, red), *self._counted(values)

    def _counted(self, values: Values) -> tuple[str, str]:
        controls = self.controls
        return _text("accounting", values[controls.accounting]), _text("dtype", values[controls.dtype])

    def _look(self, values: Values) -> Look:
        place = values.get(self.place)
        if place is not None and not isinstance(place, Place):
            raise ValueError(f"A place is {str(place)[:40]!r}; expected one that was clicked.")
        budget = read_budget(values[self.controls.budget], values[self.controls.kib])
        return Look(budget, check_pins(values.get(self.pins, ())), place or Place())

    def _set_to(self, found: Comparison) -> Shown:
        """The controls of a configuration, set to what is found."""
        controls, config, red = self.controls, found.config, found.config.red or REDConfig()
        return {
            controls.teacher: config.teacher,
            controls.image_size: config.image_size,
            controls.picker: view.picker(found),
            controls.with_red: config.red is not None,
            controls.gate: red.gate,
            controls.gate_kernel: red.gate_kernel,
            controls.residual: red.residual_encoder,
            controls.residual_kernel: red.residual_kernel,
            controls.points: red.points,
            controls.accounting: counting_of(found),
            controls.dtype: found.dtype,
        }

    def _drawn(self, found: Comparison, look: Look) -> Shown:
        results = self.results
        return {
            results.student: found.config.to_dict(),
            results.distil: gr.Button(interactive=True),
            results.summary: view.summary(found, look.budget),
            results.chart: view.figure(found, look.pins, look.budget),
            results.pairs: view.pairs_table(found),
            results.board: view.pin_board(found, look.pins, look.budget),
            results.tensors: view.tensors(found, look.place),
            results.table: view.table(found),
        }

    def _refused(self, error: ValueError) -> Shown:
        """The sentence for settings that do not fit; all that was drawn stays as it was."""
        results = self.results
        said = notice("This does not fit.", str(error))
        return {results.student: None, results.distil: gr.Button(interactive=False), results.summary: said}


def build() -> ExploreTab:
    """Lay the tab out inside the current Blocks context and connect its events."""
    entry = NETWORKS[DEFAULT_TEACHER]
    found = compare_as(StudentConfig(entry.name, entry.image_size, strides=early_strides(entry.name)))
    pins, place = gr.State(()), gr.State(Place())
    with gr.Row(elem_classes="columns"):
        with gr.Column(min_width=300, elem_classes="controls"):
            controls = build_controls(found)
        results = build_results(found)
    tab = ExploreTab(controls, results, pins, place)
    tab.connect()
    gr.api(memory, api_name="memory", api_description="Peak activation memory of a teacher and its student, in bytes.")
    return tab


def memory(
    teacher: str, strides: dict[str, int], image_size: int = 0, red: bool = True, accounting: str = "fused"
) -> dict:
    """Peak activation memory of a teacher and its student, in bytes, at batch 1 in fp32.

    `strides` are keyed by layer path, such as {"conv1": 4, "maxpool": 1}; layers not named keep theirs. `image_size`
    is in pixels a side, 0 for the network's usual one.
    """
    try:
        size = image_size or NETWORKS[_network(teacher)].image_size
        config = _student(teacher, size, strides, None if red is False else REDConfig())
        found = compare_as(config, _text("accounting", accounting))
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from error
    peaks = {"teacher": found.teacher, "student": found.student, "student_without_red": found.bare}
    return {name: {"peak_bytes": peak.peak_bytes, "peak_layer": peak.peak_layer} for name, peak in peaks.items()}


def _student(teacher: Any, image_size: Any, strides: Any, red: REDConfig | None) -> StudentConfig:
    size = int(image_size) if isinstance(image_size, float) and image_size.is_integer() else image_size
    return StudentConfig(_network(teacher), check_size(size), strides=check_strides_form(strides), red=red)


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

"""Tab Explore: choose a teacher, its student's strides and RED blocks; see memory per layer at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from redistill.memory import ACCOUNTINGS, MemoryProfile, Tape
from redistill.red import ALIGNMENTS, KERNELS, REDConfig
from redistill.student import StudentConfig
from redistill.teachers import TEACHERS, find_teacher

from . import plots
from .fragments import notice
from .link import DEFAULT_TEACHER, DTYPES, MAX_SIDE, MIN_SIDE, Settings, to_query
from .linkbutton import LinkButton, SettingsLink
from .liveplot import LivePlot
from .measure_panel import MeasurePanel
from .picker import StridePicker, check_strides_form, stride_choices
from .search_panel import SearchPanel
from .study import (
    Study,
    check_size,
    layer_bars,
    layer_label,
    short_label,
    size_text,
    study,
    suggest_strides,
    teacher_strides,
    teacher_tape,
    tick_labels,
    warnings,
)

ACCOUNTING_LABELS = {"fused": "Deployed (fused)", "eager": "PyTorch (eager)"}


@dataclass(frozen=True)
class ExploreTab:
    """The components that the page connects to other tabs."""

    student: gr.State  # StudentConfig.to_dict() of what is shown, or None
    distil: gr.Button
    link: SettingsLink


def build() -> ExploreTab:
    """Lay the tab out inside the current Blocks context and connect its events."""
    entry = TEACHERS[DEFAULT_TEACHER]
    strides = suggest_strides(teacher_tape(entry.name))
    found = study(StudentConfig(entry.name, entry.image_size, strides=strides))
    student = gr.State(found.config.to_dict())
    with gr.Row(elem_classes="columns"):
        with gr.Column(min_width=300, elem_classes="controls"):
            with gr.Column(elem_classes="card"):
                teacher = gr.Dropdown(
                    [(other.title, name) for name, other in TEACHERS.items()],
                    value=entry.name,
                    label="Teacher",
                    filterable=False,
                )
                image_size = gr.Slider(MIN_SIDE, MAX_SIDE, value=entry.image_size, step=16, label="Image side, pixels")
            with gr.Column(elem_classes="card"):
                gr.HTML(
                    '<div class="card-title">Pooling strides of the student <span>teacher’s underlined</span></div>'
                )
                picker = StridePicker(strides, points=_points(found), sizes=_sizes(found), elem_id="strides")
                with gr.Row(elem_classes="quiet-buttons"):
                    early = gr.Button("Pool early", size="sm", min_width=80)
                    original = gr.Button("As the teacher", size="sm", min_width=80)
            with gr.Column(elem_classes="card"):
                with_red = gr.Checkbox(True, label="RED blocks at the aligned layers")
                with gr.Accordion("Inside a RED block", open=False):
                    gate = gr.Checkbox(True, label="Gate")
                    gate_kernel = gr.Radio(list(KERNELS), value=1, label="Kernel of the gate")
                    residual = gr.Checkbox(True, label="Residual encoder")
                    residual_kernel = gr.Radio(list(KERNELS), value=3, label="Kernel of the residual encoder")
                    points = gr.Radio(list(ALIGNMENTS), value="all", label="Aligned points that carry one")
            with gr.Column(elem_classes="card"):
                accounting = gr.Radio(
                    [(ACCOUNTING_LABELS[name], name) for name in ACCOUNTINGS], value="fused", label="Counted as"
                )
                dtype = gr.Radio(list(DTYPES), value="fp32", label="Numbers")
        with gr.Column(min_width=320, elem_classes="results"):
            link_said = gr.HTML(elem_id="link-said")
            summary = gr.HTML(_summary(found), elem_id="summary")
            with gr.Column(elem_classes="card chart"):
                gr.HTML('<div class="card-title">Memory alive while each layer runs</div>')
                chart = LivePlot(
                    _figure(found), height=360, label="Memory per layer of teacher and student", elem_id="memory"
                )
        with gr.Column(min_width=320, elem_classes="more"):
            with gr.Row(elem_classes="actions"):
                distil = gr.Button("Distil this student", variant="primary", elem_id="to-distil")
                copy = LinkButton(to_query(Settings(found.config)), elem_id="link")
            searching = SearchPanel(_settings)
            pairs = gr.HTML(_pairs_table(found), elem_id="pairs")
            measuring = MeasurePanel(_settings)

    red = [with_red, gate, gate_kernel, residual, residual_kernel, points]
    counting = [accounting, dtype]
    settings = [teacher, image_size, picker, *red, *counting]
    shown = [picker, student, distil, summary, chart, pairs]
    live = {"queue": False, "show_progress": "hidden", "trigger_mode": "always_last", "api_visibility": "private"}
    for control in (*red, *counting, image_size):
        control.input(show, settings, shown, **live)
    picker.pick(show, settings, shown, **live)
    teacher.input(show_teacher, [teacher, *red, *counting], [image_size, *shown], **live)
    early.click(pool_early, settings, shown, **live)
    original.click(pool_as_teacher, settings, shown, **live)
    gr.api(memory, api_name="memory", api_description="Peak activation memory of a teacher and its student, in bytes.")
    link = SettingsLink(copy, link_said, settings, shown[1:], _settings, _restored)
    searching.attach(settings, link)
    measuring.attach(settings)
    return ExploreTab(student, distil, link)


def show(teacher: Any, image_size: Any, strides: Any, *others: Any) -> list[Any]:
    """Everything that a change of a control redraws. What does not fit is said, and the chart stays as it was.

    `others` are the RED settings (blocks, gate, its kernel, residual encoder, its kernel, points), then accounting
    and dtype.
    """
    try:
        found = _study(teacher, image_size, strides, *others)
    except ValueError as error:
        return _refused(error)
    return [StridePicker(sizes=_sizes(found)), *_drawn(found)]


def show_teacher(teacher: Any, *others: Any) -> list[Any]:
    """Another teacher at its usual image side, with a student to start from."""
    try:
        entry = find_teacher(_text("teacher", teacher))
        strides = suggest_strides(teacher_tape(entry.name))
        found = _study(entry.name, entry.image_size, strides, *others)
    except ValueError as error:
        return [gr.skip(), *_refused(error)]
    return [entry.image_size, _picker(found), *_drawn(found)]


def pool_early(teacher: Any, image_size: Any, strides: Any, *others: Any) -> list[Any]:
    """The strides that a new teacher starts with."""
    return _show_strides(suggest_strides, teacher, image_size, others)


def pool_as_teacher(teacher: Any, image_size: Any, strides: Any, *others: Any) -> list[Any]:
    """The teacher's own strides."""
    return _show_strides(teacher_strides, teacher, image_size, others)


def memory(
    teacher: str, strides: dict[str, int], image_size: int = 0, red: bool = True, accounting: str = "fused"
) -> dict:
    """Peak activation memory of a teacher and its student, in bytes, at batch 1 in fp32.

    `strides` are keyed by layer path, such as {"conv1": 4, "maxpool": 1}; layers not named keep theirs. `image_size`
    is in pixels a side, 0 for the network's usual one.
    """
    try:
        name = _text("teacher", teacher)
        size = image_size or find_teacher(name).image_size
        found = _study(name, size, strides, red, True, 1, True, 3, "all", accounting, "fp32")
    except ValueError as error:
        raise gr.Error(str(error), print_exception=False) from error
    peaks = {"teacher": found.teacher, "student": found.student, "student_without_red": found.bare}
    return {name: {"peak_bytes": peak.peak_bytes, "peak_layer": peak.peak_layer} for name, peak in peaks.items()}


def _show_strides(choose: Callable[[Tape], dict[str, int]], teacher: Any, image_size: Any, others: Sequence[Any]):
    try:
        strides = choose(teacher_tape(_text("teacher", teacher)))
        found = _study(teacher, image_size, strides, *others)
    except ValueError as error:
        return _refused(error)
    return [_picker(found), *_drawn(found)]


def _study(teacher: Any, image_size: Any, strides: Any, *others: Any) -> Study:
    """Values as they come from the page, whatever they are, to a study; ValueError for what does not fit."""
    *red, accounting, dtype = others
    config = _config(teacher, image_size, strides, *red)
    return study(config, _text("accounting", accounting), _text("dtype", dtype))


def _settings(teacher: Any, image_size: Any, strides: Any, *others: Any) -> Settings:
    """The same values to what a link restores."""
    *red, accounting, dtype = others
    config = _config(teacher, image_size, strides, *red)
    return Settings(config, _text("accounting", accounting), _text("dtype", dtype))


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
) -> StudentConfig:
    red = None
    if with_red is not False:
        red = REDConfig(gate, residual, gate_kernel, residual_kernel, _text("points", points))
    size = int(image_size) if isinstance(image_size, float) and image_size.is_integer() else image_size
    return StudentConfig(_text("teacher", teacher), check_size(size), strides=check_strides_form(strides), red=red)


def _restored(settings: Settings) -> list[Any]:
    """Values of all controls, and everything drawn for them."""
    student, red = settings.student, settings.student.red or REDConfig()
    found = study(student, settings.accounting, settings.dtype)
    inside = [red.gate, red.gate_kernel, red.residual_encoder, red.residual_kernel, red.points]
    counted = [settings.accounting, settings.dtype]
    return [
        student.teacher,
        student.image_size,
        _picker(found),
        student.red is not None,
        *inside,
        *counted,
        *_drawn(found),
    ]


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is {str(value)[:80]!r}; expected one of the choices on the page.")
    return value


def _drawn(found: Study) -> list[Any]:
    return [found.config.to_dict(), gr.Button(interactive=True), _summary(found), _figure(found), _pairs_table(found)]


def _refused(error: ValueError) -> list[Any]:
    """What `show` returns for settings that do not fit: the sentence; chart and table stay as they were."""
    return [
        gr.skip(),
        None,
        gr.Button(interactive=False),
        notice("This does not fit.", str(error)),
        gr.skip(),
        gr.skip(),
    ]


def _figure(found: Study) -> dict[str, Any]:
    return plots.memory_figure(layer_bars(found.teacher), layer_bars(found.student), tick_labels(found))


def _picker(found: Study) -> StridePicker:
    strides = {point.name: point.stride for point in found.points if point.direction == "down"}
    return StridePicker(strides, points=_points(found), sizes=_sizes(found))


def _points(found: Study) -> list[dict[str, Any]]:
    own = {point.name: point.stride for point in found.teacher_points if point.direction == "down"}
    choices = stride_choices(own)
    return [{"name": n, "label": short_label(n), "choices": choices, "teacher": own[n]} for n in own]


def _sizes(found: Study) -> dict[str, str]:
    return {point.name: size_text(point) for point in found.points if point.direction == "down"}


def _summary(found: Study) -> str:
    """The sentence above the chart, the facts beside it and what one should know before trusting the ratio."""
    before, after, bare = found.teacher.peak_bytes, found.student.peak_bytes, found.bare.peak_bytes
    verb = "falls" if after < before else "rises" if after > before else "stays"
    ratio = plots.format_ratio(before, after)
    included = ", RED blocks included" if found.config.red else ""
    lines = [
        f'<p class="headline">Peak {verb} from {_peak(found.teacher)} to {_peak(found.student)}: '
        f'<strong class="ratio">{ratio}</strong>{included}.</p>'
    ]
    if found.config.red:
        lines.append(
            f'<p class="subline">Without RED blocks the student peaks at {plots.format_bytes(bare)}: '
            f"<strong>{plots.format_ratio(before, bare)}</strong>. Weights "
            f"{plots.format_bytes(found.teacher.weight_bytes)} → {plots.format_bytes(found.student.weight_bytes)}.</p>"
        )
    lines += [notice("", text, kind="hint") for text in warnings(found)]
    return "".join(lines)


def _peak(profile: MemoryProfile) -> str:
    layer = escape(layer_label(profile.peak_layer))
    return (
        f'<span class="nowrap"><strong>{plots.format_bytes(profile.peak_bytes)}</strong> <code>({layer})</code></span>'
    )


def _pairs_table(found: Study) -> str:
    """Which layer learns from which; layers without a partner stand in it with the reason."""
    rows = "".join(
        "<tr{}><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>".format(
            "" if pair.teacher else ' class="unaligned"',
            escape(pair.student),
            f"<code>{escape(pair.teacher)}</code>" if pair.teacher else "none",
            " and ".join(f"{side}put" for side in pair.sides) or "–",
            escape(pair.reason),
        )
        for pair in found.pairs
    )
    return (
        '<details class="card pairs" open><summary>Aligned layers</summary><div class="scroll">'
        '<table class="facts"><thead><tr>'
        "<th>Student</th><th>learns from teacher’s</th><th>aligned</th><th>because</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div></details>"
    )

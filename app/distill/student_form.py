"""The student on the Distill tab: a card that says what it needs, and controls for all that it is built from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from html import escape
from typing import Any

import gradio as gr

from redistill.common.modules import weightless
from redistill.memory.usual_strides import early_strides, own_strides
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig, build_student
from redistill.networks.zoo import DDPM, NETWORKS, find_network

from ..parts.fragments import notice
from ..parts.networks import check_network, network_choice, offered
from ..parts.setting_controls import make_control
from ..parts.stride_picker import StridePicker, check_strides_form
from ..runs.choices import check_opens_no_file
from ..runs.result import counted
from ..words.memory import stride_rows
from ..words.numbers import format_bytes, format_pixels, format_ratio
from ..words.settings import RED, STUDENT, describe_student
from ..words.signs import red_sign

_INSIDE = ("gate", "gate_per", "gate_kernel", "residual_encoder", "residual_kernel", "residual_squeeze")
_INSIDE += tuple(name for name in RED if name not in _INSIDE)
TYPE = "Or type the name of another, such as timm:resnet18."
# In the order of the page.
FIELDS = ("architecture", "strides", "stem", "red", *_INSIDE, "teacher", "teacher_strides")


def build(student: StudentConfig) -> dict[str, gr.components.Component]:
    """The controls by name, in the order of FIELDS; build them inside the Blocks context where they should stand."""
    shown = values(student)

    def network(name: str) -> gr.Dropdown:
        return network_choice(networks(student), shown[name], STUDENT[name].label, info=TYPE)

    found: dict[str, gr.components.Component] = {"architecture": network("architecture")}
    found["strides"] = _picker(student, student.student_architecture, shown["strides"])
    found["stem"] = make_control(STUDENT["stem"], shown["stem"], visible=student.task != "diffusion")
    found["red"] = gr.Checkbox(shown["red"], label=STUDENT["red"].label, container=False)
    with gr.Accordion("Inside a RED block", open=False, elem_classes="fold"):
        found |= {name: make_control(RED[name], shown[name]) for name in _INSIDE}
    with gr.Accordion("Its teacher’s network", open=False, elem_classes="fold"):
        found["teacher"] = network("teacher")
        found["teacher_strides"] = _picker(student, student.teacher, shown["teacher_strides"])
    return found


def networks(student: StudentConfig) -> list[tuple[str, str]]:
    """The networks for a student's task, as (title, name), a DDPM from elsewhere that it has among them."""
    own = [find_network(name) for name in {student.teacher: 0, student.student_architecture: 0} if name not in NETWORKS]
    return [offered(entry) for entry in (*NETWORKS.values(), *own) if entry.task == student.task]


def filled(student: StudentConfig) -> dict[str, Any]:
    """Updates of all controls by name."""
    updates = values(student)
    for name, network in (("strides", student.student_architecture), ("teacher_strides", student.teacher)):
        updates[name] = _picker(student, network, updates[name])
    updates["stem"] = gr.Radio(value=student.stem, visible=student.task != "diffusion")
    for name in ("architecture", "teacher"):
        updates[name] = gr.Dropdown(choices=networks(student), value=updates[name])
    return updates


def values(student: StudentConfig) -> dict[str, Any]:
    """What the controls show for a student, by name."""
    return {
        "architecture": student.student_architecture,
        "strides": _own(student, student.student_architecture) | dict(student.strides),
        "stem": student.stem,
        "red": student.red is not None,
        **dataclasses.asdict(student.red or REDConfig()),
        "teacher": student.teacher,
        "teacher_strides": _own(student, student.teacher) | dict(student.teacher_strides),
    }


def _picker(student: StudentConfig, network: str, strides: Mapping[str, int]) -> StridePicker:
    return StridePicker(strides, points=stride_rows(_own(student, network)))


def _own(student: StudentConfig, network: str) -> dict[str, int]:
    """The strides of a network as it is built for the student's images."""
    return own_strides(network, student.unets, student.image_size)


def read_student(values: Any) -> StudentConfig:
    """The student of the page's state; ValueError while there is none."""
    if not isinstance(values, Mapping):
        raise ValueError("There is no student yet; choose a preset, or one in Explore.")
    student = StudentConfig.from_dict(values)
    check_opens_no_file(student)
    return student


def read(student: Any, given: Mapping[str, Any]) -> StudentConfig:
    """The student that the controls are set to; what they do not show is as in `student`, its dict.

    Strides of another network than before are replaced: the student's by early ones, the teacher's by its own.
    Raises ValueError, in one sentence, for what does not fit.
    """
    before = read_student(student)
    network, teacher = (_network(given[name], before) for name in ("architecture", "teacher"))
    is_same, is_same_teacher = network == before.student_architecture, teacher == before.teacher
    early = early_strides(network, before.unets, before.image_size)
    strides = check_strides_form(given["strides"]) if is_same else early
    teacher_strides = check_strides_form(given["teacher_strides"]) if is_same_teacher else {}
    chosen = dataclasses.replace(
        before,
        architecture=None if network == teacher else network,
        teacher=teacher,
        strides=_changed(strides, _own(before, network)),
        teacher_strides=_changed(teacher_strides, _own(before, teacher)),
        stem=given["stem"],
        red=None if given["red"] is False else REDConfig(**{name: given[name] for name in RED}),
    )
    with weightless():
        build_student(chosen)
    return chosen


def _network(value: Any, student: StudentConfig) -> str:
    if isinstance(value, str) and value.startswith(DDPM) and value not in (student.teacher, student.architecture):
        raise ValueError(f"{value[:200]} is not on offer; name it under “A network from elsewhere as teacher”.")
    own = isinstance(value, str) and value in (student.teacher, student.student_architecture)
    entry = find_network(value if own else check_network(value))
    if entry.task != student.task:
        raise ValueError(f"{entry.title} is a network for {entry.task}; expected one for {student.task}.")
    return entry.name


def _changed(strides: Mapping[str, int], own: Mapping[str, int]) -> dict[str, int]:
    """No strides where all are the network's own: that is what the network itself is described by."""
    return {} if dict(strides) == own else dict(strides)


def card(student: StudentConfig) -> str:
    """The student in words, with what it needs at most, beside its teacher; a network that could teach, alone."""
    is_teacher = (
        student.red is None
        and student.architecture in (None, student.teacher)
        and dict(student.strides) == dict(student.teacher_strides)
    )
    try:
        found = counted(student)
        before, after, bare = (one.peak_bytes for one in (found.teacher, found.student, found.bare))
        memory = f"Peak {format_bytes(after)}"
        if not is_teacher:
            memory += f", teacher {format_bytes(before)}: <strong>{format_ratio(before, after)}</strong>"
        warning = red_sign(after, bare)
    except ValueError as error:
        memory, warning = escape(str(error)), None
    said = notice("", warning, kind="hint") if warning else ""
    role = ", a teacher" if is_teacher else ""
    return (
        f'<p class="student">{escape(describe_student(student))}, {format_pixels(student.image_size)}{role}</p>'
        f'<p class="subline">{memory}</p>{said}'
    )

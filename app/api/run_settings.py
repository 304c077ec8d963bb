"""The settings of a run as a program gives them: a preset and what differs, checked as the page checks its form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redistill.data.datasets import usual_size
from redistill.memory.comparison import early_strides
from redistill.networks.student import StudentConfig
from redistill.training.config import DistillConfig
from redistill.training.presets import find_preset

from ..distill import data_panel, run_form
from ..parts.networks import check_network
from ..runs import choices


def read_settings(preset: str, given: Mapping[str, Any]) -> DistillConfig:
    """A preset with other settings; those of its student and its RED blocks are replaced one by one.

    Another data set brings its classes and its usual image size along, another network strides that pool early.
    Raises ValueError, in one sentence, for settings that do not fit and for what is not on offer here.
    """
    values = find_preset(preset).config.to_dict()
    wished = given.get("student", {})
    if not isinstance(wished, Mapping):
        raise ValueError(f"student is {str(wished)[:60]!r}; expected settings by name, such as {{'image_size': 64}}.")
    student = _of_network(_of_data({**values["student"]}, given, wished), wished) | dict(wished)
    if isinstance(red := wished.get("red"), Mapping):
        student["red"] = {**(values["student"]["red"] or {}), **red}
    config = DistillConfig.from_dict({**values, **given, "student": student})
    teacher = choices.value_of(config.teacher_checkpoint) if config.teacher_checkpoint else run_form.NO_TEACHER
    return run_form.read(config.student.to_dict(), run_form.values(config) | {"teacher_checkpoint": teacher})


def _of_data(student: dict[str, Any], given: Mapping[str, Any], wished: Mapping[str, Any]) -> dict[str, Any]:
    """The preset's student on the pictures that were named, if any were."""
    if "dataset" not in given:
        return student
    spec = data_panel.look_up(given["dataset"])
    classes = spec.num_classes if student["num_classes"] else None
    return {**student, "num_classes": classes, "image_size": usual_size(spec, student["image_size"])}


def _of_network(student: dict[str, Any], wished: Mapping[str, Any]) -> dict[str, Any]:
    """The preset's student of the network that was named, if one was."""
    if "teacher" not in wished:
        return student
    network = check_network(wished["teacher"])
    if network == student["teacher"]:
        return student
    size = StudentConfig(network, wished.get("image_size", student["image_size"])).image_size
    own = {"teacher": network, "architecture": None, "teacher_strides": {}, "unets": {}}
    strides = {} if "strides" in wished else early_strides(network, image_size=size)
    return {**student, **own, "strides": strides}

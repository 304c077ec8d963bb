"""The settings of a run as a program gives them: a preset and what differs, checked as the page checks its form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redistill.training.adapting import changed, on_pictures
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
    if "teacher" in wished:
        wished = {**wished, "teacher": check_network(wished["teacher"])}
    if isinstance(red := wished.get("red"), Mapping):
        wished = {**wished, "red": {**(values["student"]["red"] or {}), **red}}
    student = values["student"]
    if "dataset" in given:
        student = on_pictures(student, data_panel.look_up(given["dataset"]))
    student = changed(student, wished)
    config = DistillConfig.from_dict({**values, **given, "student": student})
    teacher = choices.value_of(config.teacher_checkpoint) if config.teacher_checkpoint else run_form.NO_TEACHER
    return run_form.read(config.student.to_dict(), run_form.values(config) | {"teacher_checkpoint": teacher})

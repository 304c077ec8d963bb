"""A ready-made run's student made to fit other pictures, or to be another network; settings by name, in and out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..data.datasets import DatasetSpec, usual_size
from ..memory.usual_strides import early_strides
from ..networks.student import StudentConfig


def on_pictures(student: Mapping[str, Any], spec: DatasetSpec) -> dict[str, Any]:
    """For the classes of a data set, at the size at which its pictures come to such a network."""
    classes = spec.num_classes if student.get("num_classes") else None
    return {**student, "num_classes": classes, "image_size": usual_size(spec, student["image_size"])}


def changed(student: Mapping[str, Any], wished: Mapping[str, Any]) -> dict[str, Any]:
    """With what is wished, and what belonged to another network left out.

    Another network than before has strides that pool early, where it had any and none are wished. Raises ValueError,
    in one sentence, for what is no setting of a student.
    """
    before = StudentConfig.from_dict({**student, "red": None})
    found = {**student, **wished}
    if StudentConfig.from_dict({**found, "strides": {}, "red": None}).teacher != before.teacher:
        found = {**student, "architecture": None, "teacher_strides": {}, "unets": {}, **wished}
    now = StudentConfig.from_dict({**found, "strides": {}, "red": None})
    if before.strides and "strides" not in wished and now.student_architecture != before.student_architecture:
        found["strides"] = early_strides(now.student_architecture, now.unets, now.image_size)
    return found

"""What the page's forms hand to their handlers."""

from __future__ import annotations

import math
from typing import Any

from app.distill import run_form, student_form
from redistill.networks.student import StudentConfig
from redistill.training.presets import PRESETS

# What no control sends, but a program can.
HOSTILE = [None, [], {}, "", "<script>", -1, 0.5, 10**30, True, math.nan, math.inf, ["a"] * 50, {"a": {"b": []}}]


def student_values(student: StudentConfig, **changes: Any) -> dict[str, Any]:
    """The values of the student's controls by name."""
    return student_form.values(student) | changes


def run_values(preset: str, **changes: Any) -> dict[str, Any]:
    """The student's dict and the values of a run's controls by name."""
    config = PRESETS[preset].config
    return {"student": config.student.to_dict(), **run_form.values(config)} | changes


def sent(shown: dict[str, Any]) -> dict[str, Any]:
    """The values that the page sends back once the form shows `shown`: those inside updates of components."""
    return {name: getattr(value, "value", value) for name, value in shown.items()}


def read_form(form: dict[str, Any]) -> Any:
    """The config that the form is set to."""
    return run_form.read(form["student"], form)

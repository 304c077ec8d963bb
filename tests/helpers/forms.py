"""What the page's forms hand to their handlers."""

from __future__ import annotations

from app.distill import student_form
from redistill.networks.student import StudentConfig


def given(student: StudentConfig, **changes) -> list:
    values = dict(zip(student_form.FIELDS, student_form._values(student), strict=True)) | changes
    return list(values.values())

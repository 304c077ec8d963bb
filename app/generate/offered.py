"""The networks that can be drawn with: which students are offered beside which teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from redistill.training.presets import FACES_TEACHER

from ..runs import choices


def offer(teacher: Any, students: Any) -> dict[str, Any]:
    """The diffusion checkpoints there are; what was chosen stays chosen where it still exists."""
    found = choices.checkpoints(choices.is_diffusion)
    teachers = [choice for choice in found if not choice.is_student]
    others = [choice for choice in found if choice.is_student]
    values = [choice.value for choice in teachers]
    if teacher not in values:
        teacher = FACES_TEACHER if FACES_TEACHER in values else next(iter(values), None)
    names = [choice.value for choice in others]
    chosen = _still_there(students, names) or _own_students(found, teacher)[:1]
    return {
        "teacher": gr.Radio([(c.title, c.value) for c in teachers], value=teacher),
        "students": gr.CheckboxGroup(_titled(found, teacher), value=chosen),
    }


def follow(teacher: Any, students: Any) -> dict[str, Any]:
    """The students beside another teacher: those chosen that learnt from the same pictures, or else the first such."""
    found = choices.checkpoints(choices.is_diffusion)
    own = _own_students(found, teacher)
    return gr.update(choices=_titled(found, teacher), value=_still_there(students, own) or own[:1])


def _titled(found: Sequence[choices.Choice], teacher: Any) -> list[tuple[str, str]]:
    """All students as they are offered beside a teacher: its own first, of the others what they learnt from."""
    own = _own_students(found, teacher)
    others = [c for c in found if c.is_student and c.value not in own]
    titles = {choice.value: choice.title for choice in found}
    strange = [(f"{c.title} (draws {c.metadata.dataset or 'other pictures'})", c.value) for c in others]
    return [(titles[value], value) for value in own] + strange


def _still_there(chosen: Any, names: Sequence[str]) -> list[str]:
    return [value for value in chosen if value in names] if isinstance(chosen, list) else []


def _own_students(found: Sequence[choices.Choice], teacher: Any) -> list[str]:
    """Students that learnt from the pictures of the teacher chosen."""
    datasets = [choice.metadata.dataset for choice in found if choice.value == teacher]
    return [choice.value for choice in found if choice.is_student and choice.metadata.dataset in datasets]

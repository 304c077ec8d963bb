"""What a person asks to be drawn, checked: which networks, how many images, from which seed, in how many steps."""

from __future__ import annotations

from typing import Any

from redistill.common.values import is_number

MIN_COUNT, MAX_COUNT = 4, 16
MAX_FIRST_SEED = 2**53 - MAX_COUNT  # a browser holds whole numbers exactly below 2**53
MAX_STEPS = 250
MAX_STUDENTS = 3


def check_names(teacher: Any, students: Any, also: bool = False) -> list[str]:
    """The chosen checkpoints, the teacher first; ValueError for none (unless there is one `also`) and for too many."""
    if students is not None and not isinstance(students, (list, tuple)):
        raise ValueError("Students must be a list of checkpoints.")
    names = [name for name in (teacher, *(students or [])) if name not in (None, "")]
    if not names and not also:
        raise ValueError("Choose at least one checkpoint; without any, train a diffusion teacher on the Distill tab.")
    if len(names) > MAX_STUDENTS + 1:
        raise ValueError(f"{len(names) - 1} students are chosen; at most {MAX_STUDENTS} are drawn side by side.")
    return [str(name) for name in dict.fromkeys(map(str, names))]


def check_numbers(seed: Any, count: Any, steps: Any) -> tuple[list[int], int]:
    """Seeds of the images, and the number of steps; ValueError for what is no number or out of range."""
    seed = _whole("First seed", seed, 0, MAX_FIRST_SEED)
    count = _whole("Images", count, MIN_COUNT, MAX_COUNT)
    return list(range(seed, seed + count)), _whole("Denoising steps", steps, 1, MAX_STEPS)


def _whole(name: str, value: Any, low: int, high: int) -> int:
    if not (is_number(value) and low <= value <= high and value == int(value)):
        given = "empty" if value is None else str(value)[:40]
        raise ValueError(f"{name} is {given}; expected a whole number from {low} to {high}.")
    return int(value)

"""What Explore was set to beside the student that it hands over: kept, or said why it is not."""

from __future__ import annotations

from typing import Any

from redistill.common.values import is_whole
from redistill.networks.student import StudentConfig

from ..parts.budget import read_budget, room_text
from ..parts.counting import compare_as
from ..words.numbers import format_bytes, format_pixels


def say_carried(student: StudentConfig, dtype: Any, accounting: Any, batch: Any, *budget: Any) -> str:
    """Sentences on the numbers and the memory budget that the student was looked at with; empty for the usual ones.

    `batch` is a value of its control, and `budget` are the values of `parts.budget.CONTROLS`. ValueError for what is
    none of Explore's settings.
    """
    if not isinstance(dtype, str):
        raise ValueError(f"Numbers are {str(dtype)[:40]!r}; expected such as fp32.")
    said, room = [], read_budget(*budget)
    if room:
        images = batch or 1  # an empty field
        if not is_whole(images, 1):
            raise ValueError(f"Batch is {str(batch)[:40]}; expected a whole number of at least 1.")
        profile = compare_as(student, accounting, dtype, images).student
        several = f", {images} images at a time" if images > 1 else ""
        peak = profile.needed_bytes
        weights = f" The file with its weights {room.weights_verdict(profile)}." if room.has_weights else ""
        said.append(
            f"{room.title}, {room_text(room.bytes)}: the student needs {format_bytes(peak)} in {dtype} at "
            f"{format_pixels(student.image_size)}{several}, it {room.verdict(peak)}.{weights}"
        )
    if dtype != "fp32":
        after = "; “Export .onnx in int8” makes that of what it has learnt" if dtype == "int8" else ""
        said.append(f"Explore counts in {dtype}, runs train in fp32 or bf16{after}.")
    return " ".join(said)

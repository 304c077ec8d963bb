"""A student's memory before and after, in every way of counting: the rows of model cards and reports."""

from __future__ import annotations

from typing import NamedTuple

from ..memory.comparison import Comparison, compare
from ..memory.file_size import CLOSENESS
from ..networks.student import StudentConfig

# By what is counted: settings of `compare`.
COUNTED = {
    "deployed (fused), fp32": {},
    "deployed (fused), int8": {"dtype": "int8"},
    "PyTorch (eager), fp32": {"accounting": "eager"},
    "onnxruntime, fp32": {"accounting": "onnxruntime"},
    "ExecuTorch, planned, input apart, fp32": {"accounting": "executorch"},
}
PLANS = ("deployed (fused), fp32", "deployed (fused), int8")  # of which the arena stands beside what is alive


class MemoryRow(NamedTuple):
    """One line: bytes of the teacher and of the student."""

    title: str
    teacher: int
    student: int

    @property
    def ratio(self) -> float:
        """How many times less the student takes."""
        return self.teacher / self.student


def memory_rows(student: StudentConfig, batch: int = 1) -> list[MemoryRow]:
    """Activations, in bytes, of as many images at a time, RED blocks included; an accounting that has no rule for one
    of the operators is left out."""
    rows = []
    for title, settings in COUNTED.items():
        try:
            pair = compare(student, batch=batch, **settings)
        except ValueError:
            if not settings:  # the settings themselves do not fit
                raise
            continue
        rows.append(MemoryRow(title, pair.teacher.peak_bytes, pair.student.peak_bytes))
        if title in PLANS:
            plans = (pair.teacher.plan().bytes, pair.student.plan().bytes)
            rows.append(MemoryRow(f"{title.replace('deployed (fused)', 'planned in one arena')}", *plans))
    return rows


def weight_rows(found: Comparison) -> list[MemoryRow]:
    """Weights, and files computed from the tape, in bytes; `found` is counted in fp32."""
    pair, about = (found.teacher, found.student), f"(computed, within {CLOSENESS:.0%})"
    return [
        MemoryRow("weights, fp32", *(profile.weight_bytes_at(4) for profile in pair)),
        MemoryRow(f".onnx file, fp32 {about}", *(profile.file_bytes_at(4) for profile in pair)),
        MemoryRow(f".onnx file, int8 {about}", *(profile.file_bytes_at(1) for profile in pair)),
    ]

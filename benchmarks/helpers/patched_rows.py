"""Networks of the trade-off computed patch by patch: as accurate as they are, in less memory, for more computation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redistill.memory.patching import PatchedMemory, every_patching, least_memory
from redistill.memory.tape import capture_images
from redistill.networks.student import StudentConfig, build_student

from .alternatives import ALTERNATIVES, SMALLER
from .tradeoff_table import ALTERNATIVE, ON_CURVE, TEACHER, run_name

KIND = "patches"
METHOD = "kd"  # of the students that are counted so; RED blocks would be the peak where patches help
# Computation that patches may add, as a share of the network's: of the teacher every way is told, of students the best.
MOST, LITTLE = 1.0, 0.1


def patched_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What becomes of the teacher's row, of those of students on the curve and of smaller images, a row for each way to
    cut patches.

    Nothing is trained: accuracy is that of the run which the row is made of. Only ways with less memory than all that
    compute as little, and less than the network needs by itself.
    """
    found = []
    for row in rows:
        is_student = row["method"] == METHOD and (row["part"] == ON_CURVE or row.get("kind") == SMALLER)
        if row["state"] == "finished" and (row["part"] == TEACHER or is_student):
            ways = ways_of(counted_student(row), LITTLE if is_student else MOST)
            found += [_row(row, way) for way in (ways[-1:] if is_student else ways)]
    return found


def counted_student(row: Mapping[str, Any]) -> StudentConfig:
    """What memory is counted of: of a network that makes images smaller first, the one that then sees them."""
    student = StudentConfig.from_dict(row["config"]["student"])
    others = (other for other in ALTERNATIVES if other.title == row.get("network"))
    return next((other.counted(student.teacher, student.num_classes) for other in others), None) or student


def ways_of(student: StudentConfig, most: float) -> list[PatchedMemory]:
    """Ways to compute a network in patches, from least computation to least memory, that add at most such a share."""
    tape = capture_images(build_student(student).eval(), student.image_size)
    return [way for way in least_memory(every_patching(tape)) if way.overhead <= most]


def _row(row: Mapping[str, Any], way: PatchedMemory) -> dict[str, Any]:
    who = f"{row['network']} " if row.get("network") else ""
    network = f"{who}in {way.grid}×{way.grid} patches up to {way.upto}"
    place = f"{'-'.join(map(str, row['strides']))} {network}".strip().replace("×", "x")
    own = {"name": run_name(place, row["method"], row["seed"]), "network": network, "kind": KIND, "part": ALTERNATIVE}
    own |= {"upto": way.upto, "grid": way.grid, "macs": way.macs}
    own |= {f"{which}peak_bytes": way.peak_bytes for which in ("bare_", "red_", "")}
    return {**own, **{name: value for name, value in row.items() if name not in own}}

"""What RED blocks cost in memory: their kernels, their two halves, where they stand, and their form.

    python -m benchmarks.red_memory [--quick] [--json FILE]

For the paper's students (arXiv 2406.03744) at batch 1 in fp32, fused accounting: the peak with each setting of the
RED blocks, the most alive while one of them runs, the part of the peak that they made themselves, their weights and
the student's multiply-accumulates; then the peaks of some settings side by side, as docs/results/photographs.md has
them. `--quick` takes two students.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from redistill.memory import MemoryProfile, capture
from redistill.networks.alignment import align, red_sites
from redistill.networks.pooling_points import find_pooling_points
from redistill.networks.red import REDConfig
from redistill.networks.strides import set_strides
from redistill.networks.student import add_red

from .helpers.networks import UNET, build

MIB = 2**20


class Student(NamedTuple):
    """A network at the strides that the paper gives its teacher and its student, in the order of the points."""

    title: str
    network: str
    image_size: int
    teacher: tuple[int, ...]
    strides: tuple[int, ...]


STUDENTS = (
    Student("ResNet-18, 8·1·2·2·1", "resnet18", 224, (2, 2, 2, 2, 2), (8, 1, 2, 2, 1)),
    Student("ResNet-18, 4·2·2·2·1", "resnet18", 224, (2, 2, 2, 2, 2), (4, 2, 2, 2, 1)),
    Student("ResNet-50, 8·1·2·2·1", "resnet50", 224, (2, 2, 2, 2, 2), (8, 1, 2, 2, 1)),
    Student("MobileNetV2, 4·2·2·1·1", "mobilenet_v2", 128, (1, 2, 2, 2, 2), (4, 2, 2, 1, 1)),
    Student("DDPM U-Net, 2·2·2·1", UNET, 32, (1, 2, 2, 2), (2, 2, 2, 1)),
)
QUICK = STUDENTS[:2]
DEFAULT = "gate 1, residual 3"
VARIANTS = {
    DEFAULT: REDConfig(),
    "gate 3": REDConfig(gate_kernel=3),
    "gate 5": REDConfig(gate_kernel=5),
    "residual 1": REDConfig(residual_kernel=1),
    "residual 5": REDConfig(residual_kernel=5),
    "gate per channel": REDConfig(gate_per="channel"),
    "no gate": REDConfig(gate=False),
    "no residual encoder": REDConfig(residual_encoder=False),
    "residual depthwise": REDConfig(residual_depthwise=True),
    "squeezed by 4": REDConfig(residual_squeeze=4),
    "squeezed by 4, no gate": REDConfig(residual_squeeze=4, gate=False),
    "outermost points": REDConfig(points="outermost"),
    "outputs only": REDConfig(points="outputs"),
}
KERNELS = ("gate 3", "gate 5", "residual 1", "residual 5")
FORMS = [name for name in VARIANTS if name not in (DEFAULT, *KERNELS)]  # what a sentence compares with the default
# Side by side, by what the table calls them.
SHOWN = {
    "teacher": "teacher",
    "no RED": "no blocks",
    DEFAULT: "the paper's",
    "gate per channel": "gate per channel",
    "residual depthwise": "depthwise",
    "squeezed by 4": "squeezed by 4",
    "squeezed by 4, no gate": "squeezed by 4, no gate",
    "outermost points": "outermost layers only",
}

Studies = list[Mapping[str, Mapping[str, Any]]]  # per student: variant → its line


def at_strides(student: Student, strides: tuple[int, ...]) -> nn.Module:
    """The student's network, on the meta device, at these strides."""
    model = build(student.network)
    points = [point.name for point in find_pooling_points(model, student.image_size) if point.direction == "down"]
    return set_strides(model, dict(zip(points, strides, strict=True)), student.image_size)


def with_red(student: Student, red: REDConfig) -> nn.Module:
    """The student with RED blocks where it aligns with its teacher."""
    model, teacher = at_strides(student, student.strides), at_strides(student, student.teacher)
    return add_red(model, red_sites(align(model, teacher, student.image_size), red), red)


def red_bytes_at_peak(profile: MemoryProfile) -> int:
    """Bytes alive at the peak that an operator of a RED block wrote."""
    red = {layer.name for layer in profile.layers if layer.is_red}
    return sum(alive.bytes for alive in profile.live_tensors(profile.peak_index) if alive.made_by[1] in red)


def row(student: Student, variant: str, model: nn.Module) -> dict[str, Any]:
    """One line of the table."""
    profile = capture(model, (1, 3, student.image_size, student.image_size)).profile()
    return {
        "student": student.title,
        "variant": variant,
        "peak_bytes": profile.peak_bytes,
        "peak_layer": profile.peak_layer,
        "red_running_bytes": profile.red_peak_bytes,
        "red_bytes_at_peak": red_bytes_at_peak(profile),
        "red_weight_bytes": profile.red_weight_bytes,
        "macs": profile.macs,
    }


def study(student: Student) -> list[dict[str, Any]]:
    """All lines of one student: its teacher, itself without RED blocks, and every setting of them."""
    models = {
        "teacher": at_strides(student, student.teacher),
        "no RED": at_strides(student, student.strides),
        **{name: with_red(student, red) for name, red in VARIANTS.items()},
    }
    return [row(student, name, model) for name, model in models.items()]


def print_study(title: str, rows: list[dict[str, Any]]) -> None:
    """One student's table; ratios are the teacher's peak over the line's."""
    print(f"\n{title}")
    print(f"{'RED blocks':<24}{'peak MiB':>10}{'ratio':>8}{'RED runs':>10}{'RED made':>10}", end="")
    print(f"{'weights MiB':>13}{'MMACs':>9}  peak at")
    for line in rows:
        share = line["red_bytes_at_peak"] / line["peak_bytes"]
        print(f"{line['variant']:<24}{line['peak_bytes'] / MIB:>10.3f}", end="")
        print(f"{rows[0]['peak_bytes'] / line['peak_bytes']:>7.2f}×{line['red_running_bytes'] / MIB:>10.3f}", end="")
        print(f"{share:>10.0%}{line['red_weight_bytes'] / MIB:>13.3f}{line['macs'] / 1e6:>9.0f}", end="")
        print(f"  {line['peak_layer']}")


def kernel_bytes(studies: Studies) -> int:
    """The most that another kernel changes a peak."""
    return max(abs(lines[k]["peak_bytes"] - lines[DEFAULT]["peak_bytes"]) for lines in studies for k in KERNELS)


def conclusions(studies: Studies) -> list[str]:
    """What the figures say, each sentence computed from them."""
    count = len(studies)

    def peak(lines: Mapping, name: str) -> int:
        return lines[name]["peak_bytes"]

    raised = [peak(lines, DEFAULT) / peak(lines, "no RED") for lines in studies]
    heavier = [lines["residual 5"]["red_weight_bytes"] / lines[DEFAULT]["red_weight_bytes"] for lines in studies]
    sentences = [
        f"RED blocks raise the peak of {sum(ratio > 1 for ratio in raised)} of {count} students, by up to "
        f"{max(raised):.2f}×.",
        f"Kernels change the peak by at most {kernel_bytes(studies)} bytes, weights by much more: RED blocks with "
        f"residual 5 weigh up to {max(heavier):.1f} times those with residual 3.",
    ]
    for name in FORMS:
        saved = [1 - peak(lines, name) / peak(lines, DEFAULT) for lines in studies]
        running = [1 - lines[name]["red_running_bytes"] / lines[DEFAULT]["red_running_bytes"] for lines in studies]
        sentences.append(
            f"{name[0].upper()}{name[1:]}: the peak falls for {sum(share > 0 for share in saved)} of {count}, by up to "
            f"{max(saved):.0%}; what is alive while a RED block runs by {min(running):.0%} to {max(running):.0%}."
        )
    return sentences


def table(studies: Studies) -> list[str]:
    """A line a student, a column a form: the peak, and how many times smaller it is than the teacher's."""
    lines = [f"| {' | '.join(('student', *SHOWN.values()))} |", "| --- " * (1 + len(SHOWN)) + "|"]
    for found in studies:
        teacher = found["teacher"]["peak_bytes"]
        peaks = [found[name]["peak_bytes"] for name in SHOWN]
        cells = [f"{peak / MIB:.3f} MiB" + (f" ({teacher / peak:.1f}×)" if peak < teacher else "") for peak in peaks]
        lines.append(f"| {' | '.join((found['teacher']['student'], *cells))} |")
    return lines


def main() -> None:
    """Print a table a student and what follows, and write the lines to a file when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two students; ends within 45 s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the lines there")
    options = parser.parse_args()
    print("ratio: the teacher's peak over the student's. RED runs: most MiB alive while a RED block runs.")
    print("RED made: share of the bytes at the peak that a RED block wrote.")
    all_rows, studies = [], []
    for student in QUICK if options.quick else STUDENTS:
        rows = study(student)
        print_study(f"{student.title}, {student.image_size} px", rows)
        all_rows += rows
        studies.append({line["variant"]: line for line in rows})
    print()
    print(*conclusions(studies), sep="\n")
    print()
    print(*table(studies), sep="\n")
    if options.json:
        options.json.write_text(json.dumps(all_rows, indent=1) + "\n")
    peaks = [(lines[DEFAULT]["peak_bytes"], lines["no RED"]["peak_bytes"]) for lines in studies]
    print(
        f"red_memory students={len(studies)} raised_by_red={sum(red > bare for red, bare in peaks)} "
        f"most_raised={max(red / bare for red, bare in peaks):.2f} "
        f"kernel_bytes={kernel_bytes(studies)}"
    )


if __name__ == "__main__":
    main()

"""What is said of a network's memory and of the layers that pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from redistill.memory import MemoryProfile
from redistill.memory.comparison import Comparison, leaner_red
from redistill.memory.profile import GAPS
from redistill.memory.search import strides_at
from redistill.networks.pooling_points import PoolingPoint

from .numbers import common_unit, format_bytes, format_ratio, format_size
from .settings import describe_red


def unit_of(found: Comparison) -> int:
    """In whose unit the peaks of a comparison stand, see `common_unit`."""
    return common_unit([found.teacher.peak_bytes, found.student.peak_bytes])


def warnings(found: Comparison) -> list[str]:
    """What a person should know before trusting the ratio, in words."""
    notes = []
    student, bare, unit = found.student, found.bare, unit_of(found)
    if student.peak_bytes > bare.peak_bytes:
        ratio = format_ratio(found.teacher.peak_bytes, bare.peak_bytes)
        effect = "set" if student.timeline[student.peak_index].is_red else "raise"
        notes.append(
            f"RED blocks {effect} the peak: without them the student would need "
            f"{format_bytes(bare.peak_bytes, unit)} ({ratio})."
        )
        if leaner := leaner_red(found):
            notes[-1] += f" {describe_red(leaner)} would need no more; they are another function, to be trained so."
    for point in found.points:
        kernel = point.kernel
        if point.is_offered and point.stride > kernel:
            notes.append(
                f"{point.name} moves {point.stride} pixels at a time with a {kernel}×{kernel} window, so it never "
                f"sees {point.stride - kernel} of every {point.stride} rows and columns."
            )
            if point is found.points[0] and found.config.task != "diffusion":
                notes[-1] += " Another kind of first convolution sees them all."
    if student.accounting == "executorch":
        gaps = sum(tensor.bytes for tensor in student.live_tensors(student.peak_index) if tensor.made_by == GAPS)
        notes.append(
            f"ExecuTorch plans the tensors’ places ahead{f', with {format_bytes(gaps)} of gaps' if gaps else ''}; the "
            f"input, {format_bytes(student.input_bytes)}, is the caller’s and comes besides, in what fits too."
        )
    held = _input_bytes_at_peak(student)
    if 2 * held >= student.peak_bytes:
        share = f"{format_bytes(held, unit)} of the {format_bytes(student.peak_bytes, unit)} peak"
        notes.append(f"The input image itself is {share}: pooling more cannot lower that part; a smaller image can.")
    if student.peak_bytes > found.teacher.peak_bytes:
        notes.append("This student needs more memory than its teacher.")
    return notes


def _input_bytes_at_peak(profile: MemoryProfile) -> int:
    return sum(tensor.bytes for tensor in profile.live_tensors(profile.peak_index) if tensor.made_by == ("input", ""))


def size_text(point: PoolingPoint) -> str:
    """ "64 → 16 px" for square maps."""
    before, after = point.in_size, point.out_size
    if before[0] == before[1] and after[0] == after[1]:
        return f"{before[0]} → {after[0]} px"
    return f"{format_size(before)} → {format_size(after)}"


def tick_labels(found: Comparison) -> dict[str, str]:
    """Short labels under the chart's axis: the layers of the teacher that pool."""
    return pooling_labels(found.teacher, found.teacher_points)


def pooling_labels(profile: MemoryProfile, points: Sequence[PoolingPoint]) -> dict[str, str]:
    """Short labels of the layers that pool, by the first layer of the network in each."""
    layers = list(dict.fromkeys(op.layer for op in profile.timeline))
    labels, short = {}, short_labels([point.name for point in points])
    for point in points:
        first = next((name for name in layers if name == point.name or name.startswith(point.name + ".")), None)
        if first is not None:
            labels[first] = short[point.name]
    return labels


def short_label(name: str) -> str:
    """A layer's name for narrow places: "down_blocks.0.downsamplers.0" → "down 0", "layer2.0" → "layer2"."""
    parts = name.split(".")
    for kind in ("down", "up"):
        if parts[0] == f"{kind}_blocks":
            return f"{kind} {parts[1]}"
    kept = parts[:2] if parts[0] == "features" else parts[:1] if parts[-1] == "0" and len(parts) == 2 else parts
    return ".".join(kept)


def short_labels(names: Sequence[str]) -> dict[str, str]:
    """Short labels of the layers of one network, by name, without what all begin with: "features.conv0" → "conv0"."""
    labels = {name: short_label(name) for name in names}
    if len(set(labels.values())) < len(labels):
        labels = dict(zip(names, names, strict=True))
    parts = [label.split(".") for label in labels.values()]
    common = 0
    while len(parts) > 1 and len({tuple(part[: common + 1]) for part in parts}) == 1 < min(map(len, parts)) - common:
        common += 1
    return {name: ".".join(part[common:]) for name, part in zip(labels, parts, strict=True)}


def stride_choices(own: Mapping[str, int]) -> list[int]:
    """The strides that are offered, given the teacher's own by layer path: of each layer what a search tries there."""
    return sorted({stride for one in own.values() for stride in strides_at(one)})


def stride_rows(own: Mapping[str, int]) -> list[dict[str, Any]]:
    """The rows of a stride picker, one for each layer that pools, given the teacher's own strides by layer path."""
    offered, labels = {"choices": stride_choices(own)}, short_labels(list(own))
    return [{"name": name, "label": labels[name], "teacher": stride} | offered for name, stride in own.items()]


def point_rows(points: Sequence[PoolingPoint]) -> list[dict[str, Any]]:
    """`stride_rows` of all that makes maps smaller: what offers no choice stands there too, and says why."""
    rows = {row["name"]: row for row in stride_rows({p.name: p.stride for p in points if p.is_offered})}
    down = [point for point in points if point.direction == "down"]
    labels = short_labels([point.name for point in down])
    return [{**(rows.get(point.name) or _fixed_row(point)), "label": labels[point.name]} for point in down]


def _fixed_row(point: PoolingPoint) -> dict[str, Any]:
    stride = point.stride if isinstance(point.stride, int) else format_size(point.stride)
    reason = point.reason or (
        "its stride differs down and across; the library sets it"
        if point.role != "side"
        else "it makes maps smaller inside a layer only, such as keys and values; the library sets it"
    )
    return {"name": point.name, "teacher": stride, "choices": [], "reason": reason}

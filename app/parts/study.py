"""What Explore shows: a teacher and its student side by side, counted by `redistill.memory`. No gradio."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import torch

from redistill.common.modules import weightless
from redistill.memory import MemoryProfile, ShapeRuleError, Tape, capture
from redistill.networks.alignment import AlignedPair, align_points, red_sites
from redistill.networks.red import REDConfig
from redistill.networks.strides import PoolingPoint, check_image_size, check_strides, input_channels, set_strides
from redistill.networks.student import StudentConfig, add_red
from redistill.networks.zoo import build_network, find_network

from ..words.numbers import format_bytes, format_ratio, format_size

MAX_IMAGE_SIZE = 1024
STRIDES = (1, 2, 4, 8)  # offered at every pooling point
LARGE_STEM = 7  # a kernel so wide can take the first pool's stride too


@dataclass(frozen=True)
class Study:
    """Teacher, student, and the student without its RED blocks; all profiles at the same settings."""

    config: StudentConfig
    teacher: MemoryProfile
    student: MemoryProfile
    bare: MemoryProfile  # the student without RED blocks; the student itself when it has none
    teacher_points: tuple[PoolingPoint, ...]
    points: tuple[PoolingPoint, ...]  # the student's
    pairs: tuple[AlignedPair, ...]
    kernels: Mapping[str, int]  # widest kernel at each pooling point, pixels
    dtype: str  # of every number in all profiles


def study(config: StudentConfig, accounting: str = "fused", dtype: str = "fp32") -> Study:
    """Count a student and its teacher. ValueError, in one sentence, for settings that do not fit."""
    size = check_size(config.image_size)
    tape = teacher_tape(config.teacher)
    check_strides(config.strides, tape.points, size)
    settings = {"accounting": accounting, "dtype": dtype}
    plain = StudentConfig(config.teacher, size, red=None)
    teacher, teacher_points = _profile(tape, plain, settings)
    bare, points = _profile(tape, dataclasses.replace(plain, strides=config.strides), settings)
    student = _profile(tape, config, settings)[0] if config.red else bare
    return Study(
        config=config,
        teacher=teacher,
        student=student,
        bare=bare,
        teacher_points=tuple(teacher_points),
        points=tuple(points),
        pairs=tuple(align_points(points, teacher_points, config.alignment)),
        kernels=_kernels(tape),
        dtype=dtype,
    )


def check_size(size: object) -> int:
    """An image side that Explore counts: a whole number from 8 to MAX_IMAGE_SIZE pixels."""
    if isinstance(size, bool) or not isinstance(size, int) or not 8 <= size <= MAX_IMAGE_SIZE:
        raise ValueError(f"Image side is {str(size)[:40]}; expected a whole number from 8 to {MAX_IMAGE_SIZE} pixels.")
    return check_image_size(size)[0]


@cache
def teacher_tape(name: str) -> Tape:
    """The recorded teacher at its own strides and usual size; kept, since every change is evaluated on it."""
    entry = find_network(name)
    with weightless():
        model = build_network(name)
    size = entry.image_size or check_image_size(model.config.sample_size)[0]
    return capture(model, (1, input_channels(model), size, size))


def _profile(
    tape: Tape, config: StudentConfig, settings: Mapping[str, str]
) -> tuple[MemoryProfile, list[PoolingPoint]]:
    size = config.image_size
    try:
        profile = tape.profile(config.strides, image_size=size, red=config.red, alignment=config.alignment, **settings)
        return profile, tape.points_at(config.strides, size)
    except ShapeRuleError:
        strides = tuple(sorted(config.strides.items()))
        _, points = _captured(config.teacher, size, strides)
        tape = _captured_red(config.teacher, size, strides, config.red, config.alignment)
        return tape.profile(**settings), points


@lru_cache(maxsize=64)
def _captured(teacher: str, image_size: int, strides: tuple[tuple[str, int], ...]) -> tuple[Tape, list[PoolingPoint]]:
    """A student without RED blocks that the teacher's tape cannot tell, recorded on its own; its pooling points."""
    with weightless():
        model = build_network(teacher)
        if hasattr(model, "set_pooling_strides"):  # checked by `study`; set_strides would trace the network once more
            own = {point.name: point.stride for point in teacher_tape(teacher).points if point.direction == "down"}
            model.set_pooling_strides(list((own | dict(strides)).values()))
        else:
            set_strides(model, dict(strides), image_size)
    tape = capture(model, (1, input_channels(model), image_size, image_size))
    return tape, tape.points


@lru_cache(maxsize=128)
def _captured_red(
    teacher: str, image_size: int, strides: tuple[tuple[str, int], ...], red: REDConfig | None, alignment: str
) -> Tape:
    """The same with RED blocks, put where `build_student` puts them."""
    bare, points = _captured(teacher, image_size, strides)
    if red is None:
        return bare
    sites = red_sites(align_points(points, _points(teacher, image_size), alignment), red)
    model = add_red(copy.deepcopy(bare.recording.model), sites, red)
    return capture(model, (1, input_channels(model), image_size, image_size))


def _points(teacher: str, image_size: int) -> list[PoolingPoint]:
    return _profile(teacher_tape(teacher), StudentConfig(teacher, image_size, red=None), {})[1]


def suggest_strides(tape: Tape) -> dict[str, int]:
    """A student to start from: the stem takes the last stride, and with a wide kernel the first pool's too."""
    down = [point for point in tape.points if point.direction == "down"]
    strides = {point.name: point.stride for point in down}
    pooled = [point.name for point in down[1:] if point.stride > 1]
    moved = pooled[-1:] + (pooled[:1] if _kernels(tape)[down[0].name] >= LARGE_STEM and len(pooled) > 1 else [])
    for name in moved:
        strides[down[0].name] *= strides[name]
        strides[name] = 1
    return strides


def _kernels(tape: Tape) -> dict[str, int]:
    """The widest window at each pooling point: pixels between windows farther apart than that are never seen."""
    kernels = {}
    for point in tape.points:
        if point.direction == "down":
            sides = [_kernel(tape.recording.model.get_submodule(path)) for path in point.modules]
            kernels[point.name] = max(sides)
    return kernels


def _kernel(module: torch.nn.Module) -> int:
    side = getattr(module, "kernel_size", 1)
    return max(side) if isinstance(side, tuple) else side


def warnings(found: Study) -> list[str]:
    """What a person should know before trusting the ratio, in words."""
    notes = []
    student, bare = found.student, found.bare
    if student.peak_bytes > bare.peak_bytes:
        ratio = format_ratio(found.teacher.peak_bytes, bare.peak_bytes)
        effect = "set" if student.timeline[student.peak_index].is_red else "raise"
        notes.append(
            f"RED blocks {effect} the peak: without them the student would need "
            f"{format_bytes(bare.peak_bytes)} ({ratio})."
        )
    for point in found.points:
        kernel = found.kernels.get(point.name, point.stride)
        if point.direction == "down" and point.stride > kernel:
            notes.append(
                f"{point.name} moves {point.stride} pixels at a time with a {kernel}×{kernel} window, so it never "
                f"sees {point.stride - kernel} of every {point.stride} rows and columns."
            )
    held = _input_bytes_at_peak(student)
    if 2 * held >= student.peak_bytes:
        notes.append(
            f"The input image itself is {format_bytes(held)} of the {format_bytes(student.peak_bytes)} peak: "
            "pooling more cannot lower that part; a smaller image can."
        )
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


def tick_labels(found: Study) -> dict[str, str]:
    """Short labels under the chart's axis: the layers of the teacher that pool."""
    return pooling_labels(found.teacher, found.teacher_points)


def pooling_labels(profile: MemoryProfile, points: Sequence[PoolingPoint]) -> dict[str, str]:
    """Short labels of the layers that pool, by the first layer of the network in each."""
    layers = list(dict.fromkeys(op.layer for op in profile.timeline))
    labels = {}
    for point in points:
        first = next((name for name in layers if name == point.name or name.startswith(point.name + ".")), None)
        if first is not None:
            labels[first] = short_label(point.name)
    return labels


def short_label(name: str) -> str:
    """A layer's name for narrow places: "down_blocks.0.downsamplers.0" → "down 0", "layer2.0" → "layer2"."""
    parts = name.split(".")
    for kind in ("down", "up"):
        if parts[0] == f"{kind}_blocks":
            return f"{kind} {parts[1]}"
    kept = parts[:2] if parts[0] == "features" else parts[:1] if parts[-1] == "0" and len(parts) == 2 else parts
    return ".".join(kept)


def teacher_strides(tape: Tape) -> dict[str, int]:
    """The strides of a teacher's own, by layer path."""
    return {point.name: point.stride for point in tape.points if point.direction == "down"}


def stride_choices(own: Mapping[str, int]) -> list[int]:
    """The strides that are offered, given the teacher's own by layer path: the usual ones and the teacher's."""
    return sorted({*STRIDES, *own.values()})

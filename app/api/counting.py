"""Endpoints that count memory: networks, profile, alive, search."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from redistill.memory import MemoryProfile
from redistill.memory.chips import room_on
from redistill.memory.comparison import Comparison, student_tape
from redistill.memory.search import Candidate, search_strides
from redistill.memory.usual_strides import own_strides
from redistill.networks.alignment import BY_SIZE
from redistill.networks.pooling_points import PoolingPoint, one_or_pair
from redistill.networks.red import REDConfig
from redistill.networks.stem_kinds import AS_BUILT
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import NETWORKS, find_network, usual_size

from ..explore.link import MAX_SIDE
from ..parts.counting import check_counting, compare_as
from ..parts.networks import check_network, choices
from ..parts.trace import Place, locate
from ..words.memory import warnings
from .kinds import (
    MOST,
    NONE,
    Accounting,
    Alignment,
    Batch,
    Budget,
    Channels,
    Chip,
    Dtype,
    ImageSize,
    Network,
    Red,
    Reduction,
    Stem,
    Strides,
    text,
    whole,
)


def networks(contains: text(120, "part of a name") = "", limit: whole(1, 2000, "names at most") = 50) -> dict:
    """Networks that can be counted, by name: the table's own first, then those of torchvision and timm.

    Example:
        client.predict(contains="resnet", api_name="/networks")
    """
    found = [name for title, name in choices() if contains.lower() in f"{name} {title}".lower()]
    titles = {name: NETWORKS[name].title for name in found if name in NETWORKS}
    rows = [{"name": name, "title": titles.get(name, name), "image_size": _own_size(name)} for name in found[:limit]]
    return {"count": len(found), "networks": rows}


def profile(
    network: Network,
    strides: Strides = NONE,
    image_size: ImageSize = None,
    red: Red = True,
    accounting: Accounting = "fused",
    dtype: Dtype = "fp32",
    batch: Batch = 1,
    channels: Channels = 3,
    layers: bool = False,
    stem: Stem = AS_BUILT,
    alignment: Alignment = BY_SIZE,
) -> dict:
    """Peak activation memory of a network and of its student at other pooling strides, in bytes, RED blocks included.

    Nothing is computed and no weights are loaded. Without strides the student is the network itself; image_size is
    pixels a side or [height, width], by default the network's usual. With `layers` each layer is told too.

    Example:
        client.predict("resnet18", {"conv1": 8, "maxpool": 1, "layer4.0": 1}, api_name="/profile")
    """
    found = _counted(network, strides, image_size, red, accounting, dtype, batch, channels, stem, alignment)
    every = own_strides(found.config.teacher, image_size=found.config.image_size) | dict(found.config.strides)
    return {
        "network": found.config.teacher,
        "image_size": found.config.image_size,
        "strides": every,
        "accounting": accounting,
        "dtype": found.dtype,
        "batch": found.batch,
        "teacher": _figures(found.teacher, layers),
        "student": _figures(found.student, layers),
        "student_without_red": _figures(found.bare, layers),
        "points": [_point(point) for point in found.points],
        "aligned": [dataclasses.asdict(pair) for pair in found.pairs],
        "refusal": found.refusal,
        "notes": warnings(found),
    }


def memory(
    teacher: Network,
    strides: Strides,
    image_size: whole(0, MAX_SIDE, "pixels a side, or the height where there is a width; 0: the usual") = 0,
    red: Red = True,
    accounting: Accounting = "fused",
    width: whole(0, MAX_SIDE, "pixels; 0: as the height") = 0,
    in_channels: Channels = 3,
    batch: Batch = 1,
    dtype: Dtype = "fp32",
    stem: Stem = AS_BUILT,
) -> dict:
    """The peaks that `profile` tells, and no more; for programs of before there was that.

    Example:
        client.predict("resnet18", {"conv1": 8, "maxpool": 1, "layer4.0": 1}, api_name="/memory")
    """
    size = [image_size, width] if width else image_size or None
    found = _counted(teacher, strides, size, red, accounting, dtype, batch, in_channels, stem)
    peaks = {"teacher": found.teacher, "student": found.student, "student_without_red": found.bare}
    return {name: {"peak_bytes": peak.peak_bytes, "peak_layer": peak.peak_layer} for name, peak in peaks.items()}


def alive(
    network: Network,
    strides: Strides = NONE,
    image_size: ImageSize = None,
    red: Red = True,
    accounting: Accounting = "fused",
    dtype: Dtype = "fp32",
    batch: Batch = 1,
    channels: Channels = 3,
    who: Literal["student", "teacher"] = "student",
    layer: text(300, "a layer's path; by default that of the peak") | None = None,
    stem: Stem = AS_BUILT,
    alignment: Alignment = BY_SIZE,
) -> dict:
    """The tensors that are alive at the peak of a student or its teacher, or at the peak of one layer.

    Largest first, with who made each and who still needs it; their bytes add up to `live_bytes`.

    Example:
        client.predict("resnet18", {"conv1": 8, "maxpool": 1, "layer4.0": 1}, api_name="/alive")
    """
    found = _counted(network, strides, image_size, red, accounting, dtype, batch, channels, stem, alignment)
    shown = found.teacher if who == "teacher" else found.student
    if layer is not None and all(op.layer != layer for op in shown.timeline):
        raise ValueError(
            f"The {who} has no layer {layer[:60]!r} that runs an operator; `profile` with layers lists them."
        )
    index = locate(shown, Place(who, layer))
    op = shown.timeline[index]
    tensors = [
        {"shape": tensor.shape, "bytes": tensor.bytes, "made_by": tensor.made_by, "needed_by": tensor.needed_by}
        for tensor in shown.live_tensors(index)
    ]
    return {
        "operator": op.op,
        "layer": op.layer,
        "live_bytes": op.live_bytes,
        "is_peak": index == shown.peak_index,
        "tensors": tensors,
    }


def search(
    network: Network,
    budget_bytes: Budget = None,
    image_size: ImageSize = None,
    reduction: Reduction = "same",
    red: Red = True,
    accounting: Accounting = "fused",
    dtype: Dtype = "fp32",
    batch: Batch = 1,
    channels: Channels = 3,
    limit: whole(1, MOST, "rows of the front at most") = 50,
    stem: Stem = AS_BUILT,
    chip: Chip = None,
    alignment: Alignment = BY_SIZE,
) -> dict:
    """Every choice of pooling strides of a network: what fits a budget, and what computation that keeps.

    At each layer 1, 2, 4, 8 and its own are tried, and twice that where it is 8 or more, as of a transformer's patches.
    `best` is the choice that keeps the most of the network's multiply-accumulates (MACs) within the budget, null where
    none fits; `front` has, by rising memory, the choices of which no other keeps more in as little. MACs stand in for
    the accuracy that can be kept; they are no promise of it. RED blocks are counted in `peak_bytes`. What fits is
    `needed_bytes`: the arena where the runtime plans one (fused, executorch), with the input where the caller holds it.
    With a chip in place of a budget, what it leaves to activations is `budget_bytes`, and only choices whose weights
    find room there too fit: `weights_fit`.

    Example:
        client.predict("timm:mobilenetv2_035", chip="stm32h743", dtype="int8", api_name="/search")
    """
    if chip and budget_bytes is not None:
        raise ValueError("budget_bytes and chip both say what is to fit; give one of them.")
    room = room_on(chip) if chip else None
    config = _student(network, {}, image_size, red, channels, stem, alignment)
    found = search_strides(
        student_tape(config),
        config.image_size,
        budget_bytes,
        reduction=reduction,
        red=config.red,
        alignment=alignment,
        dtype=dtype,
        batch=batch,
        room=room,
        **check_counting(accounting).settings,
    )
    budget_bytes = room.activations if room else budget_bytes
    fits = [] if budget_bytes is None else found.within(budget_bytes)
    return {
        "network": config.teacher,
        "image_size": config.image_size,
        "budget_bytes": budget_bytes,
        "tried": found.tried,
        "refused": found.refused,
        "fitting": found.fitting,
        "teacher": _candidate(found.teacher, found.teacher),
        "best": _candidate(fits[-1], found.teacher) if fits else None,
        "front": [_candidate(row, found.teacher) for row in found.front[:limit]],
    }


def _own_size(name: str) -> Any:
    """The usual image size of a network of the table; others are not built to be listed."""
    return usual_size(find_network(name)) if name in NETWORKS else None


def _student(
    network: str, strides: Any, image_size: Any, red: bool, channels: int, stem: str, alignment: str
) -> StudentConfig:
    size = tuple(image_size) if isinstance(image_size, list) else image_size
    chosen = {name: one_or_pair(stride) if isinstance(stride, list) else stride for name, stride in strides.items()}
    name = check_network(network)
    blocks = REDConfig() if red else None
    told = {"in_channels": channels, "stem": stem, "alignment": alignment}
    return StudentConfig(name, size, strides=chosen, red=blocks, **told)


def _counted(
    network: str,
    strides: Any,
    image_size: Any,
    red: bool,
    accounting: str,
    dtype: str,
    batch: int,
    channels: int,
    stem: str,
    alignment: str = BY_SIZE,
) -> Comparison:
    student = _student(network, strides, image_size, red, channels, stem, alignment)
    return compare_as(student, accounting, dtype, batch)


def _figures(found: MemoryProfile, layers: bool) -> dict:
    """A profile in whole bytes."""
    names = (
        "peak_bytes",
        "needed_bytes",
        "peak_layer",
        "red_peak_bytes",
        "weight_bytes",
        "red_weight_bytes",
        "input_bytes",
    )
    told = {name: getattr(found, name) for name in (*names, "output_bytes", "macs")}
    rows = ("name", "peak_bytes", "output_shape", "output_bytes", "is_red")
    return told | ({"layers": [{name: getattr(row, name) for name in rows} for row in found.layers]} if layers else {})


def _point(point: PoolingPoint) -> dict:
    return {name: getattr(point, name) for name in ("name", "stride", "direction", "in_size", "out_size", "is_offered")}


def _candidate(found: Candidate, teacher: Candidate) -> dict:
    told = dataclasses.asdict(found) | {"macs_kept": round(found.bare_macs / teacher.macs, 4)}
    stored, room = told.pop("stored_bytes"), told.pop("room_bytes")
    return told if room is None else told | {"weight_file_bytes": stored, "weights_fit": found.weights_fit}

"""A student beside its teacher, counted alike: the one way to the peaks of a pair of networks."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..common.modules import weightless
from ..networks.alignment import AlignedPair, align_points, red_sites
from ..networks.red import REDConfig
from ..networks.strides import PoolingPoint, check_image_size, check_strides, set_strides
from ..networks.student import StudentConfig, add_red
from ..networks.zoo import NO_UNETS, NetworkInfo, Unets, build_network, find_network
from .compiler import FrozenSites, Sites, frozen_sites
from .profile import MemoryProfile
from .shape_rules import ShapeRuleError
from .tape import Tape, capture_images

LARGE_STEM = 7  # a kernel so wide can take the first pool's stride too


@dataclass(frozen=True)
class Comparison:
    """Teacher, student, and the student without its RED blocks; all profiles at the same settings."""

    config: StudentConfig
    teacher: MemoryProfile
    student: MemoryProfile
    bare: MemoryProfile  # the student without RED blocks; the student itself when it has none
    teacher_points: tuple[PoolingPoint, ...]
    points: tuple[PoolingPoint, ...]  # the student's
    pairs: tuple[AlignedPair, ...]
    dtype: str  # of every number in all profiles
    fuse_add: bool  # whether convolutions do the additions after them


def compare(
    config: StudentConfig, accounting: str = "fused", dtype: str = "fp32", fuse_add: bool = False
) -> Comparison:
    """Count a student and its teacher at batch 1, from the tapes of both networks, which are kept.

    The settings of counting are those of `Tape.profile`. What a tape cannot tell is captured anew, so that every
    student that `build_student` builds is counted. Raises ValueError, in one sentence, for settings that do not fit.
    """
    size = check_image_size(config.image_size)[0]
    counted = {"accounting": accounting, "dtype": dtype, "fuse_add": fuse_add}
    own, other = _Network(config.student_architecture, config), _Network(config.teacher, config)
    check_strides(config.strides, own.tape.points, size)
    check_strides(config.teacher_strides, other.tape.points, size)
    teacher, teacher_points = other.count(config.teacher_strides, size, counted)
    bare, points = own.count(config.strides, size, counted)
    pairs = align_points(points, teacher_points, config.alignment)
    sites = red_sites(pairs, config.red) if config.red else {}
    student = own.count(config.strides, size, counted, config.red, sites)[0] if sites else bare
    return Comparison(
        config=config,
        teacher=teacher,
        student=student,
        bare=bare,
        teacher_points=tuple(teacher_points),
        points=tuple(points),
        pairs=tuple(pairs),
        dtype=dtype,
        fuse_add=fuse_add,
    )


def network_tape(name: str, num_classes: int | None = None, unets: Unets = NO_UNETS) -> Tape:
    """The recorded network at its own strides and usual size; `unets` as in a `StudentConfig`."""
    return _tape(find_network(name, unets), num_classes)


@lru_cache(maxsize=64)  # kept, since every change is evaluated on it
def _tape(network: NetworkInfo, num_classes: int | None) -> Tape:
    with weightless():
        model = build_network(network, num_classes)
    return capture_images(model, network.image_size or model.config.sample_size)


def own_strides(name: str, unets: Unets = NO_UNETS) -> dict[str, int]:
    """The strides of a network as it is built, by pooling point."""
    return network_tape(name, unets=unets).strides


def early_strides(name: str, unets: Unets = NO_UNETS) -> dict[str, int]:
    """A student to start from: the stem takes the last stride, and with a wide kernel the first pool's too."""
    down = [point for point in network_tape(name, unets=unets).points if point.direction == "down"]
    strides = {point.name: point.stride for point in down}
    pooled = [point.name for point in down[1:] if point.stride > 1]
    moved = pooled[-1:] + (pooled[:1] if down[0].kernel >= LARGE_STEM and len(pooled) > 1 else [])
    for pool in moved:
        strides[down[0].name] *= strides[pool]
        strides[pool] = 1
    return strides


class _Network:
    """A network of the table with as many classes as a student has."""

    def __init__(self, name: str, config: StudentConfig) -> None:
        self.key = find_network(name, config.unets), config.num_classes
        self.tape = _tape(*self.key)

    def count(
        self,
        strides: Mapping[str, int],
        size: int,
        counted: Mapping[str, Any],
        red: REDConfig | None = None,
        sites: Sites | None = None,
    ) -> tuple[MemoryProfile, list[PoolingPoint]]:
        """Its profile and pooling points at these strides, with RED blocks at `sites`."""
        try:
            profile = self.tape.profile(strides, image_size=size, red=red, sites=sites, **counted)
            return profile, self.tape.points_at(strides, size)
        except ShapeRuleError:
            tape = _captured(*self.key, size, tuple(sorted(strides.items())), red, frozen_sites(sites or {}))
            return tape.profile(**counted), tape.points


@lru_cache(maxsize=128)
def _captured(
    network: NetworkInfo,
    num_classes: int | None,
    size: int,
    strides: tuple[tuple[str, int], ...],
    red: REDConfig | None = None,
    sites: FrozenSites = (),
) -> Tape:
    """A network that its tape cannot tell, recorded on its own."""
    if sites:
        model = copy.deepcopy(_captured(network, num_classes, size, strides).recording.model)
        return capture_images(add_red(model, {path: dict(sides) for path, sides in sites}, red), size)
    with weightless():
        model = set_strides(build_network(network, num_classes), dict(strides), size)
    return capture_images(model, size)

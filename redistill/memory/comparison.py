"""A student beside its teacher, counted alike: the one way to the peaks of a pair of networks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from torch import nn

from ..common.modules import meta_copy, weightless
from ..networks.alignment import AlignedPair, align_points, red_sites
from ..networks.info import NetworkInfo
from ..networks.pooling_points import PoolingPoint, check_image_size
from ..networks.red import REDConfig
from ..networks.stem_kinds import AS_BUILT, marked_stem, set_stem
from ..networks.strides import check_strides, set_strides
from ..networks.student import StudentConfig, add_red, check_stem
from ..networks.trails import Size
from ..networks.zoo import NO_UNETS, Unets, build_network, find_network, usual_size
from .compiler import FrozenSites, Sites, frozen_sites
from .profile import MemoryProfile
from .shape_rules import ShapeRuleError
from .tape import Tape, capture

SPARE = 1.02  # of the peak without RED blocks, what one with them may be to count as the same
# Forms of a RED block that need less and less memory, by what they change.
LEANER = (
    {"gate_per": "channel"},
    {"gate": False, "residual_squeeze": 2},
    {"gate": False, "residual_squeeze": 4},
    {"gate": False, "residual_squeeze": 8},
)


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
    batch: int = 1  # images at a time
    refusal: str = ""  # why no strides of the student's network can be set, where none can


def compare(
    config: StudentConfig, accounting: str = "fused", dtype: str = "fp32", fuse_add: bool = False, batch: int = 1
) -> Comparison:
    """Count a student and its teacher, from the tapes of both networks, which are kept.

    The settings of counting are those of `Tape.profile`. What a tape cannot tell is captured anew, so that every
    student that `build_student` builds is counted; of a network that no student can be built from, the network as it
    is. Raises ValueError, in one sentence, for settings that do not fit.
    """
    size = check_image_size(config.image_size)
    counted = {"accounting": accounting, "dtype": dtype, "fuse_add": fuse_add, "batch": batch}
    own, other = _networks(config)
    own.check(config.strides, size)
    other.check(config.teacher_strides, size)
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
        batch=batch,
        refusal=own.refusal,
    )


def leaner_red(found: Comparison) -> REDConfig | None:
    """Settings of RED blocks that leave the student's peak where it is without them; None where its own do, or none do.

    Of LEANER the first that will do, counted as `found` was; none where the network's tape cannot tell. What they learn
    is another matter: each is another function.
    """
    most, config = int(SPARE * found.bare.peak_bytes), found.config
    if config.red is None or not config.red.residual_encoder or found.student.peak_bytes <= most:
        return None
    tape, size = _networks(config)[0].tape, check_image_size(config.image_size)
    counted = {"accounting": found.student.accounting, "dtype": found.dtype, "fuse_add": found.fuse_add}
    for changes in LEANER:
        red = replace(config.red, **changes)
        told = {"red": red, "sites": red_sites(found.pairs, red), "image_size": size, "batch": found.batch}
        try:
            if tape.profile(config.strides, **told, **counted).peak_bytes <= most:
                return red
        except ShapeRuleError:
            return None
    return None


def student_on_tape(config: StudentConfig, batch: int = 1) -> tuple[Tape, dict[str, Any]]:
    """A tape that tells of a student, and the settings of `Tape.profile` at which it does.

    That is the tape of its network, or one of its own where that cannot tell. Raises ValueError as `compare` does.
    """
    size = check_image_size(config.image_size)
    own, other = _networks(config)
    own.check(config.strides, size)
    other.check(config.teacher_strides, size)
    red, sites = config.red, {}
    if red:
        points = own.at(config.strides, size, batch)[2], other.at(config.teacher_strides, size, batch)[2]
        sites = red_sites(align_points(*points, config.alignment), red)
    return own.at(config.strides, size, batch, red if sites else None, sites or None)[:2]


def network_tape(
    name: str,
    num_classes: int | None = None,
    unets: Unets = NO_UNETS,
    image_size: int | Size | None = None,
    in_channels: int = 3,
    stem: str = AS_BUILT,
) -> Tape:
    """The recorded network at its own strides, at batch 1; `unets` and `stem` as in a `StudentConfig`.

    It is recorded at its usual size, and at `image_size` where it has none or is built for one size alone.
    """
    network = find_network(name, unets)
    if image_size is None or not (network.is_sized or network.image_size is None):
        image_size = usual_size(network)
    return _tape(network, num_classes, check_image_size(image_size), in_channels, stem)


def student_tape(config: StudentConfig) -> Tape:
    """The tape of a student's network at its own strides, of which a search tries others; at batch 1."""
    name, told = config.student_architecture, (config.unets, config.image_size, config.in_channels, config.stem)
    return network_tape(name, config.num_classes, *told)


@lru_cache(maxsize=64)  # kept, since every change is evaluated on it
def _tape(network: NetworkInfo, num_classes: int | None, size: Size, in_channels: int, stem: str) -> Tape:
    return capture(_built(network, num_classes, size, in_channels, stem), (1, in_channels, *size))


def _built(network: NetworkInfo, num_classes: int | None, size: Size, in_channels: int, stem: str) -> nn.Module:
    with weightless():
        model = build_network(network, num_classes, in_channels=in_channels, image_size=size)
        if stem != AS_BUILT:
            set_stem(model, stem)
    return model


def points_of(tape: Tape) -> tuple[list[PoolingPoint], str]:
    """The pooling points of a network, and why there are none where no student can be built from it."""
    try:
        return tape.points, ""
    except ShapeRuleError:
        raise
    except ValueError as error:
        return [], str(error)


def _networks(config: StudentConfig) -> tuple[_Network, _Network]:
    """The student's network and the teacher's."""
    return _Network(config.student_architecture, config, config.stem), _Network(config.teacher, config)


class _Network:
    """A network with as many classes, and for as many channels of an image, as a student has."""

    def __init__(self, name: str, config: StudentConfig, stem: str = AS_BUILT) -> None:
        self.network, self.classes = find_network(name, config.unets), config.num_classes
        self.channels, self.stem = config.in_channels, stem
        self.tape = network_tape(name, self.classes, config.unets, config.image_size, self.channels, stem)
        self.points, self.refusal = points_of(self.tape)
        if stem != AS_BUILT and not self.refusal:
            check_stem(marked_stem(self.tape.recording.model), self.points)

    def check(self, strides: Mapping[str, int], size: Size) -> None:
        """ValueError for strides that do not fit this network and images of this size."""
        if strides and self.refusal:
            raise ValueError(self.refusal)
        check_strides(strides, self.points, size)

    def count(
        self,
        strides: Mapping[str, int],
        size: Size,
        counted: Mapping[str, Any],
        red: REDConfig | None = None,
        sites: Sites | None = None,
    ) -> tuple[MemoryProfile, list[PoolingPoint]]:
        """Its profile and pooling points at these strides, with RED blocks at `sites`."""
        tape, settings, points = self.at(strides, size, counted["batch"], red, sites)
        return tape.profile(**settings | counted), points

    def at(
        self,
        strides: Mapping[str, int],
        size: Size,
        batch: int,
        red: REDConfig | None = None,
        sites: Sites | None = None,
    ) -> tuple[Tape, dict[str, Any], list[PoolingPoint]]:
        """A tape that tells of it, the settings of `Tape.profile` at which it does, and its pooling points there."""
        settings = {"strides": strides, "image_size": size, "batch": batch, "red": red, "sites": sites}
        for tape in self.tapes(batch):
            try:
                tape.setting(**settings)
                return tape, settings, tape.points_at(strides, size) if self.points else []
            except ShapeRuleError:
                continue
        tape = self.captured(strides, size, batch, red, sites)
        return tape, {}, tape.points if self.points else []

    def tapes(self, batch: int) -> Iterator[Tape]:
        """The tapes that may tell of it: its own, and one of so many images, which may lie otherwise than one does."""
        yield self.tape
        if batch != 1:
            yield _batched(self.tape, batch)

    def captured(
        self, strides: Mapping[str, int], size: Size, batch: int, red: REDConfig | None, sites: Sites | None
    ) -> Tape:
        """A tape of its own for what the network's cannot tell."""
        told = self.network, self.classes, self.channels, self.stem, size, batch, tuple(sorted(strides.items()))
        # The student without RED blocks goes by one key, however often it is asked for.
        return _captured(self.tape, *told, red, frozen_sites(sites)) if sites else _captured(self.tape, *told)


@lru_cache(maxsize=64)
def _batched(tape: Tape, batch: int) -> Tape:
    return tape.anew(batch=batch)


@lru_cache(maxsize=128)
def _captured(
    recorded: Tape,
    network: NetworkInfo,
    num_classes: int | None,
    in_channels: int,
    stem: str,
    size: Size,
    batch: int,
    strides: tuple[tuple[str, int], ...],
    red: REDConfig | None = None,
    sites: FrozenSites = (),
) -> Tape:
    """A network that its tape, `recorded`, cannot tell, on a tape of its own."""
    if sites:
        bare = _captured(recorded, network, num_classes, in_channels, stem, size, batch, strides)
        model = add_red(meta_copy(bare.recording.model), {path: dict(sides) for path, sides in sites}, red)
    else:
        with weightless():
            if recorded.input_shape[-2:] == size:
                model = meta_copy(recorded.recording.model)
            else:  # which may be built otherwise for this size
                model = _built(network, num_classes, size, in_channels, stem)
            model = set_strides(model, dict(strides), size) if strides else model
    return capture(model, (batch, in_channels, *size))

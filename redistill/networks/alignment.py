"""Alignment: which layer of the teacher each resolution-changing layer of the student learns from.

ReDistill, arXiv 2406.03744, section 3.1. "asynchronous", the paper's rule, pairs layers by the size of the maps they
make, wherever they stand in their networks, because an aggressive-pooling student reaches a size earlier than its
teacher does. "stage-wise", the paper's ablation, pairs layers by their place; their maps then differ in size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from .features import Feature
from .pooling_points import SIDE, PoolingPoint, find_pooling_points, pair_of
from .red import SIDES, Channels, REDConfig, select_sides
from .trails import Size

BY_SIZE, BY_PLACE = RULES = ("asynchronous", "stage-wise")


@dataclass(frozen=True)
class AlignedPair:
    """A resolution-changing layer of the student and the teacher's layer it is aligned with.

    `teacher` is None and `sides` is empty where there is no partner; `reason` then says why.
    """

    student: str
    teacher: str | None
    sides: tuple[str, ...]  # aligned feature maps: "in", "out" or both
    reason: str
    in_size: Size  # of the student's layer, (height, width)
    out_size: Size
    in_channels: int  # of the student's layer
    out_channels: int
    layouts: tuple[str, str] = ("NCHW", "NCHW")  # of the student's maps, as in PoolingPoint
    teacher_layouts: tuple[str, str] = ("NCHW", "NCHW")
    teacher_sizes: tuple[Size, Size] | None = None  # of the teacher's layer, in and out


def align(student: nn.Module, teacher: nn.Module, image_size: int | Size, rule: str = BY_SIZE) -> list[AlignedPair]:
    """Pair every pooling point of `student` with one of `teacher`, for images of `image_size` pixels.

    One entry a pooling point of the student, in order; points without a partner are in the list too, with the
    reason. Neither model is changed. Raises ValueError for a rule that is not one of RULES.
    """
    return align_points(find_pooling_points(student, image_size), find_pooling_points(teacher, image_size), rule)


def align_points(
    student: Sequence[PoolingPoint], teacher: Sequence[PoolingPoint], rule: str = BY_SIZE
) -> list[AlignedPair]:
    """The rule itself, on points.

    "asynchronous": same output size in an encoder, same input size in a decoder. Of several partners the one whose
    other side agrees too comes first. The other side is aligned as well where it agrees, except that the first layer
    aligns its output only and a U-Net's tail its input only.

    "stage-wise": the first with the first, the second with the second, encoder and decoder apart. Where one network has
    all the layers of the other by name, as in one architecture, those of one name are paired, so that none shifts where
    a layer is no point, such as a max-pool that was built with stride 1. Layers whose stride became 1 take part, and
    sizes may differ.
    """
    check_rule(rule)
    if rule == BY_PLACE:
        return _align_places(student, teacher)
    return [_align_point(point, teacher) for point in student]


def check_rule(rule: str) -> str:
    """The rule itself; ValueError, with the choices, where there is no such rule."""
    if rule not in RULES:
        raise ValueError(f"alignment is {rule!r}; expected one of {list(RULES)}.")
    return rule


def red_sites(pairs: Sequence[AlignedPair], config: REDConfig) -> dict[str, dict[str, Channels]]:
    """Where RED blocks stand in the student: layer path → side → channels, as `insert_red` takes it."""
    sites: dict[str, dict[str, Channels]] = {}
    for pair, side in _kept_sides(pairs, config.points):
        channels, size = (pair.in_channels, pair.in_size) if side == "in" else (pair.out_channels, pair.out_size)
        is_image = pair.layouts[SIDES.index(side)] == "NCHW"
        sites.setdefault(pair.student, {})[side] = channels if is_image else (channels, *size)
    return sites


def feature_pairs(pairs: Sequence[AlignedPair], points: str = "all") -> list[tuple[Feature, Feature]]:
    """Aligned feature maps, (student's, teacher's), each a `Feature`; `points` as in `REDConfig`."""
    features = []
    for pair, side in _kept_sides(pairs, points):
        place = SIDES.index(side)
        sizes = (pair.in_size, pair.out_size)[place], pair.teacher_sizes[place]
        layouts = pair.layouts[place], pair.teacher_layouts[place]
        paths = pair.student, pair.teacher
        features.append(
            tuple(
                (path, side) if lay == "NCHW" else (path, side, size)
                for path, lay, size in zip(paths, layouts, sizes, strict=True)
            )
        )
    return features


def _kept_sides(pairs: Sequence[AlignedPair], points: str) -> list[tuple[AlignedPair, str]]:
    aligned = [pair for pair in pairs if pair.sides]
    kept = select_sides([pair.sides for pair in aligned], points)
    return [(pair, side) for pair, sides in zip(aligned, kept, strict=True) for side in sides]


def _align_places(student: Sequence[PoolingPoint], teacher: Sequence[PoolingPoint]) -> list[AlignedPair]:
    mine, theirs = ({point.name for point in points} for points in (student, teacher))
    by_name = mine <= theirs or theirs <= mine
    fit = [other for other in teacher if not _refusal(other)]
    waiting = {way: [other for other in fit if other.direction == way] for way in ("down", "up")}
    pairs = []
    for point in student:
        left = [other for other in waiting[point.direction] if not by_name or other.name == point.name]
        refusal = _refusal(point)
        if refusal:
            pairs.append(_pair(point, None, (), refusal))
            continue
        if not left:
            lack = f"no resolution-changing layer {point.name!r}" if by_name else "fewer resolution-changing layers"
            pairs.append(_pair(point, None, (), f"the teacher has {lack}"))
            continue
        partner = left[0]
        waiting[point.direction].remove(partner)
        sides = tuple(side for side in point.sides if side in partner.sides)
        pairs.append(_pair(point, partner, sides, "both stand in the same place of their networks"))
    return pairs


def _align_point(point: PoolingPoint, teacher: Sequence[PoolingPoint]) -> AlignedPair:
    matched = "out_size" if point.direction == "down" else "in_size"
    size = getattr(point, matched)
    refusal = _refusal(point)
    if refusal:
        return _pair(point, None, (), refusal)
    if point.stride == 1:
        return _pair(point, None, (), "its stride is 1, so it changes no resolution")
    candidates = [
        other
        for other in teacher
        if other.direction == point.direction and getattr(other, matched) == size and max(pair_of(other.stride)) > 1
        if not _refusal(other)
    ]
    if not candidates:
        verb = "makes" if point.direction == "down" else "starts from"
        return _pair(point, None, (), f"no resolution-changing layer of the teacher {verb} {size[0]}×{size[1]} maps")
    partner = max(candidates, key=lambda other: (other.in_size == point.in_size) + (other.out_size == point.out_size))
    agree = {"in": partner.in_size == point.in_size, "out": partner.out_size == point.out_size}
    sides = tuple(side for side in point.sides if agree[side])
    return _pair(point, partner, sides, f"both have {size[0]}×{size[1]} maps")


def _refusal(point: PoolingPoint) -> str:
    """Why maps of a point can be aligned with none; empty where they can."""
    if point.role == SIDE:
        return "its maps end inside the network"
    return "it is a function call, whose maps no layer takes and gives" if not point.modules else ""


def _pair(point: PoolingPoint, teacher: PoolingPoint | None, sides: tuple[str, ...], reason: str) -> AlignedPair:
    return AlignedPair(
        student=point.name,
        teacher=teacher.name if teacher else None,
        sides=sides,
        reason=reason,
        in_size=point.in_size,
        out_size=point.out_size,
        in_channels=point.in_channels,
        out_channels=point.out_channels,
        layouts=point.layouts,
        teacher_layouts=teacher.layouts if teacher else ("NCHW", "NCHW"),
        teacher_sizes=(teacher.in_size, teacher.out_size) if teacher else None,
    )

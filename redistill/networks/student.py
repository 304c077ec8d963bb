"""From a configuration to a student: the teacher's architecture with other pooling strides and RED blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ..common.modules import weightless
from ..common.settings import check_settings, config_from, setting
from .alignment import RULES, align_points, red_sites
from .limits import MOST_POINTS, check_student_size
from .red import REDConfig, insert_red
from .strides import find_pooling_points, restride, set_strides
from .zoo import DDPM, Unets, build_network, find_network


@dataclass(frozen=True)
class StudentConfig:
    """All that a student is built from; JSON-able through `to_dict`, and equal configs build equal networks.

    With `red=None` and no strides it describes the teacher itself. Names and strides are checked when the student
    is built, since only the network knows its pooling points.
    """

    teacher: str = setting(
        label="Teacher’s network", row="Aligned with", help="network of the teacher, such as resnet18"
    )
    image_size: int = setting(  # decides which layers align
        label="Image size, px", row="Image side", said="Image size", help="pixels a side"
    )
    # None: the table's number; diffusion networks have none
    num_classes: int | None = setting(None, label="Classes", empty="usual")
    strides: Mapping[str, int] = setting(  # by layer path; others stay
        factory=dict, label="Strides", help="such as conv1=4,maxpool=1,layer4.0=1"
    )
    teacher_strides: Mapping[str, int] = setting(
        factory=dict, label="Teacher’s strides", help="the teacher's, where not its network's own"
    )
    architecture: str | None = setting(
        None, label="Student’s network", row="Network", help="the student's network, if another"
    )
    red: REDConfig | None = setting(factory=REDConfig, label="RED blocks at the aligned layers", row="RED blocks")
    alignment: str = setting(  # which layers of the teacher it learns from, see alignment.py
        RULES[0],
        label="Learns from the teacher’s layer",
        help=" or ".join(RULES),
        choices=dict(zip(RULES, ("of the same map size", "in the same place"), strict=True)),
    )
    # what its networks called "ddpm:SOURCE" are built from, by that name; no setting of its own
    unets: Unets = field(default_factory=dict)

    def __post_init__(self) -> None:
        find_network(self.teacher)
        find_network(self.student_architecture)
        if isinstance(self.red, Mapping):
            object.__setattr__(self, "red", REDConfig.from_dict(self.red))
        if not isinstance(self.red, REDConfig | None):
            raise ValueError(f"red is {str(self.red)[:80]!r}; expected settings of RED blocks, or none.")
        check_student_size(self.image_size, self.num_classes)
        check_settings(self)
        for name in ("strides", "teacher_strides"):
            given = getattr(self, name)
            if not isinstance(given, Mapping) or len(given) > MOST_POINTS:
                raise ValueError(f"{name} is {str(given)[:200]}; expected layer paths with strides.")
            object.__setattr__(self, name, dict(getattr(self, name)))
        if not isinstance(self.unets, Mapping) or not all(isinstance(one, Mapping) for one in self.unets.values()):
            raise ValueError(f"unets is {str(self.unets)[:200]}; expected settings of U-Nets by name.")
        used = (self.teacher, self.student_architecture)
        object.__setattr__(self, "unets", {name: dict(one) for name, one in self.unets.items() if name in used})

    @property
    def unknown_unets(self) -> list[str]:
        """Names of its networks that are called "ddpm:SOURCE" and whose settings `unets` lacks."""
        names = dict.fromkeys((self.teacher, self.student_architecture))
        return [name for name in names if name.startswith(DDPM) and name not in self.unets]

    @property
    def student_architecture(self) -> str:
        """Name of the student's network in the table."""
        return self.architecture or self.teacher

    @property
    def classes(self) -> int:
        """How many classes it tells apart; 0 for a network that draws."""
        return self.num_classes or find_network(self.student_architecture).num_classes

    @property
    def task(self) -> str:
        """ "classification" or "diffusion"."""
        return find_network(self.student_architecture).task

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, keyed by field name; `unets` only where there are any."""
        values = dataclasses.asdict(self)
        return values if self.unets else {name: value for name, value in values.items() if name != "unets"}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StudentConfig:
        """Rebuild from `to_dict`; ValueError for a missing or unknown key, with the known ones."""
        return config_from(cls, values, "student")


def build_student(config: StudentConfig, weights: nn.Module | None = None) -> nn.Module:
    """Build the student of `config`: architecture, strides, then RED blocks at the aligned layers.

    `weights` is a model, usually the trained teacher, whose parameters and buffers the student starts from wherever
    name and shape agree; RED blocks always start fresh. Weights are drawn from torch's global generator, so seed it
    for a reproducible start. Raises ValueError for names and strides that do not fit, and where no weight fits.
    """
    student = build_network(config.student_architecture, config.num_classes, config.unets)
    if weights is not None and not copy_matching(weights, student):
        raise ValueError(
            f"{config.student_architecture!r} shares no weights with {config.teacher!r}; "
            "expected networks of one architecture, or init 'scratch'."
        )
    if config.task == "diffusion":  # what it is trained at is what it draws
        student.register_to_config(sample_size=config.image_size)
    own, points = restride(student, config.strides, config.image_size)
    if config.red is None:
        return student
    if config.student_architecture == config.teacher and not config.teacher_strides:
        teacher = own
    else:
        with weightless():
            teacher = find_pooling_points(build_reference(config), config.image_size)
    return add_red(student, red_sites(align_points(points, teacher, config.alignment), config.red), config.red)


def add_red(student: nn.Module, sites: Mapping[str, Mapping[str, int]], red: REDConfig) -> nn.Module:
    """Put RED blocks at `sites` (layer path → side → channels) into a student without any, in place; returns it."""
    if not sites:
        return student
    if hasattr(student, "add_red"):
        return student.add_red(red, {name: list(sides) for name, sides in sites.items()})
    return insert_red(student, sites, red)


def build_reference(config: StudentConfig) -> nn.Module:
    """The teacher of `config` with fresh weights and its own strides: what the student is aligned with."""
    network = build_network(config.teacher, config.num_classes, config.unets)
    return set_strides(network, config.teacher_strides, config.image_size)


def copy_matching(source: nn.Module, target: nn.Module) -> list[str]:
    """Copy every parameter and buffer of `source` that `target` has with the same shape; return the names copied."""
    state = target.state_dict()
    matching = {
        name: value for name, value in source.state_dict().items() if name in state and state[name].shape == value.shape
    }
    target.load_state_dict(matching, strict=False)
    return list(matching)

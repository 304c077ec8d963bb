"""From a configuration to a student: the teacher's architecture with other pooling strides and RED blocks."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ..common.modules import weightless
from ..common.settings import SettingError, check_settings, config_from, setting
from .alignment import BY_SIZE, RULES, align_points, red_sites
from .limits import MOST_POINTS, check_student_size
from .pooling_points import PoolingPoint, Stride, check_image_size, find_pooling_points
from .red import Channels, REDConfig, REDLayer, insert_red
from .stem_kinds import AS_BUILT, STEM_TITLES, set_stem
from .strides import read_strides, restride, set_strides
from .trails import Size
from .windows import Restrided
from .zoo import DDPM, MAX_CHANNELS, Unets, build_network, find_network, usual_size


@dataclass(frozen=True)
class StudentConfig:
    """All that a student is built from; JSON-able through `to_dict`, and equal configs build equal networks.

    With `red=None` and no strides it describes the teacher itself. Names and strides are checked when the student
    is built, since only the network knows its pooling points.
    """

    teacher: str = setting(
        label="Teacher’s network", row="Aligned with", help="network of the teacher, such as resnet18"
    )
    # Pixels a side, or (height, width); None becomes the size that the teacher's network is for. Decides what aligns.
    image_size: int | Size = setting(
        None, label="Image size, px", row="Image side", said="Image size", help="pixels a side"
    )
    # None: the table's number; diffusion networks have none
    num_classes: int | None = setting(None, label="Classes", empty="usual")
    strides: Mapping[str, Stride] = setting(  # by layer path; others stay
        factory=dict, label="Strides", help="such as conv1=4,maxpool=1,layer4.0=1"
    )
    teacher_strides: Mapping[str, Stride] = setting(
        factory=dict, label="Teacher’s strides", help="the teacher's, where not its network's own"
    )
    architecture: str | None = setting(
        None, label="Student’s network", row="Network", help="the student's network, if another"
    )
    red: REDConfig | None = setting(factory=REDConfig, label="RED blocks at the aligned layers", row="RED blocks")
    alignment: str = setting(  # which layers of the teacher it learns from, see alignment.py
        BY_SIZE,
        label="Learns from the teacher’s layer",
        help=" or ".join(RULES),
        choices=dict(zip(RULES, ("of the same map size", "in the same place"), strict=True)),
    )
    in_channels: int = setting(
        3, label="Channels of an image", help="channels of an image, 1 to 16", low=1, high=MAX_CHANNELS
    )
    stem: str = setting(  # of the student: what it sees of the image, see stem_kinds.py
        AS_BUILT,
        label="First convolution",
        help='what the student\'s first convolution sees of the image at a larger stride than its own: "as built" it '
        'passes over pixels; "wide" its kernel grows with the stride; "patches" lie side by side; "space-to-depth" is '
        'three patches wide; with "blur" a filter smooths and shrinks the image before it',
        choices=STEM_TITLES,
    )
    # what its networks called "ddpm:SOURCE" are built from, by that name; no setting of its own
    unets: Unets = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.unets, Mapping) or not all(isinstance(one, Mapping) for one in self.unets.values()):
            raise ValueError(f"unets is {str(self.unets)[:200]}; expected settings of U-Nets by name.")
        teacher = find_network(self.teacher, self.unets)
        for name, network in (("teacher", self.teacher), ("architecture", self.architecture)):
            if network is not None:  # the one name of a network that has several
                object.__setattr__(self, name, find_network(network).name)
        if self.image_size is None:
            object.__setattr__(self, "image_size", usual_size(teacher))
        if isinstance(self.red, Mapping):
            object.__setattr__(self, "red", REDConfig.from_dict(self.red))
        if not isinstance(self.red, REDConfig | None):
            raise ValueError(f"red is {str(self.red)[:80]!r}; expected settings of RED blocks, or none.")
        check_student_size(self.image_size, self.num_classes)
        height, width = check_image_size(self.image_size)
        object.__setattr__(self, "image_size", height if height == width else (height, width))
        check_settings(self)
        if self.stem != AS_BUILT and self.task == "diffusion":
            raise SettingError("{stem} is {value}; expected {own!r} of a U-Net.", self.stem, {"own": AS_BUILT})
        for name in ("strides", "teacher_strides"):
            given = getattr(self, name)
            if not isinstance(given, Mapping) or len(given) > MOST_POINTS:
                raise ValueError(f"{name} is {str(given)[:200]}; expected layer paths with strides.")
            object.__setattr__(self, name, read_strides(given))
        used = (self.teacher, self.student_architecture)
        object.__setattr__(self, "unets", {name: dict(one) for name, one in self.unets.items() if name in used})

    @property
    def unknown_unets(self) -> list[str]:
        """Names of its networks that are called "ddpm:SOURCE" and whose settings `unets` lacks."""
        names = dict.fromkeys((self.teacher, self.student_architecture))
        return [name for name in names if name.startswith(DDPM) and name not in self.unets]

    @property
    def is_square(self) -> bool:
        """Whether its images are as high as wide, which `image_size` then is one number for."""
        return isinstance(self.image_size, int)

    @property
    def student_architecture(self) -> str:
        """Name of the student's network in the table."""
        return self.architecture or self.teacher

    @property
    def classes(self) -> int | None:
        """How many classes it tells apart; 0 for a network that draws, None where only building it tells."""
        return self.num_classes or find_network(self.student_architecture).num_classes

    @property
    def task(self) -> str:
        """ "classification" or "diffusion"."""
        return find_network(self.student_architecture).task

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, keyed by field name; `unets` only where there are any, other channels than 3 and another
        stem than as built alike."""
        values = dataclasses.asdict(self) | {"red": self.red and self.red.to_dict()}
        left_out = ["unets"] * (not self.unets) + ["in_channels"] * (self.in_channels == 3)
        left_out += ["stem"] * (self.stem == AS_BUILT)
        values["image_size"] = self.image_size if self.is_square else list(self.image_size)
        return {name: value for name, value in values.items() if name not in left_out}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StudentConfig:
        """Rebuild from `to_dict`; ValueError for a missing or unknown key, with the known ones."""
        if not isinstance(values, Mapping):
            raise ValueError(f"The student's configuration is {str(values)[:80]!r}; expected settings by name.")
        if "image_size" not in values and "teacher" in values:  # written down it never is the usual one
            raise ValueError("The student's configuration has no 'image_size'; it needs 'teacher' and 'image_size'.")
        return config_from(cls, values, "student")


def build_student(config: StudentConfig, weights: nn.Module | None = None) -> nn.Module:
    """Build the student of `config`: architecture, strides, then RED blocks at the aligned layers.

    `weights` is a model, usually the trained teacher, whose parameters and buffers the student starts from wherever
    name and shape agree; RED blocks always start fresh. Weights are drawn from torch's global generator, so seed it
    for a reproducible start. Raises ValueError for names and strides that do not fit, and where no weight fits.
    """
    return build_from(config, weights)[0]


def build_from(config: StudentConfig, weights: nn.Module | None) -> tuple[nn.Module, list[str]]:
    """`build_student`, and the paths of layers that start fresh although there are `weights` to start from.

    That is a layer of another shape there, such as a stem of another kind or a head of other classes. RED blocks are
    not among them, nor is a layer whose weights were fitted to a wider kernel.
    """
    student = _network(config, config.student_architecture)
    copied = set(copy_matching(weights, student)) if weights is not None else set()
    if weights is not None and not copied:
        raise ValueError(
            f"{config.student_architecture!r} shares no weights with {config.teacher!r}; "
            "expected networks of one architecture, or init 'scratch'."
        )
    if config.task == "diffusion":  # what it is trained at is what it draws
        student.register_to_config(sample_size=config.image_size)
    path = set_stem(student, config.stem) if config.stem != AS_BUILT else None
    own, points = restride(student, config.strides, config.image_size)
    check_stem(path, own)
    if weights is not None:  # once more: a stem may have the shape of theirs only now
        copied.update(copy_matching(weights, student))
    fresh = _fresh_layers(student, copied) if weights is not None else []
    if config.red is None:
        return student, fresh
    if config.student_architecture == config.teacher and not config.teacher_strides:
        teacher = own
    else:
        with weightless():
            teacher = find_pooling_points(build_reference(config), config.image_size)
    return add_red(student, red_sites(align_points(points, teacher, config.alignment), config.red), config.red), fresh


def check_stem(path: str | None, points: Sequence[PoolingPoint]) -> None:
    """ValueError where a stem that has a kind, by its path, is none of these points, whose strides can be set."""
    if path is not None and not any(path in point.modules and point.is_settable for point in points):
        raise ValueError(
            f"The stride of the first convolution, {path!r}, cannot be set, so it has no kinds; expected stem "
            f"{AS_BUILT!r}."
        )


def add_red(student: nn.Module, sites: Mapping[str, Mapping[str, Channels]], red: REDConfig) -> nn.Module:
    """Put RED blocks at `sites` (layer path → side → channels) into a student without any, in place; returns it."""
    if not sites:
        return student
    if hasattr(student, "add_red"):
        return student.add_red(red, {name: list(sides) for name, sides in sites.items()})
    return insert_red(student, sites, red)


def build_reference(config: StudentConfig) -> nn.Module:
    """The teacher of `config` with fresh weights and its own strides: what the student is aligned with."""
    network = _network(config, config.teacher)
    return set_strides(network, config.teacher_strides, config.image_size)


def _network(config: StudentConfig, name: str) -> nn.Module:
    """One of the two networks of `config` as it is built."""
    return build_network(name, config.num_classes, config.unets, config.in_channels, config.image_size)


def _own_keys(model: nn.Module) -> dict[str, str]:
    """Keys of a state_dict, each with the one it has where no layer was wrapped, for its stride or for RED blocks."""
    found = (path for path, module in model.named_modules() if isinstance(module, (Restrided, REDLayer)))
    wrapped = sorted(found, reverse=True)
    keys = {}
    for key in model.state_dict():
        shown = key
        for path in wrapped:
            shown = path + shown.removeprefix(f"{path}.layer") if shown.startswith(f"{path}.layer.") else shown
        keys[key] = shown
    return keys


def copy_matching(source: nn.Module, target: nn.Module) -> list[str]:
    """Copy every parameter and buffer of `source` that `target` has with the same shape.

    Returns the names copied, as they are where no layer is wrapped.
    """
    state = target.state_dict()
    paths = {shown: name for name, shown in _own_keys(target).items()}
    given = source.state_dict()
    named = {paths[shown]: given[name] for name, shown in _own_keys(source).items() if shown in paths}
    matching = {name: value for name, value in named.items() if state[name].shape == value.shape}
    target.load_state_dict(matching, strict=False)
    shown = _own_keys(target)
    return [shown[name] for name in matching]


def _fresh_layers(model: nn.Module, copied: Collection[str]) -> list[str]:
    """Paths of layers of which some weight is not among the names `copied`."""
    layers = (name.rpartition(".")[0] for name in _own_keys(model).values() if name not in copied)
    return list(dict.fromkeys(layers))

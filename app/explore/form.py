"""What Explore's controls are set to, by their names: read, whatever comes from the page, and set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from redistill.memory.comparison import Comparison
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import NETWORKS

from ..parts.budget import Budget, read_budget
from ..parts.counting import compare_as, counting_of
from ..parts.stride_picker import check_strides_form
from ..parts.trace import Place
from . import view
from .link import Settings, check_size
from .pins import Pin, check_pins

IN_RED = ("gate", "gate_kernel", "residual_encoder", "residual_kernel", "points")  # what a RED block is made of
CONFIGURATION = ("teacher", "image_size", "picker", "with_red", *IN_RED, "accounting", "dtype")
LINKED = (*CONFIGURATION, "budget", "kib")  # all controls that a link restores
INPUTS = (*LINKED, "pins", "place")  # what handlers are given
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Look:
    """What a configuration is looked at with: the budget, the pinned ones beside it, the operator of interest."""

    budget: Budget | None = None
    pins: tuple[Pin, ...] = ()
    place: Place = field(default_factory=Place)


def read_found(values: Values) -> Comparison:
    """The student that the controls are set to, counted; ValueError, in one sentence, for what does not fit."""
    return compare_as(_read_student(values), *read_counting(values))


def _read_student(values: Values) -> StudentConfig:
    red = None if values["with_red"] is False else REDConfig(**{name: values[name] for name in IN_RED})
    return make_student(values["teacher"], values["image_size"], values["picker"], red)


def read_counting(values: Values) -> tuple[str, str]:
    """How a student is counted, and in which numbers."""
    return check_text("accounting", values["accounting"]), check_text("dtype", values["dtype"])


def read_look(values: Values) -> Look:
    """What the page looks at a configuration with; ValueError for what does not fit."""
    place = values["place"]
    if not isinstance(place, Place):
        raise ValueError(f"A place is {str(place)[:40]!r}; expected one that was clicked.")
    return Look(read_budget(values["budget"], values["kib"]), check_pins(values["pins"]), place)


def read_settings(values: Values) -> Settings:
    """What a link restores; ValueError for what does not fit."""
    budget = read_budget(values["budget"], values["kib"])
    pins = tuple((pin.letter, Settings.of(pin.found)) for pin in check_pins(values.get("pins", ())))
    return Settings(_read_student(values), *read_counting(values), budget.bytes if budget else None, pins)


def set_to(found: Comparison) -> dict[str, Any]:
    """The controls of a configuration, set to what is found."""
    config, red = found.config, found.config.red or REDConfig()
    return {
        "teacher": config.teacher,
        "image_size": config.image_size,
        "picker": view.picker(found),
        "with_red": config.red is not None,
        **red.to_dict(),
        "accounting": counting_of(found),
        "dtype": found.dtype,
    }


def make_student(teacher: Any, image_size: Any, strides: Any, red: REDConfig | None) -> StudentConfig:
    """A student of a teacher of the list; ValueError for what does not fit."""
    size = int(image_size) if isinstance(image_size, float) and image_size.is_integer() else image_size
    return StudentConfig(check_network(teacher), check_size(size), strides=check_strides_form(strides), red=red)


def check_network(value: Any) -> str:
    """The name of a network of the table; ValueError for any other, as a DDPM from elsewhere, which Explore lacks."""
    name = check_text("teacher", value)
    if name not in NETWORKS:
        raise ValueError(f"No network {name[:80]!r}; expected one of {list(NETWORKS)}.")
    return name


def check_text(name: str, value: Any) -> str:
    """A value that must be a text; ValueError for any other."""
    if not isinstance(value, str):
        raise ValueError(f"{name} is {str(value)[:80]!r}; expected one of the choices on the page.")
    return value

"""What Explore's controls are set to, by their names: read, whatever comes from the page, and set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from redistill.common.values import is_whole
from redistill.memory.comparison import Comparison
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import MAX_CHANNELS

from ..parts.budget import CONTROLS, Budget, read_budget
from ..parts.counting import compare_as, counting_of
from ..parts.networks import check_network
from ..parts.stride_picker import check_strides_form
from ..parts.trace import Place
from . import view
from .link import MAX_BATCH, Settings, check_side, read_patch
from .pins import Pin, check_pins

# What a RED block is made of.
IN_RED = (
    *("gate", "gate_per", "gate_kernel", "residual_encoder", "residual_kernel", "residual_squeeze"),
    *("residual_depthwise", "points"),
)
IMAGES = ("image_size", "width", "in_channels", "batch")
CONFIGURATION = ("teacher", *IMAGES, "picker", "stem", "with_red", "alignment", *IN_RED, "accounting", "dtype")
LINKED = (*CONFIGURATION, *CONTROLS, "patch")  # all controls that a link restores
INPUTS = (*LINKED, "pins", "place")  # what handlers are given
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Look:
    """What a configuration is looked at with: the budget, the pinned ones beside it, the operator of interest."""

    budget: Budget | None = None
    pins: tuple[Pin, ...] = ()
    place: Place = field(default_factory=Place)
    patch: tuple[str, int] | None = None  # computed up to that layer, in so many patches a side


def read_found(values: Values) -> Comparison:
    """The student that the controls are set to, counted; ValueError, in one sentence, for what does not fit."""
    return compare_as(_read_student(values), *read_counting(values), read_batch(values))


def _read_student(values: Values) -> StudentConfig:
    red = None if values["with_red"] is False else REDConfig(**{name: values[name] for name in IN_RED})
    size, channels = read_size(values), _whole("Channels", values.get("in_channels"), 3, MAX_CHANNELS)
    return StudentConfig(
        check_network(values["teacher"]),
        size,
        strides=check_strides_form(values["picker"]),
        red=red,
        alignment=check_text("alignment", values["alignment"]),
        in_channels=channels,
        stem=check_text("stem", values["stem"]),
    )


def read_size(values: Values) -> int | tuple[int, int]:
    """Pixels a side, or (height, width) where a width is given."""
    height, width = check_side(values["image_size"]), values.get("width")
    # gradio shows a field without a value as 0 once its accordion is opened, and sends that with the next click.
    return height if width in (None, "", 0) else (height, check_side(width, "Width"))


def read_batch(values: Values) -> int:
    """How many images are counted at a time."""
    return _whole("Batch", values.get("batch"), 1, MAX_BATCH)


def _whole(name: str, value: Any, usual: int, most: int) -> int:
    """A number of a field, `usual` where it is empty; ValueError for what is none from 1 to `most`."""
    value = usual if value in (None, "") else int(value) if isinstance(value, float) and value.is_integer() else value
    if not is_whole(value, 1, most):
        raise ValueError(f"{name} is {str(value)[:40]}; expected a whole number from 1 to {most:,}.")
    return value


def read_counting(values: Values) -> tuple[str, str]:
    """How a student is counted, and in which numbers."""
    return check_text("accounting", values["accounting"]), check_text("dtype", values["dtype"])


def read_look(values: Values) -> Look:
    """What the page looks at a configuration with; ValueError for what does not fit."""
    place = values["place"]
    if not isinstance(place, Place):
        raise ValueError(f"A place is {str(place)[:40]!r}; expected one that was clicked.")
    return Look(budget_of(values), check_pins(values["pins"]), place, read_patch(values.get("patch")))


def budget_of(values: Values) -> Budget | None:
    """The budget that is looked at; ValueError for what is none."""
    return read_budget(*(values.get(name) for name in CONTROLS))


def read_settings(values: Values) -> Settings:
    """What a link restores; ValueError for what does not fit."""
    pins = tuple((pin.letter, Settings.of(pin.found)) for pin in check_pins(values.get("pins", ())))
    counted = (*read_counting(values), budget_of(values))
    return Settings(_read_student(values), *counted, pins, read_batch(values), read_patch(values.get("patch")))


def set_to(found: Comparison) -> dict[str, Any]:
    """The controls of a configuration, set to what is found."""
    config, red = found.config, found.config.red or REDConfig()
    return {
        "teacher": config.teacher,
        **sides(config.image_size),
        "in_channels": config.in_channels,
        "batch": found.batch,
        "picker": view.picker(found),
        "stem": config.stem,
        "with_red": config.red is not None,
        "alignment": config.alignment,
        **dataclasses.asdict(red),
        "accounting": counting_of(found),
        "dtype": found.dtype,
    }


def sides(image_size: int | tuple[int, int]) -> dict[str, int | None]:
    """The two controls of an image size; the width is empty where it is that of a square."""
    height, width = (image_size, None) if isinstance(image_size, int) else image_size
    return {"image_size": height, "width": width}


def check_text(name: str, value: Any) -> str:
    """A value that must be a text; ValueError for any other."""
    if not isinstance(value, str):
        raise ValueError(f"{name} is {str(value)[:80]!r}; expected one of the choices on the page.")
    return value

"""Explore without a page around it: its handlers, called with values by the names of the controls."""

from __future__ import annotations

from typing import Any

from app.explore import page
from app.parts.trace import Place
from redistill.networks.student import StudentConfig

EARLY = {"conv1": 4, "maxpool": 1, "layer2.0": 2, "layer3.0": 2, "layer4.0": 1}
USUAL = {
    "teacher": "narrow_resnet",
    "image_size": 64,
    "width": None,
    "in_channels": 3,
    "batch": 1,
    "picker": EARLY,
    "stem": "as built",
    "with_red": True,
    "alignment": "asynchronous",
    "gate": True,
    "gate_per": "pixel",
    "gate_kernel": 1,
    "residual_encoder": True,
    "residual_kernel": 3,
    "residual_squeeze": 1,
    "residual_depthwise": False,
    "points": "all",
    "accounting": "fused",
    "dtype": "fp32",
    "budget": "none",
    "kib": None,
    "reserve": None,
    "program": None,
    "patch": "",
    "pins": (),
    "place": Place(),
}
SETTINGS = tuple(USUAL)[:18]  # what makes a configuration
LOOK = tuple(USUAL)[18:]


def call(handler: str, event: Any = None, **changes: Any) -> dict[str, Any]:
    """What a handler of the tab shows for USUAL with changes."""
    return getattr(page, handler)(*([event] if event is not None else []), **USUAL | changes)


def shown_student(**changes: Any) -> StudentConfig:
    """The student of USUAL with changes."""
    return StudentConfig(**({"teacher": "narrow_resnet", "image_size": 64, "strides": EARLY} | changes))

"""Whether a run that goes on is the one that began: its pictures, their classes, and the settings it learns by."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..common.sentences import Note
from ..data.classes import composed
from ..data.twins import LEAST, Learnt, share_changed
from .checks import complete
from .config import CHANGEABLE, DistillConfig
from .precision import AUTO

OTHERS = 0.1  # share of training pictures from which on they are others than those that a run began with


@dataclass(frozen=True)
class Pictures:
    """What a run learns from, as its resume point says it."""

    class_names: Sequence[str]
    drawn_from: str | None  # see `datasets.drawn_from`
    learnt: Mapping[str, Any]  # see `twins.Learnt`


def check_same_pictures(point: Mapping[str, Any], now: Pictures) -> None:
    """ValueError where classes, splits or pictures are not those of a resume point; those of older runs say less.

    Pictures are told by what they show, so others under the same names are found, and folders of classes whose names
    were exchanged.
    """
    names = point.get("class_names", now.class_names)
    if [*map(composed, names)] != [*map(composed, now.class_names)]:
        raise ValueError(
            f"The classes of the pictures are {list(now.class_names)[:20]}, but this run began with {names[:20]}; "
            "start a new run, or give them their names back."
        )
    if point.get("drawn_from", now.drawn_from) != now.drawn_from:
        raise ValueError(
            "Pictures were added, removed or renamed since this run began, so what it kept apart would be drawn "
            "anew; start a new run, or restore them."
        )
    before, learnt = (Learnt.from_dict(values) for values in (point.get("learnt"), now.learnt))
    if before is None or learnt is None:
        return
    share = share_changed(before, learnt)
    if are_others(share, len(before.bits)):
        raise ValueError(f"{say_others(share, 'this run began with')}; start a new run, or restore them.")
    if before.count != learnt.count:
        told = f"This run began with {before.count:,} training pictures; now there are {learnt.count:,}."
        warnings.warn(told, Note, stacklevel=2)


def are_others(share: float, count: int) -> bool:
    """Whether a share of so many pictures is so large that the whole set is another."""
    return share > OTHERS and share * count >= LEAST


def say_others(share: float, whose: str) -> str:
    """The beginning of a sentence about training pictures that are others than those that ..."""
    return (
        f"About {100 * share:.0f} % of the training pictures show other things than those that {whose}, though they "
        "are called the same"
    )


def check_same_settings(point: Mapping[str, Any], config: DistillConfig) -> None:
    """ValueError where settings are others than those of a run's resume point, but for those of CHANGEABLE: config.json
    was edited, and the run's history would be of two. Points of older runs do not say."""
    if "config" not in point:
        return
    begun = complete(DistillConfig.from_dict(point["config"]))
    if config.precision == AUTO and begun.precision == point.get("precision"):
        # Older points hold what was chosen in the place of "auto"; the run goes on in it either way.
        begun = dataclasses.replace(begun, precision=AUTO)
    for field in dataclasses.fields(DistillConfig):
        before, now = getattr(begun, field.name), getattr(config, field.name)
        if field.name not in CHANGEABLE and before != now:
            raise ValueError(
                f"{field.name} is {now!r} in the run's config.json, but the run began with {before!r}; restore it "
                "there, or start a new run."
            )

"""A link that restores what Explore shows: settings to a query string, and a query string back. No gradio."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, urlencode

from redistill.common.settings import settings_of
from redistill.common.values import is_whole
from redistill.memory.chips import Room
from redistill.memory.comparison import Comparison, network_tape
from redistill.memory.tape import Tape
from redistill.memory.usual_strides import early_strides, own_strides
from redistill.networks.alignment import BY_SIZE, RULES
from redistill.networks.red import REDConfig
from redistill.networks.stem_kinds import AS_BUILT, STEMS
from redistill.networks.strides import check_strides
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import MAX_CHANNELS, NETWORKS, find_network, usual_size

from ..parts.budget import MAX_KIB, Budget, chip_budget
from ..parts.counting import COUNTINGS, compare_as, counting_of
from ..parts.networks import FORMS, check_network
from ..words.memory import stride_choices
from .pins import LETTERS

DEFAULT_TEACHER = "resnet18"
DTYPES = ("fp32", "fp16", "bf16", "int8")
MIN_SIDE, MAX_SIDE = 16, 1024  # pixels that are counted, and that the page's slider offers
MAX_GRID = 32  # patches a side
MAX_BATCH = 1024  # images at a time
MAX_BUDGET = MAX_KIB * 2**10  # bytes
MAX_LENGTH = 2000  # characters of a link's keys and values together

KEYS = (
    "teacher", "size", "channels", "batch", "strides", "stem", "red", "align", "gate", "gate_per", "gate_kernel",
    "residual", "residual_kernel", "residual_squeeze", "residual_depthwise", "points", "count", "dtype", "budget",
    "chip", "reserve", "program", "patch", "pin",
)  # fmt: skip
# Of a RED block: the keys, in their order in a link, and the settings that they stand for.
_IN_RED = {
    "gate": "gate",
    "gate_per": "gate_per",
    "residual": "residual_encoder",
    "gate_kernel": "gate_kernel",
    "residual_kernel": "residual_kernel",
    "residual_squeeze": "residual_squeeze",
    "residual_depthwise": "residual_depthwise",
    "points": "points",
}
PIN = "pin"  # the only key that may stand in a link more than once
BUDGET_KEYS = ("budget", "chip", "reserve", "program")
PIN_KEYS = tuple(key for key in KEYS if key not in (*BUDGET_KEYS, "patch", PIN))
# Added to links by others: gradio (theme, signature, API page), and sites on which links are shared.
_FOREIGN = re.compile(r"__.*|view|deep_link|utm_.*|[a-z]+clid")


@dataclass(frozen=True)
class Settings:
    """All that Explore's controls are set to. ValueError for what the page cannot show."""

    student: StudentConfig
    accounting: str = "fused"  # a name of COUNTINGS
    dtype: str = "fp32"
    budget: Budget | None = None  # None: no budget line
    pins: tuple[tuple[str, Settings], ...] = ()  # what is pinned, under its letter; empty: as the page has it
    batch: int = 1  # images at a time
    patch: tuple[str, int] | None = None  # the layer up to which patches are computed, and how many a side

    @property
    def budget_bytes(self) -> int | None:
        """Bytes for activations."""
        return self.budget.bytes if self.budget else None

    @property
    def room(self) -> Room | None:
        """What the chip leaves that is to be fitted, where it bounds the weights too."""
        return self.budget.room if self.budget and self.budget.has_weights else None

    @classmethod
    def of(cls, found: Comparison) -> Settings:
        """The settings that were counted."""
        return cls(found.config, counting_of(found), found.dtype, batch=found.batch)

    def count(self) -> Comparison:
        """What the student needs, beside its teacher."""
        return compare_as(self.student, self.accounting, self.dtype, self.batch)

    def __post_init__(self) -> None:
        student = self.student
        own = own_strides(student.teacher, image_size=student.image_size)
        for side in (student.image_size,) if student.is_square else student.image_size:
            _check_whole("size", side, MIN_SIDE, MAX_SIDE)
        _check_whole("batch", self.batch, 1, MAX_BATCH)
        if student.strides:
            check_strides(student.strides, _tape(student).points, student.image_size)
        for name, stride in student.strides.items():
            _check_choice(f"Stride of {name}", stride, stride_choices(own))
        _check_choice("count", self.accounting, COUNTINGS)
        _check_choice("dtype", self.dtype, DTYPES)
        if self.budget and not self.budget.room:
            _check_whole("budget", self.budget.bytes, 1, MAX_BUDGET)
        letters = [letter for letter, _ in self.pins]
        for letter in letters:
            _check_choice("The letter of a pin", letter, tuple(LETTERS))
        if len(set(letters)) < len(letters):
            raise ValueError(f"the pins have the letters {', '.join(letters)}; expected each letter once.")


def _tape(student: StudentConfig) -> Tape:
    return network_tape(student.teacher, image_size=student.image_size)


def to_query(settings: Settings) -> str:
    """The settings as a query string such as "teacher=resnet18&size=224&strides=8,1,1,2,2&red=on&...".

    Strides stand in the order in which the layers run. Settings of a RED block and a budget are left out where they
    are the usual ones. What is pinned stands as "pin=A;teacher:resnet18;size:224;...", with ";" and ":" inside.
    """
    values = _texts(settings)
    values |= _budget_texts(settings.budget)
    if settings.patch:
        values["patch"] = patch_text(settings.patch)
    pins = [(PIN, ";".join([letter, *map(":".join, _texts(pin).items())])) for letter, pin in settings.pins]
    return urlencode([*values.items(), *pins], safe=",;:")


def _budget_texts(budget: Budget | None) -> dict[str, str]:
    """A budget by its keys in a link: bytes, or a chip and what is taken of it where that is not what is assumed."""
    if budget is None:
        return {}
    if budget.room is None:
        return {"budget": str(budget.bytes)}
    room, texts = budget.room, {"chip": budget.room.chip.name}
    for key in ("reserve", "program"):
        if getattr(room, key) != getattr(room.chip, key):
            texts[key] = str(getattr(room, key))
    return texts


def _read_budget(texts: Mapping[str, str]) -> Budget | None:
    if "chip" in texts:
        if "budget" in texts:
            raise ValueError("budget and chip both say what is to fit; expected one of them.")
        return chip_budget(texts["chip"], *(_whole(texts, key, None, 0, MAX_BUDGET) for key in ("reserve", "program")))
    for key in ("reserve", "program"):
        if key in texts:
            raise ValueError(f"{key} is {clip(texts[key])} without a chip that it is taken of; expected chip=NAME too.")
    count = _whole(texts, "budget", None, 1, MAX_BUDGET)
    return None if count is None else Budget("Budget", count)


def _texts(settings: Settings) -> dict[str, str]:
    """The settings of a network by their keys in a link."""
    student = settings.student
    strides = own_strides(student.teacher, image_size=student.image_size) | dict(student.strides)
    size = student.image_size
    values = {
        "teacher": student.teacher,
        "size": size if student.is_square else "x".join(map(str, size)),
        **({"channels": student.in_channels} if student.in_channels != 3 else {}),
        **({"batch": settings.batch} if settings.batch != 1 else {}),
        "strides": ",".join(str(stride) for stride in strides.values()),
        **({"stem": student.stem} if student.stem != AS_BUILT else {}),
        "red": "on" if student.red else "off",
        **({"align": student.alignment} if student.red and student.alignment != BY_SIZE else {}),
        **_red_values(student.red),
        "count": settings.accounting,
        "dtype": settings.dtype,
    }
    return {key: str(value) for key, value in values.items()}


def parse_query(text: str) -> dict[str, list[str]]:
    """A query string to all values of each key, as `from_query` takes them. Never raises."""
    return parse_qs(text[: 10 * MAX_LENGTH], keep_blank_values=True)


def from_query(query: Mapping[str, Sequence[str]]) -> Settings:
    """The settings of a query string, as `parse_query` reads it: all values of each key, in a list.

    What is not given is what the page opens with, for the teacher that is given. Keys that are no setting are left to
    `unknown_keys`. Raises ValueError, in one sentence, for a value that does not fit or a key that is repeated.
    """
    texts = _single_texts(query)
    pins = tuple(map(_pin, query.get(PIN, ())))
    return replace(_settings(texts, _read_budget(texts), pins), patch=read_patch(texts.get("patch")))


def _settings(
    texts: Mapping[str, str], budget: Budget | None = None, pins: tuple[tuple[str, Settings], ...] = ()
) -> Settings:
    teacher = _teacher(texts)
    size = _size(texts, teacher)
    channels = _whole(texts, "channels", 3, 1, MAX_CHANNELS)
    student = StudentConfig(
        teacher,
        size,
        strides=_strides(texts, teacher, size),
        red=_red(texts),
        alignment=_choice(texts, "align", BY_SIZE, RULES),
        in_channels=channels,
        stem=_choice(texts, "stem", AS_BUILT, STEMS),
    )
    return Settings(
        student,
        _choice(texts, "count", "fused", COUNTINGS),
        _choice(texts, "dtype", "fp32", DTYPES),
        budget,
        pins,
        _whole(texts, "batch", 1, 1, MAX_BATCH),
    )


def read_patch(text: Any) -> tuple[str, int] | None:
    """ "layer2:4" as ("layer2", 4), nothing as None; ValueError for anything else."""
    if text is None or (isinstance(text, str) and not text.strip()):
        return None
    layer, _, grid = text.strip().rpartition(":") if isinstance(text, str) else ("", "", "")
    if not layer or not re.fullmatch("[0-9]{1,2}", grid) or not 2 <= int(grid) <= MAX_GRID:
        raise ValueError(f"patch is {clip(text)}; expected a layer and from 2 to {MAX_GRID} a side, such as layer2:4.")
    return layer, int(grid)


def patch_text(patch: tuple[str, int] | None) -> str:
    """What `read_patch` reads."""
    return f"{patch[0]}:{patch[1]}" if patch else ""


def _teacher(texts: Mapping[str, str]) -> str:
    name = texts.get("teacher", DEFAULT_TEACHER)
    if ":" not in name:
        _check_choice("teacher", name, (*NETWORKS, *FORMS))
    return check_network(name)


def _size(texts: Mapping[str, str], teacher: str) -> int | tuple[int, int]:
    """The size in a link, 224 or 480x640; what is not given is the usual one of the teacher."""
    sides = texts.get("size", "").split("x")
    if len(sides) != 2:
        return _whole(texts, "size", usual_size(find_network(teacher)), MIN_SIDE, MAX_SIDE)
    height, width = (_whole({"size": side}, "size", None, MIN_SIDE, MAX_SIDE) for side in sides)
    return height, width


def _pin(text: str) -> tuple[str, Settings]:
    letter, *parts = text.split(";")
    texts = dict(part.partition(":")[::2] for part in parts)
    if len(texts) < len(parts) or not set(texts) <= set(PIN_KEYS):
        raise ValueError(f"pin is {clip(text)}; expected a letter and settings such as A;teacher:resnet18;size:224.")
    return letter, _settings(texts)


def unknown_keys(query: Mapping[str, Sequence[str]]) -> list[str]:
    """Keys that are neither a setting nor one that gradio or a site that shares links adds."""
    return [key for key in query if key not in KEYS and not _FOREIGN.fullmatch(key)]


def _single_texts(query: Mapping[str, Sequence[str]]) -> dict[str, str]:
    length = sum(len(key) + sum(map(len, values)) for key, values in query.items() if not _FOREIGN.fullmatch(key))
    if length > MAX_LENGTH:
        raise ValueError(f"it is {length:,} characters long; expected at most {MAX_LENGTH:,}.")
    single = [key for key in KEYS if key != PIN]
    for key in single:
        if len(query.get(key, [""])) != 1:
            raise ValueError(f"{key} stands in it {len(query[key])} times; expected it once.")
    return {key: query[key][0] for key in single if key in query}


def _strides(texts: Mapping[str, str], teacher: str, size: int | tuple[int, int]) -> dict[str, int]:
    if "strides" not in texts:
        return early_strides(teacher, image_size=size)
    own = own_strides(teacher, image_size=size)
    parts = texts["strides"].split(",") if texts["strides"] or own else []
    if len(parts) != len(own) or not all(re.fullmatch("[0-9]{1,3}", part) for part in parts):
        example = ",".join(str(stride) for stride in own.values())
        raise ValueError(
            f"strides is {clip(texts['strides'])}; expected {len(own)} whole numbers such as {example}, for the "
            f"layers {', '.join(own)}."
        )
    return dict(zip(own, map(int, parts), strict=True))


def _red(texts: Mapping[str, str]) -> REDConfig | None:
    usual, settings, values = REDConfig(), settings_of(REDConfig), {}
    for key, name in _IN_RED.items():
        choices = {_text(choice): choice for choice in settings[name].choices}
        values[name] = choices[_choice(texts, key, _text(getattr(usual, name)), choices)]
    red = REDConfig(**values)
    return red if _choice(texts, "red", "on", ("on", "off")) == "on" else None


def _red_values(red: REDConfig | None) -> dict[str, str]:
    """The settings of a RED block that are not the usual ones, by their keys in a link."""
    usual = REDConfig()
    if red is None:
        return {}
    return {
        key: _text(getattr(red, name)) for key, name in _IN_RED.items() if getattr(red, name) != getattr(usual, name)
    }


def _text(value: object) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _choice(texts: Mapping[str, str], key: str, usual: str, choices: Collection[str]) -> str:
    value = texts.get(key, usual)
    _check_choice(key, value, choices)
    return value


def _whole(texts: Mapping[str, str], key: str, usual: int | None, least: int, most: int) -> int | None:
    if key not in texts:
        return usual
    value = int(texts[key]) if re.fullmatch("[0-9]{1,15}", texts[key]) else texts[key]
    _check_whole(key, value, least, most)
    return value


def check_side(size: object, name: str = "Image side") -> int:
    """An image side that Explore counts: a whole number of pixels that the slider has. `name` is its field's."""
    size = int(size) if isinstance(size, float) and size.is_integer() else size
    if not is_whole(size, MIN_SIDE, MAX_SIDE):
        raise ValueError(f"{name} is {str(size)[:40]}; expected a whole number from {MIN_SIDE} to {MAX_SIDE} pixels.")
    return size


def _check_choice(name: str, value: object, choices: Collection[object]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is {clip(value)}; expected one of {', '.join(map(str, choices))}.")


def _check_whole(name: str, value: object, least: int, most: int) -> None:
    if not is_whole(value, least, most):
        raise ValueError(f"{name} is {clip(value)}; expected a whole number from {least} to {most:,}.")


def clip(value: object) -> str:
    """A value as it may stand in a sentence: short, control characters spelled out."""
    text = str(value)
    return repr(text if len(text) <= 40 else f"{text[:40]}…")

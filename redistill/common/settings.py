"""Settings that are declared once, as fields of a dataclass: type, default, limits, and what people call them.

`setting` writes that into a field's metadata, `settings_of` reads it. Checks and their sentences, options of the shell,
controls of the page and rows of tables are made from it. A field without metadata is no setting.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from functools import lru_cache
from typing import Any

from .values import LONG, cut, is_number, is_whole, shown

MOST = 2**31 - 1  # a whole number where its setting does not say
MOST_TEXT = 4096  # characters of a name or a place
MOST_SAID = 200  # of a value in a sentence


@dataclass(frozen=True)
class Setting:
    """One setting: of what it is, and in words."""

    name: str
    type: type  # such as int, tuple or Mapping: that of its values, None apart; of several the first
    optional: bool  # whether None is a value
    label: str  # what a form calls it, beside its neighbours
    help: str = ""  # what it does, for the shell; without it the shell has no option
    row: str = ""  # what a table calls it; "": its label
    said: str = ""  # what a sentence calls it; "": its label
    empty: str = ""  # what None is called
    choices: Mapping[Any, str] = dataclasses.field(default_factory=dict)  # the values there are, with their titles
    low: float = -math.inf  # the least value
    above: float = -math.inf  # what the value must exceed
    high: float = math.inf  # the largest value
    below: float = math.inf  # what the value must stay below

    @property
    def expected(self) -> str:
        """The values that fit, in words."""
        if self.choices:
            return f"one of {list(self.choices)}{', or none' * self.optional}"
        if self.type is bool:
            return "true or false"
        number = "a whole number" if self.type is int else "a number"
        if self.above > -math.inf:
            return f"{number} above {self.above}"
        if self.high < math.inf:
            return f"{number} from {self.low} to {self.high}"
        if self.below < math.inf:
            return f"{number} from {self.low} up to, not including, {self.below}"
        return f"{number} of at least {self.low}"

    def expected_of(self, value: Any) -> str:
        """The same for who gave a value that does not fit: one too large hears what is the most."""
        too_large = self.type is int and self.high == math.inf and is_whole(value, MOST + 1)
        return f"a whole number of at most {MOST:,}" if too_large else self.expected

    def fits(self, value: Any) -> bool:
        """Whether it can have this value; a text without choices and a number without limits are not looked at."""
        if value is None and self.optional:
            return True
        if self.choices:
            return value in tuple(self.choices)
        if self.type is bool:
            return isinstance(value, bool)
        if self.least == -math.inf:
            return True
        is_kind = is_whole(value, most=MOST) if self.type is int else is_number(value)
        return is_kind and self.low <= value <= self.high and self.above < value < self.below

    @property
    def least(self) -> float:
        """The end of its values on the left, itself a value or not."""
        return max(self.low, self.above)


def setting(
    default: Any = MISSING,
    label: str = "",
    help: str = "",
    *,
    factory: Any = MISSING,
    choices: Mapping[Any, str] | Sequence[Any] = (),
    **words: Any,
) -> Any:
    """A field of a dataclass that is a setting; `words` are other fields of `Setting`.

    `factory` makes the default where that can be changed. Choices without titles are called what they are. In the help
    "{choices}" stands for them all.
    """
    titles = dict(choices) if isinstance(choices, Mapping) else {value: str(value) for value in choices}
    *others, last = [f'"{value}"' for value in titles] or [""]
    words |= {"label": label, "help": help.replace("{choices}", f"{', '.join(others)} or {last}" if others else last)}
    return dataclasses.field(default=default, default_factory=factory, metadata={"choices": titles, **words})


@lru_cache
def settings_of(config: type) -> dict[str, Setting]:
    """The settings of a dataclass by name, in its order."""
    hints, found = typing.get_type_hints(config), {}
    for item in dataclasses.fields(config):
        if item.metadata:
            hint, inner = hints[item.name], typing.get_args(hints[item.name])
            optional = type(None) in inner
            kind = inner[0] if typing.get_origin(hint) in (types.UnionType, typing.Union) else hint
            words = {"row": item.metadata["label"], "said": item.metadata["label"], **item.metadata}
            found[item.name] = Setting(item.name, typing.get_origin(kind) or kind, optional, **words)
    return found


class SettingError(ValueError):
    """Settings that do not fit, in one sentence; the names of their fields in it can be replaced.

    In the `sentence`, names of fields stand in braces, as do those of `texts`; `{value}` is the value at fault.
    """

    def __init__(self, sentence: str, value: Any = None, texts: Mapping[str, object] | None = None) -> None:
        super().__init__(sentence, value, texts)  # so that it is pickled whole
        self.sentence, self.value, self.texts = sentence, value, dict(texts or {})

    def __str__(self) -> str:
        return self.say()

    def say(self, labels: Mapping[str, str] | None = None, write: Callable[[Any], str] = repr) -> str:
        """The sentence with fields called as in `labels`, else as here, and the value written by `write`."""
        is_long = isinstance(self.value, int) and abs(self.value) >= LONG
        said = shown(self.value) if is_long else cut(write(self.value), MOST_SAID)
        return self.sentence.format_map(_Names({**(labels or {}), **self.texts, "value": said}))


class _Names(dict):
    def __missing__(self, name: str) -> str:
        return name


def not_expected(name: str, value: Any, expected: str) -> SettingError:
    """What to raise for a value that does not fit the setting of that name."""
    return SettingError(f"{{{name}}} is {{value}}; expected {{expected}}.", value, {"expected": expected})


def check_settings(config: Any) -> None:
    """SettingError for the first setting of a dataclass whose value does not fit it."""
    for one in settings_of(type(config)).values():
        value = getattr(config, one.name)
        if not one.fits(value):
            raise not_expected(one.name, value, one.expected_of(value))


def check_texts(config: Any) -> None:
    """SettingError for the first setting that is a text without choices, such as a place, and has another value."""
    for one in settings_of(type(config)).values():
        value = getattr(config, one.name)
        fits = (isinstance(value, str) and len(value) <= MOST_TEXT) or (value is None and one.optional)
        if one.type is str and not one.choices and not fits:
            raise not_expected(one.name, value, f"a text of at most {MOST_TEXT} characters")


def config_from(config: type, values: Mapping[str, Any], what: str) -> Any:
    """A dataclass from its fields by name; ValueError, naming `what` it is, for a missing or unknown one."""
    if not isinstance(values, Mapping):
        raise ValueError(f"The {what}'s configuration is {str(values)[:80]!r}; expected settings by name.")
    fields = dataclasses.fields(config)
    known = [item.name for item in fields]
    unknown = sorted(map(str, set(values) - set(known)))
    if unknown:
        raise ValueError(f"Unknown {what} setting {shown(unknown[0])}; expected one of {known}.")
    needed = [item.name for item in fields if item.default is MISSING and item.default_factory is MISSING]
    for name in needed:
        if name not in values:
            wanted = " and ".join(map(repr, needed))
            raise ValueError(f"The {what}'s configuration has no {name!r}; it needs {wanted}.")
    return config(**values)


def changed_options(config: Any, before: str = "", names: Sequence[str] = ()) -> list[str]:
    """The words that say on the command line how a dataclass differs from its defaults: "--no-red-gate", ....

    before: of each option's name; names: of the settings that are looked at, all where none are given. Raises
    ValueError for a changed setting whose value is neither text, number, true nor false.
    """
    words = []
    for one in dataclasses.fields(config):
        if one.name not in (names or settings_of(type(config))) or (value := getattr(config, one.name)) == one.default:
            continue
        option = f"{before}{one.name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        elif isinstance(value, (str, int, float)):
            words += [f"--{option}", str(value)]
        else:
            raise ValueError(f"{one.name} is {value!r}; expected a text, a number, true or false.")
    return words

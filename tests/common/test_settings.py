"""Settings that are declared once: what their fields say, and the values they take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from redistill.common.settings import SettingError, check_settings, config_from, setting, settings_of
from redistill.common.values import shown


@dataclass(frozen=True)
class Oven:
    name: str = setting(label="Name")
    heat: float = setting(180.0, label="Heat, °C", said="Heat", help="in degrees", above=0, row="Temperature")
    shelf: int = setting(1, label="Shelf", low=1, high=3)
    share: float = setting(0.0, label="Share", low=0, below=1)
    fan: bool = setting(False, label="Fan")
    mode: str | None = setting(None, label="Mode", help="one of {choices}", empty="as it was", choices=("air", "grill"))
    times: Mapping[str, int] = setting(factory=dict, label="Times")
    colour: str = "white"  # no setting

    def __post_init__(self) -> None:
        check_settings(self)


def test_a_field_says_what_it_is_of_and_what_it_is_called():
    settings = settings_of(Oven)
    assert list(settings) == ["name", "heat", "shelf", "share", "fan", "mode", "times"]
    heat, mode = settings["heat"], settings["mode"]
    assert (heat.type, heat.label, heat.row, heat.said, heat.least) == (float, "Heat, °C", "Temperature", "Heat", 0)
    assert (mode.type, mode.optional, mode.row) == (str, True, "Mode")
    assert mode.help == 'one of "air" or "grill"' and mode.choices == {"air": "air", "grill": "grill"}
    assert settings["times"].type is Mapping and Oven("a").times == {}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"heat": 0}, "above 0"),
        ({"heat": math.nan}, "a number above 0"),
        ({"heat": 10**400}, "a number above 0"),
        ({"heat": True}, "a number above 0"),
        ({"heat": None}, "a number above 0"),
        ({"shelf": 4}, "a whole number from 1 to 3"),
        ({"shelf": 1.0}, "a whole number from 1 to 3"),
        ({"share": 1}, "a number from 0 up to, not including, 1"),
        ({"fan": 1}, "true or false"),
        ({"mode": "steam"}, "one of ['air', 'grill'], or none"),
        ({"mode": []}, "one of ['air', 'grill'], or none"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_what_does(values, expected):
    with pytest.raises(SettingError) as caught:
        Oven("a", **values)
    ((name, value),) = values.items()
    assert str(caught.value).startswith(f"{name} is {shown(value)}; expected ") and expected in str(caught.value)
    assert caught.value.say({name: "The oven"}).startswith("The oven is ")


def test_what_has_no_limits_is_not_looked_at():
    assert Oven(None).name is None  # nor called a number


def test_values_by_name_are_all_known_and_all_there():
    assert config_from(Oven, {"name": "a", "shelf": 2}, "oven") == Oven("a", shelf=2)
    with pytest.raises(ValueError, match="Unknown oven setting 'door'; expected one of"):
        config_from(Oven, {"name": "a", "door": 2}, "oven")
    with pytest.raises(ValueError, match="has no 'name'; it needs 'name'"):
        config_from(Oven, {"shelf": 2}, "oven")

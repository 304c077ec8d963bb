"""Values that anybody may have given, as sentences have them."""

from __future__ import annotations

import pytest

from redistill.common.settings import not_expected
from redistill.common.values import shown


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (7, "7"),
        (-(10**19), "-10000000000000000000"),
        (10**20, "a number of 21 digits"),
        (10**400 - 1, "a number of 400 digits"),
        (-(10**5000), "a number of 5,001 digits"),  # Python itself writes none out that is as long
        (True, "True"),
        (1e300, "1e+300"),
        ("x" * 100, f"'{'x' * 59}…"),
    ],
    ids=lambda value: "",  # pytest would write the number out
)
def test_a_value_is_cut_and_a_long_number_told_by_its_length(value, said):
    assert shown(value) == said


def test_a_setting_tells_a_long_number_by_its_length():
    assert str(not_expected("steps", 10**5000, "less")) == "steps is a number of 5,001 digits; expected less."
    assert len(str(not_expected("steps", "x" * 5000, "less"))) < 300

"""How numbers are written."""

from __future__ import annotations

import pytest

from app.words import numbers


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (5376, "5.25 KiB"),
        (65536, "64.0 KiB"),
        (327680, "320 KiB"),
        (2**19 - 1, "512 KiB"),
        (2**19, "0.50 MiB"),
        (802816, "0.77 MiB"),
        (4014080, "3.83 MiB"),
        (150 * 2**20, "150 MiB"),
        (2**30, "1.00 GiB"),
    ],
)
def test_bytes_are_written_in_the_unit_that_suits_them(count, text):
    assert numbers.format_bytes(count) == text


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (4014080, 802816, "5.0×"),
        (1, 1, "1.0×"),
        (1, 2, "0.50×"),
        (1000, 3, "333×"),
        (996, 1000, "1.0×"),
        (1, 0, "inf×"),
    ],
)
def test_ratios(before, after, text):
    assert numbers.format_ratio(before, after) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1, "0.001 KiB"),
        (1536, "1.5 KiB"),
        (65536, "64 KiB"),
        (524_288_000, "512,000 KiB"),
        (2**40, "1,073,741,824 KiB"),
    ],
)
def test_a_budget_is_told_as_it_is_typed(count, text):
    assert numbers.format_kib(count) == text


def test_other_numbers():
    assert numbers.format_percent(0.9126) == "91.3 %"
    assert [numbers.format_duration(s) for s in (0.04, 59.6, 75, 7265)] == [
        "0.0 s",
        "1 min 0 s",
        "1 min 15 s",
        "2 h 1 min",
    ]
    assert numbers.format_number(0.034567) == "0.0346"
    assert numbers.format_margin(0.153578, 0.030659) == "0.154 ± 0.031"
    assert numbers.format_margin(8.336, 1.302) == "8.3 ± 1.3" and numbers.format_margin(0.004, 0.1277) == "0.00 ± 0.13"
    assert numbers.format_margin(82.4, 12.3) == "82 ± 12" and numbers.format_margin(0.5, 0.0) == "0.5 ± 0"
    assert numbers.format_size((8, 16)) == "8×16"

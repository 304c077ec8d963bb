"""Memory budgets: what the devices have, whether a peak fits to the byte, and what is no budget."""

from __future__ import annotations

import math

import pytest

from app.parts.budget import NO_BUDGET, OTHER, TARGETS, Budget, budget_choices, budget_controls, read_budget


def test_the_targets_have_the_sram_of_their_data_sheets():
    assert {name: target.bytes for name, target in TARGETS.items()} == {
        "stm32h7": 1024 * 1024,
        "esp32s3": 512 * 1024,
        "nano33": 256 * 1024,
    }
    titles = [title for title, _ in budget_choices()]
    assert titles == ["None", "STM32H7, 1 MiB", "ESP32-S3, 512 KiB", "Arduino Nano 33, 256 KiB", "Other"]


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_the_verdict_flips_at_the_byte(target):
    assert target.fits(target.bytes) and target.verdict(target.bytes) == "fits exactly"
    assert target.verdict(target.bytes - 1) == "fits, 1 B to spare"
    assert not target.fits(target.bytes + 1)
    assert target.verdict(target.bytes + 1) == "does not fit: 1 B too much"


def test_the_verdict_says_by_how_much():
    assert Budget("Budget", 65536).verdict(327680) == "does not fit: 256 KiB too much"
    assert Budget("Budget", 65536).verdict(0) == "fits, 64.0 KiB to spare"


@pytest.mark.parametrize(
    ("choice", "kib", "count"),
    [
        (NO_BUDGET, 64, None),
        (OTHER, None, None),
        (OTHER, 64, 65536),
        (OTHER, 63.9999, 65535),
        (OTHER, 2**-10, 1),
        ("esp32s3", 64, 524288),
        ("esp32s3", "nothing", 524288),
    ],
)
def test_a_choice_and_kib_are_a_number_of_bytes(choice, kib, count):
    found = read_budget(choice, kib)
    assert (found and found.bytes) == count


@pytest.mark.parametrize("kib", [0, -1, 2**-11, 2**31, True, "64", [64], math.nan, math.inf])
def test_what_is_no_number_of_kib_is_refused(kib):
    with pytest.raises(ValueError, match="expected a number from 1 byte"):
        read_budget(OTHER, kib)


@pytest.mark.parametrize("choice", [None, "", "STM32H7", ["esp32s3"], {}, 1])
def test_what_is_no_choice_is_refused(choice):
    with pytest.raises(ValueError, match="expected one of"):
        read_budget(choice)


@pytest.mark.parametrize("count", [None, 1, 65535, 262144, 524288, 10**9])
def test_bytes_come_back_from_the_controls(count):
    found = read_budget(*budget_controls(count))
    assert (found and found.bytes) == count

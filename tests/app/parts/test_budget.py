"""Memory budgets: what chips leave, whether a peak and weights fit to the byte, and what is no budget."""

from __future__ import annotations

import math

import pytest

from app.parts.budget import NO_BUDGET, OTHER, Budget, budget_choices, budget_controls, chip_budget, read_budget
from app.words.numbers import format_bytes
from redistill.memory.chips import CHIPS, room_on
from redistill.memory.comparison import network_tape

RESNET = network_tape("resnet18").profile()


def test_every_chip_can_be_chosen_for_what_it_leaves():
    choices = budget_choices()
    assert [name for _, name in choices] == [NO_BUDGET, *CHIPS, OTHER]
    assert ("STM32H743, 512 KiB", "stm32h743") in choices and ("RP2040 (Pico), 232 KiB", "rp2040") in choices
    for name in CHIPS:
        assert read_budget(name).bytes == room_on(name).activations


@pytest.mark.parametrize("target", map(chip_budget, CHIPS), ids=CHIPS)
def test_the_verdict_flips_at_the_byte(target):
    assert target.fits(target.bytes) and target.verdict(target.bytes) == "fits exactly"
    assert target.verdict(target.bytes - 1) == "fits, 1 B to spare"
    assert not target.fits(target.bytes + 1)
    assert target.verdict(target.bytes + 1) == "does not fit: 1 B too much"


def test_the_verdict_says_by_how_much():
    assert Budget("Budget", 65536).verdict(327680) == "does not fit: 256 KiB too much"
    assert Budget("Budget", 65536).verdict(0) == "fits, 64.0 KiB to spare"
    assert Budget("Budget", 2**19).verdict(2**21) == "does not fit: 1,536 KiB too much", "in the budget's unit"
    assert Budget("Budget", 2**23).verdict(2**23 - 2**17) == "fits, 0.125 MiB to spare"


def test_weights_have_a_verdict_of_their_own_where_the_chip_bounds_them():
    taken = RESNET.weight_bytes
    free = CHIPS["esp32p4"].flash[0].bytes
    assert "in int8 it would" in chip_budget("esp32p4").weights_verdict(RESNET)
    assert f"in no format (int8: {format_bytes(RESNET.file_bytes_at(1))})" in chip_budget("esp32s3").weights_verdict(
        RESNET
    )
    fitting = network_tape("narrow_resnet").profile()
    exact = chip_budget("esp32p4", program=free - fitting.file_bytes)
    assert exact.weights_fit(fitting) and exact.weights_verdict(fitting) == "fits exactly"
    tight = chip_budget("esp32p4", program=free - fitting.file_bytes + 1)
    assert not tight.weights_fit(fitting) and tight.weights_verdict(fitting).startswith("does not fit: 1 B too much")
    assert not chip_budget("stm32n657").has_weights and not Budget("Budget", 1).has_weights
    shared = chip_budget("jetson-orin-nano-4gb", reserve=4 * 2**30 - taken - RESNET.peak_bytes)
    assert shared.weights_fit(RESNET) and shared.weights_verdict(RESNET) == "fits exactly"


@pytest.mark.parametrize(
    ("choice", "kib", "count"),
    [
        (NO_BUDGET, 64, None),
        (OTHER, None, None),
        (OTHER, 64, 65536),
        (OTHER, 63.9999, 65535),
        (OTHER, 2**-10, 1),
        ("stm32h743", 64, 524288),
        ("stm32h743", "nothing", 524288),
    ],
)
def test_a_choice_and_kib_are_a_number_of_bytes(choice, kib, count):
    found = read_budget(choice, kib)
    assert (found and found.bytes) == count


def test_what_the_rest_takes_can_be_changed():
    assert read_budget("rp2040", None, 64, 0).bytes == 200 * 1024
    assert read_budget("rp2040", None, 0.0001, "").room.reserve == 1  # not less than was said
    assert read_budget("rp2040", None, None, 1).room.weights == 2047 * 1024


@pytest.mark.parametrize("kib", [0, -1, 2**-11, 2**31, True, "64", [64], math.nan, math.inf])
def test_what_is_no_number_of_kib_is_refused(kib):
    with pytest.raises(ValueError, match="expected a number from 1 byte"):
        read_budget(OTHER, kib)


@pytest.mark.parametrize("kib", [-1, 2**31, True, "64", [64], math.nan, math.inf, 264, 2048])
@pytest.mark.parametrize("field", ["reserve", "program"])
def test_what_the_rest_cannot_take_is_refused(field, kib):
    if (field, kib) == ("program", 264):
        return
    with pytest.raises(ValueError, match=r"expected a (whole )?number"):
        read_budget("rp2040", **{field: kib})


@pytest.mark.parametrize("choice", [None, "", "STM32H743", ["esp32s3"], {}, 1])
def test_what_is_no_choice_is_refused(choice):
    with pytest.raises(ValueError, match="expected one of"):
        read_budget(choice)


@pytest.mark.parametrize(
    "budget",
    [None, *(Budget("Budget", count) for count in (1, 65535, 262144, 10**9)), *map(chip_budget, CHIPS),
     chip_budget("rp2040", 12345, 67)],
)  # fmt: skip
def test_a_budget_comes_back_from_the_controls(budget):
    assert read_budget(**{"choice" if k == "budget" else k: v for k, v in budget_controls(budget).items()}) == budget

"""Pinned configurations: kept once each, at most four, described so that two that differ look different."""

from __future__ import annotations

import dataclasses

import pytest

from app.explore.pins import add_pin, check_pins, describe, find_pin
from app.parts.counting import compare_as
from app.words.settings import describe_red
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig

EARLY = {"conv1": 4, "maxpool": 1, "layer2.0": 2, "layer3.0": 2, "layer4.0": 1}


def found(dtype: str = "fp32", accounting: str = "fused", **changes):
    config = StudentConfig(**({"teacher": "narrow_resnet", "image_size": 64, "strides": EARLY} | changes))
    return compare_as(config, accounting, dtype)


def test_a_pin_keeps_what_was_counted():
    shown = found()
    [pin] = add_pin((), shown)
    assert (pin.letter, pin.found.config, pin.found.dtype) == ("A", shown.config, "fp32")
    assert (pin.found.student.peak_bytes, pin.found.teacher.peak_bytes) == (65536, 327680)


def test_four_are_kept_and_a_freed_letter_is_used_again():
    pins = ()
    for dtype in ("fp32", "fp16", "int8"):
        pins = add_pin(pins, found(dtype))
    pins = add_pin(pins, found(accounting="eager"))
    assert [pin.letter for pin in pins] == ["A", "B", "C", "D"]
    with pytest.raises(ValueError, match="4 configurations are pinned"):
        add_pin(pins, found(red=None))
    pins = add_pin([pin for pin in pins if pin.letter != "B"], found(red=None))
    assert [pin.letter for pin in pins] == ["A", "B", "C", "D"]
    assert find_pin(pins, "B").found.config.red is None


@pytest.mark.parametrize(
    "other",
    [{"dtype": "fp16"}, {"accounting": "eager"}, {"red": None}, {"image_size": 96}, {"strides": {**EARLY, "conv1": 2}}],
)
def test_a_configuration_is_pinned_once(other):
    pins = add_pin((), found())
    with pytest.raises(ValueError, match="pinned already, as A"):
        add_pin(pins, found())
    both = add_pin(pins, found(**other))
    assert len({describe(pin.found) for pin in both}) == 2


def test_a_pin_is_described_in_words():
    assert describe(found()) == "Narrow ResNet 4·1·2·2·1, RED blocks, 64 px, fused, fp32"


def test_what_is_unusual_about_red_blocks_is_said():
    usual = REDConfig()
    assert describe_red(None) == "no RED blocks"
    assert describe_red(usual) == "RED blocks"
    described = {describe_red(usual)}
    for change in ({"gate": False}, {"residual_encoder": False}, {"gate_kernel": 3}, {"points": "outputs"}):
        described.add(describe_red(dataclasses.replace(usual, **change)))
    assert len(described) == 5
    assert describe_red(REDConfig(gate=False, residual_kernel=5)) == "RED blocks (no gate, residual encoder 5×5)"


@pytest.mark.parametrize("letter", [None, "", "C", 0, [], {}])
def test_a_pin_that_is_not_there_is_refused(letter):
    with pytest.raises(ValueError, match="expected one of"):
        find_pin(add_pin((), found()), letter)


@pytest.mark.parametrize("value", [None, "A", {}, ["A"], [{"letter": "A"}], 1])
def test_what_is_no_list_of_pins_is_refused(value):
    with pytest.raises(ValueError, match="Pinned configurations"):
        check_pins(value)

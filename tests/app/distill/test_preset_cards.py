"""Presets as cards: what is expected of each comes from results that ship, or is not said."""

from __future__ import annotations

import pytest

from app.distill import preset_cards
from app.runs import expected
from redistill.networks.student import build_student
from redistill.training.presets import PRESETS


@pytest.fixture(autouse=True)
def known_speed(monkeypatch):
    """A machine of which the speed is known."""
    preset_cards.facts.cache_clear()
    expected._shipped.cache_clear()
    monkeypatch.setattr(expected, "macs_per_second", lambda architecture: 1e10)
    yield
    preset_cards.facts.cache_clear()


@pytest.mark.parametrize(
    ("name", "said", "unsaid"),
    [
        ("best", ["64.0 KiB (5.0× less)", "95.28 ± 0.40 % (3 seeds)", " here"], []),
        ("quick", ["64.0 KiB (5.0× less)", " here"], ["%"]),  # nobody has measured it
        ("teacher", ["320 KiB", "98.2 %"], ["less", "seeds"]),
        ("faces", ["256 KiB (4.0× less)", "test loss 0.12"], ["%"]),
        ("celeba-ddpm", ["4.50 MiB (4.0× less)"], ["%", "here"]),
    ],
)
def test_a_card_says_what_is_known_and_nothing_else(name, said, unsaid):
    facts = preset_cards.facts(name)
    assert all(part in facts for part in said) and not any(part in facts for part in unsaid), facts


def test_time_grows_with_steps_and_is_that_of_the_machine(monkeypatch):
    short, long = expected.expect("default").seconds, expected.expect("long").seconds
    assert long / short == PRESETS["long"].config.steps / PRESETS["default"].config.steps
    monkeypatch.setattr(expected, "macs_per_second", lambda architecture: 2e10)
    assert expected.expect("long").seconds == long / 2
    # Four times the pictures through two choices of strides each, most of less computation than its own.
    shared, alone = expected.expect("any-strides"), expected.expect("teacher")
    images = 4 * shared.memory.teacher.macs * (2 * 3 + 1) / (3 * alone.memory.teacher.macs)
    assert 2 < shared.seconds / alone.seconds < images


@pytest.mark.parametrize("name", expected.TRIALS)
def test_networks_whose_speed_is_tried_can_be_built(name):
    config = next((p.config.student for p in PRESETS.values() if p.config.student.student_architecture == name), None)
    assert config is not None and build_student(config) is not None


def test_every_preset_has_a_card_once():
    lists = preset_cards.list_cards()
    names = [card["name"] for each in lists for card in each["cards"]]
    assert sorted(names) == sorted(PRESETS) and not any(card["facts"] for each in lists for card in each["cards"])
    assert lists[0]["cards"][0]["name"] == "default"

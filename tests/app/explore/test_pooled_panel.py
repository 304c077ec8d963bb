"""See what pooling destroys: what the panel shows, and what it refuses."""

from __future__ import annotations

import re
from functools import partial

import pytest
from PIL import Image

from app.explore import pooled_panel
from redistill.data.datasets import load_split
from redistill.training.shared_weights import open_shared

CLUTTER, PHOTOS = "emoji-clutter-student", "imagenette-student"


def test_a_test_picture_goes_through_student_teacher_and_every_budget():
    shown = pooled_panel.see(CLUTTER, pooled_panel.FIRST, None)["seen"]
    assert "The picture<br><strong>bicycle</strong>" in shown and shown.count("looks here") == 2 + shown.count(
        'class="stride-frame"'
    )
    assert shown.count("apart ") == 9 == shown.count("gate of ") == shown.count("adds of ")
    assert re.search(r"bicycle becomes (?!bicycle)\w+ at 52.0 KiB", shown) and "(wrong)" in shown


def test_a_picture_of_ones_own_has_no_right_answer(tmp_path):
    Image.new("RGB", (90, 60), "teal").save(tmp_path / "own.png")
    shown = pooled_panel.see(PHOTOS, 0, str(tmp_path / "own.png"))["seen"]
    assert "(right)" not in shown and "(wrong)" not in shown and shown.count("apart ") == 5


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (("no-such-student", 0, None), "No checkpoint"),
        (("emoji-clutter-teacher", 0, None), "No checkpoint"),
        ((CLUTTER, None, None), "is empty"),
        ((CLUTTER, -1, None), "-1"),
        ((CLUTTER, 2**40, None), "whole number"),
        ((CLUTTER, 0, ["a"]), "expected a picture"),
        ((CLUTTER, 0, __file__), "test_pooled_panel.py"),
    ],
)
def test_what_cannot_be_seen_is_one_sentence(values, sentence):
    shown = pooled_panel.see(*values)["seen"]
    assert "notice" in shown and sentence in shown and "<figure" not in shown


def test_a_number_beyond_the_test_pictures_is_refused_with_how_many_there_are(monkeypatch):
    few = partial(load_split, "emoji-clutter", "test", 64, limit=5)
    monkeypatch.setattr(pooled_panel, "load_split", lambda *given, **settings: few())
    shown = pooled_panel.see(CLUTTER, 5, None)["seen"]
    assert "has 5," in shown and "<figure" not in shown


def test_without_a_network_for_every_budget_the_rest_is_seen(monkeypatch):
    monkeypatch.setattr(pooled_panel, "is_shared", lambda metadata: False)
    shown = pooled_panel.see(CLUTTER, 3, None)["seen"]
    assert "stride-frame" not in shown and "notice hint" in shown and shown.count("looks here") == 2


def test_students_are_offered_that_have_a_teacher_here():
    titles, values = zip(*pooled_panel.offer("gone")["student"]["choices"], strict=True)
    assert set(values) >= {CLUTTER, PHOTOS} and open_shared("emoji-clutter-any").name not in values and all(titles)
    assert pooled_panel.offer(PHOTOS)["student"]["value"] == PHOTOS

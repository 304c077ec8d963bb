"""What is in sight, and its address."""

from __future__ import annotations

import dataclasses

import pytest
from helpers.made import result

from app.compare.sight import NO_SPAN, Sight, ends_text, from_query, read, read_ends, read_span, to_query

SIGHTS = [
    Sight(),
    Sight("imagenette"),
    Sight(
        "emoji-faces, v-prediction",
        "RED + KD & more",
        (49152, 131072),
        (0.7, 0.8),
        65536,
        ("run:a b", "study:4-red+kd"),
    ),
    Sight("x", peaks=(None, 65536.0), scores=(1e-06, None), by="kid"),
    Sight("ä=&#?", "%41", scores=(0.123456, 1.0), ticked=("photographs:4-1-2-1-2-red+kd",)),
]


@pytest.mark.parametrize("sight", SIGHTS, ids=str)
def test_an_address_tells_the_same_sight(sight):
    assert from_query(to_query(sight)) == sight


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("colour=red", "colour"),
        ("memory=64KiB", "64KiB"),
        ("memory=-1", "-1"),
        ("memory=1e3", "1e3"),
        ("peak=abc", "abc"),
        ("peak=1", "49152-131072"),
        ("score=0,5-1", "0,5-1"),
        ("score=1e-3-1", "1e-3-1"),
        ("on=a&on=b", "on"),
        ("tick=a&tick=b&tick=c", "tick"),
        ("words=" + "a" * 3000, "3,006"),
    ],
)
def test_an_address_that_cannot_be_read_is_refused_by_name(query, named):
    with pytest.raises(ValueError) as refused:
        from_query(query)
    assert named in str(refused.value)


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("", NO_SPAN),
        ("48-128", (48, 128)),
        (" 48 – 128 ", (48, 128)),
        ("128-48", (48, 128)),
        ("48", (48, None)),
        ("48-", (48, None)),
        ("-128", (None, 128)),
        ("0.5-70.25", (0.5, 70.25)),
        (None, NO_SPAN),
    ],
)
def test_ends_are_read_from_a_field_and_written_as_they_are_read(text, span):
    assert read_ends("Peaks", text, "48-128") == span
    assert read_ends("Peaks", ends_text(span), "48-128") == span


@pytest.mark.parametrize("text", ["abc", "1-2-3", "--", "1,5-2", "1e3", "-1--2", "９-10", "1" * 20])
def test_ends_that_are_none_are_refused_with_an_example(text):
    with pytest.raises(ValueError, match="48-128"):
        read_ends("Peaks", text, "48-128")


def test_ends_beyond_what_there_is_are_refused():
    with pytest.raises(ValueError, match=r"Peaks are '48-9999999999'; expected ends of at most 1,000,000,000\."):
        read_ends("Peaks", "48-9999999999", "48-128")


def test_filter_and_zoom_leave_out_what_does_not_fit():
    shown = [result(f"Net {i}", 2**i, i / 20) for i in range(10, 15)] + [result("Net new", 2**12, None)]

    def keys(**settings):
        return [one.key for one in shown if Sight(**settings).shows(one)]

    assert keys() == [one.key for one in shown] and not Sight().is_narrowed
    assert keys(words="NET 13") == ["Net 13"] and keys(words="own 12") == ["Net 12"] and keys(words="zebra") == []
    assert keys(peaks=(2**11, 2**12)) == ["Net 11", "Net 12", "Net new"]
    assert keys(scores=(0.6, None)) == ["Net 12", "Net 13", "Net 14"], "what has no score is not within any"


def test_at_most_two_are_ticked_and_the_one_ticked_longest_makes_room():
    sight = Sight().tick("a").tick("b")
    assert sight.ticked == ("a", "b") and sight.tick("c").ticked == ("b", "c") and sight.tick("a").ticked == ("b",)


@pytest.mark.parametrize("value", [None, [], {}, 3, -1, 1e300, float("nan"), True, "x" * 10_000, ["a", 3, "b", "c"]])
def test_whatever_a_page_sends_becomes_a_sight(value):
    sight = read(value, value, value, (value, value), (value,), value, value)
    assert from_query(to_query(dataclasses.replace(sight, group="g"))).ticked == sight.ticked
    assert read_span([value]) == read_span([value, None])

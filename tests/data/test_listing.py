"""Splits drawn from train: disjoint, by class, by seed, and in an order whose every beginning is fair."""

from __future__ import annotations

import numpy as np
import pytest

from redistill.data.source import SPLITS, Listing, Source, draw_splits, split_name

NAMES = ("a", "b", "c")


def listing(counts: list[int], first: str = "x") -> Listing:
    labels = np.repeat(np.arange(len(counts)), counts)
    return Listing([f"{first}{row}" for row in range(len(labels))], labels, [0] * len(labels), lambda row: row)


def splits(parts: dict[str, Listing], seed: int = 0) -> dict[str, Listing]:
    source = Source("set", NAMES, {name: (lambda part=part: part) for name, part in parts.items()})
    return {name: source.split(name, seed) for name in SPLITS}


def test_validation_and_test_are_drawn_by_class_and_disjoint():
    found = splits({"train": listing([100, 40, 3])})
    assert [np.bincount(found[name].labels).tolist() for name in SPLITS] == [[80, 32, 1], [10, 4, 1], [10, 4, 1]]
    names = [name for part in found.values() for name in part.names]
    assert sorted(names) == sorted(listing([100, 40, 3]).names), "every picture stands in one split"
    for part in found.values():
        assert [part.read(row) for row in range(len(part))] == [int(name[1:]) for name in part.names]


def test_the_seed_alone_decides():
    one, again, other = (splits({"train": listing([50, 50, 50])}, seed) for seed in (0, 0, 1))
    for name in SPLITS:
        assert one[name].names == again[name].names
        assert set(one[name].names) != set(other[name].names)


def test_own_splits_stay_whole_and_apart():
    given = {"train": listing([20, 20, 20]), "test": listing([4, 4, 4], "t")}
    found = splits(given)
    assert set(found["test"].names) == set(given["test"].names)
    assert {len(found[name]) for name in ("train", "validation")} == {54, 6}
    assert not any(name.startswith("t") for name in found["train"].names + found["validation"].names)
    everything = given | {"validation": listing([2, 2, 2], "v")}
    assert [len(part) for part in splits(everything).values()] == [60, 6, 12]
    assert splits(everything, 0)["train"].names == splits(everything, 1)["train"].names


def test_validation_pictures_without_test_pictures_are_the_test():
    found = splits({"train": listing([20, 20, 20]), "validation": listing([5, 5, 5], "v")})
    assert {name[0] for name in found["test"].names} == {"v"} and len(found["test"]) == 15
    assert {name[0] for name in found["validation"].names} == {"x"} and len(found["validation"]) == 6


def test_every_beginning_holds_the_classes_in_their_proportions():
    train = splits({"train": listing([200, 100, 100])})["train"]
    for count in (8, 40, 160):
        shares = np.bincount(train.labels[:count], minlength=3) / count
        np.testing.assert_allclose(shares, [0.5, 0.25, 0.25], atol=1.5 / count)


def test_a_class_that_is_too_small_is_refused_by_name():
    with pytest.raises(ValueError, match="Class 'b' has 2 pictures; expected at least 3, one each for training and"):
        draw_splits(np.array([0, 0, 0, 1, 1]), ("validation", "test"), 0, ("a", "b"))
    with pytest.raises(ValueError, match="Class 'a' has 1 picture;"):
        draw_splits(np.array([0, 1, 1]), ("validation",), 0, ("a", "b"))


def test_fingerprint_changes_with_order_and_stamp():
    part = listing([2, 2])
    other = Listing(part.names, part.labels, [0, 0, 0, 1], part.read)
    prints = {part.fingerprint(), part.take(np.array([1, 0, 2, 3])).fingerprint(), other.fingerprint()}
    assert len(prints) == 3 and listing([2, 2]).fingerprint() in prints


def test_names_of_splits():
    assert [split_name(name) for name in ("Train", "val", "valid", "dev", "TESTING", "cats")] == [
        "train", "validation", "validation", "validation", "test", None,
    ]  # fmt: skip

"""Classes are told by their names: matched in any order, refused where they are others."""

from __future__ import annotations

import pytest

from redistill.data.classes import check_class_names, match_classes

WHO = "the pictures", "the teacher"


@pytest.mark.parametrize(
    ("wanted", "known", "places"),
    [
        (("cat", "dog"), ("cat", "dog"), [0, 1]),
        (("cat", "dog", "eel"), ("eel", "cat", "dog"), [1, 2, 0]),
        (("dog",), ("cat", "dog"), [1]),
        (("a", "a"), ("a", "a"), [0, 1]),
        (("Ka\u0308fer", "Mu\u0308cke"), ("M\u00fccke", "K\u00e4fer"), [1, 0]),  # as macOS and as Linux name folders
        ((), ("cat", "dog"), None),
        (("cat", "dog"), (), None),
    ],
)
def test_places_by_name(wanted, known, places):
    assert match_classes(wanted, known, *WHO) == places


@pytest.mark.parametrize(
    ("wanted", "known", "named"),
    [
        (("Aal", "Hund", "Katze"), ("cat", "dog", "eel"), "'Aal', 'Hund', 'Katze' of the pictures are unknown"),
        (("Cat", "dog"), ("cat", "dog"), "'Cat' of the pictures is unknown to the teacher"),
        (("cat", "dog", "fox"), ("cat", "dog"), "'fox' of the pictures is unknown"),
        (("b", "a", "a"), ("a", "a", "b"), "'a' stands twice"),
        ([f"c{place}" for place in range(100)], ("x",), "'c4' and 95 more"),
    ],
)
def test_others_are_refused_by_name(wanted, known, named):
    with pytest.raises(ValueError, match=named):
        match_classes(wanted, known, *WHO)


@pytest.mark.parametrize("names", ["cat", ["cat"], ["cat", "dog", "eel"], ["cat", 2], {"cat": 1, "dog": 2}, 7])
def test_names_that_do_not_fit_the_outputs(names):
    with pytest.raises(ValueError, match=r"config\.json has class_names of .*; expected a list of 2 names"):
        check_class_names(names, 2, "config.json")


@pytest.mark.parametrize("names", [None, [], ()])
def test_no_names_are_none_known(names):
    assert check_class_names(names, 2, "config.json") == ()

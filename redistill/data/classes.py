"""Which class of one network or data set is which of another: told by their names, never by their places alone."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from ..common.sentences import listed

NAMED = 5  # classes that a sentence names


def check_class_names(names: Any, count: int, where: str) -> tuple[str, ...]:
    """Names of `count` classes as a tuple, or an empty one where `names` is None or empty: then they are not known.

    Raises ValueError, saying `where` they stand, for what is no list of so many different texts.
    """
    if not names:
        return ()
    is_texts = isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
    if not is_texts or len(names) != count:
        found = f"{len(names):,} entries" if is_texts else repr(names)[:80]
        raise ValueError(f"{where} has class_names of {found}; expected a list of {count:,} names, one a class.")
    return tuple(names)


def composed(name: str) -> str:
    """A name or a path as it is compared: accents in one character, which a Mac and its zip files write in two."""
    return unicodedata.normalize("NFC", name)


def match_classes(wanted: Sequence[str], known: Sequence[str], who: str, whose: str) -> list[int] | None:
    """For each class of `wanted` its place in `known`, by name; None where either has no names, so none can be told.

    `who` has the classes `wanted`, `whose` those of `known`, both in words. Accents may be written in one character or
    two, as systems name their folders; all else counts. Raises ValueError, naming classes, where one of `wanted` is
    not in `known`, or where a name that stands twice leaves open which is meant.
    """
    if not wanted or not known:
        return None
    mine, theirs = ([*map(composed, names)] for names in (wanted, known))
    if mine == theirs:
        return list(range(len(mine)))
    unknown = [name for name in mine if name not in set(theirs)]
    if unknown:
        raise ValueError(
            f"{_named(unknown)} of {who} {'is' if len(unknown) == 1 else 'are'} unknown to {whose}, whose classes are "
            f"{_named(theirs)}; expected the same names, since places alone would compare other things."
        )
    for names, owner in ((mine, who), (theirs, whose)):
        twice = sorted(name for name in set(names) if names.count(name) > 1)
        if twice:
            raise ValueError(f"Class {twice[0]!r} stands twice in {owner}; rename one, or give both one order.")
    return [theirs.index(name) for name in mine]


def names_or_numbers(names: Sequence[str], count: int) -> list[str]:
    """What `count` classes are called: by their names, or where these are not known by their places."""
    return list(names) or [f"number {place}" for place in range(count)]


def _named(names: Sequence[str]) -> str:
    return listed(list(map(repr, names)), NAMED)

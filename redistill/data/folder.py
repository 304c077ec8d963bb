"""Folders of pictures, one subfolder a class: `cats/1.jpg`, or `train/cats/1.jpg` beside `val/` and `test/`.

A table beside the pictures may tell their classes and splits instead, see `labels`.

Listed here and not by the package datasets: its "imagefolder" drops all labels where one class has folders of its own,
and takes fifty times as long for 10,000 pictures, each time anew (25 s, not 0.5 s).
"""

from __future__ import annotations

import functools
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..common.sentences import listed
from .classes import composed
from .decode import unreadable
from .files_in import Found, Tree, walk
from .labels import labelled
from .source import EXTENSIONS, Listing, Source, open_picture, printable, split_name

ONE_CLASS = "pictures"  # name of the only class of a folder without subfolders
NAMED = 3  # files that a sentence names
ALIKE = 2  # folders of the same names in two others, which are no chance


def open_folder(path: Path, title: str) -> Source:
    """The pictures of a folder; only their names are read here.

    Class subfolders may hold folders of their own. A folder around all others is seen through, and a folder of
    pictures without subfolders is one class. Splits are folders called train, val(idation) or test (and a few words
    more) where that is their only sense: beside a class of another name they are classes, see `_places`. What is not
    taken, such as files that are no pictures and folders of thumbnails, is told in the source's `notes`. Raises
    ValueError for a folder that is missing or empty, a class without pictures, two folders for one split, splits
    without one to train on, folders that may be splits or classes, a class of one split that train does not have, and
    as `labelled` does.
    """
    if not path.is_dir():
        raise ValueError(f"There is no folder {title}; expected one with a subfolder of pictures for each class.")
    root, files, notes = _taken(path, title)
    names = tuple(files["train"])
    for split, found in files.items():
        unknown = sorted(set(found) - set(names))
        if unknown:
            raise ValueError(f"{title}: class {unknown[0]!r} of {split} is not in train, which has {list(names)[:20]}.")
        if missing := [name for name in names if name not in found]:
            notes.append(f"{split} has no pictures of {listed(list(map(repr, missing)), NAMED)}.")
    parts = {split: functools.cache(functools.partial(_listing, root, found, names)) for split, found in files.items()}
    return Source(title, names, parts, tuple(notes))


def remove_unreadable(path: Path, title: str, seconds: float) -> list[str]:
    """Delete the pictures of a folder that cannot be read and return their names, sorted.

    It ends after about `seconds`; pictures that were not reached stay. Raises ValueError as `open_folder` does, and
    where none can be read.
    """
    deadline = time.monotonic() + seconds
    listings = [part() for part in open_folder(path, title).parts.values()]
    broken = sorted(name for listing in listings for name in unreadable(listing, deadline))
    if len(broken) == sum(map(len, listings)):
        raise ValueError(f"{title}: none of its {len(broken):,} pictures can be read, such as {broken[0]}.")
    root, _, _ = _taken(path, title)
    for name in broken:
        (root / name).unlink()
    return broken


def _taken(path: Path, title: str) -> tuple[Path, dict[str, dict[str, list[str]]], list[str]]:
    """The folder that paths lie below, the pictures by split and class, and sentences about what is taken."""
    notes: list[str] = []
    tree = walk(path)
    told = labelled(path, tree, title, notes)
    if told:
        return path, told[0], [*notes, *_alike(list(told[0]["train"])), *_left(tree, [], told[1])]
    root, tree = _innermost(path, tree)
    places = _places(tree, title, notes)
    files = {split: _classes(place, title) for split, place in places.items()}
    notes += _alike(list(files["train"]))
    beside = [file for place in places.values() if place.folders for file in place.pictures]
    return root, files, [*notes, *_left(tree, beside)]


def _innermost(path: Path, tree: Tree) -> tuple[Path, Tree]:
    """Below folders that hold a single folder of folders and no picture: what a zip file of a folder unpacks to."""
    place, names = tree, []
    while True:
        inner = place.folders[0] if len(place.folders) == 1 and not place.pictures else None
        if inner is None or split_name(inner.name) or not inner.folders or inner.pictures:
            break
        place = inner
        names.append(place.name)
    root = path.joinpath(*names)
    return (path, tree) if not names else (root, walk(root))


def _places(tree: Tree, title: str, notes: list[str]) -> dict[str, Tree]:
    """The part of the tree that is each split's, "train" at least.

    Folders with the names of splits are splits where all folders of pictures are such, or where two of them hold the
    same classes in folders of their own; else they are classes as all others. ValueError where one of them and a folder
    of another name hold the same ones, which makes sense both ways.
    """
    empty = [printable(folder.name) for folder in tree.folders if split_name(folder.name) and not folder.count()]
    if empty:
        notes.append(f"Without pictures, not taken for a split: {', '.join(empty)}.")
    named = [(split_name(folder.name), folder) for folder in tree.filled()]
    splits = [(split, folder) for split, folder in named if split]
    others = [folder for split, folder in named if not split]
    if not splits:
        notes += _perhaps_splits(others)
        return {"train": tree}
    shared = [_inner(folder) for _, folder in splits]
    agree = any(one and one == other for place, one in enumerate(shared) for other in shared[:place])
    if others and not agree:
        _refuse_either(splits, others, title)
        told = ", ".join(printable(folder.name) for _, folder in splits)
        notes.append(f"{told}: taken for a class, since it stands beside {printable(others[0].name)}.")
        return {"train": tree}
    twice = [split for split, count in Counter(split for split, _ in splits).items() if count > 1]
    if twice:
        both = " and ".join(printable(folder.name) for split, folder in splits if split == twice[0])
        raise ValueError(
            f"{title}: {both} are both {twice[0]} pictures; expected one folder of them, put them together."
        )
    found = {split: folder for split, folder in splits}
    if "train" not in found:
        raise ValueError(f"{title} has {', '.join(found)} pictures and none to train on; expected a folder train.")
    if others:
        left = ", ".join(f"{printable(folder.name)} ({folder.count():,} pictures)" for folder in others)
        notes.append(f"Beside the splits, left out: {left}.")
    return found


def _inner(folder: Tree) -> set[str]:
    return {inner.name for inner in folder.filled()}


def _refuse_either(splits: Sequence[tuple[str, Tree]], others: Sequence[Tree], title: str) -> None:
    """ValueError where a folder that is called as a split and one that is not hold the same folders."""
    for _, split in splits:
        for other in others:
            same = sorted(_inner(split) & _inner(other))
            if len(same) >= ALIKE:
                one, two = printable(split.name), printable(other.name)
                raise ValueError(
                    f"{title}: {one} and {two} hold folders of the same names ({_some(same)}); where both are splits, "
                    f"call {two} one of train, val and test; where both are classes, call {one} otherwise."
                )


def _perhaps_splits(folders: Sequence[Tree]) -> list[str]:
    """A sentence where all of several classes hold the same folders, as splits under other names would."""
    inner = [_inner(folder) for folder in folders]
    if len(folders) < 2 or len(inner[0]) < ALIKE or any(one != inner[0] for one in inner):
        return []
    named = _some([folder.name for folder in folders])
    if all(map(split_name, inner[0])):
        return [
            f"{named} hold folders {_some(sorted(inner[0]))}, whose pictures are put together and split anew; where "
            "these are to be the splits, put them above the classes."
        ]
    return [
        f"{named} hold folders of the same names ({_some(sorted(inner[0]))}) and are taken for classes; where they are "
        "splits, call them train, val and test."
    ]


def _alike(names: Sequence[str]) -> list[str]:
    """Sentences about classes whose names differ in capital letters and spaces alone."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault("".join(name.casefold().split()), []).append(name)
    return [
        f"{' and '.join(map(repr, group))} are taken for different classes; where they are one, put them together."
        for group in groups.values()
        if len(group) > 1
    ]


def _classes(place: Tree, title: str) -> dict[str, list[str]]:
    """Paths of the pictures below the root, by class, all sorted."""
    folders = place.folders or [Tree(ONE_CLASS, place.path, pictures=place.pictures, others=place.others)]
    found: dict[str, list[str]] = {}
    for folder in folders:
        name = composed(printable(folder.name))
        files = sorted(folder.all_pictures())
        if not files:
            kinds = Counter(os.path.splitext(file)[1].lower() or "none" for file in folder.all_others())
            held = f", its files end in {', '.join(sorted(kinds)[:5])}" if kinds else ""
            raise ValueError(
                f"{title}: folder {name!r} holds no pictures{held}; expected files ending in {', '.join(EXTENSIONS)}."
            )
        if name in found:
            raise ValueError(f"{title}: two folders are called {name!r}, written differently; rename one.")
        found[name] = files
    return found


def _left(tree: Tree, beside: Sequence[str], tables: Sequence[str] = ()) -> list[str]:
    """Sentences about what lies in a folder and is not taken; `tables` are."""
    found = Found()
    tree.report(found)
    found.others = [file for file in found.others if file not in tables]
    notes = [
        (found.others, "no pictures in a format that is read", "file", "files"),
        (beside, "beside the class folders", "picture", "pictures"),
        (found.systems, "of the system or of thumbnails", "folder or file", "folders and files"),
        (found.broken, "leading nowhere, or back into themselves", "link", "links"),
    ]
    return [
        f"Left out, {what}: {len(files):,} {one if len(files) == 1 else many} ({_some(files)})."
        for files, what, one, many in notes
        if files
    ]


def _some(files: Sequence[str]) -> str:
    return listed(list(map(printable, files)), NAMED)


def _listing(root: Path, found: Mapping[str, list[str]], class_names: Sequence[str]) -> Listing:
    names = [file for files in found.values() for file in files]
    labels = np.repeat([class_names.index(name) for name in found], [len(files) for files in found.values()])
    stamps = []
    for name in names:
        status = os.stat(root / name)
        stamps.append((str(root), status.st_size, status.st_mtime_ns))
    return Listing(names, labels.astype(np.int64), stamps, lambda row: open_picture(root / names[row]))

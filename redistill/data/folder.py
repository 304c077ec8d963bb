"""Folders of pictures, one subfolder a class: `cats/1.jpg`, or `train/cats/1.jpg` beside `val/` and `test/`.

Listed here and not by the package datasets: its "imagefolder" drops all labels where one class has folders of its own,
and takes fifty times as long for 10,000 pictures, each time anew (25 s, not 0.5 s).
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .decode import unreadable
from .source import Listing, Source, open_picture, split_name

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
ONE_CLASS = "pictures"  # name of the only class of a folder without subfolders
_NOT_MEANT = ("__macosx", "thumbs.db", "desktop.ini")  # what systems leave in folders, besides hidden files


def open_folder(path: Path, title: str) -> Source:
    """The pictures of a folder; only their names are read here.

    Class subfolders may hold folders of their own. A folder around all others is seen through, files beside the class
    folders are left alone, and a folder of pictures without subfolders is one class. Names of splits: train,
    val(idation), test. Raises ValueError for a folder that is missing or empty, a class without pictures, a file
    among the pictures that is none, and a class of one split that train does not have.
    """
    if not path.is_dir():
        raise ValueError(f"There is no folder {title}; expected one with a subfolder of pictures for each class.")
    root = _innermost(path)
    places = {split_name(folder.name) or "": folder for folder in _folders(root)}
    if "train" not in places:
        places = {"train": root}
    places.pop("", None)
    files = {split: _classes(place, root, title) for split, place in places.items()}
    names = tuple(files["train"])
    for split, found in files.items():
        unknown = sorted(set(found) - set(names))
        if unknown:
            raise ValueError(f"{title}: class {unknown[0]!r} of {split} is not in train, which has {list(names)[:20]}.")
    parts = {split: functools.cache(functools.partial(_listing, root, found, names)) for split, found in files.items()}
    return Source(title, names, parts)


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
    root = _innermost(path)
    for name in broken:
        (root / name).unlink()
    return broken


def _innermost(path: Path) -> Path:
    """Below folders that hold a single folder of folders and no picture: what a zip file of a folder unpacks to."""
    while True:
        folders = _folders(path)
        inside = len(folders) == 1 and not _pictures_in(path) and not split_name(folders[0].name)
        if not inside or not _folders(folders[0]) or _pictures_in(folders[0]):
            return path
        path = folders[0]


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if _is_meant(entry.name) and entry.is_dir())


def _pictures_in(path: Path) -> bool:
    return any(entry.suffix.lower() in EXTENSIONS and _is_meant(entry.name) for entry in path.iterdir())


def _is_meant(name: str) -> bool:
    return not name.startswith(".") and name.lower() not in _NOT_MEANT


def _classes(place: Path, root: Path, title: str) -> dict[str, list[str]]:
    """Paths of the pictures below `root`, by class, all sorted."""
    folders = _folders(place)
    found = {folder.name: _below(folder, root, title) for folder in folders} or {ONE_CLASS: _below(place, root, title)}
    for name, files in found.items():
        if not files:
            raise ValueError(
                f"{title}: folder {name!r} holds no pictures; expected files ending in {', '.join(EXTENSIONS)}."
            )
    return found


def _below(folder: Path, root: Path, title: str) -> list[str]:
    files = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if _is_meant(name))
        for name in filter(_is_meant, names):
            file = os.path.relpath(os.path.join(place, name), root)
            if not name.lower().endswith(EXTENSIONS):
                raise ValueError(f"{title}: {file} is no picture ({', '.join(EXTENSIONS)}); remove it.")
            files.append(file)
    return sorted(files)


def _listing(root: Path, found: dict[str, list[str]], class_names: Sequence[str]) -> Listing:
    names = [file for files in found.values() for file in files]
    labels = np.repeat([class_names.index(name) for name in found], [len(files) for files in found.values()])
    stamps = []
    for name in names:
        status = os.stat(root / name)
        stamps.append((str(root), status.st_size, status.st_mtime_ns))
    return Listing(names, labels.astype(np.int64), stamps, lambda row: open_picture(root / names[row]))

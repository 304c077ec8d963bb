"""What lies in a folder and below it: pictures, other files, and what systems leave there. Links are followed once."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from pathlib import Path

from .source import EXTENSIONS

# What systems and programs leave beside pictures, in small letters and besides hidden files: Macs, Windows,
# and network drives, which keep thumbnails that look like pictures.
SYSTEM = (
    "__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin", "system volume information", "lost+found",
    "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__pycache__",
)  # fmt: skip
MAX_DEPTH = 40  # folders within each other
LEFT_OUT = ".left-out.json"  # in an upload's folder: names of the pictures that could not be read


@dataclass
class Found:
    """What of a tree is not taken, as paths below its root."""

    others: list[str] = field(default_factory=list)
    systems: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)


@dataclass
class Tree:
    """A folder with what lies in it; files are paths below the root that `walk` was given."""

    name: str
    path: str  # below the root; "" of the root itself
    folders: list[Tree] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)  # files that are no pictures by their name
    systems: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  # links that lead nowhere, or to where they stand

    def filled(self) -> list[Tree]:
        """Its folders with a picture in or below them."""
        return [folder for folder in self.folders if folder.count()]

    def count(self) -> int:
        """Pictures in and below it."""
        return len(self.pictures) + sum(folder.count() for folder in self.folders)

    def all_pictures(self) -> list[str]:
        """Pictures in and below it."""
        return [*self.pictures, *(file for folder in self.folders for file in folder.all_pictures())]

    def all_others(self) -> list[str]:
        """Files in and below it that are no pictures."""
        return [*self.others, *(file for folder in self.folders for file in folder.all_others())]

    def report(self, found: Found) -> None:
        """Add what is not taken, in and below it."""
        found.others += self.others
        found.systems += self.systems
        found.broken += self.broken
        for folder in self.folders:
            folder.report(found)


def walk(root: Path) -> Tree:
    """What lies in a folder, sorted by name. A link to a folder is followed unless it leads to one around it.

    Raises ValueError for folders that lie deeper within each other than `MAX_DEPTH`, and for one that cannot be read.
    """
    try:
        outside = tuple((status.st_dev, status.st_ino) for status in map(os.stat, root.resolve().parents))
        return _walk(root, root.name, "", outside, 0)
    except OSError as error:
        raise ValueError(f"{error.filename or root} cannot be looked into ({error.strerror or error}).") from error


def _walk(place: Path, name: str, path: str, around: tuple[tuple[int, int], ...], depth: int) -> Tree:
    if depth > MAX_DEPTH:
        raise ValueError(f"{path[:80]!r} ... lies more than {MAX_DEPTH} folders deep; expected classes of pictures.")
    status = place.stat()
    around = (*around, (status.st_dev, status.st_ino))
    tree = Tree(name, path)
    with os.scandir(place) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            below = os.path.join(path, entry.name)
            if entry.name.startswith(".") or entry.name.lower() in SYSTEM:
                tree.systems += [below] if entry.name != LEFT_OUT else []
            elif _is_round(entry):
                tree.broken.append(below)
            elif entry.is_dir():
                status = entry.stat()
                if (status.st_dev, status.st_ino) in around:
                    tree.broken.append(below)
                else:
                    tree.folders.append(_walk(Path(entry.path), entry.name, below, around, depth + 1))
            elif not entry.is_file():
                (tree.broken if entry.is_symlink() else tree.others).append(below)
            elif entry.name.lower().endswith(EXTENSIONS):
                tree.pictures.append(below)
            else:
                tree.others.append(below)
    return tree


def _is_round(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a link that leads to itself, alone or through others, of which systems say nothing else."""
    try:
        entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return True
        raise
    return False

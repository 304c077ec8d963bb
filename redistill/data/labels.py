"""Classes that a table beside pictures tells, and not folders: `labels.csv`, or `train.csv`, `val.csv`, `test.csv`."""

from __future__ import annotations

import csv
import io
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..common.sentences import listed
from .classes import composed
from .files_in import Tree
from .source import SPLITS, printable, split_name

# Names of columns in small letters with "_" for blanks and dashes, those before others where a table has several.
FILES = (
    "file", "filename", "file_name", "path", "filepath", "file_path", "image", "image_path", "image_name", "image_file",
    "img", "picture", "photo", "image_id", "id",
)  # fmt: skip
LABELS = ("class_name", "label_name", "label", "class", "category", "target", "labels", "classes", "species", "breed")
PARTS = ("split", "subset", "partition")
MAX_BYTES = 256 * 2**20  # of a table
MAX_LABEL = 255  # characters, as in a folder's name
NAMED = 3  # files that a sentence names

Classes = dict[str, list[str]]  # paths of the pictures below the root, sorted, by class


@dataclass(frozen=True)
class _Pictures:
    """The pictures of a folder, as paths below it."""

    paths: Sequence[str]
    ends: Mapping[str, list[str]]  # by every end of their path, with and without the file's ending
    splits: Mapping[str, str]  # by path, where all lie in folders with names of splits; else nothing
    title: str


@dataclass
class _Told:
    """What a table says about the pictures beside it."""

    columns: tuple[str, str]
    classes: dict[str, tuple[str, str]] = field(default_factory=dict)  # by picture: split and class
    missing: list[str] = field(default_factory=list)  # files that it names and that are not here
    unlabelled: list[str] = field(default_factory=list)  # pictures that it names and gives no class


def labelled(root: Path, tree: Tree, title: str, notes: list[str]) -> tuple[dict[str, Classes], list[str]] | None:
    """Pictures by split and class as tables in a folder tell them, and the paths of these tables.

    None where there is no table, or where folders tell the classes: where all of a table's classes are folders, or each
    is one folder's. What is taken and what is left out is added to `notes`. Raises ValueError for a table that is no
    text, that names one picture for two classes, two pictures by one name, or none of the pictures that are here.
    """
    tables = [file for file in tree.all_others() if _is_table(file)]
    paths = tree.all_pictures()
    if not tables or not paths:
        return None
    splits = _splits(paths)
    pictures = _Pictures(paths, _ends(paths), splits, title)
    read = {table: _read(root, table, pictures, notes) for table in tables}
    told = {table: one for table, one in read.items() if one}
    folders = {file: parts[0] for file, parts in _below(paths, splits).items() if len(parts) > 1}
    many = len(set(folders.values())) > 1
    for table, one in told.items():
        if not one.classes and not many:
            raise ValueError(
                f"{title}: {printable(table)} names none of the pictures beside it with a class, but "
                f"{_some([*one.missing, *one.unlabelled]) or 'nothing'}; expected names such as {printable(paths[0])}."
            )
    if many and _is_told_by(folders, [one for one in told.values() if one.classes]):
        notes += [f"{printable(table)}: not taken, subfolders tell the classes." for table in told]
        return None
    return (_together(told, pictures, notes), list(told)) if told else None


def _is_table(file: str) -> bool:
    stem, ending = os.path.splitext(os.path.basename(file).lower())
    return ending == ".csv" and (stem == "labels" or split_name(stem) is not None)


def _column(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")


def _rows(file: Path, name: str) -> tuple[list[str], list[list[str]]]:
    """The first line of a table and the others; ValueError for what is no text. Empty lines are passed over."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ValueError(f"{name} has over {MAX_BYTES // 2**20} MiB; expected a line a picture.")
        data = file.read_bytes()
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeError as error:
        raise ValueError(f"{name} is no text in UTF-8 ({error.reason}); save it as CSV in UTF-8.") from error
    except OSError as error:
        raise ValueError(f"{name} cannot be read ({error.strerror or error}).") from error
    if "\0" in text:
        raise ValueError(f"{name} holds a zero character; expected text, save it as CSV in UTF-8.")
    if text.lower().startswith("sep="):  # what Excel puts before the header
        text = text.partition("\n")[2]
    try:
        between = max(",;\t", key=lambda between: _fits(text, between))
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=between) if any(row)]
    except csv.Error as error:
        raise ValueError(f"{name} cannot be read as CSV ({error}).") from error
    return (rows[0], rows[1:]) if rows else ([], [])


def _fits(text: str, between: str) -> tuple[int, int]:
    """How well a separator parts the first line of a table: the columns that have names we look for, and all."""
    header = next(filter(any, csv.reader(io.StringIO(text, newline=""), delimiter=between)), [])
    known = {_column(name) for name in header}
    return sum(not known.isdisjoint(names) for names in (FILES, LABELS, PARTS)), len(header)


def _ends(pictures: Sequence[str]) -> dict[str, list[str]]:
    ends: dict[str, list[str]] = defaultdict(list)
    for picture in pictures:
        parts = composed(picture).split(os.sep)
        for place in range(len(parts)):
            end = "/".join(parts[place:])
            ends[end].append(picture)
            ends[os.path.splitext(end)[0]].append(picture)
    return ends


def _below(pictures: Sequence[str], splits: Mapping[str, str]) -> dict[str, list[str]]:
    """Each picture's path below the folders that hold all pictures, and below those of its split."""
    around = os.path.commonpath([os.path.dirname(picture) for picture in pictures])
    skipped = len(Path(around).parts) + bool(splits)
    return {picture: picture.split(os.sep)[skipped:] for picture in pictures}


def _splits(pictures: Sequence[str]) -> dict[str, str]:
    found = {picture: split_name(parts[0]) for picture, parts in _below(pictures, {}).items()}
    return {} if None in found.values() else {picture: split for picture, split in found.items() if split}


def _read(root: Path, table: str, pictures: _Pictures, notes: list[str]) -> _Told | None:
    """What a table says; None, and a note, where it has no columns for files and classes."""
    where = f"{pictures.title}: {printable(table)}"
    header, rows = _rows(root / table, where)
    places = {name: place for place, name in reversed(list(enumerate(map(_column, header))))}
    columns = [next((places[name] for name in names if name in places), None) for names in (FILES, LABELS, PARTS)]
    if columns[0] is None or columns[1] is None:
        shown = ", ".join(repr(printable(name)[:40]) for name in header[:5])
        notes.append(
            f"{printable(table)}: not taken, its columns are {shown or 'none'}; expected one called file (or image, "
            "path, ...) and one called label (or class, ...)."
        )
        return None
    told = _Told((header[columns[0]], header[columns[1]]))
    own = split_name(os.path.splitext(os.path.basename(table))[0])
    for row in rows:
        name, label, part = (row[place].strip() if place is not None and place < len(row) else "" for place in columns)
        picture, label = _picture(name, table, own, pictures), composed(label)
        if picture is None:
            told.missing.append(name)
        elif not label:
            told.unlabelled.append(picture)
        elif len(label) > MAX_LABEL:
            raise ValueError(f"{where} has a class of {len(label):,} characters, {label[:40]!r}...; expected a name.")
        else:
            split = split_name(part) if part else own or pictures.splits.get(picture, "train")
            if split is None:
                raise ValueError(f"{where} has the split {part[:40]!r}; expected one of: {', '.join(SPLITS)}.")
            _add(told.classes, picture, (split, label), where)
    return told


def _picture(name: str, table: str, own: str | None, pictures: _Pictures) -> str | None:
    """The picture that a table of the split `own` means: the one beside it first, then the only one that ends so."""
    path = composed(os.path.normpath(name.replace("\\", "/"))) if name else ""
    beside = os.path.normpath(os.path.join(composed(os.path.dirname(table)), path))
    found = pictures.ends.get(beside if path.startswith("..") else path, [])
    found = [picture for picture in found if f"/{composed(picture)}".endswith(f"/{path.lstrip('./')}")] or found
    choices = (
        [picture for picture in found if beside in (composed(picture), os.path.splitext(composed(picture))[0])],
        [picture for picture in found if own and pictures.splits.get(picture) == own],
        [] if path.startswith("..") else list(dict.fromkeys(found)),
    )
    best = next(filter(None, choices), [])
    if len(set(best)) > 1:
        raise ValueError(
            f"{pictures.title}: {printable(table)} names {name[:80]!r}, which is {printable(best[0])} and "
            f"{printable(best[1])}; expected paths that tell them apart."
        )
    return best[0] if best else None


def _add(classes: dict[str, tuple[str, str]], picture: str, told: tuple[str, str], where: str) -> None:
    before = classes.setdefault(picture, told)
    if before != told:
        one, other = (f"{label[:40]!r} of {split}" for split, label in (before, told))
        raise ValueError(f"{where} names {printable(picture)} twice, as {one} and as {other}; expected one class each.")


def _is_told_by(folders: Mapping[str, str], tables: Sequence[_Told]) -> bool:
    """Whether folders tell the classes of tables: every class is a folder's name, or each is one folder."""
    pairs = {(folders.get(picture), label) for one in tables for picture, (_, label) in one.classes.items()}
    labels, names = {label for _, label in pairs}, set(folders.values())
    return labels <= names or ({folder for folder, _ in pairs} == names and len(pairs) == len(labels) == len(names))


def _together(told: Mapping[str, _Told], pictures: _Pictures, notes: list[str]) -> dict[str, Classes]:
    """The pictures of all tables by split and class, all sorted; `notes` say what is taken and what is not."""
    classes: dict[str, tuple[str, str]] = {}
    for table, one in told.items():
        for picture, value in one.classes.items():
            _add(classes, picture, value, f"{pictures.title}: {printable(table)}, together with another table,")
        file, label = map(printable, one.columns)
        notes.append(f"{printable(table)}: tells the class of {len(one.classes):,} pictures ({label!r} of {file!r}).")
        notes += _left(printable(table), one)
    if not any(split == "train" for split, _ in classes.values()):
        named = ", ".join(map(printable, told))
        raise ValueError(f"{pictures.title}: {named} names no pictures to train on; expected a train.csv beside it.")
    unlabelled = {picture for one in told.values() for picture in one.unlabelled}
    if without := [picture for picture in pictures.paths if picture not in classes and picture not in unlabelled]:
        notes.append(f"Left out, in no table: {len(without):,} picture{'s' * (len(without) > 1)} ({_some(without)}).")
    found: dict[str, Classes] = {}
    for picture, (split, label) in sorted(classes.items(), key=lambda item: (item[1], item[0])):
        found.setdefault(split, {}).setdefault(printable(label), []).append(picture)
    return {split: found[split] for split in SPLITS if split in found}


def _left(table: str, one: _Told) -> Iterator[str]:
    for files, what in ((one.missing, "without a picture here"), (one.unlabelled, "without a class")):
        if files:
            yield f"{table}, left out, {what}: {len(files):,} row{'s' * (len(files) > 1)} ({_some(files)})."


def _some(files: Sequence[str]) -> str:
    return listed([printable(file)[:80] or "no name" for file in files], NAMED)

"""Pictures that are listed and not decoded yet, how a set gets its splits, and what a loaded split is."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..common.devices import has_room
from .pixels import beyond_pillow

# Sizes are held to limits of our own (`pixels.MAX_BYTES`), after a JPEG was told to decode at a fraction.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

SPLITS = ("train", "validation", "test")
SHARE = 0.1  # part of each class that a split drawn from train takes

# What people call a split, alone or as "training_set" and "test images".
_SPLIT_NAMES = {
    "train": re.compile(r"train(ing)?([ _-]?(set|data|split|images))?"),
    "validation": re.compile(r"(val|valid|validation|dev|eval|evaluation)([ _-]?(set|data|split|images))?"),
    "test": re.compile(r"test(ing)?([ _-]?(set|data|split|images))?"),
}
# Formats that PIL may open: it knows others that start programs (EPS) or are mere containers.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
EXTENSIONS = (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
# What phones write. Read where pillow-heif is installed (`pip install redistill-studio[heic]`): its wheels bring an
# encoder under the GPL along, so it is no dependency of everybody.
if importlib.util.find_spec("pillow_heif"):
    FORMATS += ("HEIF",)
    EXTENSIONS += (".heic", ".heif")


@dataclass(frozen=True)
class Listing:
    """The pictures of one split, in order."""

    names: Sequence[str]  # one a picture, for people
    labels: np.ndarray  # int64 (N,), an index into the set's class names
    stamps: Sequence[object]  # one a picture: name and stamp together change when the picture does
    read: Callable[[int], Image.Image]  # opens the picture of a number; several threads may

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: np.ndarray) -> Listing:
        """The pictures of these numbers, in their order."""
        numbers = rows.tolist()
        return Listing(
            [self.names[row] for row in numbers],
            self.labels[rows],
            [self.stamps[row] for row in numbers],
            lambda number: self.read(numbers[number]),
        )

    def fingerprint(self) -> str:
        """Twenty characters that change with the pictures and their order."""
        digest = hashlib.sha256()
        for name, stamp in zip(self.names, self.stamps, strict=True):
            digest.update(f"{name}\0{stamp}\0".encode(errors="surrogateescape"))
        return digest.hexdigest()[:20]


@dataclass(frozen=True)
class Split:
    """Images of one split at render size: a data set's `render_scale` times the image size asked for."""

    images: Tensor  # uint8 (N, 3, S, S); `augment` or `shrink` brings them to the image size
    labels: Tensor  # int64 (N,), an index into the data set's class_names
    left_out: str = ""  # a sentence about damaged pictures that are not here

    def __len__(self) -> int:
        return len(self.labels)

    def to_device_if_room(self, device: torch.device) -> Split:
        """The split on the device, where it leaves that more than half of its free memory; else where it is now."""
        if not has_room(device, self.images.nbytes + self.labels.nbytes):
            return self
        return Split(self.images.to(device), self.labels.to(device), self.left_out)

    def take(self, rows: Tensor, device: torch.device) -> Split:
        """The images and labels of `rows`, an int64 vector, on the device; picked out where the split is."""
        rows = rows.to(self.images.device)
        tensors = (self.images[rows], self.labels[rows])
        if device.type == "cuda" and not self.images.is_cuda:
            tensors = tuple(tensor.pin_memory() for tensor in tensors)  # the GPU fetches them while Python goes on
        return Split(*(tensor.to(device, non_blocking=True) for tensor in tensors))


@dataclass(frozen=True)
class Source:
    """A picture set outside this project: what its labels mean, and its own splits, each listed when asked for."""

    title: str
    class_names: tuple[str, ...]
    parts: Mapping[str, Callable[[], Listing]]  # by "train" and, where the set has them, "validation" and "test"
    notes: tuple[str, ...] = ()  # sentences about what of it is not taken, or taken in one of two senses

    def split(self, name: str, seed: int) -> Listing:
        """The pictures of one of SPLITS in an order whose every beginning holds the classes in their proportions.

        A set without validation pictures gets them from its training pictures: a tenth of each class, drawn by `seed`.
        The same goes for test pictures, unless there are validation pictures: then those are the test split, and
        validation is drawn. That is how ImageNet's are reported; what is tested on is never trained or chosen with.
        """
        given = self._given()
        drawn = [part for part in ("validation", "test") if part not in given]
        if name != "train" and name in given:
            listing = given[name]()
            return listing.take(_mixed(listing.labels, np.random.default_rng(0)))
        listing = given["train"]()
        rows = draw_splits(listing.labels, drawn, seed, self.class_names)[name]
        return listing.take(rows[_mixed(listing.labels[rows], np.random.default_rng(0))])

    def drawn_from(self) -> str | None:
        """Twenty characters that change with the names and labels that splits are drawn from; None: none is drawn.

        With one picture more, the same seed draws other splits. What is in the files, or when they were written,
        does not count.
        """
        if self._given().keys() >= {"validation", "test"}:
            return None
        listing = self.parts["train"]()
        return Listing(listing.names, listing.labels, listing.labels.tolist(), listing.read).fingerprint()

    def _given(self) -> dict[str, Callable[[], Listing]]:
        given = dict(self.parts)
        if "test" not in given and "validation" in given:
            given["test"] = given.pop("validation")
        return given


def split_name(folder: str) -> str | None:
    """Which of SPLITS a folder or a part of that name is, such as "val" or "training_set"; None for any other."""
    return next((split for split, words in _SPLIT_NAMES.items() if words.fullmatch(folder.lower())), None)


def draw_splits(
    labels: np.ndarray, drawn: Sequence[str], seed: int, class_names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Row numbers of "train" and of each split in `drawn`, disjoint, with `SHARE` of every class for each drawn one.

    labels: int64 (N,). Every class gives at least one picture to each split; ValueError, naming it, for one that is
    too small for that.
    """
    counts = np.bincount(labels, minlength=len(class_names))
    small = [(name, count) for name, count in zip(class_names, counts, strict=True) if 0 < count <= len(drawn)]
    if small:
        parts = " and ".join(("training", *drawn))
        raise ValueError(
            f"Class {small[0][0]!r} has {small[0][1]} picture{'s' if small[0][1] > 1 else ''}; expected at least "
            f"{len(drawn) + 1}, one each for {parts}."
        )
    rank = _rank_in_class(labels, np.random.default_rng(seed).permutation(len(labels)))
    taken = np.maximum(1, np.round(counts * SHARE).astype(np.int64))[labels]  # of each row's class, for one split
    found = {
        part: np.flatnonzero((rank >= place * taken) & (rank < (place + 1) * taken)) for place, part in enumerate(drawn)
    }
    return found | {"train": np.flatnonzero(rank >= len(drawn) * taken)}


def _mixed(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """An order of the rows in which every class is spread evenly from beginning to end."""
    rank = _rank_in_class(labels, random.permutation(len(labels)))
    return np.argsort((rank + random.random(len(labels))) / np.bincount(labels)[labels], kind="stable")


def _rank_in_class(labels: np.ndarray, order: np.ndarray) -> np.ndarray:
    """For each row its place among the rows of its class, when all are gone through in `order`."""
    by_class = order[np.argsort(labels[order], kind="stable")]
    counts = np.bincount(labels)
    rank = np.empty(len(labels), np.int64)
    rank[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rank


def open_picture(file: Path) -> Image.Image:
    """A picture file, opened and not decoded; OSError when it is none of FORMATS."""
    return open_image(file)


def open_image(file: Path | BinaryIO) -> Image.Image:
    """A picture, opened and not decoded; OSError when it is none of FORMATS, and for a pipe, folder or device."""
    if isinstance(file, Path) and file.exists() and not file.is_file():
        raise OSError("it is no file")  # a named pipe would be waited for
    if "HEIF" in FORMATS:
        _add_heif()
    try:
        return Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError:
        if hasattr(file, "seek"):
            file.seek(0)
        with beyond_pillow():
            return Image.open(file, formats=FORMATS)


@functools.cache
def _add_heif() -> None:
    """Let PIL open HEIF; only once a picture is opened, since its library takes a while to load."""
    import pillow_heif

    pillow_heif.register_heif_opener()


def printable(name: str) -> str:
    """A file's name as text that can be written anywhere: bytes that are no UTF-8 are read as Latin-1, and control
    characters, which would break lines or colour a terminal, are written as `\\x0a`."""
    try:
        name.encode()
    except UnicodeEncodeError:
        name = name.encode(errors="surrogateescape").decode("latin-1")
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: f"\\x{ord(found[0]):02x}", name)

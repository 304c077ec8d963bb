"""What a classifier says of picture files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..checkpoint import folder as checkpoint
from ..checkpoint.metadata import read_metadata
from ..checkpoint.sources import find_checkpoint
from ..common.devices import check_device, no_tf32
from ..common.values import is_whole
from ..data.augmentation import normalize
from ..data.classes import names_or_numbers
from ..data.decode import read_square
from ..data.files_in import walk
from ..data.source import Listing, open_picture, printable
from ..networks.head import check_numbers

BATCH = 64
RGB = 3  # channels


def predict(
    folder: str | Path, files: Sequence[str | Path], top: int = 3, device: str | torch.device = "cpu"
) -> Iterator[dict[str, Any]]:
    """For each picture file, and each in folders among `files`, the likeliest classes, the likeliest first.

    Yields {"file", "classes": [{"class", "probability"}, ...]}, or {"file", "error"} for one that cannot be read: it is
    passed over. Pictures become squares as those of a run do. Classes without names are told by their place. Raises
    ValueError at once for a checkpoint that is no classifier of RGB squares, a device, or a number that is not there.
    """
    device = check_device(str(device))
    place = find_checkpoint(folder)  # once: a branch on the Hub may move meanwhile
    metadata = read_metadata(place)
    student = metadata.student
    if student.task != "classification" or not is_whole(student.image_size, 1):
        raise ValueError(f"{folder} is a network for {student.task}; expected a classifier of square pictures.")
    if student.classes == 0:
        raise ValueError(f"{folder} gives features alone, no classes; expected a classifier.")
    if student.in_channels != RGB:
        raise ValueError(f"{folder} takes images of {student.in_channels} channels; expected {RGB}, as pictures have.")
    if not is_whole(top, 1):
        raise ValueError(f"top is {top!r}; expected a whole number of at least 1.")
    paths = _expanded(files)
    if not paths:
        raise ValueError(f"There are no pictures in {', '.join(map(str, files))[:200]}; expected picture files.")
    model = checkpoint.load(place).to(device)
    names = names_or_numbers(metadata.class_names, student.classes)
    return _answers(model, student.image_size, names, paths, top, device)


def read_picture(file: str | Path, size: int) -> torch.Tensor:
    """A picture file as a network of `size` pixels a side sees it: uint8 (3, size, size); ValueError for no picture."""
    listing = Listing([str(file)], np.zeros(1, np.int64), [0], lambda row: open_picture(Path(file)))
    return torch.from_numpy(read_square(listing, 0, size).copy())


def _expanded(files: Sequence[str | Path]) -> list[Path]:
    found: list[Path] = []
    for file in map(Path, files):
        found += [file / name for name in sorted(walk(file).all_pictures())] if file.is_dir() else [file]
    return found


@torch.no_grad()
def _answers(
    model: torch.nn.Module, size: int, names: Sequence[str], paths: Sequence[Path], top: int, device: torch.device
) -> Iterator[dict[str, Any]]:
    listing = Listing(
        list(map(str, paths)), np.zeros(len(paths), np.int64), [0] * len(paths), lambda row: open_picture(paths[row])
    )
    for start in range(0, len(paths), BATCH):
        squares: dict[int, np.ndarray] = {}
        errors: dict[int, str] = {}
        rows = range(start, min(start + BATCH, len(paths)))
        for row in rows:
            try:
                squares[row] = read_square(listing, row, size)
            except ValueError as error:
                errors[row] = str(error)
        likely = {}
        if squares:
            images = torch.from_numpy(np.stack(list(squares.values()))).to(device)
            with no_tf32():
                logits = model(normalize(images)).float()
            check_numbers(logits.isfinite().all(), "The network")
            shares = logits.softmax(1).cpu()
            values, places = shares.topk(min(top, shares.shape[1]))
            likely = dict(zip(squares, zip(values.tolist(), places.tolist(), strict=True), strict=True))
        for row in rows:
            file = printable(str(paths[row]))
            if row in errors:
                yield {"file": file, "error": errors[row]}
                continue
            pairs = zip(*likely[row], strict=True)
            yield {"file": file, "classes": [{"class": names[place], "probability": p} for p, place in pairs]}

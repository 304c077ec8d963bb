"""Picture data sets by name: what they hold, and their splits.

A name says all that is needed to find the pictures again: one of `DATASETS`, or `folder:PATH` (class subfolders, or a
zip file of them), `upload:NAME` (a zip file that `unpack_zip` has taken in), `hub:OWNER/NAME` (the Hugging Face Hub).
Images are uint8 (N, 3, height, width) in RGB until `augmentation.normalize`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..common.sentences import Note
from ..common.values import LARGEST_SEED, is_whole, shown
from .decode import decoded, decoded_but_damaged
from .drawn import DRAWN
from .folder import open_folder
from .hub_sets import check_hub_id, open_hub
from .source import SPLITS, Source, Split, printable
from .table import DATASETS, IMAGE_SIZES, DatasetSpec
from .torchvision_sets import is_here, open_torchvision
from .uploads import left_out, say_left_out, unpack_zip, upload_folder

DEFAULT_SIZE = 64  # pixels a side for data sets that are not in the table
UNEVEN = 3  # times as many pictures: classes differ so much that a run had better draw them evenly
PREFIXES = ("folder:", "upload:", "hub:")


def load_split(
    name: str, split: str, image_size: int | None = None, limit: int | None = None, split_seed: int = 0
) -> Split:
    """The images of one split of a data set, or its first `limit`, on the CPU.

    `image_size` is one of the data set's sides (default: its default size). `split_seed` draws validation and test
    pictures from train where the set has none of its own (see `Source.split`). A limited split is the beginning of the
    whole one, and costs no more than it holds. Downloads what is not on this machine yet.
    Raises ValueError, in one sentence, for a name, split, size or limit that does not exist, for pictures that are
    neither here nor can be downloaded, and for damaged ones. Of a folder or zip file a few damaged ones are left out
    (see `decode.MOST_DAMAGED`), which a warning names; which picture stands in which split does not change with that.
    """
    check_name(name)
    if split not in SPLITS:
        raise ValueError(f"Data set split is {split!r}; expected one of: {', '.join(SPLITS)}.")
    if limit is not None and not is_whole(limit, 1):
        raise ValueError(f"Limit is {limit!r}; expected a whole number of images from 1 up, or None for all.")
    spec = DATASETS.get(name)
    size = (spec.default_size if spec else DEFAULT_SIZE) if image_size is None else image_size
    _check_size(name, size, spec.image_sizes if spec else IMAGE_SIZES)
    if name in DRAWN:
        count = spec.split_sizes[split] if limit is None else min(limit, spec.split_sizes[split])
        return DRAWN[name](split, size, count)
    source = _open(name)
    listing = source.split(split, split_seed)
    if not name.startswith(("folder:", "upload:")):
        images = decoded(listing, size, limit)
        return Split(images, torch.from_numpy(listing.labels[: len(images)]))
    images, damaged = decoded_but_damaged(
        listing, size, limit, total=lambda: sum(len(part()) for part in source.parts.values())
    )
    if damaged:
        told = say_left_out([printable(listing.names[row]) for row in damaged])
        warnings.warn(f"{name}, {split}: {told}", Note, stacklevel=2)
    else:
        told = ""
    return Split(images, torch.from_numpy(np.delete(listing.labels, damaged)[: len(images)]), told)


def needs_download(name: str) -> bool:
    """Whether a data set of the table has to be downloaded before its pictures can be read."""
    return name in DATASETS and name not in DRAWN and not is_here(name)


def drawn_from(name: str) -> str | None:
    """What changes when a data set's splits are drawn from other pictures, see `Source.drawn_from`.

    None where nothing is drawn. Raises ValueError as `load_split` does.
    """
    check_name(name)
    return None if name in DRAWN else _open(name).drawn_from()


def has_test(name: str) -> bool:
    """Whether a data set has test pictures of its own, as all named sets have; ValueError as `load_split` does."""
    check_name(name)
    return name in DATASETS or any(part in _open(name).parts for part in ("test", "validation"))


def check_name(name: str) -> None:
    """ValueError, with the choices, for a text that names no data set. Whether its pictures are here is not asked."""
    if not isinstance(name, str) or not (name in DATASETS or name.startswith(PREFIXES)):
        choices = (*DATASETS, "folder:PATH", "upload:NAME", "hub:OWNER/NAME")
        raise ValueError(f"Unknown data set {shown(name, 200)}; expected one of: {', '.join(choices)}.")
    if name.startswith("hub:"):
        check_hub_id(name[4:])


def find_dataset(name: str, split_seed: int = 0) -> DatasetSpec:
    """The data set of that name. One that is not in the table is looked into, and downloaded where need be.

    Raises ValueError as `load_split` does.
    """
    check_name(name)
    if name in DATASETS:
        return DATASETS[name]
    if not is_whole(split_seed, 0, LARGEST_SEED):
        raise ValueError(f"split_seed is {split_seed!r}; expected a whole number from 0 to {LARGEST_SEED}.")
    source = _open(name)
    listings = {split: source.split(split, split_seed) for split in SPLITS}
    sizes = {split: len(listing) for split, listing in listings.items()}
    return DatasetSpec(
        name=name,
        tasks=("classification", "generation") if len(source.class_names) > 1 else ("generation",),
        class_names=source.class_names,
        default_size=DEFAULT_SIZE,
        split_sizes=sizes,
        description=f"Pictures of {source.title}.",
        attribution=credit(name)[0],
        notes=(*source.notes, *_uneven(listings["train"].labels, source.class_names)),
    )


def usual_size(spec: DatasetSpec, own: int) -> int:
    """The side at which a network made for pictures of `own` pixels is trained on those of `spec`.

    Its own, unless these are photographs of the table, which have a size of theirs, or do not come in its own.
    """
    has_one = spec.name in DATASETS and spec.name not in DRAWN
    return spec.default_size if has_one or own not in spec.image_sizes else own


def credit(name: str) -> tuple[str, str]:
    """Whom the pictures of a data set are owed to, and their license as model cards write it; nothing is looked up."""
    if name in DATASETS:
        return DATASETS[name].attribution, DATASETS[name].license
    kind, _, rest = name.partition(":")
    if kind == "hub":
        return f"huggingface.co/datasets/{rest.partition('#')[0]}", "other"
    return f"own pictures ({rest.rpartition('-')[0] if kind == 'upload' else Path(rest).name})", "other"


def _uneven(labels: np.ndarray, names: Sequence[str]) -> list[str]:
    """A sentence where the largest class has over `UNEVEN` times the training pictures of the smallest."""
    counts = np.bincount(labels, minlength=len(names))
    small, large = int(counts.argmin()), int(counts.argmax())
    if counts[large] <= UNEVEN * counts[small]:
        return []
    return [
        f"Classes differ: {names[large]!r} has {counts[large]:,} training pictures, {names[small]!r} "
        f"{counts[small]:,}; `balanced` draws them evenly, `class_weights` weighs them evenly."
    ]


def _check_size(name: str, size: int, sizes: Sequence[int]) -> None:
    if not is_whole(size) or size not in sizes:
        sides = f"{sizes[0]} to {sizes[-1]}" if isinstance(sizes, range) else ", ".join(map(str, sizes))
        raise ValueError(f"{name} has no images of size {size!r}; expected one of: {sides}.")


def _open(name: str) -> Source:
    kind, _, rest = name.partition(":")
    if kind == "hub":
        return open_hub(rest)
    if kind == "folder":
        if not rest.strip():
            raise ValueError(f"Data set is {name!r}, which names no folder; expected folder:PATH.")
        path = Path(rest).expanduser()
        return open_folder(_unpacked(path) if path.is_file() else path, rest)
    if kind == "upload":
        return open_folder(upload_folder(rest), rest)
    return open_torchvision(name, DATASETS[name].class_names)


def _unpacked(file: Path) -> Path:
    """The folder of a zip file's pictures; a warning names those that could not be read."""
    upload = unpack_zip(file)
    if broken := left_out(upload):
        warnings.warn(f"{file.name}: {say_left_out(broken)}", Note, stacklevel=2)
    return upload_folder(upload)

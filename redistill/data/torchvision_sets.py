"""CIFAR, STL-10, CelebA and Imagenette through torchvision, which downloads them and compares their checksums."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torchvision
from PIL import Image

from ..common.cache import data_dir
from ..common.files import lock_beside, locked
from .source import Listing, Source, open_picture

# What Python's pickles and torchvision's readers raise for a damaged file whose checksum is right.
_DAMAGED = (pickle.UnpicklingError, EOFError, LookupError, ValueError, TypeError, AttributeError, ImportError)


@dataclass(frozen=True)
class _Set:
    """How torchvision calls a set and its splits, and what it downloads."""

    build: type[torchvision.datasets.VisionDataset]  # takes root, download and the settings of a split
    settings: dict[str, dict]  # by split
    folder: str  # its own, in the data folder
    files: str  # what has to lie in the data folder
    listing: Callable[[torchvision.datasets.VisionDataset], Listing]


def open_torchvision(name: str, class_names: tuple[str, ...]) -> Source:
    """The data set of that name in the table below; nothing is read or downloaded before a split is listed.

    Listing raises ValueError when the files are neither in the data folder nor can be downloaded, or are damaged.
    """
    parts = {split: (lambda split=split: _list(name, split)) for split in _SETS[name].settings}
    return Source(name, class_names, parts)


def is_here(name: str) -> bool:
    """Whether the data folder holds files of that data set; their checksums are compared when it is listed."""
    folder = data_dir() / _SETS[name].folder
    return folder.is_dir() and any(folder.iterdir())  # a download that failed at once leaves it empty


def _list(name: str, split: str) -> Listing:
    found, root = _SETS[name], data_dir()
    settings = found.settings[split]
    try:
        try:
            data = found.build(root, download=False, **settings)
        except RuntimeError:  # missing, or not what the checksums say
            with locked(lock_beside(root / name)):
                data = _download(found, root, settings)
    except _DAMAGED as error:
        raise ValueError(
            f"The files of {name} in {root} cannot be read ({error}); delete them to start anew."
        ) from error
    except (OSError, RuntimeError) as error:
        reason = str(getattr(error, "reason", error)).rstrip(".")
        raise ValueError(
            f"{name} is not in {root}, or is damaged there, and cannot be downloaded ({reason}); connect to the "
            f"network, or put {found.files} there, as torchvision unpacks it (REDISTILL_DATA names another folder)."
        ) from error
    return found.listing(data)


def _download(found: _Set, root: Path, settings: dict) -> torchvision.datasets.VisionDataset:
    from gdown.exceptions import DownloadError  # a fifth of a second, which sets that are here can do without

    try:
        return found.build(root, download=True, **settings)
    except DownloadError as error:  # of Google Drive, where CelebA lies; several lines of advice
        raise RuntimeError(" ".join(str(error).split())) from error


def _cifar10(data: torchvision.datasets.CIFAR10) -> Listing:
    """As a folder with a subfolder for each class is listed, its pictures numbered as they come in torchvision's files.

    So both have the same validation pictures: what ships was trained on such a folder.
    """
    labels = np.asarray(data.targets, np.int64)
    order = np.argsort(labels, kind="stable")
    labels = labels[order]
    seen = np.arange(len(labels)) - np.searchsorted(labels, labels)  # in its class before it
    part = "train" if data.train else "test"
    names = [f"{part}/{data.classes[label]}/{number:04}.jpg" for label, number in zip(labels, seen, strict=True)]
    return _arrays(data.data[order], labels, names)


def _cifar100(data: torchvision.datasets.CIFAR100) -> Listing:
    return _arrays(data.data, data.targets)


def _stl(data: torchvision.datasets.STL10) -> Listing:
    return _arrays(data.data.transpose(0, 2, 3, 1), data.labels)


def _arrays(images: np.ndarray, labels, names: Sequence[str] = ()) -> Listing:
    """Pictures that lie in memory, uint8 (N, height, width, 3), known by their content; called by their numbers where
    they have no names."""
    names = names or [f"number {row}" for row in range(len(images))]
    stamps = [zlib.crc32(image.tobytes()) for image in images]
    return Listing(names, np.asarray(labels, np.int64), stamps, lambda row: Image.fromarray(images[row]))


def _celeba(data: torchvision.datasets.CelebA) -> Listing:
    folder = data_dir() / data.base_folder / "img_align_celeba"
    labels = np.zeros(len(data.filename), np.int64)  # faces, for diffusion: its attributes are no classes
    return Listing(
        data.filename, labels, [str(folder)] * len(labels), lambda row: open_picture(folder / data.filename[row])
    )


def _imagenette(data: torchvision.datasets.Imagenette) -> Listing:
    """As a folder with a subfolder for each class's name is listed, so that both have the same validation pictures."""
    classes = [names[0] for names in data.classes]
    paths: dict[str, Path] = {}
    for path, label in data._samples:  # torchvision tells where its pictures lie nowhere else
        path = Path(path)
        paths[f"{path.parents[1].name}/{classes[label]}/{path.stem}.jpg"] = path
    names, order = sorted(paths), sorted(classes)
    labels = np.array([order.index(name.split("/")[1]) for name in names], np.int64)
    return Listing(names, labels, [str(data.root)] * len(names), lambda row: open_picture(paths[names[row]]))


_TRAIN_TEST = {"train": {"train": True}, "test": {"train": False}}
_SETS: dict[str, _Set] = {
    "cifar10": _Set(
        torchvision.datasets.CIFAR10, _TRAIN_TEST, "cifar-10-batches-py", "the folder cifar-10-batches-py", _cifar10
    ),
    "cifar100": _Set(
        torchvision.datasets.CIFAR100, _TRAIN_TEST, "cifar-100-python", "the folder cifar-100-python", _cifar100
    ),
    "stl10": _Set(
        torchvision.datasets.STL10,
        {"train": {"split": "train"}, "test": {"split": "test"}},
        "stl10_binary",
        "the folder stl10_binary",
        _stl,
    ),
    "celeba": _Set(
        torchvision.datasets.CelebA,
        {"train": {"split": "train"}, "validation": {"split": "valid"}, "test": {"split": "test"}},
        "celeba",
        "the folder celeba with img_align_celeba and the five lists",
        _celeba,
    ),
    "imagenette": _Set(
        torchvision.datasets.Imagenette,
        {"train": {"split": "train", "size": "160px"}, "test": {"split": "val", "size": "160px"}},
        "imagenette2-160",
        "the folder imagenette2-160 with train and val",
        _imagenette,
    ),
}

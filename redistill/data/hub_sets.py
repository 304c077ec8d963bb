"""Image data sets of the Hugging Face Hub by their id: `owner/name`, `owner/name#configuration`, `...@revision`.

The repository is downloaded as it is (a second use finds it in the Hub's cache, without a network too), and read by
`datasets`: Parquet, folders of pictures, WebDataset. No code of a repository is run, and no file outside of it is read,
whatever its card names.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..common.cache import cache_dir
from ..common.hub import REVISION, SET, fetch
from ..common.sentences import first_line
from .source import Listing, Source, open_image, open_picture, split_name

if TYPE_CHECKING:
    import datasets

FOLDER = "hub"  # in the cache folder: tables as `datasets` reads them
MAX_DOWNLOAD = 30 * 2**30  # bytes; what is larger must be in the Hub's cache before
_ID = re.compile(rf"{SET}(#(?P<config>(?=[.-]*\w)[\w.-]{{1,99}}))?{REVISION}", re.ASCII)
_LABELS = ("label", "labels", "fine_label", "class", "target")  # columns of classes, the first that there is


def check_hub_id(text: str) -> re.Match[str]:
    """The parts of a data set's id; ValueError for what is none. Nothing is looked up."""
    found = _ID.fullmatch(text)
    if not found:
        raise ValueError(
            f"Hub data set is {text[:80]!r}; expected owner/name, with #configuration and @revision where wanted."
        )
    return found


def open_hub(text: str) -> Source:
    """A data set of the Hub, downloaded where it is not yet. Raises ValueError, in one sentence, for an id that is
    none or leads nowhere, for too large a download, without a network, and for data without pictures."""
    parts = check_hub_id(text)
    folder = fetch(
        parts["repo"],
        title=f"Hub data set {parts['repo']}",
        most_bytes=MAX_DOWNLOAD,
        repo_type="dataset",
        revision=parts["revision"],
    )
    splits = _read(folder, parts["config"], text)
    features = next(iter(splits.values())).features
    image = _column(features, "Image", ("image", "img"))
    if image is None:
        raise ValueError(f"Hub data set {text} has no column of pictures; its columns are {list(features)}.")
    label = _column(features, "ClassLabel", _LABELS)
    names = tuple(features[label].names) if label else ("picture",)
    source = f"huggingface.co/datasets/{parts['repo']} at revision {folder.name[:10]}"
    found, called = {}, {}
    for name, rows in splits.items():
        split = split_name(name) or ("train" if len(splits) == 1 else None)
        labels = _labels(rows, label)
        if split and labels is not None:
            if split in found:
                raise ValueError(
                    f"Hub data set {text}: {called[split]} and {name} are both {split} pictures; expected one such "
                    "split, take a revision or a copy that has one."
                )
            stamp = f"{source}#{parts['config']} {name}"
            found[split] = lambda rows=rows, labels=labels, stamp=stamp: _listing(rows, labels, image, stamp, folder)
            called[split] = name
    if "train" not in found:
        raise ValueError(f"Hub data set {text} has no labelled training split; its splits are {list(splits)}.")
    return Source(text, names, found)


def _read(folder: Path, config: str | None, text: str) -> dict[str, datasets.Dataset]:
    import datasets

    try:
        _check_card(folder)
        if config is None and len(configs := datasets.get_dataset_config_names(str(folder))) > 1:
            raise ValueError(f"it has several configurations, write {text}#NAME with one of {configs}")
        builder = datasets.load_dataset_builder(str(folder), config, cache_dir=str(cache_dir() / FOLDER))
        for file in (file for files in (builder.config.data_files or {}).values() for file in files):
            _own_file(file, folder)
        builder.download_and_prepare()
        return dict(builder.as_dataset())
    except Exception as error:  # datasets raises its readers' own errors: pyarrow's, pandas', OSError, ...
        reason = first_line(error.__cause__ or error)
        raise ValueError(f"Hub data set {text} cannot be read ({reason}).") from error


def _check_card(folder: Path) -> None:
    """ValueError where the card of a repository names data outside of it: `datasets` would look there, on this machine
    or in the network, before anything of its answer could be checked."""
    from huggingface_hub import DatasetCard

    texts = [(folder / "README.md", "{}"), (folder / ".huggingface.yaml", "---\n{}\n---\n")]
    told = [
        DatasetCard(text.format(file.read_text(encoding="utf-8")), ignore_metadata_errors=True).data.to_dict()
        for file, text in texts
        if file.is_file()
    ]
    for config in (config for one in told for config in _list(one.get("configs"))):
        if isinstance(config, dict):
            for path in (*_list(config.get("data_dir")), *_paths(config.get("data_files"))):
                _check_path(path)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _paths(files: Any) -> list[Any]:
    """The paths in a card's `data_files`, in any form that they have: a text, a list, or by split."""
    if isinstance(files, dict):
        return [path for value in files.values() for path in _list(value)]
    return [path for item in _list(files) for path in (_paths(item) if isinstance(item, dict) else [item])]


def _check_path(path: Any) -> None:
    plain = isinstance(path, str) and not path.startswith(("/", "~")) and ".." not in re.split(r"[/\\]", path)
    if not plain or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", path) or "::" in path or "://" in path:
        raise ValueError(f"its card names {str(path)[:80]!r}, which lies outside of it")


def _column(features: Any, kind: str, names: tuple[str, ...]) -> str | None:
    """The column of that kind of feature: the first of `names` among them, or else the first there is."""
    found = [name for name, feature in features.items() if type(feature).__name__ == kind]
    return next((name for name in names if name in found), found[0] if found else None)


def _labels(rows: datasets.Dataset, column: str | None) -> np.ndarray | None:
    """The class of each picture, int64 (N,), 0 where no column tells; None for a split without pictures or with some
    that nobody labelled: test splits of competitions have -1, or nothing, for every one."""
    values = rows[column][:] if column else [0] * len(rows)
    if not values or None in values:
        return None
    labels = np.asarray(values, np.int64)
    return labels if labels.min() >= 0 else None


def _listing(rows: datasets.Dataset, labels: np.ndarray, image: str, stamp: str, folder: Path) -> Listing:
    import datasets

    encoded = rows.cast_column(image, datasets.Image(decode=False))

    def read(row: int) -> Image.Image:
        cell = encoded[row][image]
        if cell["bytes"] is None:
            return open_picture(_own_file(cell["path"], folder))
        return open_image(io.BytesIO(cell["bytes"]))

    return Listing([f"number {row}" for row in range(len(rows))], labels, [stamp] * len(rows), read)


def _own_file(path: str, folder: Path) -> Path:
    """The path of data or of a picture, if it leads to a file of the repository, or to one unpacked from it.

    Whoever made the repository wrote the path, so anywhere else it would open a stranger's file.
    """
    file = Path(path).resolve()  # a file of the Hub's cache is a link into the repository's blobs
    if not any(file.is_relative_to(place.resolve()) for place in (folder.parent.parent, cache_dir() / FOLDER)):
        raise ValueError(f"{Path(path).name[:80]!r} lies outside of the data set's repository")
    return file

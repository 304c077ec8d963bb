"""The user's cache folder, and arrays kept in it: made once, written whole or not at all, made again when damaged."""

from __future__ import annotations

import hashlib
import os
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .files import replaced_file
from .sentences import Note


def cache_dir() -> Path:
    """$REDISTILL_CACHE, or `redistill` in $XDG_CACHE_HOME, or ~/.cache/redistill; it need not exist yet.

    ValueError for a user without a home folder, where neither is set.
    """
    if chosen := os.environ.get("REDISTILL_CACHE"):
        return Path(chosen).expanduser()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base).expanduser() / "redistill"
    try:
        return Path.home() / ".cache" / "redistill"
    except RuntimeError as error:
        raise ValueError(
            "This user has no home folder; set REDISTILL_CACHE to a folder that can be written."
        ) from error


def data_dir() -> Path:
    """$REDISTILL_DATA, or `data` in the cache folder: where data sets that are downloaded lie. It need not exist."""
    chosen = os.environ.get("REDISTILL_DATA")
    return Path(chosen).expanduser() if chosen else cache_dir() / "data"


def fingerprint(*settings: object) -> str:
    """Ten characters that change with the settings (by their repr): a part of the name of what they made."""
    return hashlib.sha256(repr(settings).encode()).hexdigest()[:10]


def cached_array(file: Path, shape: tuple[int, ...], make: Callable[[], np.ndarray]) -> np.ndarray:
    """The uint8 array of that shape in `file` (.npz); made, and stored there, when it is absent or damaged.

    Several processes may ask for the same file at once: each reads a whole file or makes the array itself. A folder
    that cannot be written costs a warning and the time to make the array again, nothing else.
    """
    stored = _read(file, shape)
    if stored is not None:
        return stored
    array = make()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replaced_file(file) as part:
            np.savez(part, array=array)
    except OSError as error:
        warnings.warn(
            f"What was made cannot be kept in {file.parent} ({error.strerror or error}) and is made anew each time; "
            "set REDISTILL_CACHE to a folder that can be written.",
            Note,
            stacklevel=2,
        )
    return array


def _read(file: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        with np.load(file, allow_pickle=False) as archive:
            array = archive["array"]  # the archive's checksum is verified here
        if array.shape == shape and array.dtype == np.uint8:
            return array
        problem = f"holds {array.dtype} {array.shape} instead of uint8 {shape}"
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        problem = f"cannot be read ({error.strerror})"
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        problem = f"is damaged ({error})"
    warnings.warn(f"Cached file {file} {problem}; drawing it again.", Note, stacklevel=3)
    return None

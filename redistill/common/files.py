"""Files and folders that are read whole or not at all, and locks that end with the process that holds them."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

_PART = ".part"  # in the names of what is being written


@contextlib.contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """A path beside `path`, with its suffix, to write to; at the end of the block it takes the place of `path`.

    Readers see the old file or the new one. After an error in the block, which is raised, the old one stays.
    """
    part = _beside(path)
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """A new, empty folder beside `path` to write into; at the end of the block it takes the place of `path`.

    What stood there is removed only when the new folder has its name, and gets its own back where it cannot have it.
    After an error in the block, which is raised, it stays. Parents of `path` are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part, before = _beside(path), _beside(path)
    part.mkdir()
    try:
        yield part
        with contextlib.suppress(FileNotFoundError):
            path.rename(before)
        try:
            part.rename(path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                before.rename(path)
            raise
        shutil.rmtree(before, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def remove_parts(path: Path) -> None:
    """Remove what writers of `path` left that were killed. Only for who knows that nobody writes it now."""
    for part in path.parent.glob(f".{glob.escape(path.name)}{_PART}*"):
        if part.is_dir():
            shutil.rmtree(part, ignore_errors=True)
        else:
            part.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}{_PART}-{secrets.token_hex(4)}{path.suffix}")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, allow_nan=True) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write `text`, whole or not at all."""
    with replaced_file(path) as part:
        part.write_text(text, encoding="utf-8")


def read_json(path: Path, expected: str = "a JSON file written by redistill") -> dict[str, Any]:
    """The JSON object in a file; ValueError, naming the file and what was `expected`, for a missing or broken one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"No file {path}; expected {expected}.") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not readable JSON ({error}); restore it or start a new folder.") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds a {type(value).__name__}; expected a JSON object.")
    return value


def lock_beside(path: Path) -> Path:
    """The lock file of a file or folder that several processes may want to make."""
    return path.with_name(f".{path.name}.lock")


@contextlib.contextmanager
def locked(path: Path, timeout: float = -1) -> Iterator[None]:
    """Hold the lock file `path`, which is made and stays: others on this machine wait until it is let go.

    The system lets go for a process that ends, however it ends. Raises TimeoutError after `timeout` seconds (-1: never)
    and OSError where the folder cannot be written or its file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path, timeout, thread_local=False, fallback_to_soft=False):
            yield
    except Timeout as error:
        raise TimeoutError(f"{path} is held by another process.") from error


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock file; False where there is none."""
    try:
        with open(path) as file:
            return is_held(file)
    except OSError:
        return False


def is_held(file: IO[str]) -> bool:
    """Whether a process holds the lock of an open file.

    Asked by a shared lock, which `filelock` lacks: two who ask at once must not take each other for the holder.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False

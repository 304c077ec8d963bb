"""Files and folders that are read whole or not at all, and locks that end with the process that holds them."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from .disk import disk_errors, exchange, sync

MOST_JSON, MOST_NESTED, MOST_DIGITS = 32 * 2**20, 32, 30  # bytes of a file, levels in it, digits of a number
_PART = ".part"  # in the names of what is being written
_BEFORE = ".before"  # in those of what stood there, while it makes room
_LEFT = (".*.part-*", ".*.before-*", ".*.writing-*", ".*.tmp")  # what killed writers leave, those of before too


@contextlib.contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """A path beside `path`, with its suffix, to write to; at the end of the block it takes the place of `path`.

    Readers see the old file or the new one, also after a loss of power. After an error in the block, which is raised,
    the old one stays; a full disk is an OSError, whatever the writer in the block makes of it.
    """
    part = _beside(path)
    try:
        with _told_as(path, part):
            with disk_errors():
                yield part
            sync(part)
            os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


@contextlib.contextmanager
def _told_as(path: Path, part: Path) -> Iterator[None]:
    """Errors about `part`, a name that nobody has given, tell of `path`."""
    try:
        yield
    except OSError as error:
        if isinstance(error.filename, (str, bytes, Path)):
            error.filename = os.fsdecode(error.filename).replace(str(part), str(path), 1)
        raise


def copy_folder(folder: Path, target: Path) -> None:
    """Copy a folder to where none is, but for hidden files and what Python compiled: those are of this machine."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns(".*", "__pycache__"))


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, as `sha256sum` prints it."""
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


@contextlib.contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """A new, empty folder beside `path` to write into; at the end of the block it takes the place of `path`.

    What stood there is removed only when the new folder has its name, which Linux gives in one step; elsewhere it has
    another one for a moment, from which `remove_parts` brings it back. After an error in the block, which is raised, it
    stays; a full disk is an OSError, whatever the writer in the block makes of it. Parents of `path` are made.
    """
    path = Path(os.path.realpath(path))  # a link stays one
    path.parent.mkdir(parents=True, exist_ok=True)
    part, before = _beside(path), _beside(path, _BEFORE)
    with _told_as(path, part):
        part.mkdir()
    try:
        with _told_as(path, part), disk_errors():
            yield part
        sync(part)
        if not (path.is_dir() and exchange(part, path)):
            _rename_both(part, path, before)
    finally:
        shutil.rmtree(part, ignore_errors=True)  # what stood there, where the two have each other's name


def _rename_both(part: Path, path: Path, before: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.rename(before)
    try:
        part.rename(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            before.rename(path)
        raise
    shutil.rmtree(before, ignore_errors=True)


def remove_parts(path: Path) -> None:
    """Remove what writers of `path` left that were killed, and bring back the folder that one of them had moved away.

    Only for who knows that nobody writes it now.
    """
    name = glob.escape(path.name)
    _clean(path.parent, (f".{name}{_PART}-*", f".{name}{_BEFORE}-*"))


def remove_folder(path: Path) -> None:
    """Remove a folder: at once out of every list, however long the rest takes. OSError where that cannot be.

    What a kill leaves of it goes as what writers leave, see `remove_parts` and `remove_leftovers`.
    """
    gone = _beside(path)
    path.rename(gone)
    shutil.rmtree(gone)


def remove_leftovers(folder: Path, spare: str = "") -> None:
    """The same for all files and folders that lie in `folder`, but the one of the name `spare`."""
    _clean(folder, _LEFT, f".{spare}." if spare else None)


def _clean(folder: Path, patterns: tuple[str, ...], spare: str | None = None) -> None:
    for left in (left for pattern in patterns for left in folder.glob(pattern)):
        name, moved, _ = left.name[1:].rpartition(f"{_BEFORE}-")
        if spare and left.name.startswith(spare):
            continue
        if moved and not (folder / name).exists():
            left.rename(folder / name)
        elif left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _beside(path: Path, kind: str = _PART) -> Path:
    return path.with_name(f".{path.name}{kind}-{secrets.token_hex(4)}{path.suffix}")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, allow_nan=True) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write `text`, whole or not at all."""
    with replaced_file(path) as part:
        part.write_text(text, encoding="utf-8")


def read_json(path: Path, expected: str = "a JSON file written by redistill") -> dict[str, Any]:
    """The JSON object in a file; ValueError, naming the file and what was `expected`, for a missing or broken one.

    Broken is also what nobody means: more than MOST_JSON bytes, MOST_NESTED levels, or MOST_DIGITS of a whole number.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, a device read without end
            raise ValueError("it is no file")
        if status.st_size > MOST_JSON:
            raise ValueError(f"{status.st_size:,} bytes, expected at most {MOST_JSON:,}")
        value = json.loads(path.read_text(encoding="utf-8-sig"), parse_int=_whole)  # as Windows' editors save it
        if _nested(value) > MOST_NESTED:
            raise ValueError(f"nested more than {MOST_NESTED} deep")
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"No file {path}; expected {expected}.") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not readable JSON ({error}); restore it or start a new folder.") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds a {type(value).__name__}; expected a JSON object.")
    return value


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a whole number of {len(digits)} digits")
    return int(digits)


def _nested(value: Any) -> int:
    """How deep lists and objects lie in each other, at most one more than MOST_NESTED."""
    depth, level = 0, [value]
    while level and depth <= MOST_NESTED:
        inner = [one for one in level if isinstance(one, (dict, list))]
        level = [part for one in inner for part in (one.values() if isinstance(one, dict) else one)]
        depth += bool(inner)
    return depth


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

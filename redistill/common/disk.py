"""What the disk does: what it refuses told as one kind of error, what must lie on it, two names exchanged at once."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

# What a disk answers that is full, broken or not to be written to.
_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.ESTALE}
_SYNCED_ALONE = 64  # files of a folder that are synced one by one; for more, all that waits for the disk is
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # of Linux: fcntl.h, fs.h


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Inside the block, writers that tell of a full disk by errors of their own raise OSError, with its number.

    `torch.save` raises a RuntimeError about positions in the file, safetensors an error whose text ends in the number.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        before = error.__cause__ or error.__context__
        if isinstance(before, OSError):
            raise before from None
        if number := re.search(r"os error (\d+)", str(error)):
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
        raise


def is_refusal(error: BaseException) -> bool:
    """Whether it is the disk that does not take what is written, not a file that is missing, say."""
    return isinstance(error, OSError) and error.errno in _REFUSALS


def told(error: OSError, words: str) -> OSError:
    """An error of the same number that says these words alone, in which {reason} is what the system called it."""
    found = OSError(words.format(reason=error.strerror or error))
    found.errno = error.errno
    return found


@contextlib.contextmanager
def writing(file: Path) -> Iterator[None]:
    """Inside the block, a disk that does not take what is written to a file or folder is an OSError of one sentence."""
    try:
        yield
    except OSError as error:
        if not is_refusal(error):
            raise
        raise told(error, f"{file} cannot be written ({{reason}}); free some room, or choose another place.") from error


def sentence(error: BaseException) -> str:
    """The first line of what an error says; of the system's own, the file's name without its place, and the reason."""
    if isinstance(error, OSError) and error.strerror:
        name = Path(os.fsdecode(error.filename)).name if isinstance(error.filename, (str, bytes, Path)) else ""
        return f"{name or 'The disk'} cannot be read or written ({error.strerror})."
    return (str(error).splitlines() or [repr(error)])[0]


def sync(path: Path) -> None:
    """Return when the file, or a folder with all in it, lies on the disk, so that a loss of power leaves it whole.

    A file system that cannot tell (some network ones) is taken at its word.
    """
    files = [file for file in path.rglob("*")] if path.is_dir() else []
    if len(files) > _SYNCED_ALONE:
        os.sync()
        return
    for file in (*files, path):
        _sync_one(file)


def _sync_one(path: Path) -> None:
    try:
        file = os.open(path, os.O_RDONLY)
    except PermissionError:  # written by its owner, who gave it modes that even he cannot read with
        return
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(file)


def exchange(first: Path, second: Path) -> bool:
    """Let two files or folders have each other's name, in one step; False where the system or its disk cannot."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # not Linux, or an old one
        return False
    return rename(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE) == 0


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder; what vanishes meanwhile counts for nothing."""
    return sum(file_bytes(path) for path in folder.rglob("*"))


def file_bytes(path: Path) -> int:
    """Bytes of a file, none where it is not there."""
    try:
        return path.lstat().st_size
    except OSError:
        return 0

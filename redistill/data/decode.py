"""From picture files of any kind to square uint8 images of one side, kept in the cache as one mapped file a split."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ..common.cache import cache_dir
from ..common.files import lock_beside, locked, read_json, remove_parts, replaced_file, write_json
from .pixels import prepare, to_square
from .source import Listing, printable

FOLDER = "decoded"  # in the cache folder
DAMAGED = ".damaged.json"  # the suffix of what stands beside decoded pictures: which of them are left out
CHUNK = 256  # pictures decoded between two writes
MOST_BYTES = 2**29  # that pictures take while they are decoded, all of them together, but one that takes more alone
ALONE = 2**26  # bytes from which on a picture is decoded with no other large one beside it
LOOK_SIZE = 8  # pixels a side to which a picture is read only to see whether it can be
VERSION = 3  # of what `to_square` makes of a picture: change it when that changes
MOST_DAMAGED = 0.05  # of a split's pictures that may be left out since they are damaged
RESERVE = 2**30  # bytes that are left free on the disk


class DamagedPicture(ValueError):
    """A picture whose file is there and cannot be decoded, now or later."""


def decoded(listing: Listing, image_size: int, limit: int | None = None) -> Tensor:
    """The pictures of a listing, or its first `limit`, as uint8 (N, 3, image_size, image_size).

    The tensor is a private map of a file in the cache folder, so it needs no memory but what is being read; the file
    is made on first use and made again when the pictures change. Raises ValueError, naming the picture, for one that
    cannot be read, and, with the bytes needed, when the disk has no room for the file.
    """
    return _decoded(listing, image_size, limit, 0)[0]


def decoded_but_damaged(
    listing: Listing, image_size: int, limit: int | None, total: Callable[[], int]
) -> tuple[Tensor, list[int]]:
    """As `decoded` without the pictures that are damaged, and the numbers of these in the listing, in order.

    Raises ValueError where they are more than `MOST_DAMAGED` of the listing, or all that were asked for. One may be in
    a listing of any length, where it is no more than that of the `total` of pictures in all splits, which short ones
    alone ask for.
    """
    most = int(MOST_DAMAGED * len(listing)) or int(MOST_DAMAGED * total() >= 1)
    return _decoded(listing, image_size, limit, most)


def _decoded(listing: Listing, image_size: int, limit: int | None, most: int) -> tuple[Tensor, list[int]]:
    """The pictures and the numbers of up to `most` that are left out."""
    whole = _file(listing, image_size)
    count = len(listing) if limit is None else min(limit, len(listing))
    if count < len(listing) and not whole.exists():
        listing = listing.take(np.arange(count))
    file = _file(listing, image_size)
    shape = (len(listing), 3, image_size, image_size)
    kept = _kept(file, shape)
    if kept is None:
        try:
            with locked(lock_beside(file)):
                kept = _kept(file, shape)  # another process may have made it meanwhile
                if kept is None:
                    _make(listing, file, shape, most)
                    kept = _mapped(file, shape), _damaged(file)
        except OSError as error:
            raise ValueError(
                f"Decoded pictures cannot be kept in {file.parent} ({error.strerror or error}); set REDISTILL_CACHE to "
                f"a folder that can be written and has {_size(shape)} of room."
            ) from error
    array, damaged = kept[0], [row for row in kept[1] if row < count]
    if damaged and (len(damaged) > most or len(damaged) == count):
        read_square(listing, damaged[0], image_size)  # raises what is wrong with it
    return torch.from_numpy(array)[: count - len(damaged)], damaged


def _make(listing: Listing, file: Path, shape: Sequence[int], most: int) -> None:
    """Decode in chunks into `file`, whose lock is held: readers meet all of it or nothing.

    Pictures stand in their order, without up to `most` damaged ones, whose numbers are kept beside it.
    """
    remove_parts(file)
    needed, free = int(np.prod(shape)), shutil.disk_usage(file.parent).free
    if needed + RESERVE > free:
        raise ValueError(
            f"{len(listing):,} pictures of {shape[-1]} px need {_size(shape)} in {file.parent}, which has "
            f"{free / 2**30:.1f} GiB free, of which {RESERVE / 2**30:.1f} GiB are kept; choose a smaller image size or "
            "fewer training images, or set REDISTILL_CACHE to a larger disk."
        )
    damaged: list[int] = []
    with replaced_file(file) as part:
        array = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=tuple(shape))
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for start in range(0, len(listing), CHUNK):
                rows = range(start, min(start + CHUNK, len(listing)))
                squares = pool.map(lambda row: _square_or_error(listing, row, shape[-1]), rows)
                for row, picture in zip(rows, squares, strict=True):
                    if not isinstance(picture, DamagedPicture):
                        array[row - len(damaged)] = picture
                        continue
                    damaged.append(row)
                    if len(damaged) > most:
                        raise _too_many(picture, len(damaged), row + 1, most)
                array.flush()
        del array
        beside = _beside(file)
        beside.unlink(missing_ok=True)
        if damaged:
            write_json(beside, {"damaged": damaged})


def _square_or_error(listing: Listing, row: int, image_size: int) -> np.ndarray | DamagedPicture:
    try:
        return read_square(listing, row, image_size)
    except DamagedPicture as error:
        return error


def _too_many(error: DamagedPicture, count: int, read: int, most: int) -> ValueError:
    if not most:
        return error
    return ValueError(f"{count:,} of {read:,} pictures are damaged; expected at most {most:,} of the split. {error}")


def unreadable(listing: Listing, deadline: float) -> list[str]:
    """Names of the pictures of a listing that `decoded` would refuse; those reached after `deadline`, a time of
    `time.monotonic`, are not looked at."""

    def is_broken(row: int) -> bool:
        if time.monotonic() > deadline:
            return False
        try:
            read_square(listing, row, LOOK_SIZE)
        except ValueError:
            return True
        return False

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        broken = pool.map(is_broken, range(len(listing)))
        return [listing.names[row] for row, is_one in enumerate(broken) if is_one]


class _Room:
    """Bytes that threads may take together: who asks for more than is left waits, unless nobody else has any."""

    def __init__(self, most: int) -> None:
        self.most, self.taken = most, 0
        self._changed = threading.Condition()

    @contextlib.contextmanager
    def take(self, count: int) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self.taken or self.taken + count <= self.most)
            self.taken += count
        try:
            yield
        finally:
            with self._changed:
                self.taken -= count
                self._changed.notify_all()


_ROOM = _Room(MOST_BYTES)


@functools.cache
def _large_pictures() -> ThreadPoolExecutor:
    """One thread for all large pictures: what each thread has freed stays its own, so eight of them would hold on to
    eight times what one needs."""
    return ThreadPoolExecutor(1, thread_name_prefix="large-pictures")


def read_square(listing: Listing, row: int, image_size: int) -> np.ndarray:
    """A picture of a listing as a square; ValueError, naming it, where that cannot be: DamagedPicture where that is for
    good, and not for want of memory, of rights, or of the file."""
    kind: type[ValueError] = DamagedPicture
    try:
        with listing.read(row) as image:
            needed = prepare(image, image_size)
            if needed > ALONE:
                return _large_pictures().submit(_square, image, image_size, needed).result()
            return _square(image, image_size, needed)
    except UnidentifiedImageError:
        reason = "it is no picture in a known format"
    except MemoryError:
        kind, reason = ValueError, "it needs more memory than there is"
    except Exception as error:  # a damaged file makes PIL's readers raise anything
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        if not isinstance(error, (OSError, ValueError)):
            reason = f"it is damaged: {type(error).__name__}, {reason}"
        if isinstance(error, OSError) and error.errno is not None:  # of the system; PIL's own have no number
            kind, reason = ValueError, error.strerror or reason
    raise kind(f"Picture {printable(listing.names[row])} cannot be read ({reason}); replace or remove it.")


def _square(image: Image.Image, image_size: int, needed: int) -> np.ndarray:
    with _ROOM.take(needed):
        return to_square(image, image_size)


def _kept(file: Path, shape: tuple[int, ...]) -> tuple[np.ndarray, list[int]] | None:
    """The pictures of a file and the numbers of those that it lacks; None where there is no such file.

    Who makes room removes the pictures first, then the numbers (`fetched`): while the pictures stand, so did
    these.
    """
    array, damaged = _mapped(file, shape), _damaged(file)
    return (array, damaged) if array is not None and file.exists() else None


def _mapped(file: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The array in a file, mapped so that writes stay in memory; None where there is none, or only a damaged one."""
    try:
        array = np.load(file, mmap_mode="c", allow_pickle=False)
    except (OSError, EOFError, ValueError):
        return None
    return array if array.shape == shape and array.dtype == np.uint8 else None


def _damaged(file: Path) -> list[int]:
    """Numbers of the pictures that a file of decoded ones lacks."""
    beside = _beside(file)
    return read_json(beside)["damaged"] if beside.exists() else []


def _beside(file: Path) -> Path:
    return file.with_suffix(DAMAGED)


def _file(listing: Listing, image_size: int) -> Path:
    return cache_dir() / FOLDER / f"{listing.fingerprint()}-{image_size}-{VERSION}.npy"


def _size(shape: Sequence[int]) -> str:
    return f"{np.prod(shape) / 2**30:.1f} GiB"

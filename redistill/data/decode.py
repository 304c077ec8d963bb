"""From picture files of any kind to square uint8 images of one side, kept in the cache as one mapped file a split."""

from __future__ import annotations

import os
import shutil
import struct
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ..common.cache import cache_dir
from ..common.files import lock_beside, locked, remove_parts, replaced_file
from .source import Listing

CHUNK = 256  # pictures decoded between two writes
LOOK = 32  # pictures read between two looks at the clock
LOOK_SIZE = 8  # pixels a side to which a picture is read only to see whether it can be
MAX_PIXELS = 50_000_000  # of a picture: a larger one is more likely an attack than a photograph
RESERVE = 2**30  # bytes that are left free on the disk


def decoded(listing: Listing, image_size: int, limit: int | None = None) -> Tensor:
    """The pictures of a listing, or its first `limit`, as uint8 (N, 3, image_size, image_size).

    The tensor is a private map of a file in the cache folder, so it needs no memory but what is being read; the file
    is made on first use and made again when the pictures change. Raises ValueError, naming the picture, for one that
    cannot be read, and, with the bytes needed, when the disk has no room for the file.
    """
    whole = _file(listing, image_size)
    count = len(listing) if limit is None else min(limit, len(listing))
    if count < len(listing) and not whole.exists():
        listing = listing.take(np.arange(count))
    file = _file(listing, image_size)
    shape = (len(listing), 3, image_size, image_size)
    array = _mapped(file, shape)
    if array is None:
        try:
            with locked(lock_beside(file)):
                array = _mapped(file, shape)  # another process may have made it meanwhile
                if array is None:
                    _make(listing, file, shape)
                    array = _mapped(file, shape)
        except OSError as error:
            raise ValueError(
                f"Decoded pictures cannot be kept in {file.parent} ({error.strerror or error}); set REDISTILL_CACHE to "
                f"a folder that can be written and has {_size(shape)} of room."
            ) from error
    return torch.from_numpy(array)[:count]


def to_square(image: Image.Image, image_size: int) -> np.ndarray:
    """A picture as uint8 (3, image_size, image_size): turned upright, shrunk to the shorter side, cut at the middle.

    Grey pictures repeat their channel, 16-bit ones keep the upper 8 bits, transparency lies on white, an animation
    gives its first frame. Raises ValueError for a picture of too many pixels or of floating-point numbers.
    """
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"it has {image.width}×{image.height} pixels; expected at most {MAX_PIXELS:,}")
    image.draft("RGB", (2 * image_size, 2 * image_size))  # a JPEG decodes several times faster at a fraction
    image = _rgb(ImageOps.exif_transpose(image))
    image = ImageOps.fit(image, (image_size, image_size), Image.Resampling.BICUBIC)
    return np.asarray(image).transpose(2, 0, 1)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("it holds floating-point numbers; expected 8 or 16 bits a channel")
    if image.mode.startswith("I"):  # 16 bits, which PIL may hold in 32
        image = Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _make(listing: Listing, file: Path, shape: Sequence[int]) -> None:
    """Decode in chunks into `file`, whose lock is held: readers meet all of it or nothing."""
    remove_parts(file)
    needed, free = int(np.prod(shape)), shutil.disk_usage(file.parent).free
    if needed + RESERVE > free:
        raise ValueError(
            f"{len(listing):,} pictures of {shape[-1]} px need {_size(shape)} in {file.parent}, which has "
            f"{free / 2**30:.1f} GiB free; choose a smaller image size or fewer training images, or set "
            "REDISTILL_CACHE to a larger disk."
        )
    with replaced_file(file) as part:
        array = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=tuple(shape))
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            for start in range(0, len(listing), CHUNK):
                rows = range(start, min(start + CHUNK, len(listing)))
                for row, picture in zip(rows, pool.map(lambda row: _read(listing, row, shape[-1]), rows), strict=True):
                    array[row] = picture
                array.flush()
        del array


def unreadable(listing: Listing, deadline: float) -> list[str]:
    """Names of the pictures of a listing that `decoded` would refuse; those reached after `deadline`, a time of
    `time.monotonic`, are not looked at."""
    found = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(listing), LOOK):
            if time.monotonic() > deadline:
                break
            rows = range(start, min(start + LOOK, len(listing)))
            read = pool.map(lambda row: _is_readable(listing, row), rows)
            found += [listing.names[row] for row, is_readable in zip(rows, read, strict=True) if not is_readable]
    return found


def _is_readable(listing: Listing, row: int) -> bool:
    try:
        _read(listing, row, LOOK_SIZE)
    except ValueError:
        return False
    return True


def _read(listing: Listing, row: int, image_size: int) -> np.ndarray:
    try:
        with listing.read(row) as image:
            return to_square(image, image_size)
    except UnidentifiedImageError:
        reason = "it is no picture in a known format"
    except Image.DecompressionBombError:
        reason = f"it has too many pixels; expected at most {MAX_PIXELS:,}"
    except (OSError, ValueError, SyntaxError, EOFError, struct.error) as error:  # what PIL's decoders raise
        reason = str(error)
    raise ValueError(f"Picture {listing.names[row]} cannot be read ({reason}); replace or remove it.")


def _mapped(file: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    """The array in a file, mapped so that writes stay in memory; None where there is none, or only a damaged one."""
    try:
        array = np.load(file, mmap_mode="c", allow_pickle=False)
    except (OSError, EOFError, ValueError):
        return None
    return array if array.shape == shape and array.dtype == np.uint8 else None


def _file(listing: Listing, image_size: int) -> Path:
    return cache_dir() / "decoded" / f"{listing.fingerprint()}-{image_size}.npy"


def _size(shape: Sequence[int]) -> str:
    return f"{np.prod(shape) / 2**30:.1f} GiB"

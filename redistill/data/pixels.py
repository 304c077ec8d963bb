"""From one opened picture of any kind to a square of uint8 pixels, or a reason why it cannot be one."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
import torchvision
from PIL import Image, ImageOps

MAX_BYTES = 2**30  # that one picture may take while it is decoded; a JPEG decodes at a fraction of its size
STRIP = 2**20  # pixels of more than 8 bits that are brought to 8 at a time
LARGE = 8_000_000  # pixels from which on a picture is averaged down before anything else is done to it
ENOUGH = 4  # times the side asked for: what is left of a large picture
DEPTHS = range(8, 66, 2)  # bits: 8 to 16 are what cameras, scanners and microscopes give
_BITS, _PHOTOMETRIC, _MAXIMUM, _LARGEST = 258, 262, 281, 341  # TIFF tags: BitsPerSample, ... SMaxSampleValue
_ORIENTATION = 0x0112  # EXIF tag
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


_LIFTING = threading.Lock()
_lifted: list[int | None] = []  # PIL's limit as it was, as often as it is lifted now


@contextlib.contextmanager
def beyond_pillow() -> Iterator[None]:
    """A block in which PIL opens pictures of any number of pixels; threads may be in it together.

    PIL refuses more than 179 million, of JPEGs too that are decoded at a fraction; here `prepare` bounds the bytes.
    """
    with _LIFTING:
        _lifted.append(_lifted[0] if _lifted else Image.MAX_IMAGE_PIXELS)
        Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        with _LIFTING:
            usual = _lifted.pop()
            if not _lifted:
                Image.MAX_IMAGE_PIXELS = usual


def to_square(image: Image.Image, image_size: int) -> np.ndarray:
    """A picture as uint8 (3, image_size, image_size): turned upright, shrunk to the shorter side, cut at the middle.

    Grey pictures repeat their channel, transparency lies on white, an animation gives its first frame. Of more than 8
    bits a channel, the range that the file declares becomes 0 to 255, or else the least of `DEPTHS` that holds the
    largest value; floating-point numbers are taken as 0 to 1 where that holds them, and else so too, up to 65,535.
    Of a large picture no more than one copy in full is held, besides what its reader needs. Raises ValueError for a
    picture that takes more than `MAX_BYTES` and for one whose range cannot be told.
    """
    prepare(image, image_size)
    with beyond_pillow() if image.width * image.height > LARGE else contextlib.nullcontext():
        return _square(image, image_size)


def _square(image: Image.Image, image_size: int) -> np.ndarray:
    opened, image = image, _eight_bits(image)
    turn = _TURNS.get(opened.getexif().get(_ORIENTATION))
    if (factor := _shrinks(image, image_size)) > 1:
        image = (image.convert("RGBA") if image.mode in ("P", "1", "PA") else image).reduce(factor)
    image = _on_white(image if turn is None else image.transpose(turn))
    image = ImageOps.fit(image, (image_size, image_size), Image.Resampling.BICUBIC)
    return np.asarray(image).transpose(2, 0, 1)


def prepare(image: Image.Image, image_size: int) -> int:
    """Let a JPEG decode at a fraction of its size, several times faster; the bytes that decoding the picture may take.

    May be called more than once. Raises ValueError for a picture that takes more than `MAX_BYTES`.
    """
    whole = image.width * image.height
    if not getattr(image, "decoderconfig", ()):  # a second draft would spoil the first
        image.draft("RGB", (2 * image_size, 2 * image_size))  # of a JPEG alone
    coefficients = 6 * whole if "progressive" in image.info else 0  # all of them are kept until the last scan
    needed = _bytes_a_pixel(image, image_size) * image.width * image.height + coefficients
    if needed > MAX_BYTES:
        raise ValueError(
            f"it has {image.width}×{image.height} pixels, which take {needed / 2**20:,.0f} MiB to decode; expected at "
            f"most {MAX_BYTES / 2**20:,.0f} MiB: store it smaller"
        )
    return needed


def _bytes_a_pixel(image: Image.Image, image_size: int) -> int:
    """What a picture takes at most for each of its pixels, from its file to what is left of it."""
    if _has_deep_colours(image):
        return 28  # the file and four channels of two bytes, then of one, then as PIL holds them
    if _shrinks(image, image_size) == 1:
        return 12  # as decoded, and two copies of up to four channels
    held = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}.get(image.mode, 4)
    if image.mode in ("1", "P", "PA", "LA", "RGBA"):
        held += 8 if image.mode in ("1", "P") else 4  # its colours, and as they are averaged, times their opacity
    elif image.mode.startswith("I") or image.mode == "F":
        held += 1  # its 8 bits
    return held + {"PNG": 0, "BMP": 0, "PPM": 0, "JPEG": 0, "TIFF": 4, "WEBP": 12}.get(
        image.format, 8
    )  # its reader's own copy


def _shrinks(image: Image.Image, image_size: int) -> int:
    """By how much the sides of a large picture are divided before anything else is done to it; else 1."""
    factor = min(image.size) // (ENOUGH * image_size)
    return factor if factor > 1 and image.width * image.height > LARGE else 1


def _on_white(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """The picture with 8 bits a channel; as it is where it has no more."""
    is_deep = _has_deep_colours(image)
    has_key = image.mode.startswith("I") and "transparency" in image.info
    if image.format == "PNG" and (is_deep or has_key):
        return _of_deep_png(image)
    if image.format == "TIFF":  # a file that PIL maps into memory comes garbled where it lies on its side (12.3.0)
        image.filename = ""  # is not mapped
    image.load()  # PIL turns a TIFF as it loads it, so its size and orientation are true only then
    if image.mode == "F" or image.mode.startswith("I"):  # 16 bits, which PIL may hold in 32
        grey = _from_floats(image) if image.mode == "F" else _from_whole(image)
        return ImageOps.invert(grey) if _is_inverted(image) else grey
    return _of_upper_bits(image) if is_deep else image


def _has_deep_colours(image: Image.Image) -> bool:
    """Whether it has several channels of 16 bits, of which PIL keeps 8; to be asked before it is decoded."""
    return any(";16" in str(part.args) for part in getattr(image, "tile", [])) and not image.mode.startswith("I")


def _strips(image: Image.Image) -> Iterator[np.ndarray]:
    """The values of a picture, some rows at a time."""
    rows = max(1, STRIP // image.width)
    for top in range(0, image.height, rows):
        yield np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))


def _extremes(image: Image.Image) -> list[tuple[int, int]]:
    found = image.getextrema()
    found = [found] if isinstance(found[0], (int, float)) else list(found)
    return found[:-1] if image.mode in ("RGBA", "LA") else found


def _of_deep_png(image: Image.Image) -> Image.Image:
    """A PNG of 16 bits a channel: PIL drops the lower 8 of several channels, all there is of 8 bits in 16, and the
    colour that stands for transparency with them."""
    place = image.fp.tell()
    image.fp.seek(0)
    data = torch.frombuffer(bytearray(image.fp.read()), dtype=torch.uint8)
    image.fp.seek(place)
    values = torchvision.io.decode_png(data, torchvision.io.ImageReadMode.UNCHANGED).numpy().transpose(1, 2, 0)
    del data
    has_alpha = values.shape[2] in (2, 4)
    colours = values[:, :, :-1] if has_alpha else values
    bits = _bits(lambda: _rows(colours))
    scaled = _scaled(lambda: _rows(colours), colours.shape, bits)
    key = image.info.get("transparency")
    if has_alpha:
        alpha = values[:, :, -1:]  # in the same steps as the colours, or in more where it takes more
        alpha = _scaled(lambda: _rows(alpha), alpha.shape, max(bits, _bits(lambda: _rows(alpha))))
        scaled = np.concatenate([scaled, alpha], axis=2)
    elif key is not None:
        shown = (values != np.array(key, np.uint16)).any(axis=2, keepdims=True)
        scaled = np.concatenate([scaled, shown.astype(np.uint8) * 255], axis=2)
    return Image.fromarray(scaled[:, :, 0] if scaled.shape[2] == 1 else scaled)


def _rows(values: np.ndarray) -> Iterator[np.ndarray]:
    """An array (height, width, channels), some rows at a time."""
    rows = max(1, STRIP // values.shape[1])
    return (values[top : top + rows] for top in range(0, len(values), rows))


def _of_upper_bits(image: Image.Image) -> Image.Image:
    """A picture of several channels of 16 bits of which PIL has kept the upper 8, brought to the range that it uses."""
    bits = _declared_bits(image) or next(
        depth for depth in DEPTHS if max(high for _, high in _extremes(image)) < 1 << (depth - 8)
    )
    if bits <= 12:
        raise ValueError("its channels of 16 bits use at most 12 of them; save it with 8 bits a channel")
    if bits >= 16 or image.mode == "CMYK":  # where 0 is white
        return image
    bands = [band.point(lambda value: min(255, value << (16 - bits))) for band in image.split()]
    if image.mode == "RGBA" and image.getextrema()[3][1] >= 1 << (bits - 8):
        bands[3] = image.getchannel("A")  # takes more bits than the colours
    return Image.merge(image.mode, bands)


def _from_whole(image: Image.Image) -> Image.Image:
    bits = _bits(lambda: _strips(image), _declared_bits(image))
    return Image.fromarray(_scaled(lambda: _strips(image), image.size[::-1], bits))


def _is_inverted(image: Image.Image) -> bool:
    """Whether 0 is white in a grey TIFF of more than 8 bits; PIL heeds it in others alone."""
    return getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0


def _declared_bits(image: Image.Image) -> int | None:
    """Bits of a grey picture's values where its file says so; None where it only says how they are stored."""
    if image.format == "PPM":  # PIL has scaled them by the largest value that the file declares
        return 16
    tags = getattr(image, "tag_v2", {})
    for tag in (_LARGEST, _MAXIMUM):
        if tag in tags:
            return max(1, int(np.max(tags[tag])).bit_length())
    bits = int(np.max(tags.get(_BITS, 0)))
    return bits if 8 < bits < 16 else None


def _bits(strips: Callable[[], Iterable[np.ndarray]], declared: int | None = None) -> int:
    """How many bits whole numbers take: as declared, where that holds them all, or the least of `DEPTHS`. `strips`
    gives some rows after others, whenever it is called."""
    ends = [(int(strip.min()), int(strip.max())) for strip in strips()]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    if low < 0:
        raise ValueError(f"its values begin at {low}; expected brightness from 0 up")
    if declared is None or high >> declared:
        return next(depth for depth in DEPTHS if high < 1 << depth)
    return declared


def _scaled(strips: Callable[[], Iterable[np.ndarray]], shape: Sequence[int], bits: int) -> np.ndarray:
    """Whole numbers of so many bits as 8, uint8 of that shape (height, width, ...), their lower bits cut off."""
    scaled, top = np.empty(shape, np.uint8), 0
    for strip in strips():
        scaled[top : top + len(strip)] = strip.astype(np.int64) >> max(0, bits - 8)
        top += len(strip)
    return scaled


def _from_floats(image: Image.Image) -> Image.Image:
    largest, fits = 0.0, True
    for strip in _strips(image):
        fits = fits and bool(np.isfinite(strip).all()) and strip.min() >= 0
        largest = max(largest, float(strip.max()))
    if not fits or largest > 65535:
        raise ValueError(
            "it holds floating-point numbers that are negative, above 65,535 or none; expected brightness from 0 to 1"
        )
    top = 1 if largest <= 1 else next((1 << depth) - 1 for depth in DEPTHS if largest <= (1 << depth) - 1)
    scaled = [(strip.astype(np.float64) * (255 / top)).round().astype(np.uint8) for strip in _strips(image)]
    return Image.fromarray(np.concatenate(scaled))

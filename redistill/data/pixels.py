"""From one opened picture of any kind to a square of uint8 pixels, or a reason why it cannot be one."""

from __future__ import annotations

import numpy as np
import torch
import torchvision
from PIL import Image, ImageOps

MAX_PIXELS = 50_000_000  # of what is decoded: more is an attack rather than a photograph; a JPEG decodes at a fraction
LARGE = 8_000_000  # pixels from which on a picture is averaged down before anything else is done to it
ENOUGH = 4  # times the side asked for: what is left of a large picture
DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras, scanners and microscopes give
_BITS, _MAXIMUM, _LARGEST = 258, 281, 341  # TIFF tags: BitsPerSample, MaxSampleValue, SMaxSampleValue
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


def to_square(image: Image.Image, image_size: int) -> np.ndarray:
    """A picture as uint8 (3, image_size, image_size): turned upright, shrunk to the shorter side, cut at the middle.

    Grey pictures repeat their channel, transparency lies on white, an animation gives its first frame. Of more than 8
    bits a channel, the range that the file declares becomes 0 to 255, or else the least of `DEPTHS` that holds the
    largest value; floating-point numbers are taken as 0 to 1, 0 to 255 or 0 to 65,535, the first that holds them.
    Raises ValueError for a picture of too many pixels and for one whose range cannot be told.
    """
    prepare(image, image_size)
    opened, image = image, _eight_bits(image)
    turn = _TURNS.get(opened.getexif().get(_ORIENTATION))
    if image.width * image.height > LARGE:
        image = _averaged(image, image_size)
    image = _on_white(image if turn is None else image.transpose(turn))
    image = ImageOps.fit(image, (image_size, image_size), Image.Resampling.BICUBIC)
    return np.asarray(image).transpose(2, 0, 1)


def prepare(image: Image.Image, image_size: int) -> int:
    """Let a JPEG decode at a fraction of its size, several times faster; the bytes that decoding the picture may take.

    May be called more than once. Raises ValueError for a picture of too many pixels.
    """
    whole = image.width * image.height
    if not getattr(image, "decoderconfig", ()):  # a second draft would spoil the first
        image.draft("RGB", (2 * image_size, 2 * image_size))  # of a JPEG alone
    pixels = image.width * image.height
    if pixels > MAX_PIXELS:
        raise ValueError(f"it has {image.width}×{image.height} pixels; expected at most {MAX_PIXELS:,}")
    coefficients = 6 * whole if "progressive" in image.info else 0  # all of them are kept until the last scan
    return 12 * pixels + coefficients  # as decoded, and two copies of up to four channels


def _averaged(image: Image.Image, image_size: int) -> Image.Image:
    factor = min(image.size) // (ENOUGH * image_size)
    if factor < 2:
        return image
    return (image.convert("RGBA") if image.mode in ("P", "1", "PA") else image).reduce(factor)


def _on_white(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """The picture with 8 bits a channel; as it is where it has no more."""
    if image.mode == "F":
        return _from_floats(np.asarray(image))
    if image.mode.startswith("I"):  # 16 bits, which PIL may hold in 32
        return Image.fromarray(_scaled(np.asarray(image), _declared_bits(image)))
    raw = " ".join(str(part.args) for part in getattr(image, "tile", []))
    if ";16" not in raw:
        return image
    if (
        image.format == "PNG" and "transparency" not in image.info
    ):  # PIL drops the lower 8 bits of several channels, all there is of 8 bits in 16
        return _colours(image)
    image.load()
    if max(high for _, high in _extremes(image)) < 16:
        raise ValueError("its channels of 16 bits use at most 12 of them; save it with 8 bits a channel")
    return image


def _extremes(image: Image.Image) -> list[tuple[int, int]]:
    found = image.getextrema()
    found = [found] if isinstance(found[0], (int, float)) else list(found)
    return found[:-1] if image.mode in ("RGBA", "LA") else found


def _colours(image: Image.Image) -> Image.Image:
    """A PNG of several channels of 16 bits."""
    place = image.fp.tell()
    image.fp.seek(0)
    data = torch.frombuffer(bytearray(image.fp.read()), dtype=torch.uint8)
    image.fp.seek(place)
    values = torchvision.io.decode_png(data, torchvision.io.ImageReadMode.UNCHANGED).numpy().transpose(1, 2, 0)
    has_alpha = values.shape[2] in (2, 4)
    colours = values[:, :, :-1] if has_alpha else values
    scaled = _scaled(colours, None)
    if has_alpha:
        scaled = np.concatenate([scaled, (values[:, :, -1:] >> 8).astype(np.uint8)], axis=2)
    return Image.fromarray(scaled)


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


def _scaled(values: np.ndarray, bits: int | None) -> np.ndarray:
    """Whole numbers as 8 bits, their lower bits cut off."""
    low, high = int(values.min()), int(values.max())
    if low < 0:
        raise ValueError(f"its values begin at {low}; expected brightness from 0 up")
    if bits is None or high >> bits:
        bits = next((depth for depth in (*DEPTHS, 24, 32) if high < 1 << depth), 64)
    return (values.astype(np.int64) >> max(0, bits - 8)).astype(np.uint8)


def _from_floats(values: np.ndarray) -> Image.Image:
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 65535:
        raise ValueError(
            "it holds floating-point numbers that are negative, above 65,535 or none; expected brightness from 0 to 1"
        )
    top = next(top for top in (1, 255, 65535) if values.max() <= top)
    return Image.fromarray((values.astype(np.float64) * (255 / top)).round().astype(np.uint8))

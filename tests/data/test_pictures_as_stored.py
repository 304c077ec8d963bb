"""What files say of their pictures is heeded: which way up they are, where they are transparent, what is white."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from redistill.data.pixels import to_square
from redistill.data.source import open_picture

TURNED = {  # by EXIF orientation, the values of a picture of 2 x 4 quarters once it is upright
    1: [[10, 90], [170, 250]],
    2: [[90, 10], [250, 170]],
    3: [[250, 170], [90, 10]],
    4: [[170, 250], [10, 90]],
    5: [[10, 170], [90, 250]],
    6: [[170, 10], [250, 90]],
    7: [[250, 90], [170, 10]],
    8: [[90, 250], [10, 170]],
}


def square(data: bytes | Image.Image, folder, name: str) -> np.ndarray:
    (folder / name).write_bytes(data)
    return to_square(open_picture(folder / name), 8)


def saved(image: Image.Image, kind: str, **how) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


@pytest.mark.parametrize("turn", TURNED)
@pytest.mark.parametrize(
    ("mode", "kind", "how"),
    [
        *((mode, "TIFF", {}) for mode in ("L", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F")),
        *((mode, "TIFF", {"compression": "tiff_lzw"}) for mode in ("L", "RGB", "I;16")),
        ("RGB", "WEBP", {"lossless": True}),
        ("RGB", "JPEG", {"quality": 98}),
        ("L", "PNG", {}),
        ("I;16", "PNG", {}),
    ],
)
def test_pictures_are_turned_upright_once(tmp_path, turn, mode, kind, how):
    values = np.kron(np.array([[10, 90], [170, 250]], np.uint8), np.ones((24, 16), np.uint8))
    deep = {"I;16": (np.uint16, 257), "I": (np.int32, 257), "F": (np.float32, 1 / 255)}
    if mode in deep:
        dtype, times = deep[mode]
        image = Image.fromarray((values * np.float64(times)).astype(dtype))
    else:
        image = Image.fromarray(values).convert("RGB").convert(mode)
    exif = Image.Exif()
    exif[0x0112] = turn
    said = {"tiffinfo": {0x0112: turn}} if kind == "TIFF" else {"exif": exif}
    found = square(saved(image, kind, **how, **said), tmp_path, f"a.{kind.lower()}")
    assert np.abs(found[0, ::7, ::7].astype(int) - TURNED[turn]).max() < 14


def png_of_16_bits(values: np.ndarray, key: tuple[int, ...] = ()) -> bytes:
    """uint16 (height, width, channels) as a PNG; where all channels are those of `key`, it is transparent."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    kind = {1: 0, 2: 4, 3: 2, 4: 6}[values.shape[2]]
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    keyed = chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)) if key else b""
    parts = (chunk(b"IHDR", head), keyed, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("alpha", [8, 16])
def test_opacity_counts_in_the_steps_of_the_colours(tmp_path, channels, bits, alpha):
    values = np.full((8, 8, channels), 200 << (bits - 8), np.uint16)
    values[:, :, -1] = (1 << max(bits, alpha)) - 1
    values[4:, :, -1] = 0
    found = square(png_of_16_bits(values), tmp_path, "a.png")
    assert found[:, :4].min() == found[:, :3].max() == 200 and found[:, 5:].min() == 255


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_colour_of_16_bits_that_stands_for_transparency(tmp_path, channels, bits):
    values = np.full((8, 8, channels), 200 << (bits - 8), np.uint16)
    values[4:] -= 1
    found = square(png_of_16_bits(values, tuple(map(int, values[7, 7]))), tmp_path, "a.png")
    assert np.abs(found[:, :3].astype(int) - 200).max() < 5 and found[:, 5:].min() > 250


@pytest.mark.parametrize(("dtype", "dark"), [(np.uint16, 60_000), (np.uint16, 240), (np.float32, 0.93)])
def test_zero_is_white_where_a_tiff_says_so(tmp_path, dtype, dark):
    data = saved(Image.fromarray(np.full((8, 8), dark, dtype)), "TIFF", tiffinfo={262: 0})
    assert square(data, tmp_path, "a.tiff").max() < 24


def tiff_of_16_bits(values: np.ndarray) -> bytes:
    """uint16 (height, width, 3 or 4) as a TIFF, which Pillow does not write."""
    height, width, channels = values.shape
    tags = [(256, width), (257, height), (258, None), (259, 1), (262, 2), (273, None), (277, channels), (278, height),
            (279, values.nbytes), *[(338, 2)] * (channels == 4)]  # fmt: skip
    bits_at = 8 + 2 + 12 * len(tags) + 4
    places = {258: (3, channels, bits_at), 273: (4, 1, bits_at + 2 * channels)}
    entries = b"".join(struct.pack("<HHII", tag, *places.get(tag, (4, 1, value))) for tag, value in tags)
    bits = struct.pack(f"<{channels}H", *[16] * channels)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + bits + values.astype("<u2").tobytes()


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(("bits", "expected"), [(14, 200), (16, 200), (13, 100)])
@pytest.mark.parametrize("opaque", [14, 16])
def test_colours_of_a_tiff_that_use_fewer_bits(tmp_path, channels, bits, expected, opaque):
    values = np.full((8, 8, channels), 200 << (bits - 8), np.uint16)
    if channels == 4:
        values[:, :, 3] = (1 << max(opaque, bits)) - 1
    assert np.abs(square(tiff_of_16_bits(values), tmp_path, "a.tiff").astype(int) - expected).max() <= 3

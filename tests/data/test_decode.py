"""Pictures of every kind become the same squares; damaged ones are named; the cache file is whole or not there."""

from __future__ import annotations

import collections
import contextlib
import io
import struct
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.pictures import picture
from PIL import Image

from redistill.data import decode, pixels, source
from redistill.data.decode import decoded
from redistill.data.pixels import prepare, to_square
from redistill.data.source import Listing, open_picture


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))


def files(folder: Path, names: list[str]) -> Listing:
    stamps = [(folder / name).stat().st_size for name in names]
    return Listing(names, np.zeros(len(names), np.int64), stamps, lambda row: open_picture(folder / names[row]))


def written(folder: Path, count: int) -> Listing:
    for number in range(count):
        picture(number).save(folder / f"{number}.png")
    return files(folder, [f"{number}.png" for number in range(count)])


def cached(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock")


# One picture


def test_a_picture_is_cut_at_the_middle_and_averaged():
    wide = Image.new("RGB", (40, 20), (200, 10, 30))
    wide.paste((0, 0, 0), (0, 0, 5, 20))
    wide.paste((0, 0, 0), (35, 0, 40, 20))  # what is cut off
    square = to_square(wide, 8)
    assert square.shape == (3, 8, 8) and square.dtype == np.uint8
    assert (square.reshape(3, -1).T == (200, 10, 30)).all()


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("L", (9, 9), 70), (70, 70, 70)),
        (Image.new("LA", (9, 9), (70, 0)), (255, 255, 255)),
        (Image.new("RGBA", (9, 9), (10, 20, 30, 255)), (10, 20, 30)),
        (Image.new("RGBA", (9, 9), (10, 20, 30, 0)), (255, 255, 255)),
        (Image.fromarray(np.full((9, 9), 70 * 256 + 9, np.uint16)), (70, 70, 70)),
        (Image.fromarray(np.full((9, 9), 70 * 256, np.int32)), (70, 70, 70)),
        (Image.fromarray(np.full((9, 9), 70 << 16, np.int32)), (70, 70, 70)),
        (Image.fromarray(np.full((9, 9), 70 << 23, np.int32)), (140, 140, 140)),
        (Image.fromarray(np.full((9, 9), 70_000, np.int32)), (68, 68, 68)),  # of 18 bits
        (Image.fromarray(np.full((9, 9), 200, np.uint16)), (200, 200, 200)),
        (Image.fromarray(np.full((9, 9), 200 << 2, np.uint16)), (200, 200, 200)),
        (Image.fromarray(np.full((9, 9), 200 << 4, np.uint16)), (200, 200, 200)),
        (Image.fromarray(np.full((9, 9), 200 << 6, np.uint16)), (200, 200, 200)),
        (Image.fromarray(np.full((9, 9), 0.2, np.float32)), (51, 51, 51)),
        (Image.fromarray(np.full((9, 9), 70.2, np.float32)), (70, 70, 70)),
        (Image.fromarray(np.full((9, 9), 70 * 257, np.float32)), (70, 70, 70)),
        (Image.fromarray(np.full((9, 9), 70 * 257 * 2, np.float32)), (140, 140, 140)),
        (Image.fromarray(np.full((9, 9), 300.0, np.float32)), (75, 75, 75)),  # of 10 bits
        (Image.new("1", (9, 9), 1), (255, 255, 255)),
        (Image.new("CMYK", (9, 9), (0, 0, 0, 0)), (255, 255, 255)),
        (Image.new("RGB", (9, 9), (1, 2, 3)).convert("P"), (1, 2, 3)),
    ],
    ids=[
        "grey",
        "grey and transparent",
        "opaque",
        "transparent",
        "16 bits",
        "16 in 32 bits",
        "24 in 32 bits",
        "30 in 32 bits",
        "17 in 32 bits",
        "8 in 16 bits",
        "10 in 16 bits",
        "12 in 16 bits",
        "14 in 16 bits",
        "0 to 1",
        "0 to 255",
        "0 to 65535",
        "most of 0 to 65535",
        "0 to 1023",
        "1 bit",
        "CMYK",
        "palette",
    ],
)
def test_kinds_of_pictures(image, expected):
    assert np.abs(to_square(image, 8)[:, 4, 4].astype(int) - expected).max() <= (0 if image.mode != "P" else 40)


def test_16_bit_png_from_a_file(tmp_path):
    Image.fromarray(np.full((9, 9), 70 * 256 + 200, np.uint16)).save(tmp_path / "deep.png")
    assert decoded(files(tmp_path, ["deep.png"]), 8).unique().tolist() == [70]


def test_a_photograph_is_turned_upright(tmp_path):
    lying = Image.new("RGB", (16, 16), "white")
    lying.paste("black", (0, 0, 8, 16))  # left half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise: left becomes top
    lying.save(tmp_path / "a.jpg", exif=exif, quality=95)
    upright = decoded(files(tmp_path, ["a.jpg"]), 8)[0]
    assert upright[:, 0].max() < 40 and upright[:, -1].min() > 215


# Pictures that cannot be read


def damaged(kind: str) -> bytes:
    whole = io.BytesIO()
    picture(1, 200, 200).save(whole, "JPEG" if kind == "truncated.jpg" else "PNG")
    data = whole.getvalue()
    if kind == "huge.png":  # says that it has 30,000 x 30,000 pixels
        head = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
        return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]
    return {"empty.png": b"", "text.png": b"not a picture", "eps.png": b"%!PS-Adobe-3.0 EPSF-3.0\n"}.get(
        kind, data[: len(data) // 2]
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("truncated.jpg", "truncated"),
        ("truncated.png", "truncated"),
        ("empty.png", "no picture in a known format"),
        ("text.png", "no picture in a known format"),
        ("eps.png", "no picture in a known format"),
        ("huge.png", "30000×30000 pixels, which take 3,433 MiB to decode; expected at most 1,024 MiB"),
    ],
)
def test_a_damaged_picture_is_named_and_leaves_nothing(tmp_path, name, reason):
    listing = written(tmp_path, 3)
    (tmp_path / name).write_bytes(damaged(name))
    with pytest.raises(ValueError, match=rf"^Picture {name} cannot be read \(.*{reason}.*\); replace or remove it\.$"):
        decoded(files(tmp_path, [*listing.names, name]), 8)
    assert cached(tmp_path) == []


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full((9, 9), np.nan, np.float32), "floating-point"),
        (np.full((9, 9), -0.5, np.float32), "floating-point"),
        (np.full((9, 9), 1e6, np.float32), "floating-point"),
        (np.full((9, 9), -1000, np.int32), "begin at -1000"),
    ],
)
def test_numbers_that_are_no_brightness_are_refused(tmp_path, values, reason):
    Image.fromarray(values).save(tmp_path / "a.tiff")
    with pytest.raises(ValueError, match=rf"a\.tiff cannot be read \(.*{reason}"):
        decoded(files(tmp_path, ["a.tiff"]), 8)


def deep_png(values: np.ndarray) -> bytes:
    """uint16 (height, width, 2, 3 or 4) as a PNG."""
    kind = {2: 4, 3: 2, 4: 6}[values.shape[2]]

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colours_of_16_bits_that_use_fewer(tmp_path, bits, channels):
    values = np.full((9, 9, channels), 200 << (bits - 8), np.uint16)
    if channels != 3:
        values[:, :, -1] = 65535  # opaque
    (tmp_path / "a.png").write_bytes(deep_png(values))
    assert decoded(files(tmp_path, ["a.png"]), 8).unique().tolist() == [200]


def test_what_a_file_declares_counts_more_than_its_largest_value(tmp_path):
    (tmp_path / "dark.pgm").write_bytes(b"P5 9 9 4095\n" + np.full((9, 9), 100, ">u2").tobytes())
    dark = Image.fromarray(np.full((9, 9), 100, np.uint16))
    dark.save(tmp_path / "dark.tiff", tiffinfo={281: 4095})
    assert decoded(files(tmp_path, ["dark.pgm", "dark.tiff"]), 8).unique().tolist() == [6]


MODES = {"transparent.png": "RGBA", "palette.png": "P", "bits.png": "1", "a.gif": "P", "grey.tiff": "L"}


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tiff", "a.webp", *MODES])
def test_a_large_photograph_is_the_same_made_smaller(tmp_path, monkeypatch, name):
    mode = MODES.get(name, "RGB")
    rows = np.linspace(0, 255, 400).astype(np.uint8)
    across = np.tile(rows, (400, 1))
    image = Image.fromarray(np.stack([across, across.T, np.full_like(across, 9)], axis=2)).convert(mode)
    image.save(tmp_path / name)
    usual = decoded(files(tmp_path, [name]), 16).clone()
    monkeypatch.setattr(pixels, "LARGE", 1000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # of PIL, which refuses twice as many
    averaged = to_square(open_picture(tmp_path / name), 16)
    assert np.abs(averaged.astype(int) - usual[0].numpy()).mean() < 4
    assert Image.MAX_IMAGE_PIXELS == 1000, "others in this process keep their limit"


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("top", [255, 4000, 65535])
def test_a_picture_of_many_bits_is_read_in_strips(tmp_path, monkeypatch, dtype, top):
    values = np.linspace(0, top, 400 * 400).reshape(400, 400).astype(dtype)
    Image.fromarray(values).save(tmp_path / "a.tiff")
    usual = decoded(files(tmp_path, ["a.tiff"]), 16).clone()
    monkeypatch.setattr(pixels, "STRIP", 999)
    assert np.array_equal(to_square(open_picture(tmp_path / "a.tiff"), 16), usual[0].numpy())
    monkeypatch.setattr(pixels, "LARGE", 1000)
    averaged = to_square(open_picture(tmp_path / "a.tiff"), 16)
    assert np.abs(averaged.astype(int) - usual[0].numpy()).mean() < 4


def test_pictures_are_bounded_by_the_bytes_that_they_take(tmp_path, monkeypatch):
    names = ["a.jpg", "a.png", "grey.png", "deep.png"]
    for name in names:
        picture(3, 400, 300).convert("L" if name == "grey.png" else "RGB").save(tmp_path / name)
    (tmp_path / "deep.png").write_bytes(deep_png(np.full((300, 400, 3), 9, np.uint16)))
    monkeypatch.setattr(pixels, "LARGE", 1000)
    monkeypatch.setattr(pixels, "MAX_BYTES", 400 * 300 * 4 - 1)
    for name in ("a.jpg", "grey.png"):
        assert decoded(files(tmp_path, [name]), 16).shape == (1, 3, 16, 16)
    for name in ("a.png", "deep.png"):
        with pytest.raises(ValueError, match=r"400×300 pixels, which take .* MiB to decode; expected at most 0 MiB"):
            decoded(files(tmp_path, [name]), 16)
    Image.new("RGB", (4000, 40)).save(tmp_path / "wide.png")  # cannot be averaged down to 16 px
    with pytest.raises(ValueError, match="4000×40 pixels"):
        decoded(files(tmp_path, ["wide.png"]), 16)
    monkeypatch.setattr(pixels, "MAX_BYTES", 2**30)
    Image.new("L", (12_000, 5_000), 77).save(tmp_path / "large.png")
    assert decoded(files(tmp_path, ["large.png"]), 16).unique().tolist() == [77]


def test_a_stream_of_a_huge_picture_is_read_from_its_beginning(tmp_path, monkeypatch):
    buffer = io.BytesIO()
    picture(3, 400, 300).save(buffer, "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert to_square(source.open_image(buffer), 16).shape == (3, 16, 16) and Image.MAX_IMAGE_PIXELS == 100


def test_pictures_are_decoded_together_up_to_so_many_bytes(tmp_path, monkeypatch):
    listing = written(tmp_path, 6)
    together, most, lock = [0], [0], threading.Lock()
    room = decode._Room(2 * prepare(listing.read(0), 8))
    monkeypatch.setattr(decode, "_ROOM", room)
    monkeypatch.setattr(decode.os, "cpu_count", lambda: 8)

    def watched(image, size):
        with lock:
            together[0] += 1
            most[0] = max(most[0], together[0])
        time.sleep(0.02)
        with lock:
            together[0] -= 1
        return to_square(image, size)

    monkeypatch.setattr(decode, "to_square", watched)
    decoded(listing, 8)
    assert most[0] == 2 and room.taken == 0
    room.most = 1  # less than one needs: each goes alone
    decoded(listing, 16)
    assert room.taken == 0


def test_large_pictures_are_decoded_by_one_thread(tmp_path, monkeypatch):
    listing, threads = written(tmp_path, 6), set()
    monkeypatch.setattr(decode, "ALONE", 1)
    monkeypatch.setattr(decode.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(
        decode, "to_square", lambda image, size: threads.add(threading.get_ident()) or to_square(image, size)
    )
    decoded(listing, 8)
    assert len(threads) == 1 and threading.get_ident() not in threads
    (tmp_path / "broken.png").write_bytes(b"none")
    with pytest.raises(ValueError, match=r"broken\.png cannot be read"):
        decoded(files(tmp_path, ["broken.png"]), 8)


def test_a_damaged_tiff_is_one_sentence(tmp_path):
    """Every byte of its head and tags set to others: whatever PIL raises, the picture is named."""
    buffer = io.BytesIO()
    picture(1).save(buffer, "TIFF", resolution=72.5)
    whole = buffer.getvalue()
    for place in range(4, len(whole) - 20 * 16 * 3 if len(whole) > 1000 else len(whole), 3):
        (tmp_path / "a.tiff").write_bytes(whole[:place] + b"\xff\x00\xff" + whole[place + 3 :])
        with contextlib.suppress(ValueError):
            decode.read_square(files(tmp_path, ["a.tiff"]), 0, 8)


@pytest.mark.parametrize("error", [TypeError("'<' not supported between instances of 'IFDRational'"), KeyError(3)])
def test_whatever_a_reader_raises_is_one_sentence(tmp_path, error):
    def read(row):
        raise error

    with pytest.raises(
        ValueError, match=r"^Picture b.tiff cannot be read \(it is damaged: .*\); replace or remove it\."
    ):
        decoded(Listing(["b.tiff"], np.zeros(1, np.int64), [0], read), 8)


@pytest.mark.skipif("HEIF" not in source.FORMATS, reason="pillow-heif is not installed")
def test_photographs_of_phones(tmp_path):
    import pillow_heif

    pillow_heif.register_heif_opener()
    Image.new("RGB", (64, 48), (200, 100, 50)).save(tmp_path / "a.heic", quality=100)
    found = decoded(files(tmp_path, ["a.heic"]), 8).reshape(3, -1).float().mean(1)
    assert (found - torch.tensor([200.0, 100, 50])).abs().max() < 6


# The cache


def test_pictures_are_decoded_once_and_mapped(tmp_path):
    listing = written(tmp_path, 5)
    counts = collections.Counter()
    counted = Listing(
        listing.names, listing.labels, listing.stamps, lambda row: counts.update([row]) or listing.read(row)
    )
    images = decoded(counted, 8)
    assert images.shape == (5, 3, 8, 8) and images.dtype == torch.uint8
    for row, image in enumerate(images):
        assert np.array_equal(image.numpy(), to_square(picture(row), 8))
    images[0] = 7  # stays in memory
    again = decoded(counted, 8)
    assert np.array_equal(again[0].numpy(), to_square(picture(0), 8))
    assert counts == {row: 1 for row in range(5)} and len(cached(tmp_path)) == 1
    assert torch.equal(decoded(counted, 8, limit=2), again[:2]) and counts.total() == 5, "the whole file serves"


def test_a_limit_decodes_no_more_than_it_needs(tmp_path, monkeypatch):
    listing = written(tmp_path, 5)
    (tmp_path / "4.png").write_bytes(b"")
    monkeypatch.setattr(decode, "CHUNK", 2)
    assert len(decoded(listing, 8, limit=4)) == 4
    assert len(decoded(listing, 16, limit=4)) == 4 and len(cached(tmp_path)) == 2
    with pytest.raises(ValueError, match=r"Picture 4\.png"):
        decoded(listing, 8)


def test_another_picture_of_the_same_name_is_decoded_anew(tmp_path):
    before = decoded(written(tmp_path, 2), 8)
    picture(9, 30, 30).save(tmp_path / "0.png")
    after = decoded(files(tmp_path, ["0.png", "1.png"]), 8)
    assert not torch.equal(before[0], after[0]) and torch.equal(before[1], after[1])


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY half", None])
def test_a_damaged_cache_file_is_made_again(tmp_path, content):
    listing = written(tmp_path, 3)
    whole = decoded(listing, 8).clone()
    (file,) = (tmp_path / "cache").rglob("*.npy")
    file.write_bytes(file.read_bytes()[:-5] if content is None else content)
    assert torch.equal(decoded(listing, 8), whole)


def test_a_full_disk_is_said_before_it_is_full(tmp_path, monkeypatch):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(decode.shutil, "disk_usage", lambda path: usage(0, 0, 2**30 + 100))
    with pytest.raises(
        ValueError,
        match=r"3 pictures of 8 px need 0\.0 GiB in .*, which has 1\.0 GiB free, of which 1\.0 GiB are kept; choose",
    ):
        decoded(written(tmp_path, 3), 8)
    assert cached(tmp_path) == []


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "file"))
    with pytest.raises(ValueError, match=r"Decoded pictures cannot be kept in .*; set REDISTILL_CACHE"):
        decoded(written(tmp_path, 1), 8)

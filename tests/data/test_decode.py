"""Pictures of every kind become the same squares; damaged ones are named; the cache file is whole or not there."""

from __future__ import annotations

import collections
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.pictures import picture
from PIL import Image

from redistill.data import decode
from redistill.data.decode import decoded, to_square
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
        (Image.new("1", (9, 9), 1), (255, 255, 255)),
        (Image.new("CMYK", (9, 9), (0, 0, 0, 0)), (255, 255, 255)),
        (Image.new("RGB", (9, 9), (1, 2, 3)).convert("P"), (1, 2, 3)),
    ],
    ids=["grey", "grey and transparent", "opaque", "transparent", "16 bits", "32 bits", "1 bit", "CMYK", "palette"],
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
    if kind == "large.png":  # beyond our limit, not yet beyond PIL's
        whole = io.BytesIO()
        Image.new("1", (10_000, 6_000)).save(whole, "PNG")
        return whole.getvalue()
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
        ("huge.png", "too many pixels"),
        ("large.png", "10000×6000 pixels; expected at most 50,000,000"),
    ],
)
def test_a_damaged_picture_is_named_and_leaves_nothing(tmp_path, name, reason):
    listing = written(tmp_path, 3)
    (tmp_path / name).write_bytes(damaged(name))
    with pytest.raises(ValueError, match=rf"^Picture {name} cannot be read \(.*{reason}.*\); replace or remove it\.$"):
        decoded(files(tmp_path, [*listing.names, name]), 8)
    assert cached(tmp_path) == []


def test_floating_point_pictures_are_refused(tmp_path):
    Image.fromarray(np.zeros((9, 9), np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(ValueError, match=r"a\.tiff cannot be read \(it holds floating-point"):
        decoded(files(tmp_path, ["a.tiff"]), 8)


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
    with pytest.raises(ValueError, match=r"3 pictures of 8 px need 0\.0 GiB in .*, which has 1\.0 GiB free; choose"):
        decoded(written(tmp_path, 3), 8)
    assert cached(tmp_path) == []


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "file"))
    with pytest.raises(ValueError, match=r"Decoded pictures cannot be kept in .*; set REDISTILL_CACHE"):
        decoded(written(tmp_path, 1), 8)

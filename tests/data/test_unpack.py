"""Zip files from anybody: pictures come out, attacks and accidents do not get in."""

from __future__ import annotations

import io
import os
import stat
import threading
import zipfile
from pathlib import Path

import pytest
from helpers.pictures import picture, write_classes

from redistill.data import uploads as unpack
from redistill.data.datasets import find_dataset, load_split
from redistill.data.uploads import left_out, list_uploads, say_left_out, unpack_zip, upload_folder, uploads_dir


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))


def zipped(file: Path, members: dict[str, bytes], **settings) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name)
            for key, value in settings.items():
                setattr(member, key, value)
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, content)
    return file


def pets(tmp_path: Path, name: str = "My Pets (1).zip") -> Path:
    folder = write_classes(tmp_path / "source", {"cats": 4, "dogs": 4})
    members = {f"pets/{path.relative_to(folder)}": path.read_bytes() for path in sorted(folder.rglob("*.png"))}
    return zipped(tmp_path / name, members | {"__MACOSX/pets/._x.png": b"x", "pets/README": b"hello"})


def left(tmp_path: Path) -> list[str]:
    """All files and folders made in the cache, and beside it."""
    made = [path for path in tmp_path.rglob("*") if path.suffix not in (".lock", ".zip")]
    return [str(path.relative_to(tmp_path)) for path in made if path.name not in ("cache", "uploads")]


def test_an_upload_is_a_data_set_of_its_content(tmp_path):
    file = pets(tmp_path)
    name = unpack_zip(file)
    assert name.startswith("my-pets-1-") and list_uploads() == [name]
    spec = find_dataset(f"upload:{name}")
    assert spec.class_names == ("cats", "dogs") and spec.split_sizes == {"train": 4, "validation": 2, "test": 2}
    assert load_split(f"upload:{name}", "train", 8).images.shape == (4, 3, 8, 8)
    before = os.stat(upload_folder(name)).st_ctime_ns
    assert unpack_zip(file) == name and os.stat(upload_folder(name)).st_ctime_ns == before, "unpacked once"
    assert unpack_zip(file, "other name.zip").startswith("other-name-")
    assert find_dataset(f"folder:{file}").class_names == ("cats", "dogs"), "a zip file in place of a folder"


def test_uploads_at_once_meet(tmp_path):
    file = pets(tmp_path)
    names = []
    threads = [threading.Thread(target=lambda: names.append(unpack_zip(file))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names) == 4 and list_uploads() == [names[0]] == sorted(set(names))


def bomb() -> bytes:
    return bytes(60 * 2**20)


def lying(file: Path) -> Path:
    """A file that says to be small and is not."""
    zipped(file, {"a/1.png": bytes(5000)})
    data = file.read_bytes()
    real = (5000).to_bytes(4, "little")
    file.write_bytes(data.replace(real, (10).to_bytes(4, "little")))
    return file


def encrypted(file: Path) -> Path:
    zipped(file, {"a/1.png": b"12345"})
    data = bytearray(file.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\1\2") + 8] |= 1
    file.write_bytes(data)
    return file


def cut(file: Path) -> Path:
    zipped(file, {"a/1.png": os.urandom(5000)})
    file.write_bytes(file.read_bytes()[:2000])
    return file


def flipped(file: Path) -> Path:
    zipped(file, {"a/1.png": os.urandom(5000)})
    data = bytearray(file.read_bytes())
    data[2000] ^= 255
    file.write_bytes(data)
    return file


def text(file: Path) -> Path:
    file.write_text("this is no zip file")
    return file


def twice(file: Path) -> Path:
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/1.png", b"1")
        archive.writestr("a/1.png", b"2")
    return file


LINK = {"external_attr": (stat.S_IFLNK | 0o777) << 16, "create_system": 3}
DEVICE = {"external_attr": (stat.S_IFCHR | 0o777) << 16, "create_system": 3}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda file: zipped(file, {"a/1.png": b"", "../../evil.png": b"x"}), r"'\.\./\.\./evil.png', which leaves"),
        (lambda file: zipped(file, {"/tmp/evil.png": b"x"}), "'/tmp/evil.png', which leaves"),
        (lambda file: zipped(file, {"a\\..\\..\\evil.png": b"x"}), "which leaves"),
        (lambda file: zipped(file, {"a/link.png": b"/etc/passwd"}, **LINK), "a link or device"),
        (lambda file: zipped(file, {"a/zero.png": b""}, **DEVICE), "a link or device"),
        (lambda file: zipped(file, {"a/1.png": bomb()}), "over 100 times its size"),
        (lambda file: zipped(file, {"a/1.png": b"x", ".": b"x"}), "a file without a name"),
        (lambda file: zipped(file, {}), "is empty"),
        (lying, "cannot be unpacked"),
        (encrypted, "is encrypted"),
        (cut, "cannot be unpacked .*expected a zip file"),
        (flipped, "cannot be unpacked .*expected a zip file"),
        (text, "cannot be unpacked .*File is not a zip file.*expected a zip file"),
        (twice, "holds 'a/1.png' twice"),
        (lambda file: zipped(file, {"a/1.png": b"1", "./a//./1.png": b"2"}), "holds 'a/1.png' twice"),
        (lambda file: zipped(file, {"a/1.png": b"1", "a\\1.png": b"2"}), "holds 'a/1.png' twice"),
        (lambda file: zipped(file, {"a" * 300 + "/1.png": b"x"}), "longer name .*at most 255 bytes"),
        (lambda file: zipped(file, {"a/" + "ü" * 128 + ".png": b"x"}), "longer name .*at most 255 bytes"),
    ],
    ids=["up", "absolute", "backslashes", "link", "device", "bomb", "nameless", "empty", "lying", "encrypted", "cut",
         "flipped", "text", "twice", "twice by dots", "twice by backslash", "long", "long in bytes"],
)  # fmt: skip
def test_what_is_refused_leaves_nothing(tmp_path, make, message):
    file = make(tmp_path / "bad.zip")
    with pytest.raises(ValueError, match=rf"^bad\.zip .*{message}"):
        unpack_zip(file)
    assert left(tmp_path) == [] and list_uploads() == []
    assert not Path("/tmp/evil.png").exists()


def test_limits_of_files_bytes_and_room(tmp_path, monkeypatch):
    file = pets(tmp_path, "pets.zip")
    monkeypatch.setattr(unpack, "MAX_FILES", 9)
    with pytest.raises(ValueError, match=r"pets.zip holds 10 files; expected at most 9\."):
        unpack_zip(file)
    monkeypatch.setattr(unpack, "MAX_FILES", 10)
    monkeypatch.setattr(unpack, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match=r"unpacks to 0\.0 GiB; expected at most"):
        unpack_zip(file)
    monkeypatch.undo()
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(unpack.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1}))
    with pytest.raises(ValueError, match=r"has 0\.0 GiB free"):
        unpack_zip(file)
    assert list_uploads() == []


def test_what_a_killed_process_left_is_no_upload(tmp_path):
    file = pets(tmp_path)
    name = unpack_zip(file)
    upload_folder(name).rename(uploads_dir() / f".{name}.part-0")
    assert list_uploads() == []
    assert unpack_zip(file) == name and list_uploads() == [name]
    assert not (uploads_dir() / f".{name}.part-0").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../uploads", "/etc", "a/b", "no-such-upload", "A", "x" * 300])
def test_no_other_folder_is_an_upload(tmp_path, name):
    unpack_zip(pets(tmp_path))
    with pytest.raises(ValueError, match="There is no upload"):
        find_dataset(f"upload:{name}")


def damaged(count: int = 1) -> dict[str, bytes]:
    """Members of two classes of five pictures, of which the first `count` of class b are cut."""
    whole = io.BytesIO()
    picture(1, 200, 200).save(whole, "JPEG")
    members = {f"{name}/{number}.jpg": whole.getvalue() for name in "ab" for number in range(5)}
    return members | {f"b/{number}.jpg": whole.getvalue()[:500] for number in range(count)}


def test_pictures_that_cannot_be_read_are_left_out_and_named(tmp_path):
    file = zipped(tmp_path / "pets.zip", damaged() | {"a/none.png": b"<html>"})
    name = unpack_zip(file)
    assert left_out(name) == ["a/none.png", "b/0.jpg"]
    assert sum(find_dataset(f"upload:{name}").split_sizes.values()) == 9
    for split in ("train", "validation", "test"):
        load_split(f"upload:{name}", split, 8)
    with pytest.warns(UserWarning, match=r"pets\.zip: 2 pictures that .* left out: a/none\.png, b/0\.jpg\.$"):
        find_dataset(f"folder:{file}")
    assert say_left_out([str(n) for n in range(1005)]).endswith("left out: 0, 1, 2 and 1,002 more.")
    assert say_left_out([]) == "" and say_left_out(["x"]) == "1 picture that cannot be read is left out: x."


def test_pictures_are_read_for_so_long_only(tmp_path, monkeypatch):
    monkeypatch.setattr(unpack, "LOOK_SECONDS", -1.0)
    name = unpack_zip(zipped(tmp_path / "pets.zip", damaged()))
    assert left_out(name) == []
    with pytest.raises(ValueError, match=r"Picture b/0\.jpg cannot be read \(.*[Tt]runcated"):
        for split in ("train", "validation", "test"):
            load_split(f"upload:{name}", split, 8)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a/1.txt": b"x", "b/1.txt": b"x"}, r"bad\.zip: folder 'a' holds no pictures, its files end in \.txt"),
        ({"a/1.png": b"x", "b/1.png": b"x"}, r"bad\.zip: none of its 2 pictures can be read, such as a/1\.png"),
        (damaged(5), r"'b' holds no pictures; .* 5 pictures that cannot be read are left out: b/0\.jpg, b/1\.jpg"),
        (damaged(3), r"Class 'b' has 2 pictures; expected at least 3, .* 3 pictures that cannot be read are left out"),
    ],
    ids=["text", "broken", "broken class", "too few left"],
)
def test_what_no_run_could_learn_from_leaves_nothing(tmp_path, members, message):
    with pytest.raises(ValueError, match=message):
        unpack_zip(zipped(tmp_path / "bad.zip", members))
    assert left(tmp_path) == [] and list_uploads() == []

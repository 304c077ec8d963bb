"""Folders and zip files as people have them: what is taken, and what is left out and said."""

from __future__ import annotations

import os
import zipfile

import pytest
from helpers.pictures import picture, write_classes

from redistill.data import files_in, uploads
from redistill.data.datasets import find_dataset, load_split
from redistill.data.uploads import list_uploads, unpack_zip


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "P"


def told(spec):
    return " ".join(spec.notes)


# Splits


@pytest.mark.parametrize(
    ("places", "classes", "said"),
    [
        ({"bus": {".": 4}, "car": {".": 4}, "train": {".": 4}}, ("bus", "car", "train"), "train: taken for a class"),
        ({"test": {".": 4}, "real": {".": 4}}, ("real", "test"), "test: taken for a class"),
        ({"train": {"ice": 4}, "bus": {"long": 4}}, ("bus", "train"), "stands beside bus"),
        ({"train": {"a": 4, "b": 4}, "val": {"a": 2, "b": 2}}, ("a", "b"), ""),
        ({"Training": {"a": 4, "b": 4}, "testing": {"a": 2}}, ("a", "b"), "test has no pictures of 'b'."),
        ({"train": {"a": 4, "b": 4}, "val": {"a": 2, "b": 2}, "more": {"x": 3}}, ("a", "b"), "left out: more (3"),
        ({"train": {"a": 4, "b": 4}}, ("a", "b"), ""),
        ({"train": {".": 6}, "test": {".": 2}}, ("pictures",), ""),
        ({"training_set": {"a": 4, "b": 4}, "test_set": {"a": 2, "b": 2}}, ("a", "b"), ""),
        ({"Train images": {"a": 4, "b": 4}, "eval": {"a": 2, "b": 2}}, ("a", "b"), ""),
        ({"trainers": {"a": 4, "b": 4}, "vale": {"a": 2, "c": 2}}, ("trainers", "vale"), ""),
        ({"old": {"in": 4, "out": 4}, "new": {"in": 2, "out": 2}}, ("new", "old"), "where they are splits, call them"),
        ({"cat": {"train": 4, "val": 4}, "dog": {"train": 4, "val": 4}}, ("cat", "dog"), "put them above the classes"),
        (
            {"train": {"a": 4, "b": 4, "c": 4}, "val": {"b": 2}},
            ("a", "b", "c"),
            "validation has no pictures of 'a', 'c'.",
        ),
        ({"train": {"a": 4, "b": 4}, "valid": {".": 0}, "Testing": {"a": 0}}, ("a", "b"), "not taken for a split: Te"),
    ],
)
def test_a_split_is_one_only_where_that_is_the_only_sense(folder, places, classes, said):
    for name, found in places.items():
        write_classes(folder / name, found)
    spec = find_dataset(f"folder:{folder}")
    assert spec.class_names == classes
    assert said in told(spec) if said else not spec.notes


@pytest.mark.parametrize(
    ("places", "named"),
    [
        ({"train": {"a": 4}, "dev": {"a": 2}, "val": {"a": 2}}, "dev and val are both validation"),
        ({"train": {"a": 4}, "Training": {"a": 2}}, "both train pictures"),
        ({"val": {"a": 4, "b": 4}, "test": {"a": 4, "b": 4}}, "none to train on"),
        (
            {"train": {"a": 4, "b": 4}, "holdout": {"a": 4, "b": 4}},
            r"train and holdout .* same names \(a, b\); where",
        ),
        ({"train": {"a": 4, "b": 4}, "mine": {"a": 4, "b": 1, "c": 4}}, "where both are classes, call train otherwise"),
    ],
)
def test_splits_that_cannot_be_told_apart_are_refused(folder, places, named):
    for name, found in places.items():
        write_classes(folder / name, found)
    with pytest.raises(ValueError, match=named):
        find_dataset(f"folder:{folder}")


# What is left out


@pytest.mark.parametrize(
    "name", ["@eaDir", "__MACOSX", ".thumbnails", "#recycle", "$RECYCLE.BIN", ".ipynb_checkpoints"]
)
@pytest.mark.parametrize("place", [".", "cats", "cats/deeper"])
def test_thumbnails_are_no_pictures_and_no_class(folder, name, place):
    write_classes(folder, {"cats": 4, "dogs": 4, "cats/deeper": 2})
    write_classes(folder / place, {name: 3}, seed=70)
    spec = find_dataset(f"folder:{folder}")
    assert spec.class_names == ("cats", "dogs") and sum(spec.split_sizes.values()) == 10
    assert name in told(spec) and "system" in told(spec)


@pytest.mark.parametrize("name", ["notes.txt", "clip.mp4", "no ending", "drawing.svg", "Thumbs.db", ".DS_Store"])
def test_a_file_that_is_no_picture_is_left_out_and_said(folder, name):
    write_classes(folder, {"cats": 4, "dogs": 4})
    (folder / "dogs" / name).write_text("")
    spec = find_dataset(f"folder:{folder}")
    assert sum(spec.split_sizes.values()) == 8
    assert f"dogs/{name}" in told(spec) and "Left out" in told(spec)


@pytest.mark.parametrize("ending", [".jfif", ".JPE", ".jpg"])
def test_endings_of_a_jpeg(folder, ending):
    write_classes(folder, {"cats": 4, "dogs": 4})
    picture(5).save(folder / "cats" / f"a{ending}", "JPEG")
    spec = find_dataset(f"folder:{folder}")
    assert sum(spec.split_sizes.values()) == 9 and not spec.notes
    assert sum(len(load_split(spec.name, split, 8)) for split in spec.split_sizes) == 9


def test_a_class_whose_files_are_all_of_another_kind_is_named_with_them(folder):
    write_classes(folder, {"cats": 4, "dogs": 4, "eels": 0})
    for number in range(4):
        (folder / "eels" / f"{number}.raw").write_text("")
    with pytest.raises(ValueError, match=r"'eels' holds no pictures, its files end in \.raw; expected files ending in"):
        find_dataset(f"folder:{folder}")


def test_pictures_beside_the_class_folders_are_said(folder):
    write_classes(folder, {"cats": 4, "dogs": 4, ".": 2})
    assert "beside the class folders: 2 pictures (000.png, 001.png)" in told(find_dataset(f"folder:{folder}"))


@pytest.mark.parametrize("names", [("cat", "Cat"), ("big cat", "bigcat"), ("cat", "cat "), ("STRASSE", "Straße")])
def test_classes_whose_names_are_nearly_one_are_told(folder, names):
    write_classes(folder, {**dict.fromkeys(names, 4), "dog": 4})
    spec = find_dataset(f"folder:{folder}")
    assert len(spec.class_names) == 3 and "are taken for different classes" in told(spec)


def test_accents_in_one_character_or_two_are_one_name(folder):
    one, two = "K\u00e4fer", "Ka\u0308fer"
    write_classes(folder, {f"train/{one}": 4, "train/dog": 4, f"val/{two}": 4})
    assert find_dataset(f"folder:{folder}").class_names == (one, "dog")
    write_classes(folder / "train", {two: 4})
    with pytest.raises(ValueError, match="two folders are called 'K\u00e4fer', written differently"):
        find_dataset(f"folder:{folder}")


# Links


def test_linked_folders_and_pictures_are_followed(folder, tmp_path):
    write_classes(folder, {"cats": 4, "dogs": 4})
    write_classes(tmp_path / "elsewhere", {"more": 3, "eels": 4}, seed=90)
    (folder / "cats" / "linked").symlink_to(tmp_path / "elsewhere" / "more")
    (folder / "eels").symlink_to(tmp_path / "elsewhere" / "eels")
    (folder / "dogs" / "linked.png").symlink_to(tmp_path / "elsewhere" / "more" / "000.png")
    spec = find_dataset(f"folder:{folder}")
    assert spec.class_names == ("cats", "dogs", "eels") and sum(spec.split_sizes.values()) == 4 + 3 + 5 + 4
    assert sum(len(load_split(spec.name, split, 8)) for split in spec.split_sizes) == 16


@pytest.mark.parametrize("target", ["..", "../..", ".", "nowhere", "round", "../dogs/back"])
def test_links_that_lead_back_or_nowhere_are_left_out(folder, target):
    write_classes(folder, {"cats": 4, "dogs": 4})
    (folder / "cats" / "round").symlink_to(target)
    if target.endswith("back"):
        (folder / "dogs" / "back").symlink_to("../cats/round")
    spec = find_dataset(f"folder:{folder}")
    assert sum(spec.split_sizes.values()) == 8 and "cats/round" in told(spec)


def test_a_folder_that_cannot_be_looked_into_is_one_sentence(folder, monkeypatch):
    write_classes(folder, {"cats": 4, "dogs": 4})
    usual = os.scandir

    def scandir(place):
        if os.path.basename(place) == "dogs":
            raise PermissionError(13, "Permission denied", str(place))
        return usual(place)

    monkeypatch.setattr(files_in.os, "scandir", scandir)
    with pytest.raises(ValueError, match=r"dogs cannot be looked into \(Permission denied\)\."):
        find_dataset(f"folder:{folder}")


# Names


@pytest.mark.parametrize("name", [b"K\xe4fer", "Käfer".encode(), "Ka\u0308fer".encode(), b"ratio 1:a", b"a b'c"])
def test_names_in_any_encoding(folder, name, capsys):
    write_classes(folder, {"dogs": 4})
    place = os.path.join(os.fsencode(folder), name)
    os.mkdir(place)
    for number in range(4):
        picture(number).save(os.fsdecode(os.path.join(place, name + b"%d.png" % number)))
    spec = find_dataset(f"folder:{folder}")
    assert len(spec.class_names) == 2
    print(*spec.class_names)
    load_split(spec.name, "train", 8)
    with open(os.path.join(place, b"\xff.png"), "w") as broken:
        broken.write("none")
    with pytest.raises(ValueError, match="cannot be read") as raised:
        [load_split(spec.name, split, 8) for split in spec.split_sizes]
    print(raised.value)
    str(raised.value).encode()


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31mb", "a\rb", "a\x85b"])
def test_control_characters_do_not_reach_a_terminal(folder, name):
    write_classes(folder, {"dogs": 4, name: 4})
    (folder / name / "notes\n.txt").write_text("")
    spec = find_dataset(f"folder:{folder}")
    assert spec.class_names[0].startswith("a\\x") and "".join((*spec.class_names, *spec.notes)).isprintable()
    assert sum(len(load_split(spec.name, split, 8)) for split in spec.split_sizes) == 8


# Zip files


def zipped(file, names, folder_names=()):
    with zipfile.ZipFile(file, "w") as archive:
        for number, name in enumerate(names):
            member = zipfile.ZipInfo()
            member.filename = name
            path = file.parent / "one.png"
            picture(number).save(path)
            archive.writestr(member, path.read_bytes())
    return file


@pytest.mark.parametrize("form", ["a\\{}.png", "ratio 1:a/{}.png", "a:b/{}.png", "c d/{}.png"])
def test_names_of_windows_and_with_colons_stay_in_their_folder(tmp_path, form):
    names = [form.format(number) for number in range(4)] + [f"other/{number}.png" for number in range(4)]
    spec = find_dataset(f"upload:{unpack_zip(zipped(tmp_path / 'a.zip', names))}")
    assert spec.class_names == tuple(sorted({form.replace(chr(92), "/").split("/")[0], "other"}))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a/1.png", "a\\1.png"], "'a/1.png' twice"),
        (["a/1.png", "a/1.png/2.png"], "as a file and as a folder"),
        (["C:\\a\\1.png"], "leaves its folder"),
        (["C:/a/1.png"], "leaves its folder"),
        (["/".join(["d"] * 1500) + "/1.png"], "more than 32 folders deep"),
    ],
)
def test_paths_that_no_folder_can_hold_are_one_sentence(tmp_path, names, said):
    with pytest.raises(ValueError, match=rf"a\.zip .*{said}"):
        unpack_zip(zipped(tmp_path / "a.zip", names))
    assert list_uploads() == []


def test_a_name_in_utf_8_that_does_not_say_so(tmp_path):
    names = [f"{name}/{number}.png" for name in ("Käfer", "b") for number in range(4)]
    file = zipped(tmp_path / "a.zip", names)
    file.write_bytes(file.read_bytes().replace((0x800).to_bytes(2, "little") + b"\0\0", b"\0\0\0\0"))
    assert "Käfer" in find_dataset(f"upload:{unpack_zip(file)}").class_names


def test_small_files_count_as_what_they_take_and_the_reserve_stays(tmp_path, monkeypatch):
    file = zipped(tmp_path / "a.zip", [f"{name}/{number}.png" for name in "ab" for number in range(50)])
    whole = uploads.RESERVE + 100 * uploads.BLOCK  # what the files take without their folders
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda path: type("Usage", (), {"free": whole}))
    with pytest.raises(ValueError, match=r"GiB free, of which .* are kept"):
        unpack_zip(file)
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda path: type("Usage", (), {"free": whole + 9 * 4096}))
    assert unpack_zip(file)

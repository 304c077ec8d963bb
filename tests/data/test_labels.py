"""Classes from a table beside pictures: what is taken, what is left out and said, and what is refused."""

from __future__ import annotations

import zipfile

import pytest
from helpers.pictures import write_classes

from redistill.data.datasets import drawn_from, find_dataset, load_split
from redistill.data.uploads import unpack_zip


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "P"


def table(count, name="{:03d}.png", header="file,label", between=",", first=0):
    """Lines of a table of the first pictures of a folder: even ones are cats, odd ones dogs."""
    lines = [between.join((name.format(row), ("cat", "dog")[row % 2])) for row in range(first, first + count)]
    return "\n".join([header, *lines]) + "\n"


def told(spec):
    return " ".join(spec.notes)


@pytest.mark.parametrize(
    ("place", "text"),
    [
        (".", table(8)),
        (".", table(8, header="Filename;Class", between=";")),
        ("images", table(8, header="image\tcategory", between="\t")),
        ("images", table(8, "images/{:03d}.png", "Image Path,class-name")),
        ("images", table(8, "images\\{:03d}.png", "path,label")),
        ("images", table(8, "./images/{:03d}.png", "path,label")),
        ("train_images", table(8, "{:03d}", "id,target")),
        ("deep/er/images", table(8, "images/{:03d}.png")),
        (".", "sep=;\n" + table(8, header="file;label", between=";")),
        (".", "SEP=\t\n" + table(8, header="file\tlabel", between="\t")),
        (".", table(8, header='file;"label";"as seen by a, b, c, or d"', between=";")),
        (".", table(8, header='"file","label","one; two; three; four"')),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_table_tells_the_classes(folder, place, text, encoding):
    write_classes(folder, {place: 8})
    (folder / "labels.csv").write_text(text, encoding=encoding, newline="\r\n")
    spec = find_dataset(f"folder:{folder}")
    assert spec.class_names == ("cat", "dog") and sum(spec.split_sizes.values()) == 8
    assert "labels.csv: tells the class of 8 pictures" in told(spec) and "Left out" not in told(spec)
    assert load_split(spec.name, "train", 8).labels.bincount().tolist() == [2, 2]


def test_what_is_left_out_is_said(folder):
    write_classes(folder, {".": 11})
    (folder / "labels.csv").write_text(table(8) + "gone.png,cat\n008.png,\n\n,dog\n")
    notes = told(find_dataset(f"folder:{folder}"))
    assert "without a picture here: 2 rows (gone.png, no name)" in notes
    assert "without a class: 1 row (008.png)" in notes and "in no table: 2 pictures (009.png, 010.png)" in notes


def test_tables_for_splits(folder):
    """As competitions give them: names that stand in both folders, and test pictures without classes."""
    write_classes(folder, {"train": 12, "val": 4, "test": 5})
    (folder / "train.csv").write_text(table(12, "{:03d}", "image_id,label"))
    (folder / "val.csv").write_text(table(4, "{:03d}", "image_id,label"))
    (folder / "test.csv").write_text("image_id\n000\n")
    spec = find_dataset(f"folder:{folder}")
    assert spec.class_names == ("cat", "dog") and spec.split_sizes == {"train": 10, "validation": 2, "test": 4}
    assert "test.csv: not taken, its columns are 'image_id'" in told(spec) and "in no table: 5 pictures" in told(spec)


@pytest.mark.parametrize("tables", ["files", "column", "folders", "one each"])
def test_splits_by_table_column_or_folder(folder, tables):
    write_classes(folder, {"train": 8, "test": 4} if tables in ("folders", "one each") else {".": 12})
    if tables == "files":
        (folder / "train.csv").write_text(table(8))
        (folder / "test.csv").write_text(table(4, first=8))
    elif tables == "column":
        lines = table(12).splitlines()
        parts = ["Split", *["train"] * 8, *["testing"] * 4]
        (folder / "labels.csv").write_text("\n".join(map(",".join, zip(lines, parts, strict=True))))
    elif tables == "folders":
        (folder / "labels.csv").write_text(
            table(8, "train/{:03d}.png") + table(4, "test/{:03d}.png").partition("\n")[2]
        )
    else:
        (folder / "train" / "labels.csv").write_text(table(8))
        (folder / "test" / "labels.csv").write_text(table(4))
    assert find_dataset(f"folder:{folder}").split_sizes == {"train": 6, "validation": 2, "test": 4}


@pytest.mark.parametrize(
    ("text", "classes", "said"),
    [
        (
            table(6, "cats/{:03d}.png").replace("cat\n", "cats\n").replace("dog\n", "cats\n"),
            ("cats", "dogs"),
            "not taken",
        ),
        ("file,label\ncats/000.png,0\ndogs/000.png,1\n", ("cats", "dogs"), "subfolders tell the classes"),
        ("number,name\n0,cats\n1,dogs\n", ("cats", "dogs"), "its columns are 'number', 'name'"),
        ("file,label\nother.png,x\n", ("cats", "dogs"), "not taken"),
        (table(6, "cats/{:03d}.png"), ("cat", "dog"), "in no table: 6 pictures (dogs/000.png"),
        ("", ("cats", "dogs"), "its columns are none"),
    ],
)
def test_folders_and_a_table(folder, text, classes, said):
    write_classes(folder, {"cats": 6, "dogs": 6})
    (folder / "labels.csv").write_text(text)
    spec = find_dataset(f"folder:{folder}")
    assert spec.class_names == classes and said in told(spec)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"file,label\n000.png,c\0t\n", "labels.csv holds a zero character"),
        ("file,label\n000.png,Bär\n".encode("latin-1"), "labels.csv is no text in UTF-8"),
        (b"\xff\xfefile,label\n", "labels.csv is no text in UTF-8"),
        (b"PK\x03\x04\xff\x00", "labels.csv is no text"),
        (b"file,label\n000.png,cat\n000.png,dog\n", "000.png twice, as 'cat' of train and as 'dog' of train"),
        (b"file,label\n000.jpg,cat\n", "names none of the pictures .*, but 000.jpg; expected names such as 000.png"),
        (b"file,label\n", "names none of the pictures"),
        (b"file,label\n" + b"000.png," + b"x" * 300, "class of 300 characters"),
        (b"file,label\n000.png," + b"x" * 200_000, "cannot be read as CSV"),
        (b"file,label,split\n000.png,cat,holdout\n", "split 'holdout'; expected one of: train"),
        (b"file,label,split\n000.png,cat,test\n", "no pictures to train on"),
    ],
)
def test_tables_that_cannot_be_used(folder, data, named):
    write_classes(folder, {".": 6})
    (folder / "labels.csv").write_bytes(data)
    with pytest.raises(ValueError, match=named):
        find_dataset(f"folder:{folder}")


def test_one_name_for_two_pictures_is_refused(folder):
    write_classes(folder, {"a": 6, "b": 6})
    (folder / "labels.csv").write_text(table(6))
    with pytest.raises(ValueError, match=r"'000.png', which is a/000\.png and b/000\.png; expected paths"):
        find_dataset(f"folder:{folder}")


def test_a_zip_file_with_a_table_and_a_damaged_picture(folder, tmp_path):
    write_classes(folder, {"pets": 9})
    (folder / "pets" / "labels.csv").write_text(table(9))
    (folder / "pets" / "008.png").write_bytes(b"damaged")
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(folder))
    spec = find_dataset(f"upload:{unpack_zip(tmp_path / 'pets.zip')}")
    assert spec.class_names == ("cat", "dog") and sum(spec.split_sizes.values()) == 8
    assert "without a picture here: 1 row (008.png)" in told(spec)


def test_another_class_draws_other_splits(folder):
    write_classes(folder, {".": 8})
    (folder / "labels.csv").write_text(table(8))
    before = drawn_from(f"folder:{folder}")
    (folder / "labels.csv").write_text(table(8).replace("007.png,dog", "007.png,cat"))
    assert drawn_from(f"folder:{folder}") != before


def test_accents_of_two_kinds_are_one_class_and_names_that_differ_in_letters_of_one_are_told(folder):
    write_classes(folder, {".": 9})
    names = ["B\u00e4r", "Ba\u0308r", "Hund", "hund ", "HUND"]
    lines = [f"{row:03d}.png,{names[row % 2] if row < 6 else 'Hund'}" for row in range(9)]
    (folder / "labels.csv").write_text("\n".join(["file,label", *lines]))
    spec = find_dataset(f"folder:{folder}")
    assert spec.class_names == ("B\u00e4r", "Hund") and "different" not in told(spec)
    lines = [f"{row:03d}.png,{names[2 + row % 3]}" for row in range(9)]
    (folder / "labels.csv").write_text("\n".join(["file,label", *lines]))
    assert "'HUND' and 'Hund' and 'hund' are taken for different classes" in told(find_dataset(f"folder:{folder}"))

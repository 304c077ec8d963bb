"""Folders of class subfolders as people have them, and what is said about those that cannot be used."""

from __future__ import annotations

import shutil

import pytest
import torch
from helpers.pictures import picture, write_classes

from redistill.data.datasets import SPLITS, find_dataset, load_split


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "pets"


def test_a_folder_of_classes(folder):
    write_classes(folder, {"dogs": 20, "cats": 10})
    picture(7).save(folder / "cats" / "grey.JPG")
    (folder / "README.txt").write_text("beside the classes")
    (folder / "cats" / ".DS_Store").write_text("of the system")
    spec = find_dataset(f"folder:{folder}")
    assert spec.class_names == ("cats", "dogs") and spec.tasks == ("classification", "generation")
    assert spec.split_sizes == {"train": 25, "validation": 3, "test": 3}
    assert spec.attribution == "own pictures (pets)"
    parts = [load_split(spec.name, split, 16) for split in SPLITS]
    images = torch.cat([part.images for part in parts])
    labels = torch.cat([part.labels for part in parts])
    assert images.shape == (31, 3, 16, 16) and labels.bincount().tolist() == [11, 20]
    assert len({image.numpy().tobytes() for image in images}) == 31, "no picture stands in two splits"
    other = load_split(spec.name, "validation", 16, split_seed=1)
    assert not torch.equal(other.images, parts[1].images)
    assert torch.equal(load_split(spec.name, "train", 16, limit=4).images, parts[0].images[:4])


def test_imagenets_layout_around_everything(folder):
    inner = folder / "wrapped" / "ILSVRC"
    write_classes(inner / "train", {"n01": 10, "n02": 10})
    write_classes(inner / "val", {"n01": 3, "n02": 3}, seed=50)
    shutil.copytree(inner / "train" / "n01", inner / "train" / "n01" / "deeper")
    spec = find_dataset(f"folder:{folder}")
    assert spec.class_names == ("n01", "n02")
    assert spec.split_sizes == {"train": 27, "validation": 3, "test": 6}, "val is what is reported"


def test_pictures_without_classes_are_for_generation(folder):
    write_classes(folder / "train", {".": 12})
    write_classes(folder / "test", {".": 2}, seed=50)
    spec = find_dataset(f"folder:{folder}")
    assert spec.tasks == ("generation",) and spec.class_names == ("pictures",)
    assert spec.split_sizes == {"train": 11, "validation": 1, "test": 2}


def empty_class(folder):
    write_classes(folder, {"cats": 3, "dogs": 3})
    (folder / "birds").mkdir()


def unknown_class(folder):
    write_classes(folder / "train", {"cats": 3, "dogs": 3})
    write_classes(folder / "test", {"birds": 3})


def small_class(folder):
    write_classes(folder, {"cats": 3, "dogs": 2})


def nothing(folder):
    folder.mkdir()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "There is no folder .*pets; expected one with a subfolder of pictures for each class"),
        (nothing, "folder 'pictures' holds no pictures"),
        (empty_class, "folder 'birds' holds no pictures; expected files ending in .bmp"),
        (unknown_class, r"class 'birds' of test is not in train, which has \['cats', 'dogs'\]"),
        (small_class, "Class 'dogs' has 2 pictures; expected at least 3, one each for training and validation and"),
    ],
)
def test_folders_that_cannot_be_used(folder, make, message):
    make(folder)
    with pytest.raises(ValueError, match=message):
        find_dataset(f"folder:{folder}")

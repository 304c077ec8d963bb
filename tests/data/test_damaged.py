"""A few damaged pictures of a folder are left out and named; many are refused; the splits stay what they are."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
import torch
from helpers.pictures import write_classes
from helpers.records import read_metrics

from app.distill import data_panel, watch_view
from redistill.cli.commands import main
from redistill.common.sentences import Note, notes_told
from redistill.data import source
from redistill.data.datasets import SPLITS, drawn_from, find_dataset, load_split


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    return write_classes(tmp_path / "P", {"train/a": 20, "train/b": 20, "val/a": 10, "test/b": 4})


def damage(folder, names, how="cut"):
    for name in names:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes({"cut": data[:200], "empty": b"", "page": b"<html>" * 99}[how])


@pytest.mark.parametrize("how", ["cut", "empty", "page"])
@pytest.mark.parametrize("limit", [None, 30, 39])
def test_a_few_are_left_out_and_named_each_time(folder, how, limit):
    name = f"folder:{folder}"
    whole, drawn = load_split(name, "train", 8, limit), drawn_from(name)
    listing = source_of(folder).split("train", 0)
    lost = [row for row in range(len(listing)) if listing.names[row] in ("train/a/003.png", "train/b/019.png")]
    damage(folder, ["train/a/003.png", "train/b/019.png"], how)
    kept = torch.tensor([row for row in range(len(whole)) if row not in lost])
    for _ in range(2):  # decoded, and from the cache
        with pytest.warns(UserWarning, match=r"train: .* left out: .*train/(a/003|b/019)\.png"):
            split = load_split(name, "train", 8, limit)
        assert torch.equal(split.images, whole.images[kept]) and torch.equal(split.labels, whole.labels[kept])
    assert drawn_from(name) == drawn and find_dataset(name).split_sizes["train"] == 40
    with pytest.warns(UserWarning):
        load_split(name, "train", 8)
    with pytest.warns(UserWarning):
        assert torch.equal(load_split(name, "train", 8, limit).images, split.images), "the whole file serves"


def source_of(folder):
    from redistill.data.folder import open_folder

    return open_folder(folder, "P")


@pytest.mark.parametrize(
    ("names", "split", "said"),
    [
        (
            [f"train/a/{n:03d}.png" for n in range(3)],
            "train",
            "3 of .* damaged; expected at most 2 .*Picture train/a/00",
        ),
        ([f"val/a/{n:03d}.png" for n in range(2)], "validation", "2 of .* expected at most 1 .*Picture val/a/00"),
        ([f"test/b/{n:03d}.png" for n in range(2)], "test", "2 of .* expected at most 1 .*Picture test/b/00"),
    ],
)
def test_many_are_refused(folder, names, split, said):
    damage(folder, names)
    for _ in range(2):
        with pytest.raises(ValueError, match=said):
            load_split(f"folder:{folder}", split, 8)


def test_one_of_a_small_split_is_left_out_where_there_are_enough_pictures(folder, tmp_path):
    damage(folder, ["test/b/000.png"])
    with pytest.warns(UserWarning, match=r"test/b/000\.png"):
        assert len(load_split(f"folder:{folder}", "test", 8)) == 3
    small = write_classes(tmp_path / "small", {"train/a": 10, "test/a": 4})
    damage(small, ["test/a/000.png"])
    with pytest.raises(ValueError, match=r"^Picture test/a/000\.png cannot be read"):
        load_split(f"folder:{small}", "test", 8)


def test_none_left_is_refused(folder):
    name = f"folder:{folder}"
    listing = source_of(folder).split("train", 0)
    damage(folder, [listing.names[0]])
    for _ in range(2):
        with pytest.raises(ValueError, match="cannot be read"):
            load_split(name, "train", 8, limit=1)
        with pytest.warns(UserWarning):
            assert len(load_split(name, "train", 8)) == 39


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), PermissionError(13, "denied"), MemoryError()])
def test_what_may_be_readable_later_is_not_left_out(folder, error, monkeypatch):
    opened = source.open_image

    def failing(file):
        if file.name == "003.png":
            raise error
        return opened(file)

    monkeypatch.setattr(source, "open_image", failing)
    with pytest.raises(ValueError, match=r"003\.png cannot be read"):
        load_split(f"folder:{folder}", "train", 8)
    monkeypatch.undo()


def test_a_mended_picture_is_taken_again(folder):
    name, whole = f"folder:{folder}", (folder / "val/a/004.png").read_bytes()
    damage(folder, ["val/a/004.png"])
    with pytest.warns(UserWarning):
        assert len(load_split(name, "validation", 8)) == 9
    (folder / "val/a/004.png").write_bytes(whole)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        split = load_split(name, "validation", 8)
    assert len(split) == 10 and np.all(split.labels.numpy() == 0) and set(SPLITS) == set(find_dataset(name).split_sizes)


@pytest.fixture
def trained(folder, tmp_path):
    """A run on 44 pictures of which one of each split is damaged: its folder, and the options that made it."""
    damage(folder, ["train/a/003.png", "val/a/004.png", "test/b/000.png"])
    run = tmp_path / "run"
    return run, ["train", "--dataset", f"folder:{folder}", "--image-size", "16", "--steps", "1", "--batch-size", "4",
                 "--no-red", "--run-dir", str(run)]  # fmt: skip


def test_the_shell_tells_them_once_in_one_sentence_and_the_run_notes_them(folder, trained, capsys):
    run, options = trained
    assert main(options) == 0
    told = [line for line in capsys.readouterr().err.replace("\r", "\n").splitlines() if "left out" in line]
    for split, name in (("train", "train/a/003.png"), ("validation", "val/a/004.png"), ("test", "test/b/000.png")):
        (line,) = [line for line in told if f", {split}:" in line]
        assert line.startswith(f"redistill: folder:{folder}") and name in line and "Warning" not in line
    first, *_, last = read_metrics(run)
    assert "train: 1 picture" in first["left_out"] and "validation: 1 picture" in first["left_out"]
    assert "test/b/000.png" in last["left_out"]
    said = watch_view.left_out([first, last])
    assert len(said) == 2 and "val/a/004.png" in said[0]
    assert main(["evaluate", str(run / "student")]) == 0
    out, err = capsys.readouterr()
    assert "left out" not in out.split("{")[0] and "test/b/000.png" in err and "Warning" not in err


@pytest.mark.parametrize("value", [5, None, {"a": 1}, ["x"], ""])
def test_the_page_takes_no_other_value_for_a_sentence(value):
    assert watch_view.left_out([{"left_out": value}, {"kind": "final", "left_out": value}]) == []


def test_pictures_that_are_shown_say_which_are_damaged(folder, monkeypatch):
    listing = source_of(folder).split("train", 0)
    damage(folder, [listing.names[0]])
    monkeypatch.setattr(data_panel, "_of_runs", lambda: {f"folder:{folder}"})
    with pytest.warns(UserWarning):
        shown = data_panel.show_pictures(f"folder:{folder}")
    assert listing.names[0] in shown and "left out" in shown


def test_other_warnings_stay_as_python_writes_them(capsys):
    with notes_told(lambda text: print(f"told {text}")):
        for number in (1, 1, 2):
            warnings.warn(f"note {number}", Note, stacklevel=1)
        with warnings.catch_warnings(record=True) as others:
            warnings.simplefilter("always")
            warnings.warn("another", UserWarning, stacklevel=1)
    assert capsys.readouterr().out.splitlines() == ["told note 1", "told note 2"] and len(others) == 1


def test_a_pipe_is_no_picture(tmp_path):
    """It would be waited for until somebody writes into it."""
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(OSError, match="no file"):
        source.open_picture(tmp_path / "a.png")

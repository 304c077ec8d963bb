"""The data sets that are drawn: what their pictures show, and how they are kept in the cache."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from redistill.common import cache
from redistill.data import drawn, emoji, scenes
from redistill.data.augmentation import shrink
from redistill.data.datasets import DATASETS, SPLITS, load_split

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """A cache of this file's own; one for all tests, because drawing the faces takes seconds."""
    folder = tmp_path_factory.getbasetemp() / "pictures"
    monkeypatch.setenv("REDISTILL_CACHE", str(folder))
    return folder


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    """An empty cache, and chunks small enough to draw."""
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(drawn, "CHUNK", 20)
    return tmp_path / "cache"


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_scenes_depend_on_split_and_index_alone():
    part = scenes.draw_scenes("train", 0, 24)
    assert np.array_equal(part[16:], scenes.draw_scenes("train", 16, 24))
    assert len({scene.tobytes() for scene in part}) == 24
    for other in ("validation", "test"):
        assert (part[:4] != scenes.draw_scenes(other, 0, 4)).mean() > 0.9, "another split, other pictures"


def test_scenes_are_those_of_this_drawing_version():
    """Mean colours of four scenes. If they changed on purpose: change `scenes.DRAWING` too, then the figures."""
    assert scenes.DRAWING == "1"
    means = scenes.draw_scenes("test", 0, 4).mean(axis=(2, 3))
    expected = [[71.3, 141.7, 116.0], [156.7, 119.6, 131.0], [191.3, 82.6, 139.2], [107.8, 119.4, 105.6]]
    np.testing.assert_allclose(means, expected, atol=1.0)


def test_labels_are_balanced_and_shuffled():
    labels = scenes.scene_labels("train", 12_000)
    assert (np.bincount(labels) == 240).all()
    assert (np.bincount(scenes.scene_labels("test", 130), minlength=50) >= 2).all()
    assert np.array_equal(scenes.scene_labels("train", 70), labels[:70])
    assert not np.array_equal(labels[:50], labels[50:100]) and not np.array_equal(labels[:50], np.arange(50))
    assert not np.array_equal(labels[:50], scenes.scene_labels("test", 50))


def test_target_stands_in_its_scene():
    """Two scenes of the same seed differ where the target stands, and only there."""
    settings = scenes.SceneSettings(target_rotation=0, in_front=(0, 0))
    one, two = (scenes.draw_scene(label, np.random.default_rng(5), settings) for label in (3, 26))
    changed = (one != two).any(axis=0)
    share = changed.mean()
    assert 0.08 < share < 0.65, "a target covers 0.42 to 0.8 of the side"
    rows, columns = np.nonzero(changed)
    assert max(np.ptp(rows), np.ptp(columns)) < 0.8 * scenes.SIDE


def test_classes_and_clutter_are_apart_and_drawn():
    classes, clutter = list(emoji.parse_table(scenes.CLASSES)), scenes.CLUTTER.split()
    assert len(clutter) == len(set(clutter)) and not set(classes) & set(clutter)
    for code in clutter:  # the classes themselves are drawn by the scenes above
        assert np.asarray(emoji.render(code, 16))[:, :, 3].max() > 100
    looks = np.stack([emoji.render_on_white(code, 16).astype(np.float32) for code in classes]).reshape(50, -1)
    distances = np.abs(looks[:, None] - looks[None]).mean(axis=2) + 255 * np.eye(50)
    assert distances.min() > 15, "no two classes are nearly the same picture"


def test_settings_make_other_pictures_and_another_cache(monkeypatch):
    before, key = scenes.draw_scene(7, np.random.default_rng(1)), scenes.cache_key()
    harder = scenes.SceneSettings(behind=(8, 9), target_size=(0.3, 0.4))
    assert not np.array_equal(before, scenes.draw_scene(7, np.random.default_rng(1), harder))
    monkeypatch.setattr(scenes, "SCENES", harder)
    assert scenes.cache_key() != key
    monkeypatch.undo()
    monkeypatch.setattr(scenes, "DRAWING", "next")
    assert scenes.cache_key() != key


def test_32_pixel_scenes_are_the_64_pixel_scenes_averaged():
    large = load_split("emoji-clutter", "validation", 64, limit=5)
    small = load_split("emoji-clutter", "validation", 32, limit=5)
    means = large.images.float().view(5, 3, 32, 2, 32, 2).mean(dim=(3, 5))
    assert (small.images.float() - means).abs().max() <= 0.5
    assert torch.equal(large.labels, small.labels)


def test_cached_scenes_equal_drawn_ones(fresh_cache):
    drawn = load_split("emoji-clutter", "train", limit=45)
    stored = files_in(fresh_cache)
    assert stored == ["train-00000.npz", "train-00020.npz"], "whole chunks are kept, the rest is not"
    again = load_split("emoji-clutter", "train", limit=45)
    assert torch.equal(drawn.images, again.images) and torch.equal(drawn.labels, again.labels)
    assert np.array_equal(drawn.images.numpy(), scenes.draw_scenes("train", 0, 45))


def test_limited_split_reads_what_is_cached_and_draws_no_more_than_it_holds(fresh_cache, monkeypatch):
    whole = load_split("emoji-clutter", "test", limit=20)
    asked = []
    draw = scenes.draw_scenes
    monkeypatch.setattr(scenes, "draw_scenes", lambda *where: asked.append(where) or draw(*where))
    assert torch.equal(load_split("emoji-clutter", "test", limit=7).images, whole.images[:7])
    assert asked == []
    assert torch.equal(load_split("emoji-clutter", "test", limit=23).images[:20], whole.images)
    assert asked == [("test", 20, 23)]


def damage_by_cutting(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])


def damage_by_flipping(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


def damage_by_emptying(file: Path) -> None:
    file.write_bytes(b"")


def damage_by_another_array(file: Path) -> None:
    with open(file, "wb") as stream:
        np.savez(stream, array=np.zeros((2, 3, 64, 64), np.uint8))


@pytest.mark.parametrize("damage", [damage_by_cutting, damage_by_flipping, damage_by_emptying, damage_by_another_array])
def test_damaged_cache_file_is_drawn_again(fresh_cache, damage):
    whole = load_split("emoji-clutter", "train", limit=20)
    (file,) = fresh_cache.rglob("*.npz")
    damage(file)
    with pytest.warns(UserWarning, match=r"train-00000\.npz .*; drawing it again"):
        assert torch.equal(load_split("emoji-clutter", "train", limit=20).images, whole.images)
    assert torch.equal(load_split("emoji-clutter", "train", limit=20).images, whole.images)  # without a warning
    assert files_in(fresh_cache) == ["train-00000.npz"]


def test_cache_folder_that_cannot_be_written_costs_a_warning(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("a file where the folder should be")
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(drawn, "CHUNK", 10)
    with pytest.warns(UserWarning, match="made anew each time; set REDISTILL_CACHE"):
        images = load_split("emoji-clutter", "train", limit=10).images
    assert np.array_equal(images.numpy(), scenes.draw_scenes("train", 0, 10))


def test_write_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def full_disk(path, array):
        path.write_bytes(b"PK half an archive")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.np, "savez", full_disk)
    made = np.arange(6, dtype=np.uint8)
    with pytest.warns(UserWarning, match="No space left on device"):
        assert np.array_equal(cache.cached_array(tmp_path / "a.npz", (6,), lambda: made), made)
    assert files_in(tmp_path) == []


@pytest.mark.process
def test_processes_that_draw_at_once_never_meet_half_a_file(tmp_path):
    script = (
        "import sys, warnings, numpy as np; from pathlib import Path\n"
        "from redistill.common.cache import cached_array, replaced_file\n"
        "warnings.simplefilter('error')\n"
        "file, made = Path(sys.argv[1]), np.full((300, 1000), 7, np.uint8)\n"
        "for _ in range(60):\n"
        "    assert (cached_array(file, made.shape, lambda: made) == 7).all()\n"
        "    with replaced_file(file) as part:\n"
        "        np.savez(part, array=made)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "shared.npz")]
    workers = [subprocess.Popen(command, cwd=REPOSITORY) for _ in range(3)]
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0, 0]
    assert files_in(tmp_path) == ["shared.npz"]


def test_cache_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("REDISTILL_CACHE", "~/pictures")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache.cache_dir() == Path("/home/somebody/pictures")
    monkeypatch.delenv("REDISTILL_CACHE")
    assert cache.cache_dir() == tmp_path / "redistill"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.cache_dir() == Path("/home/somebody/.cache/redistill")


def test_faces_are_each_in_one_split():
    parts = {split: load_split("emoji-faces", split) for split in SPLITS}
    labels = torch.cat([part.labels for part in parts.values()])
    assert sorted(labels.tolist()) == list(range(129))
    assert [len(part) for part in parts.values()] == [105, 12, 12]
    pictures = torch.cat([part.images for part in parts.values()])
    assert len({picture.numpy().tobytes() for picture in pictures}) == 129
    smile = pictures[labels == DATASETS["emoji-faces"].class_names.index("grinning")][0]
    assert smile[:, 0, 0].tolist() == [255, 255, 255], "on white"
    red, green, blue = smile[:, 16, 32].tolist()  # the forehead of a yellow face
    assert red > 220 and green > 200 and blue < 90


def test_food_is_a_set_of_its_own_each_in_one_split(own_cache):
    parts = {split: load_split("emoji-food", split) for split in SPLITS}
    labels = torch.cat([part.labels for part in parts.values()])
    assert sorted(labels.tolist()) == list(range(124)) and [len(part) for part in parts.values()] == [100, 12, 12]
    pictures = torch.cat([part.images for part in parts.values()])
    assert len({picture.numpy().tobytes() for picture in pictures}) == 124
    names = DATASETS["emoji-food"].class_names
    colours = {name: pictures[labels == names.index(name)][0, :, 28:36, 26:34] for name in ("lemon", "red apple")}
    red, green, blue = colours["lemon"].float().mean(dim=(1, 2)).tolist()
    assert red > 220 and green > 200 and blue < 120
    red, green, blue = colours["red apple"].float().mean(dim=(1, 2)).tolist()
    assert red > 200 and green < 130 and blue < 120
    assert len(files_in(own_cache / "emoji-food")) == 1


def test_faces_have_smooth_edges_and_are_cached_as_drawn(own_cache):
    faces = load_split("emoji-faces", "test", 32)
    assert faces.images.shape == (12, 3, 64, 64)
    assert len(shrink(faces.images, 32)[0].unique()) > 60, "anti-aliased: many shades"
    assert len(files_in(own_cache / "emoji-faces")) == 1
    codes = list(emoji.parse_table(emoji.FACES))
    for picture, label in zip(faces.images[:3], faces.labels, strict=False):
        expected = emoji.render_on_white(codes[label], 64, drawn.EMOJI_MARGIN)
        assert np.array_equal(picture.numpy(), expected)
    assert torch.equal(load_split("emoji-faces", "test", 32, limit=2).images, faces.images[:2])


def test_every_face_is_in_every_split_clean_and_spoilt():
    test = load_split("emoji-identity", "test", 32)
    assert test.images.shape == (516, 3, 32, 32) and test.labels.bincount().tolist() == [2] * 258
    assert torch.equal(load_split("emoji-identity", "test", 32, limit=200).images, test.images[:200])
    other = load_split("emoji-identity", "validation", 32, limit=258)
    assert len({picture.numpy().tobytes() for picture in (*test.images, *other.images)}) > 0.98 * (516 + 258)
    names = DATASETS["emoji-identity"].class_names
    smile, spoilt = (test.images[test.labels == names.index(f"grinning{suffix}")][0] for suffix in ("", ", spoilt"))
    for picture in (smile, spoilt):
        red, green, blue = picture[:, 9:13, 16].float().mean(dim=1).tolist()  # the forehead of a yellow face
        assert red > 200 and green > 180 and blue < 110
    clean = test.labels < 129
    white = (test.images[..., :4, :4] == 255).flatten(1).all(dim=1).float()  # the corner, where nothing is drawn
    assert white[clean].mean() > 0.9 and 0.3 < white[~clean].mean() < 0.7

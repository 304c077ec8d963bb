"""Embedded pictures: the same everywhere and every time, whole in the cache, and augmented as promised."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from redistill.common import cache, devices
from redistill.data import datasets, emoji, scenes
from redistill.data.datasets import DATASETS, SPLITS, augment, find_dataset, load_split, normalize, shrink
from redistill.networks.student import StudentConfig
from redistill.training import classification, diffusion
from redistill.training.config import DistillConfig

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
    monkeypatch.setattr(datasets, "CHUNK", 20)
    return tmp_path / "cache"


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# The table


def test_table_tells_what_the_splits_hold():
    for name, spec in DATASETS.items():
        assert spec.name == name and spec.default_size in spec.image_sizes
        assert spec.num_classes == len(set(spec.class_names)), "class names are distinct"
        if name not in datasets.EMBEDDED:
            continue
        assert spec.attribution == "Emoji by OpenMoji (openmoji.org), CC BY-SA 4.0"
        for split in SPLITS:
            part = load_split(name, split, limit=3)
            side = spec.default_size * spec.render_scale
            assert part.images.shape == (3, 3, side, side) and part.images.dtype == torch.uint8
            assert part.labels.dtype == torch.int64 and 0 <= part.labels.min() <= part.labels.max() < spec.num_classes
    assert DATASETS["emoji-clutter"].split_sizes == {"train": 12_000, "validation": 2_000, "test": 2_000}
    classes = {name: spec.num_classes for name, spec in DATASETS.items() if "classification" in spec.tasks}
    assert classes == {"emoji-clutter": 50, "emoji-identity": 258, "cifar10": 10, "cifar100": 100, "stl10": 10}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mnist", "train"), "Unknown data set 'mnist'; expected one of: emoji-clutter, emoji-faces"),
        (("emoji-faces", "dev"), "split is 'dev'; expected one of: train, validation, test"),
        (("emoji-faces", "train", 48), "no images of size 48; expected one of: 32, 64"),
        (("emoji-faces", "train", 32.0), "no images of size 32.0; expected one of: 32, 64"),
        (("emoji-clutter", "train", 64, 0), "Limit is 0; expected a whole number of images from 1 up"),
        (("emoji-clutter", "train", 64, 2.5), "Limit is 2.5; expected"),
        (("emoji-clutter", "train", 64, True), "Limit is True; expected"),
    ],
)
def test_what_does_not_exist_is_refused_with_the_choices(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_split(*arguments)


def test_unknown_data_set_and_emoji_are_refused():
    with pytest.raises(ValueError, match="expected one of: emoji-clutter, emoji-faces"):
        find_dataset("")
    with pytest.raises(ValueError, match=r"No OpenMoji drawing named '\.\./1F600'"):
        emoji.render("../1F600", 16)


# emoji-clutter


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


@pytest.mark.parametrize(
    ("task", "network", "dataset"),
    [(classification, "narrow_resnet", "emoji-clutter"), (diffusion, "unet_small", "emoji-faces")],
)
def test_pictures_go_to_the_device_only_where_they_leave_half_of_its_memory(task, network, dataset, monkeypatch):
    config = DistillConfig(StudentConfig(network, 32, 50, red=None), dataset, train_limit=12)
    here, there = torch.device("cpu"), torch.device("meta")
    train = load_split(dataset, "train", 32, 12)
    needed = train.images.nbytes + train.labels.nbytes
    for free, device in ((2 * needed, here), (2 * needed + 1, there)):
        monkeypatch.setattr(devices, "available_memory", lambda asked, free=free: free)
        problem = task.prepare(config, None, None, there)
        assert problem.train.images.device == problem.train.labels.device == device
        batch = problem.train.take(torch.tensor([3, 1]), there)
        assert (batch.images.device, batch.labels.device, len(batch)) == (there, there, 2)
    batch = train.take(torch.tensor([3, 1]), here)
    assert torch.equal(batch.images, train.images[[3, 1]]) and torch.equal(batch.labels, train.labels[[3, 1]])


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


# The cache


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
    monkeypatch.setattr(datasets, "CHUNK", 10)
    with pytest.warns(UserWarning, match="drawn anew each time; set REDISTILL_CACHE"):
        images = load_split("emoji-clutter", "train", limit=10).images
    assert np.array_equal(images.numpy(), scenes.draw_scenes("train", 0, 10))


def test_write_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def full_disk(stream, array):
        stream.write(b"PK half an archive")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.np, "savez", full_disk)
    made = np.arange(6, dtype=np.uint8)
    with pytest.warns(UserWarning, match="No space left on device"):
        assert np.array_equal(cache.cached_array(tmp_path / "a.npz", (6,), lambda: made), made)
    assert files_in(tmp_path) == []


def test_processes_that_draw_at_once_never_meet_half_a_file(tmp_path):
    script = (
        "import sys, warnings, numpy as np; from pathlib import Path\n"
        "from redistill.cache import _write, cached_array\n"
        "warnings.simplefilter('error')\n"
        "file, made = Path(sys.argv[1]), np.full((300, 1000), 7, np.uint8)\n"
        "for _ in range(60):\n"
        "    assert (cached_array(file, made.shape, lambda: made) == 7).all()\n"
        "    _write(file, made)\n"
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


# emoji-faces, emoji-food


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
        drawn = emoji.render_on_white(codes[label], 64, datasets.EMOJI_MARGIN)
        assert np.array_equal(picture.numpy(), drawn)
    assert torch.equal(load_split("emoji-faces", "test", 32, limit=2).images, faces.images[:2])


# emoji-identity


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


# Augmentation


@pytest.mark.parametrize(("kind", "size"), [("flip-shift", 64), ("affine", 64), ("affine", 32)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_augmentation_is_random_but_repeatable(kind, size, dtype):
    images = load_split("emoji-faces", "train", 32, limit=12).images
    images = images if dtype == torch.uint8 else normalize(images)
    first = augment(images, generator(), kind, size)
    assert first.shape == (12, 3, size, size) and first.dtype == dtype
    assert torch.equal(first, augment(images, generator(), kind, size))
    assert not torch.equal(first, augment(images, generator(1), kind, size))
    low, high = (0, 255) if dtype == torch.uint8 else (-1, 1)
    assert low <= first.min() and first.max() <= high
    same = augment(images[:1].repeat(12, 1, 1, 1), generator(), kind, size)
    assert len({image.numpy().tobytes() for image in same}) > 9, "each image its own change"


def test_affine_of_bytes_and_of_normalized_images_agree():
    images = load_split("emoji-faces", "train", 32, limit=8).images
    of_bytes = normalize(augment(images, generator(), "affine", 32))
    of_floats = augment(normalize(images), generator(), "affine", 32)
    assert (of_bytes - of_floats).abs().max() <= 0.51 / 127.5


def test_affine_fills_with_white_and_keeps_the_face_in_the_picture():
    black = torch.zeros(64, 3, 32, 32, dtype=torch.uint8)
    result = augment(black, generator(), "affine").float()
    assert (result.amax(dim=(1, 2, 3)) == 255).float().mean() > 0.9, "turned squares leave corners white"
    centers = result[:, :, 8:24, 8:24]
    assert centers.max() == 0
    share = (255 - result).mean(dim=(1, 2, 3)) / 255
    assert share.min() > 0.65 and share.std() > 0.03, "sizes vary a little"


def test_affine_without_randomness_is_the_picture_itself(monkeypatch):
    monkeypatch.setattr(datasets, "ROTATION", 0.0)
    monkeypatch.setattr(datasets, "SCALE", (1.0, 1.0))
    monkeypatch.setattr(datasets, "TRANSLATION", 0.0)
    images = load_split("emoji-faces", "train", 32, limit=16).images
    result = augment(images, generator(), "affine", 32)
    plain, mirrored = shrink(images, 32), shrink(images.flip(3), 32)
    kept = [(result[i].int() - plain[i].int()).abs().max() <= 1 for i in range(16)]
    turned = [(result[i].int() - mirrored[i].int()).abs().max() <= 1 for i in range(16)]
    assert all(a or b for a, b in zip(kept, turned, strict=True)) and any(kept) and not all(kept)


def test_flip_shift_equals_flipping_and_shifting_one_by_one():
    images = torch.randint(256, (40, 3, 32, 32), generator=generator(3)).to(torch.uint8)
    result = augment(images, generator(), "flip-shift")
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")  # a sixteenth of 32
    found = []
    for image, source in zip(result.numpy(), padded, strict=True):
        candidates = [
            (dy, dx, flip)
            for dy in range(5)
            for dx in range(5)
            for flip in (False, True)
            if np.array_equal(image, source[:, dy : dy + 32, dx : dx + 32][:, :, :: -1 if flip else 1])
        ]
        assert len(candidates) == 1
        found += candidates
    rows, columns, flips = (set(values) for values in zip(*found, strict=True))
    assert rows == columns == set(range(5)) and flips == {False, True}, "every shift occurs"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", datasets.AUGMENTATIONS)
def test_augmentation_is_the_same_on_a_gpu(kind):
    images = load_split("emoji-faces", "train", 32, limit=12).images
    on_gpu = augment(images.cuda(), generator(), kind)
    assert on_gpu.is_cuda
    difference = (on_gpu.cpu().int() - augment(images, generator(), kind).int()).abs().max()
    assert difference <= (1 if kind == "affine" else 0)


def test_normalize_maps_bytes_to_minus_one_to_one():
    values = normalize(torch.tensor([0, 255, 51], dtype=torch.uint8))
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, torch.tensor([-1.0, 1.0, -0.6]))
    with pytest.raises(ValueError, match=r"torch\.float32; expected torch\.uint8"):
        normalize(values)


def test_wrong_augmentation_is_refused():
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    with pytest.raises(ValueError, match="Augmentation is 'cutout'; expected one of: flip-shift, affine"):
        augment(images, generator(), "cutout")
    with pytest.raises(ValueError, match=r"shape \(3, 32, 32\); expected \(batch, 3, size, size\)"):
        augment(images[0], generator(), "affine")
    with pytest.raises(ValueError, match="size is 16 for images of side 32; expected exactly that"):
        augment(images, generator(), "flip-shift", 16)
    for size in (24, 64, 0, -8):
        with pytest.raises(ValueError, match=f"size is {size} for images of side 32; expected a divisor"):
            augment(images, generator(), "affine", size)
    with pytest.raises(ValueError, match="size is 24 for images of side 32; expected a divisor"):
        shrink(images, 24)

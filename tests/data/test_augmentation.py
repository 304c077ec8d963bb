"""Augmentation by the batch, and mixup and CutMix on pictures whose mixture can be read off."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from redistill.data import augmentation
from redistill.data.augmentation import augment, mix, normalize, shrink
from redistill.data.datasets import load_split


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """A cache of this file's own; one for all tests, because drawing the faces takes seconds."""
    folder = tmp_path_factory.getbasetemp() / "pictures"
    monkeypatch.setenv("REDISTILL_CACHE", str(folder))
    return folder


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


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
    monkeypatch.setattr(augmentation, "ROTATION", 0.0)
    monkeypatch.setattr(augmentation, "SCALE", (1.0, 1.0))
    monkeypatch.setattr(augmentation, "TRANSLATION", 0.0)
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
@pytest.mark.parametrize("kind", augmentation.AUGMENTATIONS)
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


# Mixup, CutMix


def batch(count=6, side=8):
    """Pictures of one value each, which is their label."""
    labels = torch.arange(count)
    return labels.float()[:, None, None, None].expand(-1, 3, side, side).clone(), labels


def mixed(seed, mixup=0.0, cutmix=0.0, **sizes):
    images, labels = batch(**sizes)
    generator = torch.Generator().manual_seed(seed)
    return images, *mix(images, labels, len(labels), generator, mixup, cutmix)


def test_mixup_blends_pictures_as_it_blends_labels():
    for seed in range(5):
        before, images, targets = mixed(seed, mixup=0.4)
        assert torch.allclose(targets.sum(1), torch.ones(6))
        expected = targets @ torch.arange(6.0)  # a picture's value is its label
        assert torch.allclose(images, expected[:, None, None, None].expand_as(images), atol=1e-5)
        assert ((targets > 0).sum(1) <= 2).all() and torch.equal(before, batch()[0])


def test_cutmix_cuts_one_rectangle_and_its_area_is_the_label_s_share():
    for seed in range(8):
        before, images, targets = mixed(seed, cutmix=1.0, side=16)
        assert set(images.unique().tolist()) <= set(range(6)) and torch.equal(before, batch(side=16)[0])
        for place in range(6):
            counts = torch.bincount(images[place, 0].flatten().long(), minlength=6) / 256
            assert torch.allclose(counts, targets[place], atol=1e-6)
            other = (images[place, 0] != place).nonzero()
            if len(other):  # all of a rectangle
                low, high = other.min(0).values, other.max(0).values
                assert len(other) == (high - low + 1).prod()


def test_the_generator_decides_and_both_kinds_take_turns():
    first, again, other = (mixed(seed, mixup=1.0, cutmix=1.0, side=16)[1] for seed in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, other)
    kinds = set()
    for seed in range(12):
        images = mixed(seed, mixup=1.0, cutmix=1.0, side=16)[1]
        kinds.add(bool((images == images.round()).all()))
    assert kinds == {True, False}


@pytest.mark.parametrize(("alpha", "mean"), [(0.2, 0.899), (1.0, 0.75)])
def test_the_share_follows_its_distribution(alpha, mean):
    # Of a picture with a partner, the larger of λ and 1 − λ; at α = 1, λ is even between 0 and 1.
    shares = torch.tensor([float(mixed(seed, mixup=alpha)[2].max(1).values.min()) for seed in range(400)])
    assert float(shares.mean()) == pytest.approx(mean, abs=0.03)

"""Mixup and CutMix on pictures whose mixture can be read off."""

import pytest
import torch

from redistill.data.mixing import mix


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

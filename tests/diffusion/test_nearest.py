"""Nearest training pictures: which, how far, and mirrored ones."""

from __future__ import annotations

import pytest
import torch

from redistill.data.datasets import DATASETS
from redistill.diffusion.nearest import find_nearest, training_pictures

PICTURES = torch.randint(0, 256, (600, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_copy_is_found_at_no_distance_and_its_mirror_image_too():
    copies = torch.stack([PICTURES[417], PICTURES[3].flip(-1)])
    found = find_nearest(copies, PICTURES)
    assert found.rows.shape == found.distances.shape == found.mirrored.shape == (2, 4)
    assert found.rows[:, 0].tolist() == [417, 3] and found.mirrored[:, 0].tolist() == [False, True]
    assert found.distances[:, 0].tolist() == pytest.approx([0, 0], abs=0.1)
    assert (found.distances[:, 1:] > 50).all()
    plain = find_nearest(copies, PICTURES, mirrored=False)
    assert plain.rows[0, 0] == 417 and plain.distances[1, 0] > 50 and not plain.mirrored.any()


def test_the_distance_is_the_root_mean_squared_difference():
    found = find_nearest(PICTURES[:1], PICTURES[1:40], count=39, mirrored=False)
    differences = PICTURES[1:40].double() - PICTURES[0].double()
    expected = differences.square().mean(dim=(1, 2, 3)).sqrt()
    assert torch.allclose(found.distances[0].double(), expected.sort().values, rtol=1e-5)
    assert torch.equal(found.rows[0], expected.argsort())


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"references are torch\.uint8 of shape"):
        find_nearest(PICTURES[:1], PICTURES[:, :, :4])
    with pytest.raises(ValueError, match=r"images are torch\.float32"):
        find_nearest(PICTURES[:1].float(), PICTURES)
    for count in (0, 6, True, 2.0):
        with pytest.raises(ValueError, match="expected a whole number from 1 to 5"):
            find_nearest(PICTURES[:1], PICTURES[:5], count=count)


def test_training_pictures_have_the_networks_size():
    faces = training_pictures("emoji-faces", 32)
    assert faces.shape == (DATASETS["emoji-faces"].split_sizes["train"], 3, 32, 32) and faces.dtype == torch.uint8

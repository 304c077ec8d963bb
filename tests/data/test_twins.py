"""Pictures are known again whatever their files are called and however they are stored; others are not."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from helpers.pictures import scene
from PIL import Image

from redistill.data.pixels import to_square
from redistill.data.twins import MOST, NEAR, Learnt, fingerprints, learnt_from, share_learnt


def squares(images: list[Image.Image], side: int = 32) -> torch.Tensor:
    return torch.from_numpy(np.stack([to_square(image, side) for image in images]))


def stored(image: Image.Image, kind: str, **how: object) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return Image.open(io.BytesIO(buffer.getvalue()))


ANEW = {
    "PNG": lambda image: stored(image, "PNG"),
    "WebP": lambda image: stored(image, "WEBP", lossless=True),
    "TIFF": lambda image: stored(image, "TIFF", compression="tiff_lzw"),
    "JPEG": lambda image: stored(image, "JPEG", quality=80),
    "half as large": lambda image: image.resize((60, 60), Image.Resampling.LANCZOS),
}


@pytest.mark.parametrize("how", ANEW)
@pytest.mark.parametrize("side", [16, 32, 50])
def test_a_picture_stored_anew_is_known_and_others_are_not(how, side):
    images = [scene(number) for number in range(60)]
    before, after = fingerprints(squares(images)), fingerprints(squares([ANEW[how](image) for image in images], side))
    differences = (before[:, None] != after[None]).sum(2)
    assert differences.diagonal().max() <= NEAR
    np.fill_diagonal(differences, 999)
    assert differences.min() > NEAR


@pytest.mark.parametrize("copied", [0, 5, 40])
def test_the_share_that_was_learnt_is_told(copied):
    learnt = learnt_from(squares([scene(number) for number in range(100)]))
    pictures = [scene(number) for number in (*range(copied), *range(1000, 1040 - copied))]
    others = learnt_from(squares([scene(number) for number in range(2000, 2050)]))
    for known in (None, others):
        assert share_learnt(learnt, fingerprints(squares(pictures)), known) == pytest.approx(copied / 40, abs=0.02)


def test_some_stand_for_all():
    images = torch.cat([squares([scene(number)]) for number in range(64)]).repeat_interleave(1, 0)
    learnt = learnt_from(images)
    part = Learnt(640, learnt.bits)  # of ten times as many, the pictures that are kept apart are 64 others' tenths
    apart = fingerprints(images[:32])
    assert share_learnt(part, apart) == 1.0 and 0.9 < share_learnt(learnt, apart) <= 1
    assert len(learnt_from(images[:1].expand(MOST + 5, -1, -1, -1)).bits) == MOST


def test_pictures_that_all_look_alike_tell_nothing():
    frames = [scene(number // 10) for number in range(100)]  # as of a film
    images, flat = squares(frames), torch.full((30, 3, 16, 16), 200, dtype=torch.uint8)
    assert share_learnt(learnt_from(images[::2]), fingerprints(images[1::2]), learnt_from(images[::2])) == 0
    assert share_learnt(learnt_from(images[::2]), fingerprints(images[1::2])) == 0
    assert share_learnt(learnt_from(flat), fingerprints(flat)) == 0
    assert share_learnt(learnt_from(flat), fingerprints(flat[:0])) == 0


def test_what_is_kept_comes_back_and_anything_else_is_nothing():
    learnt = learnt_from(squares([scene(number) for number in range(9)]))
    again = Learnt.from_dict(learnt.to_dict())
    assert again.count == 9 and np.array_equal(again.bits, learnt.bits)
    whole = learnt.to_dict()
    for values in (None, 5, {}, whole | {"pictures": 10**400}, whole | {"pictures": 8}, whole | {"pictures": "9"},
                   whole | {"fingerprints": "é"}, whole | {"fingerprints": "AAAA"}, whole | {"fingerprints": ""},
                   whole | {"fingerprints": "A" * 10**7}, whole | {"fingerprints": [1]}):  # fmt: skip
        assert Learnt.from_dict(values) is None

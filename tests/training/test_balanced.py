"""Classes of different sizes: a hint that they are, and drawing that makes them equally frequent."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from helpers.pictures import write_classes

from redistill.data.datasets import find_dataset
from redistill.networks.student import StudentConfig
from redistill.training.classification import even_rows
from redistill.training.config import DistillConfig
from redistill.training.loop import distill
from redistill.training.presets import PRESETS


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(("counts", "is_told"), [((40, 10), True), ((30, 10), False), ((10, 10), False)])
def test_a_hint_from_three_to_one_on(tmp_path, counts, is_told):
    folder = write_classes(tmp_path / "P", dict(zip(("large", "small"), counts, strict=True)))
    notes = " ".join(find_dataset(f"folder:{folder}").notes)
    assert ("'large' has 32 training pictures, 'small' 8; `balanced`" in notes) == is_told


@pytest.mark.parametrize("sizes", [(900, 90, 9), (1, 500), (50, 50)])
def test_classes_come_equally_often(sizes):
    labels = torch.cat([torch.full((size,), label) for label, size in enumerate(sizes)])
    drawn = torch.cat([labels[even_rows(labels, min(64, len(labels)), step, 3)] for step in range(60)])
    shares = drawn.bincount(minlength=len(sizes)) / len(drawn)
    assert (shares - 1 / len(sizes)).abs().max() < 0.04
    assert torch.equal(even_rows(labels, 8, 5, 3), even_rows(labels, 8, 5, 3))


def test_a_run_draws_them_evenly_and_settings_stay_as_they_were(tmp_path):
    folder = write_classes(tmp_path / "P", {"large": 20, "small": 5})
    config = DistillConfig(StudentConfig("narrow_resnet", 16, 2, red=None), f"folder:{folder}", steps=1, batch_size=8)
    assert "balanced" not in config.to_dict()
    balanced = dataclasses.replace(config, balanced=True)
    assert DistillConfig.from_dict(balanced.to_dict()) == balanced
    plain, even = (next(distill(one, tmp_path / str(one.balanced)))["loss"] for one in (config, balanced))
    assert plain != even
    with pytest.raises(ValueError, match="balanced is True; expected false with a diffusion network"):
        dataclasses.replace(PRESETS["faces"].config, balanced=True)

"""Settings inside PNG files: written, read, and enough to draw the same image again."""

from __future__ import annotations

import dataclasses
import io

import pytest
import torch
from diffusers import DDPMScheduler
from helpers.unets import STUDENT, sample_again, tiny, written
from PIL import Image

from redistill.checkpoint.pipeline import load_scheduler, load_unet
from redistill.diffusion.images import SampleSettings, read_settings, sample_settings, to_png, weights_fingerprint
from redistill.diffusion.sampling import sample


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    base = DDPMScheduler(num_train_timesteps=50, prediction_type="v_prediction")
    return written(tiny(STUDENT, red=True), base, tmp_path_factory.mktemp("sampled") / "network")


@pytest.mark.parametrize("scheduler", ["ddim", "ddpm"])
@pytest.mark.parametrize("stopped_at", [None, 2])
def test_a_saved_image_says_how_to_draw_it_again(folder, scheduler, stopped_at):
    model, base = load_unet(folder), load_scheduler(folder)
    records = list(sample(model, [4, 9, 2], scheduler=scheduler, steps=5, noise_scheduler=base))
    drawn = records[(stopped_at or 5) - 1].images
    settings = sample_settings("mine", folder, model, base, [4, 9, 2], scheduler, 5)
    settings = dataclasses.replace(settings, stopped_at=stopped_at)
    file = io.BytesIO(to_png(drawn[1], settings.of(9).to_dict()))
    read = SampleSettings.from_dict(read_settings(file))
    assert read == settings.of(9) and read.prediction_type == "v_prediction" and read.image_size == (16, 16)
    again = sample_again(read, load_unet(folder), load_scheduler(folder))
    assert again.shape == (1, 3, 16, 16) and (again[0].int() - drawn[1].int()).abs().max() <= 2
    assert (again[0].int() - drawn[0].int()).abs().max() > 10


def test_other_weights_are_not_taken_for_those_that_drew(folder, tmp_path):
    settings = sample_settings("mine", folder, load_unet(folder), load_scheduler(folder), [0], "ddim", 2)
    model = load_unet(folder)
    with torch.no_grad():
        model.conv_in.layer.bias[0] += 1e-3
    other = written(model, load_scheduler(folder), tmp_path / "other")
    assert weights_fingerprint(other) != weights_fingerprint(folder) == settings.fingerprint


def test_pictures_and_settings_of_another_kind_are_refused(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "plain.png")
    with pytest.raises(ValueError, match="holds no settings"):
        read_settings(tmp_path / "plain.png")
    for values in ([1], {"seeds": [1]}, {}):
        with pytest.raises(ValueError, match="expected an object with"):
            SampleSettings.from_dict(values)

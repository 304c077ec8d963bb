"""Pipelines as others save them: in shards, in halves, with other schedules; what draws no pictures is refused."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
    UNet2DModel,
    UniPCMultistepScheduler,
)
from helpers.made import saved_ddpm
from helpers.unets import TINY, predict

from redistill.checkpoint.pipeline import load_scheduler, load_unet, weight_files
from redistill.checkpoint.unet_weights import WEIGHTS
from redistill.cli.commands import main
from redistill.diffusion.images import weights_fingerprint
from redistill.diffusion.sampling import sample


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return saved_ddpm(tmp_path_factory.mktemp("ddpm") / "whole")


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


def resaved(folder, **how):
    unet = UNet2DModel.from_pretrained(folder / "unet")
    (folder / "unet" / WEIGHTS).unlink()
    (unet.half() if how.get("variant") else unet).save_pretrained(folder / "unet", **how)
    assert not (folder / "unet" / WEIGHTS).exists()


@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize("sharded", [False, True])
def test_weights_in_shards_and_halves_are_the_same_network(folder, saved, halves, sharded):
    if not (halves or sharded):
        pytest.skip("that is the folder itself")
    resaved(folder, **({"variant": "fp16"} if halves else {}), **({"max_shard_size": "60KB"} if sharded else {}))
    assert len(weight_files(folder)) == 3 if not sharded else len(weight_files(folder)) > 4
    torch.testing.assert_close(
        predict(load_unet(folder)), predict(load_unet(saved)), atol=0.02 if halves else 0, rtol=0
    )
    assert weights_fingerprint(folder) != weights_fingerprint(saved)


@pytest.mark.parametrize("damage", ["gone", "outside", "no map"])
def test_damaged_shards_are_named(folder, damage):
    resaved(folder, max_shard_size="60KB")
    index = next((folder / "unet").glob("*.index.json"))
    places = json.loads(index.read_text())
    if damage == "gone":
        next((folder / "unet").glob("*-00002-*")).unlink()
    elif damage == "outside":
        places["weight_map"] = dict.fromkeys(places["weight_map"], "../../secret.safetensors")
        index.write_text(json.dumps(places))
    else:
        index.write_text("{}")
    with pytest.raises(ValueError, match=r"index\.json (names '.*safetensors'|has no 'weight_map')"):
        load_unet(folder)


SETTINGS = {
    "num_train_timesteps": 200,
    "beta_schedule": "linear",
    "beta_start": 1e-4,
    "beta_end": 0.03,
    "prediction_type": "epsilon",
}


@pytest.mark.parametrize(
    "kind",
    [
        PNDMScheduler,
        EulerDiscreteScheduler,
        EulerAncestralDiscreteScheduler,
        HeunDiscreteScheduler,
        DPMSolverMultistepScheduler,
        DDIMScheduler,
    ],
)
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_schedules_that_only_draw_are_the_ddpms_of_the_same_noise(folder, kind, prediction_type):
    settings = SETTINGS | {"prediction_type": prediction_type}
    kind(**settings).save_pretrained(folder / "scheduler")
    base = load_scheduler(folder)
    expected = DDPMScheduler(**settings)
    assert torch.equal(base.alphas_cumprod, expected.alphas_cumprod)
    assert base.config.prediction_type == prediction_type
    *_, last = sample(load_unet(folder), [0], steps=2, noise_scheduler=base, measure=False)
    assert last.images.shape == (1, 3, 32, 32)


@pytest.mark.parametrize(
    ("scheduler", "said"),
    [
        (EulerDiscreteScheduler(**SETTINGS, timestep_type="continuous"), "whose noise is not that of a DDPM"),
        (EulerDiscreteScheduler(**SETTINGS, rescale_betas_zero_snr=True), "whose noise is not that of a DDPM"),
        (UniPCMultistepScheduler(**SETTINGS), "names the scheduler 'UniPCMultistepScheduler'; expected one of"),
    ],
)
def test_other_noise_is_refused(folder, scheduler, said):
    scheduler.save_pretrained(folder / "scheduler")
    with pytest.raises(ValueError, match=said):
        load_scheduler(folder)


def changed(file, **values):
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: changed(folder / "model_index.json", vqvae=["diffusers", "VQModel"]), "component 'vqvae'"),
        (lambda folder: saved_ddpm(folder, num_class_embeds=4), "what a class label asks for"),
        (lambda folder: saved_ddpm(folder, in_channels=4, out_channels=4), "maps 4 channels to 4"),
        (lambda folder: saved_ddpm(folder, out_channels=6), "maps 3 channels to 6"),
    ],
)
def test_what_draws_no_pictures_is_refused_before_it_draws(folder, tmp_path, capsys, make, said):
    make(folder)
    with pytest.raises(ValueError, match=said):
        load_unet(folder)
    assert main(["sample", str(folder), "--steps", "1", "--out", str(tmp_path / "a.png")]) == 1
    assert said in capsys.readouterr().err and not (tmp_path / "a.png").exists()


def test_grey_pictures_are_drawn_as_rgb(folder, tmp_path):
    saved_ddpm(folder, in_channels=1, out_channels=1)
    *_, last = sample(load_unet(folder), [0, 1], steps=2, noise_scheduler=load_scheduler(folder), measure=False)
    assert last.images.shape == (2, 3, 32, 32) and torch.equal(last.images[:, 0], last.images[:, 2])
    assert main(["sample", str(folder), "--steps", "1", "--seeds", "0", "--out", str(tmp_path / "a.png")]) == 0


def test_a_network_that_names_no_size_draws_at_the_one_asked_for(folder, tmp_path, capsys):
    saved_ddpm(folder, sample_size=None)
    drawing = ["sample", str(folder), "--steps", "1", "--seeds", "0", "--out", str(tmp_path / "a.png")]
    assert main(drawing) == 1
    assert "image_size" in capsys.readouterr().err
    assert main([*drawing, "--image-size", "24"]) == 0


def test_tiny_settings_are_the_ones_that_were_saved(saved):
    assert load_unet(saved).config.block_out_channels == list(TINY["block_out_channels"])

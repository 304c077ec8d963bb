"""Checkpoints from elsewhere: folders and a fake Hub cache, in the layouts that repositories of the Hub have."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from huggingface_hub import constants
from test_unet import TINY

from redistill import checkpoint
from redistill.__main__ import main
from redistill.drawing import read_settings
from redistill.hub_pipelines import find_pipeline
from redistill.pipeline import WEIGHTS, load_scheduler, load_unet
from redistill.sampling import sample

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ID = "google/ddpm-tiny-16"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty Hub cache that is looked into without a network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hub"


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A pipeline that diffusers itself has saved."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("theirs") / "ddpm"
    DDPMPipeline(unet=UNet2DModel(**TINY, downsample_padding=0), scheduler=DDPMScheduler()).save_pretrained(folder)
    return folder


def store(hub, folder, flat: bool):
    """That pipeline as a download leaves it; `flat` as the oldest repositories are, all files side by side."""
    repo = hub / f"models--{ID.replace('/', '--')}"
    target = repo / "snapshots" / COMMIT
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    if not flat:
        return shutil.copytree(folder, target)
    target.mkdir(parents=True)
    for path in folder.rglob("*.*"):
        shutil.copyfile(path, target / path.name)
    config = json.loads((target / "config.json").read_text()) | {"_diffusers_version": "0.0.4"}
    (target / "config.json").write_text(json.dumps(config))
    return target


@pytest.mark.parametrize("flat", [False, True])
def test_a_repository_in_the_cache_draws_as_diffusers_does(hub, theirs, flat):
    store(hub, theirs, flat)
    folder = find_pipeline(ID)
    model, x = load_unet(folder), torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = DDPMPipeline.from_pretrained(theirs).unet(x, 40).sample
        assert torch.allclose(model(x, 40).sample, expected, atol=1e-5)
    *_, last = sample(model, [1], steps=2, noise_scheduler=load_scheduler(folder))
    assert last.images.shape == (1, 3, 16, 16)
    assert find_pipeline(f" {theirs} ") == theirs


def test_the_command_line_draws_with_a_hub_id(hub, theirs, capsys):
    store(hub, theirs, flat=True)
    assert main(["sample", ID, "--steps", "2", "--seeds", "3-6", "--out", "out.png"]) == 0
    settings = read_settings("out.png")
    assert settings["checkpoint"] == ID and settings["seeds"] == [3, 4, 5, 6]
    assert "images/s" in capsys.readouterr().out


def test_pickles_are_refused_with_a_sentence(hub, theirs):
    folder = store(hub, theirs, flat=True)
    (folder / WEIGHTS).rename(folder / "diffusion_pytorch_model.bin")
    with pytest.raises(ValueError, match=r"no weights in safetensors .* pickles are never loaded") as error:
        find_pipeline(ID)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("someone/else", "Hub cannot be reached; connect to the network"),
        ("no-such-name", "There is no folder 'no-such-name'; expected a folder, one of"),
        ("../../etc/passwd", "There is no folder"),
        ("", "expected a folder or a Hub id"),
        (None, "expected a folder or a Hub id"),
    ],
)
def test_what_is_not_there_is_one_sentence(hub, source, words):
    with pytest.raises(ValueError, match=words) as error:
        find_pipeline(source)
    assert "\n" not in str(error.value)


def test_a_shipped_name_finds_its_folder(hub):
    assert find_pipeline("emoji-faces-teacher") == checkpoint.find("emoji-faces-teacher")

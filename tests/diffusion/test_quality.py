"""KID, FID, precision and recall: what they must say of sets that are known, and what they come with."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import pytest
import torch
from helpers.photographs import photographs
from helpers.pictures import write_classes
from torch.nn import functional as F

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import Metadata, read_metadata
from redistill.cli.commands import main
from redistill.data.datasets import load_split
from redistill.diffusion import quality
from redistill.diffusion.quality import (
    FIGURES,
    FeatureNetwork,
    features_for,
    judge,
    judge_checkpoint,
    load_features,
    reference_pictures,
)
from redistill.networks.student import StudentConfig, build_student

COUNT = 60


@pytest.fixture(scope="module")
def emoji() -> FeatureNetwork:
    return load_features("emoji")


@pytest.fixture(scope="module")
def faces() -> tuple[torch.Tensor, torch.Tensor]:
    """Two sets of augmented faces."""
    return tuple(reference_pictures("emoji-faces", 32, COUNT, seed)[0] for seed in (0, 1))


def means(images: torch.Tensor) -> FeatureNetwork:
    return FeatureNetwork("means of the channels", lambda batch: batch.float().mean(dim=(2, 3)) / 100)


def test_formulas_against_hand_written_ones():
    """FID of Gaussians is known in closed form; unbiased KID is a double sum."""
    generator = torch.Generator().manual_seed(0)
    one, other = torch.rand(2, 40, 3, 2, 2, generator=generator) * torch.tensor([1.0, 0.6]).view(2, 1, 1, 1, 1)
    one, other = ((255 * images).to(torch.uint8) for images in (one, other))
    found = judge(one, other, "made", means(one))
    x, y = (images.double().mean(dim=(2, 3)) / 100 for images in (one, other))
    kernel = lambda a, b: (a @ b.T / 3 + 1) ** 3  # noqa: E731
    off = lambda k: (k.sum() - k.diagonal().sum()) / (40 * 39)  # noqa: E731
    assert found.kid == pytest.approx(float(off(kernel(x, x)) + off(kernel(y, y)) - 2 * kernel(x, y).mean()), abs=1e-6)
    a, b = (torch.cov(features.T) for features in (x, y))
    root = torch.linalg.eigvals(a @ b).real.clamp(min=0).sqrt().sum()
    distance = (x.mean(0) - y.mean(0)).square().sum() + a.trace() + b.trace() - 2 * root
    assert found.fid == pytest.approx(float(distance), abs=1e-5)


def test_real_pictures_are_near_and_spoilt_ones_ever_further(emoji, faces):
    real, others = faces
    blurred = F.avg_pool2d(F.pad(others.float(), (1, 1, 1, 1), mode="replicate"), 3, 1).to(torch.uint8)
    grain = torch.randn(others.shape, generator=torch.Generator().manual_seed(0))
    noisy, noisier = ((others + strength * grain).clamp(0, 255).to(torch.uint8) for strength in (15, 30))
    near, noised, worse, lost = (judge(images, real, "faces", emoji) for images in (others, noisy, noisier, blurred))
    assert abs(near.kid) <= 2 * near.margins["kid"]
    assert near.kid < noised.kid < worse.kid < lost.kid
    assert near.fid < noised.fid < worse.fid < lost.fid
    assert near.precision > 0.7
    assert near.recall > 0.7 > lost.recall


def test_a_faint_hatch_is_seen(emoji, faces):
    """The texture that a student may leave on its pictures: every second pixel a little darker."""
    real, others = faces
    places = torch.arange(32)
    hatch = 16 * ((places[:, None] + places) % 2 * 2 - 1)
    hatched = (others.int() + hatch).clamp(0, 255).to(torch.uint8)
    near, spoilt = (judge(images, real, "faces", emoji) for images in (others, hatched))
    assert spoilt.kid > near.kid + near.margins["kid"] and spoilt.fid > 1.5 * near.fid


def test_few_pictures_repeated_are_precise_but_recall_little(emoji, faces):
    real, others = faces
    found = judge(others[:4].repeat(COUNT // 4, 1, 1, 1), real, "faces", emoji)
    assert found.precision > 0.7
    assert found.recall < 0.2


def test_the_interval_narrows_with_more_pictures(faces):
    real, others = faces
    network = means(real)
    margins = [judge(others[:count], real[:count], "faces", network).margins["kid"] for count in (20, COUNT)]
    assert margins[1] < margins[0]


def test_figures_say_what_they_depend_on(emoji, faces):
    found = judge(*faces, "faces", emoji)
    values = json.loads(json.dumps(found.to_dict()))
    assert values["images"] == values["reference_images"] == COUNT
    assert "emoji-identity-features" in values["features"]
    assert values["warning"].startswith(f"Only {COUNT} pictures")
    assert set(values["margins"]) == set(FIGURES)
    again = judge(*faces, "faces", emoji)
    assert again == found


@pytest.mark.parametrize("count", [0, 19])
def test_too_few_pictures_are_refused(emoji, faces, count):
    with pytest.raises(ValueError, match=f"There are {count} drawn pictures; expected at least 20"):
        judge(faces[0][:count], faces[1], "faces", emoji)


def test_what_is_no_picture_and_no_network_is_refused(emoji, faces):
    with pytest.raises(ValueError, match=r"dtype torch.float32 .* expected uint8"):
        judge(faces[0].float(), faces[1], "faces", emoji)
    with pytest.raises(ValueError, match="Features are 'vgg'; expected one of"):
        load_features("vgg")


def test_inception_offline_says_what_is_missing(monkeypatch, tmp_path):
    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path), raising=False)
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(ValueError, match=r"Inception's weights are not here .*weights-inception.*pth.*emoji"):
        load_features("inception")


def test_a_checkpoint_is_judged_and_its_card_says_so(tmp_path, capsys):
    folder = tmp_path / "student"
    checkpoint.save(checkpoint.load("emoji-faces-student"), read_metadata("emoji-faces-student"), folder)
    assert main(["evaluate", str(folder), "--pictures", "20", "--steps", "2", "--save"]) == 0
    printed = json.loads(capsys.readouterr().out)["quality"]
    assert printed["drawn"] == "20 pictures, seeds 0 to 19, ddim, 2 steps"
    assert read_metadata(folder).metrics["quality"] == printed
    assert f"| quality kid | {printed['kid']} |" in (folder / "README.md").read_text()
    assert main(["evaluate", str(folder), "--save"]) == 1
    assert "give --pictures" in capsys.readouterr().err


@pytest.mark.parametrize(("dataset", "is_warned"), [("folder", True), ("emoji-food", False)])
def test_features_of_emoji_are_named_where_the_pictures_are_others(emoji, tmp_path, dataset, is_warned):
    if dataset == "folder":
        dataset = f"folder:{write_classes(tmp_path / 'photos', {'a': 12, 'b': 12})}"
    student = StudentConfig("unet_small", 32, red=None)
    folder = checkpoint.save(build_student(student), Metadata(student, dataset), tmp_path / "student")
    found = judge_checkpoint(folder, 20, features=emoji, steps=1)
    assert (f"seen emoji alone, the pictures those of {dataset}" in found.warning) == is_warned
    assert "Only 20 pictures" in found.to_dict()["warning"]


@pytest.mark.parametrize(
    ("dataset", "fits"), [("emoji-food", "emoji"), ("cifar10", "cifar10"), ("stl10", "emoji"), ("folder:x", "emoji")]
)
def test_the_features_that_fit_are_those_of_the_same_kind_of_pictures(dataset, fits):
    assert features_for(dataset) == fits


def test_the_features_that_would_fit_are_named(emoji, monkeypatch):
    monkeypatch.setattr(quality, "load_split", lambda *args, **named: load_split("emoji-clutter", "train", 32, 60))
    found = judge_checkpoint("cifar10-unet-student", 20, features=emoji, steps=1)
    assert "pictures those of cifar10" in found.warning and "use the features 'cifar10'" in found.warning
    fitting = judge_checkpoint("cifar10-unet-student", 20, features=load_features("cifar10"), steps=1)
    assert "seen" not in fitting.warning and "cifar10-teacher" in fitting.features


def test_features_of_cifar10_order_photographs(tmp_path):
    """Real ones are near, spoilt ones further, emoji furthest."""
    features, named = load_features("cifar10"), f"folder:{photographs('cifar10', tmp_path, each=25)}"
    real, others = (load_split(named, split, 32, 200).images for split in ("train", "test"))
    blurred = F.avg_pool2d(F.pad(others.float(), (1, 1, 1, 1), mode="replicate"), 3, 1).to(torch.uint8)
    drawn = load_split("emoji-clutter", "train", 32, 200).images
    near, spoilt, strange = (judge(images, real, "photographs", features) for images in (others, blurred, drawn))
    assert near.kid < spoilt.kid < strange.kid and near.fid < spoilt.fid < strange.fid


def test_networks_compute_on_the_device_that_is_asked_for(monkeypatch):
    there = torch.device("meta")
    monkeypatch.setattr(quality, "check_device", torch.device)  # refuses what holds no numbers
    drawn_on = []

    def draw(model, seeds, **settings):
        drawn_on.append(next(model.parameters()).device)
        yield SimpleNamespace(images=torch.zeros(len(seeds), 3, 32, 32, dtype=torch.uint8))

    monkeypatch.setattr(quality, "sample", draw)
    features = FeatureNetwork("zeros", lambda images: torch.arange(3.0).expand(len(images), 3) / len(images))
    judge_checkpoint("emoji-faces-student", 20, features=features, device=there)
    assert drawn_on == [there]
    seen, features = [], load_features("emoji", there)
    compute = features.compute
    zeros = lambda images: seen.append(compute(images).device) or torch.zeros(len(images), 2)  # noqa: E731
    FeatureNetwork("", zeros, features.device)(torch.zeros(3, 3, 32, 32, dtype=torch.uint8))
    assert seen == [there]


@pytest.mark.parametrize("command", ["sample", "evaluate"])
def test_the_command_line_takes_a_device(command, capsys):
    assert main([command, "emoji-faces-student", "--device", "cuda:7"]) == 1
    assert "Device 'cuda:7' is not here" in capsys.readouterr().err


def test_a_run_is_judged_by_the_pictures_of_its_own_split(tmp_path, monkeypatch):
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))
    dataset = f"folder:{write_classes(tmp_path / 'pets', {'cats': 40})}"
    metadata = read_metadata("emoji-faces-student")
    training = dict(metadata.training) | {"split_seed": 3}
    metadata = dataclasses.replace(metadata, dataset=dataset, training=training)
    checkpoint.save(checkpoint.load("emoji-faces-student"), metadata, tmp_path / "student")
    asked = []
    monkeypatch.setattr(quality, "load_split", lambda *args, **named: asked.append(named) or load_split(*args, **named))
    judge_checkpoint(tmp_path / "student", 20, features=load_features("emoji"), steps=1)
    assert asked == [{"split_seed": 3}]


def test_a_copy_of_the_pictures_serves_where_those_of_training_are_not_here(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))
    copy = f"folder:{write_classes(tmp_path / 'copy', {'cats': 40})}"
    given = ["evaluate", "cifar10-unet-student", "--pictures", "20", "--steps", "1"]
    assert main([*given, "--dataset", copy]) == 0
    printed = json.loads(capsys.readouterr().out)["quality"]
    assert f"in {copy}'s training split" in printed["reference"] and "cifar10-teacher" in printed["features"]


def test_a_classifier_draws_nothing(emoji):
    with pytest.raises(ValueError, match="emoji-clutter-teacher is a classifier; expected a diffusion network"):
        judge_checkpoint("emoji-clutter-teacher", 20, features=emoji)

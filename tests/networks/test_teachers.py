"""Weights that others trained: found, folded, given a new head, or refused in one sentence. No network is used."""

from __future__ import annotations

import dataclasses
import urllib.error

import pytest
import safetensors.torch
import torch
import torchvision

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import Metadata
from redistill.checkpoint.teacher import load_teacher
from redistill.networks.pretrained import fold_normalization
from redistill.networks.student import StudentConfig, build_student
from redistill.networks.zoo import NETWORKS, build_network
from redistill.training.checks import check_teacher
from redistill.training.config import DistillConfig
from redistill.training.presets import PRESETS

NAME = "mobilenet_v3_small"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ISSUE = (
    "resnet18 resnet34 resnet50 resnet101 resnet152 resnext50_32x4d mobilenet_v2 mobilenet_v3_small mobilenet_v3_large "
    "efficientnet_b0 vgg16"
)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty folder of torch hub's, and no network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def offline(*arguments, **settings):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("torch.hub.urlopen", offline)
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def settle(model: torch.nn.Module) -> torch.nn.Module:
    """Batch-norm statistics as of trained networks, so that the shift of a mean is seen."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, std=0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return model.eval()


@pytest.fixture
def imagenet(hub):
    """torchvision's network, whose weights lie where a download would put them."""
    torch.manual_seed(1)
    model = settle(torchvision.models.get_model(NAME, weights=None))
    weights = torchvision.models.get_model_weights(NAME).IMAGENET1K_V1
    torch.save(model.state_dict(), hub / weights.url.rpartition("/")[2])
    return model


def without_padding(model: torch.nn.Module) -> torch.nn.Module:
    """Its first convolution looks at nothing but the image."""
    next(module for module in model.modules() if isinstance(module, torch.nn.Conv2d)).padding = (0, 0)
    return model


def build(name: str) -> torch.nn.Module:
    """A network of the table; "biased" is VGG-16 in small: its convolutions have a bias and no norm behind them."""
    if name != "biased":
        return build_network(name, 5)
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 5, 3), nn.Flatten(), nn.Linear(18000, 5)
    )


def first_map(model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    """What the first convolution makes of images, with the batch norm behind it where there is one."""
    kinds = (torch.nn.Conv2d, torch.nn.BatchNorm2d)
    convolution, behind = [module for module in model.modules() if isinstance(module, kinds)][:2]
    with torch.no_grad():
        found = convolution(images)
        return behind(found) if isinstance(behind, torch.nn.BatchNorm2d) else found


def as_imagenet(images: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return ((images + 1) / 2 - mean) / std


def test_the_networks_of_the_table_have_weights_of_torchvision():
    assert {*ISSUE.split(), "densenet121"} == {name for name, teacher in NETWORKS.items() if teacher.pretrained}
    for name in ISSUE.split():
        preset = torchvision.models.get_model_weights(name).IMAGENET1K_V1.transforms()
        assert (tuple(preset.mean), tuple(preset.std)) == (MEAN, STD)


@pytest.mark.parametrize("name", [NAME, "resnet18", "densenet121", "efficientnet_b0", "biased"])
def test_images_from_minus_one_to_one_give_what_normalised_ones_gave(name):
    """Exactly so where the first convolution pads nothing; its bias or the norm behind it takes the shift."""
    torch.manual_seed(0)
    original, folded = (without_padding(settle(build(name))) for _ in range(2))
    folded.load_state_dict(original.state_dict())
    fold_normalization(folded, MEAN, STD)
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    expected, found, unfolded = (
        first_map(original, as_imagenet(images)),
        first_map(folded, images),
        first_map(original, images),
    )
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert (unfolded - expected).abs().mean() > 0.1
    with torch.no_grad():
        torch.testing.assert_close(folded(images), original(as_imagenet(images)), rtol=1e-3, atol=1e-4)


def test_padding_changes_the_border_of_the_first_map_and_nothing_else():
    torch.manual_seed(0)
    original, folded = (settle(build_network("resnet18", 5)) for _ in range(2))
    folded.load_state_dict(original.state_dict())
    fold_normalization(folded, MEAN, STD)
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    expected = first_map(original, as_imagenet(images))
    difference = (first_map(folded, images) - expected).abs() / expected.std()
    assert difference[:, :, 2:-1, 2:-1].max() < 1e-4  # a 7 x 7 window of stride 2 and padding 3
    assert 1e-3 < difference.max() < 0.5


def test_pretrained_weights_with_a_new_head(imagenet):
    torch.manual_seed(5)
    model = load_teacher(NAME, 7, pretrained=True)
    assert not model.training and model.classifier[3].out_features == 7
    whole = load_teacher(f"torchvision:{NAME}")
    images = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        assert torch.equal(model.features(images), whole.features(images))
        expected = without_padding(imagenet)(as_imagenet(images))
        torch.testing.assert_close(without_padding(whole)(images), expected, rtol=1e-3, atol=1e-4)
    assert torch.equal(whole.classifier[3].weight, imagenet.classifier[3].weight)


def test_offline_one_sentence_says_what_to_put_where(hub):
    with pytest.raises(ValueError, match=rf"^The ImageNet weights of {NAME} are not in {hub} and cannot be ") as error:
        load_teacher(NAME, 7, pretrained=True)
    text = str(error.value)
    assert "Name or service not known" in text and "https://download.pytorch.org/models/mobilenet_v3_small-" in text
    assert "\n" not in text


@pytest.mark.parametrize("content", [b"", b"half a file", "another network", "a pickle"])
def test_a_damaged_file_in_the_hub_folder_is_named(imagenet, hub, content):
    (file,) = hub.iterdir()
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save({"x": torch.zeros(1)} if content == "another network" else {"x": dataclasses.Field}, file)
    with pytest.raises(ValueError, match=rf"{file} (holds no weights|does not hold the weights)"):
        load_teacher(NAME, pretrained=True)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_of_weights(tmp_path, suffix):
    model = build_network("narrow_resnet", 9).eval()
    file = tmp_path / f"weights{suffix}"
    save = safetensors.torch.save_file if suffix == ".safetensors" else torch.save
    save(model.state_dict(), file)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(load_teacher("narrow_resnet", 9, file)(images), model(images))
        other = load_teacher("narrow_resnet", 4, file)
        assert other(images).shape == (2, 4) and torch.equal(other.layer4[0].conv1.weight, model.layer4[0].conv1.weight)
    with pytest.raises(ValueError, match="does not hold the weights of this network"):
        load_teacher("resnet18", 9, file)
    file.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="holds no weights that can be read"):
        load_teacher("narrow_resnet", 9, file)
    with pytest.raises(ValueError, match="holds no weights that can be read"):
        load_teacher("narrow_resnet", 9, tmp_path / "missing.pth")


def saved(folder, classes=9, **training):
    student = StudentConfig("narrow_resnet", 32, num_classes=classes, red=None)
    checkpoint.save(build_student(student), Metadata(student, "folder:pets", {}, training), folder)
    return str(folder)


def test_a_checkpoint_folder(tmp_path):
    folder = saved(tmp_path / "teacher")
    assert load_teacher(folder, 9).fc.out_features == load_teacher(folder).fc.out_features == 9
    with pytest.raises(ValueError, match="tells 9 classes apart; expected 10"):
        load_teacher(folder, 10)
    with pytest.raises(ValueError, match="its own weights"):
        load_teacher(folder, pretrained=True)
    with pytest.raises(ValueError, match="No checkpoint 'resnet19'"):
        load_teacher("resnet19")


@pytest.mark.parametrize("name", ["narrow_resnet", "unet_small"])
def test_networks_without_imagenet_weights_are_refused_by_name(name):
    with pytest.raises(ValueError, match=rf"no ImageNet weights of '{name}'; expected one of \['resnet18'"):
        load_teacher(name, pretrained=True)
    config = PRESETS["teacher" if name == "narrow_resnet" else "faces-teacher"].config
    with pytest.raises(ValueError, match=rf"no ImageNet weights of '{name}'"):
        dataclasses.replace(config, init="pretrained")


def test_a_teacher_that_may_have_seen_the_test_pictures_is_refused(tmp_path):
    student = StudentConfig("narrow_resnet", 32, num_classes=9, strides={"conv1": 2, "maxpool": 1})
    teacher = saved(tmp_path / "teacher", split_seed=3)
    config = DistillConfig(student, "folder:pets", teacher_checkpoint=teacher, split_seed=3)
    check_teacher(config)
    with pytest.raises(ValueError, match="trained on the same pictures with split_seed 3, not 4: it may have seen"):
        check_teacher(dataclasses.replace(config, split_seed=4))
    check_teacher(dataclasses.replace(config, dataset="folder:others", split_seed=4))
    other = dataclasses.replace(config, teacher_checkpoint=saved(tmp_path / "other", 10, split_seed=3))
    check_teacher(other)
    with pytest.raises(ValueError, match="tells 10 classes apart, the student 9, so KD cannot"):
        check_teacher(dataclasses.replace(other, kd_weight=1.0))

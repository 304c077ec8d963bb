"""Checkpoint folders: round trips, and one sentence for everything that is not one."""

import errno
import json
import os
import shutil
import stat

import pytest
import safetensors.torch
import torch

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint import sources
from redistill.checkpoint.metadata import Metadata, read_metadata
from redistill.checkpoint.sources import find_checkpoint, find_pipeline
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig, build_student
from redistill.training.presets import FACES_STRIDES

CONFIG = StudentConfig("narrow_resnet", 32, 50, {"conv1": 4, "maxpool": 1, "layer4.0": 1}, red=REDConfig())


@pytest.fixture
def folder(tmp_path):
    metadata = Metadata(CONFIG, "emoji-clutter", {"test_accuracy": 0.5}, {"seed": 3, "steps": 7})
    return checkpoint.save(build_student(CONFIG), metadata, tmp_path / "here")


def test_round_trip(folder):
    model, again = checkpoint.load(folder), checkpoint.load(str(folder))
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(model(x), again(x)) and not model.training
    assert read_metadata(folder).student == CONFIG
    card = (folder / "README.md").read_text()
    assert "CC" in card and "| seed | 3 |" in card and "| test_accuracy | 0.5 |" in card


def test_saving_again_replaces_the_folder_whole(folder):
    (folder / "stray").write_text("")
    metadata = read_metadata(folder)
    checkpoint.save(build_student(CONFIG), metadata, folder)
    written = ["README.md", "config.json", "graph.py", "model.safetensors", "network.py"]
    assert sorted(path.name for path in folder.iterdir()) == written
    assert [path.name for path in folder.parent.iterdir()] == ["here"]


def test_a_failed_save_keeps_the_old_folder(folder, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    x, before = torch.randn(2, 3, 32, 32), checkpoint.load(folder)
    monkeypatch.setattr(checkpoint, "write_metadata", full)
    with pytest.raises(OSError):
        checkpoint.save(build_student(CONFIG), read_metadata(folder), folder)
    assert torch.equal(checkpoint.load(folder)(x), before(x))
    assert [path.name for path in folder.parent.iterdir()] == ["here"]  # nothing half-written stays


def test_only_a_checkpoint_or_an_empty_folder_is_replaced(folder, tmp_path):
    metadata, other = read_metadata(folder), tmp_path / "other"
    other.mkdir()
    checkpoint.save(build_student(CONFIG), metadata, other)
    (tmp_path / "thesis.txt").write_text("two years of work")
    with pytest.raises(ValueError, match="is no checkpoint; choose a new or an empty folder"):
        checkpoint.save(build_student(CONFIG), metadata, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "other", "thesis.txt"]


def test_all_files_are_as_the_umask_says(tmp_path):
    before = os.umask(0o027)
    try:
        for config in (CONFIG, StudentConfig("unet_small", 32, red=None)):
            metadata = Metadata(config, "emoji-faces")
            files = checkpoint.save(build_student(config), metadata, tmp_path / config.task).rglob("*.*")
            assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o640}
    finally:
        os.umask(before)


@pytest.mark.parametrize("left", [None, "last.pt", "metrics.jsonl", "status.json", ".lock"])
def test_a_run_is_not_replaced_though_it_has_a_config_too(folder, finished_run, tmp_path, left):
    """Nor what is left of one among the files of a checkpoint."""
    place = shutil.copytree(folder if left else finished_run, tmp_path / "run")
    if left:
        (place / left).touch()
    before = sorted(place.rglob("*"))
    with pytest.raises(ValueError, match="is no checkpoint; choose a new or an empty folder"):
        checkpoint.save(build_student(CONFIG), read_metadata(folder), place)
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("text", ['{"architectures": ["Bert"]}', "no JSON"])
def test_another_librarys_model_is_not_replaced(folder, tmp_path, text):
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text(text)
    with pytest.raises(ValueError, match="is no checkpoint"):
        checkpoint.save(build_student(CONFIG), read_metadata(folder), other)
    assert (other / "config.json").read_text() == text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["fc.bias", "bn1.running_var"])
def test_weights_that_are_no_numbers_are_no_network(folder, name, value):
    """It would tell one class of everything."""
    state = safetensors.torch.load_file(folder / "model.safetensors")
    state[name].view(-1)[1] = value
    safetensors.torch.save_file(state, folder / "model.safetensors")
    with pytest.raises(ValueError, match=rf"model\.safetensors holds '{name}' with values that are no numbers"):
        checkpoint.load(folder)


def test_a_diffusion_network_that_is_no_numbers_is_none_either(tmp_path):
    config = StudentConfig("unet_small", 32, red=None)
    model = build_student(config)
    model.conv_out.bias.data[0] = float("nan")
    checkpoint.save(model, Metadata(config, "emoji-faces"), tmp_path / "unet")
    with pytest.raises(ValueError, match=r"unet holds 'conv_out\.bias' with values that are no numbers"):
        checkpoint.load(tmp_path / "unet")


def test_diffusion_round_trip(tmp_path):
    config = StudentConfig("unet_small", 32, red=None)
    metadata = Metadata(config, "emoji-faces", training={"prediction_type": "v_prediction"})
    model = build_student(config).eval()
    folder = checkpoint.save(model, metadata, tmp_path / "unet")
    inputs = torch.randn(1, 3, 32, 32), 500
    assert torch.equal(checkpoint.load(folder)(*inputs).sample, model(*inputs).sample)
    assert json.loads((folder / "scheduler" / "scheduler_config.json").read_text())["prediction_type"] == "v_prediction"


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (StudentConfig("unet_small", 32, red=None), r"pooling_strides \(1, 2, 2, 2\), but .* \(2, 2, 2, 1\)"),
        (
            StudentConfig("unet_small", 32, strides=FACES_STRIDES, red=REDConfig()),
            "red {.*}, but .* one with None",
        ),
    ],
)
def test_a_diffusion_network_whose_config_tells_of_another_one_is_refused(tmp_path, other, words):
    config = StudentConfig("unet_small", 32, strides=FACES_STRIDES, red=None)
    metadata = Metadata(config, "emoji-faces", training={"prediction_type": "v_prediction"})
    folder = checkpoint.save(build_student(config), metadata, tmp_path / "unet")
    values = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(values | {"student": other.to_dict()}))
    with pytest.raises(ValueError, match=f"describes a network with {words}"):
        checkpoint.load(folder)


@pytest.mark.parametrize("config", [CONFIG, StudentConfig("unet_small", 32, red=None)])
def test_half_precision_halves_the_file_and_loads_as_fp32(tmp_path, config):
    model = build_student(config)
    metadata = Metadata(config, "emoji-faces", training={"prediction_type": "v_prediction"})
    full, half = checkpoint.save(model, metadata, tmp_path / "full"), tmp_path / "half"
    checkpoint.save(model, metadata, half, dtype=torch.float16)
    sizes = [sum(file.stat().st_size for file in folder.rglob("*.safetensors")) for folder in (half, full)]
    assert sizes[0] / sizes[1] == pytest.approx(0.5, abs=0.02)
    kept = checkpoint.load(full).state_dict()
    for name, value in checkpoint.load(half).state_dict().items():
        expected = kept[name].half().float() if kept[name].is_floating_point() else kept[name]
        assert value.dtype == expected.dtype and torch.equal(value, expected)
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items()), "the model stays"


def damage(folder, what):
    config = folder / "config.json"
    weights = folder / "model.safetensors"
    if what == "no weights":
        weights.unlink()
    elif what == "cut weights":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif what == "whole numbers":
        state = safetensors.torch.load_file(weights)
        safetensors.torch.save_file({name: value.to(torch.int32) for name, value in state.items()}, weights)
    elif what == "a folder of weights":
        weights.unlink()
        weights.mkdir()
    elif what == "a student that is none":
        config.write_text('{"format": 1, "student": null, "dataset": "x"}')
    elif what == "a pickle":
        torch.save(build_student(CONFIG).state_dict(), weights)
    elif what == "foreign weights":
        safetensors.torch.save_file({"other": torch.zeros(3)}, weights)
    elif what == "broken config":
        config.write_text("{")
    elif what == "unknown network":
        config.write_text(config.read_text().replace("narrow_resnet", "wide_resnet"))
    elif what == "another format":
        config.write_text(config.read_text().replace('"format": 1', '"format": 9'))
    elif what == "an origin":
        config.write_text(config.read_text().replace('"format": 1', '"format": 1, "imported": "x"'))
    elif what == "no student":
        config.write_text('{"format": 1}')


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("no weights", "has no model.safetensors"),
        ("cut weights", "does not hold the weights"),
        ("a pickle", "does not hold the weights"),
        ("whole numbers", r"holds whole numbers \(torch.int32\) in .*; expected the weights from before"),
        ("a folder of weights", "has no model.safetensors"),
        ("a student that is none", "configuration is 'None'; expected settings by name"),
        ("foreign weights", "does not hold the weights"),
        ("broken config", "not readable JSON"),
        ("unknown network", "No network 'wide_resnet'"),
        ("another format", "format 9; expected 1"),
        ("an origin", "the imported 'x'; expected where its weights are from"),
        ("no student", "has no 'student'"),
    ],
)
def test_damaged_folders_are_refused_with_a_sentence(folder, what, words):
    damage(folder, what)
    with pytest.raises(ValueError, match=words):
        checkpoint.load(folder)


def test_missing_checkpoints_name_the_shipped_ones(tmp_path):
    with pytest.raises(ValueError, match="No checkpoint"):
        checkpoint.load(tmp_path / "nowhere")


def test_an_installed_package_says_where_shipped_checkpoints_are(tmp_path, monkeypatch):
    """The wheel brings none, unlike a clone."""
    monkeypatch.setattr(sources, "SHIPPED", tmp_path / "nowhere")
    for refused in (find_checkpoint, find_pipeline):
        with pytest.raises(ValueError, match=r"'emoji-faces-student'.* REDISTILL_CHECKPOINTS"):
            refused("emoji-faces-student")

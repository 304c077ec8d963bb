"""Checkpoints from elsewhere: folders and a fake Hub cache, in the layouts that repositories of the Hub have."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from helpers.made import SCHEDULE, saved_ddpm
from helpers.unets import TINY
from huggingface_hub import constants

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import Metadata, read_metadata
from redistill.checkpoint.pipeline import load_scheduler, load_unet
from redistill.checkpoint.sources import find_checkpoint, find_ddpm, find_pipeline, with_unets
from redistill.checkpoint.teacher import load_teacher
from redistill.checkpoint.unet_weights import WEIGHTS
from redistill.cli.commands import main
from redistill.common.hub import hub_id
from redistill.diffusion.images import read_settings
from redistill.diffusion.sampling import sample
from redistill.networks.red import red_modules
from redistill.networks.student import StudentConfig, build_reference, build_student
from redistill.training import diffusion
from redistill.training.checks import check_teacher
from redistill.training.presets import PRESETS

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


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://huggingface.co/google/ddpm-tiny-16", ID),
        ("huggingface.co/google/ddpm-tiny-16/", ID),
        ("https://huggingface.co/google/ddpm-tiny-16/tree/main", f"{ID}@main"),
        ("https://hf.co/google/ddpm-tiny-16/blob/main/unet/config.json?x=1#y", f"{ID}@main"),
        ("https://huggingface.co/datasets/me/pets", "me/pets"),
        ("https://huggingface.co/google", "https://huggingface.co/google"),
        ("https://evil.com/huggingface.co/a/b", "https://evil.com/huggingface.co/a/b"),
        (" google/ddpm-tiny-16@main ", f"{ID}@main"),
    ],
)
def test_an_address_on_the_hub_is_the_id_of_its_repository(text, found):
    assert hub_id(text) == found


def test_a_repository_is_found_by_its_address(hub, theirs):
    store(hub, theirs, flat=True)
    assert find_pipeline(f"https://huggingface.co/{ID}") == find_pipeline(ID)


def test_a_shipped_name_finds_its_folder(hub):
    assert find_pipeline("emoji-faces-teacher") == find_checkpoint("emoji-faces-teacher")


# A DDPM from elsewhere as teacher

STRIDES = "conv_in=2,down_blocks.0.downsamplers.0=2,down_blocks.1.downsamplers.0=2,down_blocks.2.downsamplers.0=1"


def test_a_student_is_distilled_from_it_on_its_own_schedule(tmp_path, monkeypatch, capsys):
    saved_ddpm(tmp_path / "theirs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(diffusion, "PREVIEW_STEPS", 2)
    monkeypatch.setattr(diffusion, "JUDGING_ROUNDS", 1)
    settings = "--preset faces --teacher-checkpoint ddpm:theirs --steps 1 --batch-size 2 --train-limit 4 --run-dir run"
    assert main(["distill", *settings.split(), "--strides", STRIDES, "--kd-weight", "1"]) == 0
    folder = tmp_path / "run" / "student"
    student, teacher = load_unet(folder), load_unet(tmp_path / "theirs")
    assert tuple(student.config.pooling_strides) == (2, 2, 2, 1) and len(red_modules(student)) == 10
    assert student.config.block_out_channels == teacher.config.block_out_channels
    # One warm-up step away from the teacher's weights.
    moved = student.mid_block.resnets[0].conv1.weight - teacher.mid_block.resnets[0].conv1.weight
    assert 0 < moved.abs().max() < 1e-2
    schedule = load_scheduler(folder).config
    assert {name: schedule[name] for name in SCHEDULE} == SCHEDULE
    metadata = read_metadata(folder)
    assert metadata.prediction_type == "epsilon" and metadata.student.teacher == f"ddpm:{tmp_path / 'theirs'}"
    capsys.readouterr()
    assert main(["evaluate", str(folder)]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["test_prediction_loss"] == pytest.approx(metadata.metrics["test_prediction_loss"], rel=1e-3)
    # A pupil of this student learns on the same schedule, and predicts the same.
    config = dataclasses.replace(PRESETS["faces"].config, teacher_checkpoint=str(folder), prediction_type="epsilon")
    check_teacher(config)
    schedule = diffusion.teaching_schedule(config).config
    assert {name: schedule[name] for name in SCHEDULE} == SCHEDULE
    with pytest.raises(ValueError, match="predicts 'epsilon', the student 'v_prediction'; set prediction_type to"):
        check_teacher(dataclasses.replace(config, prediction_type="v_prediction"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_teach_in_fp32(tmp_path, dtype):
    folder = saved_ddpm(tmp_path / "theirs")
    load_unet(folder).to(dtype).save_pretrained(folder / "unet")
    teacher = load_teacher(f"ddpm:{folder}")
    assert {parameter.dtype for parameter in teacher.parameters()} == {torch.float32}
    assert teacher(torch.zeros(1, 3, 32, 32), 5).sample.dtype == torch.float32


@pytest.mark.parametrize("teacher", ["emoji-clutter-teacher", "torchvision:resnet18"])
def test_a_classifier_teaches_no_diffusion_network(teacher):
    with pytest.raises(ValueError, match=f"{teacher} is a network for classification, the student one for diffusion"):
        check_teacher(dataclasses.replace(PRESETS["faces"].config, teacher_checkpoint=teacher))


@pytest.mark.parametrize(
    ("settings", "options", "words"),
    [
        ({"num_class_embeds": 4}, (), "draws what a class label asks for; expected an unconditional DDPM"),
        ({"in_channels": 4, "out_channels": 4}, (), "maps 4 channels to 4; expected RGB"),
        ({"sample_size": (32, 16)}, (), r"draws \[32, 16\] px; expected a DDPM of square pictures"),
        ({"sample_size": 64}, ("--image-size", "32"), "draws 64 px, the student 32; set image_size to 64"),
        ({}, ("--prediction-type", "v_prediction"), "predicts 'epsilon', the student 'v_prediction'"),
        ({}, ("--preset", "default"), "is for classification"),
    ],
)
def test_what_does_not_fit_as_teacher_is_one_sentence(tmp_path, capsys, settings, options, words):
    folder = saved_ddpm(tmp_path / "theirs", **settings)
    command = ["distill", "--preset", "faces", "--teacher-checkpoint", f"ddpm:{folder}"]
    assert main([*command, "--run-dir", str(tmp_path / "run"), *options]) == 1
    assert re.search(f"^redistill: .*{words}", capsys.readouterr().err, re.MULTILINE)


def test_a_latent_pipeline_and_another_prediction_are_refused(tmp_path):
    folder = saved_ddpm(tmp_path / "theirs", SCHEDULE | {"prediction_type": "sample"})
    config = dataclasses.replace(
        PRESETS["faces"].config, teacher_checkpoint=f"ddpm:{folder}", student=StudentConfig(f"ddpm:{folder}", 32)
    )
    with pytest.raises(ValueError, match="predicts 'sample'; expected one of"):
        check_teacher(config)
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"vqvae": ["diffusers", "VQModel"]}))
    with pytest.raises(ValueError, match="names a component 'vqvae'"):
        find_ddpm(str(folder))


def test_a_student_keeps_what_its_ddpm_is_built_from(tmp_path):
    folder = saved_ddpm(tmp_path / "theirs")
    student = with_unets(StudentConfig(f"ddpm:{folder}", 32, strides={"conv_in": 2}, red=None))
    saved = checkpoint.save(build_student(student), Metadata(student, "emoji-faces"), tmp_path / "student")
    shutil.rmtree(folder)
    again = StudentConfig.from_dict(json.loads(json.dumps(student.to_dict())))
    assert again == student and with_unets(again) is again
    assert build_reference(again).config.block_out_channels == list(TINY["block_out_channels"])
    assert checkpoint.load(saved).config.pooling_strides == (2, 2, 2, 2)
    values = json.loads((saved / "config.json").read_text())
    values["student"]["strides"] = {}
    (saved / "config.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"describes a network with pooling_strides \(1, 2, 2, 2\)"):
        checkpoint.load(saved)
    assert dataclasses.replace(student, teacher="unet_small").unets == {}  # what no network of it is called


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"block_out_channels": "wide", "layers_per_block": 1}, "describe no usable U-Net"),
        ({"block_out_channels": [8] * 1000, "layers_per_block": 1}, "it is too deep"),
        ({"block_out_channels": [8], "layers_per_block": 10**9}, "it is too deep"),
        ({}, "describe no usable U-Net"),
        (None, "are not known"),
    ],
)
def test_settings_that_build_nothing_are_one_sentence(settings, words):
    unets = {} if settings is None else {"ddpm:a/b": settings}
    with pytest.raises(ValueError, match=f"settings of 'ddpm:a/b' .*{words}"):
        build_student(StudentConfig("ddpm:a/b", 32, unets=unets))
    for odd in (3, {"ddpm:a/b": 3}):
        with pytest.raises(ValueError, match="expected settings of U-Nets by name"):
            StudentConfig("ddpm:a/b", 32, unets=odd)


def test_a_student_of_a_ddpm_that_is_gone_still_loads(tmp_path):
    config = StudentConfig("ddpm:someone/gone", 32)
    assert config.task == "diffusion" and StudentConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match=r"No network 'ddpm:'; expected one of .*ddpm:OWNER/NAME"):
        StudentConfig("ddpm:", 32)

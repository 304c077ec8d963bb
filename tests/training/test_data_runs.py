"""Runs on pictures of one's own, from the shell: train or fine-tune a teacher on them, distil from it, evaluate."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest
import torch
import torchvision
from helpers.pictures import picture, write_classes

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import read_metadata
from redistill.checkpoint.teacher import load_teacher
from redistill.cli.commands import main
from redistill.networks.student import StudentConfig, build_student
from redistill.training import diffusion
from redistill.training.config import DistillConfig
from redistill.training.loop import distill
from redistill.training.presets import PRESETS
from redistill.training.task import load_problem

SHORT = ["--steps", "2", "--batch-size", "4", "--validate-every", "2", "--image-size", "32"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def pets(tmp_path):
    return f"folder:{write_classes(tmp_path / 'pets', {'birds': 12, 'cats': 12, 'dogs': 12})}"


def test_a_teacher_is_trained_on_a_folder_and_teaches_a_student(pets, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    teacher, student = tmp_path / "teacher", tmp_path / "student"
    data = ["--dataset", "folder:pets", "--split-seed", "4"]
    assert main(["train", *data, *SHORT, "--run-dir", str(teacher)]) == 0
    metadata = read_metadata(teacher / "student")
    assert (metadata.student.num_classes, metadata.student.image_size, metadata.dataset) == (3, 32, pets)
    card = (teacher / "student" / "README.md").read_text()
    assert "license: other" in card and "Pictures: own pictures (pets)." in card
    taught = ["--teacher-checkpoint", str(teacher / "student"), "--run-dir", str(student)]
    assert main(["distill", *data, *SHORT, *taught]) == 0
    assert main(["distill", "--dataset", pets, *SHORT, *taught[:2], "--run-dir", str(tmp_path / "other")]) == 1
    assert "trained on the same pictures with split_seed 4, not 0" in capsys.readouterr().err
    assert main(["evaluate", str(student / "student")]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert not any(name.startswith("validation") for name in figures)
    final = read_metadata(student / "student").metrics
    assert figures["test_accuracy"] == final["test_accuracy"] and figures["dataset"] == pets


def test_with_other_pictures_than_before_nothing_goes_on_that_has_seen_some(pets, tmp_path):
    folder = tmp_path / "pets"
    config = DistillConfig(StudentConfig("narrow_resnet", 32, num_classes=3, red=None), pets, steps=2, batch_size=4)
    config = dataclasses.replace(config, validate_every=2)
    list(distill(config, tmp_path / "teacher"))
    taught = dataclasses.replace(config, teacher_checkpoint=str(tmp_path / "teacher" / "student"))
    records = distill(config, tmp_path / "run")
    next(records)
    records.close()
    added = folder / "cats" / "added.png"
    picture(99).save(added)
    with pytest.raises(ValueError, match=r"removed or renamed since this run began, .* start a new run"):
        list(distill(config, tmp_path / "run"))
    with pytest.raises(ValueError, match="since the teacher was trained, so it may have seen what this run"):
        list(distill(taught, tmp_path / "new"))
    added.unlink()
    os.utime(folder / "cats")
    assert list(distill(config, tmp_path / "run"))[-1]["kind"] == "final"
    assert list(distill(taught, tmp_path / "new"))[-1]["kind"] == "final"


def test_a_network_of_torchvision_is_fine_tuned(pets, tmp_path, capsys):
    name = "mobilenet_v3_small"
    arguments = ["train", "--teacher", name, "--init", "pretrained", "--dataset", pets, *SHORT]
    arguments += ["--learning-rate", "1e-9", "--run-dir", str(tmp_path / "run")]
    file = tmp_path / "torch" / "hub" / "checkpoints" / "mobilenet_v3_small-047dcff4.pth"
    file.parent.mkdir(parents=True)
    torch.save(torchvision.models.get_model(name, weights=None).state_dict(), file)
    assert main(arguments) == 0, capsys.readouterr().err
    tuned, start = checkpoint.load(tmp_path / "run" / "student"), load_teacher(name, pretrained=True)
    assert tuned.classifier[3].out_features == 3
    for one, two in zip(tuned.features.parameters(), start.features.parameters(), strict=True):
        torch.testing.assert_close(one, two, atol=1e-6, rtol=0)


def test_classes_that_do_not_fit_are_refused_before_training(pets, tmp_path):
    student = StudentConfig("narrow_resnet", 32, num_classes=50, red=None)
    with pytest.raises(ValueError, match="tells 50 classes apart, but data set 'cifar10' has 10; set the student's"):
        DistillConfig(student, "cifar10")
    with pytest.raises(ValueError, match=r"tells 50 classes apart, but data set 'folder:.*' has 3"):
        list(distill(DistillConfig(student, pets), tmp_path / "run"))
    one = f"folder:{write_classes(tmp_path / 'one', {'cats': 12})}"
    with pytest.raises(ValueError, match="is for generation, but 'narrow_resnet' is a network for classification"):
        list(distill(DistillConfig(dataclasses.replace(student, num_classes=1), one), tmp_path / "one-run"))
    with pytest.raises(ValueError, match=r"Unknown data set 'pets'; expected one of: emoji-clutter, .*folder:PATH"):
        DistillConfig(student, "pets")


def test_diffusion_learns_from_a_folder_too(pets):
    base = PRESETS["faces-teacher"].config
    student = dataclasses.replace(base.student, image_size=16)
    config = dataclasses.replace(base, student=student, dataset=pets, batch_size=2)
    torch.manual_seed(0)
    problem = load_problem(diffusion, config, build_student(student), None, torch.device("cpu"))
    assert (len(problem.train), len(problem.validation), problem.augmentation) == (30, 3, "flip")
    parts = diffusion.losses(problem, 0, torch.Generator().manual_seed(0))
    assert parts["task_loss"].item() > 0
    assert diffusion.judge(problem, problem.model, problem.validation) == diffusion.judge(
        problem, problem.model, problem.validation
    )


def test_many_pictures_are_judged_in_batches(pets, monkeypatch):
    base = PRESETS["faces-teacher"].config
    config = dataclasses.replace(base, student=dataclasses.replace(base.student, image_size=16), dataset=pets)
    torch.manual_seed(0)
    problem = load_problem(diffusion, config, build_student(config.student), None, torch.device("cpu"))
    sizes = []
    problem.model.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    monkeypatch.setattr(diffusion, "JUDGING_BATCH", 2)
    whole = diffusion.judge(problem, problem.model, problem.validation)["prediction_loss"]
    assert sizes == [2, 1] * diffusion.JUDGING_ROUNDS and 0 < whole < 10
    sizes.clear()
    monkeypatch.setattr(diffusion, "JUDGED", 3)
    diffusion.judge(problem, problem.model, problem.validation)
    assert sizes == [2, 1]

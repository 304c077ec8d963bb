"""A classifier on other pictures and on files: per class, with intervals, mapped by name; what training cannot take."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import Metadata
from redistill.cli.commands import main
from redistill.data.datasets import load_split
from redistill.networks.student import StudentConfig, build_student
from redistill.training.classification import accuracy
from redistill.training.config import DistillConfig
from redistill.training.evaluation import evaluate
from redistill.training.intervals import wilson
from redistill.training.loop import distill
from redistill.training.prediction import predict

COLOURS = {"blue": (20, 20, 200), "green": (20, 200, 20), "red": (200, 20, 20)}


def paint(folder, **counts):
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (16, 16), tuple(c + number % 8 for c in COLOURS[name])).save(
                folder / name / f"{number:02d}.png"
            )
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory, picture_cache):
    """A run that has learnt to tell three colours apart, beside its pictures `P`."""
    root = tmp_path_factory.mktemp("judging")
    paint(root / "P", blue=20, green=20, red=20)
    student = StudentConfig("narrow_resnet", 16, num_classes=3, red=None)
    config = DistillConfig(student, f"folder:{root / 'P'}", steps=30, batch_size=16, validate_every=30, split_seed=4)
    assert list(distill(dataclasses.replace(config, learning_rate=0.01), root / "run"))[-1]["test_accuracy"] == 1.0
    return root


def test_its_own_test_split_comes_with_an_interval(run):
    figures = evaluate(run / "run" / "student")
    assert (figures["test_accuracy"], figures["test_pictures"]) == (1.0, 6)
    assert figures["test_interval"] == list(wilson(1.0, 6)) and "per_class" not in figures


def test_other_pictures_are_judged_whole_and_class_by_class(run, tmp_path):
    other = paint(tmp_path / "other", blue=6, red=9)
    for number in range(3):  # that lie in the wrong class
        shutil.copy(run / "P" / "green" / f"{number:02d}.png", other / "red" / f"wrong{number}.png")
    paint(other, green=5)
    figures = evaluate(run / "run" / "student", dataset=f"folder:{other}")
    assert figures["test_pictures"] == 23 and figures["test_accuracy"] == pytest.approx(20 / 23)
    assert figures["per_class"]["red"]["accuracy"] == pytest.approx(9 / 12)
    assert figures["per_class"]["red"]["interval"] == list(wilson(9 / 12, 12))
    assert figures["confusion"] == {"classes": ["blue", "green", "red"], "rows": [[6, 0, 0], [0, 5, 0], [0, 3, 9]]}


def test_a_copy_of_its_pictures_is_judged_on_what_it_has_not_learnt(run, tmp_path):
    copy = shutil.copytree(run / "P", tmp_path / "copy")
    assert evaluate(run / "run" / "student", dataset=f"folder:{copy}")["test_pictures"] == 6


def test_a_student_of_a_copy_keeps_the_splits_of_its_teacher(run, tmp_path):
    copy = shutil.copytree(run / "P", tmp_path / "copy")
    config = DistillConfig(StudentConfig("narrow_resnet", 16, 3, red=None), f"folder:{copy}", steps=1, batch_size=4)
    config = dataclasses.replace(config, teacher_checkpoint=str(run / "run" / "student"), kd_weight=1.0)
    with pytest.raises(ValueError, match=r"same pictures, in folder:.* set split_seed to 4"):
        next(distill(config, tmp_path / "run"))
    assert next(distill(dataclasses.replace(config, split_seed=4), tmp_path / "other"))["step"] == 1


def test_files_are_told_with_names_and_the_unreadable_are_passed_over(run, tmp_path, capsys):
    for name, colour in COLOURS.items():
        Image.new("RGB", (40, 30), colour).save(tmp_path / f"{name}.jpg")
    (tmp_path / "broken.png").write_text("none")
    answers = {answer["file"]: answer for answer in predict(run / "run" / "student", [tmp_path], top=2)}
    assert len(answers) == 4 and "cannot be read" in answers[str(tmp_path / "broken.png")]["error"]
    for name in COLOURS:
        first, second = answers[str(tmp_path / f"{name}.jpg")]["classes"]
        assert first["class"] == name and first["probability"] >= second["probability"]
    assert main(["predict", str(run / "run" / "student"), str(tmp_path / "red.jpg"), str(tmp_path / "broken.png")]) == 1
    printed = capsys.readouterr()
    assert json.loads(printed.out)["classes"][0]["class"] == "red" and "broken.png" in printed.err


@pytest.mark.parametrize(
    ("checkpoint_name", "files", "top", "said"),
    [
        ("emoji-faces-student", ["x.png"], 3, "for diffusion; expected a classifier"),
        (None, ["x.png"], 0, "top is 0"),
        (None, [], 3, "no pictures"),
    ],
)
def test_what_cannot_be_predicted_is_said_at_once(run, checkpoint_name, files, top, said):
    with pytest.raises(ValueError, match=said):
        predict(checkpoint_name or run / "run" / "student", files, top)


def test_a_checkpoint_that_answers_with_no_numbers_has_no_figures(run, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(run / "run" / "student", damaged)
    state = safetensors.torch.load_file(damaged / "model.safetensors")
    huge = {name: value * 1e30 if name.endswith("weight") else value for name, value in state.items()}
    safetensors.torch.save_file(huge, damaged / "model.safetensors")
    for figures in (lambda: evaluate(damaged), lambda: list(predict(damaged, [run / "P" / "red"]))):
        with pytest.raises(ValueError, match=r"^The network answers with what is no number \(NaN or infinite\); its"):
            figures()
    split = load_split(f"folder:{run / 'P'}", "test", 16)
    model = checkpoint.load(damaged)
    assert 0 <= accuracy(model, split, is_learning=True) <= 1  # of a student that may come back
    with pytest.raises(ValueError, match="no number"):
        accuracy(model, split)
    name = next(name for name in state if name.endswith("running_var"))
    safetensors.torch.save_file({**state, name: -state[name]}, damaged / "model.safetensors")
    with pytest.raises(ValueError, match=rf"holds a negative variance in {name}; copy the folder again"):
        checkpoint.load(damaged)


def test_a_network_of_other_channels_than_pictures_have_predicts_nothing(tmp_path):
    student = StudentConfig("narrow_resnet", 16, 3, red=None, in_channels=1)
    folder = checkpoint.save(build_student(student), Metadata(student, "folder:x"), tmp_path / "grey")
    with pytest.raises(ValueError, match="takes images of 1 channels; expected 3"):
        predict(folder, ["x.png"])


def test_one_picture_of_one_pixel_a_map_is_a_sentence(run, tmp_path):
    student = StudentConfig("narrow_resnet", 16, 3, red=None)
    config = DistillConfig(student, f"folder:{run / 'P'}", steps=1, batch_size=1)
    with pytest.raises(ValueError, match=r"batch_size is 1, .*at least 2, .*freeze_batch_norm"):
        next(distill(config, tmp_path / "run"))


def test_a_module_is_no_name_of_a_teacher(run):
    with pytest.raises(ValueError, match="teacher_checkpoint is") as raised:
        DistillConfig(
            StudentConfig("narrow_resnet", 16, 3, red=None), f"folder:{run / 'P'}", teacher_checkpoint=nn.Linear(2, 2)
        )
    assert "expected" in str(raised.value)


def test_a_checkpoint_without_names_tells_places(tmp_path):
    student = StudentConfig("narrow_resnet", 16, 3, red=None)
    torch.manual_seed(0)
    folder = checkpoint.save(build_student(student), Metadata(student, "folder:x"), tmp_path / "nameless")
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    (answer,) = predict(folder, [tmp_path / "a.png"])
    assert {entry["class"] for entry in answer["classes"]} == {"number 0", "number 1", "number 2"}

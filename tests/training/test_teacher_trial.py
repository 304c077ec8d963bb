"""A teacher is tried on a run's own pictures before it teaches; one that does badly there needs a yes."""

from __future__ import annotations

import dataclasses
import json

import pytest
from helpers.pictures import write_classes
from helpers.records import read_metrics
from PIL import Image
from torch import nn

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import Metadata, read_metadata
from redistill.cli.commands import main
from redistill.networks.student import StudentConfig, build_student
from redistill.training.config import DistillConfig
from redistill.training.estimation import estimate
from redistill.training.intervals import wilson
from redistill.training.loop import distill

COLOURS = {"blue": (20, 20, 200), "green": (20, 200, 20), "red": (200, 20, 20), "white": (240, 240, 240)}


@pytest.mark.parametrize(
    ("share", "count", "bounds"),
    [(0.5, 100, (0.4038, 0.5962)), (0.0, 10, (0.0, 0.2775)), (1.0, 10, (0.7225, 1.0)), (0.98, 500, (0.9636, 0.9891))],
)
def test_wilsons_interval_against_published_values(share, count, bounds):
    assert wilson(share, count) == pytest.approx(bounds, abs=2e-4)
    assert wilson(0.3, 0) == (0, 1)


@pytest.fixture(scope="module")
def colours(tmp_path_factory, picture_cache):
    """Pictures of one colour each, and a network that tells them apart; its folder and the pictures' name."""
    root = tmp_path_factory.mktemp("colours")
    for name, colour in COLOURS.items():
        (root / "P" / name).mkdir(parents=True)
        for number in range(100):
            Image.new("RGB", (16, 16), tuple(c + number % 8 for c in colour)).save(root / "P" / name / f"{number}.png")
    student = StudentConfig("narrow_resnet", 16, num_classes=4, red=None)
    dataset = f"folder:{root / 'P'}"
    config = DistillConfig(student, dataset, steps=30, batch_size=32, validate_every=30, learning_rate=0.01)
    assert list(distill(config, root / "run"))[-1]["test_accuracy"] == 1.0
    return root


def taught(colours, teacher, **settings):
    student = StudentConfig("narrow_resnet", 16, num_classes=4, strides={"conv1": 2, "maxpool": 1}, red=None)
    values = {"steps": 2, "batch_size": 8, "validate_every": 2, "red_weight": 0.0, "kd_weight": 1.0} | settings
    return DistillConfig(student, f"folder:{colours / 'P'}", teacher_checkpoint=str(teacher), **values)


def spoilt(colours, place, **metrics):
    """The teacher's network that knows nothing, whose card tells other figures."""
    metadata = read_metadata(colours / "run" / "student")
    model = build_student(metadata.student)
    nn.init.zeros_(model.fc.weight)  # it answers the same to all
    return checkpoint.save(model, dataclasses.replace(metadata, metrics=metrics), place)


def test_a_good_teacher_is_shown_and_teaches(colours, tmp_path):
    config = taught(colours, colours / "run" / "student")
    first, *_ = records = list(distill(config, tmp_path / "run"))
    trial = first["teacher"]
    assert trial["accuracy"] == trial["own"] == 1.0 and trial["pictures"] == 40 and trial["bad"] is None
    assert trial["classes"] == "by name" and trial["interval"] == list(wilson(1.0, 40))
    assert read_metrics(tmp_path / "run")[0]["teacher"] == trial
    assert not any("teacher" in record for record in records[1:])
    assert estimate(config).to_dict()["teacher"] == trial


@pytest.mark.parametrize("metrics", [{"test_accuracy": 0.98}, {}])
@pytest.mark.parametrize("learning", [{"kd_weight": 1.0}, {"kd_weight": 0.0, "feature_loss": "fitnet"}])
def test_a_bad_one_needs_a_yes(colours, tmp_path, metrics, learning):
    teacher = spoilt(colours, tmp_path / "teacher", **metrics)
    config = taught(colours, teacher, **learning)
    with pytest.raises(ValueError, match=r"is right on [\d.]+ % of 40 validation pictures .*accept_teacher") as raised:
        list(distill(config, tmp_path / "run"))
    assert ("98.0 % of its own" in str(raised.value)) == bool(metrics)
    assert estimate(config).to_dict()["teacher"]["bad"] in str(raised.value)
    accepted = dataclasses.replace(config, accept_teacher=True)
    assert list(distill(accepted, tmp_path / "run"))[-1]["kind"] == "final", "in the folder where it was refused"


def test_another_size_is_named(colours, tmp_path):
    teacher = spoilt(colours, tmp_path / "teacher", test_accuracy=0.98)
    card = json.loads((teacher / "config.json").read_text())
    card["student"]["image_size"] = 64
    (teacher / "config.json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match="it was trained at 64 px, these have 16"):
        list(distill(taught(colours, teacher), tmp_path / "run"))


@pytest.mark.parametrize("settings", [{"kd_weight": 0.0}, {"kd_weight": 0.0, "init": "teacher"}])
def test_one_that_teaches_nothing_is_not_tried(colours, tmp_path, settings):
    config = taught(colours, spoilt(colours, tmp_path / "teacher", test_accuracy=1.0), **settings)
    assert "teacher" not in next(distill(config, tmp_path / "run"))


def test_a_teacher_of_other_classes_that_teaches_by_its_maps_alone_is_not_tried(colours, tmp_path):
    student = StudentConfig("narrow_resnet", 16, num_classes=9, red=None)
    teacher = checkpoint.save(build_student(student), Metadata(student, "folder:x"), tmp_path / "teacher")
    config = taught(colours, teacher, kd_weight=0.0, feature_loss="fitnet")
    assert "teacher" not in next(distill(config, tmp_path / "run"))


def test_one_without_names_is_matched_by_place_and_that_is_said(colours, tmp_path):
    metadata = read_metadata(colours / "run" / "student")
    nameless = dataclasses.replace(metadata, class_names=())
    teacher = checkpoint.save(checkpoint.load(colours / "run" / "student"), nameless, tmp_path / "teacher")
    assert "by place" in next(distill(taught(colours, teacher), tmp_path / "run"))["teacher"]["classes"]


@pytest.mark.parametrize(("own", "is_bad"), [(0.01, True), (0.9, False), (None, False)])
def test_a_diffusion_teacher_is_held_against_its_own_card(tmp_path, own, is_bad):
    dataset = f"folder:{write_classes(tmp_path / 'P', {'a': 8, 'b': 8})}"
    student = StudentConfig("unet_small", 16, red=None)
    settings = {"steps": 1, "batch_size": 2, "validate_every": 1, "red_weight": 0.0, "kd_weight": 1.0}
    metadata = Metadata(student, dataset, {} if own is None else {"test_prediction_loss": own},
                        {"prediction_type": "v_prediction"})  # fmt: skip
    teacher = checkpoint.save(build_student(student), metadata, tmp_path / "teacher")
    config = DistillConfig(student, dataset, teacher_checkpoint=str(teacher), **settings)
    if is_bad:
        with pytest.raises(ValueError, match=r"with an error of .*, where its card tells 0\.010"):
            next(distill(config, tmp_path / "run"))
    else:
        assert next(distill(config, tmp_path / "run"))["teacher"]["prediction_loss"] > 0


def test_the_shell_tells_it_and_takes_a_yes(colours, tmp_path, capsys):
    teacher = spoilt(colours, tmp_path / "teacher", test_accuracy=0.98)
    config = taught(colours, teacher)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    command = ["distill", "--config", str(tmp_path / "config.json"), "--run-dir", str(tmp_path / "run")]
    assert main(command) == 1
    assert "98.0 %" in capsys.readouterr().err
    assert main([*command, "--accept-teacher"]) == 0
    assert '"own": 0.98' in capsys.readouterr().out

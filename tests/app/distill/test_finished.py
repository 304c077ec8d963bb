"""A run that has ended: its figures class by class, its network taken home and opened, and asked about pictures."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile

import pytest
import torch
from helpers import made
from PIL import Image

from app.distill import finished, finished_view, handlers, watch, watch_view
from app.runs import answers, by_class, run_list, saved
from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import read_metadata
from redistill.data.datasets import load_split
from redistill.training.config import DistillConfig
from redistill.training.presets import PRESETS

ALONE = "redistill torchvision timm safetensors diffusers PIL numpy transformers huggingface_hub datasets"
SHOWN = {"name": "run"}


@pytest.fixture
def run(shipped, finished_run):
    """The folder of a finished run among those of the page."""
    return shutil.copytree(finished_run, shipped / "runs" / "run")


def test_an_accuracy_comes_with_the_pictures_that_it_was_counted_on(run):
    final = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert final["test_pictures"] == len(load_split("emoji-clutter", "test", 32))
    shown = watch.look(None, None)["progress"]
    right = round(final["test_accuracy"] * final["test_pictures"])
    assert f"{right:,} of {final['test_pictures']:,} pictures" in shown and "95 % interval" in shown


@pytest.mark.parametrize(
    ("share", "count", "words"), [(1.0, 12, "12 of 12"), (11 / 12, 12, "11 of 12"), (0, 3, "0 of")]
)
def test_few_pictures_are_said_to_be_few(share, count, words):
    said = watch_view._result({"test_accuracy": share, "test_pictures": count}, None)
    assert words in said and "interval" in said
    assert "interval" not in watch_view._result({"test_accuracy": share}, None, "folder:/pictures"), "not noted"
    assert "50.0 % rounded as in int8" in watch_view._result({"test_accuracy": share, "test_int8_accuracy": 0.5}, None)


def test_a_run_that_goes_on_for_longer_does_not_show_the_figures_of_before(run):
    assert "test accuracy" in watch.look(None, None)["progress"]
    (run / "status.json").write_text('{"state": "stopped", "step": 7, "steps": 9}')
    assert "test accuracy" not in watch.look(None, None)["progress"]


def test_the_classes_add_up_to_the_accuracy(run):
    final = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    found = by_class.read_by_class(run_list.read_run("run"))
    assert sum(found.pictures) == final["test_pictures"]
    assert sum(found.right) / sum(found.pictures) == pytest.approx(final["test_accuracy"])
    assert found.names == list(read_metadata(run / "student").class_names)
    shown = finished.shown_of(run_list.read_run("run"))
    assert shown["classes"].count("<tr>") == 1 + 50 and shown["tested"].visible and not shown["count"].visible
    assert len(shown["confusion"]["data"][0]["z"]) == 50


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "[]",
        "{}",
        '{"confusion": 3}',
        '{"confusion": {"classes": ["a"], "rows": [[-1]]}}',
        '{"confusion": {"classes": ["a", "b"], "rows": [[1, 2]]}}',
        '{"confusion": {"classes": ["a"], "rows": [["x"]]}}',
    ],
)
def test_damaged_counts_are_offered_to_be_made_anew(run, damage):
    (run / "classes.json").write_text(damage)
    shown = finished.shown_of(run_list.read_run("run"))
    assert shown["count"].visible and shown["confusion"] is None and not shown["matrix"].visible


@pytest.mark.process
def test_a_run_of_before_is_tested_class_by_class_when_that_is_asked_for(run):
    before = (run / "classes.json").read_text()
    (run / "classes.json").unlink()
    assert "woken" in finished.count_classes(SHOWN)
    assert json.loads((run / "classes.json").read_text()) == json.loads(before)


def test_names_of_classes_carry_no_markup():
    found = by_class.ByClass(["<b>", "cat"], [[1, 2], [0, 3]])
    for shown in (finished_view.class_table(found), json.dumps(finished_view.confusion_figure(found))):
        assert "<b>" not in shown and "&lt;b&gt;" in shown
    assert "&lt;b&gt; for cat (2)" in finished_view.class_table(found)
    many = by_class.ByClass([str(i) for i in range(80)], [[0] * 80 for _ in range(80)])
    assert finished_view.confusion_figure(many) is None and finished_view.class_table(many)


@pytest.mark.process
def test_the_saved_student_opens_by_the_lines_on_the_page_with_torch_alone(run, tmp_path):
    shown = finished.save_student(SHOWN)
    home = tmp_path / "home"
    with zipfile.ZipFile(shown["save"]["file"]) as archive:
        archive.extractall(home)
    names = {path.name for path in (home / "student").iterdir()}
    assert {"model.safetensors", "config.json", "network.py", "graph.py", "README.md"} <= names

    images = load_split("emoji-clutter", "test", 32).images[:20]
    torch.save(images, home / "pictures.pt")
    lines = saved.opening_lines(read_metadata(home / "student"), home / "student").splitlines()
    assert len(lines) == 5 and lines[3].startswith("images = ")
    lines[3] = 'images = torch.load("pictures.pt")'
    blocked = f"import sys\nfor name in {ALONE!r}.split():\n    sys.modules[name] = None\n"
    command = [sys.executable, "-I", "-c", blocked + "\n".join(lines)]
    said = subprocess.run(command, check=True, cwd=home, timeout=120, capture_output=True, text=True).stdout
    model, classes = checkpoint.load(run / "student"), read_metadata(run / "student").class_names
    with torch.no_grad():
        assert said.strip() == str([classes[place] for place in model(images / 127.5 - 1).argmax(1)])


def test_a_run_of_before_is_saved_with_what_opens_it_alone(run):
    """Of one made when checkpoints did not open alone, nor held the names of their classes."""
    for name in ("graph.py", "network.py"):
        (run / "student" / name).unlink()
    config = json.loads((run / "student" / "config.json").read_text())
    names = config.pop("class_names")
    (run / "student" / "config.json").write_text(json.dumps(config))
    with zipfile.ZipFile(finished.save_student(SHOWN)["save"]["file"]) as archive:
        assert {"student/network.py", "student/graph.py"} <= {*archive.namelist()}
        assert json.loads(archive.read("student/config.json"))["class_names"] == names


def test_the_best_of_a_stopped_run_is_saved_and_of_a_run_without_any_nothing(run):
    shutil.rmtree(run / "student")
    (run / "status.json").write_text('{"state": "stopped", "step": 6, "steps": 9}')
    assert finished.shown_of(run_list.read_run("run"))["home"].visible
    assert zipfile.ZipFile(finished.save_student(SHOWN)["save"]["file"]).testzip() is None
    shutil.rmtree(run / "student")
    (run / "last.pt").unlink()
    assert not finished.shown_of(run_list.read_run("run"))["home"].visible
    assert "no resume point" in finished.save_student(SHOWN)["said"]


def test_student_and_teacher_answer_beside_each_other(run, tmp_path):
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"teacher_checkpoint": str(run / "student")}))
    shown = finished.try_test_picture(SHOWN)
    assert shown["answers"].count("<section>") == 2 and shown["answers"].count("<li>") == 2 * answers.TOP
    with Image.open(shown["picture"]) as picture:
        assert picture.size == (32, 32)
    photo = tmp_path / "photo.jpg"
    Image.new("RGB", (90, 50), "red").save(photo)
    student, teacher = answers.ask("run", photo)
    assert student.classes == teacher.classes and len(student.classes) == answers.TOP
    (run / "config.json").write_text(json.dumps(config | {"teacher_checkpoint": "/gone"}))
    assert "not here any more" in answers.ask("run", photo)[1].why_not
    (run / "config.json").write_text(json.dumps(config | {"teacher_checkpoint": "torchvision:resnet18"}))
    assert "not asked" in answers.ask("run", photo)[1].why_not
    photo.write_text("no picture")
    refused = finished.try_picture(SHOWN, str(photo))
    assert "cannot be read" in refused["answers"] and refused["picture"] is None
    assert finished.try_picture(SHOWN, None)["answers"] == ""


def test_a_network_that_draws_is_saved_as_a_pipeline_and_takes_no_picture(shipped):
    config = PRESETS["faces"].config
    made.write_run(shipped, "run", config, "finished")
    made.save_untrained(shipped / "runs" / "run", {"student": config})
    shown = finished.shown_of(run_list.read_run("run"))
    assert (shown["home"].visible, shown["tested"].visible, shown["trial"].visible) == (True, False, False)
    assert "DiffusionPipeline" in shown["lines"]
    assert "draws" in finished.try_test_picture(SHOWN)["answers"]
    assert "model_index.json" in " ".join(zipfile.ZipFile(finished.save_student(SHOWN)["save"]["file"]).namelist())


def test_a_student_is_distilled_from_a_run(run):
    shown = handlers.take_run(SHOWN)
    student = shown["student"]
    assert (student["teacher"], student["image_size"], student["num_classes"]) == ("narrow_resnet", 32, 50)
    assert student["strides"]["conv1"] > 1 and student["red"] and shown["dataset"].value == "emoji-clutter"
    assert shown["teacher_checkpoint"].value == "run:run"


@pytest.mark.parametrize(
    ("config", "state", "words"),
    [
        (PRESETS["quick"].config, "finished", "RED blocks"),
        (PRESETS["any-strides"].config, "finished", "all strides at once"),
        (PRESETS["teacher"].config, "stopped", "once it has finished"),
    ],
)
def test_what_cannot_teach_is_said(shipped, config: DistillConfig, state, words):
    made.write_run(shipped, "run", config, state)
    assert words in handlers.take_run(SHOWN)["refusal"]

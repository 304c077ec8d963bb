"""The pictures of the Distill tab: brought in, looked at, learnt from first by a teacher and then from that teacher."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import zipfile

import gradio as gr
import pytest
from helpers.forms import read_form, run_values, sent
from helpers.made import write_run
from helpers.pictures import write_classes

from app.distill import data_panel, run_form, starting
from app.distill import handlers as distill
from app.runs import jobs, run_list
from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import Metadata
from redistill.data import datasets
from redistill.networks.student import build_student
from redistill.training.config import DistillConfig
from redistill.training.presets import PRESETS

STUDENT = PRESETS["default"].config.student
CLASSES = {"cats": 12, "dogs": 12, "birds": 12}


@pytest.fixture
def upload(places, monkeypatch):
    """The data set of an uploaded zip file, in a cache of its own."""
    monkeypatch.setenv("REDISTILL_CACHE", str(places / "cache"))
    monkeypatch.setenv("REDISTILL_DATA", str(places / "data"))
    folder = write_classes(places / "source", CLASSES)
    name, said = data_panel.take_upload(shutil.make_archive(str(places / "My Pets"), "zip", folder))
    assert said == "" and name.startswith("upload:my-pets-")
    return name


def test_an_upload_is_shown_and_offered(upload):
    card = data_panel.show_pictures(upload)
    assert "30 pictures to train on, 3 to validate, 3 to test. 3 classes: birds, cats, dogs." in card
    assert card.count("<img") == data_panel.SAMPLES and "own pictures (my-pets)" in card
    for student in (STUDENT, PRESETS["faces"].config.student):
        (title,) = [title for title, name in data_panel.offered(student) if name == upload]
        assert re.fullmatch(r"my-pets \(uploaded\), 36 pictures, \d+ \w+ \d\d:\d\d", title)


def test_pictures_that_are_chosen_fit_the_student_to_them(upload):
    shown = distill.take_data(STUDENT.to_dict(), upload)
    student = shown["student"]
    assert (student["num_classes"], student["image_size"], shown["image_size"], shown["said"]) == (3, 64, 64, "")
    assert "RED blocks, 64 px" in shown["card"] and shown["dataset"].value == upload
    assert [value for _, value in shown["teacher_checkpoint"].choices] == [run_form.TRAIN_FIRST, run_form.NO_TEACHER]
    assert shown["teacher_checkpoint"].value == run_form.TRAIN_FIRST
    assert distill.take_data(STUDENT.to_dict(), upload, 32)["image_size"] == 32
    shown = distill.take_data(STUDENT.to_dict(), "cifar100")
    assert shown["student"]["num_classes"] == 100
    assert shown["image_size"] == 32, "the size of its photographs"


@pytest.mark.parametrize(
    ("dataset", "size", "sentence"),
    [
        ("emoji-clutter", 48, "emoji-clutter has no pictures of 48 px; expected one of [32, 64]"),
        ("cifar10", 4, "cifar10 has no pictures of 4 px; expected 8 to 512"),
        ("cifar10", None, ""),
        ("celeba", None, "celeba has no classes to tell apart; choose other pictures, or choose the preset of"),
        ("folder:/etc", None, "Folders are read from the command line only"),
        ("upload:../runs", None, "There is no upload"),
    ],
)
def test_pictures_that_do_not_fit_are_a_sentence(upload, dataset, size, sentence):
    shown = distill.take_data(STUDENT.to_dict(), dataset, size)
    assert sentence in shown["said"] and (shown.keys() == {"said"}) == bool(sentence)


def test_a_teacher_is_trained_first_and_then_offered(upload, places, monkeypatch):
    started = []
    monkeypatch.setattr(jobs, "start", lambda settings, *named: started.append(settings) or run_list.list_runs()[0])
    write_run(places, "any", PRESETS["default"].config, "finished")
    filled = sent(distill.take_teacher(STUDENT.to_dict(), upload, 32))
    assert filled["said"] == filled["refusal"] == "" and filled["preset"] is None
    assert "own strides, 32 px" in filled["card"] and "can choose it" in filled["about"]
    assert starting.start_run(**filled)["refusal"] == ""
    config = DistillConfig.from_dict(started[0])
    assert config.student.strides == {} and config.student.red is None and config.teacher_checkpoint is None
    assert (config.dataset, config.student.num_classes, config.student.image_size) == (upload, 3, 32)

    write_run(places, "taught", config, "finished")
    folder = places / "runs" / "taught" / "student"
    metadata = Metadata(config.student, upload, {"test_accuracy": 0.9}, config.to_dict())
    checkpoint.save(build_student(config.student), metadata, folder)
    shown = distill.take_data(STUDENT.to_dict(), upload, 32)
    teacher = shown["teacher_checkpoint"]
    assert [value for _, value in teacher.choices] == ["run:taught", run_form.TRAIN_FIRST, run_form.NO_TEACHER]
    assert "90.0 % test accuracy" in teacher.choices[0][0] and teacher.value == "run:taught"
    chosen = {"dataset": upload, "image_size": 32, "teacher_checkpoint": "run:taught", "student": shown["student"]}
    read = read_form(run_values("default", **chosen))
    assert read.teacher_checkpoint == str(folder) and read.student.num_classes == 3
    refused = starting.start_run(**run_values("default", **chosen, split_seed=1))["refusal"]
    assert "Seed of the splits 0, not 1" in refused and "set Seed of the splits to 0" in refused


def test_sets_of_own_runs_are_offered_while_they_are_there(upload, places):
    base = PRESETS["default"].config.to_dict()
    for number, name in enumerate(["hub:me/pets", "folder:/data/pets", upload, "upload:gone-0123456789abcdef"]):
        folder = places / "runs" / f"run{number}"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(base | {"dataset": name}))
    offered = [name for _, name in data_panel.offered(STUDENT)]
    assert offered == [*(n for n, spec in datasets.DATASETS.items() if "classification" in spec.tasks), upload,
                       "folder:/data/pets", "hub:me/pets"]  # fmt: skip
    titles = dict((name, title) for title, name in data_panel.offered(STUDENT))
    assert titles["folder:/data/pets"] == "pets" and titles["hub:me/pets"] == "me/pets (Hub)"


def test_a_named_set_that_is_not_here_is_described_and_not_downloaded(upload, monkeypatch, places):
    monkeypatch.setattr(data_panel, "load_split", lambda *arguments, **settings: pytest.fail("loaded"))
    card = data_panel.show_pictures("cifar100")
    assert "100 classes: apple, aquarium_fish" in card and "and 80 more" in card and "not on this machine yet" in card
    monkeypatch.undo()
    monkeypatch.setenv("REDISTILL_DATA", str(places / "data"))
    folder = places / "data" / "cifar-100-python"
    folder.mkdir(parents=True)
    assert "not on this machine yet" in data_panel.show_pictures("cifar100"), "an empty folder holds nothing"
    (folder / "meta").write_bytes(b"")
    assert "cifar100 is not in" in data_panel.show_pictures("cifar100"), "a damaged one is said to be"


def test_a_zip_file_that_is_none_is_said_to_be(upload, tmp_path):
    file = tmp_path / "pets.zip"
    file.write_bytes(b"PK\3\4 something else")
    name, said = data_panel.take_upload(str(file))
    assert name is None and "pets.zip cannot be unpacked" in said
    assert distill.take_brought(STUDENT.to_dict(), None) == {}


def zipped(places, name: str, members: dict[str, bytes]) -> str:
    with zipfile.ZipFile(places / name, "w") as archive:
        for path, content in members.items():
            archive.writestr(path, content)
    return str(places / name)


def test_a_refused_upload_leaves_no_choice(upload, places):
    before = data_panel.offered(STUDENT)
    for name, members in (("text.zip", {"a/1.txt": b"x", "b/1.txt": b"x"}), ("broken.zip", {"a/1.png": b"x"})):
        found, said = data_panel.take_upload(zipped(places, name, members))
        assert found is None and f"{name}: " in said
    assert data_panel.offered(STUDENT) == before


def test_pictures_without_classes_are_for_diffusion_only(upload, places):
    pictures = {path.name: path.read_bytes() for path in (places / "source" / "cats").iterdir()}
    name, said = data_panel.take_upload(zipped(places, "loose.zip", pictures))
    refused = distill.take_data(STUDENT.to_dict(), name)["said"]
    assert said == "" and "loose (uploaded) has one class only; put the pictures of each class, at least two" in refused
    faces = PRESETS["faces"].config.student
    assert distill.take_data(faces.to_dict(), name)["said"] == ""
    assert "to tell its classes apart" in distill.take_data(faces.to_dict(), "emoji-clutter")["said"]
    offered = [[value for _, value in data_panel.offered(student)] for student in (STUDENT, faces)]
    assert name not in offered[0] and name in offered[1]


def test_pictures_that_are_left_out_are_said_whenever_the_upload_is_chosen(upload, places):
    pictures = {str(path.relative_to(places / "source")): path.read_bytes() for path in places.rglob("source/*/*.png")}
    name, said = data_panel.take_upload(zipped(places, "mixed.zip", pictures | {"cats/x.png": b"<html>"}))
    assert said == ""
    assert (
        "1 picture that cannot be read is left out: cats/x.png." in distill.take_data(STUDENT.to_dict(), name)["said"]
    )


def test_a_page_that_opens_offers_what_others_brought(upload):
    assert upload in dict(map(reversed, distill.offer_data(STUDENT.to_dict(), "emoji-clutter").choices))
    assert distill.offer_data(None, []) == gr.skip()


def test_a_config_is_read_back_with_its_pictures(upload):
    """What the form shows of a config and what is read from it are the same."""
    student = dataclasses.replace(STUDENT, num_classes=3, image_size=32)
    config = dataclasses.replace(PRESETS["undistilled"].config, student=student, dataset=upload, red_weight=0.0)
    assert read_form(sent(distill.take_config(config.to_dict()))) == config


def test_the_panel_stands_in_the_page():
    with gr.Blocks():
        panel = data_panel.DataPanel(PRESETS["faces"].config)
    names = [name for _, name in panel.dataset.choices]
    assert "celeba" in names and "emoji-clutter" not in names and panel.image_size.value == 32


def test_an_upload_is_removed_once_that_is_confirmed_and_never_under_a_run(upload, places, monkeypatch):
    config = dataclasses.replace(PRESETS["teacher"].config, dataset=upload).to_dict()
    running = jobs.Run("one", places, "one", "running", config=config)
    monkeypatch.setattr(run_list, "list_runs", lambda: [running])
    monkeypatch.setattr(run_list, "everybodys", lambda: [running])
    asked = data_panel.ask_to_remove(upload)
    assert "1 run learnt from them" in asked["said"] and asked["confirm"].visible
    assert "learns from them now" in distill.remove_data(STUDENT.to_dict(), upload)["said"]
    assert upload in dict(map(reversed, data_panel.offered(STUDENT)))
    monkeypatch.setattr(run_list, "everybodys", lambda: [])
    monkeypatch.setattr(run_list, "list_runs", lambda: [])
    shown = distill.remove_data(STUDENT.to_dict(), upload)
    assert shown["dataset"].value == "emoji-clutter" and upload not in dict(map(reversed, shown["dataset"].choices))
    assert "no upload" in distill.remove_data(STUDENT.to_dict(), upload)["said"]
    assert "was not uploaded" in distill.remove_data(STUDENT.to_dict(), "cifar10")["said"]
    assert [part.visible for part in data_panel.can_remove(upload)] == [True, False]
    assert not data_panel.can_remove("cifar10")[0].visible

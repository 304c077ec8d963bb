"""The form of a run: every setting, presets there and back, students from Explore, and hostile values."""

from __future__ import annotations

import dataclasses

import gradio as gr
import pytest
from helpers import made
from helpers.explore import USUAL, call, shown_student
from helpers.forms import HOSTILE, read_form, run_values

from app import ui
from app.distill import data_panel, plan, run_form, starting
from app.distill import handlers as distill
from app.parts.setting_controls import UNSET
from app.runs import jobs, run_list
from app.words import numbers
from app.words import settings as wording
from redistill.data.table import DATASETS
from redistill.memory import capture
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig, build_student
from redistill.training.config import DistillConfig
from redistill.training.presets import (
    CIFAR10_TEACHER,
    CIFAR10_UNET_TEACHER,
    CLUTTER_TEACHER,
    FACES_TEACHER,
    FOOD_TEACHER,
    PRESETS,
)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """The checkpoints of all tests, a second teacher that draws, and those of CIFAR-10."""
    food = dataclasses.replace(made.UNTRAINED[FACES_TEACHER], dataset="emoji-food")
    of_cifar10 = {name: PRESETS[name].config for name in (CIFAR10_TEACHER, CIFAR10_UNET_TEACHER)}
    configs = made.UNTRAINED | {FOOD_TEACHER: food} | of_cifar10
    return made.save_untrained(tmp_path_factory.mktemp("checkpoints"), configs)


def test_every_setting_of_a_run_has_a_control():
    fields = {field.name for field in dataclasses.fields(DistillConfig)}
    assert {*fields, "alignment", "image_size"} == {*run_form.FIELDS, "student"}
    config = PRESETS["default"].config
    with gr.Blocks():
        lines = [*run_form.TEACHER_LINES, *run_form.LENGTH_LINES]
        built = run_form.build(lines, config) | run_form.build_drawer(config)
    assert {"dataset", "image_size", *built} == {*run_form.FIELDS}
    in_drawer = {name: part for name, part in built.items() if name in wording.RUN and name not in " ".join(lines)}
    assert len(in_drawer) > 20
    for name, part in in_drawer.items():  # the shell's help, from one place
        assert name == "device" or wording.RUN[name].help.lower() in str(getattr(part, "info", "")).lower(), name


def needs_training(preset: str) -> bool:
    return PRESETS[preset].config.teacher_checkpoint == f"runs/{preset}-teacher-0/student"


@pytest.mark.parametrize("preset", [name for name in PRESETS if not needs_training(name)])
def test_a_preset_comes_back_from_the_form_unchanged(shipped, monkeypatch, preset):
    if PRESETS[preset].config.dataset.startswith("hub:"):  # which would be downloaded to be looked into
        found = dataclasses.replace(DATASETS["stl10"], class_names=tuple(map(str, range(1000))))
        monkeypatch.setattr(data_panel, "find_dataset", lambda name: found)
    read = read_form(run_values(preset))
    wanted = PRESETS[preset].config
    if wanted.teacher_checkpoint is None:
        wanted = dataclasses.replace(wanted, red_weight=0.0)  # there is nothing to compare with
    if preset == "faces-teacher-long":  # a network that has been trained for as long stands in for the run
        wanted = dataclasses.replace(wanted, teacher_checkpoint=FACES_TEACHER)
    assert read == wanted


@pytest.mark.parametrize("preset", [name for name in PRESETS if needs_training(name)])
def test_a_preset_takes_the_teacher_that_was_trained_for_it(shipped, preset):
    planned = plan.read_plan(student=PRESETS[preset].config.student.to_dict(), given=run_values(preset))
    usual = PRESETS[f"{preset}-teacher"].config
    network = dataclasses.replace(usual.student, teacher_strides={})
    assert planned.teacher == dataclasses.replace(usual, student=network), "which is trained first"
    assert [config.teacher_checkpoint for config in planned.students] == [run_form.PLANNED]
    wanted = PRESETS[preset].config
    made.write_run(shipped, "teacher", PRESETS[f"{preset}-teacher"].config, "finished")
    folder = shipped / "runs" / "teacher" / "student"
    made.write_checkpoint(folder, PRESETS[f"{preset}-teacher"].config, test_accuracy=0.9)
    read = read_form(run_values(preset))
    assert read == dataclasses.replace(wanted, teacher_checkpoint=str(folder))


def test_a_preset_is_the_one_that_is_marked_and_never_moves_the_mark(shipped, page):
    filled = distill.take_preset(None, "faces")
    assert filled["student"]["teacher"] == "unet_small" and "preset" not in filled
    assert distill.take_preset(None, "stl10")["student"]["teacher"] == "resnet18"
    events = page.config["dependencies"]
    (event,) = [event for event in events if event["api_name"] == "take_preset"]
    assert event["trigger_mode"] == "always_last"


@pytest.mark.parametrize("preset", ["default", "teacher", "photos", "cifar10", "stl10"])
@pytest.mark.parametrize("picked", ["emoji-clutter", "cifar100", "imagenette"])
def test_a_preset_keeps_pictures_that_a_person_chose(shipped, preset, picked):
    shown = distill.take_preset(picked, preset)
    own = PRESETS[preset].config.dataset
    assert shown["dataset"].value == picked and shown["student"]["num_classes"] == DATASETS[picked].num_classes
    assert ("Your pictures stay" in shown["refusal"]) == shown["own"].visible == (picked != own)
    if picked != own:
        taken = distill.take_own_pictures(preset)
        assert (taken["dataset"].value, taken["picked"], taken["own"].visible) == (own, None, False)


def test_a_preset_that_does_not_suit_the_chosen_pictures_changes_nothing(shipped):
    shown = distill.take_preset("emoji-clutter", "faces")
    assert shown.keys() == {"refusal", "own"} and shown["own"].visible
    assert (
        "does not suit the pictures that you chose" in shown["refusal"]
        and "to tell its classes apart" in shown["refusal"]
    )


@pytest.mark.parametrize(
    ("looked", "said", "unsaid"),
    [
        (("fp32", "fused", 1, "none", None, None, None), [], ["Explore counts"]),
        (("int8", "fused", 1, "none", None, None, None), ["Explore counts in int8", "Export .onnx in int8"], ["KiB"]),
        (("fp16", "fused", 1, "other", 48, None, None), ["48.0 KiB", "32.0 KiB in fp16", "fits, 16.0 KiB"], ["int8"]),
        (("fp32", "fused", 1, "other", 48, None, None), ["64.0 KiB in fp32", "does not fit"], ["Explore", "at a time"]),
        (("fp32", "fused", 4, "other", 256, None, None), ["256 KiB in fp32 at 64 px, 4 images at a time"], []),
    ],
)
def test_what_explore_was_set_to_is_said(shipped, looked, said, unsaid):
    student = shown_student().to_dict()
    words = distill.take_student(student, False, None, None, None, None, *looked)["refusal"]
    assert all(part in words for part in said) and not any(part in words for part in unsaid)
    kept = distill.take_student(student, False, None, None, None, "imagenette", *looked)
    assert kept["dataset"].value == "imagenette"


def test_what_else_to_learn_from_reaches_the_run(shipped, monkeypatch):
    form = run_values("default", feature_loss="at", feature_weight=500, kd="dkd", alignment="stage-wise")
    read = read_form(form)
    assert (read.feature_loss, read.feature_weight, read.kd) == ("at", 500, "dkd")
    assert read.student.alignment == "stage-wise"
    assert "RED stage-wise + DKD + Attention transfer · seed 0" in wording.run_title(read)
    assert "RED stage-wise + MLLD + Attention transfer" in wording.run_title(dataclasses.replace(read, kd="mlld"))
    again = run_form.values(dataclasses.replace(read, feature_weight=None))
    assert (again["feature_loss"], again["feature_weight"], again["alignment"]) == ("at", 1000.0, "stage-wise")
    assert run_form.published_weight("rkd") == 1.0 and run_form.published_weight(UNSET) is None


def test_the_students_card_counts_the_blocks_of_its_alignment():
    late = shown_student(strides={"maxpool": 4, "layer2.0": 1}).to_dict()
    cards = {rule: distill.show_alignment(late, rule) for rule in ("asynchronous", "stage-wise")}
    for rule, card in cards.items():
        built = build_student(shown_student(strides=late["strides"], alignment=rule))
        peak = capture(built, (1, 3, 64, 64)).profile().peak_bytes
        assert f"Peak {numbers.format_bytes(peak)}, teacher" in card
    assert cards["asynchronous"] != cards["stage-wise"]


def test_a_student_from_explore_fills_the_form(shipped):
    shown = distill.take_student(shown_student(teacher="narrow_resnet", image_size=64).to_dict())
    assert "strides 4·1·2·2·1, RED blocks, 64 px" in shown["card"]
    assert shown["student"]["num_classes"] == 50
    assert shown["dataset"].value == "emoji-clutter" and shown["teacher_checkpoint"].value == CLUTTER_TEACHER
    assert shown["preset"] is None, "no preset is marked any more"
    said = distill.take_student(shown_student(image_size=128).to_dict())["refusal"]
    assert "no pictures of 128 px, so the student is distilled at 64 px" in said and "This" not in said
    assert "it needs" in distill.take_student(None)["refusal"]


def change_in_explore(student: StudentConfig, **looked) -> dict:
    """What the page shows when a student of Distill is to be changed in Explore, by the names of the components."""
    return ui.change_in_explore(student.to_dict(), **USUAL | looked)


def test_a_student_goes_to_explore_and_comes_back_with_the_rest_of_the_form(shipped):
    own = PRESETS["quick"].config.student
    student = dataclasses.replace(own, strides={"conv1": 2}, red=REDConfig(gate=False), alignment="stage-wise")
    shown = change_in_explore(student, accounting="eager", dtype="fp16")
    lent = shown["lent"]
    assert (shown["refusal"], shown["tabs"].selected, lent) == ("", "explore", True)
    assert (shown["teacher"], shown["image_size"]) == ("narrow_resnet", 64)
    assert list(shown["picker"].value.values()) == [2, 2, 2, 2, 2] and "Peak" in shown["summary"]
    red = [shown[name] for name in ("with_red", "gate", "gate_kernel", "residual_encoder", "residual_kernel", "points")]
    assert red == [True, False, 1, True, 3, "all"] and shown["alignment"] == "stage-wise"
    assert (shown["accounting"], shown["dtype"]) == ("eager", "fp16") and "budget" not in shown

    values = call("show")["student"]
    form = [student.to_dict(), "emoji-clutter", CLUTTER_TEACHER]
    back = distill.take_student(values, lent, *form)
    assert "strides 4·1·2·2·1, RED blocks" in back["card"] and back["student"]["num_classes"] == 50
    assert (
        back.keys() & {*run_form.FIELDS} == {"alignment", "image_size", "teacher_checkpoint"}
        and back["image_size"] == 64
    )
    assert back["teacher_checkpoint"].value == CLUTTER_TEACHER
    faces = call("show_teacher", teacher="unet_small")["student"]
    assert (
        distill.take_student(faces, lent, *form)["dataset"].value == "emoji-faces"
    )  # another task has a form of its own
    for hostile in HOSTILE:
        assert "notice" in distill.take_student(values, True, hostile, hostile, hostile)["refusal"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"architecture": "mobilenet_v2", "strides": {}, "red": None}, "this one is a MobileNetV2 that learns from a"),
        ({"teacher_strides": {"conv1": 2}}, "teacher has others"),
        ({"image_size": 2048}, "size is &#x27;2048&#x27;; expected a whole number from 16 to 1,024"),
    ],
)
def test_a_student_that_explore_cannot_show_is_said_on_distill(changes, sentence):
    shown = change_in_explore(shown_student(**changes))
    assert shown.keys() == {"refusal"}
    assert sentence in shown["refusal"] and "“Change it here” instead" in shown["refusal"]


@pytest.mark.parametrize("lent", [False, True])
def test_the_red_loss_goes_with_the_blocks_and_comes_with_them(shipped, lent):
    with_blocks, bare = (shown_student(red=red, alignment="stage-wise") for red in (REDConfig(), None))
    for student, before, weight in ((bare, with_blocks, 0.0), (with_blocks, bare, 1.0)):
        filled = distill.take_student(student.to_dict(), lent, before.to_dict(), "emoji-clutter", CLUTTER_TEACHER)
        assert filled["red_weight"] == weight and filled["alignment"] == "stage-wise"
        assert ("switched" in filled["refusal"]) is lent
    same = distill.take_student(bare.to_dict(), True, bare.to_dict(), "emoji-clutter", CLUTTER_TEACHER)
    assert "red_weight" not in same and same["refusal"] == ""


@pytest.mark.parametrize("stem", ["wide", "space-to-depth"])
def test_another_first_convolution_goes_to_explore_and_back_and_its_teacher_has_none(shipped, stem):
    student = dataclasses.replace(PRESETS["quick"].config.student, stem=stem)
    shown = change_in_explore(student)
    assert shown["stem"] == stem and shown["student"]["stem"] == stem
    back = distill.take_student(shown["student"], True, student.to_dict(), "emoji-clutter", CLUTTER_TEACHER)
    assert back["student"]["stem"] == stem
    config = PRESETS["quick"].config
    teacher = run_form.teacher_of(dataclasses.replace(config, student=student))
    assert teacher == run_form.teacher_of(config) and teacher.student.stem == "as built"
    assert "stem" not in distill.take_teacher(student.to_dict(), "emoji-clutter", 64)["student"]


def test_without_any_teacher_distillation_is_refused_in_a_sentence(places):
    said = starting.start_run(**run_values("default", teacher_checkpoint=run_form.NO_TEACHER))["refusal"]
    assert "need a trained teacher" in said
    assert run_list.list_runs() == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"teacher_checkpoint": "/etc"}, "No checkpoint"),
        ({"teacher_checkpoint": FACES_TEACHER}, "No checkpoint"),
        ({"dataset": "imagenet"}, "imagenet"),
        ({"steps": 0}, "Steps is 0; expected a whole number of at least 1."),
        ({"steps": 1.5}, "Steps is 1.5; expected a whole number"),
        ({"steps": None}, "Steps is empty; expected"),
        ({"learning_rate": -1}, "Learning rate is -1; expected a number above 0."),
        ({"batch_size": None}, "Batch is empty"),
        ({"seed": -1}, "Seed is -1; expected a whole number from 0 to"),
        ({"red_weight": -1}, "RED weight is -1; expected a number of at least 0."),
        ({"temperature": 0}, "KD temperature is 0"),
        ({"gamma": 0}, "The factor below “Rate falls after steps” is 0"),
        ({"grad_clip": None}, "Gradient clip is empty"),
        ({"validate_every": None}, "Validate every is empty"),
        ({"milestones": "5, 3"}, "Rate falls after steps is 5, 3; expected rising whole numbers from 1 to"),
        ({"milestones": "soon"}, "Rate falls after steps is &#x27;soon&#x27;; expected steps with commas"),
        ({"schedule": "step"}, "Learning-rate schedule is &#x27;step&#x27;, but Rate falls after steps is empty"),
        ({"mixup": 1, "kd": "dkd"}, "Mixup and CutMix blend class labels; expected 0"),
        ({"device": "cuda:99"}, "not on this machine"),
        ({"init": "elsewhere"}, "Weights to start from is"),
        ({"alignment": "elsewhere"}, "Learns from the teacher’s layer is &#x27;elsewhere&#x27;; expected one of"),
        ({"feature_loss": "none-such"}, "Also learn from is &#x27;none-such&#x27;; expected one of"),
        ({"feature_loss": "sp", "feature_weight": 0}, "The weight of “Also learn from” is 0; expected a number above"),
        (
            {"teacher_checkpoint": "none", "kd_weight": 1, "red_weight": 1, "init": "teacher"},
            "set “RED weight” to 0, “KD weight” to 0 and “Weights to start from” to “fresh”.",
        ),
        (
            {"teacher_checkpoint": "none", "kd_weight": 0, "red_weight": 0, "init": "teacher"},
            "need a trained teacher; choose one, train one first, or set “Weights to start from” to “fresh”.",
        ),
        (
            {"feature_loss": "sp", "teacher_checkpoint": "none", "kd_weight": 0, "red_weight": 0, "init": "scratch"},
            "or set “Also learn from” to “nothing more”.",
        ),
    ],
)
def test_settings_that_do_not_fit_start_nothing(shipped, changes, sentence):
    shown = starting.start_run(**run_values("default", **changes))
    assert "Not started." in shown["refusal"] and sentence in shown["refusal"]
    assert "runs" not in shown and run_list.list_runs() == []


@pytest.mark.parametrize("name", run_form.FIELDS)
def test_no_value_from_outside_breaks_the_form(shipped, monkeypatch, name):
    started = []

    def start(settings, title, after=None):
        started.append(settings)
        return jobs.Run("x", shipped, title, "queued")

    monkeypatch.setattr(jobs, "start", start)
    monkeypatch.setattr(data_panel, "build_student", lambda student: None)
    for value in HOSTILE:
        started.clear()
        shown = starting.start_run(**run_values("default", **{name: value}))["refusal"]
        assert ("Not started." in shown) != bool(started), value


def test_a_read_only_runs_folder_is_a_sentence(shipped, monkeypatch):
    (shipped / "file").write_text("")
    monkeypatch.setenv("REDISTILL_RUNS", str(shipped / "file"))
    assert "cannot be written" in starting.start_run(**run_values("undistilled"))["refusal"]


def test_pictures_carry_their_attribution(tmp_path, monkeypatch):
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path))
    shown = data_panel.show_pictures("emoji-faces")
    assert shown.count("<img") == data_panel.SAMPLES and "OpenMoji" in shown

"""The page's handlers with good, bad and hostile input, and the figures and numbers that it shows."""

from __future__ import annotations

import dataclasses
import fcntl
import functools
import json
import math
import shutil
import time
from types import SimpleNamespace

import gradio as gr
import pytest
import torch
from helpers import made
from helpers.explore import EARLY, USUAL, call
from helpers.forms import read_form, run_values

from app import ui
from app.distill import data_panel, plan, run_curves, run_form, starting, watch, watch_view
from app.distill import handlers as distill
from app.parts.counting import compare_as
from app.parts.setting_controls import UNSET
from app.parts.stride_picker import check_strides_form
from app.runs import choices, jobs, results, run_list, titles
from app.visitors import access
from app.words import numbers
from app.words import settings as wording
from app.words.memory import warnings
from redistill.data.table import DATASETS
from redistill.memory import capture
from redistill.memory.comparison import early_strides, network_tape
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

HOSTILE = [None, [], {}, "", "<script>", -1, 0.5, 10**30, True, math.nan, math.inf, ["a"] * 50, {"a": {"b": []}}]


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """The same, and a second teacher that draws."""
    food = dataclasses.replace(made.UNTRAINED[FACES_TEACHER], dataset="emoji-food")
    of_cifar10 = {name: PRESETS[name].config for name in (CIFAR10_TEACHER, CIFAR10_UNET_TEACHER)}
    configs = made.UNTRAINED | {FOOD_TEACHER: food} | of_cifar10
    return made.save_untrained(tmp_path_factory.mktemp("checkpoints"), configs)


# Numbers and figures


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (5376, "5.25 KiB"),
        (65536, "64.0 KiB"),
        (327680, "320 KiB"),
        (2**19 - 1, "512 KiB"),
        (2**19, "0.50 MiB"),
        (802816, "0.77 MiB"),
        (4014080, "3.83 MiB"),
        (150 * 2**20, "150 MiB"),
        (2**30, "1.00 GiB"),
    ],
)
def test_bytes_are_written_in_the_unit_that_suits_them(count, text):
    assert numbers.format_bytes(count) == text


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (4014080, 802816, "5.0×"),
        (1, 1, "1.0×"),
        (1, 2, "0.50×"),
        (1000, 3, "333×"),
        (996, 1000, "1.0×"),
        (1, 0, "inf×"),
    ],
)
def test_ratios(before, after, text):
    assert numbers.format_ratio(before, after) == text


def test_other_numbers():
    assert numbers.format_percent(0.9126) == "91.3 %"
    assert [numbers.format_duration(s) for s in (0.04, 59.6, 75, 7265)] == [
        "0.0 s",
        "1 min 0 s",
        "1 min 15 s",
        "2 h 1 min",
    ]
    assert numbers.format_number(0.034567) == "0.0346"
    assert numbers.format_margin(0.153578, 0.030659) == "0.154 ± 0.031"
    assert numbers.format_margin(8.336, 1.302) == "8.3 ± 1.3" and numbers.format_margin(0.004, 0.1277) == "0.00 ± 0.13"
    assert numbers.format_margin(82.4, 12.3) == "82 ± 12" and numbers.format_margin(0.5, 0.0) == "0.5 ± 0"
    assert numbers.format_size((8, 16)) == "8×16"


def test_a_long_curve_is_thinned_and_ends_where_it_ended():
    x, y = run_curves.thin([(step, float(step % 2)) for step in range(1, 1001)], most=100)
    assert len(x) == 100 and x[-1] == 1000
    assert set(y) == {0.5}
    assert run_curves.thin([(1, 2.0)]) == ([1], [2.0])


def test_losses_that_are_not_finite_leave_a_gap_and_no_invalid_json():
    records = [
        {"kind": "step", "step": 1, "loss": 2.0, "red_loss": 1.0},
        {"kind": "step", "step": 2, "loss": math.nan, "red_loss": "x"},
        {"kind": "validation", "step": 2, "accuracy": 0.25},
    ]
    figure = run_curves.loss_figure(records, 10)
    assert {trace["name"]: trace["y"] for trace in figure["data"]} == {"total": [2.0], "RED": [1.0]}
    score = run_curves.score_figure(records, 10, teacher=0.9)
    assert [trace["y"] for trace in score["data"]] == [[0.25], [0.9, 0.9]]


def test_a_small_loss_beside_a_large_one_is_told_apart():
    records = [{"kind": "step", "step": 1, "loss": 20.0, "red_loss": 0.1, "kd_loss": 15.0}]
    assert run_curves.loss_figure(records, 10)["layout"]["yaxis"]["type"] == "log"
    below = {"kind": "step", "step": 2, "loss": 3.0, "feature_loss": -0.5}  # as VID's can be
    for shown in ([], [*records, below]):
        axis = run_curves.loss_figure(shown, 10)["layout"]["yaxis"]
        assert "type" not in axis and axis["rangemode"] == "tozero"


def test_small_numbers_have_no_metric_prefixes():
    rate = run_curves.step_figure([{"kind": "step", "step": 1, "learning_rate": 5e-5}], 10, "learning_rate")
    for figure in (rate, run_curves.loss_figure([], 10)):
        assert figure["layout"]["yaxis"]["exponentformat"] == "e", "5e-5, not 50µ"


# Explore


def config(**changes) -> StudentConfig:
    return StudentConfig(**({"teacher": "narrow_resnet", "image_size": 64, "strides": EARLY} | changes))


def test_the_page_counts_what_the_library_counts():
    found = compare_as(config(teacher="resnet18", image_size=224, strides={**EARLY, "conv1": 8}))
    assert (found.teacher.peak_bytes, found.student.peak_bytes, found.bare.peak_bytes) == (4014080, 802816, 802816)
    figure = call("show", teacher="resnet18", image_size=224, picker={**EARLY, "conv1": 8})["chart"]
    teacher, student, red, _ = (trace["y"] for trace in figure["data"])
    assert max(teacher) == 4014080 / 2**20 and max(student) == 802816 / 2**20
    assert max(red) == found.student.red_peak_bytes / 2**20


@pytest.mark.parametrize("name", ["unet_small", "mobilenet_v2"])
def test_a_student_that_the_teachers_tape_cannot_tell_is_recorded_anew(name):
    tape = network_tape(name)
    size = tape.input_shape[-1]
    student = StudentConfig(name, size, strides=early_strides(name))
    found = compare_as(student)
    with torch.device("meta"):
        fresh = capture(build_student(student), tape.input_shape).profile()
    assert found.student.peak_bytes == fresh.peak_bytes
    assert found.bare.peak_bytes < found.teacher.peak_bytes


def test_the_sentence_states_both_ratios_and_where_the_peaks_are():
    large = {"teacher": "resnet50", "image_size": 224, "picker": {**EARLY, "conv1": 8}}
    summary = call("show", **large)["summary"]
    for part in ("falls from", "6.89 MiB", "2.30 MiB", "3.0×", "1.72 MiB", "4.0×", "RED blocks set the peak"):
        assert part in summary
    assert "never sees 1 of every 8 rows" in summary
    without = call("show", **large, with_red=False)["summary"]
    assert "4.0×" in without and "RED" not in without


def test_a_larger_student_and_a_peak_at_the_image_are_said():
    assert "needs more memory than its teacher" in " ".join(warnings(compare_as(config(strides={"maxpool": 1}))))
    assert "The input image itself is 48.0 KiB" in " ".join(warnings(compare_as(config())))


def test_unaligned_layers_stand_in_the_table_with_their_reason():
    table = call("show")["pairs"]
    assert table.count("<tr") == 6
    assert "its stride is 1, so it changes no resolution" in table


@pytest.mark.parametrize(
    ("strides", "sentence"),
    [
        ({**EARLY, "layer4.0": 8}, "reduce the image 128 times, but it has 64 pixels"),
        ({"conv9": 2}, "No pooling point &#x27;conv9&#x27;"),
        ({"conv1": 0}, "Stride of &#x27;conv1&#x27; is 0"),
        ({"conv1": -2}, "is -2"),
        ({"conv1": 1.5}, "expected a whole number"),
        ({"<b>": 2}, "&lt;b&gt;"),
    ],
)
def test_strides_that_do_not_fit_are_one_sentence_and_the_chart_stays(strides, sentence):
    shown = call("show", picker=strides)
    assert sentence in shown["summary"] and "Traceback" not in shown["summary"]
    assert shown["student"] is None and shown["distil"].interactive is False
    assert shown.keys() == {"student", "distil", "summary", "drawn"}


def test_another_teacher_comes_with_a_student_that_fits():
    shown = call("show_teacher", teacher="unet_small")
    assert shown["image_size"] == 32
    assert "falls" in shown["summary"] and "4.0×" in shown["summary"]
    student = shown["student"]
    assert list(student["strides"].values()) == [2, 2, 2, 1]
    assert StudentConfig.from_dict(student).red == REDConfig()
    assert [point["name"] for point in shown["picker"].props["points"]] == list(student["strides"])


def test_the_two_buttons_set_all_strides():
    early = call("pool_early", picker={})
    assert early["student"]["strides"] == EARLY
    same = call("pool_as_teacher", picker={})
    assert "stays" in same["summary"] or "rises" in same["summary"]
    assert list(same["student"]["strides"].values()) == [1, 2, 2, 2, 2]


def test_a_page_that_is_opened_does_not_copy_the_server(page):
    """gradio copies each component's settings for every page, and an event among them copies all it belongs to."""
    components = page.get_config_file()["components"]
    events = [
        (component["props"].get("elem_id"), name)
        for component in components
        for name, value in component["props"].items()
        if isinstance(value, functools.partial)
    ]
    assert len(components) > 50 and events == []


def test_no_number_is_refused_or_rounded_before_its_handler(page):
    """gradio would raise an error that the page does not show, and nothing would happen there."""
    numbers = [block for block in page.blocks.values() if isinstance(block, (gr.Number, gr.Slider))]
    assert len(numbers) > 20
    for block in numbers:
        assert block.get_block_name() in ("number", "slider"), "what the browser draws"
        is_slider = isinstance(block, gr.Slider)
        for value in (-1e9, 1e9, 1.7, None, "x"):
            ends = {-1e9: block.minimum, 1e9: block.maximum, 1.7: max(1.7, block.minimum or 0), None: block.minimum}
            assert block.preprocess(value) == (ends.get(value, value) if is_slider else value), block.label


def test_strides_have_a_form():
    assert check_strides_form({"a": 1}) == {"a": 1}
    with pytest.raises(ValueError, match="must map"):
        check_strides_form({str(i): 1 for i in range(1000)})


# Distill


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
        (("fp32", "fused", "none", None, None, None), [], ["Explore counts"]),
        (("int8", "fused", "none", None, None, None), ["Explore counts in int8", "Export .onnx in int8"], ["KiB"]),
        (("fp16", "fused", "other", 48, None, None), ["48.0 KiB", "32.0 KiB in fp16", "fits, 16.0 KiB"], ["int8"]),
        (("fp32", "fused", "other", 48, None, None), ["64.0 KiB in fp32", "does not fit"], ["Explore counts"]),
    ],
)
def test_what_explore_was_set_to_is_said(shipped, looked, said, unsaid):
    student = config().to_dict()
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
    late = config(strides={"maxpool": 4, "layer2.0": 1}).to_dict()
    cards = {rule: distill.show_alignment(late, rule) for rule in ("asynchronous", "stage-wise")}
    for rule, card in cards.items():
        built = build_student(config(strides=late["strides"], alignment=rule))
        peak = capture(built, (1, 3, 64, 64)).profile().peak_bytes
        assert f"Peak {numbers.format_bytes(peak)}, teacher" in card
    assert cards["asynchronous"] != cards["stage-wise"]


def test_a_student_from_explore_fills_the_form(shipped):
    shown = distill.take_student(config(teacher="narrow_resnet", image_size=64).to_dict())
    assert "strides 4·1·2·2·1, RED blocks, 64 px" in shown["card"]
    assert shown["student"]["num_classes"] == 50
    assert shown["dataset"].value == "emoji-clutter" and shown["teacher_checkpoint"].value == CLUTTER_TEACHER
    assert shown["preset"] is None, "no preset is marked any more"
    said = distill.take_student(config(image_size=128).to_dict())["refusal"]
    assert "no pictures of 128 px, so the student is distilled at 64 px" in said and "This" not in said
    assert "it needs" in distill.take_student(None)["refusal"]


def change_in_explore(student: StudentConfig, **looked) -> dict:
    """What the page shows when a student of Distill is to be changed in Explore, by the names of the components."""
    return ui.change_in_explore(student.to_dict(), **USUAL | looked)


def test_a_student_goes_to_explore_and_comes_back_with_the_rest_of_the_form(shipped):
    student = dataclasses.replace(PRESETS["quick"].config.student, strides={"conv1": 2}, red=REDConfig(gate=False))
    shown = change_in_explore(student, accounting="eager", dtype="fp16")
    lent = shown["lent"]
    assert (shown["refusal"], shown["tabs"].selected, lent) == ("", "explore", True)
    assert (shown["teacher"], shown["image_size"]) == ("narrow_resnet", 64)
    assert list(shown["picker"].value.values()) == [2, 2, 2, 2, 2] and "Peak" in shown["summary"]
    red = [shown[name] for name in ("with_red", "gate", "gate_kernel", "residual_encoder", "residual_kernel", "points")]
    assert red == [True, False, 1, True, 3, "all"]
    assert (shown["accounting"], shown["dtype"]) == ("eager", "fp16") and "budget" not in shown

    values = call("show")["student"]
    form = [student.to_dict(), "emoji-clutter", CLUTTER_TEACHER]
    back = distill.take_student(values, lent, *form)
    assert "strides 4·1·2·2·1, RED blocks" in back["card"] and back["student"]["num_classes"] == 50
    assert back.keys() & {*run_form.FIELDS} == {"image_size", "teacher_checkpoint"} and back["image_size"] == 64
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
        ({"alignment": "stage-wise"}, "has them elsewhere"),
        ({"image_size": 2048}, "size is &#x27;2048&#x27;; expected a whole number from 16 to 1,024"),
    ],
)
def test_a_student_that_explore_cannot_show_is_said_on_distill(changes, sentence):
    shown = change_in_explore(config(**changes))
    assert shown.keys() == {"refusal"}
    assert sentence in shown["refusal"] and "“Change it here” instead" in shown["refusal"]


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


# Watching


def write_run(root, name: str, state: str = "finished", records: str = "") -> None:
    folder = root / "runs" / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"steps": 4, "batch_size": 2}')
    (folder / "job.json").write_text(f'{{"title": "<b>{name}</b>", "created": 1}}')
    (folder / "status.json").write_text(f'{{"state": "{state}", "step": 2, "steps": 4, "error": "The <loss> is nan."}}')
    (folder / "metrics.jsonl").write_text(records)


def test_a_run_is_shown_and_its_words_are_escaped(places):
    write_run(places, "one", "failed", '{"kind": "step", "step": 1, "loss": 2.0}\n')
    shown = watch.look(None, None)
    assert shown["drawn"]["name"] == "one" and [value for _, value in shown["runs"].choices] == ["one"]
    assert "&lt;b&gt;one&lt;/b&gt;" in shown["progress"] and "The &lt;loss&gt; is nan." in shown["progress"]
    assert [shown[name].interactive for name in ("stop", "resume", "delete")] == [False, True, True]
    assert shown["losses"]["data"][0]["y"] == [2.0]
    assert watch.look(None, shown["drawn"]) == {}


def test_the_clock_redraws_only_what_changed(places):
    write_run(places, "one", records='{"kind": "step", "step": 1, "loss": 2.0}\n')
    drawn = watch.look("one", None)["drawn"]
    metrics = places / "runs" / "one" / "metrics.jsonl"
    metrics.write_text(metrics.read_text() + '{"kind": "final", "step": 2, "test_accuracy": 0.5, "seconds": 9}\n')
    shown = watch.look("one", drawn)
    assert not shown.keys() & {"said", "runs"}
    assert "50.0 %" in shown["progress"] and "9.0 s" in shown["progress"]
    write_run(places, "two")
    shown = watch.look("one", shown["drawn"])
    assert shown["drawn"]["name"] == "one" and len(shown["runs"].choices) == 2
    shutil.rmtree(places / "runs" / "one")
    shown = watch.look("one", shown["drawn"])
    assert "its folder has been deleted" in shown["said"] and shown["drawn"]["name"] == "two"


def test_a_step_of_a_run_redraws_neither_its_buttons_nor_its_cards_nor_its_images(places):
    write_run(places, "one", "running", '{"kind": "step", "step": 1, "loss": 2.0}\n')
    folder = places / "runs" / "one"
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        drawn = watch.look("one", None)["drawn"]
        with open(folder / "metrics.jsonl", "a") as file:
            file.write('{"kind": "step", "step": 2, "loss": 1.0}\n')
        shown = watch.look("one", drawn)
        assert shown.keys() == {"drawn", "progress", "losses", "scores", "rate", "speed"}
        (folder / "samples").mkdir()
        (folder / "samples" / "step-000002.png").write_bytes(b"")
        shown = watch.look("one", shown["drawn"])
        assert shown.keys() == {"drawn", "samples"} and "step 2" in shown["samples"]
    (folder / "status.json").write_text('{"state": "finished", "step": 2, "steps": 4}')
    shown = watch.look("one", shown["drawn"])
    assert {"progress", "stop", "home", "classes", "runs"} < shown.keys() and "samples" not in shown


def test_a_run_goes_on_with_its_pictures_from_where_they_lie_now(places, monkeypatch):
    made.write_run(places, "one", PRESETS["quick"].config, "stopped")
    shown = watch.look("one", None)["moved"]
    values = [value for _, value in shown.choices]
    assert values[0] == shown.value == watch.AS_BEFORE and "emoji-identity" in values
    assert PRESETS["quick"].config.dataset not in values
    asked = []
    monkeypatch.setattr(watch.jobs, "extend", lambda name, changes: asked.append(changes) or run_list.read_run(name))
    for moved in (watch.AS_BEFORE, "upload:elsewhere"):
        watch.extend_run({"name": "one"}, 9, None, watch.AS_BEFORE, moved)
    assert asked == [{"steps": 9}, {"steps": 9, "dataset": "upload:elsewhere"}]


def test_what_the_page_never_opens_is_refused_before_a_run_is_changed(places, monkeypatch):
    made.write_run(places, "one", PRESETS["quick"].config, "stopped")
    before = (places / "runs" / "one" / "config.json").read_text()
    monkeypatch.setenv("SPACE_ID", "someone/redistill")
    monkeypatch.setattr(access, "is_theirs", lambda noted: True)
    with pytest.raises(ValueError, match="Folders are read from the command line"):
        jobs.extend("one", {"dataset": "folder:/etc"})
    assert (places / "runs" / "one" / "config.json").read_text() == before


def test_a_look_never_chooses_a_run_nor_leaves_the_one_that_is_shown(places):
    write_run(places, "one")
    drawn = watch.look(None, None)["drawn"]
    write_run(places, "newer")
    (places / "runs" / "newer" / "job.json").write_text('{"title": "newer", "created": 2}')
    for chosen, name in ((None, "one"), ("newer", "newer"), ("one", "one"), ("gone", "one")):
        shown = watch.look(chosen, drawn)
        drawn = shown["drawn"]
        assert (drawn["chosen"], drawn["name"]) == (chosen, name)
        assert "runs" not in shown or "value" not in shown["runs"].constructor_args


def test_a_run_is_deleted_once_that_is_confirmed_and_the_next_one_shown(places):
    write_run(places, "one")
    write_run(places, "two")
    shown = watch.ask_to_delete({"name": "one"})
    assert shown["asked"] == "one" and shown["confirm"].visible
    assert "Delete “&lt;b&gt;one&lt;/b&gt; · 4 steps" in shown["question"]
    assert len(run_list.list_runs()) == 2
    shown = watch.delete_run("one", "one")
    assert (shown["asked"], shown["confirm"].visible, shown["said"], shown["runs"].value) == (None, False, "", "two")
    assert watch.delete_run("two", "two")["runs"].value is None
    assert "No run left" in watch.look(None, None)["progress"]


def test_runs_of_one_title_are_told_apart(places):
    student = PRESETS["undistilled"].config
    for name, steps, second in (("a", 3, 0), ("b", 1200, 1), ("c", 1200, 90)):
        config = dataclasses.replace(student, steps=steps)
        made.write_run(places, name, config, "finished")
        made.write_checkpoint(places / "runs" / name / "student", config, test_accuracy=0.5)
        created = time.mktime((2020, 5, 3, 14, 5, second, 0, 0, -1)) if name != "c" else time.time()
        (places / "runs" / name / "job.json").write_text(json.dumps({"title": "Same", "created": created}))
    now = time.strftime("%H:%M", time.localtime(created))
    wanted = ["Same · 3 steps, 3 May 14:05", "Same · 1,200 steps, 3 May 14:05", f"Same · 1,200 steps, {now}:"]
    lists = (
        {result.key: result.title for result in results.all_results()},
        {choice.value: choice.title for choice in choices.checkpoints(lambda metadata: True)},
    )
    for found in lists:
        assert all(found[f"run:{name}"].startswith(title) for name, title in zip("abc", wanted, strict=True))
    listed = {name: label for label, name in watch.look(None, None)["runs"].choices}
    assert listed["b"] == "Same · finished · 1,200 steps, 3 May 14:05"
    assert "“Same · 3 steps, 3 May 14:05”" in watch.ask_to_delete({"name": "a"})["question"]
    jobs.delete("a")
    jobs.delete("b")
    assert [result.title for result in results.all_results()] == ["Same"]
    assert titles.run_facts(jobs.Run("x", places, "x", "finished", created=1e300)) == ""


def test_files_of_a_run_are_saved_and_no_others(places):
    write_run(places, "one", records="x" * (watch.MAX_SAVED + 5))

    def save(file):
        return watch.save_file(SimpleNamespace(_data={"save": file}), {"name": "one"})

    saved, said = save("config.json")
    assert (saved["name"], saved["text"], said) == ("one-config.json", '{"steps": 4, "batch_size": 2}', "")
    assert len(save("metrics.jsonl")[0]["text"]) == watch.MAX_SAVED
    assert "has no log.txt yet" in save("log.txt")[1]
    assert "expected one of" in save("../one/config.json")[1]


ODD = """{"kind": "step", "step": 1, "loss": "x", "images_per_second": "fast", "learning_rate": null}
{"kind": "step", "step": 2, "loss": [1], "images_per_second": NaN}
not json
{"kind": "validation", "step": 2, "accuracy": "high"}
{"kind": "final", "step": 2, "test_accuracy": {}, "seconds": "long", "measured_peak_bytes": "many"}
"""


@pytest.mark.parametrize("state", ["running", "finished", "failed", "interrupted"])
def test_odd_values_in_a_runs_files_are_left_out(places, state):
    write_run(places, "odd", state, ODD)
    (places / "runs" / "odd" / "config.json").write_text('{"steps": 4, "batch_size": "two", "student": 3}')
    samples = places / "runs" / "odd" / "samples"
    samples.mkdir()
    (samples / "step-last.png").write_text("")
    progress = watch.look(None, None)["progress"]
    assert "1 line of its metrics could not be read" in progress
    assert ("ended without a word" in progress) == (state in ("running", "interrupted"))


def test_a_run_that_goes_on_stands_where_it_was_and_one_that_begins_has_no_time_left_to_say(places):
    records = "".join(f'{{"kind": "step", "step": {step}, "images_per_second": 1.0}}\n' for step in (1, 2))
    write_run(places, "on", "running", records)
    with open(places / "runs" / "on" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        progress = watch.look(None, None)["progress"]
        assert 'aria-valuenow="50.0"' in progress and "step 2 of 4 · 1 images/s · about 4.0 s left" in progress
        status = places / "runs" / "on" / "status.json"
        status.write_text('{"state": "running", "step": 0, "steps": 4}')  # it was killed before its first save
        progress = watch.look(None, None)["progress"]
        assert "preparing the pictures" in progress and "left" not in progress


def test_failure_signs_stand_beside_the_run(places):
    config = PRESETS["quick"].config
    stem = {**config.student.strides, "conv1": 1, "maxpool": 2, "layer4.0": 2}
    student = dataclasses.replace(config.student, strides=stem)  # its RED blocks hold several of the largest maps
    config = dataclasses.replace(config, student=student)
    alone = dataclasses.replace(
        config, student=dataclasses.replace(student, red=None), teacher_checkpoint=None, init="scratch", kd_weight=0.0
    )
    made.write_run(places, "alone", alone, "finished", {"kind": "validation", "step": 60, "accuracy": 0.5})
    made.write_checkpoint(places / "runs" / "alone" / "student", alone, test_accuracy=0.6)
    losses = [{"kind": "step", "step": step, "loss": 1.0 + (step > 40)} for step in range(1, 61)]
    made.write_run(places, "run", config, "stopped", *losses, {"kind": "validation", "step": 60, "accuracy": 0.3})
    signs = " ".join(watch_view.failure_signs(run_list.read_run("run"), run_list.records(run_list.read_run("run"))))
    for part in (
        "The loss has risen",
        "RED blocks have become the memory peak",
        "30.0 % at step 60",
        "has 50.0 % there",
    ):
        assert part in signs
    assert watch_view.failure_signs(run_list.read_run("alone"), []) == []


def test_the_end_states_what_was_measured_beside_what_was_computed(places):
    final = {"kind": "final", "step": 4, "test_accuracy": 0.5, "seconds": 9, "device": "CPU"}
    final |= {"training_peak_bytes": 2**21, "measured_peak_bytes": 2**20, "eager_peak_bytes": 2**20}
    write_run(places, "one", records=json.dumps(final | {"fused_peak_bytes": 2**19}) + "\n")
    progress = watch.look(None, None)["progress"]
    for part in ("while training</td><td>2.00 MiB", "at inference</td><td>1.00 MiB", "deployed</td><td>0.50 MiB"):
        assert part in progress


def test_a_click_on_a_stride_asks_the_server_once_and_carries_no_long_list(page):
    config = page.get_config_file()
    picker = next(part["id"] for part in config["components"] if part["props"].get("elem_id") == "strides")
    calls = [
        event["targets"]
        for event in config["dependencies"]
        if event["backend_fn"] and any(target == picker for target, _ in event["targets"])
    ]
    assert len(calls) == 1
    # Gradio's page copies all properties of a component at every event: with 1,400 choices a click took twice as long
    lists = {part["props"].get("label"): len(part["props"].get("choices") or ()) for part in config["components"]}
    assert max(lists.values()) < 60, lists


def test_no_event_waits_for_the_change_of_a_state_that_gradio_never_tells(page):
    """gradio tells the page of a State's change at the end of queued events alone."""
    config = page.get_config_file()
    states = {part["id"] for part in config["components"] if part["type"] == "state"}
    waited = {target for event in config["dependencies"] for target, name in event["targets"] if name == "change"}
    unqueued = [event for event in config["dependencies"] if event["queue"] is False]
    assert not [event["api_name"] for event in unqueued if waited & states & set(event["outputs"])]

"""What Explore shows of a student is what the library counts, and a sentence where it cannot be built."""

from __future__ import annotations

import pytest
import torch
from helpers.explore import EARLY, call, shown_student

from app.parts.counting import compare_as
from app.parts.stride_picker import check_strides_form
from app.words.memory import warnings
from redistill.memory import capture
from redistill.memory.comparison import network_tape
from redistill.memory.usual_strides import early_strides
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig, build_student


def test_the_page_counts_what_the_library_counts():
    found = compare_as(shown_student(teacher="resnet18", image_size=224, strides={**EARLY, "conv1": 8}))
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
    assert "needs more memory than its teacher" in " ".join(warnings(compare_as(shown_student(strides={"maxpool": 1}))))
    assert "The input image itself is 48.0 KiB" in " ".join(warnings(compare_as(shown_student())))


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


def test_strides_have_a_form():
    assert check_strides_form({"a": 1}) == {"a": 1}
    with pytest.raises(ValueError, match="must map"):
        check_strides_form({str(i): 1 for i in range(1000)})

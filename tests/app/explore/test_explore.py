"""Explore's handlers beyond the settings: the sentence, budgets, pins, and the tensors alive at a place."""

from __future__ import annotations

import dataclasses
import re

import gradio as gr
import pytest

from app.explore import page as explore
from app.explore import view as explore_view
from app.explore.pins import LETTERS
from app.parts.counting import compare_as
from app.parts.trace import Place
from app.words import numbers
from redistill.memory.comparison import early_strides
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig

EARLY = {"conv1": 4, "maxpool": 1, "layer2.0": 2, "layer3.0": 2, "layer4.0": 1}
RED = (True, True, 1, True, 3, "all")
SETTINGS = ("narrow_resnet", 64, EARLY, *RED, "fused", "fp32")
BAD = {**EARLY, "layer4.0": 8}
HOSTILE = [None, [], {}, "", "<script>", -1, 0.5, True, float("nan"), ["a"] * 50, {"a": {"b": []}}]
SUMMARY, CHART, BOARD, TENSORS = 3, 4, 6, 7


def narrow(**changes):
    return compare_as(StudentConfig(**({"teacher": "narrow_resnet", "image_size": 64, "strides": EARLY} | changes)))


def event(**values) -> gr.EventData:
    return gr.EventData(None, values)


def text(html: str) -> str:
    """What a person reads: without tags, which part words unless they stand inside a line."""
    html = re.sub(r"</?(strong|code|b|span)\b[^>]*>", "", html)
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", html))


def pinned(*changes: dict) -> tuple:
    pins = ()
    for change in changes:
        values = [
            change.get(name, usual) for name, usual in zip(("teacher", "size", "strides"), SETTINGS, strict=False)
        ]
        pins = explore.pin_shown(*values, *SETTINGS[3:], "none", None, pins, Place())[0]
    return pins


# The sentence


def headline(found) -> str:
    return text(explore_view.summary(found).partition("</p>")[0]).strip()


def with_peaks(found, **peaks: int):
    return dataclasses.replace(
        found, **{name: dataclasses.replace(getattr(found, name), peak_bytes=peak) for name, peak in peaks.items()}
    )


def test_the_sentence_says_where_both_networks_peak():
    assert headline(narrow()).startswith("Peak falls from 320 KiB (maxpool) to 64.0 KiB (conv1): 5.0×, RED blocks")
    assert headline(narrow(red=None)).endswith("64.0 KiB (conv1): 5.0×.")
    assert headline(narrow(strides={"maxpool": 1}, red=None)).startswith("Peak rises from 320 KiB (maxpool) to")


def test_a_student_that_is_its_teacher_changes_nothing():
    same = narrow(strides={}, red=None)
    assert same.student.peak_bytes == same.teacher.peak_bytes
    assert headline(same) == "Peak stays at 320 KiB (maxpool): 1.0×."


def test_equal_peaks_in_two_layers_name_both():
    found = with_peaks(narrow(red=None), student=327680)
    assert headline(found) == "Peak stays at 320 KiB (maxpool; in the student conv1): 1.0×."


@pytest.mark.parametrize(("peak", "verb"), [(327679, "falls"), (327681, "rises")])
def test_peaks_that_read_alike_differ_in_bytes(peak, verb):
    found = with_peaks(narrow(red=None), student=peak)
    assert headline(found).startswith(f"Peak {verb} by 1 B from 320 KiB (maxpool) to 320 KiB (conv1): 1.0×")


def test_a_red_block_that_is_the_peak_stands_in_the_sentence():
    strides = early_strides("resnet50")
    found = compare_as(StudentConfig("resnet50", 224, strides=strides))
    assert "to 2.30 MiB (RED block layer2.0.red_in): 3.0×" in headline(found)


# Budget


@pytest.mark.parametrize(
    ("kib", "teacher", "student"),
    [
        (64, "does not fit: 256 KiB too much", "fits exactly"),
        (65535 / 1024, "does not fit: 256 KiB too much", "does not fit: 1 B too much"),
        (320, "fits exactly", "fits, 256 KiB to spare"),
        (327679 / 1024, "does not fit: 1 B too much", "fits, 256 KiB to spare"),
    ],
)
def test_the_budget_flips_at_the_byte_for_both_networks(kib, teacher, student):
    said = text(explore.show(*SETTINGS, "other", kib)[SUMMARY])
    assert f"the teacher {teacher}; the student {student}." in said
    assert "Activations only: the student’s weights, 1.47 MiB, and the program need room of their own." in said


def test_without_a_budget_nothing_is_said_of_it():
    for choice in ("none", "other"):
        shown = explore.show(*SETTINGS, choice, None)
        assert "fit" not in shown[SUMMARY] and shown[CHART]["layout"]["shapes"] == []


def test_the_field_for_a_number_is_there_when_it_is_asked_for():
    number, *shown = explore.show_budget(*SETTINGS, "other", 64)
    assert number.visible and "Budget, 64.0 KiB" in shown[SUMMARY]
    number, *shown = explore.show_budget(*SETTINGS, "esp32s3", 64)
    assert not number.visible and "ESP32-S3, 0.50 MiB" in shown[SUMMARY]


# Pins


def test_two_pins_are_compared_with_what_is_shown():
    pins = pinned({}, {"strides": {**EARLY, "conv1": 2}})
    shown = explore.show(*SETTINGS, "other", 64, pins, Place())
    board = text(shown[BOARD])
    macs = numbers.format_count(narrow().student.macs)
    described = "Narrow ResNet 4·1·2·2·1, RED blocks, 64 px, fused, fp32"
    assert f"Shown {described} 64.0 KiB 5.0× 48.0 KiB 1.47 MiB {macs} fits exactly" in board
    assert "B Narrow ResNet 2·1·2·2·1, RED blocks, 64 px, fused, fp32 192 KiB 1.7× 192 KiB" in board
    assert board.count("fits exactly") == 2 and board.count("does not fit: 128 KiB too much") == 1
    assert [trace["name"] for trace in shown[CHART]["data"][3:5]] == ["A", "B"]


def test_a_pin_of_another_network_is_a_level_at_its_peak():
    figure = explore_view.figure(narrow(), pinned({}, {"teacher": "resnet18", "size": 224}), None)
    curve, level = figure["data"][3:5]
    assert len(curve["y"]) > 2 and max(curve["y"]) == 65536 / 2**20
    assert len(set(level["y"])) == 1 and len(level["y"]) == 2


def test_what_does_not_fit_cannot_be_pinned_and_the_pins_stay():
    pins = pinned({})
    kept, chart, board = explore.pin_shown("narrow_resnet", 64, BAD, *SETTINGS[3:], "none", None, pins, Place())
    assert kept == chart == gr.skip()
    assert "Not pinned." in board and "reduce the image 128 times" in board and "A Narrow ResNet" in text(board)
    assert "Shown" not in board


def test_a_fifth_pin_is_refused_in_a_sentence():
    pins = pinned(*({"size": size} for size in (32, 64, 96, 128)))
    assert len(pins) == len(LETTERS)
    board = explore.pin_shown("narrow_resnet", 160, *SETTINGS[2:], "none", None, pins, Place())[2]
    assert "4 configurations are pinned; remove one" in board


def test_a_pin_is_removed():
    pins = pinned({}, {"size": 96})
    left, *rest = explore.use_pin(event(act="remove", letter="A"), *SETTINGS, "none", None, pins, Place())
    assert [pin.letter for pin in left] == ["B"]
    assert rest[:10] == [gr.skip()] * 10 and "A Narrow" not in text(rest[10 + BOARD])
    left, *rest = explore.use_pin(event(act="remove", letter="B"), *SETTINGS, "none", None, left, Place())
    assert left == () and rest[10 + BOARD] == ""


def test_a_pin_is_removed_even_while_the_settings_do_not_fit():
    pins = pinned({}, {"size": 96})
    values = ("narrow_resnet", 64, BAD, *SETTINGS[3:], "none", None, pins, Place())
    left, *rest = explore.use_pin(event(act="remove", letter="A"), *values)
    assert [pin.letter for pin in left] == ["B"]
    assert "does not fit" in rest[10 + SUMMARY] and "B Narrow" in text(rest[10 + BOARD])


def test_a_pin_sets_all_controls():
    red = (True, False, 3, True, 5, "outputs")
    strides = early_strides("unet_small")
    first = explore.pin_shown("unet_small", 32, strides, *red, "eager", "fp16", "none", None, (), Place())[0]
    kept, *rest = explore.use_pin(event(act="load", letter="A"), *SETTINGS, "none", None, first, Place())
    assert kept == gr.skip()
    assert rest[:10] == ["unet_small", 32, *red, "eager", "fp16"]
    picker, student, _, summary, *_ = rest[10:]
    assert picker.value == strides and [row["name"] for row in picker.props["points"]] == list(strides)
    assert StudentConfig.from_dict(student).red == REDConfig(False, True, 3, 5, "outputs")
    assert explore.show("unet_small", 32, strides, *red, "eager", "fp16")[SUMMARY] == summary


def test_a_pin_without_red_blocks_switches_them_off():
    first = explore.pin_shown("narrow_resnet", 64, EARLY, False, *RED[1:], "fused", "fp32", "none", None, (), Place())[
        0
    ]
    loaded = explore.use_pin(event(act="load", letter="A"), *SETTINGS, "none", None, first, Place())
    assert loaded[3] is False
    assert loaded[11].value == EARLY


# Tensors alive at a place


def tensor_bytes(html: str) -> list[int]:
    return [int(count) for count in re.findall(r'data-bytes="(\d+)"', html)]


@pytest.mark.parametrize("network", ["student", "teacher"])
def test_the_tensors_at_every_mark_of_the_chart_add_up(network):
    found = narrow()
    profile = getattr(found, network)
    curve = explore.show(*SETTINGS)[CHART]["data"][network == "student"]
    for y, mark in zip(curve["y"], curve["customdata"], strict=True):
        place, _, html = explore.look_at(event(mark=mark), *SETTINGS)
        assert sum(tensor_bytes(html)) == y * 1024
        assert f"<td>Sum</td><td>{round(y * 1024):,}</td>" in html
        assert place.network == network and place.layer == mark[1]
    assert max(curve["y"]) * 1024 == profile.peak_bytes


def test_a_layer_of_the_table_shows_its_worst_operator():
    found = narrow()
    for layer in found.teacher.layers:
        html = explore.look_at(event(part="teacher", key=layer.name), *SETTINGS)[2]
        assert sum(tensor_bytes(html)) == layer.peak_bytes


def test_who_made_a_tensor_and_who_needs_it_is_said():
    html = text(explore.look_at(event(network="student", act="peak"), *SETTINGS)[2])
    assert "While conv1 runs (conv2d), the peak of the student: 64.0 KiB in 2 tensors." in html
    assert "1×3×64×64 49,152 the input conv1 (conv2d)" in html
    assert "1×16×16×16 16,384 conv1 (conv2d) conv1 (conv2d), conv1.red_out.gate.0 (conv2d) and 2 more" in html


def test_the_place_is_kept_when_the_settings_change():
    place = explore.look_at(event(network="student", layer="layer1.0.conv1"), *SETTINGS)[0]
    shown = explore.show("narrow_resnet", 128, *SETTINGS[2:], "none", None, (), place)
    assert "While layer1.0.conv1 runs" in text(shown[TENSORS])
    elsewhere = explore.show_teacher("unet_small", *SETTINGS[3:], "none", None, (), place)
    assert "the peak of the student" in elsewhere[1 + TENSORS]


def test_layers_of_the_networks_own_forward_have_a_name():
    strides = early_strides("unet_small")
    shown = explore.look_at(event(network="student", layer=""), "unet_small", 32, strides, *SETTINGS[3:])
    assert "While forward runs" in text(shown[2])


# Hostile input


@pytest.mark.parametrize("position", range(4))
@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_no_value_from_outside_breaks_the_look(position, value):
    look = ["other", 64, (), Place()]
    look[position] = value
    for handler, shift in ((explore.show, 0), (explore.show_budget, 1), (explore.pool_early, 0)):
        shown = handler(*SETTINGS, *look)
        assert len(shown) == 9 + shift
        assert "Peak" in shown[shift + SUMMARY] or "does not fit" in shown[shift + SUMMARY]
    assert len(explore.pin_shown(*SETTINGS, *look)) == 3
    assert len(explore.use_pin(event(act="load", letter="A"), *SETTINGS, *look)) == 20
    assert len(explore.look_at(event(network="student"), *SETTINGS, *look)) == 3


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_no_click_from_outside_breaks_explore(value):
    pins = pinned({})
    look = ("none", None, pins, Place())
    clicks = [gr.EventData(None, value), event(act=value, letter=value), event(mark=value), event(mark=[value] * 4)]
    clicks += [
        event(part=value),
        event(part="student", key=value),
        event(network=value),
        event(network="student", layer=value, turn=value),
        event(act="load", letter=value),
    ]
    for click in clicks:
        assert "notice" in (said := explore.look_at(click, *SETTINGS, *look)[2]) or "While" in said
        assert len(explore.use_pin(click, *SETTINGS, *look)) == 20


def test_a_call_without_an_event_or_settings_is_answered():
    assert "notice" in explore.look_at(*SETTINGS)[2]
    assert "does not fit" in explore.use_pin(*SETTINGS)[11 + SUMMARY]
    assert "does not fit" in explore.show()[SUMMARY]
    assert "Not pinned" in explore.pin_shown()[2]
    assert "does not fit" in explore.pool_early()[SUMMARY]

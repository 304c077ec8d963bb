"""Explore's handlers beyond the settings: the sentence, budgets, pins, and the tensors alive at a place."""

from __future__ import annotations

import dataclasses
import re

import gradio as gr
import pytest
from helpers.explore import EARLY, USUAL, call

from app.explore import view as explore_view
from app.explore.form import read_settings
from app.explore.pins import LETTERS
from app.parts.counting import compare_as
from app.parts.trace import Place
from app.words import numbers
from redistill.memory.usual_strides import early_strides, own_strides
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig

BAD = {**EARLY, "layer4.0": 8}
DRAWN = {"student", "distil", "summary", "chart", "pairs", "board", "tensors", "table", "drawn"}


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
        pins = call("pin_shown", pins=pins, **change)["pins"]
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
    rising = narrow(strides={"maxpool": 1}, red=None)
    assert headline(rising).startswith("Peak rises from 320 KiB (maxpool) to")
    assert '<span class="misses">Peak rises</span>' in explore_view.summary(rising)
    assert 'class="ratio misses"' in explore_view.summary(rising) and "misses" not in explore_view.summary(narrow())


def test_the_chart_says_in_words_where_both_networks_peak():
    said = call("show")["chart"]["label"]
    assert "teacher peaks at 320 KiB in maxpool" in said and "student peaks at 64.0 KiB in conv1" in said


@pytest.mark.parametrize(
    ("handler", "changes"),
    [
        ("show", {"picker": BAD}),
        ("show", {"image_size": 15}),
        ("show", {"image_size": 1025}),
        ("show_budget", {"budget": "chip"}),
        ("pool_early", {"batch": 0}),
    ],
)
def test_what_does_not_fit_leaves_the_chart_which_the_page_dims(handler, changes):
    shown = call(handler, **changes)
    assert '<div class="refused">' in shown["summary"] and "Below stands what fitted last." in shown["summary"]
    assert "chart" not in shown and "refused" not in call("show")["summary"]
    if "image_size" in changes:
        assert "from 16 to 1024" in shown["summary"]


def test_a_planned_arena_is_told_with_its_gaps_and_the_callers_input():
    found = compare_as(StudentConfig("resnet50", 224, strides={}, red=None), "executorch")
    said = text(explore_view.summary(found))
    assert "0.77 MiB of gaps" in said and "the input, 0.57 MiB, is the caller’s" in said
    shown = text(explore_view.tensors(found, Place("teacher")))
    assert "gaps in the plan" in shown and "9.95 MiB in" in shown
    refused = call("show", teacher="timm:vit_tiny_patch16_224", image_size=224, picker={}, accounting="executorch")
    assert "chart" in refused or "ExecuTorch" in refused["summary"]


def test_what_the_caller_holds_counts_in_what_fits():
    planned = narrow(red=None).config
    found = compare_as(planned, "executorch")
    needed = found.student.peak_bytes + 3 * 64 * 64 * 4
    for kib, said in ((needed / 1024, "fits exactly"), ((needed - 1) / 1024, "does not fit: 1 B too much")):
        controls = {"budget": "other", "kib": kib, "accounting": "executorch", "with_red": False}
        assert f"the student {said}" in text(call("show", **controls)["summary"])
        settings = read_settings(USUAL | controls)
        assert (found.student.needed_bytes <= settings.budget_bytes) == (said == "fits exactly")


def test_figures_below_each_other_stand_in_one_unit():
    pins = pinned({}, {"teacher": "resnet18", "image_size": 224, "picker": early_strides("resnet18")})
    board = text(call("pin_shown", pins=pins, picker={**EARLY, "conv1": 2})["board"])
    assert " KiB" not in board and " G " not in board and " k " not in board
    assert board.count(" M ") == 8 and "0.0625 MiB" in board and "0.77 MiB" in board


@pytest.mark.parametrize(
    ("network", "dtype", "red", "unit"),
    [
        ("mobilenet_v2", "int8", None, "KiB"),
        ("mobilenet_v2", "int8", REDConfig(), "MiB"),
        ("resnet50", "fp32", REDConfig(), "MiB"),
    ],
)
def test_peaks_of_a_view_stand_in_one_unit(network, dtype, red, unit):
    student = StudentConfig(network, 224, strides=early_strides(network), red=red)
    found = compare_as(student, "fused", dtype)
    drawn = explore_view.figure(found, [], None)["layout"]["annotations"]
    said = text(explore_view.summary(found)) + " ".join(part["text"] for part in drawn)
    assert set(re.findall(r"\d ([KM]iB)", said)) == {unit}


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
    said = text(call("show", budget="other", kib=kib)["summary"])
    assert f"the teacher {teacher}; the student {student}." in said
    assert "Activations only: the student’s weights, 1.47 MiB, and the program need room of their own." in said


def test_without_a_budget_nothing_is_said_of_it():
    for choice in ("none", "other"):
        shown = call("show", budget=choice)
        assert "fit" not in shown["summary"] and shown["chart"]["layout"]["shapes"] == []


def test_the_field_for_a_number_is_there_when_it_is_asked_for():
    shown = call("show_budget", budget="other", kib=64)
    assert shown["kib"].visible and "Budget, 64.0 KiB" in shown["summary"]
    assert not shown["reserve"].visible and not shown["program"].visible
    shown = call("show_budget", budget="stm32h743", kib=64, reserve=7)  # of the chip before
    assert not shown["kib"].visible and "STM32H743, 512 KiB" in shown["summary"]
    assert (shown["reserve"].value, shown["program"].value) == (32, 128)
    shown = call("show_budget", budget="k210")
    assert shown["reserve"].visible and not shown["program"].visible
    assert "no flash of its own" in shown["summary"]


def test_activations_and_weights_each_say_whether_they_fit():
    small = call("show", budget="max78000", with_red=False)["summary"]  # 96 KiB and 384 KiB
    assert re.findall('class="(fits|misses)"', small) == ["misses", "fits", "misses", "misses"]
    assert "in int8 it would" in small and 'data-act="search"' not in small and "MAX78000 data sheet" in small
    assert 'data-act="search"' in call("show", budget="max78000", reserve=65)["summary"]
    strides = dict(zip(own_strides("mobilenet_v2"), (8, 1, 1, 2, 2), strict=True))
    blocks = {"teacher": "mobilenet_v2", "image_size": 224, "dtype": "int8", "picker": strides}
    heavy = call("show", **blocks, budget="rp2350")["summary"]  # whose weights fit without RED blocks
    assert re.findall('class="(fits|misses)"', heavy) == ["misses", "fits", "fits", "misses"]
    assert 'data-act="search"' in heavy
    large = call("show", budget="portenta-h7")["summary"]
    assert re.findall('class="(fits|misses)"', large) == ["fits"] * 4 and "data-act" not in large
    shared = call("show", budget="jetson-orin-nano-4gb")["summary"]
    assert "in the same RAM" in text(shared) and "misses" not in shared
    tight = call("show", budget="rp2040", reserve=200)["summary"]
    assert "RP2040 (Pico), 64.0 KiB for activations" in text(tight) and "200 KiB of RAM" in text(tight)
    refused = call("show", budget="rp2040", reserve=264)
    assert "reserve is 270336" in refused["summary"] and "chart" not in refused


def test_no_resnet_50_fits_a_megabyte_of_flash():
    controls = {"teacher": "resnet50", "image_size": 224, "picker": early_strides("resnet50"), "dtype": "int8"}
    said = text(call("show", **controls, budget="nrf5340")["summary"])
    assert said.count("in no format (int8:") == 2


# Pins


def test_two_pins_are_compared_with_what_is_shown():
    pins = pinned({}, {"picker": {**EARLY, "conv1": 2}})
    shown = call("show", budget="other", kib=64, pins=pins)
    board = text(shown["board"])
    found, other = narrow(), narrow(strides={**EARLY, "conv1": 2})
    most = max(found.student.macs, other.student.macs)  # one unit for all rows
    macs = [numbers.format_count(n, most) for n in (found.bare.macs, found.student.macs - found.bare.macs)]
    described = "Narrow ResNet 4·1·2·2·1, RED blocks, 64 px, fused, fp32"
    assert f"Shown {described} 64.0 KiB 5.0× 48.0 KiB 1.47 MiB {macs[0]} {macs[1]} fits exactly" in board
    assert "B Narrow ResNet 2·1·2·2·1, RED blocks, 64 px, fused, fp32 192 KiB 1.7× 192 KiB" in board
    assert board.count("fits exactly") == 2 and board.count("does not fit: 128 KiB too much") == 1
    assert [trace["name"] for trace in shown["chart"]["data"][3:5]] == ["A", "B"]


def test_a_pin_of_another_network_is_a_level_at_its_peak():
    figure = explore_view.figure(narrow(), pinned({}, {"teacher": "resnet18", "image_size": 224}), None)
    curve, level = figure["data"][3:5]
    assert len(curve["y"]) > 2 and max(curve["y"]) == 65536 / 2**10
    assert len(set(level["y"])) == 1 and len(level["y"]) == 2


def test_what_does_not_fit_cannot_be_pinned_and_the_pins_stay():
    pins = pinned({})
    shown = call("pin_shown", picker=BAD, pins=pins)
    assert shown.keys() == {"board"} and "Not pinned." in shown["board"]
    assert "reduce the image 128 times" in shown["board"] and "A Narrow ResNet" in text(shown["board"])
    assert "Shown" not in shown["board"]


def test_a_fifth_pin_is_refused_in_a_sentence():
    pins = pinned(*({"image_size": size} for size in (32, 64, 96, 128)))
    assert len(pins) == len(LETTERS)
    assert "4 configurations are pinned; remove one" in call("pin_shown", image_size=160, pins=pins)["board"]


def test_a_pin_is_removed():
    pins = pinned({}, {"image_size": 96})
    shown = call("use_pin", event(act="remove", letter="A"), pins=pins)
    assert [pin.letter for pin in shown["pins"]] == ["B"]
    assert shown.keys() == {"pins", *DRAWN} and "A Narrow" not in text(shown["board"])
    shown = call("use_pin", event(act="remove", letter="B"), pins=shown["pins"])
    assert shown["pins"] == () and shown["board"] == ""


def test_a_pin_is_removed_even_while_the_settings_do_not_fit():
    pins = pinned({}, {"image_size": 96})
    shown = call("use_pin", event(act="remove", letter="A"), picker=BAD, pins=pins)
    assert [pin.letter for pin in shown["pins"]] == ["B"]
    assert "does not fit" in shown["summary"] and "B Narrow" in text(shown["board"])


def test_a_pin_sets_all_controls():
    red = {"gate": False, "gate_kernel": 3, "residual_kernel": 5, "points": "outputs"}
    strides = early_strides("unet_small")
    other = {"teacher": "unet_small", "image_size": 32, "picker": strides, "accounting": "eager", "dtype": "fp16"} | red
    shown = call("use_pin", event(act="load", letter="A"), pins=pinned(other))
    assert "pins" not in shown
    picker = shown.pop("picker")
    assert picker.value == strides and [row["name"] for row in picker.props["points"]] == list(strides)
    assert {name: shown[name] for name in other if name != "picker"} == {
        k: v for k, v in other.items() if k != "picker"
    }
    assert shown["with_red"] is shown["residual_encoder"] is True
    assert StudentConfig.from_dict(shown["student"]).red == REDConfig(False, True, 3, 5, "outputs")
    assert call("show", **other)["summary"] == shown["summary"]


def test_a_pin_without_red_blocks_switches_them_off():
    loaded = call("use_pin", event(act="load", letter="A"), pins=pinned({"with_red": False}))
    assert loaded["with_red"] is False and loaded["picker"].value == EARLY


# Tensors alive at a place


def tensor_bytes(html: str) -> list[int]:
    return [int(count) for count in re.findall(r'data-bytes="(\d+)"', html)]


@pytest.mark.parametrize("network", ["student", "teacher"])
def test_the_tensors_at_every_mark_of_the_chart_add_up(network):
    found = narrow()
    profile = getattr(found, network)
    curve = call("show")["chart"]["data"][network == "student"]
    for y, mark in zip(curve["y"], curve["customdata"], strict=True):
        shown = call("look_at", event(mark=mark))
        assert sum(tensor_bytes(shown["tensors"])) == y * 1024 and shown["alive"].open
        assert f"<td>Sum</td><td>{round(y * 1024):,}</td>" in shown["tensors"]
        assert (shown["place"].network, shown["place"].layer) == (network, mark[1])
    assert max(curve["y"]) * 1024 == profile.peak_bytes


def test_a_layer_of_the_table_shows_its_worst_operator():
    found = narrow()
    for layer in found.teacher.layers:
        html = call("look_at", event(part="teacher", key=layer.name))["tensors"]
        assert sum(tensor_bytes(html)) == layer.peak_bytes


def test_who_made_a_tensor_and_who_needs_it_is_said():
    html = text(call("look_at", event(network="student", act="peak"))["tensors"])
    assert "While conv1 runs (conv2d), the peak of the student: 64.0 KiB in 2 tensors." in html
    assert "1×3×64×64 49,152 the input conv1 (conv2d)" in html
    assert "1×16×16×16 16,384 conv1 (conv2d) conv1 (conv2d), conv1.red_out.gate.0 (conv2d) and 2 more" in html


def test_the_place_is_kept_when_the_settings_change():
    place = call("look_at", event(network="student", layer="layer1.0.conv1"))["place"]
    shown = call("show", image_size=128, place=place)
    assert "While layer1.0.conv1 runs" in text(shown["tensors"])
    elsewhere = call("show_teacher", teacher="unet_small", place=place)
    assert "the peak of the student" in elsewhere["tensors"]


def test_layers_of_the_networks_own_forward_have_a_name():
    unet = {"teacher": "unet_small", "image_size": 32, "picker": early_strides("unet_small")}
    for click in (event(network="student", layer=""), event(part="student", key="")):
        assert "While forward runs" in text(call("look_at", click, **unet)["tensors"])


# Hostile input

"""Explore's patches are the tape's, for the student and for the network as it is; a sentence where there are none."""

from __future__ import annotations

import re

import gradio as gr
import pytest
from helpers.explore import USUAL, call

from app.explore import patch_panel
from app.words.numbers import format_bytes
from redistill.memory.comparison import student_on_tape
from redistill.memory.patching import every_patching, least_memory
from redistill.networks.student import StudentConfig

RESNET = {"teacher": "resnet18", "image_size": 224, "picker": {"conv1": 4, "maxpool": 1, "layer4.0": 1}}


def show(**changes) -> str:
    return patch_panel.CARD.show(**USUAL | changes)["patched"]


def plain(shown: str) -> str:
    """Without the buttons of rows that can be shown above."""
    return re.sub("</?button[^>]*>", "", shown)


@pytest.mark.parametrize(
    "changes",
    [
        {"with_red": False},
        {"with_red": True, "accounting": "eager", "batch": 2},
        {"with_red": False, "accounting": "fused-add", "dtype": "int8", "width": 160},
    ],
)
def test_rows_are_the_front_of_student_and_teacher(changes):
    shown = plain(show(**RESNET, **changes))
    size = (224, changes["width"]) if "width" in changes else 224
    for strides in (RESNET["picker"], {}):
        red = {} if strides and changes["with_red"] else {"red": None}
        tape, settings = student_on_tape(
            StudentConfig("resnet18", size, strides=strides, **red), changes.get("batch", 1)
        )
        how = {"dtype": changes.get("dtype", "fp32"), "accounting": changes.get("accounting", "fused").split("-")[0]}
        how["fuse_add"] = changes.get("accounting") == "fused-add"
        rows = least_memory(every_patching(tape, most_overhead=1, **settings, **how))
        assert len(rows) > 1
        for row in rows:
            assert f"<code>{row.upto}</code></td><td>{row.grid}×{row.grid}</td>" in shown
            assert format_bytes(row.peak_bytes) in shown


@pytest.mark.parametrize(
    ("kib", "said"),
    [(1850, ("layer1", "3×3")), (1700, ("layer1", "4×4")), (1600, ("layer1", "5×5")), (100, ("layer2.0", "4×4"))],
)
def test_what_is_said_first_fits_the_budget_for_least_computation(kib, said):
    shown = show(**RESNET, with_red=False, budget="other", kib=kib)
    best = shown.split('class="best"')[1].split("</tr>")[0]
    assert all(f">{word}<" in best for word in said), best
    assert f"Student: patching to <code>{said[0]}</code>" in shown


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "Student: no patches of its first layers lower the peak of 64.0 KiB."),
        ({"teacher": "efficientnet_b0", "image_size": 64, "picker": {}}, "block.1.avgpool"),
        ({"teacher": "unet_small", "image_size": 32, "picker": {}}, "no patches"),
        ({"image_size": "x"}, "Not counted."),
        ({"teacher": "/etc/passwd"}, "Not counted."),
        ({"dtype": "fp8"}, "Not counted."),
        ({"accounting": "onnxruntime"}, "Not counted."),
        ({"kib": -1, "budget": "other"}, "Not counted."),
    ],
)
def test_where_nothing_is_counted_a_sentence_says_so(changes, told):
    assert told in show(**changes)


def test_what_comes_from_outside_is_escaped():
    assert "<script>" not in show(teacher="<script>alert(1)</script>")


def test_a_row_of_the_student_is_shown_above_with_its_verdict():
    controls = {**RESNET, "with_red": False, "budget": "other", "kib": 1850}
    shown = show(**controls)
    patches = re.findall('data-act="patch" data-patch="([^"]*)"', shown)
    assert "layer1:3" in patches and shown.split("Teacher:")[1].count("data-act") == 0
    drawn = call("use_patch", gr.EventData(None, {"patch": "layer1:3"}), **controls)
    assert drawn["patch"] == "layer1:3" and "3×3 patches up to" in drawn["summary"]
    assert 'in patches it <strong class="fits">' in drawn["summary"]
    assert "chart" in drawn
    assert call("show_teacher", teacher="resnet50", patch="layer1:3")["patch"] == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"patch": "conv9:2"}, "conv9"),
        ({"patch": "layer1:3", "accounting": "executorch"}, "executorch"),
        ({"patch": "layer1:30", "image_size": 64}, "30"),
    ],
)
def test_patches_that_cannot_be_are_a_hint_and_all_else_is_shown(changes, said):
    drawn = call("show", **RESNET | changes)
    assert "No patches:" in drawn["summary"] and said in drawn["summary"] and "chart" in drawn


@pytest.mark.parametrize("patch", ["layer1", "layer1:x", "layer1:1", 5, ["layer1:2"]])
def test_what_is_no_patch_is_refused(patch):
    assert "patch is" in call("show", **RESNET, patch=patch)["summary"]
    assert "patch is" in call("use_patch", gr.EventData(None, {"patch": patch}), **RESNET)["summary"]

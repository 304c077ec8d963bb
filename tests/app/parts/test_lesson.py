"""The lesson says what the library gives: every figure of its answers, and links that Explore opens."""

from __future__ import annotations

import json
import re
from html import unescape
from urllib.parse import parse_qs

import pytest
import torch

from app.explore.link import from_query
from app.parts.lesson import STEPS, address, lesson_panel, sheet
from app.words.memory import unit_of
from app.words.numbers import format_bytes
from redistill.checkpoint.metadata import read_metadata
from redistill.checkpoint.sources import SHIPPED
from redistill.memory.comparison import network_tape
from redistill.memory.search import search_strides
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig


def counted(number: int, **changes):
    """What Explore shows at a step, the student's RED blocks as it says."""
    settings = from_query(parse_qs(STEPS[number - 1].query.removeprefix("?")))
    student = settings.student
    if "red" in changes:
        student = StudentConfig(student.teacher, student.image_size, strides=student.strides, red=changes["red"])
    return type(settings)(student, settings.accounting, settings.dtype, settings.budget).count(), settings


def test_seven_steps_have_a_place_each():
    assert len(STEPS) == 7 and {step.tab for step in STEPS} == {"explore", "compare", "generate"}
    panel = lesson_panel()
    for number, step in enumerate(STEPS, 1):
        assert f'data-step="{number}"' in panel and f'href="{address(number)}"' in panel
        assert address(number).endswith(f"#lesson-{number}") and (not step.query or step.tab == "explore")


def test_where_the_memory_goes():
    found, _ = counted(1)
    answer = STEPS[0].answer
    assert found.student.peak_layer == "maxpool" and format_bytes(found.student.peak_bytes) in answer
    shapes = [tensor.shape for tensor in found.student.live_tensors(found.student.peak_index)]
    assert shapes == [(1, 64, 112, 112), (1, 64, 56, 56)] and "112×112" in answer and "56×56" in answer


def test_pooling_earlier():
    (found, settings), (own, _) = counted(2), counted(1)
    student = found.student
    assert format_bytes(student.peak_bytes) in STEPS[1].answer and student.peak_layer == "conv1"
    assert own.student.peak_bytes / student.peak_bytes == 5 and "5.0 times" in STEPS[1].answer
    assert student.peak_bytes / 2 < 3 * 224 * 224 * 4
    assert torch.tensor([*settings.student.strides.values()]).prod() == 32


def test_what_red_blocks_cost():
    (without, _), (with_red, _) = counted(3), counted(3, red=REDConfig())
    asked = STEPS[2].question
    assert format_bytes(without.student.peak_bytes) in asked and format_bytes(with_red.student.peak_bytes) in asked
    assert with_red.student.peak_bytes == 3 * 64 * 56 * 56 * 4 and "56×56" in STEPS[2].answer
    (bare, _), (eight, _) = counted(2), counted(2, red=REDConfig())
    assert bare.student.peak_bytes == eight.student.peak_bytes, "at stride 8 it stays"


def test_fitting_a_chip():
    found, settings = counted(4)
    assert (
        format_bytes(found.teacher.peak_bytes, unit_of(found)) in STEPS[3].question
        and settings.budget_bytes == 512 * 2**10
    )
    searched = search_strides(network_tape("mobilenet_v2", image_size=224), 224, dtype="int8")
    best = [one for one in searched.front if one.peak_bytes <= settings.budget_bytes][-1]
    assert ",".join(map(str, best.strides.values())) in STEPS[3].answer
    assert format_bytes(best.peak_bytes) in STEPS[3].answer


def test_what_teaches():
    rows = {row["method"]: row for row in json.loads((SHIPPED / "study.json").read_text()) if row["strides"] != "8"}
    share = {method: 100 * row["accuracy"] for method, row in rows.items()}
    said = [float(number) for number in re.findall(r"\d+\.\d", STEPS[5].question + STEPS[5].answer)]
    start = share["none"]
    expected = [share["scratch"], share["teacher"], start - share["scratch"], share["kd"] - start]
    expected += [share["red-blocks"] - start, share["red+kd"] - start]
    assert said[:-1] == pytest.approx(expected, abs=0.1)
    assert said[-1] == pytest.approx(max(share[name] for name in share if name != "teacher"), abs=0.1)


def test_what_is_forgotten():
    teacher, student = (read_metadata(f"emoji-faces-{name}").metrics["quality"] for name in ("teacher", "student"))
    for figure in (student["fid"], teacher["fid"]):
        assert f"{figure:.1f}" in STEPS[6].answer
    for share in (student["recall"], teacher["recall"]):
        assert f"{100 * share:.0f} %" in STEPS[6].answer


def test_the_sheet_has_all_questions_and_then_all_answers():
    page = unescape(sheet())
    places = [page.index(step.question) for step in STEPS] + [page.index(step.answer) for step in STEPS]
    assert places == sorted(places)
    assert "to print</a>" in lesson_panel().rpartition("</div>")[2], "below each step"

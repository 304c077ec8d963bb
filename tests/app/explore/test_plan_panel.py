"""Explore's drawing of an arena has a rectangle for each tensor of the plan, at its place."""

from __future__ import annotations

import re

import pytest
from helpers.explore import USUAL

from app.explore import plan_panel
from app.words.numbers import format_bytes
from redistill.memory.comparison import compare
from redistill.networks.student import StudentConfig

RESNET = {"teacher": "resnet18", "image_size": 224, "picker": {"conv1": 8, "maxpool": 1}}


def show(**changes) -> str:
    return plan_panel.CARD.show(**USUAL | changes)["planned"]


@pytest.mark.parametrize("accounting", ["fused", "onnxruntime", "executorch"])
def test_every_tensor_is_drawn_at_its_place(accounting):
    shown = show(**RESNET, accounting=accounting)
    found = compare(StudentConfig("resnet18", 224, strides=RESNET["picker"]), accounting)
    top = max(profile.plan().bytes for profile in (found.teacher, found.student))
    for name, profile in (("Teacher", found.teacher), ("Student", found.student)):
        plan = profile.plan()
        drawn = shown.split(f'<svg class="{name.lower()}"')[1].split("</svg>")[0]
        places = [
            tuple(map(float, place)) for place in re.findall(r' y="([-\d.]+)" width="[\d.]+" height="([\d.]+)"', drawn)
        ]
        wanted = [
            (
                plan_panel.HEIGHT * (plan.bytes - tensor.offset - tensor.bytes) / top,
                plan_panel.HEIGHT * tensor.bytes / top,
            )
            for tensor in plan.tensors
        ]
        assert places == [pytest.approx(place, abs=0.02) for place in wanted]
        assert f"<strong>{name}: {format_bytes(plan.bytes)}</strong> in {len(plan.tensors)} tensors" in shown
        assert drawn.count("alive") == sum(t.first <= profile.peak_index <= t.last for t in plan.tensors) > 0
    assert "budget" not in shown
    assert f"ResNet-18 8·1, RED blocks, 224 px, {accounting}, fp32." in shown


def test_a_budget_is_a_line_and_a_refusal_a_sentence():
    assert 'class="budget"' in show(**RESNET, budget="other", kib=1024)
    refused = show(**RESNET | {"picker": {"conv1": 3000}})
    assert "Not planned." in refused and "<svg" not in refused

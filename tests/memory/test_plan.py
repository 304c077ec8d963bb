"""A profile's tensors in one arena: none overlaps another that is alive with it, and it is as large as is told."""

from __future__ import annotations

from itertools import combinations

import pytest

from redistill.memory.comparison import network_tape
from redistill.memory.profile import ArenaPlan
from redistill.networks.red import REDConfig

STRIDES = {"conv1": 8, "maxpool": 1, "layer4.0": 1}


def check(plan: ArenaPlan) -> None:
    for one, other in combinations(plan.tensors, 2):
        if one.first <= other.last and other.first <= one.last:
            assert one.offset + one.bytes <= other.offset or other.offset + other.bytes <= one.offset, (one, other)
    assert plan.bytes == max(tensor.offset + tensor.bytes for tensor in plan.tensors)


@pytest.mark.parametrize("accounting", ["fused", "eager", "onnxruntime", "executorch"])
@pytest.mark.parametrize(("name", "strides"), [("resnet18", STRIDES), ("resnet18", {}), ("unet_small", {})])
def test_no_two_tensors_share_a_byte(name, strides, accounting):
    profile = network_tape(name).profile(strides, accounting=accounting, red=REDConfig() if strides else None)
    plan = profile.plan()
    check(plan)
    alive = [tensor for tensor in plan.tensors if tensor.first <= profile.peak_index <= tensor.last]
    assert profile.peak_bytes == plan.bytes, "what is alive is all that a good plan needs here"
    assert sum(tensor.bytes for tensor in alive) <= plan.bytes
    assert any(tensor.is_red for tensor in plan.tensors) == bool(strides)
    assert (plan.planner == "ExecuTorch's own") == (accounting == "executorch")
    steps = {(step.op, step.layer) for step in profile.timeline} | {("input", "")}
    assert {tensor.made_by for tensor in plan.tensors} <= steps


def test_an_arena_may_need_more_than_is_alive():
    profile = network_tape("densenet121").profile()
    plan = profile.plan()
    check(plan)
    assert profile.peak_bytes < plan.bytes < 1.1 * profile.peak_bytes

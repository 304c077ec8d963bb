"""Which numbers a run trains in where its settings leave that to the machine."""

import shutil
from dataclasses import replace

import pytest
import torch
from helpers.made import small

from redistill.checkpoint import folder as checkpoint
from redistill.common.files import read_json
from redistill.networks.student import StudentConfig
from redistill.training import classification, precision
from redistill.training.config import DistillConfig
from redistill.training.loop import distill
from redistill.training.step import prepare

LONG = precision.WORTH_A_TRIAL


@pytest.fixture
def with_bf16(monkeypatch):
    """A processor that multiplies bf16; returns what sets how long either precision takes in a trial, in seconds."""
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: True)

    def set_seconds(fp32, bf16):
        monkeypatch.setattr(precision, "trial", lambda problem, task: {"fp32": fp32, "bf16": bf16})

    return set_seconds


def chosen(**settings):
    problem, _ = prepare(small(**({"precision": "auto", "steps": LONG} | settings)))
    return precision.choose(problem, classification)


def test_the_faster_precision_is_chosen_where_the_processor_has_bf16(with_bf16):
    with_bf16(fp32=1.0, bf16=0.7)
    assert chosen() == "bf16" and chosen(precision="fp32") == "fp32"
    with_bf16(fp32=1.0, bf16=0.95)  # not worth its rounding
    assert chosen() == "fp32" and chosen(precision="bf16") == "bf16"


def test_without_bf16_in_hardware_or_in_a_short_run_nothing_is_tried(with_bf16, monkeypatch):
    def fail(problem, task):
        raise AssertionError("tried")

    monkeypatch.setattr(precision, "trial", fail)
    assert chosen(steps=LONG - 1) == "fp32"
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: False)
    assert chosen() == "fp32"


def test_a_trial_times_both_and_leaves_the_networks_as_they_were():
    problem, _ = prepare(small(precision="auto"))
    adapters = problem.objective.adapters.append(torch.nn.BatchNorm2d(4))  # losses may bring such

    def adapt(*_):
        adapters[0](torch.randn(2, 4, 3, 3))

    problem.model.register_forward_hook(adapt)
    states = [network.state_dict() for network in (problem.model, adapters)]
    before = [{name: value.clone() for name, value in state.items()} for state in states]
    seconds = precision.trial(problem, classification)
    assert seconds.keys() == {"fp32", "bf16"} and all(value > 0 for value in seconds.values())
    for state, kept in zip(states, before, strict=True):
        assert all(torch.equal(state[name], value) for name, value in kept.items())
    assert all(parameter.grad is None for parameter in problem.model.parameters())
    assert problem.config.precision == "auto"


def test_a_run_goes_on_in_the_numbers_in_which_it_began(with_bf16, monkeypatch, tmp_path):
    monkeypatch.setattr(precision, "WORTH_A_TRIAL", 1)
    config = small(precision="auto")
    with_bf16(fp32=1.0, bf16=0.5)
    assert list(distill(config, tmp_path / "whole"))[-1]["training_precision"] == "bf16"
    run = distill(config, tmp_path / "halves")
    next(run), next(run)
    run.close()
    with_bf16(fp32=0.5, bf16=1.0)  # as on another machine
    assert list(distill(config, tmp_path / "halves"))[-1]["training_precision"] == "bf16"
    whole, halves = (checkpoint.load(tmp_path / name / "student").state_dict() for name in ("whole", "halves"))
    assert all(torch.equal(whole[name], halves[name]) for name in whole)
    # What is chosen computes as when it is asked for.
    list(distill(replace(config, precision="bf16"), tmp_path / "asked"))
    asked = checkpoint.load(tmp_path / "asked" / "student").state_dict()
    assert all(torch.equal(whole[name], asked[name]) for name in whole)


@pytest.mark.parametrize("stored", ["auto", "fp32"])  # the latter by versions of before
def test_a_run_that_was_killed_goes_on_in_the_numbers_in_which_it_began(stored, tmp_path):
    config = small(precision="auto", save_every=2)
    run = distill(config, tmp_path / "run")
    while next(run)["step"] < 3:
        pass
    killed = shutil.copytree(tmp_path / "run", tmp_path / "killed")  # as it is without the end of the run
    run.close()
    point = torch.load(killed / "last.pt")
    assert point["step"] == 2 and point["config"]["precision"] == "auto"
    point["config"]["precision"] = stored
    torch.save(point, killed / "last.pt")
    assert list(distill(config, killed))[-1]["training_precision"] == "fp32"


def test_a_run_of_before_keeps_its_own_numbers_when_a_preset_leaves_them_to_the_machine(with_bf16, tmp_path):
    with_bf16(fp32=1.0, bf16=0.5)
    run = distill(small(), tmp_path)  # fp32, as all runs were
    next(run)
    run.close()
    list(distill(small(precision="auto"), tmp_path))
    assert read_json(tmp_path / "config.json")["precision"] == "fp32"
    assert DistillConfig(StudentConfig("narrow_resnet", 64, 50), dataset="emoji-clutter").precision == "fp32"

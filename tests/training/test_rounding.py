"""Training as in int8: what is rounded and how, a run that does it, and what comes out of it."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from helpers.made import seasoned, small
from helpers.records import read_metrics
from torch import nn

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import read_metadata
from redistill.cli.commands import main
from redistill.data.source import Split
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig
from redistill.training.config import DistillConfig
from redistill.training.int8_training import int8_run
from redistill.training.loop import distill
from redistill.training.resuming import save_student
from redistill.training.rounding import Rounded, round_map, round_network, round_weight, taken_apart
from redistill.training.step import prepare, train_step

STUDENT = StudentConfig("narrow_resnet", 32, 50, {"conv1": 4, "maxpool": 1}, red=REDConfig())
SHORT = {"steps": 3, "batch_size": 16, "train_limit": 48, "validate_every": 2, "save_every": 1}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A student with RED blocks whose batch norms have seen something."""
    model = seasoned(STUDENT)
    with torch.no_grad():
        for block in model.modules():
            if isinstance(block, nn.BatchNorm2d):
                block.weight.uniform_(0.5, 2)
    config = small(student=STUDENT)
    metadata = checkpoint.Metadata(STUDENT, "emoji-clutter", {"step": 6}, config.to_dict())
    return checkpoint.save(model, metadata, tmp_path_factory.mktemp("int8") / "student")


def images(count):
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_maps_have_256_steps_with_zero_among_them():
    x = torch.linspace(-3, 9, 10_000, requires_grad=True)
    rounded = round_map(x, -1.0, 5.0)
    assert len(rounded.unique()) <= 256 and 0 in rounded
    inside = (x > -1) & (x < 5)
    assert (rounded - x)[inside].abs().max() <= 6 / 255 / 2 + 1e-5
    assert rounded.min() > -1.02 and rounded.max() < 5.02
    (gradient,) = torch.autograd.grad(rounded.sum(), x)
    assert set(gradient[inside][5:-5].tolist()) == {1.0} and not gradient[x > 5.1].any()
    assert 0 in round_map(torch.tensor([2.0, 0.0, 3.0]), 1.9, 3.0) and not round_map(torch.zeros(3), 0.0, 0.0).any()


def test_a_batch_norm_behind_a_weight_changes_nothing_of_its_rounding():
    weight, gain = torch.randn(4, 3, 3, 3), torch.tensor([0.1, 3.0, -7.0, 1.0]).reshape(4, 1, 1, 1)
    weight[0] *= 100
    weight[3] = 0
    assert torch.allclose(round_weight(weight * gain), round_weight(weight) * gain, atol=1e-5)
    for channel in round_weight(weight):
        scale = channel.abs().max() / 127
        assert not scale or torch.allclose(channel / scale, (channel / scale).round(), atol=1e-3)


class Adding(nn.Module):
    """Adds in place, and goes on with the map that it overwrote."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

    def forward(self, x):
        y, z = self.first(x), self.second(x)
        y.add_(z)
        y += z
        return y.mean((2, 3))


def test_maps_are_rounded_once_and_stay_overwritten_where_they_were():
    model = Adding()
    rounded = round_network(model, Split(images(20), torch.zeros(20, dtype=torch.long)))
    # x, y and z, y and z once more, which is rounded already, y, and what comes out
    assert len(rounded.ranges) == 6
    x = images(4) / 127.5 - 1
    assert torch.allclose(rounded.eval()(x), model(x), atol=0.1) and not torch.equal(rounded(x), model(x))
    before = rounded.ranges
    rounded.train()(x * 10)
    assert rounded.ranges[0][0] < before[0][0]


class Fickle(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        y = self.first(x).mean((2, 3))
        return y * 2 + y if self.training else y


def test_a_network_with_other_maps_in_training_is_refused():
    with pytest.raises(ValueError, match="5 maps in training and 3 in evaluation"):
        round_network(Fickle(), Split(images(4), torch.zeros(4, dtype=torch.long)))


def test_a_run_begins_with_the_whole_network_and_comes_to_one_that_loads_anywhere(saved, tmp_path):
    config = int8_run(saved, **SHORT)
    problem, state = prepare(config)
    assert isinstance(state.model, Rounded)
    first = state.model.ranges
    begun = checkpoint.load(saved).state_dict()
    assert all(value.equal(begun[name]) for name, value in state.model.model.state_dict().items())
    train_step(problem, state)
    *_, final = distill(config, tmp_path / "whole")
    metadata = read_metadata(tmp_path / "whole" / "student")
    assert {"test_accuracy", "test_int8_accuracy", "validation_int8_accuracy"} <= final.keys()
    assert len(metadata.ranges) == len(first) > 20 and metadata.ranges != first
    assert all(low < high for low, high in metadata.ranges)
    model = checkpoint.load(tmp_path / "whole" / "student")
    assert not model.state_dict()["conv1.layer.weight"].equal(begun["conv1.layer.weight"])
    norms = [name for name in begun if name.endswith(("running_mean", "running_var"))]
    assert all(model.state_dict()[name].equal(begun[name]) for name in norms)
    again = distill(config, tmp_path / "halves")
    while next(again)["kind"] != "validation":
        pass
    again.close()
    kept = read_metadata(save_student(tmp_path / "halves"))
    assert len(kept.ranges) == len(metadata.ranges)
    list(distill(config, tmp_path / "halves"))
    losses = [[r["loss"] for r in read_metrics(tmp_path / run) if r["kind"] == "step"] for run in ("whole", "halves")]
    assert losses[0] == losses[1] and read_metadata(tmp_path / "halves" / "student").ranges == metadata.ranges


def test_a_state_comes_apart_into_network_and_ranges(saved):
    model = checkpoint.load(saved)
    state = Rounded(model, [(-1.0, 2.0), (0.0, 3.0)]).state_dict()
    network, ranges = taken_apart(state)
    assert network.keys() == model.state_dict().keys() and ranges == [(-1.0, 2.0), (0.0, 3.0)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"init": "scratch"}, "set init to teacher"),
        ({"red_weight": 1.0}, "set red_weight to 0.0"),
        ({"feature_loss": "at"}, "set feature_loss to none"),
        ({"precision": "auto"}, "set precision to fp32"),
        ({"quantize": "int4"}, "quantize is 'int4'; expected one of"),
    ],
)
def test_settings_that_do_not_go_with_it(saved, changes, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(int8_run(saved), **changes)


def test_what_is_another_network_and_what_draws_is_refused(saved, capsys):
    config = int8_run(saved, **SHORT)
    with pytest.raises(ValueError, match="its student is set otherwise"):
        prepare(dataclasses.replace(config, student=dataclasses.replace(STUDENT, red=None)))
    assert main(["quantize", "emoji-faces-student"]) == 1
    assert "only classifiers" in capsys.readouterr().err
    assert "quantize" not in small().to_dict() and DistillConfig.from_dict(config.to_dict()) == config


def test_ranges_of_a_card_are_read_or_refused(saved, tmp_path):
    import shutil

    folder = shutil.copytree(saved, tmp_path / "student")
    values = json.loads((folder / "config.json").read_text())
    assert "ranges" not in values
    (folder / "config.json").write_text(json.dumps(values | {"ranges": [[-1, 2.5]]}))
    assert read_metadata(folder).ranges == [(-1, 2.5)]
    for bad in ([[2, 1]], [3], [[1, "2"]], {"a": 1}):
        (folder / "config.json").write_text(json.dumps(values | {"ranges": bad}))
        with pytest.raises(ValueError, match="range"):
            read_metadata(folder)


def test_the_shell_starts_it(saved, tmp_path, capsys):
    asked = [option for name, value in SHORT.items() for option in (f"--{name.replace('_', '-')}", str(value))]
    assert main(["quantize", str(saved), *asked, "--run-dir", str(tmp_path / "run")]) == 0
    assert '"test_int8_accuracy"' in capsys.readouterr().out
    assert read_metadata(tmp_path / "run" / "student").training["quantize"] == "int8"

"""Exports to ExecuTorch: its own runtime gives the network's answers, and what it lacks is refused in one sentence."""

import json
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from helpers.made import SMALL, random_split, seasoned
from torch import nn

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import Metadata
from redistill.cli.commands import main
from redistill.cli.deploying import summary
from redistill.deploy import executorch_export, executorch_file
from redistill.deploy.executorch_export import export_executorch
from redistill.deploy.folded import export_folded
from redistill.deploy.opened import open_network
from redistill.deploy.packages import EXTRAS
from redistill.networks.red import REDBlock

HERE = pytest.mark.skipif(
    find_spec("executorch") is None,
    reason="executorch is not installed; `make test` installs it where it has a wheel.",
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A student with RED blocks whose batch norms have seen something."""
    folder = tmp_path_factory.mktemp("checkpoints") / "small"
    return checkpoint.save(seasoned(), Metadata(SMALL, "emoji-clutter", class_names=("fox", "owl", "bee")), folder)


@pytest.fixture
def pictures(monkeypatch):
    """A test split of random pictures."""
    split = random_split(6)
    monkeypatch.setattr(executorch_export, "pictures_of", lambda opened: split)
    return split


class Norms(nn.Module):
    """Convolutions before batch norms in the ways that they stand there, and norms that cannot be folded."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding="same")
        self.depthwise = nn.Conv2d(4, 4, 3, groups=4, bias=False)
        self.shared = nn.Conv2d(4, 4, 1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(4, affine=i != 1) for i in range(4)])
        self.own = nn.BatchNorm2d(4, track_running_stats=False)
        for norm in self.norms:
            norm.running_mean.normal_(), norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        x = self.norms[1](self.depthwise(self.norms[0](self.conv(x)).relu()))
        x = self.norms[2](self.shared(self.shared(x)))
        y = self.conv.bias.reshape(1, 4, 1, 1) + x
        return self.own(self.norms[3](y) + y)


def test_batch_norms_are_folded_where_they_can_be():
    torch.manual_seed(0)
    model, x = Norms().eval(), torch.randn(1, 3, 9, 9)
    program = export_folded(model, (x,))
    targets = [str(node.target) for node in program.graph.nodes]
    assert sum("batch_norm" in target for target in targets) == 2  # behind a sum, and of the batch's own numbers
    torch.testing.assert_close(program.module(check_guards=False)(x), model(x), rtol=1e-4, atol=1e-5)
    block = REDBlock(4).eval()
    folded = export_folded(block, (torch.zeros(1, 4, 8, 8),))
    assert not any("batch_norm" in str(node.target) for node in folded.graph.nodes)


@HERE
@pytest.mark.process
def test_the_runtime_gives_the_networks_answers(tmp_path, saved, pictures, capsys):
    out = tmp_path / "net.pte"
    export = export_executorch(open_network(saved), out, pixels=True, softmax=True)
    assert out.read_bytes() and export.bytes == out.stat().st_size and [*tmp_path.iterdir()] == [out]
    assert export.largest_difference < 1e-4 and export.compared == export.pictures == 6
    assert export.runtime.startswith("ExecuTorch 1.2") and export.heap_bytes > 0
    assert export.peak_bytes == pytest.approx(export.heap_bytes, rel=1e-3)
    assert "memory that it plans, the input apart: " in "\n".join(summary(replace(export, file=tmp_path / "net")))
    with torch.no_grad():
        expected = open_network(saved).model(pictures.images.float() / 127.5 - 1).argmax(1)
    assert export.test_accuracy == pytest.approx(float((expected == pictures.labels).float().mean()))


@HERE
@pytest.mark.parametrize(
    ("function", "named"),
    [
        (torch.special.bessel_j0, "bessel_j0"),
        (lambda x: torch.fft.fft2(x).real, "fft"),
        (lambda x: x if x.sum() > 0 else -x, "exported"),
    ],
    ids=["special", "fft", "branches on data"],
)
def test_what_executorch_lacks_is_named(function, named, capfd):
    class Odd(nn.Module):
        def forward(self, x):
            return function(x).flatten(1)

    with pytest.raises(ValueError, match=named) as caught:
        executorch_file.to_executorch(Odd(), (torch.zeros(1, 3, 8, 8),))
    assert "\n" not in str(caught.value) and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("missing", EXTRAS["executorch"])
def test_missing_packages_are_named_with_what_brings_them(tmp_path, monkeypatch, saved, missing, capsys):
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["export", str(saved), "--to", "executorch", "--out", str(tmp_path / "net.pte")]) == 1
    told = capsys.readouterr().err
    assert missing in told and "--no-deps executorch" in told and not list(tmp_path.iterdir())
    assert told.count("\n") == 1 and json.dumps(told)


@HERE
def test_another_networks_file_is_not_written(tmp_path, monkeypatch, saved, pictures):
    made = executorch_file.Program(b"made", 1)
    monkeypatch.setattr(executorch_export, "to_executorch", lambda *_: made)
    answers = executorch_export.Answers(np.ones((6, 3), np.float32), 1.0, None, (), "1.2.0")
    monkeypatch.setattr(executorch_export, "run_pte", lambda *_: answers)
    with pytest.raises(ValueError, match="ExecuTorch"):
        export_executorch(open_network(saved), tmp_path / "net.pte")
    assert not list(tmp_path.iterdir())

"""Exports to ONNX: what is written computes the same without torch, and what cannot be is refused in one sentence."""

import ast
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.full_disk import full
from helpers.made import SMALL, random_split, seasoned
from torch import nn

import redistill
from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import Metadata
from redistill.cli.commands import main
from redistill.deploy import onnx_export, onnx_file, packages
from redistill.deploy.onnx_export import export_onnx
from redistill.deploy.opened import open_network
from redistill.deploy.red_forms import accumulated
from redistill.networks.red import REDConfig, red_modules
from redistill.networks.student import build_student

MADE = []
NAMES = ("fox", "owl", "bee")

# A process that has onnxruntime and numpy alone: whatever else it asked for would not be found.
ALONE = """
import json, sys
for name in ("torch", "redistill", "onnx", "onnxscript", "timm", "diffusers"):
    sys.modules[name] = None
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
told = session.get_modelmeta().custom_metadata_map
pictures = np.load(sys.argv[2])
if session.get_inputs()[0].type == "tensor(float)":
    mean, std = (np.array(json.loads(told[name]), np.float32).reshape(-1, 1, 1) for name in ("mean", "std"))
    pictures = (pictures.astype(np.float32) / 255 - mean) / std
np.save(sys.argv[3], np.concatenate([session.run(None, {"images": picture[None]})[0] for picture in pictures]))
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A student with RED blocks whose batch norms have seen something, and a run's folder around it."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    metadata = Metadata(SMALL, "emoji-clutter", {"test_accuracy": 0.5}, class_names=NAMES)
    checkpoint.save(seasoned(), metadata, folder / "student")
    return folder


@pytest.fixture
def pictures(monkeypatch):
    """A test split of random pictures that small networks can be asked of."""
    split = random_split(70)
    monkeypatch.setattr(onnx_export, "pictures_of", lambda opened: split)
    return split


@pytest.fixture
def made(monkeypatch, saved):
    """Exports without the seconds that making the graph takes: of the same network it was made before."""
    if not MADE:
        MADE.append(onnx_file.to_onnx(open_network(saved).model, (torch.zeros(1, 3, 32, 32),), "logits"))
    monkeypatch.setattr(onnx_export, "to_onnx", lambda *_: MADE[0])
    return MADE[0]


@pytest.mark.process
@pytest.mark.parametrize(("pixels", "softmax"), [(False, False), (True, True)])
def test_onnxruntime_and_numpy_alone_give_the_network_s_answers(tmp_path, saved, pictures, pixels, softmax):
    opened = open_network(saved)
    export = export_onnx(opened, tmp_path / "net.onnx", pixels, softmax)
    np.save(tmp_path / "in.npy", pictures.images.numpy())
    command = [sys.executable, "-c", ALONE, "net.onnx", "in.npy", "out.npy"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    with torch.no_grad():
        expected = opened.model(pictures.images.float() / 127.5 - 1)
    expected = expected.softmax(1) if softmax else expected
    found = np.load(tmp_path / "out.npy")
    assert np.abs(found - expected.numpy()).max() < 1e-4 and found.std() > 0
    told = json.loads(done.stdout)
    assert json.loads(told["class_names"]) == list(NAMES) and json.loads(told["image_size"]) == [32, 32]
    assert json.loads(told["mean"]) == json.loads(told["std"]) == [0.5] * 3
    right = float((expected.argmax(1) == pictures.labels).float().mean())
    assert export.test_accuracy == pytest.approx(right) == json.loads(told["test_accuracy"])
    assert export.pictures == 70 and export.compared == 64 and export.largest_difference < 1e-4
    assert json.loads(told.get("peak_bytes", "null")) == export.peak_bytes
    assert (export.peak_bytes is None) == pixels  # there is no rule for what normalises them
    if export.heap_bytes is not None and not pixels:
        assert export.heap_bytes == export.peak_bytes, "the tape counts what the heap holds"


def test_batch_norms_are_folded_but_the_one_that_no_convolution_stands_before(made):
    operators = [node.op_type for node in made.graph.node]
    assert operators.count("BatchNormalization") == 1  # bn1, behind the RED block of conv1
    assert {entry.domain: entry.version for entry in made.opset_import}[""] == 20


class Odd(nn.Module):
    """A network with an operator of one's choice in it."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x).flatten(1)


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (torch.special.bessel_j0, "prims.bessel_j0"),
        (lambda x: torch.linalg.eigvals(x).real, "aten.linalg_eig"),
        (lambda x: x if x.sum() > 0 else -x, "exported"),
    ],
    ids=["special", "linalg", "branches on data"],
)
def test_what_onnx_lacks_is_named(function, named, capfd):
    with pytest.raises(ValueError, match=named) as caught:
        onnx_file.to_onnx(Odd(function), (torch.zeros(1, 3, 8, 8),), "logits")
    assert "\n" not in str(caught.value) and capfd.readouterr() == ("", "")


@pytest.mark.parametrize("missing", packages.EXTRAS["onnx"])
def test_missing_packages_are_named_with_what_brings_them(tmp_path, monkeypatch, saved, missing, capsys):
    monkeypatch.setitem(sys.modules, missing, None)
    assert main(["export", str(saved), "--to", "onnx", "--out", str(tmp_path / "net.onnx")]) == 1
    told = capsys.readouterr().err
    assert missing in told and "redistill-studio[onnx]" in told and not list(tmp_path.iterdir())


def test_the_shell_and_the_library_load_without_what_exports_need():
    """Only the files that run alone import those packages at their top."""
    for file in Path(redistill.__file__).parent.rglob("*.py"):
        if file.name in ("onnx_runner.py", "onnx_sampler.py"):
            continue
        top = ast.parse(file.read_text()).body
        names = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module for node in top if isinstance(node, ast.ImportFrom) and node.module and not node.level}
        assert not {name.partition(".")[0] for name in names} & set(packages.EXTRAS["onnx"]), file
        ours = {node.module for node in top if isinstance(node, ast.ImportFrom) and node.level}
        ours |= {alias.name for node in top if isinstance(node, ast.ImportFrom) and node.level for alias in node.names}
        assert not {"onnx_runner", "onnx_sampler"} & {str(name).rpartition(".")[2] for name in ours}, file


@pytest.mark.process
@pytest.mark.parametrize("most_bytes", [1, 100_000, 300_000])
def test_a_full_disk_leaves_what_was_there(tmp_path, saved, pictures, made, most_bytes, capsys):
    out = tmp_path / "net.onnx"
    out.write_bytes(b"before")
    with full(most_bytes):
        assert main(["export", str(saved), "--to", "onnx", "--out", str(out)]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "cannot be written" in told and "net.onnx" in told
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"] and out.read_bytes() == b"before"


def test_another_network_s_file_is_not_written(tmp_path, monkeypatch, saved, pictures, made):
    opened = open_network(saved)
    monkeypatch.setattr(onnx_export, "run_proto", lambda *_: SimpleNamespace(outputs=np.ones((70, 3), np.float32)))
    with pytest.raises(ValueError, match="differ"):
        export_onnx(opened, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "said"),
    [("nothing-of-this-name", "emoji-clutter-student"), ("begun", "redistill keep"), ("", "checkpoint")],
)
def test_only_checkpoints_and_finished_runs_are_exported(tmp_path, name, said):
    (tmp_path / "begun").mkdir()
    for file in ("config.json", "status.json"):
        (tmp_path / "begun" / file).write_text("{}")
    with pytest.raises(ValueError, match=said):
        open_network(tmp_path / name if name == "begun" else name)


def test_red_blocks_with_a_gate_per_channel_are_sums_that_convolutions_do():
    model = seasoned(dataclasses.replace(SMALL, red=REDConfig(gate_per="channel")))
    paper = build_student(SMALL).eval()
    written, x = accumulated(model), torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(written(x), model(x), rtol=1e-4, atol=1e-5)
    assert not red_modules(written) and len(red_modules(model)) > 1 and accumulated(paper) is paper
    with torch.no_grad():  # gates that look at nothing, and blocks without one
        for block in red_modules(paper).values():
            block.gate[0].weight.zero_()
    without = build_student(dataclasses.replace(SMALL, red=REDConfig(gate=False))).eval()
    for same in (paper, without):
        torch.testing.assert_close(accumulated(same)(x), same(x), rtol=1e-4, atol=1e-5)
        assert not red_modules(accumulated(same))

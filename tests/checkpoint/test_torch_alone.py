"""A classifier's folder opens in a process that has torch and nothing else of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint import graph, standalone
from redistill.checkpoint.metadata import Metadata
from redistill.checkpoint.sources import SHIPPED
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig, build_student

BLOCKED = "redistill torchvision timm safetensors diffusers PIL numpy transformers huggingface_hub datasets"
OPENING = f"""
import sys
for name in {BLOCKED!r}.split():
    sys.modules[name] = None  # importing it fails from here on
for name in ("redistill", "torchvision", "safetensors"):
    try:
        __import__(name)
    except ImportError:
        continue
    sys.exit(f"{{name}} is importable here, so this process proves nothing")
sys.path.insert(0, sys.argv[1])
import torch
import network
model = network.load()
images = torch.linspace(-1, 1, 3 * 3 * 32 * 32).reshape(3, 3, 32, 32)
with torch.no_grad():
    torch.save((model(images), model(images[:1]), network.class_names()), sys.argv[2])
"""
NAMES = [f"class {place}" for place in range(5)]
STRIDES = {"conv1": 4, "maxpool": 1, "layer4.0": 1}
CONFIGS = {
    "with RED blocks": StudentConfig("narrow_resnet", 32, 5, STRIDES, red=REDConfig()),
    "mobilenet": StudentConfig("mobilenet_v3_small", 32, 5, red=None),
}


def trained(config: StudentConfig) -> nn.Module:
    """With statistics that are not those of a fresh network."""
    torch.manual_seed(0)
    model = build_student(config).train()
    for _ in range(2):
        model(torch.randn(4, 3, 32, 32))
    return model.eval()


@pytest.mark.process
@pytest.mark.parametrize("name", list(CONFIGS))
def test_a_process_with_torch_alone_opens_the_folder(tmp_path, name):
    model = trained(CONFIGS[name])
    folder = checkpoint.save(model, Metadata(CONFIGS[name], "folder:pets", class_names=NAMES), tmp_path / "saved")
    command = [sys.executable, "-c", OPENING, str(folder), str(tmp_path / "result.pt")]
    subprocess.run(command, check=True, cwd=tmp_path, timeout=120)
    three, one, names = torch.load(tmp_path / "result.pt", weights_only=True)
    images = torch.linspace(-1, 1, 3 * 3 * 32 * 32).reshape(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(three, model(images), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(one, three[:1], rtol=1e-4, atol=1e-4)
    assert names == NAMES
    assert "network.load()" in (folder / "README.md").read_text()


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_halves_open_as_fp32_and_other_sizes_are_refused(tmp_path, dtype):
    config = CONFIGS["with RED blocks"]
    folder = checkpoint.save(trained(config), Metadata(config, "folder:pets"), tmp_path / "saved", dtype=dtype)
    model, ours = standalone.load(folder), checkpoint.load(folder)
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(images), ours(images), rtol=1e-4, atol=1e-4)
    for wrong in (torch.rand(2, 3, 64, 64), torch.rand(2, 1, 32, 32), torch.rand(3, 32, 32), torch.rand(0, 3, 32, 32)):
        with pytest.raises(ValueError, match=r"expected \(N, 3, 32, 32\)"):
            model(wrong)


def test_opening_a_folder_writes_nothing_into_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    config = CONFIGS["with RED blocks"]
    folder = checkpoint.save(trained(config), Metadata(config, "folder:pets"), tmp_path / "saved")
    before = sorted(folder.rglob("*"))
    standalone.load(folder)
    assert sorted(folder.rglob("*")) == before and "__pycache__" not in {path.name for path in before}


@pytest.mark.parametrize("damage", ["cut", "other", "no file"])
def test_damaged_weights_are_named(tmp_path, damage):
    config = CONFIGS["with RED blocks"]
    folder = checkpoint.save(trained(config), Metadata(config, "folder:pets"), tmp_path / "saved")
    file = folder / "model.safetensors"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:1000])
    elif damage == "other":
        mobile = CONFIGS["mobilenet"]
        other = checkpoint.save(trained(mobile), Metadata(mobile, "folder:pets"), tmp_path / "other")
        file.write_bytes((other / "model.safetensors").read_bytes())
    else:
        file.unlink()
    with pytest.raises((ValueError, FileNotFoundError), match=r"safetensors|holds"):
        standalone.load(folder)


class Branching(nn.Module):
    """A network that no recording can hold, since what it computes depends on its input."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 1)

    def forward(self, images):
        maps = self.conv(images)
        return maps.mean((2, 3)) if maps.sum() > 0 else maps.amax((2, 3))


def test_what_cannot_be_recorded_is_saved_without(tmp_path):
    assert not graph.write_graph(Branching(), tmp_path, (3, 8, 8), "branching")
    assert list(tmp_path.iterdir()) == []


def test_constants_that_are_no_weights_are_kept(tmp_path):
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 5)
            self.register_buffer("shift", torch.arange(3.0), persistent=False)

        def forward(self, images):
            return self.fc(images.mean((2, 3)) + self.shift)

    model = Shifted()
    graph.safetensors.torch.save_file(model.state_dict(), tmp_path / "model.safetensors")
    assert graph.write_graph(model, tmp_path, (3, 8, 8), "shifted")
    images = torch.rand(2, 3, 8, 8)
    assert torch.allclose(standalone.load(tmp_path)(images), model(images), atol=1e-6)


def test_classifiers_that_ship_open_alone():
    for folder in sorted(SHIPPED.glob("emoji-*")):
        if (folder / "model.safetensors").is_file():
            model, ours = standalone.load(folder), checkpoint.load(folder)
            images = torch.rand(2, *model.graph.SIZE) * 2 - 1
            with torch.no_grad():
                torch.testing.assert_close(model(images), ours(images), rtol=1e-3, atol=1e-3)
            assert (folder / "network.py").read_text() == Path(standalone.__file__).read_text()

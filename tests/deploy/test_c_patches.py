"""Programs in C whose first steps run patch by patch: the same numbers, in the memory that is counted for patches."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
import torch
from helpers.patchable import random_network
from torch import nn
from torch.nn import functional as F

from redistill.deploy import c_compiler
from redistill.deploy.c_arena import ALIGNMENT, placed
from redistill.deploy.c_source import source_of
from redistill.deploy.int8_patches import in_patches
from redistill.deploy.int8_steps import read_steps
from redistill.deploy.onnx_file import to_onnx
from redistill.deploy.onnx_int8 import calibrated
from redistill.memory import capture
from redistill.memory.patch_flow import map_flow
from redistill.memory.patching import count_patched

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(c_compiler.find_compiler() is None, reason="no C compiler is here; `make test` installs gcc."),
]
TAKEN = np.arange(256, dtype=np.float32) / np.float32(127.5) - 1
CHECKED = ("-DWITH_MAIN", "-no-pie", "-fsanitize=address,undefined", "-fno-sanitize-recover")


class Joined(nn.Module):
    """A stage whose maps are read at several places: with halos and without, in place and not, beside one another."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 5, (2, 1), 2)
        self.one, self.other = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, (1, 5), padding=(0, 2), groups=8)
        self.norm = nn.BatchNorm2d(16)
        self.upto = nn.MaxPool2d(3, 2, 1)
        self.last = nn.Conv2d(16, 6, 3)
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        x = F.relu(self.stem(x))
        y = torch.sigmoid(self.other(x)) * x + F.relu6(self.one(x))  # the latter looks further than the former
        y = self.upto(self.norm(torch.cat([F.avg_pool2d(y, 3, 1, 1), x], 1)))
        return self.head(self.last(y).mean((2, 3)))


def programs(model, shape, pictures):
    """The integer program of a network, and its stage up to a layer as it is counted."""
    proto = calibrated(to_onnx(model, (torch.zeros(shape),), "logits"), (pictures / 127.5 - 1).astype(np.float32))
    return read_steps(proto, TAKEN), capture(model, shape)


def ran(network, pictures, folder):
    """What a program prints, compiled so that it ends where it goes astray, and where its maps lie."""
    places = placed(network)
    program = c_compiler.compiled(source_of(network, places, "net", [], []), folder / "network", CHECKED)
    given = np.ascontiguousarray(pictures.transpose(0, 2, 3, 1)).tobytes()
    done = subprocess.run([str(program)], input=given, capture_output=True, check=True)
    return [line.split(" ")[:5] for line in done.stdout.decode().splitlines()], places


def assert_same(model, shape, upto, grids, folder):
    """In patches the numbers are the same, and no more is alive than is counted, nor more computed."""
    pictures = np.random.default_rng(0).integers(0, 256, (4, *shape[1:]), dtype=np.uint8)
    plain, tape = programs(model, shape, pictures)
    stage = map_flow(tape.blueprint, tape.setting()).stage(upto)[1]
    expected, whole = ran(plain, pictures, folder)
    assert len(expected) == 4 and len({tuple(line) for line in expected}) > 1
    for grid in grids:
        network = in_patches(plain, stage, upto, grid)
        numbers, places = ran(network, pictures, folder)
        counted = count_patched(tape, upto, grid, dtype="int8")
        assert numbers == expected, grid
        assert places.live_bytes <= counted.peak_bytes, grid
        assert places.bytes < 1.1 * counted.peak_bytes + 4 * ALIGNMENT, grid
        assert network.macs / plain.macs == pytest.approx(counted.macs / counted.plain_macs, rel=1e-3)
    return whole, places


def test_maps_that_are_read_at_several_places(tmp_path):
    torch.manual_seed(0)
    model = Joined().eval()
    model.norm.running_mean.normal_(), model.norm.running_var.uniform_(0.5, 2)
    whole, places = assert_same(model, (1, 3, 41, 23), "upto", (1, 2, 3, 5), tmp_path)
    assert places.bytes < 0.7 * whole.bytes


@pytest.mark.parametrize("seed", [4, 13, 15, 29])
def test_random_networks(seed, tmp_path):
    model, x, upto, grid = random_network(seed, rough=seed % 2 == 0)
    assert_same(model, (1, *x.shape[1:]), upto, (grid,), tmp_path)


def test_the_arena_is_the_counted_one(tmp_path):
    """To the byte, where the image is held to the end: 16 x 16 x 8 are the map, and a patch has 8 x 8 x 8."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, 2, 1), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Linear(8 * 8 * 8, 5)).eval()
    _, places = assert_same(model, (1, 3, 32, 32), "2", (2,), tmp_path)
    assert places.bytes == 3 * 32**2 + 8 * 16**2 + 16 * 16 * 8 + 8 * 8 * 8


def test_what_patches_cannot_do_in_c_is_a_sentence():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(8 * 12 * 12, 5)).eval()
    plain, tape = programs(model, (1, 3, 16, 16), np.zeros((2, 3, 16, 16), np.uint8))
    stage = map_flow(tape.blueprint, tape.setting()).stage("0")[1]
    with pytest.raises(ValueError, match="The map of '0' is 14×14; expected at most 14 patches a side, not 15"):
        in_patches(plain, stage, "0", 15)
    other = capture(nn.Conv2d(3, 7, 3), (1, 3, 16, 16))
    with pytest.raises(ValueError, match="no map that layer 'conv' leaves alone"):
        in_patches(plain, map_flow(other.blueprint, other.setting()).stage("")[1], "conv", 2)

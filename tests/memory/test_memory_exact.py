"""Computed memory equals real memory, to the byte: the CPU allocator's, and a real run that frees after last use."""

from __future__ import annotations

import random
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from benchmarks.helpers.fused_run import run_fused
from benchmarks.helpers.networks import allocate, build, example, random_strides, student
from redistill.memory import ShapeRuleError, capture, measure_peak
from redistill.networks.pooling_points import find_pooling_points
from redistill.networks.red import REDConfig
from redistill.networks.strides import set_strides

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
RED = REDConfig(gate_kernel=3)
SETTINGS = [(1, "fp32", RED), (8, "bf16", None), (8, "fp32", None), (1, "bf16", RED)]
NETWORKS = [
    "resnet18",
    "resnext50_32x4d",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "squeezenet1_1",
    "shufflenet_v2_x1_0",
    "regnet_y_400mf",
    "googlenet",
    "densenet121",
]
LARGE = ("regnet_y_400mf", "googlenet", "densenet121")  # one setting instead of two
CASES = [(name, *SETTINGS[(i + j) % 4]) for i, name in enumerate(NETWORKS) for j in ((0,) if name in LARGE else (0, 1))]


@pytest.fixture(scope="module")
def tapes():
    made = {}
    return lambda name: made.setdefault(name, capture(build(name), (1, 3, 48, 48)))


@pytest.mark.parametrize(("name", "batch", "dtype", "red"), CASES)
def test_both_accountings_equal_real_runs_at_random_strides(tapes, name, batch, dtype, red):
    tape = tapes(name)
    chosen = random.Random(f"{name} {batch}")
    while True:
        strides = random_strides(tape, chosen)
        try:
            model = allocate(student(name, strides, 48, red), DTYPES[dtype])
            break
        except ValueError:  # more than the image has
            with pytest.raises(ValueError):
                tape.profile(strides)
    images = example(name, 48, batch, DTYPES[dtype])
    changes = {"strides": strides, "batch": batch, "dtype": dtype, "red": red}
    assert tape.profile(**changes, accounting="eager").peak_bytes == measure_peak(model, images), strides
    assert tape.profile(**changes).peak_bytes == run_fused(model, *images)[0], strides


def test_a_number_wrapped_for_one_operator_is_no_activation():
    class Scaled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return (x * 1.5).mul_(0.5) / 3

    images = torch.zeros(1, 3, 16, 16)
    assert measure_peak(Scaled(), images) == 3 * images.nbytes
    assert capture(Scaled(), images).profile(accounting="eager").peak_bytes == 3 * images.nbytes


@pytest.mark.parametrize("how", ["compiled", "scripted", "traced"])
def test_what_runs_operators_is_none_and_their_maps_count(how):
    images = torch.zeros(1, 3, 32, 32)
    plain = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        run = {
            "compiled": lambda: torch.compile(plain, backend="eager"),
            "scripted": lambda: torch.jit.script(plain),
            "traced": lambda: torch.jit.trace(plain, images),
        }[how]()
        run(images)
        measured = measure_peak(run, images)
    assert measured == measure_peak(plain, images) == capture(plain, images).profile(accounting="eager").peak_bytes


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_the_run_that_frees_after_last_use_computes_the_network(name):
    torch.manual_seed(0)
    model = allocate(build(name))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    images = torch.randn(2, 3, 48, 48)
    _, output = run_fused(model, images)
    with torch.no_grad():
        expected = model(images)
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


class Mixed(nn.Module):
    """A small CNN put together from `plan`, a list of kinds of blocks, on maps of a few channels."""

    def __init__(self, plan: list[str]) -> None:
        super().__init__()
        self.plan = plan
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.blocks = nn.ModuleList()
        channels = 4
        for kind in plan:
            halves = channels // 2 if kind == "split" else channels
            parts = {"conv": nn.Conv2d(halves, halves, 3, 1, 1), "norm": nn.BatchNorm2d(channels)}
            parts |= {"act": nn.ReLU(inplace=kind != "bare"), "down": nn.Conv2d(channels, channels, 3, 2, 1)}
            parts |= {"pool": nn.MaxPool2d(3, 2, 1), "gate": nn.Conv2d(channels, channels, 1)}
            self.blocks.append(nn.ModuleDict(parts))
            channels *= 2 if kind == "concat" else 1
        self.head = nn.Linear(channels, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for kind, block in zip(self.plan, self.blocks, strict=True):
            x = getattr(self, kind)(block, x)
        return self.head(x.mean((2, 3)))

    def plain(self, block: nn.ModuleDict, x: Tensor) -> Tensor:
        return block["act"](block["norm"](block["conv"](x)))

    def bare(self, block: nn.ModuleDict, x: Tensor) -> Tensor:
        return block["act"](block["conv"](x))

    def norm_first(self, block: nn.ModuleDict, x: Tensor) -> Tensor:
        return block["conv"](block["act"](block["norm"](x)))

    def residual(self, block: nn.ModuleDict, x: Tensor) -> Tensor:
        y = block["norm"](block["conv"](x))
        y += x
        return block["act"](y)

    def twice(self, block: nn.ModuleDict, x: Tensor) -> Tensor:
        y = block["conv"](x)
        return block["norm"](y) + torch.sigmoid(y) * x

    def concat(self, block: nn.ModuleDict, x: Tensor) -> Tensor:
        return torch.cat([x, block["conv"](x)], 1)

    def gated(self, block: nn.ModuleDict, x: Tensor) -> Tensor:
        return x * torch.sigmoid(block["gate"](x.mean((2, 3), keepdim=True)))

    def split(self, block: nn.ModuleDict, x: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=1)
        return torch.cat([a, block["conv"](b)], 1)

    def strided(self, block: nn.ModuleDict, x: Tensor) -> Tensor:
        return block["down"](x)

    def pooled(self, block: nn.ModuleDict, x: Tensor) -> Tensor:
        return block["pool"](x)

    def both(self, block: nn.ModuleDict, x: Tensor) -> Tensor:
        return block["down"](x) + block["pool"](x)


KINDS = ["plain", "bare", "norm_first", "residual", "twice", "concat", "gated", "split", "strided", "pooled", "both"]


@st.composite
def plans(draw) -> list[str]:
    """Kinds of blocks, of which at most three halve the map and three double its channels."""
    plan = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=8))
    halving = [i for i, kind in enumerate(plan) if kind in ("strided", "pooled", "both")]
    doubling = [i for i, kind in enumerate(plan) if kind == "concat"]
    return [kind for i, kind in enumerate(plan) if i not in (*halving[3:], *doubling[3:])]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(plan=plans(), batch=st.sampled_from((1, 3)), data=st.data())
def test_random_networks(plan, batch, data):
    network, size = Mixed(plan).eval(), data.draw(st.sampled_from((24, 32)), "size")
    tape = capture(network, (1, 3, 32, 32))
    strides = {point.name: data.draw(st.sampled_from((1, 2, 4)), point.name) for point in tape.points}
    changes = {"strides": strides, "image_size": size, "batch": batch}
    try:
        changed = set_strides(Mixed(plan).eval(), strides, size)
    except ValueError:
        with pytest.raises(ValueError):
            tape.profile(**changes)
        return
    images = torch.randn(batch, 3, size, size)
    try:
        eager, fused = tape.profile(**changes, accounting="eager"), tape.profile(**changes)
    except ShapeRuleError:  # the tape may say that it does not know, and a fresh one must
        tape = capture(changed, images)
        eager, fused = tape.profile(accounting="eager"), tape.profile()
    fresh = capture(changed, images)
    assert eager.peak_bytes == measure_peak(changed, images)
    real, output = run_fused(changed, images)
    assert fused.peak_bytes == real
    with torch.no_grad():
        torch.testing.assert_close(output, changed(images), rtol=1e-3, atol=1e-4)
    for profile, other in ((eager, fresh.profile(accounting="eager")), (fused, fresh.profile())):
        assert profile == other
        assert [op.live_bytes for op in profile.timeline] == [op.live_bytes for op in other.timeline]
    assert fused.peak_bytes <= eager.peak_bytes


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "googlenet"])
def test_the_peak_holds_every_convolution_and_pool_with_what_it_reads_and_makes(tapes, name):
    tape, chosen = tapes(name), random.Random(name)
    own = {point.name: point.stride for point in tape.points}
    for strides in ({}, {point: min(stride, chosen.choice((1, 2))) for point, stride in own.items()}):
        model = student(name, strides, 48)
        largest = 0

        def watch(module: nn.Module, args: tuple, output: Tensor) -> None:
            nonlocal largest
            largest = max(largest, args[0].nbytes + output.nbytes)

        for module in model.modules():
            if isinstance(module, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
                module.register_forward_hook(watch)
        with torch.no_grad():
            model.eval()(torch.empty(1, 3, 48, 48, device="meta"))
        fused = tape.profile(strides)
        assert largest <= fused.peak_bytes <= tape.profile(strides, accounting="eager").peak_bytes
        assert fused.peak_bytes < 2 * largest


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "googlenet"])
def test_the_networks_own_strides_give_the_network(tapes, name):
    tape = tapes(name)
    own = {point.name: point.stride for point in find_pooling_points(build(name), 48)}
    for accounting in ("fused", "eager"):
        assert tape.profile(own, accounting=accounting) == tape.profile(accounting=accounting)
        assert tape.profile(own, red=RED, accounting=accounting).red_peak_bytes > 0


def test_threads_that_measure_at_once_do_not_disturb_each_other():
    network, images = nn.Sequential(*(nn.Conv2d(4, 4, 3, padding=1) for _ in range(9))), torch.zeros(2, 4, 24, 24)
    with ThreadPoolExecutor(3) as threads:
        peaks = list(threads.map(lambda _: measure_peak(network, images), range(30)))
    assert peaks == [3 * images.nbytes] * 30

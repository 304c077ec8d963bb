"""Networks computed patch by patch need what is counted: the allocator says so, and a run that frees after last use."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import product
from math import prod

import pytest
import torch
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.helpers.networks import allocate, build, example, student
from redistill.memory import capture, measure_peak
from redistill.memory.comparison import student_on_tape
from redistill.memory.patch_search import search_patches
from redistill.memory.patching import GRIDS, cheapest_patching, count_patched, every_patching, least_memory
from redistill.memory.search import search_strides
from redistill.networks.patchwise import StandIn, patched
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig, build_student
from tests.helpers.patchable import random_network


class Multiplied(TorchDispatchMode):
    """Counts the multiply-accumulates of convolutions and linear layers that run on real tensors."""

    count = 0

    def __torch_dispatch__(self, func, kinds, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if not isinstance(args[0], (StandIn, list)) and not made_of_nothing(made):
            if func is torch.ops.aten.convolution.default:
                self.count += made.numel() * args[1][0].numel()
            elif func is torch.ops.aten.addmm.default:
                self.count += made.numel() * args[1].shape[1]
        return made


def made_of_nothing(made: object) -> bool:
    return isinstance(made, Tensor) and made.is_meta


def macs_of(model: nn.Module, x: Tensor) -> int:
    with torch.no_grad(), Multiplied() as counted:
        model(x)
    return counted.count


@pytest.mark.parametrize("start", range(0, 90, 30))
def test_random_networks_allocate_what_is_counted(start):
    for seed in range(start, start + 30):
        model, x, upto, grid = random_network(seed)
        found = count_patched(capture(model, x), upto, grid, accounting="eager")
        told = f"seed {seed}, {grid} patches of {tuple(x.shape)}: {model.parts}"
        assert found.peak_bytes == measure_peak(patched(model, upto, grid), x), told
        assert found.plain_bytes == measure_peak(model, x), told
        if seed % 5 == 0:
            assert found.macs == macs_of(patched(model, upto, grid), x), told


SETTINGS = [
    ("resnet18", None, "layer1", 3),
    ("resnet18", REDConfig(gate_kernel=3), "layer2.0", 2),
    ("mobilenet_v2", REDConfig(points="outputs"), "features.4", 3),
    ("densenet121", None, "features.transition1", 2),
]


@pytest.mark.parametrize(("name", "red", "upto", "grid"), SETTINGS)
def test_students_allocate_what_the_teachers_tape_counts(name, red, upto, grid):
    tape = capture(build(name), (1, 3, 64, 64))
    points = [point for point in tape.points if point.direction == "down"]
    strides = {points[0].name: 4, points[1].name: 1}
    model = allocate(student(name, strides, (72, 90), red))
    images = torch.zeros(2, 3, 72, 90)
    changes = {"strides": strides, "image_size": (72, 90), "batch": 2, "red": red}
    found = count_patched(tape, upto, grid, **changes, accounting="eager")
    assert found.peak_bytes == measure_peak(patched(model, upto, grid), images)
    assert found.macs == macs_of(patched(model, upto, grid), images)
    anew = capture(model, images)
    for accounting in ("eager", "fused"):
        told = count_patched(tape, upto, grid, **changes, accounting=accounting)
        assert told == count_patched(anew, upto, grid, accounting=accounting)


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_number_formats_count_in_their_bytes(dtype):
    model = allocate(build("mobilenet_v2"), {"bf16": torch.bfloat16, "fp32": torch.float32}[dtype])
    (images,) = example("mobilenet_v2", 64, 1, next(model.parameters()).dtype)
    tape = capture(build("mobilenet_v2"), (1, 3, 64, 64))
    found = count_patched(tape, "features.3", 2, dtype=dtype, accounting="eager")
    assert found.peak_bytes == measure_peak(patched(model, "features.3", 2), images)
    assert (
        count_patched(tape, "features.3", 2, dtype="int8").peak_bytes * 4
        == count_patched(tape, "features.3", 2).peak_bytes
    )


class Reached(fx.Interpreter):
    """Runs a network of positive weights and keeps every map, so that gradients say what a place of one needs."""

    def run_node(self, node: fx.Node):
        result = super().run_node(node)
        for part in result if isinstance(result, tuple) else (result,):
            if isinstance(part, Tensor) and part.requires_grad:
                part.retain_grad()
        self.kept[node] = result
        return result


def smooth(module: nn.Module) -> nn.Module:
    """A copy in which every place of a window counts, whatever the numbers."""
    module = copy.deepcopy(module).double()
    for path, inner in module.named_modules():
        if isinstance(inner, (nn.ReLU, nn.Hardswish, nn.PReLU)):
            module.set_submodule(path, nn.Softplus())
        if hasattr(inner, "in_place"):
            inner.in_place = False
    for tensor in filter(torch.is_floating_point, module.state_dict().values()):
        tensor.abs_().add_(0.1)
    return module


def parts_needed(parts: nn.Module, image: Tensor, tile: Sequence[slice]) -> list[tuple[int, ...]]:
    """Shape of what a tile of the result needs of each map, in the order in which these are made."""
    traced = fx.symbolic_trace(smooth(parts))
    runner = Reached(traced)
    runner.kept = {}
    result = runner.run(image.double().abs().requires_grad_())
    result[:, :, tile[0], tile[1]].sum().backward()
    shapes = {}
    for node, made in runner.kept.items():
        whole = made if isinstance(made, Tensor) else made[0]
        grads = [part.grad for part in (made if isinstance(made, tuple) else (made,)) if part.grad is not None]
        places = torch.stack(grads).abs().sum((0, 1, 2)).nonzero() if grads else torch.zeros(0, 2)
        sides = (places.amax(0) - places.amin(0) + 1).tolist() if len(places) else [0, 0]
        shapes[node] = (*whole.shape[:2], *sides)
    return traced, shapes


ELEMENTWISE = (nn.BatchNorm2d, nn.ReLU, nn.Hardswish, nn.PReLU, nn.Softplus)


def held_by_runtime(traced: fx.GraphModule, shapes: dict) -> int:
    """Most numbers alive for a patch: let go of after last use, written in place where an operand of its shape dies."""
    modules = dict(traced.named_modules())
    nodes = [node for node in traced.graph.nodes if node.op not in ("placeholder", "output", "get_attr")]
    image = next(node for node in traced.graph.nodes if node.op == "placeholder")
    root = {image: image}
    last: dict = {}
    for place, node in enumerate(nodes):
        for source in node.all_input_nodes:
            last[source] = place
    last[next(iter(traced.graph.find_nodes(op="output"))).all_input_nodes[0]] = len(nodes)
    views = ("chunk", "getitem", "Identity")
    alive: dict = {}
    most = 0
    for place, node in enumerate(nodes):
        kind = (
            type(modules[node.target]).__name__
            if node.op == "call_module"
            else getattr(node.target, "__name__", node.target)
        )
        sources = [source for source in node.all_input_nodes if source.op != "get_attr"]
        needed = {root[n] for n in root if last.get(n, -1) > place}
        if kind in views:
            root[node] = root[sources[0]]
        else:
            in_place = kind in ("add", "iadd", "mul", "sigmoid") or isinstance(modules.get(node.target), ELEMENTWISE)
            dying = [s for s in sources if root[s] not in needed | {image} and shapes[s] == shapes[node]]
            dying = [s for s in dying if alive[root[s]] == prod(shapes[node])]
            root[node] = root[dying[0]] if in_place and dying else node
            alive.setdefault(root[node], prod(shapes[node]))
        most = max(most, sum(alive.values()))
        needed = {root[n] for n in root if last.get(n, -1) > place}
        alive = {node: numbers for node, numbers in alive.items() if node in needed}
    return most


def test_random_networks_need_in_a_runtime_what_places_depend_on():
    for seed in range(30):
        model, x, upto, grid = random_network(seed, rough=False)
        found = count_patched(capture(model, x), upto, grid)
        with torch.no_grad():
            whole = model.parts(x)
        cuts = [[slice(i * side // grid, (i + 1) * side // grid) for i in range(grid)] for side in whole.shape[2:]]
        patches = [held_by_runtime(*parts_needed(model.parts, x, tile)) for tile in product(*cuts)]
        assert found.stage_bytes == 4 * (x.numel() + whole.numel() + max(patches)), (
            f"seed {seed}: {model.parts}, {grid}"
        )


@pytest.fixture(scope="module")
def resnet():
    return capture(build("resnet18"), (1, 3, 64, 64))


def test_every_split_is_offered_once_with_each_grid_that_fits(resnet):
    found = every_patching(resnet)
    uptos = ["relu", "maxpool", "layer1.0", "layer1", "layer2.0", "layer2", "layer3.0", "layer3", "layer4.0", "layer4"]
    assert [choice.upto for choice in found if choice.grid == 2] == uptos
    assert len({(choice.upto, choice.grid) for choice in found}) == len(found)
    for choice in found[::5]:
        assert choice == count_patched(resnet, choice.upto, choice.grid)
    assert {choice.grid for choice in found if choice.upto == "layer1"} == set(GRIDS)
    assert {choice.grid for choice in found if choice.upto == "layer4"} == {2}


def test_the_front_falls_in_memory_and_rises_in_computation(resnet):
    found = every_patching(resnet)
    front = least_memory(found)
    peaks, macs = [choice.peak_bytes for choice in front], [choice.macs for choice in front]
    assert peaks == sorted(set(peaks), reverse=True) and macs == sorted(set(macs))
    assert peaks[0] < front[0].plain_bytes and peaks[-1] == min(choice.peak_bytes for choice in found)
    for choice in found:
        assert any(best.peak_bytes <= choice.peak_bytes and best.macs <= choice.macs for best in front) or (
            choice.peak_bytes >= choice.plain_bytes
        )


REFUSED = {
    "layer9": "no layer",
    "layer1.0.relu": "more than once",
    "layer1.0.conv1": "before it too",
    "avgpool": "'mean'",
    "fc": "'mean'",
    3: "no layer",
}


@pytest.mark.parametrize("upto", REFUSED)
def test_layers_that_patches_cannot_end_with_are_refused(resnet, upto):
    with pytest.raises(ValueError, match=REFUSED[upto]) as refused:
        count_patched(resnet, upto, 2)
    assert str(upto) in str(refused.value)


@pytest.mark.parametrize(("grid", "told"), [(0, "whole number"), (True, "whole number"), (9, "at most 8")])
def test_a_grid_that_does_not_fit_is_refused(resnet, grid, told):
    with pytest.raises(ValueError, match=told):
        count_patched(resnet, "layer2", grid)


@pytest.mark.parametrize(
    "settings", [{"accounting": "planned"}, {"dtype": "fp8"}, {"batch": 0}, {"strides": {"no": 2}}]
)
def test_settings_are_checked_as_a_profiles_are(resnet, settings):
    with pytest.raises(ValueError):
        count_patched(resnet, "layer1", 2, **settings)


ENDS = {  # the last layer that patches can go to, and the first one that they cannot
    "mobilenet_v3_small": ("features.1.block.0", "features.1.block.1.avgpool"),
    "shufflenet_v2_x1_0": ("maxpool", "stage2.0"),
    "convnext_tiny": ("features.0.0", "features.0.1"),
    "vit_b_16": ("conv_proj", "the network itself"),
}


@pytest.mark.parametrize("name", ENDS)
def test_what_cannot_be_patched_ends_what_is_offered(name):
    tape = capture(build(name), (1, 3, 224, 224))
    last, odd = ENDS[name]
    assert every_patching(tape, (2,))[-1].upto == last
    final = next(reversed(tape.recording.modules))
    with pytest.raises(ValueError, match=odd):
        count_patched(tape, final, 2)


def test_a_network_that_takes_more_than_an_image_is_refused():
    tape = capture(build("ddpm-cifar10-32"), (1, 3, 32, 32))
    assert every_patching(tape) == []
    with pytest.raises(ValueError, match="down_blocks"):
        count_patched(tape, "down_blocks.0", 2)


def test_the_cheapest_patching_is_the_cheapest_of_all(resnet):
    for budget in (150_000, 200_000, 250_000, 1):
        fitting = [choice for choice in every_patching(resnet) if choice.peak_bytes <= budget]
        found = cheapest_patching(resnet, budget)
        assert (found is None) == (not fitting)
        if found:
            assert max(0, found.overhead) == min(max(0, choice.overhead) for choice in fitting)
            assert cheapest_patching(resnet, budget, found.overhead) is None


@pytest.mark.parametrize(
    ("red", "rule"), [(None, "asynchronous"), (REDConfig(), "asynchronous"), (REDConfig(), "stage-wise")]
)
def test_a_search_with_patches_finds_what_keeps_most(red, rule):
    tape, settings = capture(build("resnet18"), (1, 3, 64, 64)), {"image_size": 64, "red": red, "alignment": rule}
    found = search_strides(tape, **settings, strides=(1, 2, 4))
    budget = found.teacher.peak_bytes // 2
    rows = search_patches(tape, found, budget, **settings, most_overhead=0.3)
    assert rows and all(row.patched for row in rows[1:])
    kept, added = [row.candidate.bare_macs for row in rows], [max(0, row.overhead) for row in rows]
    assert kept == sorted(kept) and added == sorted(added) and added[-1] <= 0.3
    assert all(row.peak_bytes <= budget for row in rows)
    for row in (row for row in rows if row.patched):
        counted = settings | {"strides": row.candidate.strides, "red": None if row.candidate == found.teacher else red}
        assert row.patched == count_patched(tape, row.patched.upto, row.patched.grid, **counted)
    best = max(kept)
    for candidate in found.candidates:  # nothing keeps more, for as little
        if best < candidate.bare_macs <= found.teacher.macs and candidate.strides != found.teacher.strides:
            assert cheapest_patching(tape, budget, 0.3, strides=candidate.strides, **settings) is None


@pytest.mark.parametrize("most", [-0.1, float("nan"), "0.5", True])
def test_a_share_of_computation_that_is_none_is_refused(most):
    tape = capture(build("resnet18"), (1, 3, 64, 64))
    found = search_strides(tape, 64, red=None, strides=(2,))
    with pytest.raises(ValueError, match="share of at least 0"):
        search_patches(tape, found, 1000, 64, most_overhead=most)


def test_students_that_their_tape_cannot_tell_are_counted_on_one_of_their_own():
    config = StudentConfig("torchvision:swin_t", 224, strides={"features.0.0": 8}, red=REDConfig(points="outputs"))
    tape, settings = student_on_tape(config)
    assert not settings and every_patching(tape)[-1].upto == "features.0.0"
    config = StudentConfig("resnet18", 64, strides={"conv1": 4, "maxpool": 1})
    tape, settings = student_on_tape(config, batch=2)
    expected = capture(build_student(config), (2, 3, 64, 64))
    assert every_patching(tape, (2,), **settings) == every_patching(expected, (2,))

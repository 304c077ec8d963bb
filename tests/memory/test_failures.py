"""What a capture takes, whatever stands around it, and the one sentence for what it cannot take."""

from __future__ import annotations

import threading
from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache

import pytest
import torch
import torchvision
from torch import Tensor, nn

from redistill.common.modules import weightless
from redistill.memory import capture, measure_peak
from redistill.networks.pooling_points import find_pooling_points

X = torch.zeros(1, 3, 16, 16)
NET = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, 2)).eval()
MEAN = torch.ones(3, 1, 1)  # a constant that no module holds


def eager(model: nn.Module, *inputs: object) -> int:
    return capture(model, *inputs).profile(accounting="eager").peak_bytes


class Runs(nn.Module):
    """A network whose forward is a function of the module and what it is given."""

    def __init__(self, function: Callable, **held: object) -> None:
        super().__init__()
        self.function = function
        self.conv = nn.Conv2d(3, 4, 3)
        for name, value in held.items():
            setattr(self, name, value)

    def forward(self, *args: object, **kwargs: object) -> object:
        return self.function(self, *args, **kwargs)


class Named(nn.Module):
    """Two tensors by name."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return left + right.mean((2, 3), keepdim=True)


def stretched(self: nn.Module, x: Tensor) -> Tensor:
    """Most is alive in a stretch with a name, of two maps that are gone after it."""
    with torch.profiler.record_function("stretch"):
        maps = [self.conv(x), self.conv(x)]
        maps = maps[0] + maps[1]
    return maps[:, :, ::4]


def test_operators_under_a_name_are_measured_one_by_one():
    for network in (Runs(stretched).eval(), nn.DataParallel(NET)):
        assert eager(network, X) == measure_peak(network, X)


class Given(nn.Module):
    """Two tensors in one dict."""

    def forward(self, given: dict[str, Tensor]) -> Tensor:
        return given["a"] + given["b"]


MAPS = [torch.zeros(1, 3, 8, 8) for _ in range(3)]
FED = {
    "a list": (Runs(lambda self, x, maps: x + sum(m.mean() for m in maps)), (X, MAPS)),
    "lists in lists": (Runs(lambda self, x, deep: x * deep[0][1].mean()), (X, [[MAPS[0], MAPS[1]], MAPS[2]])),
    "a dict": (Given(), {"a": X, "b": X.clone()}),
    "by name": (Named(), {"left": X, "right": MAPS[0]}),
    "the same tensor twice": (Named(), (X, X)),
    "a tuple of a dict": (Runs(lambda self, given: given["a"] * 2), ({"a": X, "b": MAPS},)),
}


@pytest.mark.parametrize("how", FED)
def test_every_input_counts_wherever_it_stands(how):
    model, inputs = FED[how]
    assert eager(model, inputs) == measure_peak(model, inputs)


def test_keywords_beside_inputs():
    expected = measure_peak(Named(), X, {"right": MAPS[0]})
    assert expected == measure_peak(Named(), X, right=MAPS[0]) == eager(Named(), X, {"right": MAPS[0]})
    assert capture(Named(), X, right=MAPS[0]).profile(accounting="eager").peak_bytes == expected


def test_further_inputs_are_not_resized_by_guessing():
    tape = capture(Named(), (torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16)))
    for settings in ({"image_size": 24}, {"batch": 2}):
        for ask in (tape.profile, tape.anew):
            with pytest.raises(ValueError, match=r"further inputs of unknown .* anew"):
                ask(**settings)


WRAPPED = {
    "compiled": lambda: (torch.compile(NET), NET),
    "compiled inside": lambda: (nn.Sequential(torch.compile(NET), nn.ReLU()), nn.Sequential(NET, nn.ReLU())),
    "for several devices": lambda: (nn.DataParallel(NET), NET),
    "a lock": lambda: (Runs(lambda self, x: self.conv(x), held={"lock": threading.Lock()}),) * 2,
    "a generator": lambda: (Runs(lambda self, x: self.conv(x), held=(i for i in range(3))),) * 2,
    "tensors in a list": lambda: (Runs(lambda self, x: x * self.held[0], held=[torch.ones(3, 1, 1)]),) * 2,
    "a constant": lambda: (Runs(lambda self, x: (x - MEAN) / MEAN),) * 2,
    "a new tensor of numbers": lambda: (Runs(lambda self, x: x * torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)),) * 2,
    "no device named": lambda: (Runs(lambda self, x: x + torch.arange(x.shape[-1])),) * 2,
    "the device named": lambda: (Runs(lambda self, x: x.to("cpu") + torch.ones(x.shape, device=x.device)),) * 2,
    "a dict of results": lambda: (Runs(lambda self, x: {"a": x * 2, "b": [x + 1]}),) * 2,
    "nothing done": lambda: (Runs(lambda self, x: x),) * 2,
}


@pytest.mark.parametrize("how", WRAPPED)
def test_what_stands_around_a_network_is_looked_through(how):
    given, network = WRAPPED[how]()
    assert eager(given, X) == measure_peak(network, X)


def test_a_compiled_network_has_its_own_points():
    assert capture(torch.compile(NET), X).strides == capture(NET, X).strides == {"0": 1, "2": 2}


def test_inference_mode_around_a_capture_changes_nothing():
    expected = capture(NET, X).profile()
    with torch.inference_mode():
        tape = capture(NET, X)
    assert tape.profile() == expected and tape.profile().macs == expected.macs


def test_what_a_pass_leaves_on_modules_is_taken_back():
    def forward(self: Runs, x: Tensor) -> Tensor:
        self.seen = x.shape[-1]
        self.cache["last"] = x
        return self.conv(x)

    tape = capture(Runs(forward, cache={}), X)
    assert tape.recording.model.cache == {} and not hasattr(tape.recording.model, "seen")
    assert tape.recording.model.conv.stride == (1, 1)


@lru_cache
def ones(side: int) -> Tensor:
    return torch.ones(side)


class Keeps(nn.Module):
    """A network that keeps tensors outside of itself, for all of its kind."""

    cache = {}  # noqa: RUF012
    last = None

    @staticmethod
    @lru_cache(1)
    def twos(side: int) -> Tensor:
        return torch.full((side,), 2.0)

    def forward(self, x: Tensor) -> Tensor:
        side = x.shape[-1]
        if side not in self.cache:
            self.cache[side] = torch.zeros(int(side))
        if self.last is None:
            Keeps.last = Keeps.other = torch.zeros(int(side))
        return x + ones(int(side)) + self.twos(int(side)) + self.cache[side] + self.last + self.other


@pytest.mark.parametrize("asks", [capture, lambda model, x: find_pooling_points(model, x.shape[-1])])
def test_what_a_pass_keeps_outside_of_modules_is_taken_back(asks):
    for full in (False, True):  # a full cache does not grow
        Keeps.twos.cache_clear(), ones.cache_clear()
        if full:
            Keeps.twos(3)
        asks(Keeps(), X)
        assert Keeps.cache == {} and Keeps.last is None and not hasattr(Keeps, "other")
        assert ones(16).device == Keeps.twos(16).device == torch.device("cpu")


# By the way in which their one operator is recorded.
CALLS = {
    "conv": nn.Conv2d(3, 3, 1),
    "linear": nn.Linear(16, 4),
    "norm": nn.BatchNorm2d(3),
    "matmul": Runs(lambda self, x: x @ x),
    "attention": Runs(lambda self, x: nn.functional.scaled_dot_product_attention(x, x, x)),
    "kernel": Runs(lambda self, x: self.attend(x[0], x[0], x[0])[0], attend=nn.MultiheadAttention(16, 2)),
    "view": Runs(lambda self, x: x.flatten(1)),
}


@pytest.mark.parametrize("call", CALLS)
def test_autocast_is_refused_inside_and_around_a_capture(call):
    network = CALLS[call].eval()

    def inside(self: Runs, x: Tensor) -> Tensor:
        with torch.autocast("cpu"):
            return self.network(x)

    with pytest.raises(ValueError, match="runs under autocast"):
        capture(Runs(inside, network=network), X)
    with pytest.raises(ValueError, match="runs under autocast"), torch.autocast("cpu"):
        capture(network, X)


@pytest.mark.parametrize("on", [torch.enable_grad, lambda: torch.set_grad_enabled(True)])
def test_gradients_inside_a_frozen_network_alone_are_counted(on):
    def forward(self: Runs, x: Tensor) -> Tensor:
        with on():
            return self.network(x)

    model = Runs(forward, network=NET)
    with pytest.raises(ValueError, match="turns gradients on"):
        capture(model, X)
    frozen = Runs(forward, network=deepcopy(NET)).requires_grad_(False)
    assert eager(frozen, X) == measure_peak(frozen, X) == eager(NET, X)
    with pytest.raises(ValueError, match="turns gradients on"):
        capture(frozen, X.clone().requires_grad_())


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_gradients_may_be_off_inside(off):
    def forward(self: Runs, x: Tensor) -> Tensor:
        with off():
            return self.network(x)

    assert eager(Runs(forward, network=NET), X) == eager(NET, X)


def hooked(hook: Callable) -> nn.Module:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    network[0].register_forward_hook(hook)
    return network


REFUSED = {
    "an item": (Runs(lambda self, x: x * x.max().item()), X, "needs the values"),
    "a branch on values": (Runs(lambda self, x: x if x.sum() > 0 else -x), X, "needs the values"),
    "a mask": (Runs(lambda self, x: x[x > 0]), X, "needs the values"),
    "an array": (Runs(lambda self, x: torch.from_numpy(x.numpy())), X, "needs the values"),
    "a hook": (hooked(lambda module, args, output: print(float(output.sum()))), X, r"A hook on layer '0'.*lambda"),
    "a missing argument": (
        Named(),
        X,
        r"Named cannot be called.*'right'; .* Python by redistill.capture\(model, \(a, b",
    ),
    "one too many": (Named(), (X, X, X), "Named cannot be called"),
    "a wrong name": (Named(), (X,), "Named cannot be called"),
    "wrong channels": (NET, torch.zeros(1, 5, 16, 16), r"cannot run on inputs of shape \(1, 5, 16, 16\).*layer '0'"),
    "another device": (Runs(lambda self, x: x.cuda()), X, "moves a tensor to 'cuda'"),
    "a script": (torch.jit.script(NET), X, "TorchScript"),
    "packed": (
        Runs(lambda self, x: nn.utils.rnn.pack_padded_sequence(x[0], torch.tensor([2, 2, 1])).data),
        X,
        "needs the values of its tensors",
    ),
    "grown": (Runs(lambda self, x: x.new_empty(0).resize_(x.shape).copy_(x)), X, "larger after it was made"),
    "grown by out": (Runs(lambda self, x: torch.mul(x, 2, out=x.new_empty(0))), X, "larger after it was made"),
    "set": (Runs(lambda self, x: x.clone().set_(x)), X, "Tensor.set_"),
    "vmap": (Runs(lambda self, x: torch.vmap(lambda y: self.conv(y) * 2)(x)), X, "inside torch.vmap"),
    "an error of its own": (Runs(lambda self, x: {}["key"]), X, "Runs cannot run"),
    "an attribute": (Runs(lambda self, x: x.nothing), X, "Runs cannot run"),
    "no end": (Runs(lambda self, x: self(x)), X, "recursion"),
    "results that data decides": (nn.EmbeddingBag(10, 4), torch.zeros(2, 3, dtype=torch.long), "_embedding_bag"),
    "no network": (3, X, "expected a torch.nn.Module"),
    "no inputs": (NET, None, "Input size is None"),
    "text": (NET, "16x16", "Input size is '16x16'"),
    "a dict without tensors": (NET, {"size": 3}, "Input size is"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_captured_is_one_sentence(what):
    model, inputs, words = REFUSED[what]
    with pytest.raises(ValueError, match=words) as refused:
        capture(model, inputs)
    said = str(refused.value)
    assert said.endswith(".") and "\n" not in said and len(said) < 400


@pytest.mark.parametrize("name", ["fasterrcnn_mobilenet_v3_large_fpn", "ssdlite320_mobilenet_v3_large"])
def test_a_detector_is_told_by_its_backbone(name):
    with weightless():
        detector = torchvision.models.get_model(name, weights=None, weights_backbone=None).eval()
    for inputs in ((1, 3, 64, 64), ([torch.zeros(3, 64, 64)],)):
        with pytest.raises(ValueError, match=r"nonzero.*\.backbone"):
            capture(detector, inputs)
    assert capture(detector.backbone, (1, 3, 64, 64)).profile().peak_bytes > 0


def test_inputs_that_cannot_be_measured_are_one_sentence():
    for inputs in (None, 3, (), "image"):
        with pytest.raises(ValueError, match="no tensor"):
            measure_peak(NET, inputs)

"""Training as in int8: maps and weights rounded as onnxruntime rounds an export, gradients straight through.

Quantization-aware training of Jacob et al., "Quantization and training of neural networks for efficient
integer-arithmetic-only inference" (CVPR 2018), section 3: weights signed, symmetric, a scale a channel; maps unsigned,
a range a map, which follows what the map holds while training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..common.modules import eval_mode
from ..data.augmentation import normalize
from ..data.source import Split

WEIGHED = ("conv2d", "linear")  # calls whose second argument is a weight with a row for each channel that comes out
# By the name of a call, how many of its first arguments are maps that onnxruntime has in int8.
MAPS = dict.fromkeys((*WEIGHED, "sigmoid", "mean", "adaptive_avg_pool2d"), 1) | dict.fromkeys(("add", "mul"), 2)
SEEN = 256  # training pictures whose maps set the first ranges, one at a time
FOLLOWED = 0.05  # share of a batch's own range in the moving one
Range = tuple[float, float]


class Rounded(nn.Module):
    """A classifier whose maps and weights are rounded as in int8 wherever it runs, in training and evaluation alike.

    Maps are numbered in the order in which the network computes with them. `low` and `high`, float32 (maps,), are their
    ranges: in training mode they follow each batch's. Takes and gives what the network does. What runs inside one call,
    as attention does, is not rounded there.
    """

    def __init__(self, model: nn.Module, ranges: Sequence[Range]) -> None:
        super().__init__()
        self.model = model
        bounds = torch.tensor(ranges, dtype=torch.float32).reshape(-1, 2)
        self.register_buffer("low", bounds[:, 0].clone())
        self.register_buffer("high", bounds[:, 1].clone())

    def forward(self, images: Tensor) -> Tensor:
        """images: (N, channels, height, width), float32."""
        with RoundedCalls(self._round) as calls:
            logits = self.model(images)
        return calls.rounded(logits)

    def _round(self, place: int, x: Tensor) -> Tensor:
        if place >= len(self.low):
            raise ValueError(f"The network computes with more than the {len(self.low)} maps whose ranges are known.")
        if self.training:
            for bound, own in zip((self.low, self.high), x.detach().float().aminmax(), strict=True):
                bound[place].lerp_(own, FOLLOWED)
        return round_map(x, self.low[place].item(), self.high[place].item())

    @property
    def ranges(self) -> list[Range]:
        """Least and largest number of each map that are told apart."""
        return list(zip(self.low.tolist(), self.high.tolist(), strict=True))


class RoundedCalls(TorchFunctionMode):
    """Inside, maps that a call of MAPS takes go through `round_at` (place, map) first, each once; places count from 0.

    weights: whether those are rounded too, which an export does itself.
    """

    def __init__(self, round_at: Callable[[int, Tensor], Tensor], weights: bool = True) -> None:
        super().__init__()
        self.round_at, self.weights, self.count = round_at, weights, 0
        self.done: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}  # a map, kept so that its id stays its own

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        plain = name.strip("_").removeprefix("i" if name.startswith("__i") else "")
        taken = list(args)
        for place in range(min(MAPS.get(plain, 0), len(args))):
            if _is_map(args[place]):
                taken[place] = self.rounded(args[place])
        if plain in WEIGHED and self.weights and len(args) > 1:
            taken[1] = round_weight(args[1])
        result = func(*taken, **(kwargs or {}))
        in_place = (name.endswith("_") and not name.endswith("__")) or name.startswith("__i")
        changed = in_place and taken and taken[0] is not args[0]
        return args[0].copy_(result) if changed else result  # who overwrote a map may hold on to it

    def rounded(self, x: Tensor) -> Tensor:
        """The map rounded, which it is once however many calls take it."""
        key = id(x), x._version
        if key not in self.done:
            self.done[key] = x, self.round_at(self.count, x)
            self.count += 1
        return self.done[key][1]


def _is_map(value: Any) -> bool:
    return isinstance(value, Tensor) and not isinstance(value, nn.Parameter) and value.is_floating_point()


def round_map(x: Tensor, low: float, high: float) -> Tensor:
    """x rounded to 256 steps from low to high, 0 among them, clamped there; outside gradients are 0. Any shape."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255 or 1.0
    return torch.fake_quantize_per_tensor_affine(x, scale, round(-low / scale), 0, 255)


def round_weight(weight: Tensor) -> Tensor:
    """A weight (out, ...) rounded to -127 to 127 times a scale for each of the `out`, as an export in int8 does.

    A batch norm behind it only multiplies that scale, so that folding it changes nothing of the rounding.
    """
    scale = weight.detach().flatten(1).abs().amax(1).float() / 127
    scale = torch.where(scale > 0, scale, 1.0)
    zeros = torch.zeros(len(scale), dtype=torch.int32, device=weight.device)
    return torch.fake_quantize_per_channel_affine(weight, scale, zeros, 0, -127, 127)


@torch.no_grad()
def round_network(model: nn.Module, train: Split) -> Rounded:
    """The network as in int8, with the ranges that its maps have on the first training pictures.

    Raises ValueError for one that computes with other maps in training than in evaluation: they could not be numbered.
    """
    device = next(model.parameters()).device
    low: dict[int, float] = {}
    high: dict[int, float] = {}

    def note(place: int, x: Tensor) -> Tensor:
        least, most = (float(bound) for bound in x.float().aminmax())
        low[place], high[place] = min(low.get(place, least), least), max(high.get(place, most), most)
        return x

    with eval_mode(model):
        for image in normalize(train.images[:SEEN].to(device)).split(1):
            count = _numbered(model, image, note)
    kept = {name: value.clone() for name, value in model.named_buffers()}
    model.train()
    in_training = _numbered(model, normalize(train.images[:2].to(device)), lambda place, x: x)
    for name, value in model.named_buffers():
        value.copy_(kept[name])
    if in_training != count:
        raise ValueError(
            f"The network computes with {in_training} maps in training and {count} in evaluation, so it cannot be "
            "trained in int8."
        )
    return Rounded(model, [(low[place], high[place]) for place in range(count)])


def _numbered(model: nn.Module, images: Tensor, look: Callable[[int, Tensor], Tensor]) -> int:
    """How many maps there are; each is given to `look` with its number."""
    with RoundedCalls(look, weights=False) as calls:
        logits = model(images)
    calls.rounded(logits)
    return calls.count


def taken_apart(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[Range]]:
    """The network's own `state_dict` and the ranges of its maps, of a `state_dict` of `Rounded`."""
    network = {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
    return network, list(zip(state["low"].tolist(), state["high"].tolist(), strict=True))

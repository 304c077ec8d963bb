"""RED blocks: the residual encoded distillation block of ReDistill (arXiv 2406.03744, section 3.2).

This file travels inside saved diffusion students, so it imports nothing but torch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDES = ("in", "out")
POINTS = ("all", "outermost", "outputs")
KERNELS = (1, 3, 5)
GATES = ("pixel", "channel")
SQUEEZES = (1, 2, 4, 8)
Channels = int | tuple[int, int, int]  # of a map; of one of tokens also its height and width

LATER = ("gate_per", "residual_squeeze", "residual_depthwise")  # fields that older files do not have

# Scales and shift of the batch norms in a fresh block, which then returns about 0.9·x.
GATE_SPREAD, GATE_START, RESIDUAL_START = 0.5, 2.0, 0.1


def _setting(default: Any, label: str, told: str, choices: Sequence[Any]) -> Any:
    """A field with what it is called, what it does and its choices: the metadata that other settings have, too."""
    titles = {choice: str(choice) for choice in choices}
    return dataclasses.field(default=default, metadata={"label": label, "help": told, "choices": titles})


@dataclass(frozen=True)
class REDConfig:
    """Settings of the RED blocks of one student; the paper's ablations are values of these fields.

    Raises ValueError for a value outside the choices of its field.
    """

    gate: bool = _setting(True, "Gate", "sigmoid(BN(conv(x))) multiplies x: the paper's logit module", (True, False))
    residual_encoder: bool = _setting(True, "Residual encoder", "relu6(BN(conv(x))) is added", (True, False))
    gate_kernel: int = _setting(1, "Kernel of the gate", "1, 3 or 5", KERNELS)
    residual_kernel: int = _setting(3, "Kernel of the residual encoder", "1, 3 or 5", KERNELS)
    points: str = _setting(
        "all",
        "Aligned points that carry one",
        '"all" aligned sides, the "outermost" layers only, or "outputs" only',
        POINTS,
    )
    gate_per: str = _setting(
        "pixel",
        "Gate’s numbers",
        'one a "pixel", computed as in the paper, or one a "channel", learnt: a runtime then holds a map less',
        GATES,
    )
    residual_squeeze: int = _setting(
        1,
        "Residual encoder squeezes by",
        "1 as in the paper; by 2, 4 or 8 its kernel works on so many times fewer channels, between 1×1 convolutions: "
        "without gate a block of 4 then needs no more memory than a bottleneck of ResNet-50, in a runtime too",
        SQUEEZES,
    )
    residual_depthwise: bool = _setting(
        False, "Residual encoder is depthwise", "its kernel looks at each channel by itself", (True, False)
    )

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value, choices = getattr(self, item.name), list(item.metadata["choices"])
            if type(value) is not type(item.default) or value not in choices:
                expected = "true or false" if choices == [True, False] else f"one of {choices}"
                raise ValueError(f"RED {item.name} is {value!r}; expected {expected}.")
        if not (self.gate or self.residual_encoder):
            raise ValueError(
                "A RED block without gate and without residual encoder does nothing; "
                "switch one of them on, or leave RED blocks out (red = null)."
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, keyed by field name; fields that came later only where they are not the paper's."""
        usual = {item.name: item.default for item in dataclasses.fields(self) if item.name in LATER}
        return {name: value for name, value in dataclasses.asdict(self).items() if value != usual.get(name)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> REDConfig:
        """Rebuild from `to_dict`; an unknown key is a ValueError that names the known ones."""
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ValueError(f"Unknown RED setting {unknown[0]!r}; expected one of {known}.")
        return cls(**values)


class REDBlock(nn.Module):
    """`gate(x) * x + residual(x)` on maps of shape (batch, channels, height, width), any float dtype.

    gate = sigmoid(BN(conv k×k)), residual = relu6(BN(conv k×k)), both channels → channels at equal size
    (paper, section 3.2 and figure 3). With the gate off the first term is x itself; with the residual
    encoder off the second term is absent. With a gate per channel the first term is `scale * x`, with one learnt number
    a channel: what then is alive at a time are two maps, x and the result. A squeezed residual encoder is BN(conv 1×1(
    relu6(BN(conv k×k(relu6(BN(conv 1×1(x)))))))), channels → fewer → fewer → channels: its end is linear, so that a
    runtime can add it where x lies. `channels` as a tuple (channels, height,
    width) makes a block for maps of tokens, (batch, height, width, channels) or (batch, height·width, channels), which
    come out as they went in.
    """

    def __init__(self, channels: Channels, config: REDConfig | None = None) -> None:
        super().__init__()
        config = config or REDConfig()
        self.tokens = tuple(channels[1:]) if isinstance(channels, (tuple, list)) else None  # height and width
        channels = channels[0] if self.tokens else channels
        per_pixel = config.gate and config.gate_per == "pixel"
        self.gate = _conv_bn(channels, config.gate_kernel) if per_pixel else None
        self.scale = nn.Parameter(torch.empty(channels, 1, 1)) if config.gate and not per_pixel else None
        self.residual_encoder = _residual_encoder(channels, config) if config.residual_encoder else None
        self.ends_linear = config.residual_squeeze > 1
        self._start_near_identity()

    def _start_near_identity(self) -> None:
        # Batch norm's default would halve x and bury it under the residual: the student around the block, which may
        # start from the teacher's weights, would have to learn everything anew. Not zero: relu6 would stay dead.
        with torch.no_grad():
            if self.gate is not None:
                self.gate[1].weight.fill_(GATE_SPREAD)
                self.gate[1].bias.fill_(GATE_START)
            if self.scale is not None:
                self.scale.fill_(1 / (1 + math.exp(-GATE_START)))
            if self.residual_encoder is not None:
                self.residual_encoder[-1].weight.fill_(RESIDUAL_START)

    def forward(self, x: Tensor) -> Tensor:
        if self.tokens is None:
            return self._encode(x)
        y = self._encode(tokens_to_map(x, self.tokens)).permute(0, 2, 3, 1)
        return y if x.dim() == 4 else y.flatten(1, 2)

    def _encode(self, x: Tensor) -> Tensor:
        if self.scale is not None:
            return x * self.scale if self.residual_encoder is None else self._accumulate(x)
        y = torch.sigmoid(self.gate(x)) * x if self.gate is not None else x
        if self.residual_encoder is not None:
            y = y + self.residual(x)
        return y

    def _accumulate(self, x: Tensor) -> Tensor:
        residual = self.residual(x)  # first, so that x may be overwritten where it is scaled
        return residual + x * self.scale

    def residual(self, x: Tensor) -> Tensor:
        """What the residual encoder adds to a map (batch, channels, height, width); of its shape."""
        residual = self.residual_encoder(x)
        return residual if self.ends_linear else F.relu6(residual)

    def channel_scale(self) -> Tensor | None:
        """Numbers a channel, (channels,), that x is multiplied by, in evaluation mode; None where they depend on x.

        All 1 without a gate. A gate per pixel whose convolution or batch norm has only zeros for weights is one of
        these, too: then a block with a gate per channel computes the same.
        """
        with torch.no_grad():
            if self.scale is not None:
                return self.scale.flatten().clone()
            if self.gate is None:
                conv = self.residual_encoder[0]
                return torch.ones(conv.in_channels, dtype=conv.weight.dtype, device=conv.weight.device)
            conv, norm = self.gate
            if (conv.weight * norm.weight[:, None, None, None]).count_nonzero():
                return None
            shift = -norm.running_mean * norm.weight / torch.sqrt(norm.running_var + norm.eps)
            return torch.sigmoid(norm.bias + shift)


def tokens_to_map(x: Tensor, size: Sequence[int]) -> Tensor:
    """A map of tokens as (batch, channels, height, width): of (batch, height, width, channels), or of a row of tokens.

    A row (batch, tokens, channels) is laid out by `size`, (height, width), or by whole multiples or parts of it.
    Raises ValueError for a row of any other number of tokens.
    """
    if x.dim() == 3:
        height, width = size
        times = (x.shape[1] / (height * width)) ** 0.5
        height, width = round(height * times), round(width * times)
        if height * width != x.shape[1]:
            raise ValueError(f"{x.shape[1]} tokens lie on no map of the shape {size[0]}×{size[1]}.")
        x = x.unflatten(1, (height, width))
    return x.permute(0, 3, 1, 2)


class REDLayer(nn.Module):
    """A resolution-changing layer between its RED blocks: `red_out(layer(red_in(x), ...))`.

    It stands where the layer stood, so the layer's path names the aligned feature maps: what this module
    returns is the aligned output, what `red_in` returns is the aligned input. Further call arguments
    reach the layer unchanged.
    """

    def __init__(self, layer: nn.Module, red_in: REDBlock | None = None, red_out: REDBlock | None = None) -> None:
        super().__init__()
        self.red_in = red_in
        self.layer = layer
        self.red_out = red_out

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.red_in is not None:
            x = self.red_in(x)
        y = self.layer(x, *args, **kwargs)
        return self.red_out(y) if self.red_out is not None else y


def insert_red(model: nn.Module, sites: Mapping[str, Mapping[str, Channels]], config: REDConfig) -> nn.Module:
    """Put RED blocks around layers of `model`, in place, and return it.

    `sites` maps a layer path to the channels of the aligned sides: `{"layer2.0": {"in": 64, "out": 128}}`, those of
    tokens with their map's height and width: `{"features.2": {"in": (96, 56, 56)}}`.
    A path that does not exist or carries RED blocks already is a ValueError, raised before any change.
    """
    modules = dict(model.named_modules())
    for name, sides in sites.items():
        if name not in modules:
            raise ValueError(f"No layer {name!r} to put RED blocks around; expected a path such as 'layer2.0'.")
        if isinstance(modules[name], REDLayer):
            raise ValueError(f"Layer {name!r} carries RED blocks already; start from a model without them.")
        if not sides or set(sides) - set(SIDES):
            raise ValueError(f"RED sides of {name!r} are {sorted(sides)}; expected 'in', 'out' or both.")
    for name, sides in sites.items():
        blocks = {f"red_{side}": REDBlock(channels, config) for side, channels in sides.items()}
        model.set_submodule(name, REDLayer(modules[name], **blocks))
    return model


def red_modules(model: nn.Module) -> dict[str, REDBlock]:
    """All RED blocks of a model by path, in the order of its modules."""
    return {name: module for name, module in model.named_modules() if isinstance(module, REDBlock)}


def _residual_encoder(channels: int, config: REDConfig) -> nn.Sequential:
    squeezed = max(1, channels // config.residual_squeeze)
    groups = squeezed if config.residual_depthwise else 1
    looks = _conv_bn(squeezed, config.residual_kernel, groups=groups)
    if config.residual_squeeze == 1:
        return looks
    before, after = _conv_bn(channels, 1, squeezed), _conv_bn(squeezed, 1, channels)
    return nn.Sequential(*before, nn.ReLU6(), *looks, nn.ReLU6(), *after)


def _conv_bn(channels: int, kernel: int, out_channels: int | None = None, groups: int = 1) -> nn.Sequential:
    out_channels = out_channels or channels
    conv = nn.Conv2d(channels, out_channels, kernel, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


def select_sides(sides: Sequence[Sequence[str]], points: str) -> list[tuple[str, ...]]:
    """The sides that get a RED block under `REDConfig.points`, given the aligned sides of each aligned layer.

    Layers come in the order of the network. "all" keeps every side; "outputs" keeps outputs and, for a layer
    aligned at its input alone (a decoder's tail), that input; "outermost" keeps the first layer and the last
    layer that is aligned at its input alone, or the last layer where there is none.
    """
    if points == "all":
        return [tuple(kept) for kept in sides]
    if points == "outputs":
        return [("out",) if "out" in kept else tuple(kept) for kept in sides]
    last = max((i for i, kept in enumerate(sides) if tuple(kept) == ("in",)), default=len(sides) - 1)
    return [tuple(kept) if i in (0, last) else () for i, kept in enumerate(sides)]

"""Small random networks whose Python goes by sizes, or whose memory a recording could easily miss.

Every part takes a map of four channels and gives one. `network(seed)` chains some of them.
"""

from __future__ import annotations

import math
import random
import types
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

CHANNELS = 4
Part = Callable[[Tensor, nn.ModuleDict], Tensor]


class Cube(torch.autograd.Function):
    """x³ by way of two tensors that no one else sees."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        square = x * x
        return square * x + (square - square)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient


@torch.jit.script
def scripted(x: Tensor) -> Tensor:
    y = x * 2
    z = y + x
    return z * y


# Sizes that steer Python.


def scaled_by_size(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return F.interpolate(x, scale_factor=24 / x.shape[-1])


def scaled_again(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return F.interpolate(x, scale_factor=0.5, recompute_scale_factor=True)


def resized_to_other(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return F.interpolate(m["conv"](x), size=x.shape[2:], mode="bilinear") + x


def resized_to_fixed(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return F.interpolate(x, size=(12, 12))


def doubled(x: Tensor, m: nn.ModuleDict) -> Tensor:
    _, _, height, width = x.shape
    return F.interpolate(m["down"](x), (2 * height, 2 * width))[:, :, :height, :width]


def branch_on_width(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return x * 2 + 1 + x if x.shape[-1] > 14 else m["conv"](x)


def branch_on_batch(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return torch.cat([x * 2, x])[: len(x)] if x.size(0) > 2 else x + 1


def branch_on_numel(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return (x * 3 + x) if x.numel() > 2000 else x


def branch_on_square(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return x + x.mean(1, keepdim=True) if x.shape[2:] == torch.Size([16, 16]) else m["pool"](x)


def fixed_slice(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return x[:, :, :12, :12].contiguous()


def half_slice(x: Tensor, m: nn.ModuleDict) -> Tensor:
    half = x.shape[2] // 2
    return x[:, :, :half] + x[:, :, -half:]


def padded_to_multiple(x: Tensor, m: nn.ModuleDict) -> Tensor:
    height, width = x.shape[-2:]
    return m["conv"](F.pad(x, (0, -width % 5, 0, -height % 5)))


def padded_same(x: Tensor, m: nn.ModuleDict) -> Tensor:
    stride = 2
    pad = max((math.ceil(x.shape[-1] / stride) - 1) * stride + 3 - x.size(3), 0)
    return F.conv2d(F.pad(x, [pad // 2, pad - pad // 2] * 2), m["conv"].weight, stride=stride)


def windows(x: Tensor, m: nn.ModuleDict) -> Tensor:
    batch, channels, height, width = x.shape
    side = 4 if height % 4 == 0 and width % 4 == 0 else 1
    x = x.view(batch, channels, height // side, side, width // side, side).permute(0, 2, 4, 3, 5, 1)
    x = m["tokens"](x.reshape(-1, side * side, channels))
    x = x.view(batch, height // side, width // side, side, side, channels).permute(0, 5, 1, 3, 2, 4)
    return x.reshape(batch, channels, height, width)


def tokens(x: Tensor, m: nn.ModuleDict) -> Tensor:
    batch, channels, height, width = x.shape
    y = m["tokens"](x.flatten(2).transpose(1, 2))
    return y.transpose(1, 2).reshape(batch, channels, height, width)


def tokens_of_fixed_width(x: Tensor, m: nn.ModuleDict) -> Tensor:
    y = m["tokens"](x.permute(0, 2, 3, 1).contiguous().view(-1, 8, CHANNELS))
    return y.view(len(x), *x.shape[2:], CHANNELS).permute(0, 3, 1, 2)


def rows_in_a_loop(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return torch.stack([x[:, :, row] * 2 for row in range(0, x.shape[2], 4)], 2)


def rows_unbound(x: Tensor, m: nn.ModuleDict) -> Tensor:
    first, *rest = x.unbind(2)
    for row in rest[:5]:
        first = first + row
    return x + first.unsqueeze(2)


def images_in_a_loop(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return torch.stack([m["conv"](image) for image in x])


def positions(x: Tensor, m: nn.ModuleDict) -> Tensor:
    ys, xs = torch.arange(x.shape[2]), torch.arange(x.shape[3], device=x.device)
    return x + (ys[:, None] * xs[None]).float() / x.shape[-1]


def mask_by_size(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return x * torch.ones(x.shape[0], 1, *x.shape[2:], dtype=x.dtype)


def keyed_by_text(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return {"16x16": x * 2 + x}.get(f"{x.shape[2]}x{x.shape[3]}", x)


def chunks_by_size(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return torch.cat([part * 2 for part in x.split(math.ceil(x.shape[2] / 3), 2)], 2)


def halves(x: Tensor, m: nn.ModuleDict) -> Tensor:
    one, two = x.chunk(2, 1)
    return torch.cat([one.contiguous() * 2, two.reshape(len(x), 2, -1).view_as(two)], 1)


def shuffled(x: Tensor, m: nn.ModuleDict) -> Tensor:
    batch, channels, height, width = x.size()
    return x.view(batch, 2, channels // 2, height, width).transpose(1, 2).contiguous().view(batch, -1, height, width)


def squeezed(x: Tensor, m: nn.ModuleDict) -> Tensor:
    gate = x.mean((2, 3)).view(-1, CHANNELS)
    return x * torch.sigmoid(m["linear"](gate)).view(gate.shape[0], CHANNELS, 1, 1).expand_as(x)


def pooled_to_grid(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return F.interpolate(F.adaptive_avg_pool2d(x, 4), x.shape[-2:]) + x


def pooled_whole(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return x * F.avg_pool2d(x, x.shape[2:])


def sequence_first(x: Tensor, m: nn.ModuleDict) -> Tensor:
    batch, channels, height, width = x.shape
    y = x.flatten(2).permute(2, 0, 1)
    y = torch.relu(m["tokens"](y) + y)
    return (y * 2).permute(1, 2, 0).contiguous().view(batch, channels, height, width)


def contiguous_or_not(x: Tensor, m: nn.ModuleDict) -> Tensor:
    y = x.permute(0, 2, 3, 1)
    y = y * 2 + y if y.is_contiguous() else m["tokens"](y)
    return y.permute(0, 3, 1, 2)


def stride_in_python(x: Tensor, m: nn.ModuleDict) -> Tensor:
    y = m["down"](x)
    return y + m["pool"](x) if m["down"].stride[0] == 2 and y.shape == m["pool"](x).shape else y


def by_item_size(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return x * 2 if x.nbytes > 4096 else x + x * 2


# What a recording could miss.


def in_inference_mode(x: Tensor, m: nn.ModuleDict) -> Tensor:
    with torch.inference_mode():
        return m["conv"](x) + x


def under_autocast(x: Tensor, m: nn.ModuleDict) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return m["conv"](x).float()


def without_autocast(x: Tensor, m: nn.ModuleDict) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        return m["conv"](x)


def attended(x: Tensor, m: nn.ModuleDict) -> Tensor:
    y = x.flatten(2).transpose(1, 2)
    return m["attention"](y, y, y, need_weights=False)[0].transpose(1, 2).reshape(x.shape)


def attended_with_weights(x: Tensor, m: nn.ModuleDict) -> Tensor:
    y = m["pool"](x).flatten(2).transpose(1, 2)
    made, weights = m["attention"](y, y, y)
    return x + (made.mean((1, 2)) + weights.mean((1, 2))).view(-1, 1, 1, 1)


def encoded(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return m["encoder"](x.flatten(2).transpose(1, 2)).transpose(1, 2).view(x.shape)


def own_function(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return Cube.apply(x * 2) + x


def functions_in_a_row(x: Tensor, m: nn.ModuleDict) -> Tensor:
    for _ in range(3):
        x = Cube.apply(x)
    return x


def checkpointed(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return checkpoint(lambda y: m["conv"](torch.relu(y * 2)) + y, x, use_reentrant=True)


def checkpointed_lately(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return checkpoint(lambda y: m["conv"](torch.relu(y * 2)) + y, x, use_reentrant=False)


def by_torchscript(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return scripted(x) + x


def by_value(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return x * 2 if x.sum().item() > 0 else x


def einsum(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return torch.einsum("bchw,dc->bdhw", x, m["linear"].weight)


# What decides how maps lie in memory, and so what flattening copies.


def flattened(y: Tensor) -> Tensor:
    line = y.flatten(1)
    return (line * 2 + line).view(y.shape) + y


def channels_last(x: Tensor, m: nn.ModuleDict | None = None) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def last_convolved(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return flattened(m["conv"](channels_last(x)))


def last_by_weights(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return flattened(m["conv of channels last"](x))


def last_by_permutation(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return flattened(m["conv"](m["tokens"](x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)))


def last_in_groups(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return flattened(F.group_norm(channels_last(x), 2))


def last_reflected(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return flattened(F.pad(channels_last(x), (1, 1, 1, 1), mode="reflect"))


def last_shuffled(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return flattened(F.pixel_unshuffle(flattened(F.pixel_shuffle(channels_last(x), 2)), 2))


def last_rolled(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return flattened(channels_last(x).roll(1, 2)) + x.mT.contiguous().mT.cumsum(1)


def turned(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return flattened(m["norm"](x.mT.contiguous().mT))


def with_tables(x: Tensor, m: nn.ModuleDict) -> Tensor:
    return m["tables"](x)


class Tables(nn.Module):
    """Tensors that a network holds, in orders of their own: as a buffer, a constant and in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("buffer", torch.zeros(16, 16, CHANNELS).permute(2, 0, 1))
        self.constant = torch.zeros(1, 1, 16, 16).expand(1, CHANNELS, 16, 16)
        self.listed = [torch.zeros(CHANNELS, 16, 16)]

    def forward(self, x: Tensor) -> Tensor:
        table = self.buffer.to(x.dtype).contiguous() + self.listed[0].to(x.device).contiguous()
        table = table + self.constant.float().flatten(0, 1)
        return x * F.interpolate(table[None], x.shape[2:]) + x


STEERED = (
    scaled_by_size, scaled_again, resized_to_other, resized_to_fixed, doubled, branch_on_width, branch_on_batch,
    branch_on_numel, branch_on_square, fixed_slice, half_slice, padded_to_multiple, padded_same, windows, tokens,
    tokens_of_fixed_width, rows_in_a_loop, rows_unbound, images_in_a_loop, positions, mask_by_size, keyed_by_text,
    chunks_by_size, halves, shuffled, squeezed, pooled_to_grid, pooled_whole, sequence_first, contiguous_or_not,
    stride_in_python, by_item_size, einsum,
)  # fmt: skip
MISSED = (
    in_inference_mode, under_autocast, without_autocast, attended, attended_with_weights, encoded, own_function,
    functions_in_a_row, checkpointed, checkpointed_lately, by_torchscript, by_value,
)  # fmt: skip
LAID_OUT = (
    channels_last, last_convolved, last_by_weights, last_by_permutation, last_in_groups, last_reflected, last_shuffled,
    last_rolled, turned, with_tables,
)  # fmt: skip
PLAIN = ("conv", "down", "pool")


class Chain(nn.Module):
    """Parts, one after the other, with convolutions and pools between them."""

    def __init__(self, parts: list[Part | str]) -> None:
        super().__init__()
        self.parts = parts
        self.blocks = nn.ModuleList(map(_layers, parts))

    def forward(self, x: Tensor) -> Tensor:
        for part, block in zip(self.parts, self.blocks, strict=True):
            x = block[part](x) if isinstance(part, str) else part(x, block)
        return x


class Fed(Chain):
    """The same, of whose further inputs tensors are somewhere inside."""

    def forward(self, x: Tensor, *more: object, **named: object) -> Tensor:
        x = super().forward(x)
        for item in (*more, *named.values()):
            inner = item.values() if isinstance(item, dict) else item if isinstance(item, (list, tuple)) else [item]
            for tensor in inner:
                x = x + tensor.mean((2, 3), keepdim=True)
        return x


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "conv": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
    "down": lambda: nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1),
    "pool": lambda: nn.MaxPool2d(3, 2, 1),
    "conv of channels last": lambda: LAYERS["conv"]().to(memory_format=torch.channels_last),
    "norm": lambda: nn.BatchNorm2d(CHANNELS),
    "tables": Tables,
    "tokens": lambda: nn.Sequential(nn.LayerNorm(CHANNELS), nn.Linear(CHANNELS, CHANNELS), nn.GELU()),
    "linear": lambda: nn.Linear(CHANNELS, CHANNELS),
    "attention": lambda: nn.MultiheadAttention(CHANNELS, 2, batch_first=True),
    "encoder": lambda: nn.TransformerEncoderLayer(CHANNELS, 2, 8, batch_first=True),
}


def _layers(part: Part | str) -> nn.ModuleDict:
    """The layers that a part names."""
    named = [part] if isinstance(part, str) else _constants(part.__code__)
    return nn.ModuleDict({name: LAYERS[name]() for name in dict.fromkeys(named) if name in LAYERS})


def _constants(code: types.CodeType) -> list[str]:
    inner = [name for item in code.co_consts if isinstance(item, types.CodeType) for name in _constants(item)]
    return [item for item in code.co_consts if isinstance(item, str)] + inner


def network(seed: int) -> tuple[nn.Module, tuple, dict, str]:
    """A network in evaluation mode, its example inputs, positional and by name, and what it is made of."""
    chosen = random.Random(seed)
    kinds = [chosen.choice(STEERED) for _ in range(chosen.choice((1, 1, 2)))]
    if chosen.random() < 0.35:
        kinds = [*kinds[1:], chosen.choice(MISSED)]
    parts: list[Part | str] = [*kinds, *chosen.choices(PLAIN, k=chosen.choice((0, 1, 2)))]
    chosen.shuffle(parts)
    lying = random.Random(f"layout {seed}")
    if lying.random() < 0.35:
        parts.insert(lying.randint(0, len(parts)), lying.choice(LAID_OUT))
    x = torch.zeros(chosen.choice((1, 2, 3)), CHANNELS, 16, 16)
    more: list[object] = []
    named: dict[str, object] = {}
    if chosen.random() < 0.2:
        others = [torch.zeros(len(x), CHANNELS, 8, 8) for _ in range(3)]
        more = chosen.choice(([others], [{"a": others[0], "b": others[1]}], others[:1], []))
        named = {} if more else {"other": others[0], "others": tuple(others[1:])}
    made = (Fed if more or named else Chain)(parts)
    words = [part if isinstance(part, str) else part.__name__ for part in parts]
    return made.eval(), (x, *more), named, f"{seed}: {' '.join(words)} {'fed' if more or named else ''}"

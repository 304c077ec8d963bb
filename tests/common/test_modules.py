"""Networks without weights have the structure of the real ones and nothing of their data."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from redistill.common.modules import meta_copy, weightless
from redistill.memory.meta_ops import elementwise
from redistill.networks.zoo import build_network

aten = torch.ops.aten


def shapes(model: nn.Module) -> dict[str, tuple]:
    return {name: (tuple(value.shape), value.dtype) for name, value in model.state_dict().items()}


@pytest.mark.parametrize("name", ["narrow_resnet", "mobilenet_v3_small", "unet_small"])
def test_built_without_weights(name):
    with weightless():
        empty = build_network(name)
    assert all(tensor.is_meta for tensor in (*empty.parameters(), *empty.buffers()))
    assert shapes(empty) == shapes(build_network(name))


def test_weights_are_drawn_again_afterwards():
    with weightless():
        nn.Linear(2, 2)
    assert nn.Linear(20, 20).weight.std() > 0


class Tangled(nn.Module):
    """Shares a module, keeps one in a plain list, ties two parameters, and holds a tensor that is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.again = self.first
        self.plain = [self.first]
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.scale = torch.ones(3)
        self.settings = {"sizes": [1, 2]}
        self.nothing = None
        self.register_buffer("empty", None)


def test_a_copy_keeps_what_belongs_together():
    model = Tangled()
    empty = meta_copy(model)
    assert type(empty) is Tangled and empty.again is empty.first is empty.plain[0] is not model.first
    assert empty.second.weight is empty.first.weight and empty.first.weight.is_meta and empty.scale.is_meta
    assert shapes(empty) == shapes(model) and empty.empty is None and empty.nothing is None
    empty.settings["sizes"].append(3)
    empty.first.register_forward_hook(print)
    empty.first.out_features = 5
    assert model.settings["sizes"] == [1, 2] and not model.first._forward_hooks and model.first.out_features == 3
    assert all(not parameter.is_meta for parameter in model.parameters())


def test_shortcuts_return_what_torch_returns():
    x, wide = torch.empty(2, 3, 4, 4, device="meta"), torch.empty(2, 3, 4, 1, device="meta")
    whole, last = torch.empty(3, dtype=torch.int64, device="meta"), x.to(memory_format=torch.channels_last)
    taken = 0
    for func, args in (
        (aten.relu.default, (x,)),
        (aten.gelu.default, (last,)),
        (aten.add.Tensor, (x, x)),
        (aten.add_.Tensor, (x, x)),
        (aten.mul.Tensor, (x, wide)),
        (aten.mul.Tensor, (x, last)),
        (aten.add.Tensor, (whole, 1)),
        (aten.add.Tensor, (whole, 0.5)),
        (aten.mul.Tensor, (x, x.double())),
    ):
        quick, slow = elementwise(func, args, {}), func(*args)
        if quick is not None:
            taken += 1
            assert (quick.shape, quick.dtype, quick.stride()) == (slow.shape, slow.dtype, slow.stride())
            assert (quick is args[0]) == (slow is args[0])
    assert taken == 5

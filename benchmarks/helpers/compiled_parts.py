"""A network compiled in parts, between the places where its feature maps are taken."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from redistill.networks.features import Wanted
from redistill.networks.red import REDLayer

RECOMPILED = 256  # versions of one function, which all blocks of a kind share; beyond that they would run as they are


def compile_parts(network: nn.Module, wanted: Iterable[Wanted]) -> int:
    """Let `torch.compile` have the largest modules in which no wanted map is taken; returns how many there are.

    A whole network cannot be compiled: hooks are new at every step, which a compiled module does not ask after and so
    would go on calling the first one's. A module's own hooks stand outside of what is compiled here.
    """
    torch._dynamo.config.recompile_limit = RECOMPILED
    taken = {path for (path, *_), _ in wanted}
    # The aligned input of a layer with RED blocks is taken behind its `red_in`, which is inside of it.
    divided = {path for path in taken if isinstance(network.get_submodule(path), REDLayer)}
    for path in taken:
        names = path.split(".")
        divided |= {".".join(names[:depth]) for depth in range(len(names))}
    count, waiting = 0, [("", network)]
    while waiting:
        path, module = waiting.pop()
        if path in divided or isinstance(module, nn.ModuleList):
            waiting += [(f"{path}.{name}".lstrip("."), child) for name, child in module.named_children()]
        else:
            module.forward = torch.compile(module.forward)
            count += 1
    return count

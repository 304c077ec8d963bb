"""Batch norms folded into the convolutions before them, for networks that only look: frozen teachers."""

from __future__ import annotations

import copy
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterator

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norms(model: nn.Module, watched: Collection[str] = ()) -> nn.Module:
    """A copy of `model` in evaluation mode that computes the same, up to rounding, with fewer passes over its maps.

    A batch norm that alone reads what a convolution makes is multiplied into the convolution's weights, and an
    identity stands in its place, or what timm's `BatchNormAct2d` does after it, so that every path still leads to a
    module. Where a module of the `watched` paths
    holds one of the two and not the other, its input or output lies between them; both stay as they are. Parameters
    of the copy need gradients where those of `model` do. A network that torch.fx cannot trace is copied unchanged.

    Not for networks that read a convolution's weights outside it, or carry hooks that change what a norm returns.
    """
    folded = copy.deepcopy(model).eval()
    for conv, norm in list(_pairs(folded)):
        if any(_holds(path, conv) != _holds(path, norm) for path in watched):
            continue
        fused = fuse_conv_bn_eval(folded.get_submodule(conv), folded.get_submodule(norm))
        fused.requires_grad_(folded.get_submodule(conv).weight.requires_grad)
        folded.set_submodule(conv, fused)
        folded.set_submodule(norm, _rest(folded.get_submodule(norm)))
    return folded


class _Tracer(fx.Tracer):
    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        return _has_activation(module) or super().is_leaf_module(module, path)


def _has_activation(module: nn.Module) -> bool:
    """Whether it is timm's batch norm with dropout and activation behind it; told by name, since timm may be away."""
    return isinstance(module, nn.BatchNorm2d) and type(module).__name__ == "BatchNormAct2d"


def _rest(norm: nn.Module) -> nn.Module:
    """What a norm does besides normalizing."""
    if _has_activation(norm):
        return nn.Sequential(OrderedDict(drop=norm.drop, act=norm.act))
    return nn.Identity()


def _pairs(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Paths of a convolution and the batch norm that alone reads its output, each of which runs once."""
    try:
        nodes = _Tracer().trace(model).nodes
    except Exception:  # whatever code meets a proxy in place of a tensor
        return
    modules = dict(model.named_modules())
    calls = Counter(node.target for node in nodes if node.op == "call_module")
    for node in nodes:
        if node.op != "call_module" or not isinstance(modules[node.target], nn.BatchNorm2d):
            continue
        before = node.args[0] if node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) != 1:
            continue
        alone = calls[node.target] == calls[before.target] == 1
        tracked = modules[node.target].track_running_stats
        if alone and tracked and isinstance(modules[before.target], nn.Conv2d):
            yield before.target, node.target


def _holds(path: str, module: str) -> bool:
    return module == path or module.startswith(f"{path}.")

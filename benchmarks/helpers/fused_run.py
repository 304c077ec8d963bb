"""A real run that frees after last use: what the engine's fused accounting is held against.

Written without the engine: torch.fx traces the network, batch norms are folded into the convolutions before them,
what is computed element by element is written over an operand that nobody needs any more, and every tensor is let go
of after its last use. The bytes are those of the storages that really exist, and the output is the network's, so
that nothing was overwritten too early.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

ELEMENTWISE_MODULES = (
    nn.BatchNorm2d,
    nn.GELU,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.ReLU,
    nn.ReLU6,
    nn.Sigmoid,
    nn.SiLU,
)
ELEMENTWISE_CALLS = {
    *(operator.add, operator.iadd, operator.mul, operator.imul, operator.truediv),
    *(torch.add, torch.mul, torch.addcmul, torch.relu, torch.sigmoid),
    *(F.batch_norm, F.relu, F.relu6, F.silu, F.gelu, F.hardswish, F.hardsigmoid),
    *("add", "add_", "mul", "mul_", "relu", "relu_", "sigmoid", "sigmoid_"),
}


def run_fused(model: nn.Module, images: Tensor) -> tuple[int, Tensor]:
    """Most bytes alive in one forward pass of a CNN as a deployment runtime would hold them, and its output.

    The images (batch, channels, height, width) count until they are last used; an operator counts with its inputs
    and outputs. Raises torch.fx's TraceError for a network whose Python depends on its data.
    """
    runner = _FreeAfterLastUse(_folded(fx.symbolic_trace(copy.deepcopy(model).eval())))
    with torch.no_grad():
        output = runner.run(images.clone())
    return runner.peak, output


def _folded(traced: fx.GraphModule) -> fx.GraphModule:
    """The same network with every batch norm that directly follows a convolution folded into its weights."""
    modules = dict(traced.named_modules())
    for norm in [n for n in traced.graph.nodes if _kind(n, modules) is nn.BatchNorm2d]:
        conv = norm.args[0]
        if _kind(conv, modules) is nn.Conv2d and list(conv.users) == [norm]:
            traced.set_submodule(conv.target, fuse_conv_bn_eval(modules[conv.target], modules[norm.target]))
            norm.replace_all_uses_with(conv)
            traced.graph.erase_node(norm)
    traced.recompile()
    return traced


def _kind(node: fx.Node, modules: dict[str, nn.Module]) -> Any:
    return type(modules[node.target]) if node.op == "call_module" else node.target


class _FreeAfterLastUse(fx.Interpreter):
    """Runs the graph node by node; `env` holds exactly what somebody still needs."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.modules = dict(traced.named_modules())
        self.weights = {t.untyped_storage()._cdata for t in (*traced.parameters(), *traced.buffers())}
        self.peak = 0

    def run_node(self, node: fx.Node) -> Any:
        if node.op in ("get_attr", "output"):
            return super().run_node(node)
        result = super().run_node(node)
        operand = self._overwritten(node, result)
        if operand is not None:
            result = operand.copy_(result)
        alive = {storage._cdata: storage.nbytes() for storage in _storages((self._held(), result))}
        self.peak = max(self.peak, sum(size for key, size in alive.items() if key not in self.weights))
        return result

    def _held(self, except_for: Collection[fx.Node] = ()) -> list[Any]:
        """Values that a node still uses; fx also keeps what none uses."""
        return [value for node, value in self.env.items() if node.users and node not in except_for]

    def _overwritten(self, node: fx.Node, result: Any) -> Tensor | None:
        """The operand that a fresh result may be written over: of its shape, and used by no node after this one."""
        kind = _kind(node, self.modules)
        if not (kind in ELEMENTWISE_MODULES or kind in ELEMENTWISE_CALLS) or not isinstance(result, Tensor):
            return None
        dying = set(self.user_to_last_uses.get(node, ()))
        needed = {storage._cdata for storage in _storages(self._held(dying))} | self.weights
        for source in node.all_input_nodes:
            operand = self.env.get(source)
            if not isinstance(operand, Tensor) or operand.shape != result.shape:
                continue
            storage = operand.untyped_storage()
            if storage._cdata not in needed and storage.nbytes() == result.untyped_storage().nbytes():
                return operand
        return None


def _storages(value: Any) -> Iterator[torch.UntypedStorage]:
    if isinstance(value, Tensor):
        yield value.untyped_storage()
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _storages(part)

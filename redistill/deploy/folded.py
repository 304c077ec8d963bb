"""A network as torch.export's graph, batch norms folded and dropouts out, whichever code it is written in."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram
from torch.nn.utils.fusion import fuse_conv_bn_weights

aten = torch.ops.aten
DROPOUTS = (aten.dropout.default, aten.dropout_.default, aten.feature_dropout.default, aten.alpha_dropout.default)
CONVOLUTIONS = (aten.conv1d.default, aten.conv2d.default, aten.conv2d.padding, aten.conv3d.default)


def export_folded(model: nn.Module, inputs: tuple[Tensor, ...]) -> ExportedProgram:
    """The program of one pass over inputs of these shapes, in evaluation mode.

    A batch norm that alone reads what a convolution gives is multiplied into the convolution's weights: the same
    function up to rounding, with one map less. Raises whatever torch.export does for a network that it cannot record.
    """
    with torch.no_grad():
        graph = torch.export.export(model.eval(), inputs, strict=False).module(check_guards=False)
        _drop_dropouts(graph)
        norms = [node for node in graph.graph.nodes if node.target is aten.batch_norm.default]
        for i, norm in enumerate(norms):
            _fold(graph, norm, f"folded_{i}")
        graph.graph.eliminate_dead_code()
        graph.recompile()
        return torch.export.export(graph, inputs, strict=False)


def _drop_dropouts(graph: fx.GraphModule) -> None:
    """Take out what does nothing in evaluation mode, but would be a copy of its map."""
    for node in graph.graph.nodes:
        if node.target in DROPOUTS and not node.args[2]:
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)


def _fold(graph: fx.GraphModule, norm: fx.Node, name: str) -> None:
    """Fold one batch norm into the convolution before it, where it can be."""
    conv, weight, bias, mean, var, _, _, eps, _ = norm.args
    if not isinstance(conv, fx.Node) or conv.target not in CONVOLUTIONS or len(conv.users) > 1:
        return
    tensors = [_held(graph, item) for item in (conv.args[1], *conv.args[2:3], mean, var, weight, bias)]
    kernel, own_bias = tensors[0], tensors[1] if len(conv.args) > 2 else None
    mean, var, weight, bias = tensors[-4:]
    if kernel is None or mean is None or var is None:  # a kernel that is computed, a norm of the batch's own numbers
        return
    fused = fuse_conv_bn_weights(kernel, own_bias, mean, var, eps, weight, bias)
    with graph.graph.inserting_before(conv):
        held = []
        for part, value in zip(("weight", "bias"), fused, strict=True):
            graph.register_parameter(f"{name}_{part}", nn.Parameter(value.detach(), requires_grad=False))
            held.append(graph.graph.get_attr(f"{name}_{part}"))
    conv.args = (conv.args[0], *held, *conv.args[3:])
    norm.replace_all_uses_with(conv)
    graph.graph.erase_node(norm)


def _held(graph: fx.GraphModule, item: Any) -> Tensor | None:
    """The parameter or buffer that a node stands for, None for nothing and for what is computed."""
    if not isinstance(item, fx.Node) or item.op != "get_attr":
        return None
    path, _, leaf = item.target.rpartition(".")
    return getattr(graph.get_submodule(path), leaf)

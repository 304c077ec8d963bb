"""Programs of torch.export (`.pt2`) as networks: their graphs, with layers as modules again where they were modules."""

from __future__ import annotations

import logging
import operator
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from ..common.sentences import first_line
from .info import Size

Tensors = Mapping[str, Tensor]


def open_program(path: str | Path) -> ExportedProgram:
    """The program in a file; ValueError, naming the file, for what is none."""
    if not Path(path).is_file():
        raise ValueError(f"There is no file {path}; expected a program of torch.export.save.")
    logger = logging.getLogger("torch.export")  # prints a traceback of its own
    was_silent, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.load(path)
    except Exception as error:  # a damaged archive surfaces as anything
        reason = "it is damaged" if "warnings above" in str(error) else first_line(error)
        raise ValueError(f"{path} holds no program of torch.export that can be read ({reason}).") from error
    finally:
        logger.disabled = was_silent


def image_of(program: ExportedProgram) -> tuple[int, Size] | None:
    """Channels and (height, width) of the first image that a program was exported for; None without one."""
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if node.op == "placeholder" and node.name in program.graph_signature.user_inputs and isinstance(value, Tensor):
            shape = [int(side) for side in value.shape]
            if len(shape) == 4:
                return shape[1], (shape[2], shape[3])
    return None


def network_of(program: ExportedProgram) -> nn.Module:
    """The program as a network with its weights, under the names that its layers had before they were exported.

    What a program calls in a module of its own becomes that module: convolutions, window pools, batch norms and linear
    layers. They can be given other strides and be trained; the rest stays the graph that was exported.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about its own classes
        return _rebuilt(torch.export.unflatten(program))


def _rebuilt(module: nn.Module) -> nn.Module:
    """A module of an unflattened program, and all inside it, as plain ones."""
    made = _layer(module)
    if made is not None:
        return made
    for name, child in list(module.named_children()):
        setattr(module, name, _rebuilt(child))
    graph = getattr(module, "graph", None)
    if graph is None:
        return module
    for node in graph.nodes:
        if node.op == "output" and isinstance(node.args[0], (tuple, list)) and len(node.args[0]) == 1:
            node.args = (node.args[0][0],)
        if node.op == "call_function" and node.target is torch.ops.aten._assert_tensor_metadata.default:
            graph.erase_node(node)
    return fx.GraphModule(module, graph, type(module).__name__)


def _layer(module: nn.Module) -> nn.Module | None:
    """The layer that a module of a program is, where it calls one operator alone, on its input and its own weights."""
    graph = getattr(module, "graph", None)
    calls = [] if graph is None else [node for node in graph.nodes if node.op == "call_function"]
    calls = [node for node in calls if node.target is not operator.getitem]
    inputs = [] if graph is None else [node for node in graph.nodes if node.op == "placeholder"]
    if len(calls) != 1 or len(inputs) != 1 or any(node.op == "call_module" for node in graph.nodes):
        return None
    make = LAYERS.get(calls[0].target)
    schema = getattr(calls[0].target, "_schema", None)
    if make is None or calls[0].args[:1] != (inputs[0],):
        return None
    given: dict[str, Any] = {argument.name: argument.default_value for argument in schema.arguments}
    given |= dict(zip([argument.name for argument in schema.arguments], calls[0].args, strict=False))
    given |= calls[0].kwargs
    layer = make(given, {name: value for name, value in module.state_dict().items()})
    layer.load_state_dict(module.state_dict(), strict=False)
    return layer


def _conv(given: Mapping[str, Any], state: Tensors) -> nn.Module:
    weight, groups = state["weight"], given["groups"]
    return nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        tuple(weight.shape[2:]),
        stride=_pair(given["stride"]),
        padding=_pair(given["padding"]),
        dilation=_pair(given["dilation"]),
        groups=groups,
        bias="bias" in state,
    )


def _batch_norm(given: Mapping[str, Any], state: Tensors) -> nn.Module:
    affine = "weight" in state
    return nn.BatchNorm2d(len(state["running_mean"]), eps=given["eps"], momentum=given["momentum"], affine=affine)


def _linear(given: Mapping[str, Any], state: Tensors) -> nn.Module:
    return nn.Linear(state["weight"].shape[1], state["weight"].shape[0], bias="bias" in state)


def _max_pool(given: Mapping[str, Any], state: Tensors) -> nn.Module:
    window = _pair(given["kernel_size"])
    stride = _pair(given["stride"]) if given["stride"] else window
    return nn.MaxPool2d(
        _same(window),
        _same(stride),
        _same(_pair(given["padding"])),
        _same(_pair(given["dilation"])),
        ceil_mode=given["ceil_mode"],
    )


def _avg_pool(given: Mapping[str, Any], state: Tensors) -> nn.Module:
    window = _pair(given["kernel_size"])
    stride = _pair(given["stride"]) if given["stride"] else window
    return nn.AvgPool2d(
        _same(window),
        _same(stride),
        _same(_pair(given["padding"])),
        given["ceil_mode"],
        given["count_include_pad"],
        given["divisor_override"],
    )


def _pair(value: Any) -> Size:
    values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return (values[0], values[-1])


def _same(pair: Size) -> int | Size:
    return pair[0] if pair[0] == pair[1] else pair


LAYERS: dict[Any, Callable[[Mapping[str, Any], Tensors], nn.Module]] = {
    torch.ops.aten.conv2d.default: _conv,
    torch.ops.aten.batch_norm.default: _batch_norm,
    torch.ops.aten.linear.default: _linear,
    torch.ops.aten.max_pool2d.default: _max_pool,
    torch.ops.aten.avg_pool2d.default: _avg_pool,
}

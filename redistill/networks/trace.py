"""One forward pass on the meta device, watched: which modules run, in which order, and on maps of which shape."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ..common.modules import classes_unchanged, running
from .fitting import Fitter
from .paths import Follower
from .trails import Route, Shape

# What Python says where a network takes other inputs than it is given.
OTHER_INPUTS = re.compile(r"missing \d+ required|unexpected keyword|takes .* argument")
SEVERAL = (
    "count it in Python by redistill.capture(model, (a, b)) with all its example inputs, or a dict of them by name"
)

Enter = Callable[[str, nn.Module, Any], None]  # path, module, its first argument
Leave = Callable[[str, nn.Module, Any, Any], None]  # the same, and what it returns


@contextmanager
def watched(modules: Mapping[str, nn.Module], enter: Enter, leave: Leave) -> Iterator[None]:
    """Tell `enter` and `leave` of every module, by path, that runs inside the block."""

    def watch(path: str, module: nn.Module) -> Iterator[Any]:
        yield module.register_forward_pre_hook(
            lambda module, args: enter(path, module, args[0] if args else None), prepend=True
        )
        yield module.register_forward_hook(
            lambda module, args, output: leave(path, module, args[0] if args else None, output)
        )

    handles = [handle for path, module in modules.items() for handle in watch(path, module)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def example_inputs(model: nn.Module, size: Sequence[int], device: str | torch.device = "meta") -> tuple[Any, ...]:
    """Inputs for a model that takes images of `size` = (batch, channels, height, width); a denoiser gets a timestep.

    The image is of zeros, in the dtype of the model's weights, on `device`.
    """
    dtype = next((p.dtype for p in model.parameters() if p.dtype.is_floating_point), torch.float32)
    image = torch.zeros(tuple(size), dtype=dtype, device=device)
    return (image, 10) if "timestep" in inspect.signature(model.forward).parameters else (image,)


def trace_route(model: nn.Module, inputs: Sequence[Any], fitter: Fitter | None = None) -> Route:
    """Run a model without weights, in evaluation mode, on inputs on the meta device, and follow the maps through it.

    `fitter` may let parts of the model that were made for one map size give way to another. What torch raises reaches
    the caller.
    """
    modules = dict(model.named_modules())
    tracer = _Tracer(modules, fitter)
    watching = watched(modules, tracer.enter, tracer.leave)
    kept = classes_unchanged(modules.values())
    with torch.no_grad(), running(), kept, watching, _Operators(tracer), _Shortcuts(tracer):
        for value in inputs:
            if isinstance(value, Tensor):
                tracer.follower.start(tracer.number(value))
        output = model(*inputs)
    return tracer.follower.finish([tracer.number(tensor) for tensor in _tensors(output)])


class _Tracer:
    """Numbers the tensors of a pass for its follower."""

    def __init__(self, modules: Mapping[str, nn.Module], fitter: Fitter | None) -> None:
        self.shapes: list[Shape] = []
        self.follower = Follower(modules, self.shapes)
        self.fitter = fitter
        self.mark = object()  # on tensors with a number of this pass

    def number(self, tensor: Tensor, fresh: bool = False) -> int:
        mark, number = getattr(tensor, "_route_value", (None, 0))
        if mark is self.mark and not fresh:
            return number
        tensor._route_value = self.mark, len(self.shapes)
        self.shapes.append(tuple(tensor.shape))
        return len(self.shapes) - 1

    def enter(self, path: str, module: nn.Module, given: Any) -> None:
        value = self.number(given) if isinstance(given, Tensor) else None
        self.follower.enter(path, value)
        if self.fitter and value is not None:
            trail = self.follower.trails.get(value)
            self.fitter.enter(path, module, self.shapes[value], trail.size if trail else None)

    def leave(self, path: str, module: nn.Module, given: Any, output: Any) -> None:
        self.follower.leave(path, self.number(output) if isinstance(output, Tensor) else None)

    def op(self, name: str, args: Sequence, kwargs: dict, result: Any) -> None:
        ins = [self.number(tensor) for tensor in _tensors((args, kwargs))]
        outs = [self.number(tensor, fresh=True) for tensor in _tensors(result)]
        self.follower.op(name, args, ins, outs)


class _Operators(TorchDispatchMode):
    def __init__(self, tracer: _Tracer) -> None:
        super().__init__()
        self.tracer = tracer

    def __torch_dispatch__(self, func, kinds, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        fitter, tracer = self.tracer.fitter, self.tracer
        result = None
        if fitter and name in ("add", "add_") and len(args) == 2 and all(isinstance(a, Tensor) for a in args):
            trails = [tracer.follower.trails.get(tracer.number(tensor)) for tensor in args]
            result = fitter.add(args, [trail.size if trail else None for trail in trails])
        if result is None:
            result = func(*args, **kwargs)
        tracer.op(name, args, kwargs, result)
        return result


# Functions that give a tensor of their first argument's shape; only shapes matter here, so that argument will do.
SHAPE_KEEPING = {F.batch_norm, F.group_norm, F.relu, F.relu6, F.hardtanh, F.hardswish, F.hardsigmoid}
SHAPE_KEEPING |= {F.silu, F.gelu, F.leaky_relu, F.elu, F.dropout}


class _Shortcuts(TorchFunctionMode):
    """Spares torch the work of what says nothing new, and works a module's convolution out itself."""

    def __init__(self, tracer: _Tracer) -> None:
        super().__init__()
        self.tracer = tracer

    def __torch_function__(self, func, kinds, args=(), kwargs=None):
        if func in SHAPE_KEEPING:
            if func is F.group_norm:
                self.tracer.follower.running[-1].mixes = True
            return args[0] if args else kwargs["input"]
        if (
            func is F.conv2d
            and len(args) == 7
            and not kwargs
            and isinstance(self.tracer.follower.running[-1].module, nn.Conv2d)
        ):
            shape = _convolved(*args)
            if shape is not None:
                return args[0].new_empty(shape)
        return func(*args, **(kwargs or {}))


def _convolved(x, weight, bias, stride, padding, dilation, groups) -> Shape | None:
    """Shape of a convolution's result; None where that is torch's to say."""
    pairs = all(isinstance(sides, tuple) and len(sides) == 2 for sides in (stride, padding, dilation))
    if not pairs or x.dim() != 4 or x.shape[1] != weight.shape[1] * groups:
        return None
    sides = [
        (x.shape[i + 2] + 2 * padding[i] - dilation[i] * (weight.shape[i + 2] - 1) - 1) // stride[i] + 1
        for i in range(2)
    ]
    return (x.shape[0], weight.shape[0], *sides) if min(sides) > 0 else None


def _tensors(item: Any) -> Iterator[Tensor]:
    """Tensors inside nested containers, in order."""
    if isinstance(item, Tensor):
        yield item
    elif isinstance(item, dict):
        for inner in item.values():
            yield from _tensors(inner)
    elif isinstance(item, (tuple, list)):
        for inner in item:
            yield from _tensors(inner)
    elif hasattr(item, "__dataclass_fields__") and not isinstance(item, type):
        for name in item.__dataclass_fields__:
            yield from _tensors(getattr(item, name))

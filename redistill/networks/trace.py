"""One forward pass on the meta device, watched: which modules run, in which order, and on maps of which shape."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ..common.modules import meta_copy

Shape = tuple[int, ...]
ModuleMaps = dict[str, tuple[Shape, Shape]]  # path → shape that a module takes, and shape that it gives
Enter = Callable[[str, nn.Module, Any], None]  # path, module, its first argument
Leave = Callable[[str, nn.Module, Any, Any], None]  # the same, and what it returns
Check = Callable[[str, "nn.Module | None", str, tuple], None]  # path and module that runs it, operator, arguments


@contextmanager
def watched(model: nn.Module, enter: Enter, leave: Leave) -> Iterator[None]:
    """Tell `enter` and `leave` of every module that runs inside the block."""

    def watch(path: str, module: nn.Module) -> Iterator[Any]:
        yield module.register_forward_pre_hook(
            lambda module, args: enter(path, module, args[0] if args else None), prepend=True
        )
        yield module.register_forward_hook(
            lambda module, args, output: leave(path, module, args[0] if args else None, output)
        )

    handles = [handle for path, module in model.named_modules() for handle in watch(path, module)]
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


def trace_shapes(model: nn.Module, size: Sequence[int], check: Check) -> ModuleMaps:
    """Run a copy of the model without weights, in evaluation mode, on an image of `size` without numbers.

    Returns the shapes of all modules that make maps of maps, at their first such call, in the order in which they
    start. `check` is told of every aten operator, but of those that give a tensor of their input's shape and of
    convolutions that are modules. What it raises, and what torch raises, reaches the caller.
    """
    model = meta_copy(model).eval()
    shapes: dict[str, tuple[Shape, Shape] | None] = {}
    running: list[tuple[str, nn.Module | None]] = [("", None)]

    def enter(path: str, module: nn.Module, given: Any) -> None:
        running.append((path, module))
        shapes.setdefault(path)

    def leave(path: str, module: nn.Module, given: Any, output: Any) -> None:
        running.pop()
        pair = [tuple(item.shape) for item in (given, output) if isinstance(item, Tensor) and item.dim() == 4]
        if shapes[path] is None and len(pair) == 2:
            shapes[path] = tuple(pair)

    with torch.no_grad(), watched(model, enter, leave), _Operators(running, check), _Shortcuts(running):
        model(*example_inputs(model, size))
    return {path: pair for path, pair in shapes.items() if pair}


class _Operators(TorchDispatchMode):
    def __init__(self, running: list, check: Check) -> None:
        super().__init__()
        self.running, self.check = running, check

    def __torch_dispatch__(self, func, kinds, args=(), kwargs=None):
        self.check(*self.running[-1], func.overloadpacket.__name__, args)
        return func(*args, **(kwargs or {}))


# Functions that give a tensor of their first argument's shape; only shapes matter here, so that argument will do.
SHAPE_KEEPING = {F.batch_norm, F.group_norm, F.relu, F.relu6, F.hardtanh, F.hardswish, F.hardsigmoid}
SHAPE_KEEPING |= {F.silu, F.gelu, F.leaky_relu, F.elu, F.dropout}


class _Shortcuts(TorchFunctionMode):
    """Spares torch the work of what says nothing new, and works a module's convolution out itself."""

    def __init__(self, running: list) -> None:
        super().__init__()
        self.running = running

    def __torch_function__(self, func, kinds, args=(), kwargs=None):
        if func in SHAPE_KEEPING:
            return args[0]
        if func is F.conv2d and not kwargs and isinstance(self.running[-1][1], nn.Conv2d):
            shape = _convolved(*args)
            if shape is not None:
                return args[0].new_empty(shape)
        return func(*args, **(kwargs or {}))


def _convolved(x, weight, bias, stride, padding, dilation, groups) -> Shape | None:
    """Shape of a convolution's result; None where that is torch's to say."""
    if isinstance(padding, str) or x.dim() != 4 or x.shape[1] != weight.shape[1] * groups:
        return None
    sides = [
        (x.shape[i + 2] + 2 * padding[i] - dilation[i] * (weight.shape[i + 2] - 1) - 1) // stride[i] + 1
        for i in range(2)
    ]
    return (x.shape[0], weight.shape[0], *sides) if min(sides) > 0 else None

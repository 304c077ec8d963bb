"""One forward pass on the meta device, watched: which modules run, in which order, and on maps of which shape."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ..common.modules import meta_copy

Shape = tuple[int, ...]
Enter = Callable[[str, nn.Module, Any], None]  # path, module, its first argument
Leave = Callable[[str, nn.Module, Any, Any], None]  # the same, and what it returns
Check = Callable[[str, "nn.Module | None", str, tuple], None]  # path and module that runs it, operator, arguments


@dataclass
class ModuleShapes:
    """Every module that maps an image-like tensor to one: input and output shape at its first call, in running order.

    Filled while the network runs, by what `watched` tells.
    """

    started: dict[str, None] = field(default_factory=dict)  # paths in the order of the first call
    found: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)

    def enter(self, path: str) -> None:
        """A module starts."""
        self.started.setdefault(path)

    def leave(self, path: str, before: Shape, after: Shape) -> None:
        """A module made a tensor of shape `after` from one of shape `before`."""
        if len(before) == len(after) == 4:
            self.found.setdefault(path, (before, after))

    @property
    def order(self) -> list[str]:
        """Paths of the modules with shapes, in the order in which they started."""
        return [path for path in self.started if path in self.found]


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


def example_inputs(model: nn.Module, size: Sequence[int]) -> tuple[Any, ...]:
    """Inputs for a model that takes images of `size` = (batch, channels, height, width); a denoiser gets a timestep."""
    dtype = next((p.dtype for p in model.parameters() if p.dtype.is_floating_point), torch.float32)
    image = torch.empty(tuple(size), dtype=dtype, device="meta")
    return (image, 10) if "timestep" in inspect.signature(model.forward).parameters else (image,)


def trace_shapes(model: nn.Module, size: Sequence[int], check: Check) -> ModuleShapes:
    """Run a copy of the model without weights, in evaluation mode, on an image of `size` without numbers.

    `check` is told of every aten operator, but of those that give a tensor of their input's shape and of convolutions
    that are modules. What it raises, and what torch raises, reaches the caller.
    """
    model = meta_copy(model).eval()
    shapes = ModuleShapes()
    running: list[tuple[str, nn.Module | None]] = [("", None)]

    def enter(path: str, module: nn.Module, given: Any) -> None:
        running.append((path, module))
        shapes.enter(path)

    def leave(path: str, module: nn.Module, given: Any, output: Any) -> None:
        running.pop()
        if isinstance(given, Tensor) and isinstance(output, Tensor):
            shapes.leave(path, tuple(given.shape), tuple(output.shape))

    with torch.no_grad(), watched(model, enter, leave), _Operators(running, check), _Shortcuts(running):
        model(*example_inputs(model, size))
    return shapes


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

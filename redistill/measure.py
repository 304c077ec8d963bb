"""The peak that the allocator itself saw, to hold a computed one against."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from .strides import eval_mode


def measure_peak(model: nn.Module, inputs: Any) -> int:
    """Bytes of activations alive at the peak of one real forward pass: evaluation mode, no_grad, real tensors.

    `inputs` is a tensor or the tuple of arguments, on the model's device. The input counts throughout. On the CPU
    the allocator's own events are added up; a buffer that the operator which made it also freed (a workspace, the
    indices of a max-pool) is left out. On CUDA it is the rise of `max_memory_allocated`, workspaces included and
    rounded as that allocator rounds. Raises ValueError when `inputs` holds no tensor.
    """
    arguments = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    tensors = [value for value in arguments if isinstance(value, Tensor)]
    if not tensors:
        raise ValueError(f"inputs is {type(inputs).__name__}; expected a tensor, or a tuple with tensors.")
    device = tensors[0].device.type
    if device not in ("cpu", "cuda"):
        raise ValueError(f"inputs are on {device!r}; expected 'cpu' or 'cuda', where memory is real.")
    held = sum(tensor.untyped_storage().nbytes() for tensor in tensors)
    with torch.no_grad(), eval_mode(model):
        rise = _cuda_rise(model, arguments) if device == "cuda" else _cpu_rise(model, arguments)
    return held + rise


def _cuda_rise(model: nn.Module, arguments: tuple) -> int:
    model(*arguments)  # libraries load their kernels and keep workspaces the first time
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    model(*arguments)
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _cpu_rise(model: nn.Module, arguments: tuple) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            model(*arguments)
    events: list[tuple[int, int, int, int]] = []  # (time, pointer, bytes, number of the top-level operator)
    for number, root in enumerate(profiler.profiler.kineto_results.experimental_event_tree()):
        # Outside any operator only Python allocates: for a number that it wraps for the operator to come (x * 1.5).
        if root.tag.name != "Allocation" or root.extra_fields.alloc_size < 0:
            _collect(root, number, events)
    return _peak(sorted(events))


def _collect(event: Any, number: int, events: list) -> None:
    if event.tag.name == "Allocation":
        events.append((event.start_time_ns, event.extra_fields.ptr, event.extra_fields.alloc_size, number))
    for child in event.children:
        _collect(child, number, events)


def _peak(events: Sequence[tuple[int, int, int, int]]) -> int:
    born: dict[int, tuple[int, int]] = {}  # pointer → (position of its allocation, operator)
    scratch = set()
    for position, (_, pointer, size, operator) in enumerate(events):
        if size > 0:
            born[pointer] = (position, operator)
        elif pointer in born:
            start, maker = born.pop(pointer)
            if maker == operator:
                scratch |= {start, position}
    known: set[int] = set()
    now = peak = 0
    for position, (_, pointer, size, _) in enumerate(events):
        if position in scratch or (size < 0 and pointer not in known):  # what was there before is not ours
            continue
        (known.add if size > 0 else known.discard)(pointer)
        now += size
        peak = max(peak, now)
    return peak

"""Peaks that the allocator itself saw: of a forward pass, to hold a computed one against, and of a training step."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from ..common.modules import eval_mode
from .inputs import read_arguments, tensors_in

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or the profiler tells stderr that it finds no GPU

MEASURABLE = ("cpu", "cuda")  # device types whose memory is real
RUNNERS = ("USER_SCOPE", "TORCHSCRIPT_FUNCTION")  # scopes of what runs operators and is none
COMPILED, INDUCTOR = "Torch-Compiled Region", "CompiledFxGraph"  # in the profiler's names of what `torch.compile` runs
_PROFILER = threading.Lock()  # torch has one profiler a process, and threads of the page may measure at once

Result = TypeVar("Result")
Event = tuple[int, int, int, int]  # time, pointer, bytes (below 0 when let go of), number of the top-level operator


def measure_peak(model: nn.Module, inputs: Any, kwargs: Mapping[str, Any] | None = None, **keywords: Any) -> int:
    """Bytes of activations alive at the peak of one real forward pass: evaluation mode, no_grad, real tensors.

    `inputs` is a tensor, the tuple of arguments, in which tensors may stand in lists and dicts, or a dict of arguments
    by name; `kwargs`, or keywords, are further ones by name. All are on the model's device. Every input counts
    throughout. On the CPU the allocator's own events are added up; a buffer that the operator which made it also freed
    (a workspace, the indices of a max-pool) is left out; an autograd function of one's own is such an operator. On CUDA
    it is the rise of `max_memory_allocated`, workspaces included and rounded as that allocator rounds. Raises
    ValueError when the inputs hold no tensor.
    """
    args, named = read_arguments(model, inputs, {**(kwargs or {}), **keywords})
    tensors = list(tensors_in((args, named)))
    device = tensors[0].device
    if device.type not in MEASURABLE:
        raise ValueError(f"inputs are on {device.type!r}; expected one of {list(MEASURABLE)}, where memory is real.")
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}
    held = sum(storages.values())
    with torch.no_grad(), eval_mode(model):
        if device.type == "cuda":
            model(*args, **named)  # libraries load their kernels and keep workspaces the first time
            rise = _cuda_rise(lambda: model(*args, **named), device)[1]
        else:
            rise = _cpu_rise(lambda: model(*args, **named))
    return held + rise


def _cuda_rise(run: Callable[[], Result], device: torch.device) -> tuple[Result, int]:
    """What `run` returns, and by how many bytes it raises what is allocated on `device` (not the current one)."""
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    result = run()
    torch.cuda.synchronize(device)
    return result, torch.cuda.max_memory_allocated(device) - before


def training_peak(step: Callable[[], Result], held: Iterable[Tensor], device: torch.device) -> tuple[Result, int]:
    """Run one training step; return its result and the most bytes of tensors alive on `device` meanwhile.

    `held` are the tensors that are there before the step: weights, optimizer state, data. To their storages comes what
    the step allocates, workspaces of operators included: on the CPU the allocator's events, on CUDA the rise of
    `max_memory_allocated`. What else this process holds does not count.
    """
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in held}
    if device.type == "cuda":
        result, rise = _cuda_rise(step, device)
    else:
        result, roots = _profiled(step)
        events: list[Event] = []
        for number, root in enumerate(roots):
            _collect(root, number, events)
        rise = _peak(sorted(events))
    return result, sum(storages.values()) + rise


def _cpu_rise(run: Callable[[], Any]) -> int:
    _, roots = _profiled(run)
    events: list[Event] = []
    for number, root in enumerate(_operators(roots)):
        _collect(root, number, events)
    events.sort()
    return _peak(events, left_out=_scratch(events))


def _operators(events: Iterable[Any], around: str = "") -> Iterator[Any]:
    """Top-level operators, those inside of what runs them too: a stretch of the program that Python gives a name to
    (`record_function`), a program of TorchScript, what `torch.compile` made. `around` is the name of such.
    """
    for event in events:
        if event.tag.name == "Allocation":
            # Outside any operator only Python allocates, for a number that it wraps for the next one (x * 1.5), and
            # programs that inductor has written.
            if event.extra_fields.alloc_size < 0 or INDUCTOR in around:
                yield event
        elif event.tag.name == "TorchOp":
            is_inside = around.startswith(COMPILED) and "::" not in event.name
            if is_inside or event.name.startswith(COMPILED) or event.extra_fields.scope.name in RUNNERS:
                yield from _operators(event.children, f"{around} {event.name}".strip())
            else:
                yield event
        else:
            yield event


def _profiled(run: Callable[[], Result]) -> tuple[Result, list[Any]]:
    """What `run` returns, and the roots of the tree of what happened meanwhile, allocations among it."""
    with _PROFILER, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            result = run()
    return result, profiler.profiler.kineto_results.experimental_event_tree()


def _collect(event: Any, number: int, events: list[Event]) -> None:
    if event.tag.name == "Allocation":
        events.append((event.start_time_ns, event.extra_fields.ptr, event.extra_fields.alloc_size, number))
    for child in event.children:
        _collect(child, number, events)


def _scratch(events: Sequence[Event]) -> set[int]:
    """Positions of the events of buffers that the operator which made them also freed."""
    born: dict[int, tuple[int, int]] = {}  # pointer → (position of its allocation, operator)
    scratch = set()
    for position, (_, pointer, size, operator) in enumerate(events):
        if size > 0:
            born[pointer] = (position, operator)
        elif pointer in born:
            start, maker = born.pop(pointer)
            if maker == operator:
                scratch |= {start, position}
    return scratch


def _peak(events: Sequence[Event], left_out: Container[int] = ()) -> int:
    """Most bytes alive at once of what the events allocate."""
    known: set[int] = set()
    now = peak = 0
    for position, (_, pointer, size, _) in enumerate(events):
        if position in left_out or (size < 0 and pointer not in known):  # what was there before is not ours
            continue
        (known.add if size > 0 else known.discard)(pointer)
        now += size
        peak = max(peak, now)
    return peak

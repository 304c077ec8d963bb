"""Networks without weights: built, or copied, with the shapes of their parameters and no data."""

from __future__ import annotations

import copy
import gc
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

META = torch.device("meta")
BATCH_NORM = nn.modules.batchnorm._BatchNorm  # of any number of dimensions, synchronized or not
LIBRARIES = {"torch", "torchvision", "timm", "diffusers", __name__.partition(".")[0]}
PLAIN = (bool, int, float, str, type(None), torch.dtype, torch.device, torch.Size)
IN_PLACE = ("normal_", "uniform_", "fill_", "zero_", "random_", "exponential_", "erfinv_", "clamp_", "mul_", "add_")
DRAWS = {
    *(getattr(Tensor, name) for name in IN_PLACE),
    *(getattr(nn.init, name) for name in dir(nn.init) if name.endswith("_") and not name.startswith("_")),
}


class _NoDraws(TorchFunctionMode):
    """Leaves out the drawing of weights, which takes most of the time of building a network on the meta device.

    Also of those on a real device, of networks that can be built there alone and lose their data then.
    """

    def __torch_function__(self, func, kinds, args=(), kwargs=None):
        if func in DRAWS and not _runs.get():
            drawn = args[0] if args else (kwargs or {}).get("tensor")  # so nn.init hands it on
            if isinstance(drawn, Tensor) and (drawn.is_meta or isinstance(drawn, nn.Parameter)):
                return drawn
        return func(*args, **(kwargs or {}))


_runs: ContextVar[bool] = ContextVar("runs", default=False)


@contextmanager
def running() -> Iterator[None]:
    """Inside, a network runs: what `weightless` leaves out around it, such as `add_`, is part of a forward pass."""
    token = _runs.set(True)
    try:
        yield
    finally:
        _runs.reset(token)


@contextmanager
def garbage_kept() -> Iterator[None]:
    """Inside, no garbage collection starts by itself: what makes many objects that stay is not looked through over and
    over. Of blocks that overlap in threads the first to end lets it start again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def weightless() -> Iterator[None]:
    """Modules that are built inside have parameters and buffers on the meta device: shapes without data."""
    with torch.device("meta"), _NoDraws():
        yield


def meta_like(tensor: Tensor) -> Tensor:
    """A tensor of the same shape, dtype and layout on the meta device; without gradient, and dense if it is sparse."""
    if tensor.layout is not torch.strided:
        return torch.empty(tensor.shape, dtype=tensor.dtype, device=META)
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=META)  # 3 x `empty`


def unwrapped(model: nn.Module) -> nn.Module:
    """The module itself, where `torch.compile` or a wrapper for several devices stands around it."""
    while True:
        if "_orig_mod" in model._modules:
            model = model._orig_mod
        elif isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        else:
            return model


def is_of_library(layer: nn.Module) -> bool:
    """Whether a layer runs code of torch or of a library built on it, which goes by its settings; none of one's own."""
    runs = (getattr(type(layer), name, None) for name in ("forward", "_conv_forward"))
    homes = {run.__module__.partition(".")[0] for run in runs if run is not None}
    return "forward" not in vars(layer) and homes <= LIBRARIES


def meta_copy(model: nn.Module) -> nn.Module:
    """A deep copy of the model whose parameters, buffers and other tensors have shapes but no data.

    Wrappers of `torch.compile` and for several devices are left out. What cannot be copied, such as a lock, is shared.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():  # first all, as `deepcopy` copies what the memo does not have
        for tensor in chain(module._parameters.values(), module._buffers.values(), module.__dict__.values()):
            if isinstance(tensor, Tensor):
                _dataless(tensor, memo)
    return _clone(model, memo)


def _clone(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """`copy.deepcopy` of a module, several times faster: most of what a module holds need not be taken apart."""
    module = unwrapped(module)
    if id(module) in memo:
        return memo[id(module)]
    if hasattr(module, "__deepcopy__"):
        return copy.deepcopy(module, memo)
    kind = type(module)
    clone = memo[id(module)] = kind.__new__(kind)
    state = clone.__dict__
    for name, value in module.__dict__.items():
        if isinstance(value, PLAIN) or (type(value) is tuple and all(isinstance(item, PLAIN) for item in value)):
            state[name] = value
        elif name in ("_parameters", "_buffers"):
            state[name] = {key: None if tensor is None else _dataless(tensor, memo) for key, tensor in value.items()}
        elif name == "_modules":
            state[name] = {key: None if child is None else _clone(child, memo) for key, child in value.items()}
        elif name == "_compiled_call_impl":
            state[name] = None
        elif isinstance(value, (dict, set)) and not value:
            state[name] = type(value)()
        else:
            state[name] = _copied(value, memo)
    return clone


def _dataless(tensor: Tensor, memo: dict[int, Any]) -> Tensor:
    """The one tensor without data that stands for another in a copy; a parameter is one there too."""
    if id(tensor) not in memo:
        made = meta_like(tensor)
        memo[id(tensor)] = nn.Parameter(made, requires_grad=False) if isinstance(tensor, nn.Parameter) else made
    return memo[id(tensor)]


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    """A deep copy of what a module holds, item by item where the whole cannot be copied; tensors without data."""
    if isinstance(value, Tensor):
        return _dataless(value, memo)
    if isinstance(value, nn.Module):
        return _clone(value, memo)
    if type(value) in (list, tuple):
        return type(value)(_copied(item, memo) for item in value)
    if type(value) in (dict, OrderedDict):
        return type(value)((key, _copied(item, memo)) for key, item in value.items())
    try:
        return copy.deepcopy(value, memo)
    except Exception:  # locks, open files, whatever refuses in whichever way
        return value


@contextmanager
def unchanged(modules: Iterable[nn.Module]) -> Iterator[None]:
    """What the block sets on these modules, or puts into their lists and dicts, is taken back after it."""
    kept = [(module, vars(module).copy()) for module in modules]
    holders = [holder for _, values in kept for holder in _kept_holders(values.values())]
    try:
        yield
    finally:
        for module, values in kept:
            vars(module).clear()
            vars(module).update(values)
        _restore(holders)


@contextmanager
def classes_unchanged(modules: Iterable[nn.Module]) -> Iterator[None]:
    """What the block sets on the classes of these modules, or puts into their lists and dicts, is taken back after it;
    and what functions under `lru_cache` keep is dropped where they were computed in it.

    Such functions are looked for on the classes, and among the names that their `forward` sees. Torch's own classes
    keep nothing.
    """
    kinds = {kind for module in modules for kind in type(module).__mro__[:-1]}
    kept = [(kind, dict(vars(kind))) for kind in kinds if not kind.__module__.startswith("torch.")]
    holders = [holder for _, values in kept for holder in _kept_holders(values.values())]
    scopes = [getattr(values.get("forward"), "__globals__", {}) for _, values in kept]
    named = chain(*(values.values() for _, values in kept), *(list(scope.values()) for scope in scopes))
    functions = {id(func): func for value in named if type(func := getattr(value, "__func__", value)) is _LRU}
    computed = [(func, func.cache_info().misses) for func in functions.values()]
    try:
        yield
    finally:
        for kind, values in kept:
            for name in vars(kind).keys() - values.keys():
                if not name.endswith("__"):  # which Python itself sets
                    delattr(kind, name)
            for name, value in values.items():
                if vars(kind).get(name) is not value:
                    setattr(kind, name, value)
        _restore(holders)
        for func, before in computed:
            if func.cache_info().misses != before:
                func.cache_clear()


def _kept_holders(values: Iterable[Any]) -> list[tuple[Any, Any]]:
    """Lists and dicts with what they hold; most are empty, and slow to copy."""
    return [(held, held.copy() if held else ()) for held in values if type(held) in HOLDERS]


def _restore(holders: Iterable[tuple[Any, Any]]) -> None:
    for held, copied in holders:
        if _identities(held) != _identities(copied):  # others may be reading what has not changed
            held.clear()
            (held.extend if type(held) is list else held.update)(copied)


def _identities(held: Any) -> list[int]:
    return [*map(id, held), *(map(id, held.values()) if isinstance(held, dict) else ())]


_LRU = type(lru_cache(lambda: None))
HOLDERS = {list, dict, OrderedDict}


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; every module's own mode is restored after it."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training

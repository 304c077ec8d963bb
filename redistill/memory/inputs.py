"""What a network is called with: example inputs, wherever the tensors are among them, and what stands around it."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..common.modules import unwrapped
from ..common.sentences import first_line
from ..common.values import is_whole
from ..networks.trace import example_inputs

# What holds no tensor, told by its type alone.
ATOMS = {int, float, bool, complex, str, bytes, type(None), slice, torch.dtype, torch.device, torch.layout}
ATOMS |= {torch.memory_format, torch.Size}
Arguments = tuple[tuple[Any, ...], dict[str, Any]]  # positional and by keyword


def read_arguments(model: nn.Module, given: Any, kwargs: Mapping[str, Any] | None = None) -> Arguments:
    """The arguments that a model is to be called with, from whatever names them.

    `given` is a tensor, the tuple or list of arguments, which may hold tensors in lists and dicts, or a dict: keyword
    arguments where the model takes them by these names, else one argument. `kwargs` are further ones by keyword.

    Raises ValueError for what holds no tensor.
    """
    keywords = dict(kwargs or {})
    if isinstance(given, Mapping) and _takes(model, given):
        args, keywords = (), {**given, **keywords}
    else:
        args = tuple(given) if type(given) in (tuple, list) else () if given is None else (given,)
    if not tensors_in((args, keywords)):
        raise ValueError(
            f"The inputs are {_clipped(given)}, which hold no tensor; expected a tensor, a tuple of arguments or a "
            "dict of them by name, with tensors among them."
        )
    return args, keywords


def read_capture(model: nn.Module, given: Any, kwargs: Mapping[str, Any] | None = None) -> Arguments:
    """`read_arguments`, where `given` may also be (batch, channels, height, width)."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"The network is {type(model).__name__}; expected a torch.nn.Module.")
    if tensors_in((given, kwargs)):
        return read_arguments(model, given, kwargs)
    if kwargs or not isinstance(given, Sequence) or len(given) != 4 or not all(is_whole(side, 1) for side in given):
        raise ValueError(
            f"Input size is {_clipped(given)}; expected (batch, channels, height, width), whole numbers of at least 1, "
            "or example inputs: a tensor, a tuple of arguments or a dict of them by name."
        )
    try:
        return example_inputs(model, given), {}
    except RuntimeError as error:  # on the meta device only numbers that 64 bits cannot hold
        raise ValueError(
            f"Input size is {_clipped(given)}, too large for any machine ({first_line(error)})."
        ) from error


def _takes(model: nn.Module, names: Mapping[Any, Any]) -> bool:
    """Whether a model's forward takes keyword arguments of these names."""
    if not all(isinstance(name, str) for name in names):
        return False
    try:
        inspect.signature(unwrapped(model).forward).bind_partial(**names)
    except (TypeError, ValueError):
        return False
    return True


def _clipped(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def tensors_in(item: Any) -> list[Tensor]:
    """Tensors inside nested tuples, lists, sets, dicts and dataclasses, in order."""
    found: list[Tensor] = []
    _gather((item,), found)
    return found


def _gather(items: Iterable[Any], found: list[Tensor]) -> None:
    for item in items:
        if type(item) in ATOMS:
            continue
        if isinstance(item, Tensor):
            found.append(item)
        elif isinstance(item, (tuple, list, set, frozenset)):
            _gather(item, found)
        elif isinstance(item, Mapping):
            _gather(item.values(), found)
        elif dataclasses.is_dataclass(item) and not isinstance(item, type):
            _gather([getattr(item, entry.name, None) for entry in dataclasses.fields(item)], found)


def mapped(item: Any, change: Any) -> Any:
    """The same with every tensor changed, in tuples, lists and dicts, which are made anew."""
    if isinstance(item, Tensor):
        return change(item)
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return type(item)(*(mapped(inner, change) for inner in item))
    if type(item) in (tuple, list):
        return type(item)(mapped(inner, change) for inner in item)
    if isinstance(item, Mapping):
        changed = {key: mapped(inner, change) for key, inner in item.items()}
        return changed if type(item) is dict else _like(item, changed)
    if dataclasses.is_dataclass(item) and not isinstance(item, type) and tensors_in(item):
        values = {entry.name: mapped(getattr(item, entry.name), change) for entry in dataclasses.fields(item)}
        return dataclasses.replace(item, **{name: values[name] for name in values})
    return item


def _like(item: Mapping, changed: dict) -> Any:
    """The same kind of mapping, where it is made of a dict as the usual ones are."""
    try:
        return type(item)(changed)
    except TypeError:
        return changed


def meta_arguments(arguments: Arguments) -> Arguments:
    """Arguments whose tensors have shape, dtype and memory format but no data; a tensor that comes twice stays one."""
    made: dict[int, Tensor] = {}
    return mapped(arguments, lambda tensor: made.setdefault(id(tensor), lying_as(tensor, tensor.shape)))


def lying_as(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """A tensor of this shape without data or gaps, its sides in memory in the order of another's, as channels last."""
    order = range(tensor.dim())
    if tensor.layout is torch.strided and 0 not in tensor.stride():
        order = sorted(order, key=lambda dim: -tensor.stride(dim))
    made = torch.empty([shape[dim] for dim in order], dtype=tensor.dtype, device="meta")
    return made.permute(sorted(range(len(order)), key=order.__getitem__))

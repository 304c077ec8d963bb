"""What torch says of an operator that ran: its arguments in the order of its schema, and what it would make of data."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from .inputs import ATOMS, mapped, tensors_in


@cache
def _parameters(func: torch._ops.OpOverload) -> tuple[tuple[str, Any], ...]:
    return tuple((argument.name, argument.default_value) for argument in func._schema.arguments)


def schema_arguments(func: Any, args: tuple, kwargs: dict) -> tuple:
    """Arguments by schema position, with defaults filled in and tensors left out."""
    given = [*args]
    for name, default in _parameters(func)[len(args) :]:
        given.append(kwargs.get(name, default))
    return tuple(None if type(value) not in ATOMS and tensors_in(value) else value for value in given)


def has_real_shapes(func: Any, args: tuple, kwargs: dict, result: Any) -> bool:
    """Whether an operator of several results gives tensors of these shapes on the CPU too, tried on zeros."""
    if func.is_view:
        return True
    zeros = {id(tensor): torch.zeros(tensor.shape, dtype=tensor.dtype) for tensor in tensors_in((args, kwargs))}
    try:
        real = func(*mapped(args, lambda x: zeros[id(x)]), **mapped(kwargs, lambda x: zeros[id(x)]))
    except Exception:  # zeros may be no numbers for it
        return True
    shapes = [[tuple(tensor.shape) for tensor in tensors_in(made)] for made in (real, result)]
    return shapes[0] == shapes[1]

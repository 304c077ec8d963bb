"""What torch's own schemas say of its operators."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor


def schema_arguments(func: Any, args: tuple, kwargs: dict) -> tuple:
    """Arguments of an operator by schema position, with defaults filled in and tensors left out (None)."""
    given = [*args]
    for name, default in _parameters(func)[len(args) :]:
        given.append(kwargs.get(name, default))
    return tuple(None if _holds_tensor(item) else item for item in given)


@cache
def _parameters(func: torch._ops.OpOverload) -> tuple[tuple[str, Any], ...]:
    return tuple((argument.name, argument.default_value) for argument in func._schema.arguments)


def _holds_tensor(item: Any) -> bool:
    return isinstance(item, Tensor) or (isinstance(item, (tuple, list)) and any(isinstance(i, Tensor) for i in item))

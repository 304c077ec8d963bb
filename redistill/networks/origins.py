"""What a weight was made of when a stride was set, so that the next stride starts from that again.

A kernel that was cut, or a position embedding that was interpolated, has lost what it was made of: set for one stride
and then for another, or for the teacher's own, a network would not be the one that is set at once.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

Size = tuple[int, int]  # height and width
KEPT = "made_of"  # attribute of a module: by name of its parameter or buffer


class Origin(NamedTuple):
    """A weight as it was built, what was made of it, and the map that the former fits, where it fits one."""

    source: Tensor
    made: Tensor
    size: Size | None


def origin_of(module: nn.Module, name: str) -> Origin | None:
    """What a weight was made of, on its device and in its dtype; None where it is as built, or has changed since."""
    origin = vars(module).get(KEPT, {}).get(name)
    now = getattr(module, name)
    if origin is None or origin.made.shape != now.shape:
        return None
    if not now.is_meta and not torch.equal(origin.made.to(now), now):
        return None  # trained or loaded: it stands for itself
    return origin._replace(source=origin.source.to(now))


def replace_weight(module: nn.Module, name: str, weight: Tensor, source: Tensor, size: Size | None = None) -> None:
    """Put `weight`, made of `source`, in place of a parameter or buffer, and remember what it was made of."""
    before = getattr(module, name)
    is_parameter = isinstance(before, nn.Parameter)
    setattr(module, name, nn.Parameter(weight, requires_grad=before.requires_grad) if is_parameter else weight)
    keep_origin(module, name, source, size)


def keep_origin(module: nn.Module, name: str, source: Tensor, size: Size | None = None) -> None:
    """Remember that a weight was made of `source`."""
    made = getattr(module, name).detach().clone()
    vars(module).setdefault(KEPT, {})[name] = Origin(source.detach().clone(), made, size)

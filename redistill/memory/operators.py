"""What torch says of an operator that ran: its arguments in the order of its schema, and what it makes of real data.

Kernels without data give results of the right shape that may lie otherwise in memory: of maps in channels last a
convolution on the CPU makes maps in channels last, and without data ordinary ones, which flattening need not copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._prims_common import are_strides_like_channels_last_or_false, suggest_memory_format

from ..networks.pointwise import is_pointwise
from .inputs import mapped, tensors_in
from .layouts import lies_oddly

_aten = torch.ops.aten
TRIED = 1024  # operators on tensors of which it is remembered what they gave on the CPU
# Products lie as their shape says, however their operands lie.
PLAIN_RESULTS = {_aten.mm, _aten.bmm, _aten.addmm, _aten.baddbmm}
ODD_RESULTS = ("linalg", "_linalg", "_fft")  # operators whose results lie oddly, however their operands lie
PLACING = {_aten.max_unpool2d, _aten.max_unpool3d}  # operators that take zeros for places
WHOLE_NUMBERS = {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}


class Lying(NamedTuple):
    """A tensor without its data."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype

    @classmethod
    def of(cls, tensor: Tensor) -> Lying:
        """How a tensor lies in memory."""
        return cls(tuple(tensor.shape), tensor.stride(), tensor.dtype)

    @property
    def looks(self) -> tuple[Any, ...]:
        """What operators can tell of how it lies: not what steps along sides of 1 are, but for channels last."""
        steps = tuple(step for side, step in zip(self.shape, self.stride, strict=True) if side != 1)
        return steps, are_strides_like_channels_last_or_false(self.shape, self.stride)

    def zeros(self) -> Tensor:
        """Such a tensor on the CPU."""
        last = [(side - 1) * step for side, step in zip(self.shape, self.stride, strict=True)]
        room = 1 + sum(last) if 0 not in self.shape else 0
        return torch.zeros(room, dtype=self.dtype, device="cpu").as_strided(self.shape, self.stride)


def has_real_shapes(func: Any, args: tuple, kwargs: dict, result: Any) -> bool:
    """Whether an operator of several results gives tensors of these shapes on the CPU too, tried on zeros."""
    if func.is_view:
        return True
    real = _tried(func, _frozen(args), _frozen(kwargs))
    return real is None or [made.shape for made in real] == [tuple(tensor.shape) for tensor in tensors_in(result)]


def copies_gaps(op: str, given: Iterable[Tensor]) -> bool:
    """Whether an operator copies all the memory that a tensor is a part of, as `select_scatter` does."""
    return op.endswith("_scatter") and any(tensor.untyped_storage().nbytes() > tensor.nbytes for tensor in given)


def laid_out(func: Any, args: tuple, kwargs: dict, result: Any) -> Any:
    """The result of an operator that ran without data, its tensors as they lie where it computes: on the CPU.

    Raises what that raises where it makes something empty of what is not, which some kernels refuse there alone.
    """
    packet = func.overloadpacket
    writes = func._schema.is_mutable and isinstance(result, Tensor)  # and gives what it was given
    if func.is_view or writes or packet in PLAIN_RESULTS:
        return result
    made, given = tensors_in(result), tensors_in((args, kwargs))
    if made and given and not any(tensor.numel() for tensor in made) and all(tensor.numel() for tensor in given):
        _run_on_zeros(func, _frozen(args), _frozen(kwargs))  # raises where nothing can be made of something
    if not packet.__name__.startswith(ODD_RESULTS) and (not any(map(lies_oddly, given)) or _is_uniform(func, given)):
        return result
    if packet not in PLACING and any(tensor.dtype in WHOLE_NUMBERS for tensor in given):
        return result  # zeros may be no places to write to, which some kernels do not check
    if packet is _aten.convolution and made[0].dim() == 4:
        return torch.empty_like(result, memory_format=convolved(*given[:2]))
    real = _tried(func, _frozen(args), _frozen(kwargs)) or ()
    lying = {id(tensor): one for tensor, one in zip(made, real, strict=False)}
    return mapped(result, lambda tensor: _placed(tensor, lying.get(id(tensor))))


def convolved(image: Tensor, weight: Tensor) -> torch.memory_format:
    """How a convolution of images lays out what it makes: channels last where one of its operands lies so."""
    odd = (suggest_memory_format(tensor) for tensor in (image, weight) if lies_oddly(tensor))
    return torch.channels_last if torch.channels_last in odd else torch.contiguous_format


def _placed(made: Tensor, real: Lying | None) -> Tensor:
    """The tensor as the real one lies, where that has its shape and lies otherwise, be it by name alone."""
    if real is None or real.shape != tuple(made.shape) or real.looks == Lying.of(made).looks:
        return made
    return torch.empty_strided(made.shape, real.stride, dtype=made.dtype, device=made.device)


def _is_uniform(func: Any, given: list[Tensor]) -> bool:
    """Whether an element-by-element operator has operands that all lie alike, and its result as they do."""
    return is_pointwise(func) and len({(tensor.shape, tensor.stride()) for tensor in given}) == 1


def _frozen(item: Any) -> Any:
    """An argument that can be compared: tensors as they lie, lists as tuples, all on the CPU."""
    if isinstance(item, Tensor):
        return Lying.of(item)
    if isinstance(item, Mapping):
        return tuple((name, _frozen(value)) for name, value in item.items())
    if isinstance(item, (list, tuple)):
        return tuple(map(_frozen, item))
    return torch.device("cpu") if isinstance(item, torch.device) else item


def _thawed(item: Any) -> Any:
    if isinstance(item, Lying):
        return item.zeros()
    return tuple(map(_thawed, item)) if isinstance(item, tuple) else item


@lru_cache(TRIED)
def _tried(func: Any, args: tuple, kwargs: tuple) -> tuple[Lying, ...] | None:
    """What an operator makes of zeros on the CPU; None where they are no numbers for it, and where it draws numbers."""
    if torch.Tag.nondeterministic_seeded in func.tags:
        return None  # others may draw from the same generator
    try:
        made = _run_on_zeros(func, args, kwargs)
    except Exception:
        return None
    return tuple(Lying.of(tensor) for tensor in tensors_in(made))


def _run_on_zeros(func: Any, args: tuple, kwargs: tuple) -> Any:
    return func(*_thawed(args), **{name: _thawed(value) for name, value in kwargs})

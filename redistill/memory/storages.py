"""The tensors of a recording by number, and the buffers behind them: born with a storage, dead when it is freed."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor

from .recording import WEIGHTS, Buffer, Recording


class Storages:
    """Numbers the tensors of one recording. `call` gives the number of the call that runs; `died` is told of ends."""

    def __init__(self, recording: Recording, call: Callable[[], int], died: Callable[[Buffer, int], None]) -> None:
        self.recording, self.call, self.died = recording, call, died
        self.buffers: dict[int, int] = {}  # by the address of a storage that is alive
        self.deaths: dict[int, weakref.ref] = {}  # by buffer
        self.room: dict[int, int] = {}  # bytes of each buffer as it was made
        self.mark = object()  # on tensors with a number of this recording: constants of a module may have an older one

    def knows(self, tensor: Tensor) -> bool:
        """Whether a tensor has a number."""
        known, _ = getattr(tensor, "_tape_value", (None, 0))
        return known is self.mark

    def value(self, tensor: Tensor, made_from: Sequence[Tensor] | None = None, fresh: bool = False) -> int:
        """Number of a tensor; `fresh` gives a new one.

        With `made_from`, the operands of the operator that returned it, its storage becomes a buffer unless it is
        known or belongs to one of them. Raises NotImplementedError for a tensor that has no storage.
        """
        known, number = getattr(tensor, "_tape_value", (None, 0))
        if known is self.mark and not fresh:
            return number
        number = len(self.recording.shapes)
        tensor._tape_value = self.mark, number
        self.recording.shapes.append(tuple(tensor.shape))
        storage = tensor.untyped_storage()
        address = storage._cdata
        unknown = made_from is not None and address not in self.buffers
        if unknown and all(operand.untyped_storage()._cdata != address for operand in made_from):
            self._birth(storage, address, tensor, number)
        self.recording.buffer_of.append(self.buffers.get(address, WEIGHTS))
        return number

    def _birth(self, storage: torch.UntypedStorage, address: int, tensor: Tensor, value: int) -> None:
        buffer = self.buffers[address] = len(self.recording.buffers)
        self.room[buffer] = storage.nbytes()
        kind = tensor.dtype
        self.recording.buffers.append(Buffer(value, tensor.element_size(), kind.is_floating_point, self.call()))
        self.deaths[buffer] = weakref.ref(storage, lambda _: self._death(buffer, address))

    def _death(self, buffer: int, address: int) -> None:
        del self.buffers[address], self.deaths[buffer]
        self.died(self.recording.buffers[buffer], buffer)

    def has_grown(self, tensor: Tensor, value: int) -> bool:
        """Whether a tensor's storage holds more bytes than its buffer was made with."""
        buffer = self.recording.buffer_of[value]
        return buffer in self.room and tensor.untyped_storage().nbytes() > self.room[buffer]

    def has_gaps(self, buffer: int) -> bool:
        """Whether a buffer was made with more bytes than the numbers of its tensor take."""
        made = self.recording.buffers[buffer]
        return self.room[buffer] > prod(self.recording.shapes[made.value]) * made.itemsize

"""Processes that train one network together, started by `torchrun` or `accelerate launch`.

Every process holds all networks and data and takes its share of each batch; gradients are averaged, so that all make
the same step. All decisions are made together: whatever stops one process stops all of them.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

TIMEOUT = timedelta(hours=6)  # the others wait while the main process validates
GO_ON, STOP, FAIL = range(3)


class StoppedElsewhere(Exception):
    """Another process was asked to stop."""


class FailedElsewhere(RuntimeError):
    """Another process failed; the message says which, and why."""


class BrokenOff(RuntimeError):
    """An exchange of tensors broke off, so that nothing more can be agreed upon."""


@dataclass(frozen=True)
class Processes:
    """This process among `count`, with its place `rank`; `control` carries short messages between them."""

    rank: int = 0
    count: int = 1
    control: Any = None

    @property
    def main(self) -> bool:
        """Whether this process writes the run folder, validates and tests."""
        return self.rank == 0

    def share(self, batch: Tensor) -> Tensor:
        """This process' rows of what is drawn for the whole batch, the same on every process.

        Raises ValueError for a batch that cannot be shared evenly, since a mean over unequal shares would be wrong.
        """
        if self.count == 1:
            return batch
        if len(batch) % self.count:
            raise ValueError(
                f"A batch has {len(batch)} pictures, which {self.count} processes cannot share evenly; expected a "
                f"multiple of {self.count}. With fewer training pictures than batch_size, all of them are one batch."
            )
        return batch.chunk(self.count)[self.rank]

    def agree(self, wish: int = GO_ON, reason: str = "") -> None:
        """Go on only if every process wishes to; else raise StoppedElsewhere or FailedElsewhere on all of them."""
        if self.count == 1:
            return
        strongest = torch.tensor(wish)
        dist.all_reduce(strongest, dist.ReduceOp.MAX, group=self.control)
        if strongest == GO_ON:
            return
        reasons: list[Any] = [None] * self.count
        dist.all_gather_object(reasons, (wish, reason), group=self.control)
        if strongest == STOP:
            raise StoppedElsewhere
        failed = next(rank for rank, (other, _) in enumerate(reasons) if other == FAIL)
        raise FailedElsewhere(f"Process {failed} of {self.count} failed: {reasons[failed][1]}")

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """A block that ends early on every process when it does so on one, and at its end for all at once."""
        try:
            yield
        except (StoppedElsewhere, FailedElsewhere, BrokenOff):
            raise
        except BaseException as error:
            stopped = isinstance(error, (GeneratorExit, KeyboardInterrupt))
            with contextlib.suppress(StoppedElsewhere, FailedElsewhere):
                self.agree(STOP if stopped else FAIL, str(error) or repr(error))
            raise
        self.agree()

    def broadcast(self, value: Any) -> Any:
        """The main process' value, of tensors and plain values, on all of them; tensors arrive on the CPU."""
        if self.count == 1:
            return value
        packed = io.BytesIO()
        torch.save(value, packed)
        holder = [packed.getvalue()]
        dist.broadcast_object_list(holder, src=0, group=self.control)
        return torch.load(io.BytesIO(holder[0]), map_location="cpu", weights_only=True)

    def average(self, parameters: Sequence[nn.Parameter], values: Tensor) -> Tensor:
        """Replace the parameters' gradients by their mean over the processes; return the mean of `values`, float32.

        Raises what `agree` raises when another process stopped or failed before it came here.

        One exchange after the backward pass, and not torch's DistributedDataParallel, which begins exchanging within
        it: a process that fails there (memory ends there most often) comes to `agree` while the others wait for its
        gradients, so that none gets on before TIMEOUT, and none learns why. Nothing has to be wrapped either.
        """
        if self.count == 1:
            return values
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), values])
        self._exchange(lambda: dist.all_reduce(flat))
        pieces = flat.div_(self.count).split([*(gradient.numel() for gradient in gradients), len(values)])
        for gradient, piece in zip(gradients, pieces, strict=False):
            gradient.copy_(piece.view_as(gradient))
        return pieces[-1]

    def gather(self, features: Tensor) -> Tensor:
        """Rows of all processes in the order of the batch; gradients reach this process' own rows.

        For losses that compare the pictures of a batch with each other: each process computes the loss of the whole
        batch. Since `average` divides by the number of processes, the gradient is multiplied by it here. Raises what
        `agree` raises when another process stopped or failed before it came here.
        """
        if self.count == 1:
            return features
        mine = features.detach().contiguous()
        rows = [torch.empty_like(mine) for _ in range(self.count)]
        self._exchange(lambda: dist.all_gather(rows, mine))
        own = features.view_as(features)
        if own.requires_grad:
            own.register_hook(lambda gradient: gradient * self.count)
        rows[self.rank] = own
        return torch.cat(rows)

    def _exchange(self, exchange: Callable[[], object]) -> None:
        """Exchange tensors once every process has come to it: one that failed before leaves none of them waiting."""
        self.agree()
        try:
            exchange()
        except BaseException as error:
            raise BrokenOff(f"Process {self.rank} lost the others ({error}).") from error


ALONE = Processes()


def join(device: str) -> tuple[Processes, str]:
    """This process among those that were started with it, and the name of its own device.

    Without a launcher (no WORLD_SIZE above 1) that is one process and the device as named. Raises ValueError for one
    numbered GPU when there are several processes.
    """
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return ALONE, device
    if device not in ("cpu", "cuda"):
        raise ValueError(f"Device is {device!r}; several processes share out the GPUs themselves, expected 'cuda'.")
    return _join(on_cpu=device == "cpu")


@functools.cache  # once in a process, however many runs it makes
def _join(on_cpu: bool) -> tuple[Processes, str]:
    from accelerate import PartialState  # seconds, which runs of one process can do without

    state = PartialState(cpu=on_cpu, timeout=TIMEOUT)
    atexit.register(state.destroy_process_group)
    control = dist.new_group(backend="gloo", timeout=TIMEOUT)
    return Processes(state.process_index, state.num_processes, control), str(state.device)

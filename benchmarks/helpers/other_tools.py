"""What other tools say about a network's activations: torchinfo, fvcore and torch's own MemTracker.

Each is asked in the way it answers fastest. A tool that fails on a network says why and gives no figure.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torchinfo
from fvcore.nn import ActivationCountAnalysis
from torch import Tensor, nn
from torch.distributed._tools.mem_tracker import MemTracker


class Figure(NamedTuple):
    """One tool's answer: bytes and milliseconds, or None and the reason."""

    bytes: int | None
    ms: float | None
    reason: str = ""


def torchinfo_figure(model: nn.Module, inputs: tuple[Any, ...]) -> Figure:
    """torchinfo's "forward/backward pass size" and "input size" together.

    It runs in evaluation mode on the meta device, where it leaves the model: give it one of its own.
    """

    def run() -> int:
        summary = torchinfo.summary(model, input_data=_on_meta(inputs), verbose=0, device="meta")
        return summary.total_output_bytes + summary.total_input

    return _asked(run)


def fvcore_figure(model: nn.Module, inputs: tuple[Any, ...]) -> Figure:
    """fvcore's activation count (elements that convolutions and matrix products make) in bytes.

    Traces a real forward pass: it cannot on the meta device.
    """

    def run() -> int:
        tensors = tuple(value if isinstance(value, Tensor) else torch.tensor(value) for value in inputs)
        analysis = ActivationCountAnalysis(model, tensors)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        return int(analysis.total()) * tensors[0].element_size()

    return _asked(run)


def mem_tracker_figure(model: nn.Module, inputs: tuple[Any, ...]) -> Figure:
    """The peak that torch's MemTracker sees in a forward pass, weights and buffers left out."""

    def run() -> int:
        tracker = MemTracker()
        tracker.track_external(model, *[value for value in inputs if isinstance(value, Tensor)])
        with tracker:
            model(*inputs)
        (snapshot,) = tracker.get_tracker_snapshot("peak").values()
        kinds = {getattr(kind, "name", kind): size for kind, size in snapshot.items()}
        return kinds["Total"] - kinds["PARAM"] - kinds["BUFFER"]

    return _asked(run)


TOOLS = {"torchinfo": torchinfo_figure, "fvcore": fvcore_figure, "MemTracker": mem_tracker_figure}


def _on_meta(inputs: tuple[Any, ...]) -> list[Any]:
    return [value.to("meta") if isinstance(value, Tensor) else value for value in inputs]


def _asked(run: Callable[[], int]) -> Figure:
    start = time.perf_counter()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            size = run()
    except Exception as error:  # another tool may fail in any way, and that is its answer
        cause = error.__cause__ or error
        return Figure(None, None, f"{type(cause).__name__}: {str(cause).strip().partition(chr(10))[0]}")
    return Figure(size, 1000 * (time.perf_counter() - start))

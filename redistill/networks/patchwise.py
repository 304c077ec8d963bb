"""A network whose first layers run patch by patch, exactly as they run on the whole image.

While the network's own forward runs up to the chosen layer, its maps are stand-ins: they have shapes and no data, and
note each operator. As soon as that layer ends, what was noted is computed, patch after patch, into the whole of its
map, on which the rest of the network goes on. A patch that touches no border of a map sees no padding of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map_only

from ..common.modules import eval_mode
from ..common.operators import schema_arguments
from .patch_run import Call, Value, compute_patch
from .patches import MapOp, NotPatchable, check_grid, check_tiles, kept_results, make_stage, reads_of, tiles, writes
from .pointwise import is_pointwise
from .trace import watched


def patched(model: nn.Module, upto: str, grid: int) -> nn.Module:
    """The network, in evaluation mode, with all layers up to `upto` (its path) computed in grid x grid patches.

    It takes what the model takes and gives what it gives, to the last bits that convolutions of other sizes round
    otherwise; no gradients. The image comes first among the arguments: (batch, channels, height, width), any size.
    The model, with its weights, is held and not copied.

    Raises ValueError for a path that is none, and for no whole number of patches. When it runs: for a map of fewer
    rows or columns than patches, and, with the layer's name, for one that needs more of a map than a window, such as
    squeeze-excite, and for one that looks past `upto` at maps of before.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"The network is {type(model).__name__}; expected a torch.nn.Module.")
    if upto not in dict(model.named_modules()) or not upto:
        raise ValueError(f"No layer {str(upto)[:80]!r} to compute patches up to; expected the path of a module.")
    return PatchedNetwork(model, upto, check_grid(grid))


class PatchedNetwork(nn.Module):
    """Made by `patched`."""

    def __init__(self, model: nn.Module, upto: str, grid: int) -> None:
        super().__init__()
        self.model, self.upto, self.grid = model, upto, grid

    def forward(self, image: Tensor, *args: Any, **kwargs: Any) -> Any:
        """What the model gives in evaluation mode. Raises ValueError for what `patched` names."""
        modules = dict(self.model.named_modules())
        if not isinstance(image, Tensor) or image.dim() != 4:
            raise ValueError("The first argument is no image; expected a tensor (batch, channels, height, width).")
        trace = _Trace(self.upto, image)

        def ended(module: nn.Module, args: Any, output: Any) -> Any:
            return trace.computed(output, self.grid)

        with torch.no_grad(), eval_mode(self.model), watched(modules, trace.enter, trace.leave):
            handle = modules[self.upto].register_forward_hook(ended)
            try:
                output = self.model(trace.stand_in(trace.source, image.dtype), *args, **kwargs)
            finally:
                handle.remove()
        if any(isinstance(item, StandIn) for item in tree_flatten(output)[0]):
            raise ValueError(f"The network gives a map of before {self.upto!r}; choose a layer that it all passes.")
        return output


class StandIn(Tensor):
    """A map that is not computed yet: shape and dtype, the number of a value and the trace that it belongs to."""

    value: int
    trace: _Trace

    @staticmethod
    def __new__(cls, shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> StandIn:
        return Tensor._make_wrapper_subclass(cls, shape, dtype=dtype, device=device)

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, kinds, args=(), kwargs=None):
        kwargs = kwargs or {}
        trace = next(item.trace for item in tree_flatten((args, kwargs))[0] if isinstance(item, StandIn))
        return trace.note(func, args, kwargs)


class _Trace:
    """What the network does up to a layer."""

    def __init__(self, upto: str, image: Tensor) -> None:
        self.upto, self.image = upto, image
        self.ops: list[MapOp] = []
        self.calls: list[Call] = []  # of each, the operator with its arguments
        self.shapes: list[tuple[int, ...]] = [tuple(image.shape)]
        self.source = 0
        self.maps = {0}  # values; further results of operators, such as where a pool found its numbers, are none
        self.running: list[str] = [""]
        self.is_done = False

    def enter(self, path: str, module: nn.Module, given: Any) -> None:
        if path == self.upto and self.is_done:
            raise ValueError(f"Layer {path!r} runs more than once; choose one to compute patches up to that runs once.")
        self.running.append(path)

    def leave(self, path: str, module: nn.Module, given: Any, output: Any) -> None:
        self.running.pop()

    def stand_in(self, value: int, dtype: torch.dtype) -> StandIn:
        """The stand-in for a map of this number."""
        made = StandIn(self.shapes[value], dtype, self.image.device)
        made.value, made.trace = value, self
        return made

    def note(self, func: Any, args: tuple, kwargs: dict) -> Any:
        """Write an operator down, and return stand-ins for its results; ValueError for one that patches cannot do."""
        name, layer = func.overloadpacket.__name__, self.running[-1]
        subject = f"Layer {layer!r}" if layer else "The network itself"
        if self.is_done:
            raise ValueError(
                f"{subject} runs {name!r} on a map of before {self.upto!r}; choose a layer to compute patches up to "
                "that all maps pass."
            )
        tensors = [item for item in tree_flatten((args, kwargs))[0] if isinstance(item, Tensor)]
        maps = [isinstance(tensor, StandIn) for tensor in tensors]
        try:
            if func._schema.is_mutable and not writes(name):
                raise NotPatchable("which writes into a tensor that it is given")
            if any(is_map and tensor.value not in self.maps for tensor, is_map in zip(tensors, maps, strict=True)):
                raise NotPatchable("which looks at what is no map")
            made = func(*_on_meta(args), **_on_meta(kwargs))
            results = [item for item in tree_flatten(made)[0] if isinstance(item, Tensor)]
            out = tuple(results[0].shape) if results else ()
            shapes = [tuple(tensor.shape) for tensor in tensors]
            reads = reads_of(name, schema_arguments(func, args, kwargs), shapes, maps, out, is_pointwise(func))
        except NotPatchable as error:
            raise ValueError(
                f"{subject} runs {name!r}, {error}; patches can be computed up to a layer before it alone."
            ) from None
        ins = tuple(tensor.value for tensor in tensors if isinstance(tensor, StandIn))
        outs = tuple(range(len(self.shapes), len(self.shapes) + len(results)))
        self.shapes += [tuple(result.shape) for result in results]
        kept = kept_results(name, outs)
        self.maps.update(kept)
        self.ops.append(MapOp(name, schema_arguments(func, args, kwargs), ins, kept, reads, layer))
        self.calls.append((func, *(tree_map_only(StandIn, lambda x: Value(x.value), item) for item in (args, kwargs))))
        if writes(name):
            args[0].value = outs[0]
            return args[0]
        stand_ins = iter([self.stand_in(out, result.dtype) for out, result in zip(outs, results, strict=True)])
        return tree_map_only(Tensor, lambda item: next(stand_ins), made)

    def computed(self, output: Any, grid: int) -> Tensor:
        """The whole map that `output` stands for."""
        if not isinstance(output, StandIn):
            raise ValueError(f"Layer {self.upto!r} gives no single map; choose another to compute patches up to.")
        self.is_done = True
        shapes = dict(enumerate(self.shapes))
        try:
            stage = make_stage(self.ops, shapes, self.source, output.value)
        except NotPatchable as error:
            raise ValueError(f"Patches cannot be computed up to {self.upto!r}: {error}.") from None
        calls = [call for op, call in zip(self.ops, self.calls, strict=True) if op in stage.ops]
        check_tiles(self.upto, shapes[output.value], grid)
        whole = torch.empty(shapes[output.value], dtype=output.dtype, device=output.device)
        for rows in tiles(whole.shape[2], grid):
            for columns in tiles(whole.shape[3], grid):
                whole[:, :, slice(*rows), slice(*columns)] = compute_patch(stage, calls, (rows, columns), self.image)
        return whole


def _on_meta(item: Any) -> Any:
    return tree_map_only(Tensor, lambda x: torch.empty(x.shape, dtype=x.dtype, device="meta"), item)

"""Parts of a network that were made for one map size, made to fit another: position embeddings and windows."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .origins import keep_origin, origin_of, replace_weight

Size = tuple[int, int]  # height and width
Shape = tuple[int, ...]
BUILT_MAP = "map_as_built"  # attribute of a module with windows that was told another map: its map and its windows


@dataclass(frozen=True)
class Embedding:
    """A position embedding, and the map that it was made for."""

    name: str  # of the parameter or buffer
    size: Size
    layout: str  # "NCHW", "NHWC", or "NLC" with as many tokens before the map's as it has more
    to: Size | None = None  # what it shall fit


@dataclass
class Fitter:
    """Watches a pass of a model: first for position embeddings, then, given those, for what no longer fits.

    On a second pass with `known` embeddings an addition that does not fit is passed over, and windows are told their
    map; `embeddings` and `maps` then say what has to be done to the model itself.
    """

    model: nn.Module
    known: dict[str, Embedding] | None = None  # None: only look
    embeddings: dict[str, Embedding] = field(default_factory=dict)
    maps: dict[str, Size] = field(default_factory=dict)  # modules that are told the size of their map

    def __post_init__(self) -> None:
        tensors = [*self.model.named_parameters(), *self.model.named_buffers()]
        self._names = {id(tensor): name for name, tensor in tensors}

    def enter(self, path: str, module: nn.Module, shape: Shape, size: Size | None) -> None:
        """A module starts on a map of this shape and size."""
        if self.known is None or size is None or not takes_map_size(module):
            return
        if len(shape) == 4 and shape[1:3] == size and tuple(module.input_resolution) != size:
            tell_map_size(module, size)
            self.maps[path] = size

    def add(self, operands: Sequence[Tensor], sizes: Sequence[Size | None]) -> Tensor | None:
        """What an addition gives where a position embedding no longer fits; None where torch shall say."""
        for x, table, size in ((*operands, sizes[0]), (*reversed(operands), sizes[1])):
            name = self._names.get(id(table))
            if name is None or size is None or x.dim() != table.dim() or table.shape[0] != 1:
                continue
            if self.known is None:
                layout = _layout(table.shape, size)
                if layout and table.shape[1:] == x.shape[1:]:
                    self.embeddings[name] = Embedding(name, size, layout)
            elif name in self.known and table.shape[1:] != x.shape[1:]:
                known = self.known[name]
                if _fitted_shape(table.shape, known, size) == (1, *x.shape[1:]):
                    self.embeddings[name] = Embedding(name, known.size, known.layout, size)
                    return torch.empty_like(x)
        return None


def fit(model: nn.Module, fitter: Fitter) -> None:
    """Do to a model what a pass of its copy showed to be needed."""
    for path, size in fitter.maps.items():
        tell_map_size(model.get_submodule(path), size)
    for name, embedding in fitter.embeddings.items():
        path, _, leaf = name.rpartition(".")
        module = model.get_submodule(path)
        origin = origin_of(module, leaf)
        source, size = (origin.source, origin.size) if origin else (getattr(module, leaf).detach(), embedding.size)
        replace_weight(module, leaf, resize_embedding(source, replace(embedding, size=size)), source, size)


def resize_embedding(table: Tensor, embedding: Embedding) -> Tensor:
    """A position embedding for another map, by bicubic interpolation; tokens before the map's stay as they are.

    `table` is (1, tokens, channels), (1, height, width, channels) or (1, channels, height, width), of any float dtype.
    """
    if embedding.size == embedding.to:
        return table.clone()
    shape = _fitted_shape(table.shape, embedding, embedding.to)
    if table.is_meta:
        return table.new_empty(shape)
    if embedding.layout == "NCHW":
        return _interpolate(table, embedding.to)
    if embedding.layout == "NHWC":
        return _interpolate(table.permute(0, 3, 1, 2), embedding.to).permute(0, 2, 3, 1).contiguous()
    extra = table.shape[1] - embedding.size[0] * embedding.size[1]
    first, rest = table[:, :extra], table[:, extra:]
    grid = rest.unflatten(1, embedding.size).permute(0, 3, 1, 2)
    return torch.cat([first, _interpolate(grid, embedding.to).flatten(2).transpose(1, 2)], dim=1)


def _interpolate(grid: Tensor, size: Size) -> Tensor:
    resized = F.interpolate(grid.float(), size=size, mode="bicubic", antialias=True, align_corners=False)
    return resized.to(grid.dtype)


def _layout(shape: Shape, size: Size) -> str | None:
    if len(shape) == 3:
        return "NLC" if shape[1] >= size[0] * size[1] else None
    if len(shape) == 4:
        return "NCHW" if shape[2:] == size else "NHWC" if shape[1:3] == size else None
    return None


def _fitted_shape(shape: Shape, embedding: Embedding, size: Size) -> Shape:
    if embedding.layout == "NCHW":
        return (*shape[:2], *size)
    if embedding.layout == "NHWC":
        return (shape[0], *size, shape[3])
    before, after = embedding.size[0] * embedding.size[1], size[0] * size[1]
    return (shape[0], shape[1] - before + after, shape[2])


def takes_map_size(module: nn.Module) -> bool:
    """Whether attention windows of a module are made for one map size, and it can be told another (timm's Swin)."""
    if not hasattr(module, "set_input_size") or not hasattr(module, "input_resolution"):
        return False
    if any(hasattr(child, "set_input_size") for child in module.modules() if child is not module):
        return False
    return {"feat_size", "window_size"} <= set(inspect.signature(module.set_input_size).parameters)


def tell_map_size(module: nn.Module, size: Size) -> None:
    """Make a module's windows for a map of `size`, from those that it was built with.

    On a small map they shrink, and their tables of positions with them, which are made anew of what they were.
    """
    built = vars(module).setdefault(BUILT_MAP, (module.input_resolution, module.window_size))
    sources = _sources(module)
    if sources:
        module.set_input_size(feat_size=built[0], window_size=built[1])
        for (path, leaf), source in sources.items():
            getattr(module.get_submodule(path), leaf).data = source
    before = dict(module.named_parameters())
    module.set_input_size(feat_size=size, window_size=built[1])
    for name, table in module.named_parameters():
        if table is not before[name]:
            path, _, leaf = name.rpartition(".")
            keep_origin(module.get_submodule(path), leaf, before[name])


def _sources(module: nn.Module) -> dict[tuple[str, str], Tensor]:
    """What tables of positions in a module were made of, by path and name, where they are as they were made."""
    names = [name.rpartition(".")[::2] for name, _ in module.named_parameters()]
    found = {(path, leaf): origin_of(module.get_submodule(path), leaf) for path, leaf in names}
    return {name: origin.source for name, origin in found.items() if origin}

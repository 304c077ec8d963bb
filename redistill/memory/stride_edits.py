"""What other pooling strides change in a recorded pass: arguments, pools that vanish, a tail of another width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod
from typing import Any

from torch import nn

from ..common.modules import is_of_library
from ..networks.paths import POOL_OPS, POOLS, STRIDE_PLACES
from ..networks.pooling_points import PoolingPoint, Stride, pair_of
from ..networks.restride import is_patch, patch_padding
from ..networks.stem_kinds import AS_BUILT, MARK, StemWindow, stem_window
from ..networks.windows import UnitPool
from .recording import OP, Node, Recording, Weights
from .shape_rules import Rule, Shape, ShapeRuleError
from .shape_table import RULES
from .shapes import Edits

PADDING = 4  # its place among a convolution's arguments
EDITS_KEPT = 1024  # of one layer at one stride each


class StrideEditor:
    """Turns strides into edits of one recording, whose `points` are its pooling points as recorded."""

    def __init__(self, recording: Recording, points: Sequence[PoolingPoint]) -> None:
        self.recording, self.points = recording, points
        self.in_layer: dict[str, list[tuple[int, Node]]] = {}
        self._layer_edits = lru_cache(EDITS_KEPT)(self._find_layer_edits)
        for event in recording.events:
            if event[0] == OP:
                node = recording.nodes[event[1]]
                self.in_layer.setdefault(node.layer, []).append((event[1], node))

    def edits(self, changed: Mapping[str, Stride]) -> Edits:
        """Edits for the points in `changed`, by name; `ShapeRuleError` where the recording lacks what they need."""
        rules: dict[int, tuple[Rule, tuple]] = {}
        identities: set[int] = set()
        weights: dict[int, Shape] = {}
        for point in self.points:
            if point.name in changed and point.direction == "down":
                for path in point.modules:
                    stride, unit, kernels = self._layer_edits(path, pair_of(changed[point.name]))
                    rules.update(stride)
                    identities.update(unit)
                    weights.update(kernels)
        if not any(point.direction == "up" for point in self.points):
            return Edits(rules, frozenset(identities), weights, self._added(weights))
        return self._mirror(changed, rules, identities)

    def _nodes(self, path: str, *ops: str) -> list[tuple[int, Node]]:
        found = [item for item in self.in_layer.get(self.recording.paths[path], ()) if item[1].op in ops]
        if not found:
            raise ShapeRuleError(f"Layer {path!r} did nothing when it was recorded; capture the network anew.")
        return found

    def _find_layer_edits(
        self, path: str, pair: tuple[int, int]
    ) -> tuple[dict[int, tuple[Rule, tuple]], set[int], dict[int, Shape]]:
        """Another stride for a convolution or a window pool: rules, nodes that return their input, and kernels."""
        if path in self.recording.stride_reads:
            reader = self.recording.stride_reads[path]
            raise ShapeRuleError(
                f"{f'Layer {reader!r}' if reader else 'The network'} goes by the stride of {path!r} in Python; capture "
                "the network anew."
            )
        module = self.recording.modules[path]
        if not isinstance(module, (nn.Conv2d, UnitPool, *POOLS)):
            raise ShapeRuleError(f"Layer {path!r} gathers its windows itself; capture the network anew.")
        if not is_of_library(module):
            raise ShapeRuleError(f"Layer {path!r} runs code of its own, which may do anything; capture it anew.")
        is_cut = is_patch(module)
        padding = patch_padding(module, pair) if is_cut else None
        if is_cut and (padding is None or module.padding_mode != "zeros"):
            raise ShapeRuleError(f"Layer {path!r} pads each side differently at stride 1; capture the network anew.")
        window = _stem_window(path, module, pair)
        if window:
            padding = window.padding
        rules, identities, kernels = {}, set(), {}
        nodes = self._nodes(path, *STRIDE_PLACES)
        if len({_window(node) for _, node in nodes}) > 1:
            raise ShapeRuleError(f"Layer {path!r} runs a window that is not its own; capture the network anew.")
        for index, node in nodes:
            if node.op in POOL_OPS and pair == (1, 1) and any(side % 2 == 0 for side in node.args[1]):
                identities.add(index)
            args = _with(node.args, STRIDE_PLACES[node.op], list(pair))
            rules[index] = (node.rule, args if padding is None else _with(args, PADDING, list(padding)))
            if window:
                kernels[node.ins[1]] = (*self.recording.shapes[node.ins[1]][:2], *window.kernel)
        return rules, identities, kernels

    def _mirror(self, changed: Mapping[str, int], rules: dict, identities: set[int]) -> Edits:
        """A U-Net's decoder follows its encoder: the last level is undone first, the head's stride by the tail."""
        if self.recording.has_red:
            raise ShapeRuleError("This U-Net carries RED blocks for its own strides; build it with these strides.")
        down = [point for point in self.points if point.direction == "down"]
        *up, tail = [point for point in self.points if point.direction == "up"]
        strides = [changed.get(point.name, point.stride) for point in down]
        for point, stride in zip(down[1:], strides[1:], strict=True):
            if point.stride != stride:
                self._pad(point, stride, rules, identities)
        for point, stride in zip(up, reversed(strides[1:]), strict=True):
            if point.stride == stride == 1:
                continue
            # At stride 1 nothing is enlarged, so a recording made there has no operator to edit.
            for index, node in self._nodes(point.modules[0], "upsample_nearest2d"):
                if stride == 1:
                    identities.add(index)
                rules[index] = (RULES[node.op], (None, None, float(stride), float(stride)))
        weights = self._widen(tail, strides[0], rules) if strides[0] != tail.stride else {}
        return Edits(rules, frozenset(identities), weights, self._added(weights))

    def _pad(self, point: PoolingPoint, stride: int, rules: dict, identities: set[int]) -> None:
        """diffusers pads a down-sampler right and bottom where its convolution does not pad, except at stride 1."""
        (path,) = point.modules
        ((index, conv),) = self._nodes(path, "convolution")
        pads = [i for i, node in self.in_layer.get(point.name, ()) if node.op == "constant_pad_nd"]
        if point.stride == 1 and self.recording.model.config.downsample_padding != 1:
            raise ShapeRuleError(f"Layer {point.name!r} may pad at stride {stride}; capture the network anew.")
        if pads and stride == 1:
            identities.update(pads)
            rules[index] = (conv.rule, _with(rules[index][1], PADDING, [1, 1]))

    def _widen(self, tail: PoolingPoint, stride: int, rules: dict) -> dict[int, Shape]:
        """The tail makes stride² times the image's channels, and a pixel shuffle spreads them over space."""
        ((index, shuffle),) = self._nodes(tail.modules[0], "pixel_shuffle")
        rules[index] = (shuffle.rule, _with(shuffle.args, 1, stride))
        ((_, conv),) = self._nodes("conv_out", "convolution")
        shapes = [self.recording.shapes[value] for value in conv.ins[1:]]
        return {
            value: (shape[0] // tail.stride**2 * stride**2, *shape[1:])
            for value, shape in zip(conv.ins[1:], shapes, strict=True)
        }

    def _added(self, weights: Mapping[int, Shape]) -> Weights:
        if not weights:
            return Weights()
        numbers = sum(prod(shape) - prod(self.recording.shapes[value]) for value, shape in weights.items())
        return Weights(numbers, numbers * next(self.recording.model.parameters()).element_size())


def _window(node: Node) -> tuple[Any, ...]:
    """What calls of one layer's own window have in common: operator, stride, and a pool's kernel or the weight."""
    is_pool = node.op in POOL_OPS
    stride = node.args[STRIDE_PLACES[node.op]]
    return node.op, tuple(stride), tuple(node.args[1]) if is_pool else node.ins[1]


def _stem_window(path: str, module: nn.Module, stride: tuple[int, int]) -> StemWindow | None:
    """What becomes of the kernel of a stem that has a kind; None where it stays.

    Raises `ShapeRuleError` for a stem that the recording cannot tell of: another kind of convolution than torch's, or
    one that takes a smaller image.
    """
    stem = getattr(module, MARK, None)
    if stem is None or stem.kind == AS_BUILT:
        return None
    window, own = stem_window(stem, stride), stem_window(stem, stem.stride)
    if type(module) is not nn.Conv2d or max(window.blur) > 1 or tuple(module.kernel_size) != stem.kernel:
        raise ShapeRuleError(f"The stem {path!r} becomes another layer at stride {stride}; capture the network anew.")
    return None if window == own else window


def _with(args: tuple, place: int, value: object) -> tuple:
    return (*args[:place], value, *args[place + 1 :])

"""Activation memory of a network, exact to the byte and re-evaluated live.

`capture(model, size)` records one forward pass without computing anything; the `Tape` it returns answers what the
network would need with other pooling strides, image sizes, batches, number formats and RED blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from .alignment import align_points, red_sites
from .measure import measure_peak
from .memory_profile import LayerMemory, LiveTensor, MemoryProfile, OpMemory
from .program import Blueprint, Program, Sites, compile_program
from .recorder import example_inputs, record
from .red import REDConfig
from .shape_rules import Shape, ShapeRuleError
from .size_bound import size_bound_layer
from .strides import PoolingPoint, check_image_size, check_strides, find_pooling_points
from .tape import ENTER, LEAVE, OP, POOLS, Recording, weights_of
from .timelines import buffer_sizes, eager, fused

__all__ = [
    "LayerMemory",
    "LiveTensor",
    "MemoryProfile",
    "OpMemory",
    "ShapeRuleError",
    "Tape",
    "capture",
    "measure_peak",
]

PROGRAMS_KEPT = 64  # compiled programs a tape remembers; each belongs to one set of RED sites and identity pools
ITEMSIZES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1}  # bytes a number
ACCOUNTINGS = ("fused", "eager")


def capture(model: nn.Module, input_size: Sequence[int] | Sequence[Any] | Tensor) -> Tape:
    """Record one forward pass of `model` and return its tape.

    `input_size` is (batch, channels, height, width), or example inputs: a tensor, or the tuple of arguments, of which
    only shapes and dtypes matter. Models that take a timestep are given one with a size. The model may be on any
    device; it is neither run nor changed, and no data of its weights is touched. The pass is in evaluation mode.

    Raises ValueError for a size that is no size, or on which the model cannot run.
    """
    inputs = _example(model, input_size)
    try:
        return Tape(record(model, inputs))
    except ShapeRuleError:
        raise
    except (RuntimeError, NotImplementedError, IndexError) as error:
        shapes = ", ".join(str(tuple(value.shape)) for value in inputs if isinstance(value, Tensor))
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{type(model).__name__} cannot run on inputs of shape {shapes}: {reason}") from error


def _example(model: nn.Module, given: Any) -> tuple[Any, ...]:
    if isinstance(given, Tensor):
        return (given,)
    given = tuple(given)
    if any(isinstance(value, Tensor) for value in given):
        return given
    if len(given) != 4 or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in given):
        raise ValueError(
            f"Input size is {given!r}; expected (batch, channels, height, width), whole numbers of at least 1, "
            "or example inputs."
        )
    return example_inputs(model, given)


class Tape:
    """One recorded forward pass, ready to be evaluated at other settings. Made by `capture`."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._ops = [(event[1], recording.nodes[event[1]]) for event in recording.events if event[0] == OP]
        self._places = _module_values(recording)
        self._weights = weights_of(recording.model)
        self._blueprint = Blueprint(recording)
        self._programs: dict[Any, Program] = {}
        self._teacher_points: dict[tuple[int, int], list[PoolingPoint]] = {}

    @cached_property
    def points(self) -> list[PoolingPoint]:
        """The model's pooling points at the recorded image size, as `find_pooling_points` gives them."""
        return find_pooling_points(self.recording.model, self._image_size)

    @property
    def input_shape(self) -> Shape:
        """Shape of the first input as recorded."""
        return self.recording.shapes[self.recording.inputs[0]]

    @property
    def _image_size(self) -> tuple[int, int]:
        return self.input_shape[-2:]

    def profile(
        self,
        strides: Mapping[str, int] | None = None,
        image_size: int | tuple[int, int] | None = None,
        batch: int | None = None,
        dtype: str | None = None,
        accounting: str = "fused",
        fuse_add: bool = False,
        red: REDConfig | None = None,
    ) -> MemoryProfile:
        """Memory with other settings; what is not given stays as recorded.

        `strides` are keyed by pooling point. `dtype` ("fp32", "fp16", "bf16", "int8") is that of every floating-point
        tensor. `accounting` "eager" is what PyTorch allocates, "fused" what a deployment runtime holds; `fuse_add`
        lets its convolutions accumulate into the operand that is added to their result. With `red`, RED blocks stand
        where a student of these strides has them when it is aligned with the network as recorded.

        Raises ValueError for unknown names and values, and `ShapeRuleError`, a ValueError, where the tape does not
        say what would happen; build the model that way and capture it then.
        """
        itemsize = _check_choices(dtype, accounting, fuse_add, batch)
        size = self._image_size if image_size is None else check_image_size(image_size)
        changed = self._changed_strides(strides, size) if strides else {}
        recorded, identities = self._evaluate(changed, size, batch)
        sites = self._red_sites(changed, size, recorded, red) if red is not None else {}
        program = self._program(identities, sites, red)
        shapes = program.shapes(recorded) if program.sources else recorded
        return self._summary(program, shapes, itemsize, accounting, fuse_add)

    def points_at(
        self, strides: Mapping[str, int] | None = None, image_size: int | tuple[int, int] | None = None
    ) -> list[PoolingPoint]:
        """The pooling points with other strides and at another image size; what is not given stays as recorded.

        Raises ValueError and `ShapeRuleError` as `profile` does.
        """
        size = self._image_size if image_size is None else check_image_size(image_size)
        changed = self._changed_strides(strides, size) if strides else {}
        return self._points_at(changed, self._evaluate(changed, size, None)[0])

    def _changed_strides(self, strides: Mapping[str, int], size: tuple[int, int]) -> dict[str, int]:
        check_strides(strides, self.points, size)
        own = {point.name: point.stride for point in self.points}
        return {name: stride for name, stride in strides.items() if stride != own[name]}

    def _evaluate(
        self, changed: Mapping[str, int], size: tuple[int, int], batch: int | None
    ) -> tuple[list[Shape], frozenset[int]]:
        """Shapes of all recorded values at other settings, and the nodes that became identities."""
        recording = self.recording
        recorded = recording.shapes
        first = self._input_at(size, batch)
        if not changed and first == self.input_shape:
            return recorded, frozenset()
        if first[0] != self.input_shape[0] and len(recording.inputs) > 1:
            raise ShapeRuleError("The network has further inputs of unknown batch; capture it with this batch.")
        if (changed or first[2:] != self.input_shape[2:]) and self._size_bound is not None:
            raise ShapeRuleError(
                f"Layer {self._size_bound!r} may pad or pool by its stride or a map's size; capture the network anew."
            )
        overrides, identities = self._overrides(changed)
        shapes = list(recorded)
        shapes[recording.inputs[0]] = first
        for index, node in self._ops:
            args = overrides.get(index, node.args) if overrides else node.args
            outs = node.outs
            try:
                if index in identities:
                    shapes[outs[0]] = shapes[node.ins[0]]
                elif len(outs) == 1:
                    shapes[outs[0]] = node.rule(args, *[shapes[value] for value in node.ins])
                else:
                    for out, shape in zip(outs, node.rule(args, *[shapes[value] for value in node.ins]), strict=True):
                        if shape is not None:
                            shapes[out] = shape
            except (ValueError, TypeError, IndexError) as error:
                raise ShapeRuleError(f"Layer {node.layer or 'of the network itself'!r}: {error}") from None
        for value, dims in recording.layouts:
            if any((shapes[value][dim] == 1) != (recorded[value][dim] == 1) for dim in dims):
                raise ShapeRuleError(
                    f"A map of shape {shapes[value]}, recorded as {recorded[value]}, may need a copy where it needed "
                    "none; capture the network at this size."
                )
        for value, dim in recording.whole_slices:
            if shapes[value][dim] != recorded[value][dim]:
                raise ShapeRuleError(
                    f"A slice to {recorded[value][dim]} took all of a map that is now {shapes[value]}; capture the "
                    "network at this size."
                )
        return shapes, identities

    @cached_property
    def _size_bound(self) -> str | None:
        return size_bound_layer(self.recording)

    def _input_at(self, size: tuple[int, int], batch: int | None) -> Shape:
        shape = self.input_shape
        if size != shape[-2:]:
            if len(shape) != 4:
                raise ValueError(f"The input has shape {shape}, so it has no image size; expected image_size=None.")
            shape = (*shape[:2], *size)
        return shape if batch is None else (batch, *shape[1:])

    def _overrides(self, changed: Mapping[str, int]) -> tuple[dict[int, tuple], frozenset[int]]:
        """Arguments of the operators whose stride changes, and the pools that a stride of 1 turns into nothing."""
        if not changed:
            return {}, frozenset()
        if hasattr(self.recording.model, "set_pooling_strides"):
            raise ShapeRuleError("Other strides change this network's structure; build it with them and capture it.")
        modules = {path for point in self.points if point.name in changed for path in point.modules}
        stride_of = {path: changed[p.name] for p in self.points if p.name in changed for path in p.modules}
        overrides, identities = {}, set()
        for path in modules:
            stride = stride_of[path]
            found = self._strided.get(self.recording.paths[path], ())
            if not found:
                raise ShapeRuleError(f"Layer {path!r} did nothing when it was recorded; capture the network anew.")
            for index in found:
                node = self.recording.nodes[index]
                if node.op in POOLS and stride == 1 and any(side % 2 == 0 for side in node.args[1]):
                    identities.add(index)
                place = 2 if node.op in POOLS else 3
                overrides[index] = (*node.args[:place], [stride, stride], *node.args[place + 1 :])
        return overrides, frozenset(identities)

    @cached_property
    def _strided(self) -> dict[str, list[int]]:
        """Convolutions and window pools by layer."""
        found: dict[str, list[int]] = {}
        for index, node in self._ops:
            if node.op in (*POOLS, "convolution"):
                found.setdefault(node.layer, []).append(index)
        return found

    def _red_sites(
        self, changed: Mapping[str, int], size: tuple[int, int], shapes: list[Shape], red: REDConfig
    ) -> Sites:
        """Where a student of these strides gets RED blocks when it is aligned with the network as recorded."""
        if any(node.is_red for _, node in self._ops):
            raise ValueError("The network carries RED blocks already; expected one without them, or red=None.")
        if hasattr(self.recording.model, "set_pooling_strides"):
            raise ShapeRuleError("RED blocks are part of this network's structure; build the student and capture it.")
        if size not in self._teacher_points:
            self._teacher_points[size] = self._points_at({}, self._evaluate({}, size, None)[0])
        student = self._points_at(changed, shapes)
        return red_sites(align_points(student, self._teacher_points[size]), red)

    def _points_at(self, changed: Mapping[str, int], shapes: list[Shape]) -> list[PoolingPoint]:
        if not changed and shapes is self.recording.shapes:
            return list(self.points)
        if hasattr(self.recording.model, "set_pooling_strides"):
            raise ShapeRuleError("At other sizes this network's points are not known; capture it at this size.")
        points, reduction = [], 1
        for point in self.points:
            stride = changed.get(point.name, point.stride)
            reduction *= stride
            before, after = self._places[point.name]
            points.append(
                replace(
                    point,
                    stride=stride,
                    reduction=reduction,
                    in_size=shapes[before][-2:],
                    out_size=shapes[after][-2:],
                )
            )
        return points

    def _program(self, identities: frozenset[int], sites: Sites, red: REDConfig | None) -> Program:
        key = (identities, tuple((path, *sides) for path, sides in sites.items()), red if sites else None)
        if key not in self._programs:
            if len(self._programs) >= PROGRAMS_KEPT:
                self._programs.pop(next(iter(self._programs)))
            self._programs[key] = compile_program(self._blueprint, identities, sites, red)
        return self._programs[key]

    def _summary(
        self, program: Program, shapes: list[Shape], itemsize: int | None, accounting: str, fuse_add: bool
    ) -> MemoryProfile:
        sizes = buffer_sizes(program, shapes, itemsize)
        line = eager(program, sizes) if accounting == "eager" else fused(program, shapes, sizes, fuse_add)
        peak = max(line.live, default=0)
        index = line.live.index(peak) if line.live else 0
        spliced = sum(weight.bytes(itemsize) for weight in program.red_weights)
        own_red = sum(weight.bytes(itemsize) for weight in self._weights if weight.is_red)
        return MemoryProfile(
            peak_bytes=peak,
            peak_layer=program.steps[index].layer if line.live else "",
            peak_index=index,
            red_peak_bytes=max((line.live[i] for i in program.red_steps), default=0),
            weight_bytes=sum(weight.bytes(itemsize) for weight in self._weights) + spliced,
            red_weight_bytes=own_red + spliced,
            input_bytes=sum(sizes[buffer] for buffer in program.inputs),
            output_bytes=sum(sizes[buffer] for buffer in program.outputs),
            accounting=accounting,
            _program=program,
            _shapes=shapes,
            _timeline=line,
        )


def _check_choices(dtype: str | None, accounting: str, fuse_add: bool, batch: int | None) -> int | None:
    """Bytes of a number in `dtype`, None for None; ValueError for what is none of the choices."""
    if accounting not in ACCOUNTINGS:
        raise ValueError(f"accounting is {accounting!r}; expected one of {list(ACCOUNTINGS)}.")
    if fuse_add and accounting != "fused":
        raise ValueError(f"fuse_add is set with accounting {accounting!r}; expected accounting 'fused'.")
    if dtype is not None and dtype not in ITEMSIZES:
        raise ValueError(f"dtype is {dtype!r}; expected one of {list(ITEMSIZES)}.")
    if batch is not None and (isinstance(batch, bool) or not isinstance(batch, int) or batch < 1):
        raise ValueError(f"batch is {batch!r}; expected a whole number of at least 1.")
    return None if dtype is None else ITEMSIZES[dtype]


def _module_values(recording: Recording) -> dict[str, tuple[int, int]]:
    """The value that each module took and the one it gave on its first call, by path."""
    taken: dict[str, int] = {}
    places: dict[str, tuple[int, int]] = {}
    for event in recording.events:
        if event[0] == ENTER and event[2] is not None:
            taken.setdefault(event[1], event[2])
        elif event[0] == LEAVE and event[2] is not None and event[1] in taken:
            places.setdefault(event[1], (taken[event[1]], event[2]))
    return places

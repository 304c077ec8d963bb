"""Activation memory of a network, exact to the byte and re-evaluated live.

`capture(model, size)` records one forward pass without computing anything; the `Tape` it returns answers what the
network would need with other pooling strides, image sizes, batches, number formats and RED blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from typing import Any

from torch import Tensor, nn

from ..common.modules import garbage_kept, meta_copy
from ..networks.alignment import BY_SIZE, align_points, red_sites
from ..networks.pooling_points import (
    PoolingPoint,
    Stride,
    check_image_size,
    declares_points,
    find_pooling_points,
    input_channels,
    pair_of,
    points_of,
    restride_points,
)
from ..networks.red import SIDES, REDConfig
from ..networks.stem_kinds import seen_at
from ..networks.strides import apply_strides, check_strides, read_strides, restrided_reductions
from ..networks.student import add_red
from ..networks.trails import Size
from .compiler import Blueprint, FrozenSites, Sites, compile_program, frozen_sites
from .executorch import Planned, plan_executorch
from .failures import recorded, restrided
from .inputs import Arguments, lying_as, mapped, read_capture
from .macs import total_macs
from .profile import MemoryProfile, Peak
from .recording import ENTER, LEAVE, Recording, weights_of
from .route import recorded_route
from .setting import Counted, Setting, check_choices
from .shape_rules import Shape, ShapeRuleError
from .shapes import Edits, Evaluator
from .stride_edits import StrideEditor

PROGRAMS_KEPT = 256  # programs a tape remembers; each belongs to one set of RED sites and identity pools
SETTINGS_KEPT = 8  # settings whose shapes and sizes a tape remembers: one edit asks for both accountings and the points
POINTS_KEPT = 4096  # pooling points at other strides that a tape remembers
Strides = tuple[tuple[str, int], ...]  # by name of the pooling point


def capture(
    model: nn.Module,
    input_size: Sequence[int] | Sequence[Any] | Mapping[str, Any] | Tensor,
    kwargs: Mapping[str, Any] | None = None,
    **keywords: Any,
) -> Tape:
    """Record one forward pass of `model` and return its tape.

    `input_size` is (batch, channels, height, width), or example inputs, of which only shapes, dtypes and memory
    formats matter: a tensor, the tuple of arguments, in which tensors may stand in lists and dicts, or a dict of
    arguments by name; `kwargs`, or keywords, are further ones by name. Models that take a timestep are given one with
    a size. The model may be on any device and in any memory format; it is neither run nor changed, and no data of its
    weights is touched. The pass is in evaluation mode. `torch.compile` and DataParallel are looked through. What the
    pass keeps on classes or under `lru_cache` is taken back; tensors that it puts into global variables stay there,
    without data.

    Raises ValueError, in one sentence, for what is no size, and for a model that cannot run on it or be recorded.
    """
    return _taped(model, read_capture(model, input_size, {**(kwargs or {}), **keywords}))


def capture_images(model: nn.Module, image_size: int | Size, batch: int = 1) -> Tape:
    """`capture` for images of `image_size` pixels, with as many channels as the model takes."""
    return capture(model, (batch, input_channels(model), *check_image_size(image_size)))


class Tape:
    """One recorded forward pass, ready to be evaluated at other settings. Made by `capture`."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._evaluator = Evaluator(recording)
        self._places = _module_values(recording)
        registered, self._red_weights = weights_of(recording.model)
        self._weights = registered + recording.unregistered
        self.blueprint = Blueprint(recording)
        # What threads may ask at once, as the visitors of a page do.
        self._evaluated = lru_cache(SETTINGS_KEPT)(self._evaluate)
        self._setting = lru_cache(SETTINGS_KEPT)(self._find_setting)
        self._program = lru_cache(PROGRAMS_KEPT)(partial(compile_program, self.blueprint))
        self._checked_sites = lru_cache(PROGRAMS_KEPT)(self._check_sites)
        self._checked_strides = lru_cache(SETTINGS_KEPT)(self._check_strides)
        self._teacher_points = lru_cache(SETTINGS_KEPT)(partial(self._points_at, ()))
        self._restrided = lru_cache(POINTS_KEPT)(self._restride)

    @cached_property
    def points(self) -> list[PoolingPoint]:
        """The model's pooling points at the recorded image size, as `find_pooling_points` gives them."""
        recording = self.recording
        if declares_points(recording.model):
            return find_pooling_points(recording.model, self._image_size)
        return points_of(recording.model, recorded_route(recording))

    @property
    def strides(self) -> dict[str, int]:
        """The network's own strides by pooling point, of those that can be chosen."""
        return {point.name: point.stride for point in self.points if point.is_offered}

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
        alignment: str = BY_SIZE,
        sites: Sites | None = None,
    ) -> MemoryProfile:
        """Memory with other settings; what is not given stays as recorded.

        `strides` are keyed by pooling point. `dtype` ("fp32", "fp16", "bf16", "int8") is that of every floating-point
        tensor. `accounting` "eager" is what PyTorch allocates, "fused" what a deployment runtime holds, "onnxruntime"
        what that one's CPU kernels hold in fp32 (see `memory.onnxruntime`), "executorch" the arena that one plans, its
        input, which the caller holds, apart (see `memory.executorch`); `fuse_add` lets convolutions of "fused"
        accumulate into the operand that is added to their result. With `red`, RED blocks stand
        where a student of these strides has them when it is aligned (`alignment`) with the network as recorded; `sites`
        (layer path → side → channels) says where instead.

        Raises ValueError for unknown names and values, and `ShapeRuleError`, a ValueError, where the tape does not
        say what would happen; build the model that way and capture it then.
        """
        itemsize = check_choices(dtype, accounting, fuse_add, batch)
        setting = self.setting(strides, image_size, batch, red, alignment, sites)
        return self._profiled(setting, setting.count(itemsize, accounting, fuse_add), itemsize, accounting)

    def _profiled(self, setting: Setting, counted: Counted, itemsize: int | None, accounting: str) -> MemoryProfile:
        program, shapes, line, peak, index, layer = counted
        weights = self._weights + setting.edits.added_weights + program.red_weights
        return MemoryProfile(
            peak_bytes=peak,
            peak_layer=layer,
            peak_index=index,
            red_peak_bytes=max(map(line.live.__getitem__, program.red_steps), default=0),
            weight_bytes=weights.bytes(itemsize),
            red_weight_bytes=self._red_weights.bytes(itemsize) + program.red_weights.bytes(itemsize),
            input_bytes=counted.input_bytes,
            output_bytes=sum(line.sizes[buffer] for buffer in program.outputs),
            accounting=accounting,
            itemsize=itemsize,
            _weights=weights,
            _program=program,
            _shapes=shapes,
            _timeline=line,
        )

    def setting(
        self,
        strides: Mapping[str, int] | None = None,
        image_size: int | tuple[int, int] | None = None,
        batch: int | None = None,
        red: REDConfig | None = None,
        alignment: str = BY_SIZE,
        sites: Sites | None = None,
    ) -> Setting:
        """What `profile` counts at these settings. Raises ValueError and `ShapeRuleError` as it does."""
        changed, first = self._changes(strides, image_size, batch)
        return self._setting(changed, first, red, alignment, sites if sites is None else frozen_sites(sites))

    def arena(
        self,
        strides: Mapping[str, int] | None = None,
        image_size: int | tuple[int, int] | None = None,
        dtype: str | None = None,
        red: REDConfig | None = None,
        alignment: str = BY_SIZE,
        sites: Sites | None = None,
    ) -> Planned:
        """The memory that ExecuTorch plans, batch norms folded, at settings as `profile` takes them.

        Raises ValueError as `profile` does, and where an operator's tensors in ExecuTorch are not known, by its name.
        """
        itemsize = check_choices(dtype, "fused", False, None)
        setting = self.setting(strides, image_size, None, red, alignment, sites)
        return plan_executorch(setting.program, setting.shapes, itemsize)

    def peaks(
        self,
        strides: Mapping[str, int] | None = None,
        image_size: int | tuple[int, int] | None = None,
        batch: int | None = None,
        dtype: str | None = None,
        accounting: str = "fused",
        fuse_add: bool = False,
        reds: Sequence[REDConfig | None] = (None,),
        alignment: str = BY_SIZE,
    ) -> list[Peak]:
        """Peak, its layer, MACs and need as `profile` gives them, for each of `reds`, in less time: for many settings.

        Raises ValueError and `ShapeRuleError` as `profile` does.
        """
        itemsize = check_choices(dtype, accounting, fuse_add, batch)
        changed, first = self._changes(strides, image_size, batch)
        result: list[Peak] = []
        counted = macs = None
        for red in reds:
            setting = self._setting(changed, first, red, alignment)
            if macs is None:
                macs = total_macs(self.blueprint.products, setting.shapes)
            if setting.program is counted:  # settings that put in no block share a program
                result.append(result[-1])
                continue
            counted = setting.program
            found = setting.count(itemsize, accounting, fuse_add)
            macs_of_all = macs + counted.red_macs(setting.shapes)
            profiled = partial(self._profiled, setting, found, itemsize, accounting)
            result.append(Peak(found.peak, found.layer, macs_of_all, profiled))
        return result

    def points_at(
        self, strides: Mapping[str, int] | None = None, image_size: int | tuple[int, int] | None = None
    ) -> list[PoolingPoint]:
        """The pooling points with other strides and at another image size; what is not given stays as recorded.

        Raises ValueError and `ShapeRuleError` as `profile` does.
        """
        return self._points_at(*self._changes(strides, image_size, None))

    def anew(
        self,
        strides: Mapping[str, int] | None = None,
        image_size: int | tuple[int, int] | None = None,
        batch: int | None = None,
    ) -> Tape:
        """The network at these settings recorded anew, for where the tape cannot tell; it takes as long as `capture`.

        Raises ValueError, in one sentence, for settings at which the network does not run, and for an image size or a
        batch where further inputs would have to change with it.
        """
        changed, first = self._changes(strides, image_size, batch)
        self._check_inputs(first)
        model = meta_copy(self.recording.model)
        if changed and self.recording.takes_an_image:
            restrided(model, dict(changed), first[-2:])
        elif changed:  # which cannot be tried on an image alone
            apply_strides(model, self.points, dict(changed))
        image = self.recording.first_input
        resized = lying_as(image, first)
        return _taped(model, mapped(self.recording.arguments, lambda x: resized if x is image else x))

    def peaks_anew(
        self,
        strides: Mapping[str, int] | None = None,
        image_size: int | tuple[int, int] | None = None,
        batch: int | None = None,
        dtype: str | None = None,
        accounting: str = "fused",
        fuse_add: bool = False,
        reds: Sequence[REDConfig | None] = (None,),
        alignment: str = BY_SIZE,
    ) -> list[Peak]:
        """`peaks`, of the network recorded anew at these strides, image size and batch. Raises ValueError as `anew`."""
        tape = self.anew(strides, image_size, batch)
        counted = {"dtype": dtype, "accounting": accounting, "fuse_add": fuse_add}
        bare, *_ = tape.peaks(**counted)
        students = [self.aligned_anew(tape, red, image_size, alignment) for red in reds]
        return [bare if student is tape else student.profile(**counted).peak for student in students]

    def aligned_anew(
        self,
        student: Tape,
        red: REDConfig | None,
        image_size: int | tuple[int, int] | None,
        alignment: str = BY_SIZE,
    ) -> Tape:
        """A student recorded anew, with RED blocks where it is aligned with this network; itself where it has none."""
        if red is None:
            return student
        sites = red_sites(align_points(student.points, self._own_points(image_size), alignment), red)
        return student.with_red(red, sites) if sites else student

    def with_red(self, red: REDConfig, sites: Sites) -> Tape:
        """The network with RED blocks at `sites`, recorded anew."""
        model = add_red(meta_copy(self.recording.model), sites, red)
        return _taped(model, self.recording.arguments)

    def _own_points(self, image_size: int | tuple[int, int] | None) -> list[PoolingPoint]:
        """The points of the network's own strides at an image size, recorded anew where the tape cannot tell."""
        try:
            return self.points_at(None, image_size)
        except ShapeRuleError:
            return self.anew(None, image_size).points

    def _changes(
        self, strides: Mapping[str, int] | None, image_size: int | tuple[int, int] | None, batch: int | None
    ) -> tuple[Strides, Shape]:
        """The strides that are not the recorded ones, and the shape of the first input; ValueError for bad settings."""
        size = self._image_size if image_size is None else check_image_size(image_size)
        shape = self.input_shape
        changed = self._changed_strides(strides, size) if strides else ()
        if size != shape[-2:]:
            if len(shape) != 4:
                raise ValueError(f"The input has shape {shape}, so it has no image size; expected image_size=None.")
            shape = (*shape[:2], *size)
        return changed, shape if batch is None else (batch, *shape[1:])

    def _changed_strides(self, strides: Mapping[str, int], size: tuple[int, int]) -> Strides:
        """The strides that are not the recorded ones; ValueError for bad ones. Whole numbers, as nearly all are, are
        looked at once for both accountings."""
        if not isinstance(strides, Mapping):
            raise ValueError(f"strides are {str(strides)[:80]!r}; expected numbers by name of the pooling point.")
        if all(type(stride) is int for stride in strides.values()):  # as a key, True and 2.0 would pass for 1 and 2
            return self._checked_strides(tuple(strides.items()), size)
        return self._check_strides(strides.items(), size)

    def _check_strides(self, items: Iterable[tuple[str, Any]], size: tuple[int, int]) -> Strides:
        strides = dict(items)
        check_strides(strides, self.points, size)
        own = {point.name: point.stride for point in self.points}
        return tuple((n, s) for n, s in read_strides(strides).items() if s != own[n])

    def _find_setting(
        self,
        changed: Strides,
        first: Shape,
        red: REDConfig | None,
        alignment: str = BY_SIZE,
        sites: FrozenSites | None = None,
    ) -> Setting:
        """What there is to count, with RED blocks at `sites`, or aligned with the network as recorded."""
        if not isinstance(red, REDConfig | None):
            raise ValueError(f"red is {str(red)[:80]!r}; expected a REDConfig, or None.")
        shapes, edits = self._evaluated(changed, first)
        if red is not None and self.recording.has_red:
            raise ValueError("The network carries RED blocks already; expected one without them, or red=None.")
        if red is None:
            sites = ()
        elif sites is None:
            teacher = self._teacher_points((*self.input_shape[:-2], *first[-2:]))
            pairs = align_points(self._points_at(changed, first), teacher, alignment)
            sites = frozen_sites(red_sites(pairs, red))
        else:
            self._checked_sites(sites)
        program = self._program(edits.identities, sites, red if sites else None)
        return Setting(program, program.shapes(shapes), edits, red, sites)

    def _check_sites(self, sites: FrozenSites) -> None:
        """ValueError for sites of no RED block: of no layer of the network, or of other channels than its map has."""
        for path, sides in sites:
            values = dict(zip(SIDES, self._places.get(path, ()), strict=False))
            for side, channels in sides:
                if side not in values:
                    raise ValueError(
                        f"No {side!r} of {path!r} to put a RED block at; expected one of {SIDES} of a layer."
                    )
                shape = self.recording.shapes[values[side]]
                if channels not in shape[1:]:
                    raise ValueError(
                        f"A RED block at the {side} of {path!r} is for {channels} channels; its map has shape {shape}."
                    )

    def _evaluate(self, changed: Strides, first: Shape) -> tuple[list[Shape], Edits]:
        """Shapes of all recorded values at other settings, and what the strides changed."""
        recording = self.recording
        if not changed and first == self.input_shape:
            return recording.shapes, Edits()
        self._check_inputs(first)
        strides = dict(changed)
        if declares_points(recording.model):  # refuse what the network would refuse
            down = [strides.get(point.name, point.stride) for point in self.points if point.direction == "down"]
            recording.model.check_image_size(first[-2:], down)
        edits = self._editor.edits(strides) if changed else Edits()
        return self._evaluator.shapes(first, edits), edits

    def _check_inputs(self, first: Shape) -> None:
        """`ShapeRuleError` where nobody knows what becomes of further inputs."""
        others = [self.recording.shapes[value] for value in self.recording.inputs[1:]]
        if first[0] != self.input_shape[0] and any(others):
            raise ShapeRuleError("The network has further inputs of unknown batch; capture it anew with this batch.")
        if first[2:] != self.input_shape[2:] and any(len(other) > 1 for other in others):
            raise ShapeRuleError("The network has further inputs of unknown size; capture it anew at this size.")

    @cached_property
    def _editor(self) -> StrideEditor:
        return StrideEditor(self.recording, self.points)

    def _points_at(self, changed: Strides, first: Shape) -> list[PoolingPoint]:
        shapes, _ = self._evaluated(changed, first)
        if shapes is self.recording.shapes:
            return list(self.points)
        strides = dict(changed)
        if declares_points(self.recording.model):
            return restride_points(self.points, strides, first[-2:])
        points = []
        reductions = restrided_reductions(self.points, strides)
        for place, (point, reduction) in enumerate(zip(self.points, reductions, strict=True)):
            if set(point.layouts) != {"NCHW"} or not point.modules:
                raise ShapeRuleError(f"The map of {point.name!r} is laid out by its layer; capture the network anew.")
            taken, given = self._places[point.name]
            stride = strides.get(point.name, point.stride)
            points.append(self._restrided(place, stride, reduction, shapes[taken][-2:], shapes[given][-2:]))
        return points

    def _restride(self, place: int, stride: Stride, reduction: Stride, in_size: Size, out_size: Size) -> PoolingPoint:
        """A point at another stride; remembered, since making one takes as long as finding out its sizes."""
        point = self.points[place]
        kernel = seen_at(self.recording.modules[point.modules[0]], pair_of(stride)) or point.kernel
        return replace(point, stride=stride, reduction=reduction, in_size=in_size, out_size=out_size, kernel=kernel)


def _taped(model: nn.Module, arguments: Arguments) -> Tape:
    """The tape of a model that is run on these arguments, made without looking for garbage: a twentieth of the time."""
    with garbage_kept():
        return Tape(recorded(model, arguments))


def _module_values(recording: Recording) -> dict[str, tuple[int, int]]:
    """The value that each module took and the one it gave on its first call, by path, in running order."""
    taken: dict[str, int] = {}
    given: dict[str, int] = {}
    for event in recording.events:
        if event[0] == ENTER and event[2] is not None:
            taken.setdefault(event[1], event[2])
        elif event[0] == LEAVE and event[2] is not None:
            given.setdefault(event[1], event[2])
    return {path: (value, given[path]) for path, value in taken.items() if path in given}

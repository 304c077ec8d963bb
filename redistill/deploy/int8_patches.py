"""An integer program whose first steps run patch by patch: the same numbers, in the memory of a patch.

As `redistill.networks.patches` says which part of every map a patch needs. The image stays whole, and so does the map
that the patches make; all between is a part of a map, in memory that the next patch uses again. The kernels are those
of whole maps: a part is a map whose padding begins further away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from ..networks.patches import (
    AXES,
    COLUMNS,
    ROWS,
    Interval,
    MapOp,
    NotPatchable,
    Shape,
    Stage,
    Window,
    check_grid,
    check_tiles,
    make_stage,
    tiles,
)
from .int8_graph import Map
from .int8_step import Field, IntegerNetwork, Step

WINDOWS = ("convolution", "max_pool", "average_pool")


def in_patches(network: IntegerNetwork, counted: Stage, upto: str, grid: int) -> IntegerNetwork:
    """The network with all steps up to the map of a layer in grid x grid patches, which leave their part of it there.

    `counted` is what the network itself computes up to layer `upto`: the program's map is the last of those sides,
    behind as many convolutions and pools, that all which follows works on alone. Raises ValueError, in one sentence,
    where the program has none, and for more patches than it has rows or columns.
    """
    sides, windows = counted.shapes[counted.target][1:], sum(isinstance(op.reads, Window) for op in counted.ops)
    first = int(network.steps[0].kernel == "table" and network.steps[0].inputs == (network.input,))  # reads pixels
    image = network.steps[0].output if first else network.input
    end = _end(network, first, sides, windows)
    if end is None:
        raise ValueError(f"The C program has no map that layer {upto!r} leaves alone to what follows; choose another.")
    check_tiles(upto, (1, *sides), check_grid(grid))
    steps, target = network.steps[first:end], network.steps[end - 1].output
    numbers = {image.name: 0}
    for step in steps:
        numbers.setdefault(step.output.name, len(numbers))
    shapes = {numbers[made.name]: (1, *made.sides) for made in (image, *(step.output for step in steps))}
    try:
        ops = [_operator(step, numbers) for step in steps]
        stage = make_stage(ops, shapes, 0, numbers[target.name])
    except NotPatchable as error:
        raise ValueError(f"Patches cannot be computed in C up to {upto!r}: {error}.") from None
    kept = [step for step, op in zip(steps, ops, strict=True) if op in stage.ops]
    patches: list[Step] = []
    for place, part in enumerate(product(tiles(sides[1], grid), tiles(sides[2], grid))):
        needs = [stage.needs(axis, part[axis]) for axis in AXES]
        patches += _Patch(numbers, needs, f"@{place}").steps(kept, image, target)
    return replace(network, steps=(*network.steps[:first], *patches, *network.steps[end:]))


def _end(network: IntegerNetwork, first: int, sides: Shape, windows: int) -> int | None:
    """The place behind the last step that makes such a map, on which alone all that follows works."""
    steps, found, count = network.steps, None, 0
    for end in range(first + 1, len(steps)):
        made, count = steps[end - 1].output, count + (steps[end - 1].kernel in WINDOWS)
        if count > windows:
            break
        if count == windows and made.sides == tuple(sides) and _is_alone(made, steps[end:]):
            found = end
    return found


def _is_alone(made: Map, later: Sequence[Step]) -> bool:
    known = {made.name}
    for step in later:
        if step.output.name == made.name or any(taken.name not in known for taken in step.inputs):
            return False
        known.add(step.output.name)
    return True


def _operator(step: Step, numbers: Mapping[str, int]) -> MapOp:
    """What a step sees of its maps; `NotPatchable` where that is no window."""
    ins, outs = tuple(numbers[taken.name] for taken in step.inputs), (numbers[step.output.name],)
    if step.kernel not in WINDOWS:
        if any(taken.sides[1:] != step.output.sides[1:] for taken in step.inputs):
            raise NotPatchable(f"{step.layer!r} spreads one number over a whole map")
        return MapOp(step.kernel, (), ins, outs, None, step.layer)
    pairs = (("kernel_height", "kernel_width"), ("stride_y", "stride_x"), ("pad_top", "pad_left"))
    kernel, stride, padding, dilation = (
        tuple(int(step.fields.get(name, 1)) for name in pair) for pair in (*pairs, ("dilation_y", "dilation_x"))
    )
    reads = Window(kernel, stride, padding, dilation, is_pool=step.kernel != "convolution")
    return MapOp(step.kernel, (), ins, outs, reads, step.layer)


@dataclass(frozen=True)
class _Patch:
    """One patch: which rows and columns of every map it needs, by the number of the map."""

    numbers: Mapping[str, int]
    needs: Sequence[Mapping[int, Interval]]  # of rows, of columns
    mark: str  # behind the names of its maps

    def steps(self, whole: Sequence[Step], image: Map, target: Map) -> Iterator[Step]:
        """Those of the stage, of this patch alone; the last puts what was made into the target."""
        parts = {image.name: image}
        for step in whole:
            made = parts[step.output.name] = self._part(step.output)
            taken = tuple(parts[one.name] for one in step.inputs)
            sees = self._window if step.kernel in WINDOWS else self._places
            yield Step(step.kernel, taken, made, dict(step.fields) | sees(step, taken, made), step.layer)
        (top, _), (left, _) = self._region(target)
        made = parts[target.name]
        fields: dict[str, Field] = {
            "rows": made.height,
            "row_bytes": made.width * made.channels,
            "start": (top * target.width + left) * target.channels,
            "pitch": target.width * target.channels,
        }
        yield Step("paste", (made,), target, fields, whole[-1].layer)

    def _region(self, whole: Map) -> tuple[Interval, Interval]:
        number = self.numbers[whole.name]
        return self.needs[ROWS][number], self.needs[COLUMNS][number]

    def _origin(self, whole: Map, part: Map) -> tuple[int, int]:
        """Row and column of the map at which a part begins; the image is there as a whole."""
        if part is whole:
            return 0, 0
        return tuple(first for first, _ in self._region(whole))

    def _part(self, whole: Map) -> Map:
        height, width = (end - first for first, end in self._region(whole))
        return replace(whole, name=whole.name + self.mark, height=height, width=width)

    def _window(self, step: Step, taken: Sequence[Map], made: Map) -> dict[str, Field]:
        """Fields of a convolution or a pool: of a part the padding begins further away."""
        origin, fields = self._origin(step.inputs[0], taken[0]), {}
        for axis, (side, pad, stride) in enumerate((("height", "pad_top", "y"), ("width", "pad_left", "x"))):
            first = self._region(step.output)[axis][0]
            fields |= {f"in_{side}": getattr(taken[0], side), f"out_{side}": getattr(made, side)}
            fields[pad] = step.fields[pad] + origin[axis] - first * step.fields[f"stride_{stride}"]
        return fields

    def _places(self, step: Step, taken: Sequence[Map], made: Map) -> dict[str, Field]:
        """Fields of what goes element by element: of parts that are larger than what it makes, row by row."""
        is_whole = all(part.sides[1:] == made.sides[1:] for part in taken)
        rows, width = (1, made.height * made.width) if is_whole else (made.height, made.width)
        sizes = {"pixels": width, "count": width * made.channels, "right_count": width * made.channels}
        fields: dict[str, Field] = {name: size for name, size in sizes.items() if name in step.fields}
        if is_whole:
            return fields
        (row, _), (column, _) = self._region(step.output)
        for side, whole, part in zip(("left_", "right_") if len(taken) > 1 else ("",), step.inputs, taken, strict=True):
            top, left = self._origin(whole, part)
            fields[f"{side}first"] = ((row - top) * part.width + column - left) * part.channels
            fields[f"{side}pitch"] = part.width * part.channels
        return fields | {"more_rows": rows - 1}

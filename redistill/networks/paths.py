"""The way that maps take through a network: where they become smaller, by what, and how often on the way.

A follower is told of every module that starts and ends and of every operator, live while a network runs or afterwards
from what was recorded of it. Tensors and their shapes are numbers and tuples to it. Each tensor that holds a map has a
trail: the height and width of the map, whether it lies in an image, in channels-last order or as a row of tokens, and
the steps that brought it there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from torch import nn

from .trails import (
    Route,
    Shape,
    Size,
    Step,
    Trail,
    called_reason,
    is_image,
    joined,
    layout_of,
    pools_away,
    ratio,
    read_size,
    reading,
    resized,
    row_reason,
    size_text,
    window_of,
)
from .windows import Restrided, UnitPool

Shapes = Mapping[int, Shape] | Sequence[Shape]  # by number of the tensor

# Kinds of pooling points beside convolutions: modules, and the operators that they call, whose second argument is the
# window, with the place of the stride among the arguments. The rule of an operator's shapes is in memory/shape_table.
POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d)
POOL_OPS = {"max_pool2d_with_indices": 2, "avg_pool2d": 2}
STRIDE_PLACES = {"convolution": 3, **POOL_OPS}
STRIDED = (nn.Conv2d, *POOLS)
SET = (UnitPool, Restrided)  # what stands where a stride was set
PLACES_SEEN = 2  # side of a window beyond which a whole-map pool is a global one, whatever follows it

REDUCING = ("mean", "sum", "amax", "amin", "max", "min", "var", "var_mean", "logsumexp", "linalg_vector_norm", "norm")
ROWS_OF_FIRST = ("scaled_dot_product_attention", "bmm", "matmul", "baddbmm", "mm", "addmm")
# Operators that leave every place of a map to itself: they move numbers, or work on each place alone.
MOVES = {"view", "_unsafe_view", "_reshape_alias", "reshape", "permute", "transpose", "t", "slice", "select", "cat"}
MOVES |= {"stack", "clone", "_to_copy", "constant_pad_nd", "expand", "unsqueeze", "squeeze", "pixel_unshuffle", "alias"}
MOVES |= {"detach", "contiguous", "unbind", "split", "split_with_sizes", "chunk", "as_strided", "new_empty", "empty"}
PLACEWISE = {"native_layer_norm", "layer_norm", "native_batch_norm", "linear", "addmm", "mm", "relu", "gelu", "silu"}
PLACEWISE |= {"add", "sub", "mul", "div", "sigmoid", "tanh", "relu6", "hardtanh", "hardswish", "hardsigmoid", "matmul"}
PLACEWISE |= {"leaky_relu", "elu", "native_dropout", "pow", "rsqrt", "sqrt"}


@dataclass
class _Frame:
    path: str
    module: nn.Module | None
    given: int | None
    trail: Trail | None
    first: int  # of the steps found inside it
    is_quiet: bool  # a module with a stride: what it calls is its own affair
    mixes: bool = False  # whether it does more than to look at each window by itself
    via: str = ""  # the last operator that gave another shape


class Follower:
    """Follows the maps of one pass; `shapes` are those of all tensors by number, and may grow meanwhile."""

    def __init__(self, modules: Mapping[str, nn.Module], shapes: Shapes) -> None:
        self.modules, self.shapes = modules, shapes
        self.route = Route()
        self.trails: dict[int, Trail] = {}
        self.running = [_Frame("", None, None, None, 0, False)]
        self.image: Size | None = None
        self.has_stem = False
        self.pools_at_end: list[tuple[int, str]] = []  # steps of small whole-map pools that nothing follows so far

    def start(self, value: int) -> None:
        """A tensor that the network is given; images start a trail."""
        shape = self.shapes[value]
        if len(shape) == 4:
            size = (shape[2], shape[3])
            self.image = self.image or size
            self.trails[value] = Trail(size, shape[0], size)

    def finish(self, values: Sequence[int]) -> Route:
        """All that was found, given the tensors that the network returns."""
        last = {step for step, _ in self.pools_at_end}
        names = {self.route.steps[place].name for place in last}
        self.route.steps = [step for place, step in enumerate(self.route.steps) if place not in last]
        for value in values:
            if value in self.trails:
                trail = self.trails[value]
                path = tuple(name for name in trail.path if name not in names)
                self.route.reached.append(replace(trail, path=path, passed=trail.passed - names))
        return self.route

    def enter(self, path: str, value: int | None) -> None:
        """A module starts, on this tensor."""
        module = self.modules.get(path)
        self.route.maps.setdefault(path, None)
        trail = self.trails.get(value)
        if trail and isinstance(module, (nn.Linear, nn.LayerNorm)):
            trail = self._on_tokens(value, trail)
        quiet = self.running[-1].is_quiet or isinstance(module, (*STRIDED, *SET))
        self.running.append(_Frame(path, module, value, trail, len(self.route.steps), quiet))

    def leave(self, path: str, value: int | None) -> None:
        """The module that started last ends, with this tensor."""
        frame = self.running.pop()
        parent = self.running[-1]
        given = frame.given
        if isinstance(frame.module, nn.Conv2d):
            parent.mixes |= max(*frame.module.kernel_size, *frame.module.stride) > 1
        elif isinstance(frame.module, (*POOLS, *SET)):
            parent.mixes = True
        else:
            parent.mixes |= frame.mixes
        if given is None or value is None:
            return
        if isinstance(frame.module, (*STRIDED, *SET)):
            if not parent.is_quiet:
                self._strided(frame, given, value)
        elif not frame.is_quiet and path:
            self._lift(frame, given, value)
        trail = self.trails.get(value)
        if trail and trail.size and len(self.shapes[value]) > 2 and path not in self.route.given:
            self.route.given[path] = layout_of(self.shapes[value], trail.size), trail.size
        pair = self.shapes[given], self.shapes[value]
        if self.route.maps[path] is None and len(pair[0]) == len(pair[1]) == 4:
            is_map = all(is_image(self.shapes[number], self.trails.get(number)) for number in (given, value))
            self.route.maps[path] = pair if is_map else None

    def op(self, name: str, args: Sequence, ins: Sequence[int], outs: Sequence[int]) -> None:
        """An operator has run; `args` are its arguments by place, tensors may be left out (None)."""
        frame = self.running[-1]
        known = [self.trails[value] for value in ins if value in self.trails]
        base = name.rstrip("_")
        if not known or not outs:
            return
        trail = known[0] if base in ROWS_OF_FIRST else joined(known)
        if base not in MOVES and not (base in PLACEWISE and (len(known) == 1 or base not in ROWS_OF_FIRST)):
            frame.mixes |= not self._is_apart(base, args, ins)
        if ins and self.shapes[outs[0]] != self.shapes[ins[0]]:
            frame.via = base
        if ins and ins[0] in self.trails and not frame.is_quiet:
            trail = self._changed(base, args, ins[0], outs[0], trail)
        for out in outs:
            self.trails[out] = trail

    # What operators do to a map

    def _changed(self, op: str, args: Sequence, x: int, out: int, trail: Trail) -> Trail:
        before, after = self.shapes[x], self.shapes[out]
        if op == "convolution" and len(before) == 4:
            trail = self._synced(x, before[2:])
            if args[6]:
                return resized(trail, after[2:])
            return self._called(op, tuple(args[3]), x, out, trail)
        if op in POOL_OPS and len(before) == 4:
            trail = self._synced(x, before[2:])
            stride = _argument(args, POOL_OPS[op]) or args[1]
            if after[2:] == (1, 1):  # a classifier's pool: no stride of it was meant
                return replace(trail, size=None)
            return self._called(op, _pair(stride), x, out, trail)
        if op.startswith(("upsample_", "_upsample_")) and len(before) == 4:
            trail = self._synced(x, before[2:])
            return self._interpolated(x, out, trail if trail.size else replace(trail, size=before[2:]))
        if op == "pixel_unshuffle" and len(before) == 4:
            return self._called(op, _pair(args[1]), x, out, self._synced(x, before[2:]))
        if op.startswith(("_adaptive", "adaptive")) and len(before) == 4:
            return replace(trail, size=None if after[2:] == (1, 1) else after[2:])
        if op in ("slice", "select", "split", "split_with_sizes") and len(before) == 3 and trail.size:
            is_part = before[0] == trail.batch and (len(after) < 3 or after[1] < trail.size[0] * trail.size[1])
            return replace(trail, size=None) if is_part else trail  # class tokens
        if op == "slice" and (_argument(args, 4) or 1) > 1:
            return self._sliced(args[1] % len(before), args[4], x, out, trail)
        if op in REDUCING and trail.size and pools_away(before, args, trail.size):
            return replace(trail, size=None)
        return trail

    def _called(self, op: str, stride: tuple[int, int], x: int, out: int, trail: Trail) -> Trail:
        """A convolution or pool without a module of its own."""
        size = self.shapes[out][2:]
        if max(stride) == 1:
            return trail if trail.size is None else replace(trail, size=size)
        trail = trail if trail.size else replace(trail, size=self.shapes[x][2:])
        return self._step(op, stride, x, out, trail, size)

    def _interpolated(self, x: int, out: int, trail: Trail) -> Trail:
        before, after = self.shapes[x][2:], self.shapes[out][2:]
        if all(side >= least for side, least in zip(after, trail.least, strict=True)):
            return resized(trail, after)  # enlarges, or undoes that
        stride = tuple(max(1, round(a / b)) for a, b in zip(before, after, strict=True))
        reason = (
            f"the map is resized from {size_text(before)} to {size_text(after)} by a function call, which has no stride"
        )
        made = self._step("interpolate", stride, x, out, trail, after, reason=reason)
        return replace(made, reduction=resized(trail, after).reduction)

    def _sliced(self, dim: int, step: int, x: int, out: int, trail: Trail) -> Trail:
        layout = layout_of(self.shapes[x], trail.size) if trail.size else None
        axis = {"NCHW": {2: 0, 3: 1}, "NHWC": {1: 0, 2: 1}}.get(layout, {}).get(dim)
        if axis is None:
            return trail
        stride = (step, 1) if axis == 0 else (1, step)
        size = list(trail.size)
        size[axis] = self.shapes[out][dim]
        steps = self.route.steps
        last = steps[-1] if steps else None
        runner = self.running[-1].path
        if (
            last
            and (last.op, last.runner) == ("slice", runner)
            and last.out_shape == self.shapes[x]
            and last.path == trail.path
        ):
            steps.pop()  # the other dimension of the same slice
            stride = (last.stride[0] * stride[0], last.stride[1] * stride[1])
            base = tuple(r / s for r, s in zip(trail.reduction, last.stride, strict=True))
            trail = replace(trail, size=last.in_size, reduction=base, path=trail.path[:-1])
            return self._step("slice", stride, None, out, trail, size, layouts=(layout, layout), given=last)
        return self._step("slice", stride, x, out, trail, size, layouts=(layout, layout))

    def _is_apart(self, op: str, args: Sequence, ins: Sequence[int]) -> bool:
        """Whether a convolution or pool sees no more of a map than one place, or one of windows that do not meet."""
        if op == "convolution":
            return self.shapes[ins[1]][2:] == (1, 1) and max(args[3]) == 1
        if op in POOL_OPS:
            stride = _pair(_argument(args, POOL_OPS[op]) or args[1])
            return _pair(args[1]) == stride and not any(_pair(_argument(args, 3) or 0))
        return False

    # Steps

    def _strided(self, frame: _Frame, given: int, value: int) -> None:
        """A convolution, a window pool, or what stands for one, has run."""
        module, shapes = frame.module, (self.shapes[given], self.shapes[value])
        if len(shapes[0]) != len(shapes[1]) or len(shapes[0]) != 4:
            return
        layouts = module.layouts if isinstance(module, Restrided) else ("NCHW", "NCHW")
        in_size, out_size = (read_size(shape, layout) for shape, layout in zip(shapes, layouts, strict=True))
        trail = self._synced(given, in_size)
        stride = stride_of(module)
        if trail.size is None:
            if max(stride) == 1:
                self.trails[value] = trail
                return
            trail = replace(trail, size=in_size)
        is_marked = hasattr(module, "pooling_point")
        is_stem = isinstance(module, nn.Conv2d) and not self.has_stem and not trail.path
        if isinstance(module, nn.Conv2d):
            self.has_stem = True
            self.pools_at_end.clear()
        if isinstance(module, POOLS) and out_size == (1, 1) and not is_marked and max(stride) > 1:
            window = _pair(module.kernel_size)
            if window == in_size and max(window) > PLACES_SEEN:
                self.trails[value] = replace(trail, size=None)
                return
            if window == in_size and not isinstance(module, nn.MaxPool2d):
                self.pools_at_end.append((len(self.route.steps), frame.path))
        if max(stride) == 1 and not (is_marked or is_stem):
            self.trails[value] = replace(trail, size=out_size)
            return
        self._add(frame.path, stride, shapes, trail, value, (in_size, out_size), layouts)

    def _lift(self, frame: _Frame, given: int, value: int) -> None:
        """A module has run that has no stride: what it called inside may be its whole work."""
        trail, after = frame.trail, self.trails.get(value)
        if trail is None or after is None or trail.size is None or after.size is None:
            return
        shapes = self.shapes[given], self.shapes[value]
        found = reading(shapes, trail.size, after.size)
        inside = self.route.steps[frame.first :]
        if found is None or any(not step.is_call or step.runner != frame.path for step in inside):
            return
        layouts, size, stride = found
        if not inside and size == after.size:
            return  # no call, and no change
        if not frame.mixes and "NLC" not in layouts[:1] and not isinstance(frame.module, nn.ModuleList):
            del self.route.steps[frame.first :]
            self._add(frame.path, stride, shapes, trail, value, (trail.size, size), layouts, is_window=True)
        elif not inside:
            reason = row_reason(frame.path) if layouts[0] == "NLC" else ""
            self.running.append(frame)
            self.trails[value] = self._step(frame.via, stride, given, value, trail, size, reason, layouts)
            self.running.pop()

    def _on_tokens(self, value: int, trail: Trail) -> Trail:
        """Tokens that are fewer than the places of their map were gathered from windows, by a view."""
        shape = self.shapes[value]
        if trail.size is None or len(shape) != 3 or shape[0] != trail.batch:
            return trail
        times = window_of(trail.size, shape[1])
        if times is None:
            return trail
        size = (trail.size[0] // times, trail.size[1] // times)
        frame = self.running[-1]
        layout = None if frame.given is None else layout_of(self.shapes[frame.given], trail.size)
        reason = row_reason(frame.path) if layout == "NLC" else ""
        x = frame.given if layout else value
        made = self._step(frame.via, (times, times), x, value, trail, size, reason, (layout or "NCHW", "NLC"))
        self.trails[value] = made
        return made

    def _synced(self, value: int, size: Size) -> Trail:
        """The trail of a map that is known to have this size; what made it smaller unseen becomes a step."""
        trail = self.trails.get(value)
        if trail is None:
            image = self.image or size
            reduction = tuple(Fraction(max(1, round(a / b))) for a, b in zip(image, size, strict=True))
            trail = Trail(size, self.shapes[value][0], size, reduction)
        elif trail.batch != self.shapes[value][0]:
            return trail  # windows of the map, side by side in the batch
        elif trail.size is not None and trail.size != size:
            stride = ratio(trail.size, size)
            if stride is None and any(2 * new >= 3 * old for new, old in zip(size, trail.size, strict=True)):
                trail = resized(trail, size)
            elif stride is None or max(stride) == 1:  # padded or cropped
                trail = replace(trail, size=size)
            else:
                trail = self._step(self.running[-1].via, stride, value, value, trail, size)
        self.trails[value] = trail
        return trail

    def _step(
        self,
        op: str,
        stride: tuple[int, int],
        x: int | None,
        out: int,
        trail: Trail,
        size: Size,
        reason: str = "",
        layouts: tuple[str, str] = ("NCHW", "NCHW"),
        given: Step | None = None,
    ) -> Trail:
        """Note a call that changes resolution; returns the trail after it."""
        shapes = given.in_shape if given else self.shapes[x], self.shapes[out]
        runner, op = self.running[-1].path, op.removesuffix("_with_indices") or "view"
        sizes = trail.size, tuple(size)
        more = {"reason": reason or called_reason(op), "is_call": True, "runner": runner, "op": op}
        return self._add(self._call_name(runner, op, sizes), stride, shapes, trail, None, sizes, layouts, **more)

    def _add(self, name, stride, shapes, trail, value, sizes, layouts, **more) -> Trail:
        reduction = tuple(r * s for r, s in zip(trail.reduction, stride, strict=True))
        path = (*trail.path, name)
        self.route.steps.append(Step(name, stride, reduction, path, *shapes, *sizes, layouts, **more))
        least = tuple(min(a, b) for a, b in zip(trail.least, sizes[1], strict=True))
        made = Trail(sizes[1], trail.batch, least, reduction, path, trail.passed | {name})
        if value is not None:
            self.trails[value] = made
        return made

    def _call_name(self, runner: str, op: str, sizes: tuple[Size, Size]) -> str:
        """The module's path and the function, numbered where the module calls it at several sizes."""
        alike = [step for step in self.route.steps if (step.runner, step.op) == (runner, op)]
        known = {(step.in_size, step.out_size): step.name for step in alike}
        if sizes in known:
            return known[sizes]
        name = f"{runner}.{op}" if runner else op
        return f"{name}#{len(known) + 1}" if known else name


def stride_of(module: nn.Module) -> tuple[int, int]:
    """Stride down and across of a convolution, a window pool, or what stands for one."""
    if isinstance(module, UnitPool):
        return 1, 1
    return _pair(module.stride if module.stride is not None else module.kernel_size)


def _pair(value: int | Sequence[int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _argument(args: Sequence, place: int):
    return args[place] if len(args) > place else None

"""Which calls from Python the recording understands: those whose operators follow from what they were given.

Most calls run one operator of their own name, with their own arguments. Others work sizes out in C++ (`flatten`,
`chunk`, `interpolate`), where nobody can watch: for these, the rule of the operator's shapes is made from the call's
arguments. What is in neither way known is trusted at the recorded shapes alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..networks.pointwise import is_pointwise
from .arranged_shapes import makes
from .layer_shapes import attends, norm_with_statistics
from .shape_rules import Rule
from .shape_table import RULES, VIEWS, find_rule, ignores_arguments, rule_of
from .sides import SIDES, plain

Found = tuple[Rule, tuple]  # a rule and the arguments that it takes, which may hold Sides


@dataclass
class Call:
    """A call from Python that is running."""

    name: str
    args: tuple = ()  # with Sides in them
    kwargs: dict[str, Any] = field(default_factory=dict)
    sides_of: Callable[[Tensor], tuple] = tuple  # gives the Sides of a tensor
    sides: list[Any] = field(default_factory=list)  # those among the arguments
    ops: list[str] = field(default_factory=list)  # operators that it ran
    is_settled: bool = True  # whether its operators' shapes follow from its arguments, as far as they have run

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """One argument, by place or name."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)

    def sizes(self, place: int = 1) -> tuple | None:
        """Sides given one by one or together, from an argument on; None where there are none."""
        rest = self.args[place:]
        if not rest:
            rest = (self.kwargs.get("size", self.kwargs.get("shape")),)
        if type(rest[0]) in (tuple, list, torch.Size):
            rest = tuple(rest[0])
        return rest if all(type(side) is int or type(side) in SIDES for side in rest) else None


def found_rules(call: Call, op: str, func: torch._ops.OpOverload | None, args: tuple) -> list[Found]:
    """Rules that may tell the shapes of an operator that runs in this call, the likeliest first."""
    special = SPECIAL.get(call.name)
    if special is not None:
        found = special(call, op)
        return [found] if found is not None else []
    rule = RULES.get(op) if func is None else find_rule(func)
    if rule is None:
        return []
    if call.sides and not ignores_arguments(rule):
        lifted = _lifted(call, args)
        if lifted is None:
            return []
        args = lifted
    norm = op in ("native_batch_norm", "native_group_norm")
    return [(rule, args), *([(norm_with_statistics, args)] if norm else [])]


def passes(call: Call, op: str, func: torch._ops.OpOverload | None) -> bool:
    """Whether an operator is one that this call always runs, whatever the sizes."""
    name = call.name.strip("_")
    if func is None or op.strip("_") == name or op in PASSED.get(name, ()) or call.name in SPECIAL:
        return True
    return is_pointwise(func) and not call.ops


def runs_nothing(name: str) -> bool:
    """Whether a call that runs no operator may be one that never does, sizes aside."""
    return name.strip("_") in PASSED or name in SPECIAL


def noted_slices(call: Call, shape: Callable[[Tensor], tuple]) -> None:
    """Note for each slice of an index whether it left nothing out, which torch passes over in silence."""
    parts = call.args[1] if type(call.args[1]) is tuple else (call.args[1],)
    x = call.args[0]
    if any(isinstance(part, (Tensor, list)) for part in parts):
        return
    used = sum(part is not None and part is not Ellipsis for part in parts)
    place = 0
    for part in parts:
        if part is Ellipsis:
            place += x.dim() - used
        elif part is not None:
            if type(part) is slice and (part.start is not None or part.stop is not None):
                side, ends = shape(x)[place], (part.start, part.stop, part.step)
                if type(side) in SIDES:
                    side.reads.decide(is_whole(side.number, *map(plain, ends)), is_whole, (side, *ends))
            place += 1


def _lifted(call: Call, args: tuple) -> tuple | None:
    """The operator's arguments with the call's Sides in their places; None where one is not found there.

    The call's numbers must be the operator's, in the same order, as far as the last Side.
    """
    flat = [item for item in _flat((*call.args, *call.kwargs.values())) if item is not None]
    flat = [item for item in flat if not isinstance(item, Tensor)]
    last = max(place for place, item in enumerate(flat) if type(item) in SIDES)
    wanted = iter(flat[: last + 1])

    def place(item: Any) -> Any:
        if item is None:
            return item
        if isinstance(item, (tuple, list)):
            return tuple(map(place, item))
        given = next(wanted, item)
        if type(given) in SIDES and given.number == item:
            return given
        if type(given) in SIDES or given != item:
            raise LookupError
        return item

    try:
        lifted = tuple(map(place, args))
    except LookupError:
        return None
    return lifted if next(wanted, None) is None else None


def _flat(items: Any) -> list[Any]:
    if type(items) in (tuple, list, torch.Size):
        return [inner for item in items for inner in _flat(item)]
    return [items]


def _viewed(sizes: Callable[[Call], tuple | None]) -> Callable[[Call, str], Found | None]:
    def special(call: Call, op: str) -> Found | None:
        if op == "clone":
            return rule_of("clone"), ()
        found = sizes(call)
        return (rule_of("view"), (None, found)) if op in (*VIEWS, "alias") and found is not None else None

    return special


def _like_other(call: Call) -> tuple:
    return tuple(call.sides_of(call.argument(1, "other")))


def _flattened(call: Call, op: str) -> Found | None:
    if op == "clone":
        return rule_of("clone"), ()
    ends = call.argument(1, "start_dim", 0), call.argument(2, "end_dim", -1)
    return (rule_of("flatten"), (None, *ends)) if op in (*VIEWS, "alias") else None


def _unflattened(call: Call, op: str) -> Found | None:
    dim, sizes = call.argument(1, "dim"), call.argument(2, "sizes")
    return (rule_of("unflatten"), (None, dim, tuple(sizes))) if op in VIEWS else None


def _sized(name: str, sizes: Callable[[Call], tuple | None]) -> Callable[[Call, str], Found | None]:
    """A call that runs the operator `name` with sizes."""

    def special(call: Call, op: str) -> Found | None:
        found = sizes(call)
        return (rule_of(name), (None, found)) if op == name and found is not None else None

    return special


def _new(place: int) -> Callable[[Call, str], Found | None]:
    """A call that makes a tensor of the sizes that stand from an argument on."""

    def special(call: Call, op: str) -> Found | None:
        sizes = call.sizes(place)
        return (makes, (sizes,)) if sizes is not None and op == call.name else None

    return special


def _cut(call: Call, op: str) -> Found | None:
    how, dim = call.args[1] if len(call.args) > 1 else _first(call, "chunks", "split_size", "split_size_or_sections"), 0
    dim = call.argument(2, "dim", 0)
    if call.name == "chunk":
        return (rule_of("chunk"), (None, how, dim)) if op == "split" else None
    if type(how) in (tuple, list):
        return (rule_of("split_with_sizes"), (None, tuple(how), dim)) if op == "split_with_sizes" else None
    return (rule_of("split"), (None, how, dim)) if op == "split" else None


def _first(call: Call, *names: str) -> Any:
    return next((call.kwargs[name] for name in names if name in call.kwargs), None)


def _ranged(call: Call, op: str) -> Found | None:
    numbers = [item for item in call.args if type(item) in (int, float) or type(item) in SIDES]
    start, end, step = call.kwargs.get("start", 0), call.kwargs.get("end"), call.kwargs.get("step", 1)
    if len(numbers) == 1:
        (end,) = numbers
    elif numbers:
        start, end, step = (*numbers, step)[:3]
    return (rule_of("arange"), (start, end, step)) if op == "arange" and end is not None else None


def _resized(call: Call, op: str) -> Found | None:
    size, scales = call.argument(1, "output_size"), call.args[-1] if len(call.args) > 2 else None
    if size is not None and type(size) in (tuple, list, torch.Size):
        return rule_of("upsample_nearest2d"), (None, tuple(size), None, None)
    if type(scales) in (tuple, list) and len(scales) == 2:
        return rule_of("upsample_nearest2d"), (None, None, *scales)
    return None


def _indexed(call: Call, op: str) -> Found | None:
    """The next of the operators that an index runs: one for each part, but for slices that leave nothing out."""
    parts = call.args[1] if type(call.args[1]) is tuple else (call.args[1],)
    if any(isinstance(part, (Tensor, list)) or type(part) is bool for part in parts):
        return None
    expected = [item for item in _index_steps(call.args[0], parts) if item[2]]
    if len(call.ops) >= len(expected):
        return (rule_of("alias"), ()) if op == "alias" and not expected else None
    name, arguments, _ = expected[len(call.ops)]
    return (rule_of(name), arguments) if op == name else None


def _index_steps(x: Tensor, parts: tuple) -> list[tuple[str, tuple, bool]]:
    """Operator and arguments for each part of an index, and whether it runs at the recorded size."""
    used = sum(part is not None and part is not Ellipsis for part in parts)
    steps, dim, place = [], 0, 0  # the dimension of the result so far, and of x
    for part in parts:
        if part is Ellipsis:
            skipped = x.dim() - used
            dim, place = dim + skipped, place + skipped
        elif part is None:
            steps.append(("unsqueeze", (None, dim), True))
            dim += 1
        elif type(part) is slice:
            start, stop, step = part.start, part.stop, part.step
            whole = is_whole(x.shape[place], *map(plain, (start, stop, step)))
            steps.append(("slice", (None, dim, start, stop, 1 if step is None else step), not whole))
            dim, place = dim + 1, place + 1
        else:
            steps.append(("select", (None, dim, part), True))
            place += 1
    return steps


def is_whole(side: int, start: int | None, stop: int | None, step: int | None) -> bool:
    """Whether a slice leaves nothing of a side out, so that torch passes over it."""
    return start in (None, 0) and (stop is None or stop >= side) and step in (None, 1)


def _attended(call: Call, op: str) -> Found:
    return attends, (call.args[4], call.args[10], call.args[11])


SPECIAL: dict[str, Callable[[Call, str], Found | None]] = {
    "view": _viewed(Call.sizes),
    "reshape": _viewed(Call.sizes),
    "view_as": _viewed(_like_other),
    "reshape_as": _viewed(_like_other),
    "flatten": _flattened,
    "unflatten": _unflattened,
    "expand": _sized("expand", Call.sizes),
    "broadcast_to": _sized("expand", Call.sizes),
    "expand_as": _sized("expand", _like_other),
    "repeat": _sized("repeat", Call.sizes),
    "chunk": _cut,
    "split": _cut,
    "arange": _ranged,
    "__getitem__": _indexed,
    "_native_multi_head_attention": _attended,
    "_transformer_encoder_layer_fwd": lambda call, op: (rule_of("clone"), ()),
    **dict.fromkeys(("zeros", "ones", "empty", "rand", "randn", "full"), _new(0)),
    **dict.fromkeys(("new_zeros", "new_ones", "new_empty", "new_full"), _new(1)),
    **dict.fromkeys(("upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d"), _resized),
}
# Calls that run operators of other names with their own arguments, or none; names go without underscores around them.
CASTS = ("to", "float", "half", "bfloat16", "double", "type", "int", "long", "bool", "type_as")
PASSED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), ("convolution", "constant_pad_nd")),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), ("convolution",)),
    "max_pool2d": ("max_pool2d_with_indices",),
    "adaptive_avg_pool2d": ("mean", "_adaptive_avg_pool2d", "as_strided_"),
    "softmax": ("_softmax",),
    "log_softmax": ("_log_softmax",),
    "batch_norm": ("native_batch_norm",),
    "group_norm": ("native_group_norm",),
    "layer_norm": ("native_layer_norm",),
    "pad": ("constant_pad_nd", "reflection_pad2d", "replication_pad2d"),
    "contiguous": ("clone",),
    "square": ("pow",),
    **dict.fromkeys(("T", "mT", "swapaxes", "swapdims"), ("t", "transpose", "permute", "numpy_T")),
    **dict.fromkeys(("movedim", "moveaxis"), ("permute",)),
    **dict.fromkeys(("concat", "concatenate"), ("cat",)),
    **dict.fromkeys(CASTS, ("_to_copy",)),
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "dropout3d", "feature_dropout", "alpha_dropout"), ()),
    **dict.fromkeys(("detach", "requires_grad", "data"), ("detach",)),
    "normalize": (),
}

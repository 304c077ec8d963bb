"""Recording one forward pass on the meta device: which tensors it makes, by what, and when each of them dies.

The pass runs on a copy of the model whose parameters hold no data, so the model itself is never touched and nothing
is computed. A dispatch mode sees every operator, a function mode every call from Python (the "top-level operator" that
a workspace must not outlive) and every read of a size, and a weak reference to each storage tells when its buffer is
freed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from ..common.modules import classes_unchanged, meta_copy, meta_like, running, unchanged
from ..common.operators import schema_arguments
from ..networks.paths import STRIDED
from ..networks.pointwise import is_pointwise
from ..networks.red import REDBlock
from ..networks.restride import grid_attributes, is_patch
from ..networks.trace import watched
from . import refusals
from .applications import running_application
from .calls import Call, found_rules, noted_slices, passes, runs_nothing
from .inputs import Arguments, meta_arguments, tensors_in
from .intercept import native_attention, recording_modes
from .layouts import LAYOUT_BOUND, Layouts
from .operators import copies_gaps, has_real_shapes
from .recording import ENTER, FREE, LEAVE, OP, Buffer, Node, Recording, shown_paths, weights_beside
from .refusals import RecordingError
from .shape_rules import Rule, Shape, fixed_rule, reproduces
from .shape_table import RULES
from .sides import Reads, Stride, plain, specials_in
from .storages import Storages

# Operators that start from a tensor like their input, and keep its storage for a smaller result.
ROOMY = ("im2col", "col2im", "mse_loss", "smooth_l1_loss", "soft_margin_loss", "binary_cross_entropy")
NO_CALL = Call("")
LIFTS = ("lift_fresh", "lift_fresh_copy")  # a number of the code becomes a tensor
TITLES = {"native_batch_norm": "batch_norm", "native_group_norm": "group_norm", "convolution": "conv2d"}


def record(model: nn.Module, arguments: Arguments) -> Recording:
    """Run the model on the meta device in evaluation mode under no_grad and return what happened.

    Tensors among the arguments, positional and by keyword, only lend shape, dtype and format. `model` may be on any
    device and stays as it was. Raises ValueError, in one sentence, for what cannot be recorded.
    """
    device = _device(model, arguments)
    learns = any(tensor.requires_grad for tensor in chain(tensors_in(arguments), model.parameters()))
    arguments = meta_arguments(arguments)
    try:
        return _recorded(model, arguments, device, learns, follows=True)
    except RecordingError:
        raise
    except Exception:  # code that takes bare numbers alone: it gets them, and every size that it reads must stay
        return _recorded(model, arguments, device, learns, follows=False)


def _recorded(model: nn.Module, arguments: Arguments, device: torch.device, learns: bool, follows: bool) -> Recording:
    copy = meta_copy(model).eval()
    recorder = Recorder(Recording(copy, shown_paths(copy), arguments), device, learns, follows)
    with torch.inference_mode(False), torch.no_grad():
        recorder.run()
    return recorder.recording


def _device(model: nn.Module, arguments: Arguments) -> torch.device:
    """Where the network believes its tensors to be."""
    for tensor in chain(tensors_in(arguments), model.parameters()):
        if not tensor.is_meta:
            return tensor.device
    return torch.device("cpu")


class Recorder:
    """What the modes of one recording tell, written down.

    `learns`: something of the network, or given to it, requires a gradient, which nothing does in the recording.
    `follows`: sizes read in Python are followed, not kept.
    """

    def __init__(self, recording: Recording, device: torch.device, learns: bool, follows: bool) -> None:
        self.recording, self.device, self.learns, self.follows = recording, device, learns, follows
        self.reads = Reads(lambda: self.stack[-1][0])
        self.stack: list[tuple[str, bool]] = [("", False)]  # modules that are running: (path, inside a RED block)
        self.storages = Storages(recording, lambda: self.call, self._died)
        self.stand_ins: dict[int, tuple[Tensor, Tensor]] = {}
        self.layouts = Layouts()
        self.held: list[Tensor] = []  # that were there before the pass: weights, registered or not
        self.call = 0  # number of the call that is running or ran last
        self.now = NO_CALL
        self.in_call = False
        self.applied: Any = None  # of the autograd function that the call belongs to
        self.paused = False

    def run(self) -> None:
        """Run the model and write down what happens."""
        recording, (args, kwargs) = self.recording, self.recording.arguments
        modules = recording.modules
        tensors = {id(tensor): tensor for tensor in tensors_in((args, kwargs))}.values()
        recording.inputs = tuple(self.value(tensor, made_from=()) for tensor in tensors)
        self.layouts.place(recording.inputs, list(tensors))
        self.root = sys._getframe()
        calls, operators = recording_modes(self)
        try:
            with (
                running(),
                unchanged(modules.values()),
                classes_unchanged(modules.values()),
                watched(modules, self._enter, self._leave),
                native_attention(modules.values()),
                calls,
                operators,
            ):
                self._watch_strides()
                output = recording.model(*args, **kwargs)
        except Exception as error:
            error.layer = self.stack[-1][0]
            raise
        finally:
            self.reads.open = False
            del self.root
        recording.outputs = tuple(self.value(tensor) for tensor in tensors_in(output) if tensor.is_meta)
        recording.conditions = self.reads.conditions
        recording.layouts = list(dict.fromkeys(self.layouts.noted))
        recording.unregistered = weights_beside(recording.model, self.held)
        self._drop_scratch()

    def _watch_strides(self) -> None:
        """Let strides of layers say where Python looks at them, which no edit of theirs could follow."""
        model = self.recording.model
        for path, module in self.recording.modules.items():
            if isinstance(module, STRIDED) and "stride" in vars(module):
                read = partial(self._stride_read, path)
                if is_patch(module):
                    for holder, name, value in list(grid_attributes(model, path, (module.stride,), module.stride)):
                        setattr(holder, name, _noted(value, read))
                module.stride = _noted(module.stride, read)

    def _stride_read(self, path: str) -> None:
        self.recording.stride_reads.setdefault(path, self.stack[-1][0])

    def _enter(self, path: str, module: nn.Module, given: object) -> None:
        self.stack.append((self.recording.paths[path], isinstance(module, REDBlock) or self.stack[-1][1]))
        self.recording.events.append((ENTER, path, self._known(given)))

    def _leave(self, path: str, module: nn.Module, given: object, output: object) -> None:
        self.stack.pop()
        self.recording.events.append((LEAVE, path, self._known(output)))

    def _known(self, item: object) -> int | None:
        return self.value(item) if isinstance(item, Tensor) else None

    def value(self, tensor: Tensor, made_from: Sequence[Tensor] | None = None, fresh: bool = False) -> int:
        """Number of a tensor, see `Storages.value`."""
        try:
            return self.storages.value(tensor, made_from, fresh)
        except NotImplementedError as error:
            raise refusals.without_memory(self.place()) from error

    def _died(self, buffer: Buffer, number: int) -> None:
        if not self.reads.open:
            return
        buffer.inner = buffer.call == self.call and (self.in_call or self._applies())
        if not buffer.inner:
            self.recording.events.append((FREE, number))

    def begin(self, call: Call) -> None:
        """A call from Python starts. All that an autograd function does counts as one."""
        if torch._C._is_any_autocast_enabled():
            raise refusals.under_autocast(self.place())
        self.now = call
        if not self._applies():
            self.call += 1
            self.applied = running_application(self.root)

    def _applies(self) -> bool:
        """Whether the autograd function that the latest call belongs to still runs."""
        return self.applied is not None and running_application(self.root) is self.applied

    # What is read of a tensor in Python.

    def shape(self, tensor: Tensor) -> torch.Size:
        """The shape that Python is given: of Sides, or bare and noted."""
        value = self.value(tensor)
        if not self.follows:
            self.pin(tensor)
            return tensor.shape
        return torch.Size([self.reads.side(side, value, dim) for dim, side in enumerate(tensor.shape)])

    def numel(self, tensor: Tensor) -> Any:
        """How many numbers a tensor holds, as Python is given it."""
        number = 1
        for side in self.shape(tensor):
            number = side * number
        return number

    def pin(self, tensor: Tensor) -> None:
        """Note that the pass is known at this shape of the tensor alone."""
        self.recording.pinned.setdefault(self.value(tensor), self.stack[-1][0])
        self.note_layout(tensor)

    def moved(self, tensor: Tensor, kind: str) -> Tensor:
        """A tensor that the network moves to a kind of device, which is the one that it is on."""
        if kind not in (self.device.type, "meta"):
            raise refusals.moved_away(self.place(), kind, self.device.type)
        return tensor

    def place(self) -> str:
        """The layer that is running, as the subject of a sentence."""
        path = self.stack[-1][0]
        return f"Layer {path!r}" if path else "The network itself"

    def stand_in(self, tensor: Tensor) -> Tensor:
        """A tensor without data for one that the network holds, the same each time."""
        if tensor.is_meta:
            return tensor
        if id(tensor) not in self.stand_ins:
            self.stand_ins[id(tensor)] = tensor, self.unseen(meta_like, (tensor,), {})
        return self.stand_ins[id(tensor)][1]

    # Calls and the operators that they run.

    def calling(self, func: Callable, name: str, args: tuple, kwargs: dict) -> Any:
        """Run a call from Python, and note what must stay where its operators do not follow from its arguments."""
        call = Call(name, args, kwargs, self.shape)
        specials = specials_in((args, kwargs))
        if specials:
            args, kwargs = plain(args), plain(kwargs)
            call.sides = [special for special in specials if type(special) is not Stride]
        self.begin(call)
        self.in_call = True
        try:
            result = func(*args, **kwargs)
        finally:
            self.in_call, self.now = False, NO_CALL  # which would keep its arguments alive
        if not call.ops and isinstance(result, Tensor) and self._is_new(result, tensors_in((args, kwargs))):
            self.add(name, None, (), {}, result)  # of numbers, by no operator
            call.ops.append(name)
        self._settle(call, result)
        return result

    def _is_new(self, tensor: Tensor, given: Iterable[Tensor]) -> bool:
        """Whether nobody has seen this tensor: neither the recorder nor, as one of its buffers, the network."""
        is_given = any(tensor is operand for operand in given)  # and returned as it is, as by `contiguous` and `to`
        return (
            not is_given and not self.storages.knows(tensor) and not isinstance(tensor, nn.Parameter) and tensor.is_meta
        )

    def _settle(self, call: Call, result: Any) -> None:
        if call.name in LAYOUT_BOUND and call.args:
            self.note_layout(call.args[0], result, "memory_format" in call.kwargs)
        elif call.name == "__getitem__":
            noted_slices(call, self.shape)
        reads = result is not None and not isinstance(result, Tensor) and not tensors_in(result)
        if call.is_settled and not reads and (call.ops or runs_nothing(call.name)):
            return
        for tensor in tensors_in((call.args, call.kwargs)):
            self.pin(tensor)
        for side in call.sides:
            side.bare()

    def ran(self, func: Any, args: tuple, kwargs: dict, result: Any) -> None:
        """An operator has run."""
        if self.paused:
            return
        if not self.in_call:
            if running_application(self.root) is None:
                raise refusals.unwatched(self.place())
            self.begin(Call(""))
            for tensor in tensors_in((args, kwargs)):
                self.pin(tensor)
        op = func.overloadpacket.__name__
        is_ruled = op in RULES and op != self.now.name  # by itself it gives more than its rule says
        if isinstance(result, (tuple, list)) and not is_ruled and not has_real_shapes(func, args, kwargs, result):
            raise refusals.unlike(self.place(), op)
        self.add(op, func, args, kwargs, result)

    def add(self, op: str, func: Any, args: tuple, kwargs: dict, result: Any, given: tuple = ()) -> None:
        """Record an operator that has just run."""
        if self.learns and torch.is_grad_enabled():
            raise refusals.with_gradients(self.place())
        tensors = tensors_in((args, kwargs))
        if op not in LIFTS:
            self.held.extend(tensor for tensor in tensors if not self.storages.knows(tensor))
        ins = tuple(self.value(tensor) for tensor in tensors)
        made = tensors_in(result)
        known = len(self.recording.buffers)
        outs = tuple(self.value(tensor, made_from=tensors, fresh=True) for tensor in made)
        new = tuple(range(known, len(self.recording.buffers)))
        buffer_of, shapes = self.recording.buffer_of, self.recording.shapes
        owners = {buffer_of[ins[i]]: i for i in reversed(range(len(ins)))}
        sources = tuple(-1 if buffer_of[out] in new else owners.get(buffer_of[out], -1) for out in outs)
        if func is not None:
            given = schema_arguments(func, args, kwargs)
        layer, is_red = self.stack[-1]
        writes = func is not None and func._schema.is_mutable and op != "as_strided_"
        is_view = bool(made) and not new and not writes
        if writes and any(map(self.storages.has_grown, made, outs)):
            raise refusals.grown(self.place(), self.now.name)
        if copies_gaps(op, tensors) or any(map(self.storages.has_gaps, new)):
            raise refusals.with_gaps(self.place(), self.now.name)
        if op in ROOMY and new:
            self.recording.buffers[new[0]].room = max(ins, key=lambda value: prod(shapes[value]))
        self.layouts.follow(op, is_view, ins, tensors, outs, made)
        in_shapes, out_shapes = tuple(shapes[v] for v in ins), tuple(shapes[v] for v in outs)
        rule, sized = self._rule(op, func, given, in_shapes, out_shapes)
        title = self.now.name
        node = Node(
            op=op,
            call=self.call,
            title=op if title.startswith("__") or not title else title,
            layer=layer,
            is_red=is_red,
            ins=ins,
            outs=outs,
            new=new,
            sources=sources,
            args=given,
            rule=rule,
            in_place_able=op == "native_batch_norm" or (func is not None and is_pointwise(func)),
            is_view=is_view,
            sized=sized,
        )
        self.recording.events.append((OP, len(self.recording.nodes)))
        self.recording.nodes.append(node)

    def _rule(
        self, op: str, func: Any, given: tuple, ins: tuple[Shape, ...], outs: tuple[Shape, ...]
    ) -> tuple[Rule, tuple | None]:
        """A rule that gives the recorded shapes, and its arguments where they hold Sides or are not the operator's.

        Without one the shapes are fixed, and so is what decided them.
        """
        call = self.now
        is_known = passes(call, op, func)
        for rule, args in found_rules(call, op, func, given) if is_known else ():
            if reproduces(rule, plain(args), ins, outs):
                call.ops.append(op)
                return rule, None if args is given else args
        call.ops.append(op)
        call.is_settled = False
        return fixed_rule(op, ins, outs), None

    def note_layout(self, tensor: Tensor, made: Tensor | None = None, is_asked: bool = False) -> None:
        """Remember that the layout of this tensor decided whether what was made of it is a copy; see `Layouts`."""
        self.layouts.decides(self.value(tensor), tensor, made, is_asked)

    def unseen(self, func: Callable, args: tuple, kwargs: dict) -> Any:
        """Run a call of which nothing is recorded."""
        before, self.paused = self.paused, True
        try:
            return func(*args, **kwargs)
        finally:
            self.paused = before

    def whole(
        self, op: str, func: Callable, args: tuple, kwargs: dict, run_on: tuple | None = None, given: tuple = ()
    ) -> Tensor:
        """Run a call of several operators and record it as one, with the arguments `given`."""
        self.begin(Call(TITLES.get(op, op), args, kwargs))
        if op in ("native_batch_norm", "native_group_norm", "layer_norm"):
            self.note_layout(args[0])
        result = self.unseen(func, args if run_on is None else run_on, kwargs)
        self.add(op, None, args, kwargs, result, given)
        self.now = NO_CALL
        return result

    def attention(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Fused attention as one operator, laid out as the CPU and CUDA kernels lay it out: heads inside tokens."""
        self.begin(Call("scaled_dot_product_attention"))
        self.paused = True
        if query.dim() == 4:
            batch, heads, tokens = query.shape[:3]
            result = torch.empty(batch, tokens, heads, value.shape[-1], dtype=query.dtype, device=query.device)
            result = result.transpose(1, 2)
        else:
            result = query.new_empty(*query.shape[:-1], value.shape[-1])
        self.paused = False
        operands = (query, key, value) if mask is None else (query, key, value, mask)
        self.add("scaled_dot_product_attention", None, operands, {}, result)
        self.layouts.place((self.value(result),), (result,))
        return result

    def kernel(self, name: str, like: Callable[..., tuple[Tensor, ...]], args: tuple) -> Any:
        """A call that computes all of attention, or of an encoder's layer, and keeps nothing but its results."""
        args = plain(args)
        self.begin(Call(name, args))
        results = self.unseen(like, args, {})
        self.add(name, None, args, {}, results)
        self.now = NO_CALL
        return results[0] if name != "_native_multi_head_attention" else (*results, None)[:2]

    def _drop_scratch(self) -> None:
        """Forget tensors that an operator made for itself and nobody read, such as a batch norm's reserve."""
        nodes, buffers = self.recording.nodes, self.recording.buffers
        read = {value for node in nodes for value in node.ins}
        keep = [
            bool(node.ins) or any(not buffers[b].inner for b in node.new) or not read.isdisjoint(node.outs)
            for node in nodes
        ]
        self.recording.events = [event for event in self.recording.events if event[0] != OP or keep[event[1]]]


def _noted(stride: Any, read: Callable[[], None]) -> Any:
    if isinstance(stride, (tuple, list)):
        return type(stride)(_noted(step, read) for step in stride)
    return Stride(stride, read) if type(stride) is int else stride

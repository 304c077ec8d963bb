"""Recording one forward pass on the meta device: which tensors it makes, by what, and when each of them dies.

The pass runs on a copy of the model whose parameters hold no data, so the model itself is never touched and nothing
is computed. A dispatch mode sees every operator, a function mode sees every call from Python (the "top-level
operator" that a workspace must not outlive), and a weak reference to each storage tells when its buffer is freed.
"""

from __future__ import annotations

import dataclasses
import types
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ..common.modules import meta_copy, meta_like
from ..networks.red import REDBlock
from ..networks.trace import watched
from .fitted_rules import fitted_rule, fixed_rule
from .meta_ops import elementwise
from .recording import ENTER, FREE, LEAVE, OP, WEIGHTS, Buffer, Node, Recording, shown_paths
from .shape_rules import RULES, Rule, Shape, find_rule, is_pointwise, reproduces


def record(model: nn.Module, inputs: Sequence[Any]) -> Recording:
    """Run `model(*inputs)` on the meta device in evaluation mode under no_grad and return what happened.

    Tensors among `inputs` only lend their shape and dtype. `model` may be on any device and stays as it was.
    """
    model = meta_copy(model).eval()
    example = tuple(meta_like(value) if isinstance(value, Tensor) else value for value in inputs)
    recorder = _Recorder(model, example)
    with torch.no_grad():
        recorder.run()
    return recorder.recording


class _Recorder:
    def __init__(self, model: nn.Module, arguments: tuple[Any, ...]) -> None:
        self.recording = Recording(model, shown_paths(model), arguments)
        self.stack: list[tuple[str, bool]] = [("", False)]  # modules that are running: (path, inside a RED block)
        self.storages: dict[int, int] = {}  # address of a storage → its buffer
        self.deaths: dict[int, weakref.ref] = {}
        self.mark = object()  # on tensors with a number of this recording: constants of a module may have an older one
        self.call = 0
        self.title = ""
        self.in_call = False
        self.paused = False
        self.done = False

    def run(self) -> None:
        arguments = self.recording.arguments
        tensors = [value for value in arguments if isinstance(value, Tensor)]
        self.recording.inputs = tuple(self.value(tensor, made_from=()) for tensor in tensors)
        model = self.recording.model
        try:
            with watched(model, self._enter, self._leave), _Calls(self), _Operators(self):
                output = model(*arguments)
        finally:
            self.done = True
        self.recording.outputs = tuple(self.value(tensor) for tensor in tensors_in(output))
        self._drop_scratch()

    def _enter(self, path: str, module: nn.Module, given: object) -> None:
        self.stack.append((self.recording.paths[path], isinstance(module, REDBlock) or self.stack[-1][1]))
        self.recording.events.append((ENTER, path, self._known(given)))

    def _leave(self, path: str, module: nn.Module, given: object, output: object) -> None:
        self.stack.pop()
        self.recording.events.append((LEAVE, path, self._known(output)))

    def _known(self, item: object) -> int | None:
        return self.value(item) if isinstance(item, Tensor) else None

    def value(self, tensor: Tensor, made_from: Sequence[Tensor] | None = None, fresh: bool = False) -> int:
        """Number of a tensor; `fresh` gives a new one.

        With `made_from`, the operands of the operator that returned it, its storage becomes a buffer unless it is
        known or belongs to one of them.
        """
        known, number = getattr(tensor, "_tape_value", (None, 0))
        if known is self.mark and not fresh:
            return number
        number = len(self.recording.shapes)
        tensor._tape_value = self.mark, number
        self.recording.shapes.append(tuple(tensor.shape))
        storage = tensor.untyped_storage()
        address = storage._cdata
        unknown = made_from is not None and address not in self.storages
        if unknown and all(operand.untyped_storage()._cdata != address for operand in made_from):
            self._birth(storage, address, tensor, number)
        self.recording.buffer_of.append(self.storages.get(address, WEIGHTS))
        return number

    def _birth(self, storage: torch.UntypedStorage, address: int, tensor: Tensor, value: int) -> None:
        buffer = self.storages[address] = len(self.recording.buffers)
        kind = tensor.dtype
        self.recording.buffers.append(Buffer(value, tensor.element_size(), kind.is_floating_point, self.call))
        self.deaths[buffer] = weakref.ref(storage, lambda _: self._death(buffer, address))

    def _death(self, buffer: int, address: int) -> None:
        del self.storages[address], self.deaths[buffer]
        if self.done:
            return
        made = self.recording.buffers[buffer]
        made.inner = self.in_call and made.call == self.call
        if not made.inner:
            self.recording.events.append((FREE, buffer))

    def begin(self, title: str) -> None:
        self.call += 1
        self.title = title

    def add(self, op: str, func: Any, args: tuple, kwargs: dict, result: Any) -> None:
        """Record an operator that has just run."""
        tensors = list(tensors_in((args, kwargs)))
        ins = tuple(self.value(tensor) for tensor in tensors)
        made = list(tensors_in(result))
        known = len(self.recording.buffers)
        outs = tuple(self.value(tensor, made_from=tensors, fresh=True) for tensor in made)
        new = tuple(range(known, len(self.recording.buffers)))
        buffer_of, shapes = self.recording.buffer_of, self.recording.shapes
        owners = {buffer_of[value]: i for i, value in reversed(list(enumerate(ins)))}
        sources = tuple(-1 if buffer_of[out] in new else owners.get(buffer_of[out], -1) for out in outs)
        in_shapes, out_shapes = tuple(shapes[v] for v in ins), tuple(shapes[v] for v in outs)
        plain = _arguments(func, args, kwargs)
        layer, is_red = self.stack[-1]
        writes = func is not None and func._schema.is_mutable and op != "as_strided_"
        if op in ("view", "_unsafe_view", "_reshape_alias", "clone"):
            self.note_layout(tensors[0])
        node = Node(
            op=op,
            call=self.call,
            title=op if self.title.startswith("__") or not self.title else self.title,
            layer=layer,
            is_red=is_red,
            ins=ins,
            outs=outs,
            new=new,
            sources=sources,
            args=plain,
            rule=_checked_rule(op, func, plain, in_shapes, out_shapes),
            in_place_able=op == "native_batch_norm" or (func is not None and is_pointwise(func)),
            is_view=not new and not writes,
        )
        self.recording.events.append((OP, len(self.recording.nodes)))
        self.recording.nodes.append(node)

    def note_layout(self, tensor: Tensor) -> None:
        """Remember that the layout of this tensor decided between a view and a copy."""
        dims = _layout_dims(tuple(tensor.shape), tensor.stride())
        if dims:
            self.recording.layouts.append((self.value(tensor), dims))

    def note_slices(self, tensor: Tensor, index: Any) -> None:
        """Remember slices to a number that left nothing out."""
        parts = index if isinstance(index, tuple) else (index,)
        if any(isinstance(part, (Tensor, list)) for part in parts):
            return  # an operator without a shape rule, whose shapes must not change anyway
        used = sum(1 for part in parts if part is not None and part is not Ellipsis)
        dim = 0
        for part in parts:
            if part is Ellipsis:
                dim += tensor.dim() - used
            elif part is not None:
                stop = part.stop if isinstance(part, slice) else None
                if stop is not None and int(stop) >= tensor.shape[dim]:
                    self.recording.whole_slices.append((self.value(tensor), dim))
                dim += 1

    def whole(self, op: str, func: Callable, args: tuple, kwargs: dict, run_on: tuple | None = None) -> Tensor:
        """Run a call of several operators and record it as one."""
        self.begin(op.removeprefix("native_"))
        self.paused = True
        try:
            result = func(*(args if run_on is None else run_on), **kwargs)
        finally:
            self.paused = False
        self.add(op, None, args, kwargs, result)
        return result

    def attention(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Fused attention as one operator, laid out as the CPU and CUDA kernels lay it out: heads inside tokens."""
        self.begin("scaled_dot_product_attention")
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
        return result

    def _drop_scratch(self) -> None:
        """Forget tensors that an operator made for itself and nobody read, such as a batch norm's reserve."""
        nodes, buffers = self.recording.nodes, self.recording.buffers
        read = {value for node in nodes for value in node.ins}
        keep = [
            bool(node.ins) or any(not buffers[b].inner for b in node.new) or not read.isdisjoint(node.outs)
            for node in nodes
        ]
        self.recording.events = [event for event in self.recording.events if event[0] != OP or keep[event[1]]]


class _Operators(TorchDispatchMode):
    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_dispatch__(self, func, kinds, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = elementwise(func, args, kwargs)
        if result is None:
            result = func(*args, **kwargs)
        recorder = self.recorder
        if not recorder.paused:
            if not recorder.in_call:
                recorder.begin("")
            recorder.add(func.overloadpacket.__name__, func, args, kwargs, result)
        return result


class _Calls(TorchFunctionMode):
    """Numbers the calls from Python. Functions written in Python are entered, so that each call below counts."""

    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self.recorder = recorder
        self.entered: list[Any] = []

    def __torch_function__(self, func, kinds, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in ("__get__", "__set__", "dim", "size", "stride"):
            return func(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            operands = _attention_operands(*args, **kwargs)
            return self.recorder.attention(*operands)
        if isinstance(func, types.FunctionType) and func not in self.entered:
            self.entered.append(func)
            try:
                with self:
                    return _entered(func)(*args, **kwargs)
            finally:
                self.entered.pop()
        if func is F.linear and not kwargs and _is_plain_linear(*args):
            shape = (*args[0].shape[:-1], args[1].shape[0])
            return self.recorder.whole("linear", args[0].new_empty, args, kwargs, run_on=(shape,))
        if func in WHOLE:
            return self.recorder.whole(WHOLE[func], func, args, kwargs)
        if func is torch.layer_norm and not kwargs and _is_plain_layer_norm(*args):
            return self.recorder.whole("layer_norm", torch.empty_like, args, kwargs, run_on=args[:1])
        if func in NORMS and not kwargs and _is_plain_norm(func, *args):
            return self.recorder.whole(NORMS[func], torch.empty_like, args, kwargs, run_on=args[:1])
        return self._call(func, name, args, kwargs)

    def _call(self, func: Callable, name: str, args: tuple, kwargs: dict) -> Any:
        recorder = self.recorder
        if name == "contiguous" and args:
            recorder.note_layout(args[0])
        elif name == "__getitem__":
            recorder.note_slices(*args)
        recorder.begin(name)
        recorder.in_call = True
        try:
            return func(*args, **kwargs)
        finally:
            recorder.in_call = False


# Normalisations with running or no statistics, whose kernels on the meta device take a millisecond each.
NORMS = {torch.batch_norm: "native_batch_norm", torch.group_norm: "native_group_norm"}


def _is_plain_norm(func: Callable, x: Tensor, *others: Any) -> bool:
    """Whether a normalisation makes nothing but an output like its well-formed, contiguous input."""
    parameters = [tensor for tensor in others if isinstance(tensor, Tensor)]
    trains = func is torch.batch_norm and others[4]
    return not trains and x.dim() > 1 and x.is_contiguous() and all(p.shape == x.shape[1:2] for p in parameters)


def _is_plain_layer_norm(x: Tensor, inner: Sequence[int], weight: Tensor | None, *others: Any) -> bool:
    return weight is not None and x.is_contiguous() and x.shape[-len(inner) :] == weight.shape == torch.Size(inner)


def _is_plain_linear(x: Tensor, weight: Tensor, *bias: Any) -> bool:
    return x.is_contiguous() and weight.dim() == 2 and x.shape[-1] == weight.shape[1]


# Calls recorded as one operator, because what they are made of depends on the layout of their operands.
WHOLE = {
    F.linear: "linear",
    torch.matmul: "matmul",
    Tensor.matmul: "matmul",
    Tensor.__matmul__: "matmul",
}


def _attention_operands(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
):
    return query, key, value, attn_mask


@cache
def _entered(func: types.FunctionType) -> types.FunctionType:
    """The same function with its test for override modes answering no, so that its body runs at once."""
    inside = types.FunctionType(func.__code__, _scope(func), func.__name__, func.__defaults__, func.__closure__)
    inside.__kwdefaults__ = func.__kwdefaults__
    return inside


def _scope(func: types.FunctionType) -> dict[str, Any]:
    tests = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    return {**func.__globals__, **dict.fromkeys(tests, lambda *operands: False)}


def tensors_in(item: Any) -> Iterator[Tensor]:
    """Tensors inside nested tuples, lists, dicts and dataclasses, in order."""
    if isinstance(item, Tensor):
        yield item
    elif isinstance(item, dict):
        for inner in item.values():
            yield from tensors_in(inner)
    elif isinstance(item, (tuple, list)):
        for inner in item:
            yield from tensors_in(inner)
    elif dataclasses.is_dataclass(item) and not isinstance(item, type):
        for entry in dataclasses.fields(item):
            yield from tensors_in(getattr(item, entry.name))


@cache
def _parameters(func: torch._ops.OpOverload) -> tuple[tuple[str, Any], ...]:
    return tuple((argument.name, argument.default_value) for argument in func._schema.arguments)


def _arguments(func: Any, args: tuple, kwargs: dict) -> tuple:
    """Arguments by schema position, with defaults filled in and tensors left out."""
    if func is None:
        return ()
    given = [*args]
    for name, default in _parameters(func)[len(args) :]:
        given.append(kwargs.get(name, default))
    return tuple(None if next(tensors_in(value), None) is not None else value for value in given)


def _checked_rule(op: str, func: Any, args: tuple, ins: tuple[Shape, ...], outs: tuple[Shape, ...]) -> Rule:
    """A rule that gives the recorded shapes for the recorded inputs; without one, the shapes are fixed."""
    for rule in (RULES[op] if func is None else find_rule(func), fitted_rule(op, ins, outs)):
        if rule is not None and ins and reproduces(rule, args, ins, outs):
            return rule
    sized = op.startswith("new_") or (not ins and any(shape != () for shape in outs))
    return fixed_rule(op, ins, outs, sized)


def _layout_dims(shape: Shape, strides: tuple[int, ...]) -> tuple[int, ...]:
    """Dims out of their natural place or order in memory; whether one of them is 1 decides what is contiguous."""
    order = sorted(range(len(shape)), key=lambda dim: -strides[dim])
    expected = 1
    dims = set()
    for place in reversed(range(len(shape))):
        dim = order[place]
        if dim != place or strides[dim] != expected:
            dims |= {dim, place}
        expected = strides[dim] * shape[dim]
    return tuple(sorted(dims))

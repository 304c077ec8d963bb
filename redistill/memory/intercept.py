"""The modes under which a pass is recorded: what they see, answer in torch's place, and tell the recorder."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch._prims_common import suggest_memory_format
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors
from torch.utils._python_dispatch import TorchDispatchMode

from .inputs import mapped, tensors_in
from .layouts import lies_oddly
from .meta_ops import elementwise, made_like
from .operators import laid_out
from .shape_table import RULES
from .sides import plain, sides_in

# Attributes of tensors that no size decides.
CONSTANT = {"dtype", "layout", "ndim", "requires_grad", "is_leaf", "grad", "grad_fn", "names", "itemsize", "is_nested"}
CONSTANT |= {
    "is_quantized",
    "is_sparse",
    "is_sparse_csr",
    "is_mkldnn",
    "is_xla",
    "is_mps",
    "is_xpu",
    "is_ipu",
    "is_mtia",
}
CONSTANT |= {"is_maia", "is_vulkan", "is_xpu", "is_ort", "_base", "_version", "output_nr", "name", "retains_grad"}
# Methods of the same kind.
ASKS = {"dim", "ndimension", "is_floating_point", "is_complex", "element_size", "is_inference", "is_signed"}
MOVES = ("cpu", "cuda")
SEQUENCES = (list, range)  # that torch makes a new tensor of, as an index; one of NumPy keeps its memory


class Operators(TorchDispatchMode):
    """Tells the recorder of every operator."""

    def __init__(self, recorder: Any) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_dispatch__(self, func, kinds, args=(), kwargs=None):
        kwargs = kwargs or {}
        if torch.is_inference_mode_enabled():  # where what is composed of operators comes whole
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = elementwise(func, args, kwargs)
        if result is None:
            result = laid_out(func, args, kwargs, self._run(func, args, kwargs))
        self.recorder.ran(func, args, kwargs, result)
        return result

    def _run(self, func: Any, args: tuple, kwargs: dict) -> Any:
        try:
            return func(*args, **kwargs)
        except (RuntimeError, NotImplementedError):
            strangers = [tensor for tensor in tensors_in((args, kwargs)) if not tensor.is_meta]
            if not strangers:
                raise
        # Tensors that the network holds where nobody looks, such as constants of a module.
        return func(*mapped(args, self.recorder.stand_in), **mapped(kwargs, self.recorder.stand_in))


class Calls(TorchFunctionMode):
    """Tells the recorder of calls from Python and of what they read.

    Functions written in Python are entered, so that each call below counts.
    """

    def __init__(self, recorder: Any) -> None:
        super().__init__()
        self.recorder = recorder
        self.entered: list[Any] = []

    def __torch_function__(self, func, kinds, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "__get__":
            return self._attribute(func, args)
        if name in READS:
            return READS[name](self.recorder, *args, **kwargs)
        if name in ASKS or name == "__set__":
            return func(*args, **kwargs)
        if name in MOVES and args:
            return self.recorder.moved(args[0], name)
        if func is F.scaled_dot_product_attention:
            operands = _attention_operands(*args, **kwargs)
            if not _attends(*operands):
                self.recorder.unseen(func, plain(args), plain(kwargs))  # says what is wrong, or takes what is broadcast
            return self.recorder.attention(*operands)
        if name in KERNELS:
            return self.recorder.kernel(name, KERNELS[name], args)
        if isinstance(func, types.FunctionType) and func not in self.entered:
            return self._enter(func, args, kwargs)
        if func in PLAIN and not kwargs:
            made = _made_plainly(func, args)
            if made is not None:
                return self.recorder.whole(made[0], made[1], args, kwargs, *made[2:])
        if func in WHOLE:
            return self.recorder.whole(WHOLE[func], func, args, kwargs)
        if func is torch.max_pool1d and args and lies_oddly(args[0]):  # the CPU's gives what its shape says
            x = self.recorder.unseen(torch.empty, (args[0].shape,), {"dtype": args[0].dtype, "device": "meta"})
            return self.recorder.whole("max_pool1d", func, args, kwargs, (x, *plain(args[1:])))
        is_placed = name == "to" or "device" in kwargs or func in _device_constructors()
        if (is_placed or name == "type_as") and args and isinstance(args[0], Tensor):
            # A constant of a module is where the network is: no copy of it is made.
            args = (self.recorder.stand_in(args[0]), *args[1:])
        if is_placed:
            args, kwargs = self._on_meta(name, args, kwargs)
        if name in ("__getitem__", "__setitem__"):
            _check_places(*args[:2])
            args = (args[0], self._index(args[1]), *args[2:])
        return self.recorder.calling(func, name, args, kwargs)

    def _index(self, index: Any) -> Any:
        """An index with tensors for its lists of whole numbers, as torch makes them where nobody sees it."""
        if isinstance(index, list) and any(isinstance(part, (list, tuple, slice, Tensor)) for part in index):
            index = tuple(index)  # several indices, one a dimension
        if isinstance(index, tuple):
            return tuple(self._index(part) if isinstance(part, SEQUENCES) else part for part in index)
        if isinstance(index, SEQUENCES) and _whole_numbers(index):
            return self.__torch_function__(torch.tensor, (), (list(index),), {"dtype": torch.int64})
        return index

    def _enter(self, func: types.FunctionType, args: tuple, kwargs: dict) -> Any:
        self.entered.append(func)
        try:
            with self:
                return entered(func)(*args, **kwargs)
        finally:
            self.entered.pop()

    def _attribute(self, func: Any, args: tuple) -> Any:
        name = func.__self__.__name__
        recorder = self.recorder
        if name == "shape":
            return recorder.shape(args[0])
        if name in CONSTANT:
            return func(*args)
        if name == "device":
            return recorder.device
        if name in ("is_meta", "is_cpu", "is_cuda"):
            return name == f"is_{recorder.device.type}"
        if name == "nbytes":
            return recorder.numel(args[0]) * args[0].element_size()
        return recorder.calling(func, name, args, {})

    def _on_meta(self, name: str, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """The arguments of a call whose tensors are to be on the meta device."""
        if name != "to":
            return args, {**kwargs, "device": "meta"}
        places = [item for item in (*args[1:], kwargs.get("device")) if isinstance(item, (str, torch.device))]
        for place in places:
            self.recorder.moved(args[0], torch.device(place).type)
        changed = tuple("meta" if isinstance(item, (str, torch.device)) else item for item in args)
        return changed, {**kwargs, "device": "meta"} if kwargs.get("device") is not None else kwargs


def recording_modes(recorder: Any) -> tuple[Any, ...]:
    """The modes to enter, in their order."""
    return Calls(recorder), Operators(recorder)


@contextmanager
def native_attention(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Torch's own attention and encoder layers take the kernels that they take where tensors are real.

    They look for override modes and hooks before they do, and would find ours.
    """
    modules = [module for module in modules if type(module).forward in NATIVE and "forward" not in vars(module)]
    for module in modules:
        module.forward = types.MethodType(_native(type(module).forward), module)
    try:
        yield
    finally:
        for module in modules:
            del module.forward


NATIVE = (nn.MultiheadAttention.forward, nn.TransformerEncoderLayer.forward, nn.TransformerEncoder.forward)


class _Torch:
    """The package, but that it tells of no override mode."""

    class overrides:
        has_torch_function = staticmethod(lambda tensors: False)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


@cache
def _native(forward: types.FunctionType) -> types.FunctionType:
    scope = {**forward.__globals__, "torch": _Torch(), "getattr": _foreign}
    inside = types.FunctionType(forward.__code__, scope, forward.__name__, forward.__defaults__, forward.__closure__)
    inside.__kwdefaults__ = forward.__kwdefaults__
    return inside


def _foreign(owner: Any, name: str, *default: Any) -> Any:
    """`getattr`, but of a module's hooks those that were there before ours, which is one of each kind."""
    found = getattr(owner, name, *default)
    return list(found)[1:] if name in ("_forward_hooks", "_forward_pre_hooks") else found


def _whole_numbers(index: Any) -> bool:
    """Whether all of an index are whole numbers, however deep the lists: truth values choose as many as are true."""
    if isinstance(index, (list, tuple, range)):
        return len(index) > 0 and all(map(_whole_numbers, index))
    return isinstance(index, (int, torch.SymInt)) and not isinstance(index, bool)


def _check_places(x: Tensor, index: Any) -> None:
    """IndexError for places in a list that the tensor has not, which torch looks for where there is data alone."""
    place = 0
    for part in index if type(index) is tuple else (index,):
        if type(part) is bool or not isinstance(part, (int, slice, list, type(None))):
            return  # a mask, or any number of dims
        if type(part) is list and all(type(number) is int for number in part):
            side = x.shape[place]
            beyond = [number for number in part if not -side <= number < side]
            if beyond:
                raise IndexError(f"index {beyond[0]} is out of bounds for dimension {place} with size {side}")
        place += part is not None


def _size(recorder: Any, tensor: Tensor, dim: int | None = None) -> Any:
    shape = recorder.shape(tensor)
    return shape if dim is None else shape[dim]


READS: dict[str, Callable[..., Any]] = {
    "size": _size,
    "numel": lambda recorder, tensor: recorder.numel(tensor),
    "nelement": lambda recorder, tensor: recorder.numel(tensor),
    "__len__": lambda recorder, tensor: int(recorder.shape(tensor)[0]),
}


def _attended(x: Tensor, *others: Any) -> tuple[Tensor, ...]:
    """What torch's attention gives, all of it contiguous: the tokens, and where they are asked for the weights of all
    heads or their mean."""
    heads, weight, needs_weights, is_mean = others[3], others[4], others[9], others[10]
    _check_projection(x, weight)
    batch, tokens = x.shape[:2]
    if not needs_weights:
        return (x.new_empty(x.shape),)
    return x.new_empty(x.shape), x.new_empty(batch, *(() if is_mean else (heads,)), tokens, tokens)


def _encoded(x: Tensor, *others: Any) -> tuple[Tensor, ...]:
    """What torch's encoder layer gives, contiguous."""
    _check_projection(x, others[2])
    return (x.new_empty(x.shape),)


def _check_projection(x: Tensor, weight: Tensor) -> None:
    if x.dim() != 3 or weight.shape != (3 * x.shape[-1], x.shape[-1]):
        raise RuntimeError(f"attention with weights {tuple(weight.shape)} meets tokens of shape {tuple(x.shape)}")


# Calls of several operators in one kernel, and what makes the like of their results.
KERNELS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "_native_multi_head_attention": _attended,
    "_transformer_encoder_layer_fwd": _encoded,
}
# Calls recorded as one operator, because what they are made of depends on the layout of their operands.
WHOLE = {F.linear: "linear", torch.matmul: "matmul", Tensor.matmul: "matmul", Tensor.__matmul__: "matmul"}
# Normalisations with running or no statistics, whose kernels on the meta device take a millisecond each.
NORMS = {torch.batch_norm: "native_batch_norm", torch.group_norm: "native_group_norm"}


PLAIN = {F.conv2d, F.linear, torch.layer_norm, *NORMS}


def _made_plainly(func: Callable, args: tuple) -> tuple | None:
    """A quicker way to a result that is plain: the operator, a function and arguments that make the like, its own."""
    if func is F.conv2d:
        return _plain_convolution(*args)
    if func is F.linear and _is_plain_linear(*args):
        return "linear", args[0].new_empty, ((*args[0].shape[:-1], args[1].shape[0]),)
    if func is torch.layer_norm and _is_plain_layer_norm(*args):
        return "layer_norm", made_like, args[:1]
    if func in NORMS and _is_plain_norm(func, *args):
        groups = () if func is torch.batch_norm else ((None,) * 6 + (args[1],),)  # where the operator has its groups
        return NORMS[func], made_like, args[:1], *groups
    return None


def _plain_convolution(x: Tensor, weight: Tensor, bias: Any = None, *rest: Any) -> tuple | None:
    if sides_in(rest):
        return None
    stride, padding, dilation, groups = plain((*rest, *(1, 0, 1, 1)[len(rest) :]))
    pairs = [list(pair) if type(pair) in (tuple, list) else [pair, pair] for pair in (stride, padding, dilation)]
    if isinstance(padding, str) or x.dim() != 4 or lies_oddly(x) or lies_oddly(weight) or x.dtype != weight.dtype:
        return None
    if any(len(pair) != 2 for pair in pairs) or (bias is not None and bias.dtype != x.dtype):
        return None
    args = (None, None, None if bias is not None else bias, *pairs, False, [0, 0], groups)
    try:
        shape = RULES["convolution"](args, x.shape, weight.shape)
    except ValueError:
        return None  # torch says it better
    return "convolution", x.new_empty, (shape,), args


def _is_plain_norm(func: Callable, x: Tensor, *others: Any) -> bool:
    """Whether a normalisation makes nothing but an output like its well-formed input, which has no gaps."""
    parameters = [tensor for tensor in others if isinstance(tensor, Tensor)]
    trains = func is torch.batch_norm and others[4]
    # The CPU's group norm takes channels last as they are, where without data it would copy them.
    layout = suggest_memory_format(x) if func is torch.group_norm else torch.contiguous_format
    lies_well = x.is_contiguous(memory_format=layout)
    return not trains and x.dim() > 1 and lies_well and all(p.shape == x.shape[1:2] for p in parameters)


def _is_plain_layer_norm(x: Tensor, inner: Sequence[int], weight: Tensor | None, *others: Any) -> bool:
    inner = torch.Size(plain(tuple(inner)))
    return weight is not None and x.is_contiguous() and x.shape[-len(inner) :] == weight.shape == inner


def _is_plain_linear(x: Tensor, weight: Tensor, *bias: Any) -> bool:
    return x.is_contiguous() and weight.dim() == 2 and x.shape[-1] == weight.shape[1]


def _attention_operands(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
):
    return query, key, value, attn_mask


def _attends(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> bool:
    """Whether attention over these tensors is well-formed without broadcasting heads."""
    if not query.dtype == key.dtype == value.dtype:
        return False
    try:
        RULES["scaled_dot_product_attention"]((), *(x.shape for x in (query, key, value, mask) if x is not None))
    except (ValueError, IndexError):
        return False
    return True


CHOSEN = ("if_true", "if_false")  # what torch's `boolean_dispatch` chooses between


@cache
def entered(func: types.FunctionType) -> types.FunctionType:
    """The same function with its test for override modes answering no, so that its body runs at once.

    So do those that it chooses between, such as a pool with and without the indices: asked, they would name this one.
    """
    names = zip(func.__code__.co_freevars, func.__closure__ or (), strict=True)
    closure = tuple(types.CellType(entered(cell.cell_contents)) if name in CHOSEN else cell for name, cell in names)
    inside = types.FunctionType(func.__code__, _scope(func), func.__name__, func.__defaults__, closure)
    inside.__kwdefaults__ = func.__kwdefaults__
    return inside


def _scope(func: types.FunctionType) -> dict[str, Any]:
    tests = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    return {**func.__globals__, **dict.fromkeys(tests, lambda *operands: False)}

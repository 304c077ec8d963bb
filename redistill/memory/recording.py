"""What is recorded of one forward pass: operators, values, buffers and the order in which they come and go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from operator import add
from typing import Any, NamedTuple

from torch import Tensor, nn

from ..networks.patches import TRAINS
from ..networks.red import REDBlock, REDLayer
from ..networks.windows import Restrided
from .inputs import Arguments, tensors_in
from .layouts import Noted
from .shape_rules import Rule, Shape
from .sides import Number, Size

WEIGHTS = -1  # stands for the buffer of every parameter: not an activation
OP, FREE, ENTER, LEAVE = range(4)  # kinds of events
Event = tuple[Any, ...]  # (OP, node), (FREE, buffer), (ENTER, path, value), (LEAVE, path, value)


class Node(NamedTuple):
    """One operator of the pass; tensors are numbers of values, and layers go by their path in the model."""

    op: str  # name of the aten operator, without overload
    call: int  # number of the call from Python that it belongs to
    title: str  # name of that call
    layer: str
    is_red: bool  # inside a RED block
    ins: tuple[int, ...]
    outs: tuple[int, ...]
    new: tuple[int, ...]  # buffers born here
    sources: tuple[int, ...]  # per output: position of the input whose buffer it shares, or -1
    args: tuple  # other arguments, by schema position; tensors are None
    rule: Rule  # output shapes from input shapes
    in_place_able: bool  # element by element, so that it may write where an operand dies
    is_view: bool  # only looks at its input's buffer
    sized: tuple | None  # what the rule is given instead of `args`, where that is not the same; it may hold Sides

    @property
    def measures(self) -> bool:
        """Whether it normalises by statistics of what it is given, so that no convolution can do it."""
        return self.op == "native_batch_norm" and any(self.args[TRAINS : TRAINS + 1])  # a plain one's are not noted


@dataclass(slots=True)
class Buffer:
    """A storage: as large as the tensor it was made for, or as another one."""

    value: int  # the value it was made for
    itemsize: int
    is_float: bool
    call: int
    inner: bool = False  # freed by the call that made it: a workspace
    room: int = -1  # a value that PyTorch makes the storage for at first, and keeps it where it needs less; -1 for none


class Weights(NamedTuple):
    """What parameters and buffers of a model hold, summed up."""

    floats: int = 0  # floating-point numbers
    float_bytes: int = 0
    other_bytes: int = 0

    def bytes(self, itemsize: int | None) -> int:
        """Their size; `itemsize` replaces that of floating-point numbers."""
        return self.other_bytes + (self.float_bytes if itemsize is None else self.floats * itemsize)

    def __add__(self, others: Weights) -> Weights:
        return Weights(*map(add, self, others))


NO_WEIGHTS = Weights()


@dataclass
class Recording:
    """All that one pass showed; integers and tuples only, besides the copy of the model without weights."""

    model: nn.Module
    paths: dict[str, str]  # path of a module → path shown, which leaves out the ".layer" of a REDLayer
    arguments: Arguments  # what the model was called with, tensors on the meta device
    nodes: list[Node] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)  # per value
    buffer_of: list[int] = field(default_factory=list)  # per value
    buffers: list[Buffer] = field(default_factory=list)
    inputs: tuple[int, ...] = ()  # values
    outputs: tuple[int, ...] = ()
    layouts: list[Noted] = field(default_factory=list)  # what decided whether a view or a copy was made
    pinned: dict[int, str] = field(default_factory=dict)  # values whose shapes must stay, and the layer that says so
    conditions: dict[Size, tuple[Number, str]] = field(default_factory=dict)  # what sizes decided, and in which layer

    unregistered: Weights = NO_WEIGHTS  # that the pass used, and that are no parameters or buffers of the model
    stride_reads: dict[str, str] = field(default_factory=dict)  # modules whose stride Python read, and in which layer

    @cached_property
    def modules(self) -> dict[str, nn.Module]:
        """The model's modules by path."""
        return dict(self.model.named_modules())

    @property
    def first_input(self) -> Tensor:
        """The first tensor that the model was called with."""
        return tensors_in(self.arguments)[0]

    @property
    def takes_an_image(self) -> bool:
        """Whether the model was called as every network that takes an image can be, with one and at most a timestep."""
        args, kwargs = self.arguments
        return not kwargs and isinstance(args[0], Tensor) and not tensors_in(args[1:])

    @cached_property
    def has_red(self) -> bool:
        """Whether the network carries RED blocks; to be asked once the recording is complete."""
        return any(node.is_red for node in self.nodes)


def shown_paths(model: nn.Module) -> dict[str, str]:
    """Path of every module → the path it is shown under: a layer inside its RED blocks keeps its own name."""
    paths = {"": ""}
    modules = dict(model.named_modules())
    for path in modules:
        parent, _, leaf = path.rpartition(".")
        if path:
            inside = leaf == "layer" and isinstance(modules[parent], (REDLayer, Restrided))
            paths[path] = paths[parent] if inside else f"{paths[parent]}.{leaf}".lstrip(".")
    return paths


def weights_of(model: nn.Module) -> tuple[Weights, Weights]:
    """Every parameter and buffer, once, and those of RED blocks among them."""
    red = [block for block in model.modules() if isinstance(block, REDBlock)]
    return _sum(_registered(model)), _sum(tensor for block in red for tensor in _registered(block))


def weights_beside(model: nn.Module, held: Iterable[Tensor]) -> Weights:
    """Those of `held` that the model has not registered, as of modules in a list."""
    known = {id(tensor) for tensor in _registered(model)}
    return _sum(tensor for tensor in held if id(tensor) not in known)


def _registered(model: nn.Module) -> Iterator[Tensor]:
    return chain(model.parameters(), model.buffers())


def _sum(tensors: Iterable[Tensor]) -> Weights:
    floats = float_bytes = other_bytes = 0
    for tensor in {id(tensor): tensor for tensor in tensors}.values():
        if tensor.is_floating_point():
            floats, float_bytes = floats + tensor.numel(), float_bytes + tensor.nbytes
        else:
            other_bytes += tensor.nbytes
    return Weights(floats, float_bytes, other_bytes)

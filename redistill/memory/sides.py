"""Sizes that a network reads in Python, followed to whatever they decide.

While a pass is recorded, its code is given a `Side` for each size that it reads. It counts as an int, and what is
computed of it is a Side again, which remembers how. Where the code needs the bare number (it compares, loops, looks up)
the recording notes what the number came from and what was found: a condition under which the code goes the same way.
A Side is a `torch.SymInt`, since torch takes those where it takes ints; an int of a class of its own would not do,
because C code reads its number without asking.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from .shape_rules import Shape, ShapeRuleError

Number = bool | int | float


class Size:
    """How a number follows from sizes: side `dim` of a value, or a function of other sizes and of numbers."""

    __slots__ = ("function", "operands", "place")

    def __init__(self, place: int, function: Callable[..., Number] | None, operands: tuple) -> None:
        self.place, self.function, self.operands = place, function, operands


class Reads:
    """The sizes that one recording read, and the conditions that follow; `layer` says who is reading."""

    def __init__(self, layer: Callable[[], str]) -> None:
        self.layer = layer
        self.open = True  # until the pass is over; what is read later decides nothing in it
        self.sizes: dict[tuple, Size] = {}
        self.sides: dict[tuple[int, int], Size] = {}  # those among them that are one side of a value
        self.conditions: dict[Size, tuple[Number, str]] = {}  # what was found, and by which layer

    def side(self, number: int, value: int, dim: int) -> Side:
        """Side `dim` of a value, which is `number` now."""
        size = self.sides.get((value, dim))
        if size is None:
            size = self.sides[value, dim] = self._size(None, (value, dim))
        return Side(number, size, self)

    def derived(self, number: Number, function: Callable[..., Number], operands: tuple) -> Any:
        """The number that a function gave for these operands, Sides among them."""
        size = self._size(function, tuple(o.size if type(o) in SIDES else o for o in operands))
        return (SideFloat if isinstance(number, float) else Side)(number, size, self)

    def decide(self, number: Number, function: Callable[..., Number], operands: tuple) -> Number:
        """The number itself, which must be the same for the code to go the same way."""
        if self.open:
            size = self._size(function, tuple(o.size if type(o) in SIDES else o for o in operands))
            self.conditions.setdefault(size, (number, self.layer()))
        return number

    def _size(self, function: Callable[..., Number] | None, operands: tuple) -> Size:
        key = (function, *((type(operand), operand) for operand in operands))  # 1, 1.0 and True are equal
        found = self.sizes.get(key)
        if found is None:
            found = self.sizes[key] = Size(len(self.sizes), function, operands)
        return found


class _Counted:
    """What Sides and SideFloats have in common."""

    def __init__(self, number: Number, size: Size, reads: Reads) -> None:
        self.number, self.size, self.reads = number, size, reads

    def bare(self) -> Number:
        """The number, noted as one that decides."""
        return self.reads.decide(self.number, _itself, (self,))

    def __bool__(self) -> bool:
        return self.reads.decide(bool(self.number), bool, (self,))

    def __hash__(self) -> int:
        return hash(self.bare())

    def __int__(self) -> int:
        return self.reads.decide(int(self.number), int, (self,))

    def __float__(self) -> float:
        return float(self.bare())

    def __repr__(self) -> str:
        return repr(self.bare())

    __str__ = __repr__

    def __format__(self, form: str) -> str:
        return format(self.bare(), form)

    def __reduce__(self) -> tuple:
        return type(self.number), (self.bare(),)

    def __deepcopy__(self, memo: dict) -> Number:
        return self.bare()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "node":
            raise AttributeError(name)
        return getattr(self.bare(), name)

    def __round__(self, digits: int | None = None) -> Any:
        return self._of(round, digits) if digits is not None else self._of(round)

    def __divmod__(self, other: Number) -> Any:
        return self // other, self % other

    def __rdivmod__(self, other: Number) -> Any:
        return other // self, other % self

    def _of(self, function: Callable[..., Number], *others: Number) -> Any:
        return self.reads.derived(function(self.number, *others), function, (self, *others))


class Side(_Counted, torch.SymInt):
    """A whole number that sizes decide."""

    @property
    def __class__(self) -> type:
        return int

    def __index__(self) -> int:
        return self.bare()


class SideFloat(_Counted, torch.SymFloat):
    """A number that sizes decide."""

    @property
    def __class__(self) -> type:
        return float


class Stride(torch.SymInt):
    """A stride of a layer, which is only to be handed on to an operator; `read` is told where Python looks at it."""

    def __init__(self, number: int, read: Callable[[], None]) -> None:
        self.number, self.read = number, read

    @property
    def __class__(self) -> type:
        return int

    def bare(self) -> int:
        """The number, told as one that Python looked at."""
        self.read()
        return self.number

    def __reduce__(self) -> tuple:
        return int, (self.bare(),)

    def __deepcopy__(self, memo: dict) -> int:
        return self.bare()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "node":
            raise AttributeError(name)
        return getattr(self.bare(), name)


SIDES = (Side, SideFloat)
SPECIAL = (*SIDES, Stride)
NUMBERS = (int, float, bool, *SIDES)


def _itself(number: Number) -> Number:
    return number


def _both(function: Callable[..., Number], one: Any, other: Any) -> Any:
    """A function of two numbers, of which at least one is a Side; NotImplemented where one is no number."""
    one, other = (number.bare() if type(number) is Stride else number for number in (one, other))
    if type(one) not in NUMBERS or type(other) not in NUMBERS:
        return NotImplemented
    reads = one.reads if type(one) in SIDES else other.reads
    number = function(plain(one), plain(other))
    return (reads.decide if isinstance(number, bool) else reads.derived)(number, function, (one, other))


def _operate(function: Callable[..., Number], is_reversed: bool) -> Callable[[Any, Any], Any]:
    if is_reversed:
        return lambda self, other: _both(function, other, self)
    return lambda self, other: _both(function, self, other)


COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
ARITHMETIC = ("add", "sub", "mul", "floordiv", "truediv", "mod", "pow", "lshift", "rshift", "and", "or", "xor")
UNARY = {
    "neg": operator.neg,
    "pos": operator.pos,
    "abs": operator.abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "trunc": math.trunc,
    "invert": operator.invert,
}


def _define() -> None:
    for name in (*COMPARISONS, *ARITHMETIC):
        function = getattr(operator, f"__{name}__")
        setattr(_Counted, f"__{name}__", _operate(function, False))
        if name in ARITHMETIC:
            setattr(_Counted, f"__r{name}__", _operate(function, True))
    for name, function in UNARY.items():
        setattr(_Counted, f"__{name}__", lambda self, function=function: self._of(function))
    for name in dir(int):
        if (callable(getattr(int, name)) and name not in dir(object)) or name in ("__eq__", "__hash__", "__repr__"):
            setattr(Stride, name, lambda self, *others, name=name: getattr(int, name)(self.bare(), *others))
    for name, function in {"max": max, "min": min}.items():  # torch.sym_max and torch.sym_min
        setattr(_Counted, f"__sym_{name}__", _operate(function, False))


_define()


def plain(item: Any) -> Any:
    """The same with the bare numbers of Sides, of which nothing is noted, in tuples, lists, dicts and slices."""
    return _plain(item) if specials_in(item) else item


def _plain(item: Any) -> Any:
    kind = type(item)
    if kind in SPECIAL:
        return item.number
    if kind in (tuple, torch.Size):
        return tuple(map(_plain, item))
    if kind is list:
        return [_plain(inner) for inner in item]
    if kind is slice:
        return slice(_plain(item.start), _plain(item.stop), _plain(item.step))
    if kind is dict:
        return {key: _plain(inner) for key, inner in item.items()}
    return item


def specials_in(item: Any) -> list[Any]:
    """The Sides and Strides in what `plain` goes through."""
    found: list[Any] = []
    _gather((item,), found)
    return found


def sides_in(item: Any) -> list[Any]:
    """The Sides among them."""
    return [special for special in specials_in(item) if type(special) is not Stride]


def _gather(items: Iterable[Any], found: list[Any]) -> None:
    for item in items:
        kind = type(item)
        if kind in SPECIAL:
            found.append(item)
        elif kind in (tuple, list, torch.Size):
            _gather(item, found)
        elif kind is dict:
            _gather(item.values(), found)
        elif kind is slice:
            _gather((item.start, item.stop, item.step), found)


class Measures:
    """The numbers that sizes are, for the shapes of all values, which may still be worked out."""

    def __init__(self, shapes: Sequence[Shape], home: Sequence[int]) -> None:
        self.shapes, self.home = shapes, home
        self.known: dict[int, Number] = {}

    def number(self, size: Size) -> Number:
        """The number that a size is; `ShapeRuleError` where there is none."""
        found = self.known.get(size.place)
        if found is None:
            try:
                found = self._worked_out(size)
            except (ArithmeticError, ValueError, TypeError, IndexError, RecursionError) as error:
                raise ShapeRuleError(
                    f"what Python computes of sizes fails there ({error}); capture the network anew."
                ) from None
            self.known[size.place] = found
        return found

    def _worked_out(self, size: Size) -> Number:
        if size.function is None:
            value, dim = size.operands
            return self.shapes[self.home[value]][dim]
        return size.function(*[self.number(o) if type(o) is Size else o for o in size.operands])

    def resolve(self, item: Any) -> Any:
        """The same with the numbers that its Sides are, in tuples, which may be nested."""
        if type(item) in SIDES:
            return self.number(item.size)
        return tuple(map(self.resolve, item)) if type(item) is tuple else item

    def check(self, conditions: dict[Size, tuple[Number, str]]) -> None:
        """`ShapeRuleError` where the code of a layer would go another way."""
        for size, (found, layer) in conditions.items():
            number = self.number(size)
            if number != found or type(number) is not type(found):
                raise ShapeRuleError(
                    f"{f'Layer {layer!r}' if layer else 'The network'} goes by a size in Python, which gave {found} "
                    f"when it was recorded and {number} here; capture the network anew."
                )

"""What a value is that anybody may have given: a number and no truth value, whole and within limits."""

from __future__ import annotations

import math
import sys
from typing import Any

LARGEST_SEED = 2**31 - 1
LONG = 10**20  # from here on a whole number is told by how many digits it has


def is_number(value: Any) -> bool:
    """Whether it is a finite number, one that a float can hold."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def shown(value: Any, most: int = 60) -> str:
    """A value that anybody may have given, for a sentence: cut to `most` characters, of a long number its length."""
    if isinstance(value, int) and abs(value) >= LONG:
        return f"a number of {_digits(abs(value)):,} digits"
    return cut(repr(value), most)


def cut(text: str, most: int = 60) -> str:
    """A text that may be of any length, for a sentence."""
    return text if len(text) <= most else f"{text[:most]}…"


def _digits(value: int) -> int:
    """How many a positive number has; Python writes none out that has thousands."""
    count = 1 + math.floor(math.log10(value))
    return count if value >= 10 ** (count - 1) else count - 1


def is_whole(value: Any, least: float = -math.inf, most: float = math.inf) -> bool:
    """Whether it is a whole number from `least` to `most`."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most

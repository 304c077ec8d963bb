"""Amounts of memory as people write them."""

from __future__ import annotations

import re
from fractions import Fraction

UNITS = {
    "B": 1,
    "KB": 10**3,
    "KiB": 2**10,
    "MB": 10**6,
    "MiB": 2**20,
    "GB": 10**9,
    "GiB": 2**30,
}


def in_bytes(count: int) -> str:
    """Bytes, and the same in MiB."""
    return f"{count:,} bytes ({count / 2**20:.3f} MiB)"


def parse_bytes(text: str) -> int:
    """Bytes from "512KiB", "0.5 MB" or "300000": KB, MB, GB are powers of 1,000, KiB, MiB, GiB of 1,024.

    Data sheets of microcontrollers often write KB for what is KiB here. Case does not matter, a number alone is bytes,
    and a part of a byte is dropped. Raises ValueError for anything else and for less than one byte.
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)", text.strip(), re.IGNORECASE)
    sizes = {name.lower(): size for name, size in UNITS.items()}
    unit = sizes.get(found[2].lower() or "b") if found else None
    amount = int(Fraction(found[1]) * unit) if unit else 0
    if amount < 1:
        raise ValueError(
            f"Amount of memory is {text!r}; expected at least one byte, as a number and one of {list(UNITS)}, "
            "such as 512KiB."
        )
    return amount

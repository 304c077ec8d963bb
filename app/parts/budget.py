"""A memory budget: what a small computer has, and whether a peak fits into it. No gradio; bytes are integers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from redistill.common.values import is_number

from ..words.numbers import format_bytes

NO_BUDGET, OTHER = "none", "other"  # choices beside the names of TARGETS
MAX_KIB = 2**30  # 1 TiB


@dataclass(frozen=True)
class Budget:
    """So many bytes for activations; `title` is the device they belong to, or "Budget"."""

    title: str
    bytes: int

    def fits(self, peak_bytes: int) -> bool:
        """Whether activations that peak at so many bytes find room; a peak of exactly the budget does."""
        return peak_bytes <= self.bytes

    def verdict(self, peak_bytes: int) -> str:
        """ "fits, 8.00 KiB to spare" or "does not fit: 1 B too much"."""
        spare = self.bytes - peak_bytes
        if spare < 0:
            return f"does not fit: {format_bytes(-spare)} too much"
        return f"fits, {format_bytes(spare)} to spare" if spare else "fits exactly"


# SRAM of the chips as their data sheets state it, in binary units.
TARGETS = {
    "stm32h7": Budget("STM32H7", 1_048_576),
    "esp32s3": Budget("ESP32-S3", 524_288),
    "nano33": Budget("Arduino Nano 33", 262_144),
}


def budget_choices() -> list[tuple[str, str]]:
    """Titles and names of all that can be chosen."""
    known = [(f"{target.title}, {_whole_unit(target.bytes)}", name) for name, target in TARGETS.items()]
    return [("None", NO_BUDGET), *known, ("Other", OTHER)]


def read_budget(choice: Any, kib: Any = None) -> Budget | None:
    """The budget of one choice; for OTHER, `kib` binary kilobytes rounded down to bytes, and none while it is None.

    Raises ValueError for a name that is no choice, and for a number of KiB that is no budget.
    """
    if isinstance(choice, str) and choice in TARGETS:
        return TARGETS[choice]
    if choice == NO_BUDGET or (choice == OTHER and kib is None):
        return None
    if choice != OTHER:
        names = [name for _, name in budget_choices()]
        raise ValueError(f"Memory budget is {str(choice)[:80]!r}; expected one of {names}.")
    if not is_number(kib) or not 2**-10 <= kib <= MAX_KIB:
        raise ValueError(
            f"Memory budget is {str(kib)[:40]} KiB; expected a number from 1 byte (0.001 KiB) to {MAX_KIB:,}."
        )
    return Budget("Budget", math.floor(kib * 1024))


def budget_controls(count: int | None) -> tuple[str, float | None]:
    """Choice and KiB that `read_budget` turns into a budget of `count` bytes; None for no budget."""
    if count is None:
        return NO_BUDGET, None
    for name, target in TARGETS.items():
        if target.bytes == count:
            return name, None
    return OTHER, count / 1024


def _whole_unit(count: int) -> str:
    return f"{count // 2**20} MiB" if count >= 2**20 else f"{count // 2**10} KiB"

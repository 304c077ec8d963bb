"""A memory budget: what a chip leaves to a network, or a number; whether networks fit. No gradio, bytes are whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from redistill.common.values import is_number
from redistill.memory import MemoryProfile
from redistill.memory.chips import CHIPS, KIB, MIB, Room, room_on

from ..words.numbers import format_bytes

NO_BUDGET, OTHER = "none", "other"  # choices beside the names of CHIPS
MAX_KIB = 2**30  # 1 TiB
CONTROLS = ("budget", "kib", "reserve", "program")  # a choice, and three numbers of KiB


@dataclass(frozen=True)
class Budget:
    """So many bytes for activations; `title` is the chip they belong to, or "Budget", `room` what that chip leaves."""

    title: str
    bytes: int
    room: Room | None = None

    def fits(self, peak_bytes: int) -> bool:
        """Whether activations that peak at so many bytes find room; a peak of exactly the budget does."""
        return peak_bytes <= self.bytes

    def verdict(self, peak_bytes: int) -> str:
        """ "fits, 8.00 KiB to spare" or "does not fit: 1 B too much"."""
        return _verdict(self.bytes - peak_bytes, self.bytes)

    @property
    def has_weights(self) -> bool:
        """Whether it says what weights there is room for."""
        return self.room is not None and (self.room.weights is not None or self.room.chip.loads_weights)

    def weights_fit(self, profile: MemoryProfile) -> bool:
        """Whether a network's weights find room, of a budget that says so."""
        return bool(self.room.weights_fit(profile))

    def is_too_small_for(self, profile: MemoryProfile) -> bool:
        """Whether it says what weights there is room for, and a network's find none."""
        return self.has_weights and not self.weights_fit(profile)

    def weights_verdict(self, profile: MemoryProfile) -> str:
        """The same as `verdict` of a network's file in flash, or of its weights where they are loaded, with the format
        in which they would fit where there is one."""
        if self.room.chip.loads_weights:
            return _verdict(self.bytes - profile.needed_bytes - profile.weight_bytes, self.bytes)
        taken = profile.file_bytes
        said = _verdict(self.room.weights - taken, self.room.weights)
        if taken <= self.room.weights:
            return said
        formats = self.room.formats_that_fit(profile)
        least = format_bytes(profile.file_bytes_at(1), _unit(self.room.weights))
        return f"{said}; in {formats[0]} it would" if formats else f"{said}, and in no format (int8: {least})"


def _verdict(spare: int, room: int) -> str:
    """In the unit of the room, but for single bytes."""
    amount = format_bytes(abs(spare), _unit(room) if abs(spare) >= KIB else None)
    if spare < 0:
        return f"does not fit: {amount} too much"
    return f"fits, {amount} to spare" if spare else "fits exactly"


def room_text(room: int) -> str:
    """Memory of a chip as data sheets have it: 524,288 → "512 KiB", 8,388,608 → "8.00 MiB"."""
    return format_bytes(room, _unit(room))


def _unit(room: int) -> int:
    return KIB if room < 2 * MIB else room


def budget_choices() -> list[tuple[str, str]]:
    """Titles and names of all that can be chosen."""
    known = [(f"{chip.title}, {room_text(room_on(name).activations)}", name) for name, chip in CHIPS.items()]
    return [("None", NO_BUDGET), *known, ("Other", OTHER)]


def chip_budget(name: str, reserve: int | None = None, program: int | None = None) -> Budget:
    """What a chip leaves, when the rest takes so many bytes of its RAM and flash; ValueError as `room_on` raises it."""
    room = room_on(name, reserve, program)
    return Budget(room.chip.title, room.activations, room)


def read_budget(choice: Any, kib: Any = None, reserve: Any = None, program: Any = None) -> Budget | None:
    """The budget of one choice; `kib` are binary kilobytes of OTHER, rounded down to bytes, and none while it is None.

    Of a chip, `reserve` and `program` are the KiB of RAM and flash that the rest takes, None for what is assumed.
    Raises ValueError for a name that is no choice, and for a number of KiB that is no budget.
    """
    if isinstance(choice, str) and choice in CHIPS:
        return chip_budget(choice, _taken("RAM", reserve), _taken("Flash", program))
    if choice == NO_BUDGET or (choice == OTHER and kib is None):
        return None
    if choice != OTHER:
        names = [name for _, name in budget_choices()]
        raise ValueError(f"Memory budget is {str(choice)[:80]!r}; expected one of {names}.")
    if not is_number(kib) or not 2**-10 <= kib <= MAX_KIB:
        raise ValueError(
            f"Memory budget is {str(kib)[:40]} KiB; expected a number from 1 byte (0.001 KiB) to {MAX_KIB:,}."
        )
    return Budget("Budget", math.floor(kib * KIB))


def _taken(of: str, kib: Any) -> int | None:
    """Bytes that the rest takes, None for an empty field; at least as many as the number of KiB says."""
    if kib in (None, ""):
        return None
    if not is_number(kib) or not 0 <= kib <= MAX_KIB:
        raise ValueError(f"{of} for the rest is {str(kib)[:40]} KiB; expected a number from 0 to {MAX_KIB:,}.")
    return math.ceil(kib * KIB)


def budget_controls(budget: Budget | None) -> dict[str, Any]:
    """The values of CONTROLS that `read_budget` turns into this budget; None for no budget."""
    empty = dict.fromkeys(CONTROLS[1:])
    if budget is None:
        return {"budget": NO_BUDGET, **empty}
    if budget.room is None:
        return {"budget": OTHER, **empty, "kib": budget.bytes / KIB}
    room = budget.room
    program = room.program / KIB if room.chip.flash else None
    return {"budget": room.chip.name, **empty, "reserve": room.reserve / KIB, "program": program}

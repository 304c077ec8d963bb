"""Patches on top of a search of strides: what keeps more of a network within a budget, and is computed twice for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, nextafter
from typing import Any

from ..common.values import is_number
from ..networks.alignment import BY_SIZE
from ..networks.red import REDConfig
from ..networks.trails import Size
from .patching import PatchedMemory, cheapest_patching
from .search import DEFAULT_RED, Candidate, SearchResult
from .shape_rules import ShapeRuleError
from .tape import Tape

MOST_OVERHEAD = 0.5  # of a network's computation that patches may add


@dataclass(frozen=True)
class PatchedCandidate:
    """One choice of strides that fits a budget, with the patches that it needs for that."""

    candidate: Candidate
    patched: PatchedMemory | None  # None where it fits as it is

    @property
    def peak_bytes(self) -> int:
        """Most alive, patches included."""
        return self.patched.peak_bytes if self.patched else self.candidate.peak_bytes

    @property
    def needed_bytes(self) -> int:
        """What a budget must have room for. No runtime plans patches: of those it is what is alive."""
        return self.patched.peak_bytes if self.patched else self.candidate.needed_bytes

    @property
    def overhead(self) -> float:
        """Computation that patches add, as a share of what the student computes without them."""
        return self.patched.overhead if self.patched else 0.0


def search_patches(
    tape: Tape,
    found: SearchResult,
    budget_bytes: int,
    image_size: int | Size | None = None,
    *,
    most_overhead: float = MOST_OVERHEAD,
    red: REDConfig | None = DEFAULT_RED,
    alignment: str = BY_SIZE,
    batch: int | None = None,
    **counted: Any,
) -> list[PatchedCandidate]:
    """What fits a budget with patches: from least computation added to most of the network's own MACs kept.

    `found` is what `search_strides` found on this `tape` at the same `image_size`, `red`, `alignment`, `batch` and
    ways of counting (`accounting`, `dtype`, `fuse_add`); of a search for a chip, those whose weights find no room are
    left out. Each choice of strides, and the network as it is, without RED blocks, is tried with every layer to compute
    patches up to, in 2 x 2 to 8 x 8 patches; those that compute more than the network are left out. First comes the
    best that needs no patches; each further one keeps more than all before it, for more.
    `most_overhead` is the largest share of computation that patches may add. Empty where nothing fits.
    """
    if not is_number(most_overhead) or most_overhead < 0:
        raise ValueError(f"most_overhead is {most_overhead!r}; expected a share of at least 0, such as 0.5.")
    settings = {"image_size": image_size, "alignment": alignment, "batch": batch}
    steps = _fitting(tape, found, budget_bytes, most_overhead, red, settings, counted)
    return list(steps)[::-1]


def _fitting(
    tape: Tape,
    found: SearchResult,
    budget_bytes: int,
    most: float,
    red: REDConfig | None,
    settings: dict[str, Any],
    counted: dict[str, Any],
) -> Iterator[PatchedCandidate]:
    """Those that keep most first, each for less computation than the one before."""
    teacher = found.teacher
    others = [c for c in found.candidates if c.bare_macs <= teacher.macs and c.strides != teacher.strides]
    able = [candidate for candidate in (teacher, *others) if candidate.weights_fit]
    order = sorted(able, key=lambda one: (one is not teacher, -one.bare_macs, one.needed_bytes))
    below = nextafter(most, inf)  # what patches may add
    for candidate in order:
        budget = candidate.left_of(budget_bytes)
        if candidate.needed_bytes <= budget:
            yield PatchedCandidate(candidate, None)
            return
        blocks = None if candidate is teacher else red
        chosen = {"strides": candidate.strides, "red": blocks, **settings}
        patched = _cheapest(tape, budget, below, chosen, counted)
        if patched:
            below = max(0.0, patched.overhead)
            yield PatchedCandidate(candidate, patched)


def _cheapest(
    tape: Tape, budget_bytes: int, below: float, settings: dict[str, Any], counted: dict[str, Any]
) -> PatchedMemory | None:
    try:
        return cheapest_patching(tape, budget_bytes, below, **settings, **counted)
    except ShapeRuleError:
        student = tape.anew(settings["strides"], settings["image_size"], settings["batch"])
        student = tape.aligned_anew(student, settings["red"], settings["image_size"], settings["alignment"])
        return cheapest_patching(student, budget_bytes, below, **counted)

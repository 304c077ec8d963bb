"""Every choice of pooling strides of a network, on one tape: what fits a memory budget, and what it costs.

Pooling earlier lowers peak memory and computation alike, so lowest memory and fewest multiply-accumulates (MACs) meet
in one student: the one that pools everything at once and has the least left to compute with. What trades against memory
is how much of the teacher's computation a student keeps, and the front says how much each byte can buy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, product
from math import prod
from typing import Any

from torch import nn

from ..common.values import is_whole
from ..networks.alignment import BY_SIZE, check_rule
from ..networks.red import REDConfig
from ..networks.strides import ways_of
from ..networks.trails import Size
from .chips import Room
from .profile import Peak
from .shape_rules import ShapeRuleError
from .tape import Tape, capture_images

REDUCTIONS = ("same", "any")
STRIDES = (1, 2, 4, 8)  # the usual ones, see `strides_at`
MAX_VECTORS = 100_000  # about two minutes of a ResNet-50
MAX_CAPTURES = 5_000  # of one search; some minutes
DEFAULT_RED = REDConfig()
Done = tuple[int, int, int]  # choices done, of how many, captures among them
Progress = Callable[[int, int, int], None]  # is told the same


@dataclass(frozen=True)
class Candidate:
    """One choice of strides; bytes of activations, and MACs of one pass over the batch."""

    strides: dict[str, int]  # of every pooling point, by layer path
    reduction: int  # their product
    peak_bytes: int  # with RED blocks where the search has them
    needed_bytes: int  # with them: what a budget must have room for, as `MemoryProfile.needed_bytes`
    bare_peak_bytes: int  # without
    peak_layer: str  # where the peak is, RED blocks included
    macs: int  # RED blocks included where the search has them
    bare_macs: int
    # Of a search for a chip: what the weights take, RED blocks included, as `Room.stored_bytes`, and the bytes that the
    # chip leaves for activations beside them, none where they find no room.
    stored_bytes: int | None = None
    room_bytes: int | None = None

    @property
    def weights_fit(self) -> bool:
        """Whether the weights find room; True where the search is for no chip."""
        return self.room_bytes is None or self.room_bytes > 0

    def left_of(self, budget_bytes: int) -> int:
        """Bytes of a budget that are there for its activations: all, or what its weights leave of the chip."""
        return budget_bytes if self.room_bytes is None else min(budget_bytes, self.room_bytes)

    def fits(self, budget_bytes: int) -> bool:
        """Whether a budget has room for its activations, and the chip that was searched for for its weights."""
        return self.needed_bytes <= self.left_of(budget_bytes)


@dataclass(frozen=True)
class SearchResult:
    """What `search_strides` found."""

    front: tuple[Candidate, ...]
    # ^ Pareto front of least memory needed for most of the network's own MACs kept (`bare_macs`: what RED blocks
    #   compute is no part of it), both rising. The last one that fits a budget keeps the most computation in it. Of a
    #   search for a chip, those whose weights find no room there are left out.
    candidates: tuple[Candidate, ...]  # all, the least memory needed first, then most of the network's own MACs
    teacher: Candidate  # the network as it is, which has no RED blocks
    tried: int  # stride vectors
    refused: int  # of these, too much reduction for the image, or strides at which the network does not run
    fitting: int  # candidates within the budget; all of them without one
    budget_bytes: int | None
    seconds: float  # the search took, captures included
    captured: int = 0  # of the vectors, and the network as it is, those that the tape could not tell

    def within(self, budget_bytes: int) -> tuple[Candidate, ...]:
        """Those of the front that fit a budget; the last keeps the most computation in it."""
        return tuple(candidate for candidate in self.front if candidate.fits(budget_bytes))


def search_strides(
    network: nn.Module | Tape,
    image_size: int | Size | None = None,
    budget_bytes: int | None = None,
    *,
    strides: Iterable[int] | None = None,
    reduction: str = "same",
    red: REDConfig | None = DEFAULT_RED,
    alignment: str = BY_SIZE,
    accounting: str = "fused",
    dtype: str | None = None,
    batch: int | None = None,
    fuse_add: bool = False,
    room: Room | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """Try every choice of strides at the pooling points of a network and return what each one needs.

    `strides` are tried at every point; None: at each those of `strides_at`, its own among them.
    `network` is a model, which needs an `image_size` in pixels, or its tape. With `reduction` "same" the total
    reduction stays the network's own on every way through it, so that its last maps keep their size; "any" takes all
    that the image has room for. With `red`, candidates carry RED blocks where `build_student` puts them, aligned
    (`alignment`) with the network as it is. The other settings are those of `Tape.profile`, whose figures these are;
    what the tape cannot tell is captured anew, which takes about as long as a thousand answers of the tape. What fits a
    budget is what a program needs of it: under "fused" and "executorch" the arena that is planned, not only what is
    alive in it. With `room`, what a chip leaves (`chips.room_on`), weights have to find room there too, and its
    activations are the budget where none is given. `progress` is told after each choice how many are done, of how many,
    and how many of them were captured. MACs stand in for the accuracy that can be kept; they are no promise of it.

    Raises ValueError for unknown settings, for more than `MAX_VECTORS` choices, and when no choice fits the network.
    """
    steps = search_steps(
        network,
        image_size,
        budget_bytes,
        strides=strides,
        reduction=reduction,
        red=red,
        alignment=alignment,
        accounting=accounting,
        dtype=dtype,
        batch=batch,
        fuse_add=fuse_add,
        room=room,
    )
    while True:
        try:
            done = next(steps)
        except StopIteration as end:
            return end.value
        if progress is not None:
            progress(*done)


def search_steps(
    network: nn.Module | Tape,
    image_size: int | Size | None = None,
    budget_bytes: int | None = None,
    *,
    strides: Iterable[int] | None = None,
    reduction: str = "same",
    red: REDConfig | None = DEFAULT_RED,
    alignment: str = BY_SIZE,
    accounting: str = "fused",
    dtype: str | None = None,
    batch: int | None = None,
    fuse_add: bool = False,
    room: Room | None = None,
) -> Generator[Done, None, SearchResult]:
    """`search_strides` step by step: yields what `progress` is told, and returns the result."""
    start = time.perf_counter()
    budget_bytes = room.activations if room and budget_bytes is None else budget_bytes
    asked = _check_settings(strides, reduction, budget_bytes)
    check_rule(alignment)
    tape = network if isinstance(network, Tape) else _capture(network, image_size, batch)
    points = tape.strides
    choices = [asked or strides_at(own) for own in points.values()]
    vectors = _vectors(choices, points, _kept(tape) if reduction == "same" else [])
    counting = _Counting(tape, (image_size, batch), (dtype, accounting, fuse_add), alignment)
    teacher = _candidate(room, points, *counting.peaks({}, (None,)))
    candidates, reason = [], None
    for done, vector in enumerate(vectors, 1):
        named = dict(zip(points, vector, strict=True))
        try:
            peaks = counting.peaks(named, (None,) if red is None else (None, red))
        except ValueError as error:
            reason = reason or error
        else:
            candidates.append(_candidate(room, named, *peaks))
        yield done, len(vectors), counting.captured
    if not candidates:
        raise ValueError(f"None of the {len(vectors)} stride vectors of {list(points)} can be evaluated: {reason}")
    candidates.sort(key=lambda candidate: (candidate.needed_bytes, -candidate.bare_macs))
    return SearchResult(
        front=_front(candidates, room),
        candidates=tuple(candidates),
        teacher=teacher,
        tried=len(vectors),
        refused=len(vectors) - len(candidates),
        fitting=sum(budget_bytes is None or candidate.fits(budget_bytes) for candidate in candidates),
        budget_bytes=budget_bytes,
        seconds=time.perf_counter() - start,
        captured=counting.captured,
    )


class _Counting:
    """Peaks at one image size and batch, on one tape as far as it tells; counts what had to be captured."""

    def __init__(
        self, tape: Tape, size: tuple[int | Size | None, int | None], counted: tuple[Any, ...], alignment: str
    ) -> None:
        self.captured, self.counted, self.alignment = 0, counted, alignment
        self.tape, self.size = tape, size
        try:
            tape.points_at(None, size[0])
            tape.peaks(None, *size, *counted)
        except ShapeRuleError:  # at this size and batch it tells nothing
            self.tape, self.size = tape.anew(None, *size), (None, None)
            self.captured = 1

    def peaks(self, strides: dict[str, int], reds: tuple[REDConfig | None, ...]) -> list[Peak]:
        """Peaks as `Tape.peaks` gives them; ValueError for strides that do not fit the network."""
        try:
            return self.tape.peaks(strides, *self.size, *self.counted, reds=reds, alignment=self.alignment)
        except ShapeRuleError as error:
            if self.captured >= MAX_CAPTURES:
                raise ValueError(f"More than {MAX_CAPTURES:,} choices need a capture of their own.") from error
            try:
                found = self.tape.peaks_anew(strides, *self.size, *self.counted, reds=reds, alignment=self.alignment)
            except ValueError:
                raise error from None  # the network does not run so, and the tape says why
            self.captured += 1
            return found


def strides_at(own: int) -> list[int]:
    """The strides that are offered at a pooling point of stride `own`, rising: the usual ones and that, and twice that
    where it is beyond them, as of the patches of a transformer, or no student could pool harder."""
    return sorted({*STRIDES, own, *((2 * own,) if own >= max(STRIDES) else ())})


def _check_settings(strides: Iterable[int] | None, reduction: str, budget_bytes: int | None) -> list[int] | None:
    """The strides to choose from, each once and rising; None where none were asked for."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction is {reduction!r}; expected one of {list(REDUCTIONS)}.")
    if budget_bytes is not None and not is_whole(budget_bytes, 1):
        raise ValueError(f"Memory budget is {budget_bytes!r}; expected a whole number of bytes, at least 1.")
    if strides is None:
        return None
    choices = list(strides) if isinstance(strides, Iterable) else [strides]
    if not choices or not all(is_whole(stride, 1) for stride in choices):
        raise ValueError(f"Strides to choose from are {choices}; expected whole numbers of at least 1.")
    return sorted(set(choices))


def _capture(model: nn.Module, image_size: int | Size | None, batch: int | None) -> Tape:
    if image_size is None:
        raise ValueError("image_size is None; expected the side of the images in pixels, or a tape of the model.")
    return capture_images(model, image_size, 1 if batch is None else batch)


def _kept(tape: Tape) -> list[list[int]]:
    """The ways through the network on which the reduction stays, as places of its points that can be chosen."""
    offered = [point for point in tape.points if point.is_offered]
    places = {point.name: place for place, point in enumerate(offered)}
    return [[places[name] for name in way if name in places] for way in ways_of(offered)]


def _vectors(
    choices: Sequence[Sequence[int]], points: dict[str, int], ways: Sequence[Sequence[int]]
) -> list[tuple[int, ...]]:
    """Strides to try, of `choices` at each of `points`, with the network's own reduction on `ways`. Neighbours differ
    late, where less of the network follows."""
    count = prod(map(len, choices))
    if count > MAX_VECTORS:
        raise ValueError(
            f"Up to {max(map(len, choices))} strides at {len(points)} pooling points make {count:,} stride vectors; "
            f"expected at most {MAX_VECTORS:,}. Choose fewer strides."
        )
    own = list(points.values())
    totals = [prod(own[place] for place in way) for way in ways]
    vectors = [
        vector
        for vector in product(*choices)
        if all(prod(vector[place] for place in way) == total for way, total in zip(ways, totals, strict=True))
    ]
    if not vectors:
        times = " and ".join(map(str, dict.fromkeys(totals)))
        raise ValueError(
            f"No choice of the strides {sorted({*chain(*choices)})} at {list(points)} reduces the image {times} times, "
            "as the network does; choose other strides, or reduction 'any'."
        )
    return vectors


def _candidate(room: Room | None, strides: dict[str, int], bare: Peak, full: Peak | None = None) -> Candidate:
    full = full or bare
    stored = room.stored_bytes(full.profile) if room else None
    return Candidate(
        strides=dict(strides),
        reduction=prod(strides.values()),
        peak_bytes=full.bytes,
        needed_bytes=full.needed_bytes,
        bare_peak_bytes=bare.bytes,
        peak_layer=full.layer,
        macs=full.macs,
        bare_macs=bare.macs,
        stored_bytes=stored,
        room_bytes=room.beside(stored) if room else None,
    )


def _front(candidates: Sequence[Candidate], room: Room | None) -> tuple[Candidate, ...]:
    """Those that keep more than all that need as little memory; `candidates` come by need, then most own MACs.

    What fits the room comes first: where weights are loaded, what fits can need more than what does not.
    """
    front: list[Candidate] = []
    able = [candidate for candidate in candidates if candidate.weights_fit]
    for candidate in sorted(able, key=lambda one: room is not None and not one.fits(room.activations)):
        last = front[-1] if front else None
        if not last or (candidate.bare_macs > last.bare_macs and candidate.needed_bytes >= last.needed_bytes):
            front.append(candidate)
    return tuple(front)

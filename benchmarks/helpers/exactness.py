"""How often computed memory is real memory, to the byte, over strides, batches, number formats and RED blocks."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import cycle, islice, product
from typing import NamedTuple

import torch
from torch import nn

from redistill.memory import MemoryProfile, ShapeRuleError, Tape, capture, measure_peak
from redistill.networks.red import REDConfig

from .fused_run import run_fused
from .networks import allocate, build, example, random_strides, student

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
RED = REDConfig()


class Count(NamedTuple):
    """Settings tried, and those whose computed bytes are the real ones; the largest difference of the others."""

    tried: int = 0
    eager: int = 0
    fused: int = 0
    worst_bytes: int = 0

    def plus(self, eager: int, fused: int) -> Count:
        """With one more setting, whose differences these are."""
        worst = max(self.worst_bytes, abs(eager), abs(fused))
        return Count(self.tried + 1, self.eager + (eager == 0), self.fused + (fused == 0), worst)


def own_strides(name: str, image_size: int, batches: Sequence[int]) -> dict[str, int]:
    """Eager figure less the allocator's, in bytes, at the network's own strides: by batch and number format."""
    tape = capture(build(name, image_size), (1, 3, image_size, image_size))
    differences = {}
    for batch, dtype in product(batches, DTYPES):
        model = build(name, image_size)
        computed, _ = _profiles(tape, model, image_size, {"batch": batch, "dtype": dtype})
        real = measure_peak(allocate(model, DTYPES[dtype]), example(name, image_size, batch, DTYPES[dtype]))
        differences[f"batch {batch} {dtype}"] = computed.peak_bytes - real
    return differences


def random_settings(name: str, image_size: int, batches: Sequence[int], count: int, red: REDConfig | None) -> Count:
    """`count` random stride settings of a CNN that torch.fx can trace, batches and number formats in turn."""
    tape = capture(build(name), (1, 3, image_size, image_size))
    found = Count()
    settings = _fitting(name, tape, image_size, red)
    for batch, dtype in islice(cycle(product(batches, DTYPES)), count):
        strides, model = next(settings)
        images = example(name, image_size, batch, DTYPES[dtype])
        changes = {"strides": strides, "batch": batch, "dtype": dtype, "red": red}
        eager, fused = _profiles(tape, model, image_size, changes)
        model = allocate(model, DTYPES[dtype])
        real = run_fused(model, *images)[0]
        found = found.plus(eager.peak_bytes - measure_peak(model, images), fused.peak_bytes - real)
    return found


def _fitting(name: str, tape: Tape, image_size: int, red: REDConfig | None) -> Iterator[tuple[dict, nn.Module]]:
    """Random strides that the image has pixels for, and the network at them."""
    chosen = random.Random(name)
    while True:
        strides = random_strides(tape, chosen)
        try:
            yield strides, student(name, strides, image_size, red)
        except ValueError:
            continue


def _profiles(tape: Tape, model: nn.Module, image_size: int, changes: dict) -> list[MemoryProfile]:
    """Eager and fused from the tape; from a fresh one of `model` where this one says that it cannot know."""
    kinds = ("eager", "fused")
    try:
        return [tape.profile(**changes, accounting=kind) for kind in kinds]
    except ShapeRuleError:
        fresh = capture(model, (changes["batch"], 3, image_size, image_size))
        return [fresh.profile(dtype=changes["dtype"], accounting=kind) for kind in kinds]

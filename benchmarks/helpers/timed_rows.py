"""Rows of figures that are made one after another, keep what there is when one fails, and end in time."""

from __future__ import annotations

import contextlib
import gc
import json
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

GRACE = 30  # seconds that a row has when time is up
SAME = ("device", "torch", "torchvision", "diffusers", "cuda", "cudnn")  # of surroundings, of rows that go together
LONGEST = 100  # seconds of one row, which compiling may take


@dataclass(frozen=True)
class Row:
    """A part of the run: what it is called, and what gives its figures, or several rows of them."""

    table: str
    name: str
    run: Callable[[], dict[str, Any] | list[dict[str, Any]]]


class OutOfTimeError(Exception):
    """A row took longer than it may."""


def run_rows(
    rows: list[Row],
    seconds: float,
    save: Callable[[list[dict[str, Any]]], None],
    known: list[dict[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """The figures of all rows, in order; `save` gets those there are after every row.

    A row that fails gives its `error`, one that would begin after `seconds` what was `skipped`. Those in `known`
    are not made again.
    """
    started = time.perf_counter()
    found: list[dict[str, Any]] = []
    for row in rows:
        name = {"table": row.table, "row": row.name}
        if made := [one for one in known or [] if (one["table"], one["row"]) == (row.table, row.name)]:
            found += made
            continue
        began = time.perf_counter()
        left = seconds - (began - started)
        if left <= 0:
            results: list[dict[str, Any]] = [{"skipped": f"{seconds:.0f} seconds were spent"}]
        else:
            results = _attempt(row, min(LONGEST, left + GRACE))
        found += [name | result | {"seconds": round(time.perf_counter() - began, 1)} for result in results]
        save(found)
        for result in results:
            print_row(name | result)
        gc.collect()
        if torch.cuda.is_available():
            with contextlib.suppress(RuntimeError):  # after an error of its own CUDA refuses all that follows
                torch.cuda.empty_cache()
    return found


def _attempt(row: Row, seconds: float) -> list[dict[str, Any]]:
    try:
        with _limited(seconds):
            result = row.run()
    except Exception as error:  # whatever it is, the rows to come may do without
        traceback.print_exc(limit=-5)
        said = str(error).strip().splitlines()
        return [{"error": f"{type(error).__name__}: {said[0][:300] if said else 'no reason given'}"}]
    return result if isinstance(result, list) else [result]


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """A block of the main thread that OutOfTimeError ends after so many seconds."""

    def ring(number: int, frame: object) -> None:
        raise OutOfTimeError(f"not done after {seconds:.0f} seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def print_row(row: dict[str, Any]) -> None:
    """One line: what kind of row, and its figures by name."""
    left_out = ("table", "row", "network", "strides", "aim", "seconds")
    figures = [
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in row.items()
        if key not in left_out and value is not None
    ]
    print(f"{row['table']:<9} {row['row']:<32}", *figures, flush=True)


def known_rows(file: Path, said: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a file that have figures; none if they were made on another device or by other releases."""
    held = json.loads(file.read_text()) if file.exists() else {}
    if any(held.get(name) != said[name] for name in SAME if name in said):
        return []
    return [row for row in held["figures"] if not {"error", "skipped"} & row.keys()]

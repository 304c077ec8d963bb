"""Any network: how often a figure is exact, captured anew and exact, refused, or wrong.

    python -m benchmarks.zoo [--quick] [--json FILE] [--share K/N]

Every classifier, segmentation model and detector's backbone of torchvision, the smallest members of 120 families of
timm, and networks of diffusers. Of each: the eager peak at batch 1 and 3 against the real allocator, then at 10 random
choices of strides, 5 image sizes and 2 batches. A figure that the tape does not give is captured anew; one that the
capture refuses too counts as refused where the network itself runs there. Wrong is any other number of bytes than the
allocator's, and an answer for what does not run. Bytes at small images, since no figure depends on their numbers; what
would take more than two gigabytes or minutes, as a transformer of 57,600 tokens, is not run to compare, and counted as
too large.
`--json` keeps the rows, and goes on from those that it finds there. `--share 1/2` takes every second network, for two
processes beside each other. `--quick` takes twelve networks and few settings.
"""

from __future__ import annotations

import argparse
import collections
import copy
import json
import random
import time
import warnings
from collections.abc import Iterator
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import nn

from redistill.memory import ShapeRuleError, Tape, capture, measure_peak
from redistill.memory.profile import MemoryProfile
from redistill.networks.pooling_points import PoolingPoint
from redistill.networks.strides import apply_strides, set_strides

from .helpers.exactness import DTYPES
from .helpers.networks import allocate, random_strides
from .helpers.zoo import NETWORKS, QUICK, Built, built

KINDS = ("exact", "anew", "refused", "wrong", "does not run", "too large")
ROOM, MOST_MACS = 2 * 1024**3, 2 * 10**11  # bytes and multiply-accumulates that a pass may take to be compared with
BATCHES = (2, 5)


def settings_of(tape: Tape, size: int, count: int) -> Iterator[dict[str, Any]]:
    """The settings to ask for: other strides, sizes and batches, each by itself."""
    chosen = random.Random(0)
    try:
        points = tape.strides
    except ValueError:  # no strides of it can be set, which is said in one sentence
        points = {}
    if points:
        choices = (random_strides(tape, chosen) for _ in range(20 * count))
        yield from islice(({"strides": strides} for strides in choices if prod(strides.values()) <= size), count)
    sizes = (size + 32, size - 32, size * 2, size + 16, size - 8)
    yield from ({"image_size": other} for other in sizes[: max(count // 2, 1)] if other > 0)
    yield from ({"batch": batch} for batch in BATCHES)


def asked(network: Built, tape: Tape, settings: dict[str, Any]) -> tuple[MemoryProfile | None, str, str]:
    """The eager figures at some settings, the kind of answer, and the sentence where there is none.

    Where nobody but the caller knows what becomes of further inputs, the network is captured with them.
    """
    try:
        return tape.profile(accounting="eager", **settings), "exact", ""
    except ShapeRuleError:
        pass
    except ValueError as error:
        return None, "refused", str(error)
    try:
        if len(tape.recording.inputs) > 1 and "strides" not in settings:
            anew = capture(network.model, *network.inputs(settings.get("batch", 1), _size(network, settings)))
        else:
            anew = tape.anew(**settings)
        return anew.profile(accounting="eager"), "anew", ""
    except ValueError as error:
        return None, "refused", str(error)


def _size(network: Built, settings: dict[str, Any]) -> int:
    return settings.get("image_size", network.size)


def restrided(model: nn.Module, tape: Tape, strides: dict[str, int], size: int) -> nn.Module:
    """A copy of the network at these strides."""
    model = copy.deepcopy(model)
    if tape.recording.takes_an_image:
        return set_strides(model, strides, size)
    apply_strides(model, tape.points, strides)  # which needs no trial on an image alone
    return model


def real(network: Built, model: nn.Module, tape: Tape, settings: dict[str, Any]) -> int | None:
    """What the allocator says; None where the network does not run."""
    size, batch, strides = _size(network, settings), settings.get("batch", 1), settings.get("strides")
    try:
        if strides:
            model = restrided(model, tape, strides, network.size)
        return measure_peak(model, *network.inputs(batch, size))
    except Exception:  # a network may fail in any way, and then there is nothing to compare with
        return None


def measure(name: str, count: int) -> dict[str, Any]:
    """One network's row: how many answers of each kind, and the sentences of refusals."""
    start = time.perf_counter()
    kinds: collections.Counter[str] = collections.Counter()
    row: dict[str, Any] = {"network": name, "refusals": [], "wrong": []}
    network = built(name)
    model = allocate(network.model, DTYPES["fp32"])
    try:
        tape = capture(model, *network.inputs(1, network.size))
    except ValueError as error:
        return row | {"kinds": {"refused": 1}, "refusals": [str(error)], "seconds": time.perf_counter() - start}
    points: list[PoolingPoint] = []
    try:
        points = tape.points
    except ValueError as error:
        row["no_points"] = str(error)
    row |= {"image_size": network.size, "points": len(points), "recorded": _told(tape)}
    for settings in ({}, {"batch": 3}, *settings_of(tape, network.size, count)):
        if settings == {"batch": 3}:
            profile = capture(model, *network.inputs(3, network.size)).profile(accounting="eager")
            kind, sentence = "exact", ""
        else:
            profile, kind, sentence = asked(network, tape, settings)
        if profile and (profile.peak_bytes > ROOM or profile.macs > MOST_MACS):
            kinds["too large"] += 1
            continue
        found = profile and profile.peak_bytes
        truth = real(network, model, tape, settings)
        if found is not None and found != truth:
            kind = "wrong"
            row["wrong"].append([str(settings), found, truth])
        elif found is None:
            kind = "does not run" if truth is None else "refused"
            if truth is not None:
                row["refusals"].append(sentence)
        kinds[kind] += 1
    return row | {"kinds": dict(kinds), "seconds": time.perf_counter() - start}


def _told(tape: Tape) -> dict[str, int]:
    """What the recording holds its answers to."""
    recording = tape.recording
    return {"conditions": len(recording.conditions), "pinned": len(recording.pinned), "layouts": len(recording.layouts)}


def print_row(row: dict[str, Any]) -> None:
    """One line of the table, and what is wrong below it."""
    counts = "".join(f"{row['kinds'].get(kind, 0):>14}" for kind in KINDS)
    print(f"{row['network']:<52}{row.get('points', 0):>7}{counts}{row['seconds']:>9.1f}", flush=True)
    for settings, found, truth in row["wrong"]:
        print(f"    wrong at {settings}: {found:,} given, {truth if truth is None else format(truth, ',')} real")
    for sentence in dict.fromkeys(row["refusals"]):
        print(f"    refused: {sentence}")


def summary(rows: list[dict[str, Any]]) -> str:
    """The last line, for machines."""
    totals: collections.Counter[str] = collections.Counter()
    for row in rows:
        totals.update(row["kinds"])
    refused = sum(row["kinds"].get("refused", 0) > 0 for row in rows)
    counts = " ".join(f"{kind.replace(' ', '_')}={totals[kind]}" for kind in KINDS)
    return f"zoo networks={len(rows)} {counts} networks_with_refusals={refused}"


def main() -> None:
    """Print the table, and keep the rows in a file when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="twelve networks and few settings; ends within 45 s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the rows there, and go on from those there are")
    parser.add_argument("--share", default="1/1", metavar="K/N", help="every N-th network alone, from the K-th on")
    options = parser.parse_args()
    first, step = map(int, options.share.split("/"))
    warnings.simplefilter("ignore")
    rows = json.loads(options.json.read_text()) if options.json and options.json.exists() else []
    done = {row["network"] for row in rows}
    print(
        f"torch {torch.__version__}, CPU\n{'network':<52}{'points':>7}" + "".join(f"{kind:>14}" for kind in KINDS),
        end="",
    )
    print(f"{'seconds':>9}")
    for row in rows:
        print_row(row)
    for name in list(QUICK if options.quick else NETWORKS)[first - 1 :: step]:
        if name in done:
            continue
        rows.append(measure(name, 2 if options.quick else 10))
        print_row(rows[-1])
        if options.json:
            options.json.write_text(json.dumps(rows, indent=1) + "\n")
    print(summary(rows))


if __name__ == "__main__":
    main()

"""Activation memory: our figures beside the allocator's and other tools', and how long each takes.

    python -m benchmarks.memory [--quick] [--json FILE]

Three tables, one row a network. The first is one forward pass at batch 1 in fp32: our eager and fused peak, the real
allocator's, and what torchinfo, fvcore and torch's MemTracker say. The second is time, in milliseconds: medians of
ours, one call of theirs. The third counts the settings at which our figures are the real ones to the byte: own
strides at batch 1 and 8 in fp32 and bf16, and random strides, where fused is held against a real run that frees after
last use. `--quick` takes few networks and small images.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch

from redistill.common.modules import weightless
from redistill.memory import Tape, capture, measure_peak
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig, build_student

from .helpers.exactness import DTYPES, RED, own_strides, random_settings
from .helpers.networks import CNNS, NETWORKS, RED_STUDENTS, TIMM, UNET, allocate, build, example, random_strides
from .helpers.other_tools import TOOLS

QUICK = ("resnet50", "mobilenet_v2", UNET)

REEVALUATIONS = {
    "new": "reevaluation_ms",
    "seen": "reevaluation_seen_ms",
    "RED, new": "reevaluation_red_ms",
    "RED, seen": "reevaluation_red_seen_ms",
}


def median_ms(run: Callable[[], object], repeats: int) -> float:
    """Median wall time of one call, in milliseconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def build_student_ms(repeats: int = 20) -> float:
    """Median CPU time of building the paper's ResNet-50 student with its RED blocks, weights left out."""
    config = StudentConfig("resnet50", 224, strides={"conv1": 8, "maxpool": 1, "layer4.0": 1})
    times = []
    for _ in range(repeats):
        start = time.process_time()
        with weightless():
            build_student(config)
        times.append(time.process_time() - start)
    return 1000 * statistics.median(times)


def reevaluation_ms(tape: Tape, red: REDConfig | None, settings: int) -> tuple[float | None, float | None]:
    """Median time of one evaluation with both timelines, on a fresh tape: at random strides not seen before, and once
    more at all of them, in the same order, by when the tape has forgotten their sizes but not their programs.

    None where no strides can be changed.
    """
    chosen = random.Random(0)
    wanted = [random_strides(tape, chosen) for _ in range(settings)]
    medians = []
    for _ in range(2):
        times = []
        for strides in wanted:
            try:
                start = time.perf_counter()
                tape.profile(strides, red=red)
                tape.profile(strides, red=red, accounting="eager")
                times.append(time.perf_counter() - start)
            except ValueError:  # more than the image has, or a change of structure
                continue
        medians.append(1000 * statistics.median(times) if times else None)
    return tuple(medians)


def measure(name: str, image_size: int, repeats: int) -> dict[str, Any]:
    """Bytes and times of one network at batch 1 in fp32."""
    shape = (1, 3, image_size, image_size)
    start = time.perf_counter()
    tape = capture(build(name, image_size), shape)
    first = 1000 * (time.perf_counter() - start)
    eager, fused = tape.profile(accounting="eager"), tape.profile()
    images = example(name, image_size, 1)
    model = allocate(build(name, image_size))
    measured = measure_peak(model, images)
    settings = 10 * repeats
    plain, with_red = (reevaluation_ms(capture(build(name, image_size), shape), red, settings) for red in (None, RED))
    return {
        "network": name,
        "image_size": image_size,
        "eager_bytes": eager.peak_bytes,
        "measured_bytes": measured,
        "difference_bytes": eager.peak_bytes - measured,
        "fused_bytes": fused.peak_bytes,
        "peak_layer": fused.peak_layer,
        "capture_first_ms": first,
        "capture_ms": median_ms(lambda: capture(build(name, image_size), shape), repeats),
        "reevaluation_ms": plain[0],
        "reevaluation_seen_ms": plain[1],
        "reevaluation_red_ms": with_red[0],
        "reevaluation_red_seen_ms": with_red[1],
        "tools": {
            tool: ask(build(name, image_size) if tool == "torchinfo" else model, images)._asdict()
            for tool, ask in TOOLS.items()
        },
    }


def exactness(name: str, own_size: int, random_size: int, batches: Sequence[int], count: int) -> dict[str, Any]:
    """The settings of one network at which our figures are the real ones."""
    row: dict[str, Any] = {"network": name, "own_differences": own_strides(name, own_size, batches)}
    if name in (*CNNS, *TIMM):
        row["random"] = random_settings(name, random_size, batches, count, None)._asdict()
    if name in RED_STUDENTS:
        row["red_students"] = random_settings(name, random_size, batches, count, RED)._asdict()
    return row


def print_bytes(rows: list[dict[str, Any]]) -> None:
    """The first table, and the reasons of the tools that failed."""
    print("\nBytes at batch 1 in fp32; theirs also as a multiple of the real eager peak")
    print(f"{'network':<24}{'px':>4}{'fused':>13}{'eager':>13}{'allocator':>13}{'difference':>12}", end="")
    print("".join(f"{tool:>21}" for tool in TOOLS))
    reasons = []
    for row in rows:
        ours = (row["fused_bytes"], row["eager_bytes"], row["measured_bytes"])
        line = f"{row['network']:<24}{row['image_size']:>4}" + "".join(f"{size:>13,}" for size in ours)
        line += f"{row['difference_bytes']:>12,}"
        for tool, said in row["tools"].items():
            if said["bytes"] is None:
                reasons.append(f"{tool} fails on {row['network']}: {said['reason']}")
                line += f"{'fails':>21}"
            else:
                line += f"{said['bytes']:>13,} ({said['bytes'] / row['measured_bytes']:4.1f}×)"
        print(line)
    print(*reasons, sep="\n")


def print_times(rows: list[dict[str, Any]]) -> None:
    """The second table."""
    print("Milliseconds; capture includes building the network. Re-evaluation at strides not seen before, and seen")
    names = ("capture", *REEVALUATIONS, *TOOLS)
    print(f"{'network':<24}" + "".join(f"{name:>12}" for name in names))
    for row in rows:
        times = [row["capture_ms"], *(row[key] for key in REEVALUATIONS.values())]
        times += [said["ms"] for said in row["tools"].values()]
        print(f"{row['network']:<24}" + "".join(f"{'–' if ms is None else format(ms, '.2f'):>12}" for ms in times))


def print_exactness(row: dict[str, Any]) -> None:
    """One row of the third table."""
    differences = "".join(f"{difference:>14,}" for difference in row["own_differences"].values())
    counts = ""
    for kind in ("random", "red_students"):
        found = row.get(kind)
        for accounting in ("eager", "fused"):
            share = f"{found[accounting]}/{found['tried']}" if found else "–"
            counts += f"{share:>12}"
    print(f"{row['network']:<24}{differences}{counts}", flush=True)


def summary(rows: list[dict[str, Any]], exact: list[dict[str, Any]], build_ms: float) -> str:
    """The last line, for machines."""
    differences = [row["difference_bytes"] for row in rows]
    differences += [difference for row in exact for difference in row["own_differences"].values()]
    counts = [row[kind] for row in exact for kind in ("random", "red_students") if kind in row]
    tried = sum(count["tried"] for count in counts)
    values = {
        "own_strides_exact": f"{differences.count(0)}/{len(differences)}",
        "random_eager_exact": f"{sum(count['eager'] for count in counts)}/{tried}",
        "random_fused_exact": f"{sum(count['fused'] for count in counts)}/{tried}",
        "max_difference_bytes": max(*map(abs, differences), *(count["worst_bytes"] for count in counts)),
    }
    for tool in TOOLS:
        times = [r["tools"][tool]["bytes"] / r["measured_bytes"] for r in rows if r["tools"][tool]["bytes"] is not None]
        values[f"{tool.lower()}_times_real"] = f"{min(times):.2f}-{max(times):.2f}" if times else "fails"
    fifty = next(row for row in rows if row["network"] == "resnet50")
    again = [row[key] for row in rows for key in REEVALUATIONS.values() if row[key] is not None]
    values |= {
        "resnet50_capture_ms": f"{fifty['capture_ms']:.0f}",
        "slowest_capture_ms": f"{max(row['capture_ms'] for row in rows):.0f}",
        "resnet50_build_student_ms": f"{build_ms:.0f}",
        "resnet50_reevaluation_ms": f"{fifty['reevaluation_ms']:.2f}",
        "resnet50_red_reevaluation_ms": f"{fifty['reevaluation_red_ms']:.2f}",
        "resnet50_red_seen_ms": f"{fifty['reevaluation_red_seen_ms']:.2f}",
        "slowest_reevaluation_ms": f"{max(again):.2f}",
    }
    return "memory " + " ".join(f"{key}={value}" for key, value in values.items())


def main() -> None:
    """Print the tables, and write the rows to a file when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few networks and small images; ends within 45 s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    options = parser.parse_args()
    names, size, repeats = (QUICK, 64, 1) if options.quick else (NETWORKS, 224, 5)
    random_size, batches, count = (48, (1, 2), 2) if options.quick else (64, (1, 8), 20)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, CPU")
    sizes = {name: 32 if name == UNET else size for name in names}
    rows = [measure(name, sizes[name], repeats) for name in names]
    print_bytes(rows)
    print_times(rows)
    settings = [f"batch {batch} {dtype}" for batch, dtype in product(batches, DTYPES)]
    print("\nExact: bytes of difference at own strides; settings without a difference at random strides")
    print(f"{'network':<24}" + "".join(f"{setting:>14}" for setting in settings), end="")
    print(f"{'eager':>12}{'fused':>12}{'RED eager':>12}{'RED fused':>12}")
    exact = []
    for name in names:
        exact.append(exactness(name, sizes[name], random_size, batches, count))
        print_exactness(exact[-1])
    build_ms = build_student_ms()
    print(f"\nA ResNet-50 student with RED blocks is built in {build_ms:.0f} ms")
    if options.json:
        figures = {"figures": rows, "exactness": exact, "build_student_ms": build_ms}
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(summary(rows, exact, build_ms))


if __name__ == "__main__":
    main()

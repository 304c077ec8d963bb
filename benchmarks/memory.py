"""Activation memory: our figures beside the allocator's, and how long they take.

    python -m benchmarks.memory [--quick] [--json FILE]

Each network is recorded once, evaluated again at random strides, and run for real on the CPU with the allocator's
events added up. All sizes are bytes, all times medians in milliseconds. `--quick` takes small networks and images.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torchvision
from torch import nn

from redistill.ghost import weightless
from redistill.memory import Tape, capture, measure_peak
from redistill.red import REDConfig
from redistill.unet import PAPER_UNET, UNet

NETWORKS = (
    "resnet18",
    "resnet50",
    "resnet152",
    "resnext50_32x4d",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "vgg16",
    "densenet121",
    "googlenet",
    "regnet_y_400mf",
    "convnext_tiny",
    "shufflenet_v2_x1_0",
    "squeezenet1_1",
    "vit_b_16",
    "unet",
)
QUICK = ("resnet18", "resnet50", "mobilenet_v2", "unet")
RED = REDConfig()


def build(name: str) -> nn.Module:
    """A network on the meta device: no weights, no time spent drawing them."""
    with weightless():
        if name == "unet":
            return UNet(**PAPER_UNET)
        if name == "regnet_y_400mf":  # needs numbers while it is built
            with torch.device("cpu"):
                return torchvision.models.get_model(name).to("meta")
        return torchvision.models.get_model(name, **({"init_weights": False} if name == "googlenet" else {}))


def median_ms(run: Callable[[], object], repeats: int) -> float:
    """Median wall time of one call, in milliseconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def reevaluation_ms(tape: Tape, red: REDConfig | None, settings: int) -> float | None:
    """Median time of one evaluation with both timelines at random strides; None where no strides can be changed."""
    chosen = random.Random(0)
    points = [point for point in tape.points if point.direction == "down"]
    times = []
    for _ in range(settings):
        strides = {point.name: chosen.choice((1, 2, 4)) for point in points}
        start = time.perf_counter()
        try:
            tape.profile(strides, red=red)
            tape.profile(strides, red=red, accounting="eager")
        except ValueError:  # more than the image has, or a change of structure
            continue
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times) if times else None


def measure(name: str, size: int, repeats: int) -> dict[str, object]:
    """One row of the table."""
    image_size = 32 if name == "unet" else 224 if name == "vit_b_16" else size
    shape = (1, 3, image_size, image_size)
    start = time.perf_counter()
    tape = capture(build(name), shape)
    first = 1000 * (time.perf_counter() - start)
    eager = tape.profile(accounting="eager")
    fused = tape.profile()
    model = build(name).to_empty(device="cpu")
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data.zero_()
    images = torch.zeros(shape)
    measured = measure_peak(model, (images, 10) if name == "unet" else images)
    return {
        "network": name,
        "image_size": image_size,
        "eager_bytes": eager.peak_bytes,
        "measured_bytes": measured,
        "difference_bytes": eager.peak_bytes - measured,
        "fused_bytes": fused.peak_bytes,
        "peak_layer": fused.peak_layer,
        "capture_first_ms": first,
        "capture_ms": median_ms(lambda: capture(build(name), shape), repeats),
        "reevaluation_ms": reevaluation_ms(tape, None, 10 * repeats),
        "reevaluation_red_ms": reevaluation_ms(tape, RED, 10 * repeats),
    }


def _ms(value: object) -> str:
    return f"{value:9.2f}" if isinstance(value, float) else f"{'-':>9}"


def main() -> None:
    """Print the table, and write the rows to a file when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small networks and images; ends within 45 s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    options = parser.parse_args()
    names, size, repeats = (QUICK, 96, 2) if options.quick else (NETWORKS, 224, 5)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batch 1, float32")
    print(f"{'network':<20}{'eager':>12}{'measured':>12}{'difference':>12}{'fused':>12}", end="")
    print(f"{'capture':>9}{'again':>9}{'RED':>9}  (ms; capture includes building)")
    rows = []
    for name in names:
        row = measure(name, size, repeats)
        rows.append(row)
        sizes = (row["eager_bytes"], row["measured_bytes"], row["difference_bytes"], row["fused_bytes"])
        print(f"{name:<20}{''.join(f'{value:>12,}' for value in sizes)}", end="")
        print(_ms(row["capture_ms"]) + _ms(row["reevaluation_ms"]) + _ms(row["reevaluation_red_ms"]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    exact = sum(row["difference_bytes"] == 0 for row in rows)
    times = {row["network"]: row for row in rows}
    fifty = times["resnet50"]
    slowest = max(row["capture_ms"] for row in rows)
    print(
        f"memory exact={exact}/{len(rows)} max_difference_bytes={max(abs(row['difference_bytes']) for row in rows)} "
        f"resnet50_capture_ms={fifty['capture_ms']:.0f} slowest_capture_ms={slowest:.0f} "
        f"resnet50_reevaluation_ms={fifty['reevaluation_ms']:.2f} "
        f"resnet50_red_reevaluation_ms={fifty['reevaluation_red_ms']:.2f}"
    )


if __name__ == "__main__":
    main()

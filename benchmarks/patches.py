"""Networks whose first layers are computed patch by patch: memory, computation, and whether that is what really runs.

    python -m benchmarks.patches [--quick] [--json FILE]

For ResNet-18, ResNet-50, MobileNetV2 and the narrow ResNet, at their own strides and on top of a student's, fused at
batch 1 in fp32: the peak without patches, and with them the least one for at most 5, 25 and 50 % more
multiply-accumulates. For each of these the network is run in its patches too: the largest difference of an answer, as
a share of the largest answer, and the allocator's peak less the one that is counted as PyTorch allocates. `--quick`
takes small images.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from redistill.memory import Tape, capture, measure_peak
from redistill.memory.patching import PatchedMemory, count_patched, every_patching
from redistill.networks.patchwise import patched
from redistill.networks.pooling_points import find_pooling_points
from redistill.networks.strides import set_strides
from redistill.networks.zoo import build_network

KIB = 2**10
MORE = (0.05, 0.25, 0.5)  # shares of computation that patches may add
QUICK_SIZE = 64
# Network, image side, strides of a student in the order of the pooling points.
NETWORKS = {
    "resnet18": (224, (4, 1, 2, 2, 2)),
    "resnet50": (224, (4, 1, 2, 2, 2)),
    "mobilenet_v2": (224, (4, 1, 2, 2, 2)),
    "narrow_resnet": (64, (2, 2, 1, 2, 2)),
}


def network(name: str, strides: Mapping[str, int], image_size: int) -> nn.Module:
    """The network at these strides with random weights, in evaluation mode."""
    torch.manual_seed(0)
    return set_strides(build_network(name), strides, image_size).eval()


def choices(tape: Tape) -> dict[float, PatchedMemory]:
    """For each share of computation, the least memory that patches reach for it; none that needs as much as without."""
    found = every_patching(tape, most_overhead=max(MORE))
    found = [choice for choice in found if choice.peak_bytes < choice.plain_bytes]
    best = {}
    for more in MORE:
        cheap = [choice for choice in found if choice.overhead <= more]
        if cheap:
            best[more] = min(cheap, key=lambda choice: (choice.peak_bytes, choice.macs, choice.grid))
    return best


def checked(model: nn.Module, tape: Tape, choice: PatchedMemory, images: torch.Tensor) -> dict[str, Any]:
    """What a real run of the network in these patches says."""
    whole = patched(model, choice.upto, choice.grid)
    with torch.no_grad():
        expected, found = model(images), whole(images)
    counted = count_patched(tape, choice.upto, choice.grid, accounting="eager").peak_bytes
    return {
        "answer_difference": float((found - expected).abs().max() / expected.abs().max()),
        "difference_bytes": measure_peak(whole, images) - counted,
    }


def rows(name: str, image_size: int, strides: tuple[int, ...]) -> list[dict[str, Any]]:
    """The rows of one network, at its own strides and at the student's."""
    points = [point for point in find_pooling_points(build_network(name), image_size) if point.is_offered]
    own = {point.name: point.stride for point in points}
    made = []
    for chosen in (own, dict(zip(own, strides, strict=True))):
        model = network(name, chosen, image_size)
        images = torch.randn(1, 3, image_size, image_size)
        tape = capture(model, images)
        row = {"network": name, "image_size": image_size, "strides": list(chosen.values())}
        row |= {"peak_bytes": tape.profile().peak_bytes, "macs": tape.profile().macs}
        row["patches"] = [
            {
                "most_overhead": more,
                "upto": choice.upto,
                "grid": choice.grid,
                "peak_bytes": choice.peak_bytes,
                "overhead": choice.overhead,
                **checked(model, tape, choice, images),
            }
            for more, choice in choices(tape).items()
        ]
        made.append(row)
    return made


def render(row: Mapping[str, Any]) -> str:
    """One line of the table in docs/results/memory.md."""
    strides = ",".join(map(str, row["strides"]))
    cells = [f"{row['network']}, {row['image_size']} px", strides, f"{row['peak_bytes'] / KIB:,.0f} KiB"]
    for more in MORE:
        found = next((p for p in row["patches"] if p["most_overhead"] == more), None)
        cells.append(_cell(found) if found else "–")
    return f"| {' | '.join(cells)} |"


def _cell(found: Mapping[str, Any]) -> str:
    where = f"{found['grid']}×{found['grid']} to {found['upto']}"
    return f"{found['peak_bytes'] / KIB:,.0f} KiB, {100 * found['overhead']:+.1f} % ({where})"


def main() -> None:
    """Print the table, and write the rows to a file when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small images; ends within 45 s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    options = parser.parse_args()
    found = []
    print(f"| network | strides | whole | {' | '.join(f'at most {100 * more:.0f} % more' for more in MORE)} |")
    print("| --- " * (3 + len(MORE)) + "|")
    for name, (size, strides) in NETWORKS.items():
        for row in rows(name, QUICK_SIZE if options.quick else size, strides):
            found.append(row)
            print(render(row), flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    runs = [patches for row in found for patches in row["patches"]]
    print(
        f"patches rows={len(found)} runs={len(runs)} exact={sum(run['difference_bytes'] == 0 for run in runs)} "
        f"worst_answer={max(run['answer_difference'] for run in runs):.1e}"
    )


if __name__ == "__main__":
    main()

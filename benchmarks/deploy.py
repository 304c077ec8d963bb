"""Deployment: our accounting of onnxruntime beside its counted heap, and accuracy in int8 beside fp32.

    python -m benchmarks.deploy [--quick] [--json FILE]

First table, a row a network: the peak of what onnxruntime's heap holds of tensors in one pass (a counter is compiled
and preloaded, see `redistill/deploy/heap.py`), ours ("onnxruntime"), how far apart they are, the figure that "fused"
gives, the arena that a planner would take for the same lives, and last what ExecuTorch plans, its input apart, by the
.pte and by us ("-" where the extra executorch is not installed). Second: top-1 of the shipped classifiers on their
whole test split in fp32 and in int8, weights alone and activations too, calibrated with seeds 0, 1 and 2. `--quick`
takes the small networks of the first table.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import read_metadata
from redistill.checkpoint.sources import list_shipped
from redistill.deploy.executorch_file import to_executorch
from redistill.deploy.onnx_export import export_onnx
from redistill.deploy.onnx_file import TIMESTEP, Exported, to_onnx, write_proto
from redistill.deploy.onnx_int8 import export_int8
from redistill.deploy.opened import open_network
from redistill.deploy.runtimes import run_file
from redistill.memory import capture
from redistill.memory.arena import lives_of, plan_arena
from redistill.memory.comparison import early_strides
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig, build_student

SHIPPED = ("emoji-clutter-teacher", "emoji-clutter-student", "emoji-faces-teacher", "emoji-faces-student")
BUILT = ("resnet18", "resnet50", "mobilenet_v2", "efficientnet_b0", "vgg16", "densenet121")
RED = " with RED"
SEEDS = (0, 1, 2)


def network(title: str) -> tuple[nn.Module, int]:
    """A network of the first table and its image size; weights at random where it is none of the shipped ones."""
    if title in SHIPPED:
        return checkpoint.load(title), read_metadata(title).student.image_size
    name = title.removesuffix(RED)
    torch.manual_seed(0)
    strides, red = (early_strides(name, {}, 224), REDConfig()) if title.endswith(RED) else ({}, None)
    return build_student(StudentConfig(name, 224, strides=strides, red=red)).eval(), 224


def memory_row(title: str) -> dict[str, Any]:
    """What onnxruntime holds of a network, and what we say."""
    model, side = network(title)
    images = torch.zeros(1, 3, side, side)
    inputs = (images, torch.tensor([TIMESTEP])) if title in SHIPPED[2:] else (images,)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        write_proto(to_onnx(Exported(model).eval(), inputs, "logits"), file)
        heap = run_file(file, np.zeros(images.shape, np.float32), "onnxruntime").heap_bytes
    tape = capture(model, (1, 3, side, side))
    ours = tape.profile(accounting="onnxruntime")
    arena = plan_arena(lives_of(ours._timeline)).bytes
    fused = tape.profile().peak_bytes
    found = {"network": title, "heap": heap, "ours": ours.peak_bytes, "fused": fused, "arena": arena}
    pte = to_executorch(Exported(model).eval(), inputs).arena_bytes if find_spec("executorch") else None
    return found | {"executorch": pte, "our_executorch": tape.arena().bytes}


def accuracy_row(name: str) -> dict[str, Any]:
    """Top-1 of a shipped classifier on its whole test split, in onnxruntime."""
    opened = open_network(name)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        plain, weights = export_onnx(opened, file), export_int8(opened, file, "weights")
        full = [export_int8(opened, file, "full", seed=seed) for seed in SEEDS]
    accuracies = {"fp32": plain.test_accuracy, "weights": weights.test_accuracy}
    heaps = {"fp32": plain.heap_bytes, "weights": weights.heap_bytes, "full": full[0].heap_bytes}
    sizes = {"fp32": plain.bytes, "weights": weights.bytes, "full": full[0].bytes}
    full_accuracies = [export.test_accuracy for export in full]
    return {"network": name, **accuracies, "full": full_accuracies, "heap": heaps, "bytes": sizes}


def classifiers() -> list[str]:
    """Names of the shipped checkpoints that classify."""
    return [name for name in list_shipped() if read_metadata(name).student.task == "classification"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    titles = (*SHIPPED[:2], "resnet18") if options.quick else (*SHIPPED, *BUILT, *(name + RED for name in BUILT))
    rows: dict[str, Any] = {"memory": [], "int8": []}
    print("| network | counted | ours | apart | fused | planned arena | ExecuTorch | ours |\n" + "| --- " * 8 + "|")
    for title in titles:
        row = memory_row(title)
        rows["memory"].append(row)
        apart = f"{100 * (row['ours'] / row['heap'] - 1):+.3f} %" if row["heap"] else "not counted"
        counted = f"{row['heap']:,}" if row["heap"] else "-"
        pte = "-" if row["executorch"] is None else f"{row['executorch']:,}"
        print(
            f"| {title} | {counted} | {row['ours']:,} | {apart} | {row['fused']:,} | {row['arena']:,} | {pte} | "
            f"{row['our_executorch']:,} |",
            flush=True,
        )
    if not options.quick:
        print("\n| network | fp32 | int8 weights | int8 | heap fp32, int8 | file fp32, int8 |\n" + "| --- " * 6 + "|")
        for name in classifiers():
            row = accuracy_row(name)
            rows["int8"].append(row)
            full = " ".join(f"{100 * value:.2f}" for value in row["full"])
            heap, size = row["heap"], row["bytes"]
            print(
                f"| {name} | {100 * row['fp32']:.2f} | {100 * row['weights']:.2f} | {full} | "
                f"{heap['fp32']:,}, {heap['full']:,} | {size['fp32']:,}, {size['full']:,} |",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    counted = [row for row in rows["memory"] if row["heap"]]
    worst = max((abs(row["ours"] / row["heap"] - 1) for row in counted), default=0)
    planned = [
        abs(row["executorch"] - row["our_executorch"]) for row in rows["memory"] if row["executorch"] is not None
    ]
    print(
        f"deploy networks={len(counted)} within={100 * worst:.3f}% executorch_networks={len(planned)} "
        f"executorch_bytes_apart={max(planned, default=0)}"
    )


if __name__ == "__main__":
    main()

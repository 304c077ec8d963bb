"""Deployment: our accounting of onnxruntime beside its counted heap, and of ExecuTorch beside what it plans.

    python -m benchmarks.deploy [--quick | --forms | --many] [--json FILE]

A row a network: the peak of what onnxruntime's heap holds of tensors in one pass (a counter is compiled and preloaded,
see `redistill/deploy/heap.py`), ours ("onnxruntime"), how far apart they are, the figure that "fused" gives, the arena
that a planner would take for the same lives, and last what ExecuTorch plans, its input apart, by the .pte and by us
("-" where the extra executorch is not installed). `--forms` takes one student alone, ResNet-50 at 8,1,1,2,2,1, in all
forms of its RED blocks and with all stems; `--many` MANY further networks at 64×96 px, by onnxruntime alone, where it
has a figure; `--quick` the small networks. `benchmarks.int8` has what int8 costs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import read_metadata
from redistill.deploy.executorch_file import to_executorch
from redistill.deploy.onnx_file import TIMESTEP, Exported, to_onnx, write_proto
from redistill.deploy.runtimes import run_file
from redistill.memory import capture
from redistill.memory.arena import lives_of, plan_arena
from redistill.memory.comparison import student_tape
from redistill.memory.usual_strides import early_strides
from redistill.networks.red import REDConfig
from redistill.networks.stem_kinds import AS_BUILT, STEMS
from redistill.networks.student import StudentConfig, build_student

SHIPPED = ("emoji-clutter-teacher", "emoji-clutter-student", "emoji-faces-teacher", "emoji-faces-student")
BUILT = ("resnet18", "resnet50", "mobilenet_v2", "efficientnet_b0", "vgg16", "densenet121")
MANY = (
    "timm:darknet17", "timm:dla34", "timm:efficientnet_lite0", "timm:fbnetc_100", "timm:gernet_s",
    "timm:ghostnet_050", "timm:ghostnet_130", "timm:hardcorenas_b", "timm:hrnet_w18_small", "timm:lcnet_050",
    "timm:mnasnet_050", "timm:mobilenetv3_small_050", "timm:mobilenetv4_conv_small", "timm:regnetx_002",
    "timm:regnety_002", "timm:repghostnet_050", "timm:repvgg_a0", "timm:resnet18d", "timm:resnext26ts",
    "timm:selecsls42b", "timm:semnasnet_075", "timm:spnasnet_100", "timm:starnet_s1", "timm:tinynet_e",
    "timm:vovnet39a", "mobilenet_v3_large", "efficientnet_b0", "densenet121", "resnext50_32x4d",
)  # fmt: skip
SIDES = (64, 96)  # of those, no square
# RED blocks of one student; what a stem of another kind costs is counted without any.
POOLED = "resnet50 early"
FORMS = {
    "no RED": None,
    "RED": REDConfig(),
    "RED, gate per channel": REDConfig(gate_per="channel"),
    "RED, no gate": REDConfig(gate=False),
    "RED, depthwise": REDConfig(residual_depthwise=True),
    "RED, depthwise, gate per channel": REDConfig(residual_depthwise=True, gate_per="channel"),
    "RED, squeezed by 4": REDConfig(residual_squeeze=4),
    "RED, squeezed by 4, gate per channel": REDConfig(residual_squeeze=4, gate_per="channel"),
    "RED, squeezed by 4, no gate": REDConfig(residual_squeeze=4, gate=False),
    "RED, squeezed by 4, depthwise, no gate": REDConfig(residual_squeeze=4, residual_depthwise=True, gate=False),
}
KINDS = tuple(kind for kind in STEMS if kind != AS_BUILT)


def built() -> dict[str, StudentConfig]:
    """The networks with weights at random, by what their rows are called; those of FORMS and KINDS begin as POOLED."""
    found = {name: StudentConfig(name, 224, red=None) for name in BUILT}
    pooled = {name: StudentConfig(name, 224, strides=early_strides(name, {}, 224)) for name in BUILT}
    found |= {f"{name} with RED": config for name, config in pooled.items()}
    found |= {f"{POOLED}, {form}": replace(pooled["resnet50"], red=red) for form, red in FORMS.items()}
    return found | {f"{POOLED}, stem {kind}": replace(pooled["resnet50"], red=None, stem=kind) for kind in KINDS}


def many() -> dict[str, StudentConfig]:
    """MANY at their own strides, and with squeezed RED blocks at early ones where those fit."""
    found = {}
    for name in MANY:
        found[name] = own = StudentConfig(name, SIDES, red=None)
        early = replace(own, strides=early_strides(name, image_size=SIDES), red=REDConfig(residual_squeeze=4))
        with contextlib.suppress(ValueError):
            student_tape(early)
            found[f"{name} early, RED, squeezed by 4"] = early
    return found


def network(title: str, built: Mapping[str, StudentConfig]) -> tuple[nn.Module, tuple[int, int]]:
    """A network of the table and its image size; weights at random where it is none of the shipped ones."""
    if title in SHIPPED:
        return checkpoint.load(title), (read_metadata(title).student.image_size,) * 2
    torch.manual_seed(0)
    size = built[title].image_size
    return build_student(built[title]).eval(), size if isinstance(size, tuple) else (size, size)


def memory_row(title: str, built: Mapping[str, StudentConfig], has_executorch: bool) -> dict[str, Any]:
    """What onnxruntime holds of a network, and what we say; of ExecuTorch too, where it is to be had."""
    model, size = network(title, built)
    images = torch.zeros(1, 3, *size)
    inputs = (images, torch.tensor([TIMESTEP])) if title in SHIPPED[2:] else (images,)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.onnx"
        write_proto(to_onnx(Exported(model).eval(), inputs, "logits"), file)
        heap = run_file(file, np.zeros(images.shape, np.float32), "onnxruntime").heap_bytes
    tape = capture(model, (1, 3, *size))
    ours = tape.profile(accounting="onnxruntime")
    arena = plan_arena(lives_of(ours._timeline)).bytes
    fused = tape.profile().peak_bytes
    found = {"network": title, "heap": heap, "ours": ours.peak_bytes, "fused": fused, "arena": arena}
    if not has_executorch:
        return found | {"executorch": None, "our_executorch": None}
    pte = to_executorch(Exported(model).eval(), inputs).arena_bytes
    return found | {"executorch": pte, "our_executorch": tape.arena().bytes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--forms", action="store_true")
    parser.add_argument("--many", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    configs = many() if options.many else built()
    titles = tuple(configs) if options.many else (*SHIPPED, *configs)
    has_executorch = find_spec("executorch") is not None and not options.many
    if options.quick or options.forms:
        titles = (*SHIPPED[:2], "resnet18") if options.quick else [name for name in titles if name.startswith(POOLED)]
    rows: dict[str, Any] = {"memory": []}
    print("| network | counted | ours | apart | fused | planned arena | ExecuTorch | ours |\n" + "| --- " * 8 + "|")
    for title in titles:
        row = memory_row(title, configs, has_executorch)
        rows["memory"].append(row)
        apart = f"{100 * (row['ours'] / row['heap'] - 1):+.3f} %" if row["heap"] else "not counted"
        counted = f"{row['heap']:,}" if row["heap"] else "-"
        cells = [title, counted, f"{row['ours']:,}", apart, f"{row['fused']:,}", f"{row['arena']:,}"]
        cells += ["-" if row[name] is None else f"{row[name]:,}" for name in ("executorch", "our_executorch")]
        print(f"| {' | '.join(cells)} |", flush=True)
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

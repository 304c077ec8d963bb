"""What int8 costs: every network in fp32, with int8 weights and in full int8, run in onnxruntime.

    python -m benchmarks.int8 [NETWORK[@DATASET] ...] [--pictures 200] [--tune] [--quick] [--json FILE]

Networks are checkpoints that ship, folders of others, or of finished runs (default: all that ship); DATASET names other
pictures to calibrate and judge one on. Classifiers: top-1 on the whole test split, in full int8 by calibration with
seeds 0, 1 and 2. Diffusion networks: KID of pictures drawn by the numpy sampler in 20 steps, three times, each with
pictures, reference and calibration of its own seeds. `--tune` trains what loses more than half a point with one of the
seeds a hundred steps as in int8 (`redistill quantize`, seeds 0, 1, 2), and judges what comes out in full int8. FILE
keeps the rows of other networks that it has. `--quick`: one small network, one seed.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import ModelProto

from redistill.checkpoint.sources import list_shipped
from redistill.deploy.file_facts import described
from redistill.deploy.onnx_export import output_name, run_proto
from redistill.deploy.onnx_file import Exported, example, set_metadata, to_onnx
from redistill.deploy.onnx_int8 import in_int8
from redistill.deploy.onnx_runner import open_session
from redistill.deploy.onnx_sampler import drawn
from redistill.deploy.opened import Opened, open_network, pictures_of
from redistill.diffusion.quality import features_for, judge, load_features, reference_pictures
from redistill.training.int8_training import int8_run
from redistill.training.loop import distill

SEEDS = (0, 1, 2)
STEPS = 20  # of denoising
LOST = 0.005  # top-1 from which on a hundred steps of training are worth it
QUICK = "emoji-identity-features"


def row_of(name: str, seeds: tuple[int, ...], pictures: int, tune: bool) -> dict[str, Any]:
    """Figures of one network by kind of numbers, of each seed one, and bytes of the heap."""
    place, _, dataset = name.partition("@")
    opened = open_network(place, dataset)
    diffusion = opened.metadata.student.task == "diffusion"
    plain = to_onnx(Exported(opened.model).eval(), example(opened), output_name(diffusion, False))
    weights = in_int8(opened, "weights", plain=plain)[0]
    full = [in_int8(opened, "full", seed, plain=plain)[0] for seed in seeds]
    kinds = {"fp32": [plain], "weights": [weights], "full": full}
    row: dict[str, Any] = {"network": opened.name, "figure": "kid" if diffusion else "accuracy", "seeds": list(seeds)}
    if diffusion:
        for kind, protos in kinds.items():
            row[kind] = [kid(opened, protos[-1 if seed >= len(protos) else seed], seed, pictures) for seed in seeds]
        return row | {"pictures": pictures}
    for kind, protos in kinds.items():
        answers = [top1(opened, proto) for proto in protos]
        row[kind] = [accuracy for accuracy, _ in answers]
        row.setdefault("heap", {})[kind] = answers[0][1]
    if tune and min(row["full"]) < row["fp32"][0] - LOST:
        row["tuned"] = [tuned(place, dataset, seed) for seed in seeds]
    return row


def top1(opened: Opened, proto: ModelProto) -> tuple[float, int | None]:
    """Share of the test pictures that are told right, and the peak of the heap in bytes."""
    split = pictures_of(opened)
    if isinstance(split, str):
        raise ValueError(f"{opened.name} cannot be judged: {split}; name its pictures as NETWORK@DATASET.")
    set_metadata(proto, described(opened, False, False))
    answers = run_proto(proto, split.images.numpy(), opened.name)
    return float((answers.outputs.argmax(1) == split.labels.numpy()).mean()), answers.heap_bytes


def tuned(place: str, dataset: str, seed: int) -> float:
    """Top-1 in full int8, calibrated with `seed`, after training as in int8 with it."""
    with tempfile.TemporaryDirectory(prefix="redistill-") as folder:
        list(distill(int8_run(place, seed=seed, **({"dataset": dataset} if dataset else {})), folder))
        opened = open_network(folder, dataset)
        return top1(opened, in_int8(opened, "full", seed)[0])[0]


def kid(opened: Opened, proto: ModelProto, seed: int, pictures: int) -> float:
    """Of so many pictures that the file draws, against as many real ones; all of them by `seed`."""
    set_metadata(proto, described(opened, False, False))
    session = open_session(proto.SerializeToString())
    seeds = range(seed * pictures, (seed + 1) * pictures)
    images = torch.from_numpy(np.stack([drawn(session, one, STEPS) for one in seeds]))
    student, metadata = opened.metadata.student, opened.metadata
    real, said = reference_pictures(metadata.dataset, student.image_size, pictures, seed, metadata.split_seed)
    return judge(images, real, said, load_features(features_for(metadata.dataset))).kid


def table(rows: list[dict[str, Any]]) -> list[str]:
    """The rows as lines of Markdown: accuracy in per cent, KID as it is."""
    head = (
        "network",
        "figure",
        "fp32",
        "int8 weights",
        "int8",
        "int8, trained so",
        "heap fp32, int8",
    )
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    for row in rows:
        told = [figures(row, kind) for kind in ("fp32", "weights", "full", "tuned")]
        name = {"accuracy": "top-1, %", "kid": "KID"}[row["figure"]]
        heap = row.get("heap")
        told.append(f"{heap['fp32'] or 0:,}, {heap['full'] or 0:,}" if heap else "")
        lines.append(f"| {row['network']} | {name} | {' | '.join(told)} |")
    return lines


def figures(row: dict[str, Any], kind: str) -> str:
    """The figure of each seed."""
    accuracy = row["figure"] == "accuracy"
    return " ".join(f"{100 * value:.2f}" if accuracy else f"{value:.3f}" for value in row.get(kind, []))


def main() -> None:
    """Print the table and a last line of `int8 key=value ...`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help="checkpoint or run, with @DATASET for others")
    parser.add_argument("--pictures", type=int, default=200, help="drawn for each KID (default: %(default)s)")
    parser.add_argument("--tune", action="store_true", help="train as in int8 what loses more than half a point")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path, help="also write the rows, beside those that it has of other networks")
    options = parser.parse_args()
    names = options.networks or ([QUICK] if options.quick else list_shipped())
    known = json.loads(options.json.read_text()) if options.json and options.json.exists() else []
    rows = {row["network"]: row for row in known}
    for name in names:
        row = row_of(name, SEEDS[:1] if options.quick else SEEDS, options.pictures, options.tune)
        rows[row["network"]] = row
        if options.json:
            options.json.write_text(json.dumps(sorted(rows.values(), key=lambda row: row["network"]), indent=1) + "\n")
    found = sorted(rows.values(), key=lambda row: row["network"])
    print("\n".join(table(found)))
    lost = max((row["fp32"][0] - min(row["full"]) for row in found if row["figure"] == "accuracy"), default=0)
    print(f"int8 networks={len(found)} most_lost={100 * lost:.2f}")


if __name__ == "__main__":
    main()

"""What diffusion students keep: KID, FID, precision and recall of teachers' and students' pictures.

    python -m benchmarks.quality [CHECKPOINT ...] [--quick] [--save] [--json FILE] [--pictures 1000] [--steps 40]
        [--data NAME] [--device cuda]

Checkpoints are folders or names of those that ship (default: all that ship for smileys); one reference serves all, of
the pictures that they learnt from, or of --data, a copy of them that lies elsewhere, such as folder:PATH.

Every network draws the same seeds. The first row are real pictures against other real ones, augmented anew: no network
can do better. The second is the teacher's half-resolution shadow: real pictures shrunk to half and enlarged again,
which is what a student with twice the first stride would keep if it drew nothing finer. Where checkpoints differ in
their training's seed only, a second table has their means: of networks, where the intervals of the first are of
pictures.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import add_metrics, read_metadata
from redistill.checkpoint.sources import list_shipped
from redistill.common.devices import describe_device
from redistill.diffusion.quality import (
    FEATURES,
    FIGURES,
    Quality,
    features_for,
    judge,
    judge_checkpoint,
    load_features,
    reference_pictures,
)
from redistill.memory import capture
from redistill.training.config import DistillConfig
from redistill.training.presets import FACES_TEACHER

from .helpers.spread import mean_and_spread

QUICK = {"pictures": 24, "steps": 3}


def main() -> None:
    """Draw, judge, print the table and a last line of `quality key=value ...`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", metavar="CHECKPOINT", help="folder, or name of one that ships")
    parser.add_argument("--quick", action="store_true", help="few pictures in few steps: shows that it works")
    parser.add_argument("--save", action="store_true", help="put the figures into the checkpoints' cards as well")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--pictures", type=int, default=1000, help="per network (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=40, help="denoising steps, DDIM (default: %(default)s)")
    parser.add_argument("--data", help="data set of the reference, such as folder:PATH (default: the checkpoints')")
    parser.add_argument("--features", choices=FEATURES, help="default: what fits the pictures")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(QUICK)
    names = options.checkpoints or _shipped()
    try:
        size, dataset, split_seed = _common(names, options.data)
    except ValueError as error:
        parser.error(str(error))
    options.features = options.features or features_for(read_metadata(names[0]).dataset)
    features = load_features(options.features, options.device)
    real, reference = reference_pictures(dataset, size, options.pictures, split_seed=split_seed)
    others, _ = reference_pictures(dataset, size, options.pictures, seed=1, split_seed=split_seed)
    shadow = F.interpolate(F.avg_pool2d(others.float(), 2), (size, size), mode="bilinear").round().to(torch.uint8)

    rows = [
        _row("real", judge(others, real, reference, features)),
        _row("shadow", judge(shadow, real, reference, features)),
    ]
    for name in names:
        start = time.perf_counter()
        settings = {"features": features, "steps": options.steps, "device": options.device, "dataset": options.data}
        found = judge_checkpoint(name, options.pictures, **settings)
        memory = capture(checkpoint.load(name), (1, 3, size, size)).profile().peak_bytes
        if options.save:
            add_metrics(name, {"quality": found.to_dict()})
        rows.append(
            _row(name, found)
            | _training(name, dataset)
            | {"peak_bytes": memory, "seconds": time.perf_counter() - start}
        )
    print(_table(rows))
    if means := over_seeds(rows):
        print(_table_of_means(means))
    print(f"Against {reference}; {options.pictures:,} pictures each, seeds from 0, DDIM, {options.steps} steps;")
    print(f"{features.title}; 95 % intervals. {rows[0]['warning']} {describe_device(features.device)}.")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    figures = " ".join(f"{row['name']}={row['kid']:.4f}" for row in rows)
    print(f"quality features={options.features} pictures={options.pictures} {figures}")


def _shipped() -> list[str]:
    dataset = read_metadata(FACES_TEACHER).dataset
    return [name for name in list_shipped() if read_metadata(name).dataset == dataset]


def _common(names: list[str], data: str | None) -> tuple[int, str, int]:
    """Image size, data set and its split seed of all checkpoints; ValueError where they differ: no figure compares.

    data: the set that all are judged by, whatever they call their own.
    """
    found = [read_metadata(name) for name in names]
    kinds = {(metadata.student.image_size, data or metadata.dataset, metadata.split_seed) for metadata in found}
    if len(kinds) > 1:
        raise ValueError(f"Checkpoints draw {sorted(kinds)}; expected networks of one size, data set and split seed.")
    return kinds.pop()


def _row(name: str, found: Quality) -> dict[str, Any]:
    return {"name": name, **found.to_dict()}


def _training(name: str, dataset: str) -> dict[str, Any]:
    """What a network was trained with on `dataset`, its seed apart, and its loss on test pictures."""
    metadata = read_metadata(name)
    settings: dict[str, Any] = {"seed": None}
    if metadata.training:
        settings = DistillConfig.from_dict(metadata.training).to_dict() | {"dataset": dataset}
    loss = metadata.metrics.get("test_prediction_loss")
    return {"seed": settings.pop("seed"), "settings": settings, "test_prediction_loss": loss}


def over_seeds(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean and half the range of every figure, of those networks whose training differs in its seed only.

    rows: as `--json` writes them; those without settings, or alone with theirs, are left out.
    """
    trained: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row.get("settings"):
            trained.setdefault(json.dumps(row["settings"], sort_keys=True), []).append(row)
    means = []
    for group in trained.values():
        seeds = sorted({row["seed"] for row in group})
        if len(seeds) < 2:
            continue
        mean = {"name": group[0]["name"], "seeds": seeds}
        for name in (*FIGURES, "test_prediction_loss"):
            values = [row[name] for row in group if row[name] is not None]
            if len(values) == len(group):
                mean[name] = mean_and_spread(values)
        means.append(mean)
    return means


def _table_of_means(means: Sequence[Mapping[str, Any]]) -> str:
    figures = (*FIGURES, "test_prediction_loss")
    lines = [f"| trained as | seeds | {' | '.join(figures)} |", "| --- " * (2 + len(figures)) + "|"]
    for mean in means:
        cells = [_figure(name, *mean[name]) if name in mean else "" for name in figures]
        lines.append(f"| {mean['name']} | {', '.join(map(str, mean['seeds']))} | {' | '.join(cells)} |")
    return "\n".join(["", *lines])


def _table(rows: list[dict[str, Any]]) -> str:
    lines = ["| pictures of | KID | FID | precision | recall | peak activations |", "| --- " * 6 + "|"]
    for row in rows:
        cells = [_figure(name, row[name], row["margins"].get(name)) for name in FIGURES]
        memory = f"{row['peak_bytes'] / 2**20:.3f} MiB" if "peak_bytes" in row else ""
        lines.append(f"| {row['name']} | {' | '.join(cells)} | {memory} |")
    return "\n".join(lines)


def _figure(name: str, value: float, margin: float | None) -> str:
    digits = 4 if name in ("kid", "test_prediction_loss") else 2
    return f"{value:.{digits}f}" + ("" if margin is None else f" ± {margin:.{digits}f}")


if __name__ == "__main__":
    main()

"""What distillation gives back: test accuracy on emoji-clutter against peak activation memory.

    python -m benchmarks.accuracy [--quick] [--seeds 0,1,2] [--methods none,red] [--runs DIR] [--json FILE]

The teacher is the shipped one. Every student has the same strides, data, schedule and number of training images;
only what it learns from differs, and for "scratch" what it starts from: the others start from the teacher's weights.
Finished runs in DIR are read, not trained again, so the study can be stopped and continued.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from redistill import checkpoint
from redistill.distill import DistillConfig, distill
from redistill.memory import capture
from redistill.presets import CLUTTER_TEACHER, find_preset
from redistill.red import REDConfig
from redistill.student import build_student


@dataclass(frozen=True)
class Method:
    """One row of the study; the RED and KD losses have the weights of the preset "long" where they are on."""

    title: str
    blocks: bool = False  # the student has RED blocks
    red: bool = False
    kd: bool = False
    init: str = "teacher"  # what the student starts from


METHODS = {
    "scratch": Method("student, no distillation, from scratch", init="scratch"),
    "none": Method("student, no distillation"),
    "red-blocks": Method("student, RED blocks without their loss", blocks=True),
    "red": Method("student, RED", blocks=True, red=True),
    "kd": Method("student, KD", kd=True),
    "red+kd": Method("student, RED + KD", blocks=True, red=True, kd=True),
}
QUICK = {"steps": 8, "train_limit": 256, "validate_every": 8, "batch_size": 32}


def main() -> None:
    """Train what is missing, then print the table and a last line of `accuracy key=value ...`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few steps of each: shows that it works, nothing more")
    parser.add_argument("--seeds", default="0", help="such as 0,1,2 (default: %(default)s)")
    parser.add_argument("--methods", default=",".join(METHODS), help="default: %(default)s")
    parser.add_argument("--runs", type=Path, default=Path("runs/accuracy"), help="folder of the runs")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    methods = options.methods.split(",")
    unknown = sorted(set(methods) - set(METHODS))
    if unknown:
        parser.error(f"no method {unknown[0]!r}; expected some of {list(METHODS)}")
    runs = options.runs / "quick" if options.quick else options.runs

    rows = [_row("teacher", [checkpoint.read_metadata(CLUTTER_TEACHER)])]
    for method in methods:
        configs = [_student(method, seed, options.quick) for seed in seeds]
        rows.append(_row(method, [_run(config, runs / f"{method}-{config.seed}") for config in configs]))
    print(_table(rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    figures = " ".join(f"{row['method']}={100 * row['accuracy']:.2f}" for row in rows)
    print(f"accuracy seeds={options.seeds} {figures}")


def _student(method: str, seed: int, quick: bool) -> DistillConfig:
    chosen = METHODS[method]
    config = find_preset("long").config
    settings: dict[str, Any] = QUICK if quick else {}
    return dataclasses.replace(
        config,
        student=dataclasses.replace(config.student, red=REDConfig() if chosen.blocks else None),
        teacher_checkpoint=CLUTTER_TEACHER if chosen.init == "teacher" or chosen.red or chosen.kd else None,
        red_weight=config.red_weight if chosen.red else 0.0,
        kd_weight=config.kd_weight if chosen.kd else 0.0,
        init=chosen.init,
        seed=seed,
        **settings,
    )


def _run(config: DistillConfig, folder: Path) -> checkpoint.Metadata:
    with tqdm(total=config.steps, desc=folder.name, unit="step", dynamic_ncols=True) as bar:
        for record in distill(config, folder):
            bar.update(record["step"] - bar.n)
    return checkpoint.read_metadata(folder / "student")


def _row(method: str, trained: list[checkpoint.Metadata]) -> dict[str, Any]:
    """Mean and spread (half the range, 0 for one seed) of the test accuracy, with memory, size and time."""
    first = trained[0]
    side = first.student.image_size
    accuracies = [metadata.metrics["test_accuracy"] for metadata in trained]
    return {
        "method": method,
        "seeds": [metadata.training["seed"] for metadata in trained],
        "accuracy": statistics.mean(accuracies),
        "spread": (max(accuracies) - min(accuracies)) / 2,
        "peak_bytes": capture(build_student(first.student), (1, 3, side, side)).profile().peak_bytes,
        "parameters": first.metrics["parameters"],
        "seconds": statistics.mean(metadata.metrics["seconds"] for metadata in trained),
        "device": first.metrics["device"],
    }


def _table(rows: list[dict[str, Any]]) -> str:
    lines = ["| network | test accuracy | seeds | peak activations | parameters | training |", "| --- " * 6 + "|"]
    for row in rows:
        spread = f" ± {100 * row['spread']:.1f}" if len(row["seeds"]) > 1 else ""
        lines.append(
            f"| {_title(row['method'])} | {100 * row['accuracy']:.1f} %{spread} | {', '.join(map(str, row['seeds']))} "
            f"| {row['peak_bytes'] / 1024:.0f} KiB | {row['parameters']:,} | {row['seconds']:.0f} s |"
        )
    return "\n".join([*lines, f"Device: {rows[0]['device']}."])


def _title(method: str) -> str:
    return "teacher" if method == "teacher" else METHODS[method].title


if __name__ == "__main__":
    main()

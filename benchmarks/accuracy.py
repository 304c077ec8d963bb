"""What distillation gives back: test accuracy on emoji-clutter against peak activation memory.

    python -m benchmarks.accuracy [--quick] [--seeds 0,1,2] [--strides 4,8] [--methods none,red] [--device cuda]
                                  [--runs DIR] [--json FILE]

The teacher is the shipped one. There are students of two stride settings, named by the stride of their stem. Those of
one setting have the same strides, data, schedule and number of training images; only what they learn from differs, and
for the rows "from scratch" what they start from: the others start from the teacher's weights. On a CPU the main rows
and those of smaller batches or stage-wise alignment have all seeds and the others the first one; only the main ones are
trained at the second setting. Other losses have the weights that they are published with (training/feature_losses.py),
RED and KD those of the preset "long". Finished runs in DIR are read, not trained again, so the study can be stopped and
continued. What `--json` writes, the page shows as ready-made runs once it is `checkpoints/study.json`; rows that FILE
has already stay, unless they are written anew.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from tqdm import tqdm

from redistill.checkpoint.metadata import Metadata, read_metadata
from redistill.common.files import write_text
from redistill.memory import capture
from redistill.networks.alignment import BY_SIZE
from redistill.networks.red import REDConfig
from redistill.networks.student import build_student
from redistill.training.config import DistillConfig
from redistill.training.feature_losses import FEATURE_LOSSES
from redistill.training.loop import distill
from redistill.training.presets import CLUTTER_STRIDES, CLUTTER_TEACHER, find_preset

from .helpers.choices import known_names
from .helpers.spread import mean_and_spread


@dataclass(frozen=True)
class Method:
    """One row of the study: what makes it differ from a student that starts from the teacher and learns alone."""

    title: str
    blocks: REDConfig | None = None
    alignment: str = BY_SIZE
    settings: Mapping[str, Any] = field(default_factory=dict)  # of DistillConfig


LONG = find_preset("long").config
STRIDES = {"4": CLUTTER_STRIDES, "8": dict(zip(CLUTTER_STRIDES, (8, 1, 2, 1, 1), strict=True))}  # by the stem's
RED, KD = {"red_weight": LONG.red_weight}, {"kd_weight": LONG.kd_weight}
ALONE = {"init": "scratch", "teacher_checkpoint": None}  # without a teacher, from random weights
# Zhao et al. (CVPR 2022), for networks of one family on CIFAR-100: 1 and 8 beside a cross entropy of weight 1.
DKD = {"kd": "dkd", "kd_weight": 1.0, "dkd_alpha": 1.0, "dkd_beta": 8.0, "temperature": 4.0}
MAIN = {
    "scratch": Method("no distillation, from scratch", settings=ALONE),
    "none": Method("no distillation"),
    "red-blocks": Method("RED blocks without their loss", REDConfig()),
    "red": Method("RED", REDConfig(), settings=RED),
    "kd": Method("KD", settings=KD),
    "red+kd": Method("RED + KD", REDConfig(), settings=RED | KD),
}
OTHERS = {"dkd": Method("DKD", settings=DKD)}
OTHERS |= {name: Method(loss.title, settings={"feature_loss": name}) for name, loss in FEATURE_LOSSES.items()}
ABLATIONS = {
    "red-mse": Method("RED, mean squared error", REDConfig(), settings=RED | {"distance": "mse"}),
    "red-no-blocks": Method("RED loss without blocks", settings=RED),
    "red-no-gate": Method("RED without gate", REDConfig(gate=False), settings=RED),
    "red-no-encoder": Method("RED without residual encoder", REDConfig(residual_encoder=False), settings=RED),
    "red-kernel-1": Method("RED, residual kernel 1", REDConfig(residual_kernel=1), settings=RED),
    "red-kernel-5": Method("RED, residual kernel 5", REDConfig(residual_kernel=5), settings=RED),
    "red-outermost": Method("RED, outermost layers", REDConfig(points="outermost"), settings=RED),
    "red-outputs": Method("RED, outputs only", REDConfig(points="outputs"), settings=RED),
    "red-blocks-scratch": Method("RED blocks without their loss, from scratch", REDConfig(), settings=ALONE),
    "red-scratch": Method("RED, from scratch", REDConfig(), settings=RED | {"init": "scratch"}),
    "red+kd-scratch": Method("RED + KD, from scratch", REDConfig(), settings=RED | KD | {"init": "scratch"}),
}
# Smaller batches and more steps: the same training images.
BATCH_64 = {"batch_size": 64, "steps": 2 * LONG.steps, "validate_every": 220, "save_every": 220}
BATCH_32 = {"batch_size": 32, "steps": 4 * LONG.steps, "validate_every": 440, "save_every": 440}
SMALL_BATCH = {
    f"{name}-batch-{batch}": dataclasses.replace(
        MAIN[name], title=f"{MAIN[name].title}, batch {batch}", settings={**MAIN[name].settings, **smaller}
    )
    for batch, smaller in ((64, BATCH_64), (32, BATCH_32))
    for name in ("scratch", "none", "kd", "red+kd")
}
# Blocks at all nine places of the student, not only at the five where the teacher has a map of the same size.
STAGE_WISE = {
    f"{name}-stage-wise": dataclasses.replace(
        method, title=f"{method.title}, stage-wise alignment", alignment="stage-wise"
    )
    for name, method in {**MAIN, "red+kd-batch-64": SMALL_BATCH["red+kd-batch-64"]}.items()
    if method.blocks is not None
}
TRIED = {
    "red+kd-weight-0.5": Method("RED + KD, KD at weight 0.5", REDConfig(), settings=RED | {"kd_weight": 0.5}),
    "red+kd-red-5": Method("RED + KD, RED at weight 5", REDConfig(), settings=KD | {"red_weight": 5.0}),
    "red+kd-kernel-5": Method("RED + KD, residual kernel 5", REDConfig(residual_kernel=5), settings=RED | KD),
    "red+kd-weight-0.5-batch-64": Method(
        "RED + KD, KD at weight 0.5, batch 64", REDConfig(), settings=RED | {"kd_weight": 0.5} | BATCH_64
    ),
    "red+kd-kernel-5-batch-32": Method(
        "RED + KD, residual kernel 5, batch 32", REDConfig(residual_kernel=5), settings=RED | KD | BATCH_32
    ),
    "red+kd-blocks": Method("RED blocks without their loss, KD", REDConfig(), settings=KD),
}
ALL_SEEDS = MAIN | SMALL_BATCH | STAGE_WISE
METHODS = ALL_SEEDS | OTHERS | ABLATIONS | TRIED
QUICK = {"steps": 8, "train_limit": 256, "validate_every": 8, "batch_size": 32}


def main() -> None:
    """Train what is missing, then print the table and a last line of `accuracy key=value ...`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few steps of each: shows that it works, nothing more")
    parser.add_argument("--seeds", default="0", help="such as 0,1,2 (default: %(default)s)")
    parser.add_argument("--strides", default=",".join(STRIDES), help="of the stem (default: %(default)s)")
    parser.add_argument("--methods", help=f"default: all of {','.join(METHODS)}; with --quick the first {len(MAIN)}")
    parser.add_argument("--device", default="cpu", help="such as cuda (default: %(default)s)")
    parser.add_argument("--runs", type=Path, default=Path("runs/accuracy"), help="folder of the runs")
    parser.add_argument("--json", type=Path, help="also write the rows, with each run's settings and figures")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    stems = known_names(parser, options.strides.split(","), STRIDES, "strides")
    default = list(MAIN if options.quick else METHODS)
    methods = known_names(parser, options.methods.split(",") if options.methods else default, METHODS, "method")
    runs = options.runs / "quick" if options.quick else options.runs

    rows = [_row(None, "teacher", [read_metadata(CLUTTER_TEACHER)])]
    for stem, method in product(stems, methods):
        if method not in MAIN and stem != next(iter(STRIDES)):
            continue
        trained = seeds if method in ALL_SEEDS or options.device != "cpu" else seeds[:1]
        configs = [student_config(stem, METHODS[method], seed, options.quick, options.device) for seed in trained]
        rows.append(_row(stem, method, [_run(config, runs / f"{stem}-{method}-{config.seed}") for config in configs]))
    print(_table(rows))
    if options.json:
        rows = _merged(options.json, rows)
        write_text(options.json, json.dumps(rows, indent=1) + "\n")
    figures = " ".join(f"{_name(row)}={100 * row['accuracy']:.2f}" for row in rows)
    print(f"accuracy seeds={options.seeds} {figures}")


def student_config(stem: str, method: Method, seed: int, quick: bool = False, device: str = "cpu") -> DistillConfig:
    """The settings of one run of the study; `stem` is one of STRIDES, `quick` makes it a few steps."""
    alone = {"red_weight": 0.0, "kd_weight": 0.0, "seed": seed, "device": device, "precision": "fp32"}
    student = dataclasses.replace(LONG.student, strides=STRIDES[stem], red=method.blocks, alignment=method.alignment)
    return dataclasses.replace(LONG, student=student, **(alone | dict(method.settings) | (QUICK if quick else {})))


def _merged(file: Path, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the file, with these in their places or added, in the order of the study."""
    found = {_name(row): row for row in (json.loads(file.read_text()) if file.exists() else [])}
    found |= {_name(row): row for row in rows}
    order = ["teacher", *(f"{stem}-{method}" for stem, method in product(STRIDES, METHODS))]
    return [found[name] for name in order if name in found]


def _name(row: Mapping[str, Any]) -> str:
    return "-".join(filter(None, (row["strides"], row["method"])))


def _run(config: DistillConfig, folder: Path) -> Metadata:
    with tqdm(total=config.steps, desc=folder.name, unit="step", dynamic_ncols=True) as bar:
        for record in distill(config, folder):
            bar.update(record["step"] - bar.n)
    return read_metadata(folder / "student")


def _row(stem: str | None, method: str, trained: list[Metadata]) -> dict[str, Any]:
    """Mean and spread (half the range, 0 for one seed) of the test accuracy, with memory, size and the median time."""
    first = trained[0]
    side = first.student.image_size
    accuracy, spread = mean_and_spread([metadata.metrics["test_accuracy"] for metadata in trained])
    return {
        "strides": stem,
        "method": method,
        "title": "teacher" if stem is None else f"student at stride {stem}, {METHODS[method].title}",
        "seeds": [metadata.training["seed"] for metadata in trained],
        "accuracy": accuracy,
        "spread": spread,
        "peak_bytes": capture(build_student(first.student), (1, 3, side, side)).profile().peak_bytes,
        "parameters": first.metrics["parameters"],
        "seconds": statistics.median(metadata.metrics["seconds"] for metadata in trained),
        "device": " and ".join(dict.fromkeys(metadata.metrics["device"] for metadata in trained)),
        "runs": [{"config": dict(metadata.training), "final": dict(metadata.metrics)} for metadata in trained],
    }


def _table(rows: list[dict[str, Any]]) -> str:
    lines = ["| network | test accuracy | seeds | peak activations | parameters | training |", "| --- " * 6 + "|"]
    for row in rows:
        spread = f" ± {100 * row['spread']:.1f}" if len(row["seeds"]) > 1 else ""
        lines.append(
            f"| {row['title']} | {100 * row['accuracy']:.1f} %{spread} | {', '.join(map(str, row['seeds']))} "
            f"| {row['peak_bytes'] / 1024:.0f} KiB | {row['parameters']:,} | {row['seconds']:.0f} s |"
        )
    devices = dict.fromkeys(row["device"] for row in rows)
    trained = {device: [row["title"] for row in rows if row["device"] == device] for device in devices}
    return "\n".join([*lines, *(f"Trained on {device}: {', '.join(titles)}." for device, titles in trained.items())])


if __name__ == "__main__":
    main()

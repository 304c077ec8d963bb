"""What a student learns best from on photographs: settings tried one by one, chosen on validation pictures.

    python -m benchmarks.trials [--quick] [--strides 4,1,2,2,1] [--trials red+kd,kd] [--json FILE] [--runs DIR]
                                [--data PATH] [--device cpu|cuda] [--jobs N] [--seconds N] [--precision fp32|bf16]
                                [--finals N]

Students of `imagenette-teacher` on Imagenette at 64 pixels, as those of `benchmarks.tradeoff`: from the teacher's
weights, 900 steps of 128 pictures, or as many pictures in other batches. A trial differs from "red+kd", the setting of
the preset "photos", in what its title says. All are trained with seed 0; the best N by validation accuracy, and KD and
"red+kd" beside them, with seeds 1 and 2 as well. FILE is written after every run; rows that it has already, of the same
settings, are not made again, and runs that DIR has begun are continued. Runs are shared
out to processes as those of `benchmarks.tradeoff`. Test accuracy is reported and chooses nothing.

In the last line stand what leads on validation by its mean over the seeds, of those with all three, and by how many
points of validation and of test accuracy it is ahead of "red+kd".
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any

from redistill.common.devices import check_device
from redistill.networks.red import REDConfig
from redistill.networks.stem_kinds import BLUR, PATCHES, SPACE_TO_DEPTH, WIDE
from redistill.training.presets import PHOTOS_TEACHER

from .accuracy import DKD, KD, MAIN, RED, Method
from .helpers.choices import known_names
from .helpers.job_runner import Worker, run_all
from .helpers.spread import percent
from .helpers.tradeoff_table import ON_CURVE, Job, Table
from .tradeoff import PHOTOGRAPHS, QUICK, STUDIES, Frame, check_data, processes, ready

STUDY = STUDIES[PHOTOGRAPHS]
SEEDS = (0, 1, 2)
BASELINES = ("red+kd", "kd")


@dataclass(frozen=True)
class Trial:
    """What one trial changes of "red+kd"; in smaller batches it takes as many more steps."""

    title: str
    settings: Mapping[str, Any] = field(default_factory=dict)  # of DistillConfig
    student: Mapping[str, Any] = field(default_factory=dict)  # of StudentConfig
    from_stride: int = 1  # of the stem: at smaller ones it changes nothing


def _instead(loss: str) -> dict[str, Any]:
    """Another loss of feature maps in the place of RED's, at the weight that it was published with."""
    return {"red_weight": 0.0, "feature_loss": loss}


STAGE_WISE = {"alignment": "stage-wise"}
LONGER = {"steps": 4 * STUDY.steps}
SCRATCH = {"init": "scratch"}
BARE, NO_BLOCKS = {"red_weight": 0.0}, {"red": None}  # settings of a run, and of its student
# The paper's on STL-10 (SGD, half of cross entropy, half of 50 times the cosine), but its batch of 8 and its length.
PAPER_RECIPE = {
    "batch_size": 32, "optimizer": "sgd", "learning_rate": 0.01, "weight_decay": 5e-4, "schedule": "cosine",
    "task_weight": 0.5, "red_weight": 25.0, "kd_weight": 0.0,
}  # fmt: skip
TRIALS = {
    "red+kd": Trial("RED + KD"),
    "kd": Trial("KD without RED blocks", BARE, NO_BLOCKS),
    "stage-wise-batch-64": Trial("blocks at all nine places, batch 64", {"batch_size": 64}, STAGE_WISE),
    "channels": Trial("RED by channels in place of RED", _instead("channels")),
    "kd-1": Trial("KD at weight 1", {"kd_weight": 1.0}),
    "mixup": Trial("mixup, α 0.2", {"mixup": 0.2}),
    "batch-64": Trial("batch 64", {"batch_size": 64}),
    "dkd": Trial("DKD in place of KD", DKD),
    "at": Trial("attention transfer in place of RED", _instead("at")),
    "stage-wise": Trial("blocks at all nine places", {}, STAGE_WISE),
    "red-5": Trial("RED at weight 5", {"red_weight": 5.0}),
    "ema": Trial("EMA, decay 0.99", {"ema_decay": 0.99}),
    "smoothing": Trial("label smoothing 0.1", {"label_smoothing": 0.1}),
    "temperature-2": Trial("KD at temperature 2, as heavy", {"temperature": 2.0, "kd_weight": 0.8}),
    "cutmix": Trial("CutMix, α 1", {"cutmix": 1.0}),
    "fitnet": Trial("FitNets' hint in place of RED", _instead("fitnet")),
    "red-25": Trial("RED at weight 25", {"red_weight": 25.0}),
    "correlation": Trial("RED of maps less their mean", {"distance": "correlation"}),
    "review": Trial("knowledge review in place of RED", _instead("review")),
    "crd": Trial("CRD in place of RED", _instead("crd")),
    "mlld": Trial("MLLD in place of KD", {"kd": "mlld"}),
    "space-to-depth": Trial("stem by space to depth", {}, {"stem": SPACE_TO_DEPTH}, from_stride=2),
    "patches": Trial("stem by patches", {}, {"stem": PATCHES}, from_stride=2),
    "wide": Trial("wide stem", {}, {"stem": WIDE}, from_stride=5),  # a kernel of 7 sees all at 4
    "blur": Trial("stem behind a blur", {}, {"stem": BLUR}, from_stride=5),
    "gate-channel": Trial("blocks with a gate per channel", {}, {"red": REDConfig(gate_per="channel")}),
    "depthwise": Trial("blocks with a depthwise residual encoder", {}, {"red": REDConfig(residual_depthwise=True)}),
    "squeeze-4": Trial("blocks squeezed by 4", {}, {"red": REDConfig(residual_squeeze=4)}),
    "lean": Trial("blocks squeezed by 4, without gate", {}, {"red": REDConfig(gate=False, residual_squeeze=4)}),
    "kernel-5": Trial("blocks with residual kernel 5", {}, {"red": REDConfig(residual_kernel=5)}),
    "kernel-1": Trial("blocks with residual kernel 1", {}, {"red": REDConfig(residual_kernel=1)}),
    "red+kd-scratch": Trial("RED + KD from scratch", SCRATCH),
    "kd-scratch": Trial("KD without RED blocks, from scratch", BARE | SCRATCH, NO_BLOCKS),
    "paper": Trial("the paper's recipe for STL-10, batch 32, from scratch", PAPER_RECIPE | SCRATCH),
    "paper-none": Trial(
        "as the paper's recipe, neither RED nor blocks",
        PAPER_RECIPE | SCRATCH | BARE | {"task_weight": 1.0},
        NO_BLOCKS,
    ),
    "longer": Trial("four times the pictures", LONGER),
    "longer-ema-smoothing": Trial(
        "four times the pictures, EMA, label smoothing 0.1", LONGER | {"ema_decay": 0.99, "label_smoothing": 0.1}
    ),
    "longer-ema-mixup": Trial("four times the pictures, EMA, mixup, α 0.2", LONGER | {"ema_decay": 0.99, "mixup": 0.2}),
    "longer-kd": Trial("KD without RED blocks, four times the pictures", BARE | LONGER, NO_BLOCKS),
    "longer-none": Trial("no distillation, four times the pictures", BARE | {"kd_weight": 0.0} | LONGER, NO_BLOCKS),
}


def main() -> None:
    """Train what is missing, then print the table and a last line of `trials key=value ...`."""
    started = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few steps of two: shows that it works, nothing more")
    parser.add_argument("--strides", default="4,1,2,2,1", help="of the student (default: %(default)s)")
    parser.add_argument("--trials", help=f"some of {','.join(TRIALS)} (default: all that change anything there)")
    parser.add_argument("--finals", type=int, default=2, help="how many get all seeds (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="the rows, written after every run; those it has are not made again")
    parser.add_argument("--runs", type=Path, default=Path("runs/trials"), help="folder of the runs")
    parser.add_argument("--data", type=Path, default=Path("../shared/data") / STUDY.data, help="zip file or folder")
    parser.add_argument("--device", default="cpu", help="such as cuda (default: %(default)s)")
    parser.add_argument("--jobs", type=int, help="processes (default: those of benchmarks.tradeoff)")
    parser.add_argument("--seconds", type=float, default=inf, help="after which it ends (default: when all is done)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="default: %(default)s")
    options = parser.parse_args()
    count = options.jobs or processes(options.device)
    workers: list[Worker] = []
    try:
        check_data(options.data)
        workers += [Worker(options.device, count) for _ in range(count)]
        check_device(options.device)
        vector = tuple(int(stride) for stride in options.strides.split(","))
        names = [name for name, trial in TRIALS.items() if vector[0] >= trial.from_stride]
        names = known_names(parser, options.trials.split(","), names, "trial there") if options.trials else names
        dataset, classes = ready(options.data, STUDY.size, QUICK["train_limit"] if options.quick else None)
        settings = {"device": options.device, "precision": options.precision} | (QUICK if options.quick else {})
        frame = Frame(dataset, classes, STUDY, PHOTOS_TEACHER, settings)
        runs, deadline = options.runs / "quick" if options.quick else options.runs, started + options.seconds
        first = [job_of(frame, vector, name, SEEDS[0]) for name in (names[:2] if options.quick else names)]
        table = Table(first, options.json, options.data)
        run_all(table, workers, runs, deadline)
        chosen = best_of(table.finished(), 0 if options.quick else options.finals)
        table.jobs += [job_of(frame, vector, name, seed) for seed in SEEDS[1:] for name in chosen]
        if chosen:
            run_all(table, workers, runs, deadline)
    except ValueError as error:
        parser.error(str(error))
    finally:
        for worker in workers:
            worker.end()
    print(render(table.finished()))
    print(summary(table.finished()))


def job_of(frame: Frame, vector: tuple[int, ...], name: str, seed: int) -> Job:
    """The run of a trial at a student's strides."""
    trial = TRIALS[name]
    student = replace(frame.student(STUDY.network, vector, MAIN["red+kd"]), **trial.student)
    method = Method(trial.title, settings=RED | KD | dict(trial.settings))
    return Job(vector, name, seed, frame.config(student, method, seed), ON_CURVE)


def by_trial(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The rows of each trial, that which leads on validation pictures by its mean over the seeds first."""
    found = defaultdict(list)
    for row in rows:
        found[row["method"]].append(row)
    return dict(sorted(found.items(), key=lambda item: -_mean(item[1], "validation_accuracy")))


def _mean(rows: Sequence[Mapping[str, Any]], figure: str) -> float:
    return statistics.mean(row[figure] for row in rows)


def best_of(rows: Sequence[Mapping[str, Any]], count: int) -> list[str]:
    """The trials that get all seeds: the best by validation with the first seed, and what they are compared with."""
    of_first = by_trial([row for row in rows if row["seed"] == SEEDS[0]])
    best = [name for name in of_first if name not in BASELINES][:count]
    return [name for name in (*best, *BASELINES) if name in of_first] if best else []


def render(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line a trial, those with all seeds first, then in the order of their validation accuracy."""
    lines = ["| trial | peak, KiB | seeds | validation | test |", "| --- " * 5 + "|"]
    for name, found in sorted(by_trial(rows).items(), key=lambda item: -len(item[1])):
        cells = [TRIALS[name].title, f"{found[0]['peak_bytes'] / 1024:.0f}"]
        cells.append(", ".join(str(seed) for seed in sorted(row["seed"] for row in found)))
        for figure in ("validation_accuracy", "test_accuracy"):
            cells.append(percent([row[figure] for row in found]))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """The last line."""
    whole = {name: found for name, found in by_trial(rows).items() if len(found) == len(SEEDS)}
    parts = [f"trials rows={len(rows)}"]
    if "red+kd" in whole:
        best = next(iter(whole))
        parts.append(f"best={best}")
        for figure in ("validation_accuracy", "test_accuracy"):
            ahead = _mean(whole[best], figure) - _mean(whole["red+kd"], figure)
            parts.append(f"{figure.removesuffix('_accuracy')}_ahead={100 * ahead:.2f}")
    return " ".join(parts)


if __name__ == "__main__":
    main()

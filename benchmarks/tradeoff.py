"""Accuracy against peak memory on real photographs, as a curve over stride vectors.

    python -m benchmarks.tradeoff [--quick] [--network narrow_resnet|narrow_swin] [--json FILE] [--runs DIR]
                                  [--data PATH] [--device cpu|cuda] [--jobs N] [--seconds N] [--seeds 0,1,2]
                                  [--methods none,red] [--precision fp32|bf16]

The teacher is a narrow ResNet at its own strides, trained first, with seed 0. A student has the strides of one of
twelve vectors: eight from three fifths of the teacher's peak down to the least that search finds, and four that pool as
much at the same peaks but keep less of the computation. All students see as many pictures, and the methods are those of
the accuracy study: what they learn from differs, and for "scratch" what they start from. With --network narrow_swin all
are vision transformers, in fewer steps and at one vector. Pictures are Imagenette's at 64 pixels, or for the
transformers CIFAR-10's at 32.

Runs are shared out to --jobs processes, which live as long as the benchmark does: the steps of so small a network leave
a GPU idle, so a dozen processes use one together. Those that tell most come first: all methods at the eight vectors,
seed by seed. FILE is written after every run, whole or not at all; rows that it has already, of the same settings, are
not made again, nor are runs trained again that DIR has finished. With --seconds no run is begun that would not end by
then, judged by those that did, and what still runs then is stopped with its state kept in DIR. A run that fails is a
row with the sentence that says why, and is tried again the next time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import statistics
import time
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from redistill.checkpoint.metadata import read_metadata
from redistill.common.devices import check_device
from redistill.common.files import write_text
from redistill.data.datasets import find_dataset, load_split
from redistill.data.source import SPLITS
from redistill.data.uploads import unpack_zip
from redistill.memory.comparison import compare
from redistill.networks.red import REDConfig
from redistill.networks.strides import find_pooling_points
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import build_network
from redistill.training.config import DistillConfig
from redistill.training.loop import distill

from .accuracy import MAIN, _known
from .helpers.spread import mean_and_spread

TEACHER_SEED = 0
# Strides of conv1, maxpool, layer2, layer3 and layer4. These are on the fronts of `search_strides`, with RED blocks or
# without, but for two: 4·1·2·2·1, which the other studies use, and 2·1·2·2·2, the best of its peak in a first trial.
CURVE = (
    (8, 1, 1, 1, 2),  # the least peak there is
    (4, 1, 2, 1, 2),
    (4, 1, 2, 2, 1),
    (4, 1, 1, 2, 2),
    (2, 2, 1, 2, 2),
    (4, 1, 1, 1, 4),
    (2, 1, 2, 2, 2),
    (2, 1, 2, 1, 4),
)
OFF_CURVE = ((8, 1, 1, 2, 1), (8, 1, 2, 1, 1), (4, 4, 1, 1, 1), (2, 2, 4, 1, 1))
METHODS = ("scratch", "none", "kd", "red", "red+kd", "red-blocks")  # of the accuracy study
BATCH = 128


@dataclass(frozen=True)
class Study:
    """Which students of a network are trained, and for how long."""

    teacher_strides: tuple[int, ...]
    curve: tuple[tuple[int, ...], ...]
    off_curve: tuple[tuple[int, ...], ...]
    steps: int  # of a student
    teacher_steps: int
    size: int  # pixels a side
    data: str  # file in ../shared/data


STUDIES = {
    "narrow_resnet": Study(
        (1, 2, 2, 2, 2), CURVE, OFF_CURVE, steps=900, teacher_steps=1500, size=64, data="imagenette.zip"
    ),
    # Strides of the patch embedding and of three mergings.
    "narrow_swin": Study((2, 2, 2, 2), ((4, 2, 2, 1),), (), steps=300, teacher_steps=800, size=32, data="cifar10.zip"),
}
VALIDATIONS = 5  # of one run, evenly spread: the best by them is tested
QUICK = {"steps": 4, "train_limit": 128, "validate_every": 4, "save_every": 4, "batch_size": 32}
QUICK_VECTORS, QUICK_METHODS = 2, ("scratch", "red+kd")
GPU_JOBS = 14  # processes on one GPU; each needs a core and about a GB of its memory
STOPPING = 10.0  # seconds that runs get to save their state when the time is over


@dataclass(frozen=True)
class Job:
    """One run: the teacher's where `method` is None."""

    strides: tuple[int, ...]
    method: str | None
    seed: int
    config: DistillConfig

    @property
    def name(self) -> str:
        """The run folder's name, and in the table and in messages the run's."""
        return f"{'-'.join(map(str, self.strides))}-{self.method or 'teacher'}-{self.seed}"

    @property
    def needs_teacher(self) -> bool:
        return self.config.teacher_checkpoint is not None


def main() -> None:
    """Train what is missing, then print the table and a last line of `tradeoff key=value ...`."""
    started = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few steps of a few: shows that it works, nothing more")
    parser.add_argument("--network", choices=tuple(STUDIES), default="narrow_resnet", help="default: %(default)s")
    parser.add_argument("--json", type=Path, help="the rows, written after every run; those it has are not made again")
    parser.add_argument("--runs", type=Path, default=Path("runs/tradeoff"), help="folder of the runs")
    parser.add_argument("--data", type=Path, help="zip file or folder (default: the network's, in ../shared/data)")
    parser.add_argument("--device", default="cpu", help="such as cuda (default: %(default)s)")
    parser.add_argument("--jobs", type=int, help=f"processes (default: 1 on a CPU, up to {GPU_JOBS} on a GPU)")
    parser.add_argument("--seconds", type=float, default=inf, help="after which it ends (default: when all is done)")
    parser.add_argument("--seeds", default="0,1,2", help="of the students (default: %(default)s)")
    parser.add_argument("--methods", default=",".join(METHODS), help="default: %(default)s")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="default: %(default)s")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    methods = _known(parser, options.methods.split(","), METHODS, "method")
    is_gpu = options.device.startswith("cuda")
    count = options.jobs or (max(1, min(GPU_JOBS, (os.cpu_count() or 1) - 1)) if is_gpu else 1)
    study = STUDIES[options.network]
    data = options.data or Path("../shared/data") / study.data
    if not data.exists():
        parser.error(f"no {data}; expected a zip file, or a folder, of class subfolders in train and val")

    workers = [Worker(options.device, count) for _ in range(count)]  # they start while the pictures are made ready
    try:
        check_device(options.device)
        if options.quick:
            seeds, methods = seeds[:1], [method for method in methods if method in QUICK_METHODS] or methods[:1]
        runs = options.runs / "quick" if options.quick else options.runs
        dataset, classes = ready(data, study.size, QUICK["train_limit"] if options.quick else None)
        settings = {"device": options.device, "precision": options.precision}
        jobs = plan(dataset, classes, runs, seeds, methods, options.quick, options.network, **settings)
        table = Table(jobs, options.json)
        run_all(table, workers, runs, started + options.seconds)
    except ValueError as error:
        parser.error(str(error))
    finally:
        for worker in workers:
            worker.end()
    print(render(table))
    print(summary(table))


def ready(data: Path, size: int, limit: int | None) -> tuple[str, int]:
    """The data set's name and its number of classes, after its pictures were decoded once for all processes."""
    dataset = f"folder:{data}" if data.is_dir() else f"upload:{unpack_zip(data)}"
    classes = find_dataset(dataset).num_classes
    for split in SPLITS:
        some = {"train": limit, "validation": limit and max(1, limit // 6), "test": None}[split]
        load_split(dataset, split, size, some)
    return dataset, classes


def plan(
    dataset: str,
    classes: int,
    runs: Path,
    seeds: Sequence[int],
    methods: Sequence[str],
    quick: bool,
    network: str = "narrow_resnet",
    **settings: str,
) -> list[Job]:
    """All runs, those that tell most first: the teacher, then the curve seed by seed, then the vectors off it."""
    study = STUDIES[network]
    points = [point.name for point in find_pooling_points(build_network(network, classes), study.size)]

    def job(vector: tuple[int, ...], method: str | None, seed: int, teacher: Path | None) -> Job:
        given = MAIN[method] if method else None
        strides = dict(zip(points, vector, strict=True))
        student = StudentConfig(network, study.size, classes, strides=strides, red=given.blocks if given else None)
        steps = study.steps if method else study.teacher_steps
        every = -(-steps // VALIDATIONS)
        values = {"steps": steps, "batch_size": BATCH, "validate_every": every, "save_every": steps}
        values |= {"init": "teacher", "teacher_checkpoint": str(teacher)} if method else {}
        values |= {"red_weight": 0.0, "seed": seed, **(given.settings if given else {})}
        config = DistillConfig(student, dataset, **(values | settings | (QUICK if quick else {})))
        return Job(vector, method, seed, config)

    teacher = job(study.teacher_strides, None, TEACHER_SEED, None)
    weights = runs / teacher.name / "student"
    curve, off = (study.curve[:QUICK_VECTORS], ()) if quick else (study.curve, study.off_curve)
    order = [(vector, method, seed) for part in (curve, off) for seed in seeds for method in methods for vector in part]
    return [teacher, *(job(*place, weights) for place in order)]


class Table:
    """The rows by the name of their run, and the file that they are in."""

    def __init__(self, jobs: Sequence[Job], file: Path | None) -> None:
        self.jobs = list(jobs)
        self.file = file
        self.rows: dict[str, dict[str, Any]] = {}
        if file and file.exists():
            self.rows = {row["name"]: row for row in json.loads(file.read_text())}

    def figures(self, job: Job) -> dict[str, Any]:
        """What is known of a run before it has run. Bytes are of one picture in fp32, MACs of one pass."""
        config = job.config
        red = None if job.method is None else REDConfig()  # the teacher has none to be aligned with
        found = compare(replace(config.student, red=red))
        bare, full = found.bare, found.student
        own = bare if config.student.red is None else full
        return {
            "name": job.name,
            "strides": list(job.strides),
            "part": "teacher"
            if job.method is None
            else "curve"
            if job.strides in STUDIES[config.student.teacher].curve
            else "off the curve",
            "method": job.method or "teacher",
            "seed": job.seed,
            "batch": config.batch_size,
            "steps": config.steps,
            "precision": config.precision,
            "dataset": config.dataset,
            "bare_peak_bytes": bare.peak_bytes,  # without RED blocks
            "red_peak_bytes": full.peak_bytes,  # with them, at the places of this vector
            "peak_bytes": own.peak_bytes,  # of this very network
            "macs": own.macs,
        }

    def is_done(self, job: Job) -> bool:
        """Whether the file has the run's row, made with the same settings."""
        row, figures = self.rows.get(job.name, {}), self.figures(job)
        return row.get("state") == "finished" and all(row.get(name) == value for name, value in figures.items())

    def add(self, job: Job, outcome: Mapping[str, Any]) -> None:
        """Note what came of a run, in the file too."""
        self.rows[job.name] = self.figures(job) | dict(outcome)
        if self.file:
            order = [job.name for job in self.jobs]
            known = [self.rows[name] for name in order if name in self.rows]
            others = [row for name, row in self.rows.items() if name not in order]
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.file, json.dumps([*known, *others], indent=1) + "\n")

    def finished(self) -> list[dict[str, Any]]:
        """The rows of these runs that have an accuracy, in their order."""
        return [self.rows[job.name] for job in self.jobs if self.is_done(job)]


class Worker:
    """A process that trains one run after another."""

    def __init__(self, device: str, count: int) -> None:
        self._start = (device, count)
        self.job: Job | None = None
        self.begun = 0.0  # of the job, by time.monotonic
        self.start()

    def start(self) -> None:
        """Begin anew, with a fresh process."""
        context = multiprocessing.get_context("spawn")  # CUDA does not outlive a fork
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, *self._start), daemon=True)
        self.process.start()
        theirs.close()

    def give(self, job: Job, folder: Path) -> None:
        """Let the process train a run; the outcome comes through the pipe."""
        self.job, self.begun = job, time.monotonic()
        self.pipe.send((job, folder))

    def take(self) -> dict[str, Any]:
        """The outcome of the job that is done. A process that ended, however it did, is replaced by a fresh one."""
        try:
            outcome = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            outcome = {"state": "failed", "error": f"Its process ended with code {self.process.exitcode}."}
            self.start()
        self.job = None
        return outcome

    def end(self) -> None:
        """End the process; a run in it that has not stopped by now stays as it last saved itself."""
        self.process.terminate()
        self.process.join(STOPPING)
        self.process.kill()


def work(pipe: Connection, device: str, count: int) -> None:
    """What a worker does: take a job and send back its outcome, until there is no other end."""
    is_gpu = device.startswith("cuda")
    torch.set_num_threads(1 if is_gpu else max(1, (os.cpu_count() or 1) // count))
    warnings.simplefilter("ignore")
    if is_gpu:
        with contextlib.suppress(RuntimeError, AssertionError):  # told when the first run begins
            torch.zeros(1, device=device)  # the context takes seconds, which pass while pictures are made ready
    while True:
        try:
            job, folder = pipe.recv()
        except EOFError:
            return
        pipe.send(train(job, folder))


def train(job: Job, folder: Path) -> dict[str, Any]:
    """Train a run, or read what it came to, and return its outcome: figures, or the sentence that says why not."""
    try:
        for _ in distill(job.config, folder):
            pass
        if not (folder / "student").exists():
            return {"state": "stopped"}
        metadata = read_metadata(folder / "student")
        figures = metadata.metrics
        images = figures["step"] * min(job.config.batch_size, _count(job.config, "train"))
        outcome = {"state": "finished", "images_seen": images, "test_count": _count(job.config, "test")}
        for name in ("test_accuracy", "validation_accuracy", "parameters", "seconds", "device"):
            outcome[name] = figures[name]
        if job.needs_teacher:
            teacher = read_metadata(job.config.teacher_checkpoint)
            outcome["teacher_test_accuracy"] = teacher.metrics["test_accuracy"]
        return outcome
    except Exception as error:
        return {"state": "failed", "error": (str(error).splitlines() or [repr(error)])[0]}


def _count(config: DistillConfig, split: str) -> int:
    """Pictures of a split that a run uses."""
    limit = config.train_limit if split == "train" else None
    return len(load_split(config.dataset, split, config.student.image_size, limit, config.split_seed))


def run_all(table: Table, workers: Sequence[Worker], runs: Path, deadline: float) -> None:
    """Train all that the table lacks. `deadline` is a time of `time.monotonic`."""
    teacher, *students = table.jobs
    waiting = [job for job in students if not table.is_done(job)]
    has_teacher = table.is_done(teacher) and (runs / teacher.name / "student").exists()
    if not has_teacher and (any(job.needs_teacher for job in waiting) or not table.is_done(teacher)):
        waiting.insert(0, teacher)
    took: dict[str | None, list[float]] = defaultdict(list)  # seconds of the runs that ended, by method
    total = len(waiting)

    def can_begin(job: Job) -> bool:
        """Whether a run has its teacher, and would end in time, as far as is known."""
        # Processes that share a GPU slow each other down, so the slowest of late tells best.
        alike = took[job.method] or [seconds for others in took.values() for seconds in others]
        expected = max(alike[-len(workers) :], default=0.0)
        return (has_teacher or not job.needs_teacher) and now + expected < deadline

    while True:
        now = time.monotonic()
        for worker in workers:
            job = next(filter(can_begin, waiting), None) if worker.job is None else None
            if job:
                waiting.remove(job)
                worker.give(job, runs / job.name)
        busy = [worker for worker in workers if worker.job]
        if not busy:
            break
        if now >= deadline:
            _stop(table, busy, runs)
            break
        for pipe in wait([worker.pipe for worker in busy], timeout=min(1.0, deadline - now)):
            worker = next(worker for worker in busy if worker.pipe is pipe)
            job, seconds = worker.job, time.monotonic() - worker.begun
            outcome = worker.take()
            table.add(job, outcome)
            is_finished = outcome["state"] == "finished"
            if is_finished:
                took[job.method].append(seconds)
            has_teacher |= is_finished and job is teacher
            if job is teacher and not is_finished:
                waiting = [other for other in waiting if not other.needs_teacher]
            said = f"{100 * outcome['test_accuracy']:.1f} %" if is_finished else outcome.get("error", "stopped")
            left = len(waiting) + sum(other.job is not None for other in workers)
            print(f"{job.name}: {said} after {seconds:.0f} s; {total - left} of {total}", flush=True)


def _stop(table: Table, busy: Sequence[Worker], runs: Path) -> None:
    """Let runs save their state and end; those that end by themselves meanwhile count."""
    for worker in busy:
        folder = runs / worker.job.name
        if folder.is_dir():
            (folder / "stop").touch()
    until = time.monotonic() + STOPPING
    waiting = list(busy)
    while waiting and (left := until - time.monotonic()) > 0:
        for pipe in wait([worker.pipe for worker in waiting], timeout=left):
            worker = next(worker for worker in waiting if worker.pipe is pipe)
            waiting.remove(worker)
            job = worker.job
            outcome = worker.take()
            if outcome["state"] == "finished":
                table.add(job, outcome)


def _mean(rows: Iterable[Mapping[str, Any]]) -> str:
    """Test accuracy over seeds in per cent; a dash where there is none."""
    values = [row["test_accuracy"] for row in rows]
    if not values:
        return "–"
    mean, spread = mean_and_spread(values)
    return f"{100 * mean:.1f}" + (f" ± {100 * spread:.1f} ({len(values)})" if len(values) > 1 else "")


def render(table: Table) -> str:
    """A line a vector, the least peak first; a column a method."""
    rows = table.finished()
    methods = [method for method in METHODS if any(row["method"] == method for row in rows)]
    lines = [" | ".join(["| strides", "peak, KiB", "with RED blocks", *methods]) + " |", "| --- " * (3 + len(methods))]
    lines[1] += "|"
    by_vector = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row["bare_peak_bytes"], row["red_peak_bytes"])):
        by_vector[tuple(row["strides"])].append(row)
    for vector, found in by_vector.items():
        if found[0]["part"] == "teacher":
            continue
        cells = [
            "·".join(map(str, vector)),
            *(f"{found[0][f'{kind}_peak_bytes'] / 1024:.0f}" for kind in ("bare", "red")),
        ]
        cells += [_mean(row for row in found if row["method"] == method) for method in methods]
        lines.append(f"| {' | '.join(cells)} |")
    for row in rows:
        if row["part"] == "teacher":
            peak = row["bare_peak_bytes"] / 1024
            lines.append(f"Teacher: {_mean([row])} % at {peak:.0f} KiB. Device: {row['device']}, {row['precision']}.")
    return "\n".join(lines)


def summary(table: Table) -> str:
    """The last line. A method's figure is its mean over those vectors of the curve and seeds that all methods have."""
    rows = table.finished()
    failed = sum(table.rows.get(job.name, {}).get("state") == "failed" for job in table.jobs)
    parts = [f"tradeoff rows={len(rows)} of={len(table.jobs)} failed={failed}"]
    teachers = [row["test_accuracy"] for row in rows if row["part"] == "teacher"]
    parts += [f"teacher={100 * value:.2f}" for value in teachers]
    by_place = defaultdict(dict)
    for row in rows:
        if row["part"] == "curve":
            by_place[tuple(row["strides"]), row["seed"]][row["method"]] = row["test_accuracy"]
    methods = [method for method in METHODS if any(job.method == method for job in table.jobs)]
    whole = [found for found in by_place.values() if all(method in found for method in methods)]
    if whole:
        parts += [f"{method}={100 * statistics.mean(found[method] for found in whole):.2f}" for method in methods]
    return " ".join([*parts, f"compared={len(whole)}"])


if __name__ == "__main__":
    main()

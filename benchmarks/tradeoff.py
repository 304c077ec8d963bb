"""Accuracy against peak memory, on real photographs and on drawn scenes, as a curve over stride vectors.

    python -m benchmarks.tradeoff [--quick] [--study NAME] [--json FILE] [--runs DIR] [--data PATH]
                                  [--device cpu|cuda] [--jobs N] [--seconds N] [--seeds 0,1,2]
                                  [--methods none,red] [--precision fp32|bf16] [--teacher CHECKPOINT]
                                  [--alternatives [--only TEXT]] [--patches]

The teacher is a narrow ResNet at its own strides, trained first, with seed 0. A student has the strides of one of
twelve vectors: eight from three fifths of the teacher's peak down to the least that search finds, and four that pool as
much at the same peaks but keep less of the computation. All students see as many pictures, and the methods are those of
the accuracy study: what they learn from differs, and for "scratch" what they start from. Pictures are Imagenette's at
64 pixels. The study of scenes takes those of emoji-clutter, its teacher that ships, and as many pictures as the
accuracy study. In photographs-128, for a GPU, pictures are Imagenette's at 128 pixels and networks ResNet-18 at eight
vectors of its own. Of photographs-swin all networks are vision transformers, in fewer steps and at one vector, and
pictures are CIFAR-10's at 32 pixels.

Runs are shared out to --jobs processes, which live as long as the benchmark does: the steps of so small a network leave
a GPU idle, so a dozen processes use one together. Those that tell most come first: all methods at the eight vectors,
seed by seed. FILE is written after every run, whole or not at all; rows that it has already, of the same settings, are
not made again, nor are runs trained again that DIR has finished. With --seconds no run is begun that would not end by
then, judged by those that did, and what still runs then is stopped with its state kept in DIR. A run that fails is a
row with the sentence that says why, and is tried again the next time.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import inf
from pathlib import Path
from typing import Any

from redistill.common.devices import check_device
from redistill.data.datasets import find_dataset, load_split
from redistill.data.drawn import DRAWN
from redistill.data.source import SPLITS
from redistill.data.uploads import unpack_zip
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import build_network
from redistill.training.config import DistillConfig

from .accuracy import KD, LONG, MAIN, Method
from .helpers.alternatives import ALTERNATIVES, Alternative, at_points
from .helpers.choices import known_names
from .helpers.job_runner import Worker, run_all
from .helpers.patched_rows import KIND, patched_rows
from .helpers.tradeoff_table import (
    ALTERNATIVE,
    OFF,
    ON_CURVE,
    TEACHER,
    Job,
    Table,
    render,
    run_name,
    summary,
    write_rows,
)

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
OWN = (1, 2, 2, 2, 2)  # the teacher's
OFF_CURVE = ((8, 1, 1, 2, 1), (8, 1, 2, 1, 1), (4, 4, 1, 1, 1), (2, 2, 4, 1, 1))
METHODS = ("scratch", "none", "kd", "red", "red+kd", "red-blocks", "best")  # of the accuracy study, and BEST
OF_SAME_SHAPE = ("scratch", "none", "kd")  # of the alternatives, those that the teacher's weights fit
FROM_SCRATCH = {"kd-scratch": Method("KD, from scratch", settings=KD | {"init": "scratch"})}
OF_OTHERS = ("scratch", *FROM_SCRATCH)
BATCH = 128
# Of all settings that the accuracy study tried on scenes the one that validation chose: the preset "best".
BEST = {
    "best": Method(
        "RED + KD, blocks at all nine places, batch 64",
        REDConfig(),
        "stage-wise",
        MAIN["red+kd"].settings | {"batch_size": 64},
    )
}
ALL_METHODS = MAIN | FROM_SCRATCH | BEST


@dataclass(frozen=True)
class Study:
    """Which students of a network are trained, and for how long."""

    network: str  # of teacher and students
    teacher_strides: tuple[int, ...]
    curve: tuple[tuple[int, ...], ...]
    off_curve: tuple[tuple[int, ...], ...]
    steps: int  # of a student, in batches of BATCH
    teacher_steps: int
    size: int  # pixels a side
    data: str  # file in ../shared/data, or the name of a set whose pictures are embedded
    teacher: str | None = None  # its checkpoint, where it is not trained here


PHOTOGRAPHS, PHOTOGRAPHS_128, SWIN, SCENES = "photographs", "photographs-128", "photographs-swin", "scenes"
STUDIES = {
    PHOTOGRAPHS: Study(
        "narrow_resnet", OWN, CURVE, OFF_CURVE, steps=900, teacher_steps=1500, size=64, data="imagenette.zip"
    ),
    # For a GPU. Strides from the least peak of ResNet-18 at this size, a fifth of the teacher's, up to three fifths.
    PHOTOGRAPHS_128: Study(
        "resnet18",
        (2, 2, 2, 2, 2),
        (
            (8, 1, 2, 1, 2),
            (8, 1, 1, 2, 2),
            (4, 2, 1, 2, 2),
            (4, 1, 2, 1, 4),
            (8, 1, 2, 2, 1),
            (4, 2, 2, 2, 1),
            (4, 1, 2, 2, 2),
            (8, 1, 1, 1, 4),
        ),
        (),
        steps=900,
        teacher_steps=1500,
        size=128,
        data="imagenette.zip",
    ),
    # Strides of the patch embedding and of three mergings.
    SWIN: Study(
        "narrow_swin", (2, 2, 2, 2), ((4, 2, 2, 1),), (), steps=300, teacher_steps=800, size=32, data="cifar10.zip"
    ),
    SCENES: Study(
        "narrow_resnet",
        OWN,
        CURVE,
        OFF_CURVE,
        steps=LONG.steps,
        teacher_steps=LONG.steps,
        size=64,
        data="emoji-clutter",
        teacher="emoji-clutter-teacher",
    ),
}
VALIDATIONS = 5  # of one run, evenly spread: the best by them is tested
# A teacher of four steps knows nothing, which is no reason here to refuse it.
QUICK = {
    "steps": 4, "train_limit": 128, "validate_every": 4, "save_every": 4, "batch_size": 32, "accept_teacher": True,
}  # fmt: skip
QUICK_VECTORS, QUICK_METHODS = 2, ("scratch", "red+kd")
GPU_JOBS = 14  # processes on one GPU; each needs a core and about a GB of its memory


def main() -> None:
    """Train what is missing, then print the table and a last line of `tradeoff key=value ...`."""
    started = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few steps of a few: shows that it works, nothing more")
    parser.add_argument("--study", choices=tuple(STUDIES), default=PHOTOGRAPHS, help="default: %(default)s")
    parser.add_argument("--json", type=Path, help="the rows, written after every run; those it has are not made again")
    parser.add_argument("--runs", type=Path, default=Path("runs/tradeoff"), help="folder of the runs")
    parser.add_argument("--data", type=Path, help="zip file or folder (default: the study's, in ../shared/data)")
    parser.add_argument("--device", default="cpu", help="such as cuda (default: %(default)s)")
    parser.add_argument("--jobs", type=int, help=f"processes (default: 1 on a CPU, up to {GPU_JOBS} on a GPU)")
    parser.add_argument("--seconds", type=float, default=inf, help="after which it ends (default: when all is done)")
    parser.add_argument("--seeds", default="0,1,2", help="of the students (default: %(default)s)")
    parser.add_argument("--methods", help=f"some of {','.join(METHODS + tuple(FROM_SCRATCH))} (default: all)")
    parser.add_argument("--teacher", help="its checkpoint, such as imagenette-teacher (default: the study's)")
    parser.add_argument("--alternatives", action="store_true", help="train other networks, instead of the students")
    parser.add_argument("--patches", action="store_true", help="count the networks of FILE in patches, and do no more")
    parser.add_argument("--only", default="", help="of the other networks those whose name has this in it")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="default: %(default)s")
    options = parser.parse_args()
    if options.patches:
        if options.json is None or not options.json.exists():
            parser.error(f"--patches is given, but no file of rows: --json is {options.json}")
        print(f"tradeoff patched={add_patched(options.json)}")
        return
    seeds = [int(seed) for seed in options.seeds.split(",")]
    known = (*dict.fromkeys(OF_SAME_SHAPE + OF_OTHERS),) if options.alternatives else METHODS
    others = _alternatives(parser, options.only) if options.alternatives else ()
    methods = known_names(parser, options.methods.split(","), known, "method") if options.methods else list(known)
    try:
        table = trained(
            options.study,
            seeds,
            methods,
            others,
            data=options.data,
            file=options.json,
            runs=options.runs,
            jobs=options.jobs,
            deadline=started + options.seconds,
            quick=options.quick,
            teacher=options.teacher,
            device=options.device,
            precision=options.precision,
        )
    except ValueError as error:
        parser.error(str(error))
    print(render(table))
    print(summary(table))


def trained(
    name: str,
    seeds: Sequence[int],
    methods: Sequence[str],
    others: Sequence[Alternative] = (),
    *,
    runs: Path,
    data: Path | None = None,
    file: Path | None = None,
    jobs: int | None = None,
    deadline: float = inf,
    quick: bool = False,
    teacher: str | None = None,
    device: str = "cpu",
    precision: str = "fp32",
) -> Table:
    """All rows of a study, after what `file` and `runs` lack was trained until `deadline`, a time of `time.monotonic`.

    data: a zip file or a folder of pictures in place of the study's own; ValueError where there is none.
    teacher, others: see `plan`.
    """
    study = STUDIES[name]
    data = data or (None if study.data in DRAWN else Path("../shared/data") / study.data)
    if data:
        check_data(data)
    check_device(device)
    if quick:
        few = (OF_SAME_SHAPE[0], OF_SAME_SHAPE[-1]) if others else QUICK_METHODS
        runs, seeds, methods = runs / "quick", seeds[:1], [one for one in methods if one in few] or methods[:1]
    count = jobs or processes(device)
    workers = [Worker(device, count) for _ in range(count)]  # they start while the pictures are made ready
    try:
        dataset, classes = ready(data or study.data, study.size, QUICK["train_limit"] if quick else None)
        teacher = teacher or study.teacher
        settings = {"device": device, "precision": precision}
        planned = plan(dataset, classes, runs, seeds, methods, quick, study, teacher, others, **settings)
        table = Table(planned, file, data)
        run_all(table, workers, runs, deadline)
    finally:
        for worker in workers:
            worker.end()
    return table


def check_data(data: Path) -> None:
    """ValueError where there is no such file or folder of pictures."""
    if not data.exists():
        raise ValueError(f"no {data}; expected a zip file, or a folder, of class subfolders in train and val")


def processes(device: str) -> int:
    """How many train at a time unless --jobs says it: one on a CPU, on a GPU one a core, up to GPU_JOBS."""
    return max(1, min(GPU_JOBS, (os.cpu_count() or 1) - 1)) if device.startswith("cuda") else 1


def add_patched(file: Path) -> int:
    """Write the rows of networks in patches anew, after those that they are made of; returns how many there are."""
    rows = [row for row in json.loads(file.read_text()) if row.get("kind") != KIND]
    patched = patched_rows(rows)
    write_rows(file, [*rows, *patched])
    return len(patched)


def ready(data: Path | str, size: int, limit: int | None) -> tuple[str, int]:
    """The data set's name and its number of classes, after its pictures were decoded, or drawn, once for all processes.

    data: a zip file, a folder, or the name of a set.
    """
    dataset = data if isinstance(data, str) else f"folder:{data}" if data.is_dir() else f"upload:{unpack_zip(data)}"
    classes = find_dataset(dataset).num_classes
    for split in SPLITS:
        some = {"train": limit, "validation": limit and max(1, limit // 6), "test": None}[split]
        load_split(dataset, split, size, some)
    return dataset, classes


def _alternatives(parser: argparse.ArgumentParser, part: str) -> tuple[Alternative, ...]:
    """Those with `part` in their name; ends the program where there are none."""
    found = tuple(other for other in ALTERNATIVES if part in other.title)
    if not found:
        parser.error(f"no other network has {part!r} in its name; expected a part of {[o.title for o in ALTERNATIVES]}")
    return found


@dataclass(frozen=True)
class Frame:
    """What all runs of a plan share."""

    dataset: str
    classes: int
    study: Study
    weights: str  # the teacher's checkpoint
    settings: Mapping[str, Any]  # that differ from the study's

    def student(self, network: str, vector: Sequence[int], method: Method = MAIN["none"]) -> StudentConfig:
        """A student of any network at the strides of its pooling points, or at its own if `vector` is empty."""
        strides = {}
        if vector:
            strides = at_points(build_network(network, self.classes), vector, self.study.size)
        teacher, blocks = self.study.network, method.blocks
        other = None if network == teacher else network
        size, classes = self.study.size, self.classes
        return StudentConfig(
            teacher, size, classes, strides, architecture=other, red=blocks, alignment=method.alignment
        )

    def config(self, student: StudentConfig, method: Method | None, seed: int) -> DistillConfig:
        """The settings of a run; without a method, of the teacher's."""
        settings = method.settings if method else {}
        batch = settings.get("batch_size", BATCH)  # smaller ones in as many more steps: all see as many pictures
        steps = settings.get("steps", (self.study.steps if method else self.study.teacher_steps) * BATCH // batch)
        every = -(-steps // VALIDATIONS)
        values = {"steps": steps, "batch_size": batch, "validate_every": every, "save_every": steps}
        values |= {"init": "teacher", "teacher_checkpoint": self.weights} if method else {}
        values |= {"red_weight": 0.0, "seed": seed, **settings}
        return DistillConfig(student, self.dataset, **(values | self.settings))

    def on_vector(self, part: str, vector: tuple[int, ...], name: str | None, seed: int) -> Job:
        """A run of the teacher's network, at other strides; without a method the teacher's own."""
        network = self.study.network
        method = ALL_METHODS[name] if name else None
        student = self.student(network, vector, method) if method else self.student(network, ())
        return Job(vector, name, seed, self.config(student, method, seed), part)

    def of_other(self, other: Alternative, name: str, seed: int) -> Job:
        """A run of what one can take instead."""
        student = self.student(other.architecture, () if other.side else other.strides)  # of smaller images: built so
        counted = other.counted(self.study.network, self.classes)
        config = self.config(student, ALL_METHODS[name], seed)
        return Job(other.strides, name, seed, config, ALTERNATIVE, other.title, other.kind, counted)


def plan(
    dataset: str,
    classes: int,
    runs: Path,
    seeds: Sequence[int],
    methods: Sequence[str],
    quick: bool,
    study: Study = STUDIES[PHOTOGRAPHS],
    teacher: str | None = None,
    alternatives: Sequence[Alternative] = (),
    **settings: str,
) -> list[Job]:
    """All runs, those that tell most first: the teacher, then the curve seed by seed, then the vectors off it.

    teacher: checkpoint of a trained one, which then has no run.
    alternatives: other networks instead of the students, see `_places_of_others`.
    """
    weights = teacher or str(runs / run_name(study.teacher_strides, None, TEACHER_SEED) / "student")
    frame = Frame(dataset, classes, study, weights, settings | (QUICK if quick else {}))
    first = [] if teacher else [frame.on_vector(TEACHER, study.teacher_strides, None, TEACHER_SEED)]
    if alternatives:
        return first + [
            frame.of_other(*place)
            for place in _places_of_others(seeds, methods, alternatives[: QUICK_VECTORS if quick else None])
        ]
    curve, off = (study.curve[:QUICK_VECTORS], ()) if quick else (study.curve, study.off_curve)
    return first + [
        frame.on_vector(part, vector, method, seed)
        for part, vectors in ((ON_CURVE, curve), (OFF, off))
        for seed in seeds
        for method in methods
        for vector in vectors
    ]


def _places_of_others(
    seeds: Sequence[int], methods: Sequence[str], known: Sequence[Alternative]
) -> Iterator[tuple[Alternative, str, int]]:
    """Other networks with method and seed, in turns by rank: what tells most has all seeds before the last has one.

    A method that a network cannot have is left out: only the teacher's own shape starts from the teacher's weights.
    """
    first, others = seeds[:1], seeds[1:]
    turns = ((first, (1, 2)), (others, (1,)), (first, (3,)), (others, (2,)), (first, (4,)), (others, (3, 4)))
    for some, ranks in turns:
        networks = [other for rank in ranks for other in known if other.rank == rank]
        for seed, other, method in product(some, networks, methods):
            if method in (OF_SAME_SHAPE if other.side else OF_OTHERS):
                yield other, method, seed


if __name__ == "__main__":
    main()

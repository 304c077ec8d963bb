"""Our distillation step beside a plain one: images per CPU-second and peak memory, interleaved in one process.

    python -m benchmarks.distill [--quick] [--json FILE] [--device cuda]

Both steps distil the same student with the same RED loss (and KD for the narrow ResNet), AdamW and gradient clipping,
in fp32; on a processor that multiplies bf16 ours is timed in that too, which presets take there. The plain one is what
the losses' formulas suggest: a DataLoader whose images pass PIL transforms one by one, the whole teacher under no_grad
in evaluation mode, feature maps kept whole until the loss, contiguous layout. Its images are decoded beforehand, as
ours are. They take turns of one step, which a busy machine disturbs alike, in one order and then in the other, since
each finds the caches as the one before left them; a row gives medians over the turns, and after ± half the span of the
middle half of the ratios. On CUDA rates are images per second of wall time, the DataLoader has four workers, and turns
are long and begin when the batches that these made during ours are used up. `--quick` takes as many turns as fit into
ten seconds a row, three at least.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import Metadata
from redistill.checkpoint.teacher import load_teacher
from redistill.common.devices import describe_device, has_fast_bf16
from redistill.memory.measure import training_peak
from redistill.networks.student import StudentConfig, build_reference
from redistill.training.config import DistillConfig
from redistill.training.presets import CLUTTER_STRIDES, FACES_STRIDES, FROM_TEACHER, MOBILENET_STRIDES
from redistill.training.step import TrainingState, held_tensors, prepare, train_step
from redistill.training.task import Problem

from .helpers.compiled_parts import compile_parts
from .helpers.plain_step import PlainStep

CLASSES, IMAGES_A_CLASS = 10, 24
CPU_WORKERS, CUDA_WORKERS = 0, 4
TURNS, QUICK_TURNS, CUDA_TURNS = 25, 3, 7
QUICK_SECONDS = 10.0  # for turns beyond the first QUICK_TURNS
CUDA_STEPS, QUICK_CUDA_STEPS = 200, 100  # of a turn; 4 workers have 8 batches ready when it begins


@dataclass(frozen=True)
class Case:
    """A student and the run that trains it."""

    name: str
    config: DistillConfig
    aim: float | None = None  # what the README promises of the ratio


def cases(folder: Path, device: str, images_a_class: int = IMAGES_A_CLASS, ships: bool = True) -> list[Case]:
    """The three of the table. Pictures and teachers that do not ship are made in `folder`, at random.

    Without `ships` the narrow ResNet too has random pictures and a fresh teacher: nothing but the code is needed.
    """
    mobile = StudentConfig(
        "mobilenet_v2",
        128,
        CLASSES,
        strides=MOBILENET_STRIDES,
        teacher_strides={"features.0.0": 1},
    )
    unet = StudentConfig("unet_paper", 32, strides=FACES_STRIDES)
    clutter = StudentConfig("narrow_resnet", 64, 50, strides=CLUTTER_STRIDES)
    common: dict[str, Any] = {"device": device, "schedule": "constant", "learning_rate": 1e-4}

    def made(student: StudentConfig) -> dict[str, Any]:
        pictures = random_pictures(folder / str(student.image_size), student.image_size, images_a_class)
        teacher = fresh_teacher(student, folder / student.teacher)
        return {"student": student, "dataset": f"folder:{pictures}", "teacher_checkpoint": str(teacher)}

    distilled = [
        DistillConfig(**made(student), batch_size=8, distance=distance, **common)
        for student, distance in ((mobile, "cosine"), (unet, "mse"))
    ]
    if ships:
        emoji = DistillConfig(student=clutter, dataset="emoji-clutter", train_limit=256, **FROM_TEACHER, **common)
    else:
        emoji = DistillConfig(**(FROM_TEACHER | made(replace(clutter, num_classes=CLASSES))), **common)
    return [
        Case("mobilenet_v2", distilled[0], aim=1.3),
        Case("ddpm_unet", distilled[1], aim=1.2),
        Case("narrow_resnet", emoji),
    ]


def random_pictures(folder: Path, side: int, images_a_class: int = IMAGES_A_CLASS) -> Path:
    """Pictures of noise, `side` pixels a side, in `folder`, which must not exist: a subfolder a class."""
    numbers = np.random.default_rng(0)
    for label in range(CLASSES):
        (folder / f"class{label}").mkdir(parents=True)
        for place in range(images_a_class):
            picture = Image.fromarray(numbers.integers(0, 256, (side, side, 3), dtype=np.uint8))
            picture.save(folder / f"class{label}" / f"{place}.png", compress_level=1)  # noise does not shrink
    return folder


def fresh_teacher(student: StudentConfig, folder: Path) -> Path:
    """A checkpoint, in `folder`, of the student's teacher with random weights: speed does not depend on them."""
    reference = replace(student, strides=student.teacher_strides, teacher_strides={}, red=None)
    torch.manual_seed(0)
    training = {"prediction_type": DistillConfig.prediction_type}  # what the cases predict
    metadata = Metadata(reference, "emoji-clutter", training=training)
    return checkpoint.save(build_reference(student), metadata, folder)


def turns_of(device: torch.device, quick: bool) -> tuple[int, int]:
    """How many turns there are, and how many steps each takes."""
    if device.type == "cuda":
        return (1, QUICK_CUDA_STEPS) if quick else (CUDA_TURNS, CUDA_STEPS)
    return TURNS, 1


def compare(
    case: Case,
    quick: bool,
    workers: int | None = None,
    turns: int | None = None,
    steps: int | None = None,
    compiled: bool = False,
) -> dict[str, Any]:
    """Rates and peaks of both steps.

    workers: of the plain step's DataLoader; turns, and steps of each: how long it takes. Default: as on the table.
    compiled: whether both have students and teachers in compiled parts.
    """
    problem, state = prepare(case.config)
    device = problem.device
    teacher = load_teacher(case.config.teacher_checkpoint).to(device).requires_grad_(False)
    if workers is None:
        workers = CUDA_WORKERS if device.type == "cuda" else CPU_WORKERS
    plain = PlainStep(case.config, problem, teacher, workers)
    if compiled:
        _compile(problem, plain)
    usual = turns_of(device, quick)
    try:
        seconds = QUICK_SECONDS if quick and turns is None else math.inf
        return _compared(case, (problem, state), plain, turns or usual[0], steps or usual[1], seconds)
    finally:
        plain.close()  # or its workers would live on beside the next case


def _compile(problem: Problem, plain: PlainStep) -> None:
    comparisons = problem.objective.comparisons
    compile_parts(problem.model, [want for comparison in comparisons for want in comparison.student])
    compile_parts(problem.teacher, [want for comparison in comparisons for want in comparison.teacher])
    compile_parts(plain.student, plain.mine)
    compile_parts(plain.teacher, plain.theirs)


def _compared(
    case: Case, prepared: tuple[Problem, TrainingState], plain: PlainStep, turns: int, steps: int, seconds: float
) -> dict[str, Any]:
    problem, state = prepared
    device = problem.device

    def ours() -> object:
        return train_step(problem, state)

    def mixed() -> object:
        problem.config = replace(case.config, precision="bf16")
        try:
            return train_step(problem, state)
        finally:
            problem.config = case.config

    timed: dict[str, Callable[[], object]] = {"ours": ours, "plain": plain}
    if device.type == "cpu" and has_fast_bf16(device) and case.config.precision == "fp32":
        timed["mixed"] = mixed
    for step in timed.values():  # the optimizer's state, the libraries' kernels
        step()
    plain.optimizer.zero_grad()  # between two steps nobody holds gradients: `held` knows of none
    held = held_but_data(problem, state)
    peaks = [training_peak(step, tensors, device)[1] for step, tensors in ((ours, held), (plain, plain.held_tensors()))]
    images = steps * case.config.batch_size
    # What the workers have made during our turn is used up before the clock starts.
    lead = {"plain": plain.ready}
    rates: list[dict[str, float]] = []
    started = time.monotonic()
    while len(rates) < turns and (len(rates) < QUICK_TURNS or time.monotonic() - started < seconds):
        order = list(timed.items())[:: -1 if len(rates) % 2 else 1]
        rates.append({name: images / _seconds(step, steps, device, lead.get(name, 0)) for name, step in order})

    def median(of: Callable[[dict[str, float]], float]) -> float:
        return statistics.median(map(of, rates))

    return {
        "network": case.name,
        "image_size": case.config.student.image_size,
        "batch_size": case.config.batch_size,
        "precision": case.config.precision,
        "images_per_second": median(lambda turn: turn["ours"]),
        "plain_images_per_second": median(lambda turn: turn["plain"]),
        "ratio": median(lambda turn: turn["ours"] / turn["plain"]),
        "spread": _spread([turn["ours"] / turn["plain"] for turn in rates]),
        "turns": len(rates),
        "bf16_ratio": median(lambda turn: turn["mixed"] / turn["plain"]) if "mixed" in timed else None,
        "aim": case.aim,
        "peak_bytes": peaks[0],
        "plain_peak_bytes": peaks[1],
    }


def _spread(values: list[float]) -> float:
    """Half of what the middle half of the values spans; 0 for one value."""
    if len(values) < 2:
        return 0.0
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return (high - low) / 2


def held_but_data(problem: Any, state: Any) -> list[torch.Tensor]:
    """`held_tensors` without the data set, whose size says nothing of the step."""
    data = {
        tensor.data_ptr() for split in (problem.train, problem.validation) for tensor in (split.images, split.labels)
    }
    return [tensor for tensor in held_tensors(problem, state) if tensor.data_ptr() not in data]


def _seconds(step: Callable[[], object], steps: int, device: torch.device, lead: int = 0) -> float:
    """CPU time of this process for so many steps, or wall time on a GPU, after `lead` steps that do not count."""
    for _ in range(lead):
        step()
    clock = time.process_time
    if device.type == "cuda":
        clock = time.perf_counter
        torch.cuda.synchronize(device)
    started = clock()
    for _ in range(steps):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - started


def print_row(row: dict[str, Any]) -> None:
    """One line of the table."""
    bf16, aim = (
        "–" if value is None else f"{value:.{digits}f}" for value, digits in ((row["bf16_ratio"], 2), (row["aim"], 1))
    )
    print(
        f"{row['network']:<16}{row['image_size']:>4}{row['batch_size']:>7}{row['images_per_second']:>10.2f}"
        f"{row['plain_images_per_second']:>10.2f}{row['ratio']:>8.2f}{row['spread']:>6.2f}{bf16:>7}{aim:>6}"
        f"{row['peak_bytes'] / 2**20:>11.1f}{row['plain_peak_bytes'] / 2**20:>11.1f}",
        flush=True,
    )


def summary(rows: list[dict[str, Any]]) -> str:
    """The last line, for machines."""
    values = {f"{row['network']}_ratio": f"{row['ratio']:.2f}" for row in rows}
    values |= {f"{row['network']}_bf16_ratio": f"{row['bf16_ratio']:.2f}" for row in rows if row["bf16_ratio"]}
    values |= {f"{row['network']}_peak_ratio": f"{row['plain_peak_bytes'] / row['peak_bytes']:.2f}" for row in rows}
    return "distill " + " ".join(f"{key}={value}" for key, value in values.items())


def main() -> None:
    """Print the table, and write the rows to a file when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="turns of ten seconds a row; ends within 45 s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    options = parser.parse_args()
    device = describe_device(torch.device(options.device))
    rate = "images per second" if options.device != "cpu" else "images per CPU-second"
    print(f"torch {torch.__version__}, {device}; {rate}, peak MiB of a step without the data set")
    print(
        f"{'network':<16}{'px':>4}{'batch':>7}{'ours':>10}{'plain':>10}{'ratio':>8}{'±':>6}{'bf16':>7}{'aim':>6}{'ours':>11}{'plain':>11}"
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["REDISTILL_CACHE"] = str(Path(folder) / "cache")
        for case in cases(Path(folder), options.device):
            rows.append(compare(case, options.quick))
            print_row(rows[-1])
    if options.json:
        options.json.write_text(json.dumps({"device": device, "figures": rows}, indent=1) + "\n")
    print(summary(rows))


if __name__ == "__main__":
    main()

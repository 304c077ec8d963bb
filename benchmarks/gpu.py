"""What only a GPU can tell, in one run that ends in time and keeps what it has when a part of it fails.

    python -m benchmarks.gpu [--quick] [--json FILE [--resume]] [--device cuda] [--seconds N]
                             [--accuracy FILE [--data PATH] [--runs DIR] [--until N]]

Rows, in the order of the plan: `distill`, our distillation step beside the plain one (see benchmarks/distill.py), as
usual and with a batch for a GPU, in fp32 (convolutions in TF32) and bf16; `memory`, the measured peak of a forward
pass beside the computed one; `resnet50`, training the paper's ResNet-50 student at 224 px; `sampling`, a denoising
step (see benchmarks/sampling.py), at last compiled. Pictures are noise and teachers fresh, so that no checkpoint and no
data set is needed: speed and memory depend on neither. A row that fails is noted with its error; none begins after
`--seconds`, and one that runs then has half a minute left. The JSON file is written anew after every row; with
`--resume` rows that it has already, of the same device and releases, stay as they are and take no time.

With `--accuracy` the time from then on, until `--until` seconds are over, goes into ResNet-18 and its students on
photographs at 128 px, in bf16 (the study photographs-128 of benchmarks/tradeoff.py): FILE gets a row a run, DIR the
runs, the teacher's among them. What both have is not trained again, nor what DIR has begun: the same command, given
again, goes on.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import platform
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import diffusers
import torch
import torchvision
from torch import nn

from redistill.common.devices import describe_device
from redistill.common.modules import eval_mode, weightless
from redistill.memory import capture
from redistill.memory.accounting import eager
from redistill.memory.measure import measure_peak, training_peak
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import build_network
from redistill.training.config import DistillConfig
from redistill.training.presets import MOBILENET_STRIDES, PAPER_RESNET_STRIDES
from redistill.training.step import prepare, train_step

from . import distill, sampling, tradeoff
from .helpers import tradeoff_table
from .helpers.exactness import DTYPES
from .helpers.networks import UNET, allocate, build, example, student
from .helpers.timed_rows import Row, known_rows, run_rows

BLOCK = 512  # bytes; the CUDA allocator rounds every buffer up to a multiple
SHARED = Path("/dev/shm")  # where a DataLoader's workers put their batches
GPU_BATCH, GPU_WORKERS = 128, 8
IMAGES_A_CLASS = 400  # an epoch has 25 batches of 128 then: where one ends the plain step waits for its workers

NETWORKS = (
    "resnet18",
    "resnet50",
    "mobilenet_v2",
    "efficientnet_b0",
    "vgg16",
    "densenet121",
    "vit_b_16",
    UNET,
)
STUDENTS = {"resnet50": PAPER_RESNET_STRIDES, "mobilenet_v2": MOBILENET_STRIDES}  # with RED blocks
SETTINGS = ((1, "fp32"), (8, "fp32"), (8, "bf16"))  # batch and number format

# Steps of a run of the ResNet-50: those that load kernels or compile, then those that count.
WARM_UP, STEPS, BATCH, SIDE = 5, 200, 64, 224


def plan(folder: Path, device: torch.device, quick: bool) -> list[Row]:
    """All rows, the most valuable first. What they share is made in `folder` when the first of them needs it."""
    made = functools.cache(
        lambda: {
            case.name: case for case in distill.cases(folder, str(device), 24 if quick else IMAGES_A_CLASS, ships=False)
        }
    )
    images = functools.cache(lambda: distill.random_pictures(folder / "resnet50-pictures", side, 24 if quick else 64))
    side = 64 if quick else SIDE

    def step(name: str, precision: str, batch: int | None = None, compiled: bool = False) -> Row:
        title = f"{name} {precision}" + (f" batch {batch}" if batch else "") + (", compiled" if compiled else "")
        return Row("distill", title, lambda: _step(made()[name], precision, batch, device, quick, compiled))

    def trained(title: str, precision: str, compiled: bool = False, **settings: Any) -> Row:
        def run() -> dict[str, Any]:
            config = resnet50(images(), side, folder / "resnet50", device, precision, **settings)
            return _train(config, 1 if quick else STEPS, compiled)

        return Row("resnet50", f"{title} {precision}" + (", compiled" if compiled else ""), run)

    def drawn(compiled: bool) -> Row:
        name, size = ("unet_small", (2, 1, 1)) if quick else ("unet_paper", (64, 10, 3))
        title = name + (", compiled" if compiled else "")
        return Row("sampling", title, lambda: sampling.compare(name, *size, device, compiled))

    names = ("mobilenet_v2", "ddpm_unet", "narrow_resnet")
    memory = _quick_memory(device) if quick else _memory(device)
    if quick:
        return [step("narrow_resnet", "bf16", 8), *memory, trained("RED", "bf16"), drawn(compiled=False)]
    return [
        *(step(name, "fp32") for name in names),
        *memory,
        step(names[0], "bf16", GPU_BATCH),
        trained("RED", "bf16"),
        trained("undistilled", "bf16", distilled=False, red=None),
        trained("teacher", "bf16", distilled=False, red=None, strides={}),
        trained("RED and KD", "bf16", kd_weight=0.2),
        drawn(compiled=False),
        step("narrow_resnet", "bf16"),
        trained("undistilled", "bf16", compiled=True, distilled=False, red=None),
        drawn(compiled=True),
        step(names[1], "bf16", GPU_BATCH),
        *(step(name, "fp32", GPU_BATCH) for name in names[:2]),
        *(step(name, "bf16") for name in names[:2]),
        trained("RED", "fp32"),
        *(step(name, "bf16", compiled=True) for name in (names[2], names[1])),
    ]


def _step(
    case: distill.Case, precision: str, batch: int | None, device: torch.device, quick: bool, compiled: bool
) -> dict[str, Any]:
    """`distill.compare` at another precision and batch, with as many workers as shared memory has room for."""
    config = replace(case.config, precision=precision, batch_size=batch or case.config.batch_size)
    workers = None
    if device.type == "cuda":
        bytes_a_batch = config.batch_size * 3 * config.student.image_size**2 * 4
        room = shutil.disk_usage(SHARED).free // (4 * bytes_a_batch)  # two ready, one at work, one to spare
        workers = min(GPU_WORKERS if batch else distill.CUDA_WORKERS, room)
    turns, steps = (1, 1) if quick else (3, 30 if config.batch_size > 100 else 60)
    row = distill.compare(replace(case, config=config), quick, workers, turns, steps, compiled)
    return row | {"workers": workers, "turns": turns, "steps": steps}


def _quick_memory(device: torch.device) -> list[Row]:
    names = ("resnet18", UNET)
    return [Row("memory", name, lambda name=name: [memory_row(name, None, 1, "fp32", device, 64)]) for name in names]


def _memory(device: torch.device) -> list[Row]:
    def row(name: str, strides: dict[str, int] | None) -> Row:
        def run() -> list[dict[str, Any]]:
            return [memory_row(name, strides, batch, dtype, device) for batch, dtype in SETTINGS]

        return Row("memory", name if strides is None else f"{name} with RED", run)

    return [
        *(row(name, None) for name in NETWORKS),
        Row("memory", "narrow_resnet", lambda: [memory_row("narrow_resnet", None, *s, device, 64) for s in SETTINGS]),
        *(row(name, dict(strides)) for name, strides in STUDENTS.items()),
    ]


def memory_row(
    name: str, strides: dict[str, int] | None, batch: int, dtype: str, device: torch.device, image_size: int = 224
) -> dict[str, Any]:
    """Peak of one forward pass, measured and computed (eager), in bytes; with `strides`, of the student with RED.

    Measured is what the allocator had given out, and `requested_bytes` (CUDA) what it was asked for, before rounding;
    both hold the workspaces of the libraries' kernels, which the computed figure leaves out.
    `computed_rounded_bytes` has every buffer rounded up as the CUDA allocator rounds.
    """
    size = 32 if name == UNET else image_size

    def network() -> nn.Module:
        if name == "narrow_resnet":
            with weightless():
                return build_network(name)
        return build(name, size) if strides is None else student(name, strides, size, REDConfig())

    computed = capture(network(), (batch, 3, size, size)).profile(dtype=dtype, accounting="eager")
    sizes = [math.ceil(count / BLOCK) * BLOCK for count in computed._timeline.sizes]
    model = allocate(network(), DTYPES[dtype]).to(device)
    arguments = tuple(
        value.to(device) if isinstance(value, torch.Tensor) else value
        for value in example(name, size, batch, DTYPES[dtype])
    )
    measured = measure_peak(model, arguments)
    held = arguments[0].untyped_storage().nbytes()
    with torch.no_grad(), eval_mode(model):
        requested = held + _requested_rise(model, arguments, device) if device.type == "cuda" else None
    return {
        "network": name,
        "strides": strides,
        "image_size": size,
        "batch_size": batch,
        "dtype": dtype,
        "measured_bytes": measured,
        "requested_bytes": requested,
        "computed_bytes": computed.peak_bytes,
        "computed_rounded_bytes": max(eager(computed._program, computed._shapes, sizes).live),
        "difference_bytes": measured - computed.peak_bytes,
        "difference_percent": 100 * (measured - computed.peak_bytes) / computed.peak_bytes,
    }


def _requested_rise(model: nn.Module, arguments: tuple, device: torch.device) -> int:
    """`measure._cuda_rise` in bytes as they were asked for, before the allocator rounds."""
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_stats(device)["requested_bytes.all.current"]
    model(*arguments)
    torch.cuda.synchronize(device)
    return torch.cuda.memory_stats(device)["requested_bytes.all.peak"] - before


def resnet50(
    pictures: Path,
    side: int,
    folder: Path,
    device: torch.device,
    precision: str,
    distilled: bool = True,
    strides: Any = PAPER_RESNET_STRIDES,
    red: REDConfig | None = REDConfig(),  # noqa: B008 - frozen
    kd_weight: float = 0.0,
) -> DistillConfig:
    """A run of the paper's ResNet-50 student on random pictures; `folder` is for the teacher of all."""
    network = StudentConfig("resnet50", side, distill.CLASSES, strides=strides, red=red)
    lesson: dict[str, Any] = {"red_weight": 0.0}
    if distilled:
        teacher = folder if folder.exists() else distill.fresh_teacher(network, folder)
        lesson = {"teacher_checkpoint": str(teacher), "init": "teacher", "kd_weight": kd_weight}
    return DistillConfig(
        student=network,
        dataset=f"folder:{pictures}",
        device=str(device),
        precision=precision,
        batch_size=BATCH if device.type == "cuda" else 2,
        optimizer="sgd",
        learning_rate=1e-3,
        schedule="constant",
        **lesson,
    )


def _train(config: DistillConfig, steps: int, compiled: bool) -> dict[str, Any]:
    """Images per second of wall time over so many steps, and the peak of one in bytes, without the data set."""
    problem, state = prepare(config)
    if compiled:
        problem.model = torch.compile(problem.model)
    device = problem.device

    def step() -> object:
        return train_step(problem, state)

    started = time.perf_counter()
    for _ in range(WARM_UP if device.type == "cuda" else 1):
        step()
    warm_up = time.perf_counter() - started
    peak = training_peak(step, distill.held_but_data(problem, state), device)[1]
    started = time.perf_counter()
    for _ in range(steps):
        step()  # ends with the loss on the CPU, so that it waits for the GPU
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - started
    return {
        "image_size": config.student.image_size,
        "batch_size": config.batch_size,
        "precision": config.precision,
        "steps": steps,
        "images_per_second": steps * config.batch_size / seconds,
        "warm_up_seconds": warm_up,
        "peak_bytes": peak,
    }


def summary(rows: list[dict[str, Any]]) -> str:
    """The last line, for machines."""
    values = {}
    for row in rows:
        key = row["row"].replace(",", "").replace(" ", "_")
        if row["table"] == "distill" and "ratio" in row:
            values[f"{key}_ratio"] = f"{row['ratio']:.2f}"
        elif row["table"] == "resnet50" and "images_per_second" in row:
            values[f"resnet50_{key}_images_per_second"] = f"{row['images_per_second']:.0f}"
        elif row["table"] == "sampling" and row.get("who") in sampling_headline(key):
            values[f"{key}_{row['who'].replace(',', '').replace(' + ', '_').replace(' ', '_')}"] = f"{row['ratio']:.3f}"
    memory = [row for row in rows if row["table"] == "memory" and "difference_percent" in row]
    if memory:
        differences = [row["difference_percent"] for row in memory]
        values["memory_difference_percent"] = f"{min(differences):.2f}..{max(differences):.2f}"
    values["failed"] = str(sum("error" in row for row in rows))
    values["skipped"] = str(sum("skipped" in row for row in rows))
    return "gpu " + " ".join(f"{key}={value}" for key, value in values.items())


def sampling_headline(row: str) -> tuple[str, ...]:
    """Who of a sampling row is named in the last line."""
    return ("student, compiled", "student + RED, compiled") if "compiled" in row else ("student", "student + RED")


def surroundings(device: torch.device) -> dict[str, Any]:
    """What the figures were made on."""
    found: dict[str, Any] = {
        "device": describe_device(device),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "diffusers": diffusers.__version__,
        "python": platform.python_version(),
        "cpus": len(os.sched_getaffinity(0)),
        "shared_memory_bytes": shutil.disk_usage(SHARED).total,
    }
    if device.type == "cuda":
        found |= {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    return found


def main() -> None:
    """Print a line a row, and write the rows to a file when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rows, at small sizes; ends within 45 s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    parser.add_argument("--resume", action="store_true", help="keep the rows that the file has of the same device")
    parser.add_argument("--device", default="cuda", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=240, help="no row begins after them (default: %(default)s)")
    parser.add_argument("--accuracy", type=Path, metavar="FILE", help="train students afterwards; their rows go there")
    pictures = Path("../shared/data") / tradeoff.STUDIES[tradeoff.PHOTOGRAPHS_128].data
    parser.add_argument("--data", type=Path, default=pictures, help="their pictures (default: %(default)s)")
    parser.add_argument("--runs", type=Path, default=Path("runs/tradeoff-128"), help="folder of their runs")
    parser.add_argument("--until", type=float, default=520, help="when they stop, in seconds (default: %(default)s)")
    options = parser.parse_args()
    started = time.monotonic()
    try:
        if options.accuracy:
            tradeoff.check_data(options.data)  # now, or one would learn of it when all else is done
        print(summary(timed(options)))
        if options.accuracy:
            print_accuracy(options, started + options.until)
    except ValueError as error:
        parser.error(str(error))


def timed(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All rows of the plan, written to a file when asked to."""
    diffusers.utils.logging.set_verbosity_error()  # its pipelines warn at every move of a network
    device = torch.device(options.device)
    said = surroundings(device)
    print(", ".join(f"{key} {value}" for key, value in said.items()))

    def save(rows: list[dict[str, Any]]) -> None:
        if options.json:
            options.json.write_text(json.dumps(said | {"figures": rows}, indent=1) + "\n")

    known = known_rows(options.json, said) if options.json and options.resume else []
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        mock.patch.dict(os.environ, REDISTILL_CACHE=str(Path(folder) / "cache")),
    ):
        return run_rows(plan(Path(folder), device, options.quick), options.seconds, save, known)


def print_accuracy(options: argparse.Namespace, deadline: float) -> None:
    """Train students at 128 px until `deadline`, a time of `time.monotonic`, and print their table."""
    table = tradeoff.trained(
        tradeoff.PHOTOGRAPHS_128,
        (0, 1, 2),
        tradeoff.METHODS,
        runs=options.runs,
        data=options.data,
        file=options.accuracy,
        deadline=deadline,
        quick=options.quick,
        device=options.device,
        precision="bf16",
    )
    print(tradeoff_table.render(table))
    print(tradeoff_table.summary(table))


if __name__ == "__main__":
    main()

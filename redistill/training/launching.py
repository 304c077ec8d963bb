"""A run on several GPUs or machines, as text to paste: lines of `accelerate launch`, or a file for Slurm's `sbatch`.

Both hold the settings themselves, so that the run is exactly the one that was chosen; several processes train it as
`parallel` does. Nothing is started here.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path, PurePath

from ..checkpoint.sources import ON_HUB, list_shipped
from ..common.hub import is_hub_id
from ..common.values import is_whole
from ..networks.names import is_own
from ..networks.zoo import DDPM, is_pretrained
from .config import DistillConfig

MOST_GPUS = 64  # of a machine
MOST_MACHINES = 1024
MOST_HOURS = 24 * 30
PORT = 29500  # at which the first machine is found, torch's own
END = "END_OF_SETTINGS"  # of the settings in a script; they are one line of JSON, which is never this


def launch_lines(runs: Mapping[str, DistillConfig], gpus: int, machines: int = 1) -> str:
    """Lines for the shell that train `runs`, by their folders, one by one on `gpus` GPUs of each of `machines`.

    The same lines go on with a run that was stopped. On several machines they stand on each, with its own RANK and the
    address of the first; the runs' folders are shared. Raises ValueError for counts out of range and for a batch that
    they cannot share evenly.
    """
    runs = _spread(runs, gpus, machines)
    lines = [_settings(config, folder) for folder, config in runs.items()]
    lines += [_call(folder, gpus, machines, rank='"$RANK"', main='"$MAIN"') for folder in runs]
    if machines > 1:
        told = [
            f"# On each of the {machines} machines, which share this folder:",
            "RANK=0          # of this machine: 0 on the first, then 1, 2, ...",
            "MAIN=127.0.0.1  # address of the first",
        ]
        lines = [*told, *lines]
    return "\n".join([*lines, ""])


def sbatch_file(runs: Mapping[str, DistillConfig], gpus: int, machines: int = 1, hours: int = 24) -> str:
    """The same as a file for `sbatch`, which takes `hours` at most; submitted once more, it goes on with the runs."""
    runs = _spread(runs, gpus, machines)
    _check("hours", hours, MOST_HOURS)
    name = re.sub(r"[^\w.-]+", "-", PurePath(next(iter(runs))).name)[:60] or "run"
    calls = (_call(folder, gpus, machines, rank="$SLURM_NODEID", main="$MAIN") for folder in runs)
    return "\n".join(
        [
            "#!/bin/bash",
            f"#SBATCH --job-name={name}",
            f"#SBATCH --nodes={machines}",
            "#SBATCH --ntasks-per-node=1",
            f"#SBATCH --gpus-per-node={gpus}",
            f"#SBATCH --cpus-per-task={4 * gpus}",
            f"#SBATCH --time={hours}:00:00",
            "#SBATCH --output=%x-%j.log",
            "set -e",
            *(_settings(config, folder) for folder, config in runs.items()),
            'export MAIN=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)',
            *(f"srun bash -c {shlex.quote(call)}" for call in calls),
            "",
        ]
    )


def stays_here(config: DistillConfig, trained: Collection[str] = ()) -> str:
    """Why another machine cannot train a run as it is, in a sentence; empty where it can.

    trained: teachers, as `teacher_checkpoint` calls them, that are trained there before it.
    """
    kind, _, rest = config.dataset.partition(":")
    if kind in ("folder", "upload"):
        return f"Its pictures, {kind}:{PurePath(rest).name}, lie on this machine; push them to the Hub, as a data set."
    student, teacher = config.student, config.teacher_checkpoint
    if any(is_own(name) for name in (student.teacher, student.architecture) if name):
        return "Its network is a file of this machine; copy the file there, and start the run in its shell."
    if teacher is None or teacher in trained or is_pretrained(teacher) or teacher.startswith(ON_HUB):
        return ""
    name = teacher.removeprefix(DDPM)
    if name in list_shipped() or (teacher != name and is_hub_id(name) and not Path(name).is_dir()):
        return ""
    return "Its teacher lies in a folder of this machine; choose one that ships, or one on the Hub."


def _spread(runs: Mapping[str, DistillConfig], gpus: int, machines: int) -> dict[str, DistillConfig]:
    """The same runs on GPUs, where each process takes an equal share of a batch."""
    _check("gpus", gpus, MOST_GPUS)
    _check("machines", machines, MOST_MACHINES)
    count = gpus * machines
    for config in runs.values():
        if config.batch_size % count:
            raise ValueError(
                f"batch_size is {config.batch_size}, which {count} GPUs cannot share evenly; "
                f"expected a multiple of {count}."
            )
    return {folder: dataclasses.replace(config, device="cuda") for folder, config in runs.items()}


def _check(name: str, value: object, most: int) -> None:
    if not is_whole(value, 1, most):
        raise ValueError(f"{name} is {value!r}; expected a whole number from 1 to {most:,}.")


def _settings(config: DistillConfig, run_dir: str) -> str:
    """Lines that write the settings beside the run's folder."""
    file = shlex.quote(f"{run_dir}.json")
    folder = shlex.quote(str(PurePath(run_dir).parent))
    return f"mkdir -p {folder}\ncat > {file} <<'{END}'\n{json.dumps(config.to_dict())}\n{END}"


def _call(folder: str, gpus: int, machines: int, rank: str, main: str) -> str:
    options = [("--num_machines", machines)]
    if machines > 1:
        options += [("--machine_rank", rank), ("--main_process_ip", main), ("--main_process_port", PORT)]
    given = " ".join(f"{name} {value}" for name, value in options)
    return f"{accelerate(gpus * machines)} {given} {training(folder)}"


def accelerate(processes: int) -> str:
    """The start of a line that lets accelerate start so many processes, each with a GPU; its other options and
    `training` follow."""
    several = "--multi_gpu " if processes > 1 else ""
    # Precision and compilation are settings of the run.
    return f"accelerate launch {several}--num_processes {processes} --mixed_precision no --dynamo_backend no"


def training(folder: str) -> str:
    """The end of a line, after `python` or `accelerate`, that trains the run whose settings lie beside its folder."""
    return f"-m redistill distill --config {shlex.quote(f'{folder}.json')} --run-dir {shlex.quote(folder)}"

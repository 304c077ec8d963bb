"""Commands of runs on machines bigger than this one: launch, jobs."""

from __future__ import annotations

import argparse

from ..training.launching import launch_lines, sbatch_file
from .options import AddCommand, add_option, run_config
from .runs import add_run_options, run_folder


def add_commands(add: AddCommand) -> None:
    """Those of this module."""
    told = "print a run as lines for several GPUs or machines (accelerate launch), or as a file for sbatch"
    launching = add("launch", _launch, told)
    add_run_options(launching, "default")
    add_option(launching, "--gpus", 1, "of each machine", type=int, metavar="COUNT")
    add_option(launching, "--machines", 1, "that train together", type=int, metavar="COUNT")
    launching.add_argument("--sbatch", action="store_true", help="a file for Slurm's sbatch instead of lines")
    add_option(launching, "--hours", 24, "that sbatch asks for", type=int, metavar="COUNT")


def _launch(options: argparse.Namespace) -> None:
    config = run_config(options)
    runs = {str(run_folder(options, config)): config}
    if options.sbatch:
        print(sbatch_file(runs, options.gpus, options.machines, options.hours), end="")
    else:
        print(launch_lines(runs, options.gpus, options.machines), end="")

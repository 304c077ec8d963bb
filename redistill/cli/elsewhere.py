"""Commands of runs on machines bigger than this one: launch, jobs."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Callable
from pathlib import Path

from ..training import hub_jobs
from ..training.estimation import estimate
from ..training.launching import launch_lines, sbatch_file
from ..training.run_state import read_state
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

    told = "train on Hugging Face Jobs, which the account of your token pays by the minute"
    commands = add("jobs", _hardware, told).add_subparsers(metavar="hardware|start|look|stop")

    def add_job(name: str, run: Callable[[argparse.Namespace], None], told: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=told, description=told)
        command.set_defaults(run=run)
        return command

    add_job("hardware", _hardware, "what there is, with prices an hour")
    starting = add_job("start", _start, "start a run, or go on with it; its price is estimated and asked about first")
    add_run_options(starting, "default")
    starting.add_argument(
        "--on", required=True, metavar="HARDWARE", help="its name, as `redistill jobs hardware` lists"
    )
    told = "owner/name of a Space with this project (docs/SPACE.md), whose image it runs in"
    starting.add_argument("--space", required=True, metavar="OWNER/NAME", help=told)
    starting.add_argument("--yes", action="store_true", help="start it whatever it costs, without asking")
    for name, run, told in (
        ("look", _look, "how a run is, and fetch what it has written"),
        ("stop", _stop, "end the job of a run; `start` goes on from what it saved last"),
    ):
        add_job(name, run, told).add_argument("folder", type=Path, help="folder of the run")


def _launch(options: argparse.Namespace) -> None:
    config = run_config(options)
    runs = {str(run_folder(options, config)): config}
    if options.sbatch:
        print(sbatch_file(runs, options.gpus, options.machines, options.hours), end="")
    else:
        print(launch_lines(runs, options.gpus, options.machines), end="")


def _hardware(options: argparse.Namespace) -> None:
    for one in hub_jobs.list_hardware():
        print(f"{one.name:18} {one.title:28} {one.memory:>8} {f'${one.dollars_an_hour:,.2f}':>8} an hour")


def _start(options: argparse.Namespace) -> None:
    config = run_config(options)
    found = {one.name: one for one in hub_jobs.list_hardware()}
    if options.on not in found:
        raise ValueError(f"Hardware is {options.on!r}; expected one of {list(found)}.")
    if hub_jobs.stays_here(config):
        raise ValueError(hub_jobs.stays_here(config))
    seconds = estimate(config).seconds
    print(hub_jobs.said_price(found[options.on], seconds))
    if not options.yes:
        if not sys.stdin.isatty():
            raise ValueError("Nobody is here to ask; give --yes to start it.")
        if input("Start it? [y/N] ").strip().lower() not in ("y", "yes"):
            return
    folder = run_folder(options, config)
    before = hub_jobs.read_job(folder)
    if before and before.is_going:
        raise ValueError(f"Job {before.id} trains {folder}; look at it, or stop it.")
    name = before.run if before else f"{folder.name}-{secrets.token_hex(4)}"  # the bucket is the account's alone
    job = hub_jobs.start_job(config, name, found[options.on], options.space, hub_jobs.most_seconds(seconds))
    hub_jobs.keep_job(folder, config, job)
    print(f"Job {job.id} trains {folder}; `redistill jobs look {folder}` tells how it is.")


def _look(options: argparse.Namespace) -> None:
    job = hub_jobs.look(options.folder)
    said = read_state(options.folder, is_alive=job.is_going)
    print(f"Job {job.id} on {job.hardware.name}: {job.stage.lower()} {job.message}".rstrip())
    print(f"Step {said.step:,} of {said.steps:,}." if said.step else "It has not begun to train.")
    if said.state == "finished":
        print(f"Finished: {options.folder / hub_jobs.STUDENT} holds the checkpoint.")
    elif not job.is_going:
        print("\n".join(hub_jobs.last_lines(options.folder)))


def _stop(options: argparse.Namespace) -> None:
    print(f"Job {hub_jobs.cancel(options.folder).id} is canceled; what it saved last stays in its bucket.")

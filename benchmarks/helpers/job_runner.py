"""Runs shared out to processes that live as long as a benchmark does, each row written as soon as there is one."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
import warnings
from collections import defaultdict
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from redistill.checkpoint.metadata import read_metadata
from redistill.data.datasets import load_split
from redistill.training.config import DistillConfig
from redistill.training.loop import distill

from .tradeoff_table import TEACHER, Job, Table

STOPPING = 10.0  # seconds that runs get to save their state when the time is over


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
    torch.set_num_threads(1 if is_gpu else max(1, min(torch.get_num_threads(), (os.cpu_count() or 1) // count)))
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
    teacher = next((job for job in table.jobs if job.part == TEACHER), None)  # None: it is there already
    waiting = [job for job in table.jobs if job is not teacher and not table.is_done(job)]
    has_teacher = teacher is None or (table.is_done(teacher) and (runs / teacher.name / "student").exists())
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

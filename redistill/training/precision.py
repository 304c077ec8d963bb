"""Which numbers a run computes in where its settings leave that to the machine ("auto").

Chosen once, before the first step, by a look at the processor and a trial of a few forward and backward passes; kept
in the resume point, so that a run goes on in the numbers in which it began, and told in its figures. Only training is
ever mixed: whatever is judged, counted or drawn is computed in fp32.
"""

from __future__ import annotations

import dataclasses
import statistics
import time

import torch

from ..common.devices import has_fast_bf16, synchronize
from .task import Problem, Task

AUTO, FULL, MIXED = "auto", "fp32", "bf16"
FASTER = 0.9  # the share of the time that bf16 may take to be worth its rounding
TURNS = 2  # of each, after one that chooses kernels
WORTH_A_TRIAL = 100  # steps; a shorter run would spend more on the trial than it gains


def choose(problem: Problem, task: Task) -> str:
    """The numbers that this run trains in: "fp32" or "bf16", its own setting or, for "auto", what is faster here.

    Takes as long as six passes of a batch through the networks and back, where there is a choice; batch-norm
    statistics and gradients are as before then. Several processes, which have to choose alike, go by the look alone.
    """
    config = problem.config
    if config.precision != AUTO:
        return config.precision
    if not has_fast_bf16(problem.device) or config.steps < WORTH_A_TRIAL:
        return FULL
    if problem.processes.count > 1:
        return MIXED
    seconds = trial(problem, task)
    return MIXED if seconds[MIXED] < FASTER * seconds[FULL] else FULL


def trial(problem: Problem, task: Task, turns: int = TURNS) -> dict[str, float]:
    """Median CPU seconds (on a GPU: seconds) of one batch through the networks and back, by precision, in turns."""
    config, trained = problem.config, [module for module in problem.networks if module is not problem.teacher]
    kept = [(buffer, buffer.clone()) for module in trained for buffer in module.buffers()]
    times: dict[str, list[float]] = {FULL: [], MIXED: []}
    try:
        for module in trained:
            module.train()
        for _ in range(1 + turns):
            for precision, seconds in times.items():
                problem.config = dataclasses.replace(config, precision=precision)
                seconds.append(_pass_seconds(problem, task))
    finally:
        problem.config = config
        for module in trained:
            module.zero_grad(set_to_none=True)
        for buffer, before in kept:
            buffer.copy_(before)
    return {precision: statistics.median(seconds[1:]) for precision, seconds in times.items()}


def _pass_seconds(problem: Problem, task: Task) -> float:
    # Other processes take wall time from this one, not CPU time.
    clock = time.perf_counter if problem.device.type == "cuda" else time.process_time
    generator = torch.Generator(problem.device).manual_seed(0)
    synchronize(problem.device)
    started = clock()
    parts = task.losses(problem, 0, generator)
    sum(problem.config.weights[name] * value for name, value in parts.items()).backward()
    synchronize(problem.device)
    return clock() - started

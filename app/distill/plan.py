"""What a press of Start starts: a run for each seed, where it is asked for after one that trains their teacher."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redistill.common.values import LARGEST_SEED, is_whole
from redistill.training.config import DistillConfig

from ..runs import jobs, processes, run_list
from ..words.settings import run_title
from . import run_form
from .run_form import Refused

MOST_SEEDS = 10


@dataclass(frozen=True)
class Plan:
    """Runs to start, in this order."""

    students: tuple[DistillConfig, ...]  # one a seed; of a planned teacher they name `run_form.PLANNED`
    teacher: DistillConfig | None = None  # of the run before them, whose network teaches them

    @property
    def all(self) -> tuple[DistillConfig, ...]:
        """All of them."""
        return (*([self.teacher] if self.teacher else []), *self.students)


def read_plan(student: Any, given: Mapping[str, Any]) -> Plan:
    """What the form is set to; ValueError, mostly a `Refused`, for what does not fit."""
    config, seeds = run_form.read(student, given), given.get("seeds")
    if not is_whole(seeds, 1, MOST_SEEDS):
        said = "empty" if seeds is None else repr(seeds)
        raise Refused(f"“Runs, a seed each” is {said}; expected a whole number from 1 to {MOST_SEEDS}.", "seeds")
    if config.seed + seeds - 1 > LARGEST_SEED:
        raise Refused(f"{seeds} seeds from {config.seed} on end above {LARGEST_SEED}; start lower.", "seed")
    students = tuple(dataclasses.replace(config, seed=config.seed + place) for place in range(seeds))
    if config.teacher_checkpoint != run_form.PLANNED:
        return Plan(students)
    steps = given.get("teacher_steps")
    if steps is None:
        raise Refused("“Steps of its training” is empty; expected a whole number of at least 1.", "teacher_steps")
    return Plan(students, run_form.teacher_of(config, steps))


def start(plan: Plan) -> list[jobs.Run]:
    """Start or queue all runs of a plan, or none of them: ValueError then."""
    started: list[jobs.Run] = []
    try:
        if plan.teacher:
            started.append(jobs.start(plan.teacher.to_dict(), run_title(plan.teacher)))
        for config in plan.students:
            after = started[0] if plan.teacher else None
            if after:
                config = taught_by(config, str(after.path / "student"))
            started.append(jobs.start(config.to_dict(), run_title(config), after.name if after else None))
    except ValueError:
        for run in reversed(started):
            if run_list.read_run(run.name).state in jobs.ALIVE:
                jobs.stop(run.name)
            jobs.delete(run.name)
        raise
    return started


def taught_by(config: DistillConfig, teacher: str) -> DistillConfig:
    """A run of a planned teacher, whose network is then in this folder."""
    return dataclasses.replace(config, teacher_checkpoint=teacher)


def find_same(plan: Plan) -> list[jobs.Run]:
    """Runs of before with the settings of one that is planned, the newest first; they would give the same."""
    wanted = [json.loads(json.dumps(config.to_dict())) for config in plan.all]
    return [run for run in run_list.list_runs() if dict(run.config) in wanted and run.state != "failed"]


def ahead_of(started: Sequence[jobs.Run]) -> list[jobs.Run]:
    """The runs, of anybody, that have to end before the first of those that were started goes; for a lent GPU
    ZeroGPU has a line of its own."""
    first = started[0]
    if first.is_lent:
        return []
    device, own = processes.device_of(first.config), {run.name for run in started}
    others = [
        run
        for run in run_list.everybodys()
        if run.name not in own and run.goes_here and processes.device_of(run.config) == device
    ]
    return others if len(others) >= processes.slots_of(device) else []

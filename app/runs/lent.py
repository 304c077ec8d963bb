"""Runs on a GPU that is lent for the seconds of a call, as on ZeroGPU: each call takes a run a stretch further.

The run folder is the state between calls, so a run in stretches gives the weights of one that was never stopped. How
far a stretch goes is what fits in its seconds by the run's own pace, which an estimate begins and each call measures
anew. Whoever drives the calls (`go_on`) holds the run's process lock meanwhile. No gradio.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redistill.common.files import read_json, write_json
from redistill.data.datasets import load_split
from redistill.training.config import DistillConfig
from redistill.training.estimation import estimate
from redistill.training.loop import distill
from redistill.training.run import CONFIG, STATUS, STOP_FILE
from redistill.training.run_state import read_or_empty
from redistill.training.step import task_of

from ..visitors.lending import lent
from ..visitors.place import is_zero_gpu
from .processes import process_lock
from .worker import note

CALL_SECONDS = 60.0  # that a call asks for at most: a visitor who has not signed in has 120 a day
SPARE_SECONDS = 4.0  # of a call, for saving at its end
HALT = "halt"  # a file in the run folder: no further stretch; unlike STOP_FILE, a stretch that begins leaves it
PACE = "pace.json"
LENT = "lent"  # phase of the run's process


@dataclass(frozen=True)
class Pace:
    """Seconds that parts of a run take, and what it has had so far."""

    start: float  # of a call, before its first step: pictures and networks
    step: float
    validation: float
    test: float
    used: float = 0.0  # of the GPU, by all calls
    calls: int = 0

    def left(self, config: DistillConfig, step: int) -> float:
        """Seconds of work from a step to the end of the run."""
        validations = math.ceil(config.steps / config.validate_every) - step // config.validate_every
        return (config.steps - step) * self.step + validations * self.validation + self.test

    def calls_left(self, config: DistillConfig, step: int) -> int:
        """How many calls that takes. ValueError where the longest part of the run does not fit in one."""
        room = CALL_SECONDS - SPARE_SECONDS - self.start
        longest = max(self.step, self.validation, self.test)
        if longest > room:
            raise ValueError(
                f"A call of the GPU has {CALL_SECONDS:.0f} s, of which {self.start:.0f} go for its start, and one part "
                f"of this run takes {longest:.0f} s; take a smaller network, smaller images or fewer pictures."
            )
        return max(1, math.ceil(self.left(config, step) / room))

    def call_seconds(self, config: DistillConfig, step: int) -> int:
        """What the next call asks for: no more than the run still needs."""
        return math.ceil(min(CALL_SECONDS, self.start + self.left(config, step) + SPARE_SECONDS))


def is_lent(config: Mapping[str, Any]) -> bool:
    """Whether a run with these settings has its GPU by the call."""
    return is_zero_gpu() and str(config.get("device", "cpu")).startswith("cuda")


def read_pace(run_dir: Path) -> Pace | None:
    """The pace of a run; None before it was estimated."""
    try:
        return Pace(**read_or_empty(run_dir / PACE))
    except TypeError:
        return None


def _seconds_to_estimate(config: Mapping[str, Any]) -> int:
    return round(CALL_SECONDS)


@lent(_seconds_to_estimate)
def measure(config: Mapping[str, Any]) -> dict[str, Any]:
    """The estimate of a run, `Estimate.to_dict` and its `pace`, or a `refusal` in one sentence: one call of the GPU."""
    started = time.monotonic()
    try:
        found = estimate(DistillConfig.from_dict(config))
    except ValueError as error:  # which would reach the page by the name of its class alone
        return {"refusal": str(error)}
    took = time.monotonic() - started
    start = max(1.0, took - 5 * found.step_seconds - found.validation_seconds)
    pace = Pace(start, found.step_seconds, found.validation_seconds, found.test_seconds, used=took, calls=1)
    return found.to_dict() | {"pace": dataclasses.asdict(pace)}


def _seconds_of_stretch(run_dir: str) -> int:
    path = Path(run_dir)
    config = DistillConfig.from_dict(read_json(path / CONFIG))
    step = read_or_empty(path / STATUS).get("step", 0)
    return _pace(path).call_seconds(config, step if isinstance(step, int) else 0)


@lent(_seconds_of_stretch)
def take_stretch(run_dir: str) -> dict[str, Any]:
    """Take a run as far as fits in the seconds of this call; at least one record further. Its `step`, and a `refusal`
    where it failed."""
    path, seconds = Path(run_dir), _seconds_of_stretch(run_dir)
    clock = _Clock(seconds - SPARE_SECONDS, _pace(path))
    config = DistillConfig.from_dict(read_json(path / CONFIG))
    step, refusal = 0, ""
    try:
        with contextlib.closing(distill(config, path)) as records:
            for record in records:
                step = record["step"]
                clock.note(record)
                if record["kind"] != "final" and ((path / HALT).exists() or not clock.fits(_next_kind(config, record))):
                    break
    except (ValueError, OSError) as error:
        refusal = str(error)
    write_json(path / PACE, dataclasses.asdict(clock.pace()))
    return {"step": step, "refusal": refusal}


def _next_kind(config: DistillConfig, record: Mapping[str, Any]) -> str:
    """What `distill` does after a record: it validates after a step where that is due, and tests at the end."""
    if record["kind"] == "validation":
        return "final" if record["step"] == config.steps else "step"
    due = record["step"] % config.validate_every == 0 or record["step"] == config.steps
    return "validation" if due else "step"


class _Clock:
    """What the parts of a run take in one call, and whether the next one fits."""

    def __init__(self, seconds: float, pace: Pace) -> None:
        self.began = self.last = time.monotonic()
        self.seconds, self.before, self.records = seconds, pace, 0
        self.took = {"step": pace.step, "validation": pace.validation, "final": pace.test}
        self.start = pace.start

    def note(self, record: Mapping[str, Any]) -> None:
        now = time.monotonic()
        if self.records:  # the first one also has the start in it
            self.took[record["kind"]] = 0.5 * (self.took[record["kind"]] + now - self.last)
        else:
            self.start = now - self.began
        self.last, self.records = now, self.records + 1

    def fits(self, kind: str) -> bool:
        return time.monotonic() - self.began + 1.2 * self.took[kind] <= self.seconds

    def pace(self) -> Pace:
        used = self.before.used + time.monotonic() - self.began
        return Pace(self.start, *self.took.values(), used=used, calls=self.before.calls + 1)


def _pace(path: Path) -> Pace:
    return read_pace(path) or Pace(10.0, 0.1, 5.0, 10.0)  # of a run that nobody estimated: its first call does


@contextlib.contextmanager
def held(run_dir: Path) -> Iterator[None]:
    """A block in which the run counts as going, though no process of its own does it."""
    (run_dir / HALT).unlink(missing_ok=True)
    with process_lock(run_dir) as lock:
        note(lock, {"phase": LENT})
        try:
            yield
        finally:
            note(lock, {"phase": LENT, "pid": read_or_empty(run_dir / STATUS).get("pid")})
            fcntl.flock(lock, fcntl.LOCK_UN)  # a process of the GPU may have inherited it


def make_pictures_ready(config: DistillConfig) -> None:
    """Draw, decode or download all pictures of a run, before a GPU is asked for: kept on disk they cost its calls no
    seconds, nor does a run seem to need more for each start than a call has. ValueError as of `load_split`."""
    limits = {"train": config.train_limit, "validation": task_of(config).validation_limit(config), "test": None}
    for split, limit in limits.items():
        load_split(config.dataset, split, config.student.image_size, limit, config.split_seed)


def measured(config: DistillConfig) -> dict[str, Any]:
    """What `measure` finds of a run, whose pictures are made ready first; its refusal is a ValueError."""
    make_pictures_ready(config)
    found = measure(config.to_dict())
    if "refusal" in found:
        raise ValueError(found["refusal"])
    return found


def ask_to_stop(run_dir: Path) -> None:
    """Let the stretch that is taken end after its step, and no other follow."""
    (run_dir / HALT).touch()
    (run_dir / STOP_FILE).touch()


def go_on(run_dir: Path) -> Iterator[Pace]:
    """Take stretches until the run has ended or is asked to stop; its pace before each. Closing the iterator ends it
    after the stretch that is taken. ValueError where the run fails, or where a part of it fits in no call."""
    config = DistillConfig.from_dict(read_json(run_dir / CONFIG))
    with held(run_dir):
        if read_pace(run_dir) is None:
            write_json(run_dir / PACE, measured(config)["pace"])
        else:
            make_pictures_ready(config)
        while True:
            pace = _pace(run_dir)
            pace.calls_left(config, read_or_empty(run_dir / STATUS).get("step", 0))
            yield pace
            if (run_dir / HALT).exists():
                return
            done = take_stretch(str(run_dir))
            if done["refusal"]:
                raise ValueError(done["refusal"])
            if read_or_empty(run_dir / STATUS).get("state") != "stopped" or (run_dir / HALT).exists():
                return

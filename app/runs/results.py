"""All results there are to compare: own runs, checkpoints that ship, rows of the studies. No gradio."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from redistill.checkpoint import sources
from redistill.checkpoint.metadata import read_metadata
from redistill.checkpoint.sources import CONFIG, list_shipped
from redistill.common.values import is_number
from redistill.data.drawn import DRAWN
from redistill.data.table import DATASETS
from redistill.memory.comparison import compare
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import NETWORKS
from redistill.training.checks import complete
from redistill.training.config import DistillConfig
from redistill.training.run_state import best_validation, read_or_empty

from ..words.settings import FIGURES, dataset_title, join_strides, learning_sources
from . import jobs
from .choices import check_opens_no_file, shipped_title
from .titles import distinct_titles

STUDY_FILE = "study.json"  # among the shipped checkpoints, written by `python -m benchmarks.accuracy --json`
# Those of `python -m benchmarks.tradeoff --json`, on photographs.
TRADEOFF_FILES = ("photographs.json", "photographs-off-curve.json", "photographs-swin.json")
DAMAGE = (KeyError, TypeError, ValueError, IndexError, AttributeError)  # what a damaged row raises
PATCHES = "patches"  # the kind of rows of networks in patches
OWN, READY = "own run", "ready-made"


@dataclass(frozen=True)
class Result:
    """One trained network, or one row of a study with several seeds: a point of the plane."""

    key: str  # finds it again: "run:NAME", "shipped:NAME", "study:STRIDE-METHOD" or "FILE:NETWORK-METHOD"
    title: str
    origin: str  # OWN or READY
    state: str  # "finished", or what an own run is doing
    config: DistillConfig
    peak_bytes: int  # of the network's activations: batch 1, fp32, fused, RED blocks included
    score: float | None  # test figure of a finished run, else the best validation so far, else None
    is_tested: bool  # whether `score` is the test figure
    spread: float = 0.0  # of `score`: half its range over the seeds
    seeds: tuple[int, ...] = ()
    kind: str = ""  # of what a study holds students of other strides against, such as "smaller images"
    figures: Mapping[str, Any] = field(default_factory=dict)  # of the final record; of several: `over_seeds`

    @property
    def group(self) -> str:
        """Results of one group can be compared: same pictures, same figure."""
        return self._of_figure(self.config.dataset)

    @property
    def group_title(self) -> str:
        """The group as it is called on the page, which tells photographs from drawn pictures."""
        name = self.config.dataset
        is_of_photographs = name in DATASETS and name not in DRAWN
        return self._of_figure(dataset_title(name) + " (photographs)" * is_of_photographs)

    def _of_figure(self, pictures: str) -> str:
        return pictures if self.is_classifier else f"{pictures}, {self.config.prediction_type.replace('_', '-')}"

    @property
    def is_classifier(self) -> bool:
        """Whether `score` is an accuracy (higher is better), not the loss of a prediction (lower is better)."""
        return self.config.student.task == "classification"

    @property
    def is_teacher(self) -> bool:
        """Whether it is a network at its own strides, without RED blocks, and trained for these alone."""
        return self.has_own_strides and not self.config.stride_vectors and not self.kind

    @property
    def has_own_strides(self) -> bool:
        """Whether it is a network at its own strides, without RED blocks."""
        student = self.config.student
        return not student.strides and student.red is None and student.architecture in (None, student.teacher)

    @property
    def is_in_patches(self) -> bool:
        """Whether it is a network of another result, computed patch by patch."""
        return self.kind == PATCHES

    @property
    def is_other_network(self) -> bool:
        """Whether its network is not the teacher's."""
        return self.config.student.architecture not in (None, self.config.student.teacher)

    @property
    def learning(self) -> str:
        """What it learnt from, see `learning_sources`."""
        return learning_sources(self.config)

    def beats(self, other: Result) -> bool:
        """Whether it is at least as good in memory and score, and better in one; untested results beat nobody."""
        if not (self.is_tested and other.is_tested):
            return False
        own, theirs = self._cost(), other._cost()
        return own != theirs and all(mine <= their for mine, their in zip(own, theirs, strict=True))

    def _cost(self) -> tuple[int, float]:
        return self.peak_bytes, -self.score if self.is_classifier else self.score


def all_results() -> list[Result]:
    """Own runs, the newest first, then what ships. What cannot be read is left out; the Distill tab says why."""
    runs = [run for run in jobs.list_runs() if run.state != "broken"]
    titles = distinct_titles(runs)
    own = (_own_result(run, titles[run.name]) for run in runs)
    shipped = [result for name in list_shipped() if (result := _shipped_result(name)) is not None]
    taught = [(result.config.student, result.config.dataset) for result in shipped if result.is_teacher]
    rows = [result for file in TRADEOFF_FILES for result in tradeoff_results(sources.SHIPPED / file)]
    # The teacher of a study is there already where its checkpoint ships.
    rows = [row for row in rows if not row.is_teacher or (row.config.student, row.config.dataset) not in taught]
    return [result for result in (*own, *shipped, *study_results(), *rows) if result is not None]


def pareto_front(results: Iterable[Result]) -> list[Result]:
    """The tested results that no other one beats, by rising memory; of equal ones the first."""
    tested = [result for result in results if result.is_tested]
    front: dict[tuple[int, float | None], Result] = {}
    for result in tested:
        if not any(other.beats(result) for other in tested):
            front.setdefault((result.peak_bytes, result.score), result)
    return sorted(front.values(), key=lambda result: result.peak_bytes)


def groups(results: Sequence[Result]) -> list[tuple[str, str]]:
    """Groups that have a score to show as (title, name), the one with the most results first."""
    names = [result.group for result in results]
    found = {(result.group_title, result.group) for result in results if result.score is not None}
    return sorted(found, key=lambda group: (-names.count(group[1]), group))


def study_results(path: Path | None = None) -> list[Result]:
    """Rows that `benchmarks.accuracy --json` wrote, one result for each method; none where the file is missing.

    A row has `strides` (the stem's), `method`, `title`, `accuracy`, `spread`, `peak_bytes` and `runs`, a list of a
    config and a final record for each seed. The teacher's row is left out: it is the shipped checkpoint. Damaged rows
    are left out too.
    """
    found = []
    for row in _rows(path or sources.SHIPPED / STUDY_FILE):
        with contextlib.suppress(*DAMAGE):
            if row["method"] != "teacher":
                found.append(_study_result(row))
    return found


def tradeoff_results(path: Path) -> list[Result]:
    """Rows that `benchmarks.tradeoff --json` wrote, one result for all seeds of a network and method.

    A row is one run: `name`, `strides`, `network` and its `kind` where it is not the teacher's, `method`, `seed`,
    `peak_bytes`, the figures of its final record, and its `config`. None where the file is missing; damaged rows and
    runs that failed are left out.
    """
    runs: dict[str, list[tuple[Mapping[str, Any], DistillConfig]]] = {}
    for row in _rows(path):
        with contextlib.suppress(*DAMAGE):
            if row["state"] == "finished" and is_number(row["test_accuracy"]):
                name = row["name"].removesuffix(f"-{row['seed']}")
                runs.setdefault(name, []).append((row, DistillConfig.from_dict(row["config"])))
    found = []
    for name, rows in runs.items():
        with contextlib.suppress(*DAMAGE):
            found.append(_tradeoff_result(f"{path.stem}:{name}", rows))
    return found


def _rows(path: Path) -> list[Any]:
    """The rows of a study; none of a file that is missing or damaged."""
    try:
        rows = json.loads(path.read_text())
    except (OSError, ValueError):
        return []
    return rows if isinstance(rows, list) else []


def _tradeoff_result(key: str, runs: Sequence[tuple[Mapping[str, Any], DistillConfig]]) -> Result:
    (row, config), rows = runs[0], [row for row, _ in runs]
    scores = [float(row["test_accuracy"]) for row in rows]
    return Result(
        key=key,
        title=_tradeoff_title(row, config),
        origin=READY,
        state="finished",
        config=config,
        peak_bytes=int(row["peak_bytes"]),
        score=statistics.mean(scores),
        is_tested=True,
        spread=(max(scores) - min(scores)) / 2,
        seeds=tuple(config.seed for _, config in runs),
        kind=str(row.get("kind", "")),
        figures=over_seeds([{name: row[name] for name in ("device", *FIGURES) if name in row} for row in rows]),
    )


def _tradeoff_title(row: Mapping[str, Any], config: DistillConfig) -> str:
    """ "Student 4·1·2·1·2, RED + KD", "Narrow ResNet 32 px, KD", "Teacher in 3×3 patches up to maxpool"."""
    called, patches = str(row.get("network", "")), ""
    if row.get("kind") == PATCHES:
        called, patches = "", f" {called}"
    if row["method"] == "teacher":
        return f"Teacher{patches}"
    name, _, rest = called.partition(" ")
    known = NETWORKS[name].title if name in NETWORKS else name
    network = f"{known} {rest}" if name else f"Student {join_strides(config.student.strides)}{patches}"
    learning = learning_sources(config)
    has_bare_blocks = config.student.red is not None and not config.red_weight
    parts = [] if learning == "on its own" else [learning]
    parts += ["RED blocks without their loss"] if has_bare_blocks else []
    parts += [] if parts else ["no distillation"]
    return ", ".join([network, *parts, *(["from scratch"] if config.init == "scratch" else [])])


def _study_result(row: Mapping[str, Any]) -> Result:
    runs, title = row["runs"], str(row["title"])
    return Result(
        key=f"study:{row['strides']}-{row['method']}",
        title=title[:1].upper() + title[1:],
        origin=READY,
        state="finished",
        config=DistillConfig.from_dict(runs[0]["config"]),
        peak_bytes=int(row["peak_bytes"]),
        score=float(row["accuracy"]),
        is_tested=True,
        spread=float(row["spread"]),
        seeds=tuple(run["config"]["seed"] for run in runs),
        figures=over_seeds([run["final"] for run in runs]),
    )


def over_seeds(finals: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of several seeds as one record: means, bytes in whole ones, and the median of the training time.

    The time is that of a clock on the wall: one run beside other work would decide the mean. What is no number is
    the first seed's.
    """
    found = dict(finals[0])
    for name in found:
        values = [number for final in finals if (number := _number(final.get(name))) is not None]
        if len(set(values)) < 2:
            continue
        found[name] = statistics.median(values) if name == "seconds" else statistics.mean(values)
        if name.endswith("_bytes"):
            found[name] = round(found[name])
    return found


def _own_result(run: jobs.Run, title: str) -> Result | None:
    try:
        config = complete(DistillConfig.from_dict(run.config))
        metrics = read_or_empty(run.path / "student" / CONFIG).get("metrics") if run.state == "finished" else None
        figures = metrics if isinstance(metrics, Mapping) else {}
        result = _result(f"run:{run.name}", title, OWN, run.state, config, figures)
    except (ValueError, TypeError):
        return None
    if result.is_tested:
        return result
    return dataclasses.replace(result, score=best_validation(run.path, _figure(config)))


def _shipped_result(name: str) -> Result | None:
    try:
        metadata = read_metadata(name)
        config = DistillConfig.from_dict({**metadata.training, "student": metadata.student})
        return _result(f"shipped:{name}", shipped_title(name), READY, "finished", config, metadata.metrics)
    except (ValueError, TypeError, OSError):
        return None


def _result(key: str, title: str, origin: str, state: str, config: DistillConfig, figures: Mapping[str, Any]) -> Result:
    """The result of one run, with its test figure where there is one; a figure that is no number is none."""
    figures = {name: value for name, value in figures.items() if name not in FIGURES or is_number(value)}
    score = _number(figures.get(f"test_{_figure(config)}"))
    return Result(
        key=key,
        title=title,
        origin=origin,
        state=state,
        config=config,
        peak_bytes=peak_bytes(config.student),
        score=score,
        is_tested=score is not None,
        seeds=(config.seed,),
        figures=figures,
    )


def _figure(config: DistillConfig) -> str:
    """What the network is judged by."""
    return "accuracy" if config.student.task == "classification" else "prediction_loss"


def peak_bytes(student: StudentConfig) -> int:
    """Peak activation memory of a student, RED blocks included: batch 1, fp32, fused. ValueError if it cannot be."""
    check_opens_no_file(student)
    return compare(student).student.peak_bytes


def _number(value: Any) -> float | None:
    return float(value) if is_number(value) else None

"""Runs of the trade-off of accuracy and peak memory, and the table of what came of them."""

from __future__ import annotations

import json
import re
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from redistill.common.files import write_text
from redistill.data.datasets import find_dataset
from redistill.data.table import DATASETS
from redistill.memory.comparison import compare
from redistill.networks.names import FILE
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig
from redistill.training.config import DistillConfig

from .spread import percent

ROOT = Path(__file__).parents[2]
TEACHER, ON_CURVE, OFF, ALTERNATIVE = "teacher", "curve", "off the curve", "alternative"  # parts of the table
METHODS = ("scratch", "kd-scratch", "none", "kd", "red", "red+kd", "red-blocks", "best")  # of all networks, as columns


@dataclass(frozen=True)
class Job:
    """One run: the teacher's where `method` is None."""

    strides: tuple[int, ...]
    method: str | None
    seed: int
    config: DistillConfig
    part: str = ON_CURVE
    network: str = ""  # of an alternative, as rows call it
    kind: str = ""  # what it is an example of
    counted: StudentConfig | None = None  # what memory is counted of, where that is not the whole student

    @property
    def name(self) -> str:
        """The run folder's name, and in the table and in messages the run's."""
        return run_name(self.network or self.strides, self.method, self.seed)

    @property
    def needs_teacher(self) -> bool:
        return self.config.teacher_checkpoint is not None


def run_name(network: str | Sequence[int], method: str | None, seed: int) -> str:
    """A run's name, by what its network is called, or by its strides where it is the teacher's."""
    place = network if isinstance(network, str) else "-".join(map(str, network))
    return f"{re.sub('[^A-Za-z0-9_]+', '-', place)}-{method or TEACHER}-{seed}"


def write_rows(file: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSON list with a line a row, whole or not at all."""
    write_text(file, "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


class Table:
    """The rows by the name of their run, and the file that they are in."""

    def __init__(self, jobs: Sequence[Job], file: Path | None, data: Path | None = None) -> None:
        """`data`: the file of the pictures, which rows are to name: what a run calls them may hold for here alone."""
        self.jobs = list(jobs)
        self.file = file
        self.data = data
        self.rows: dict[str, dict[str, Any]] = {}
        if file and file.exists():
            self.rows = {row["name"]: row for row in json.loads(file.read_text())}

    def figures(self, job: Job) -> dict[str, Any]:
        """What is known of a run before it has run. Bytes are of one picture in fp32, MACs of one pass."""
        config = job.config
        usual = REDConfig() if job.part in (ON_CURVE, OFF) else None  # of others no rows with blocks are made
        red = config.student.red or usual
        found = compare(replace(job.counted or config.student, red=red))
        bare, full = found.bare, found.student
        own = bare if config.student.red is None else full
        return {
            "name": job.name,
            **({"network": job.network, "kind": job.kind} if job.network else {}),
            "strides": list(job.strides),
            "part": job.part,
            "method": job.method or TEACHER,
            "seed": job.seed,
            "batch": config.batch_size,
            "steps": config.steps,
            "precision": config.precision,
            "dataset": f"folder:{self.data.name}" if self.data else config.dataset,
            "bare_peak_bytes": bare.peak_bytes,  # without RED blocks
            "red_peak_bytes": full.peak_bytes,  # with them, at the places of this vector
            "peak_bytes": own.peak_bytes,  # of this very network
            "macs": own.macs,
        }

    def is_done(self, job: Job) -> bool:
        """Whether the file has the run's row, made with the same settings."""
        row, figures = self.rows.get(job.name, {}), self.figures(job)
        return row.get("state") == "finished" and all(row.get(name) == value for name, value in figures.items())

    def add(self, job: Job, outcome: Mapping[str, Any]) -> None:
        """Note what came of a run, in the file too."""
        self.rows[job.name] = self.figures(job) | dict(outcome) | {"config": self._settings(job)}
        if self.file:
            order = [job.name for job in self.jobs]
            known = [self.rows[name] for name in order if name in self.rows]
            others = [row for name, row in self.rows.items() if name not in order]
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_rows(self.file, [*others, *known])

    def _settings(self, job: Job) -> dict[str, Any]:
        """A run's settings as anyone can set them: pictures and networks of files by names that hold elsewhere too."""
        settings = job.config.to_dict()
        if self.data:
            settings["dataset"] = set_of_classes(find_dataset(job.config.dataset).class_names, self.data)
        architecture = settings["student"]["architecture"] or ""
        if architecture.startswith(FILE):
            settings["student"]["architecture"] = architecture.replace(f"{ROOT}/", "")
        return settings

    def finished(self) -> list[dict[str, Any]]:
        """The rows of these runs that have an accuracy, in their order."""
        return [self.rows[job.name] for job in self.jobs if self.is_done(job)]


def set_of_classes(class_names: Sequence[str], data: Path) -> str:
    """The data set that a file is a copy of, whatever the file is called and the size of its pictures: the one set that
    has these classes, or else the file itself."""
    same = [name for name, known in DATASETS.items() if sorted(known.class_names) == sorted(class_names)]
    return same[0] if len(same) == 1 else f"folder:{data.name}"


def _mean(rows: Iterable[Mapping[str, Any]]) -> str:
    """Test accuracy over seeds in per cent; a dash where there is none."""
    values = [row["test_accuracy"] for row in rows]
    return (percent(values) or "–") + (f" ({len(values)})" if len(values) > 1 else "")


def render(table: Table) -> str:
    """A line a vector or an alternative, the least peak first; a column a method."""
    rows = table.finished()
    methods = [method for method in METHODS if any(row["method"] == method for row in rows)]
    lines = [" | ".join(["| network", "peak, KiB", "with RED blocks", *methods]) + " |"]
    lines.append("| --- " * (3 + len(methods)) + "|")
    by_network = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row["bare_peak_bytes"], row["red_peak_bytes"])):
        by_network[row.get("network", ""), tuple(row["strides"])].append(row)
    for (network, vector), found in by_network.items():
        if found[0]["part"] == TEACHER:
            continue
        cells = [network or "·".join(map(str, vector))]
        cells += [f"{found[0][f'{kind}_peak_bytes'] / 1024:.0f}" for kind in ("bare", "red")]
        cells += [_mean(row for row in found if row["method"] == method) for method in methods]
        lines.append(f"| {' | '.join(cells)} |")
    for row in rows:
        if row["part"] == TEACHER:
            peak = row["bare_peak_bytes"] / 1024
            lines.append(f"Teacher: {_mean([row])} % at {peak:.0f} KiB. Device: {row['device']}, {row['precision']}.")
    return "\n".join(lines)


def summary(table: Table) -> str:
    """The last line. A method's figure is its mean over those vectors of the curve and seeds that all methods have."""
    rows = table.finished()
    failed = sum(table.rows.get(job.name, {}).get("state") == "failed" for job in table.jobs)
    parts = [f"tradeoff rows={len(rows)} of={len(table.jobs)} failed={failed}"]
    teachers = [row["test_accuracy"] for row in rows if row["part"] == TEACHER]
    parts += [f"teacher={100 * value:.2f}" for value in teachers]
    by_place = defaultdict(dict)
    for row in rows:
        if row["part"] == ON_CURVE:
            by_place[tuple(row["strides"]), row["seed"]][row["method"]] = row["test_accuracy"]
    methods = [method for method in METHODS if any(job.method == method for job in table.jobs)]
    whole = [found for found in by_place.values() if all(method in found for method in methods)]
    if whole:
        parts += [f"{method}={100 * statistics.mean(found[method] for found in whole):.2f}" for method in methods]
    return " ".join([*parts, f"compared={len(whole)}"])

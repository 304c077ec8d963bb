"""What a finished classifier takes for what, of a run's test pictures; counted by the run, or afterwards. No gradio."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redistill.common.files import write_json
from redistill.common.values import is_whole
from redistill.training.evaluation import OF_CLASSES
from redistill.training.run import CLASSES
from redistill.training.run_state import read_or_empty

from . import jobs, run_list
from .shell import ask_shell

MINUTES = 30


@dataclass(frozen=True)
class ByClass:
    """A confusion matrix with the names of its classes."""

    names: list[str]
    rows: list[list[int]]  # by true class and answer: numbers of pictures

    @property
    def pictures(self) -> list[int]:
        """How many there are of each class."""
        return [sum(row) for row in self.rows]

    @property
    def right(self) -> list[int]:
        """How many of each class are taken for what they are."""
        return [row[place] for place, row in enumerate(self.rows)]

    def mistakes(self, most: int) -> list[tuple[int, str, str]]:
        """The `most` frequent ones as (pictures, true class, answer)."""
        found = [
            (count, self.names[true], self.names[answer])
            for true, row in enumerate(self.rows)
            for answer, count in enumerate(row)
            if count and answer != true
        ]
        return sorted(found, key=lambda mistake: -mistake[0])[:most]


def read_by_class(run: jobs.Run) -> ByClass | None:
    """What a finished run has noted of its test pictures; None of another, and where it noted nothing readable."""
    found = read_or_empty(run.path / CLASSES).get("confusion") if run.state == "finished" else None
    if not isinstance(found, Mapping):
        return None
    names, rows = found.get("classes"), found.get("rows")
    is_table = isinstance(names, list) and isinstance(rows, list) and len(names) == len(rows) > 0
    if not is_table or not all(_is_row(row, len(names)) for row in rows):
        return None
    return ByClass([str(name) for name in names], rows)


def _is_row(row: Any, count: int) -> bool:
    return isinstance(row, list) and len(row) == count and all(is_whole(number, 0) for number in row)


def count_by_class(name: str) -> None:
    """Test the network of a finished run once more and note what it takes for what: of a run made before runs did.

    ValueError, in one sentence, where that cannot be, such as without its pictures.
    """
    run = run_list.read_run(name)
    if run.state != "finished":
        raise ValueError(f"Run “{run.title}” is {run.state}; its network is tested once it has finished.")
    asked = ("evaluate", str(run.path / "student"), "--dataset", str(run.config.get("dataset")))
    figures = json.loads(ask_shell(asked, "test", MINUTES, hidden={str(run.path): run.name}))
    if not all(name in figures for name in OF_CLASSES):
        raise ValueError("Such a network tells no classes apart.")
    write_json(run.path / CLASSES, {name: figures[name] for name in OF_CLASSES})

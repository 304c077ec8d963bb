"""Rows of the studies that ship as results, all seeds of a setting as one. No gradio."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from redistill.checkpoint import sources
from redistill.checkpoint.metadata import read_metadata
from redistill.common.values import is_number
from redistill.memory.usual_strides import own_strides
from redistill.networks.zoo import NETWORKS
from redistill.training.config import DistillConfig

from ..words.settings import FIGURES, join_strides, learning_sources
from .result import PATCHES, READY, SHARED, Result, over_seeds, pareto_front

STUDY_FILE = "study.json"  # among the shipped checkpoints, written by `python -m benchmarks.accuracy --json`
# Those of `python -m benchmarks.tradeoff --json`.
TRADEOFF_FILES = ("photographs.json", "photographs-off-curve.json", "photographs-swin.json", "scenes.json")
SHARED_FILE = "any-strides.json"  # that of `python -m benchmarks.any_strides --json`
DAMAGE = (KeyError, TypeError, ValueError, IndexError, AttributeError)  # what a damaged row raises


def study_results(path: Path | None = None) -> list[Result]:
    """Rows that `benchmarks.accuracy --json` wrote, one result for each method; none where the file is missing.

    A row has `strides` (the stem's), `method`, `title`, `accuracy`, `spread`, `peak_bytes` and `runs`, a list of a
    config and a final record for each seed. The teacher's row is left out: it is the shipped checkpoint. Damaged rows
    are left out too.
    """
    return _once(_study_rows, path or sources.SHIPPED / STUDY_FILE)


def _study_rows(path: Path) -> list[Result]:
    found = []
    for row in _rows(path):
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
    return _once(_tradeoff_rows, path)


def _tradeoff_rows(path: Path) -> list[Result]:
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


def shared_results(path: Path | None = None) -> list[Result]:
    """What networks of `redistill train-any` that ship reach at strides that `benchmarks.any_strides --json` measured.

    Of each network the choices of strides that no other one beats on validation pictures, with the accuracy on test
    pictures, and the mean over its seeds where the file has networks that were trained so with others; the strides of
    the checkpoint itself are then there too, else they are that one's result. None where the file is missing; damaged
    rows are left out.
    """
    return _once(_shared_rows, path or sources.SHIPPED / SHARED_FILE)


def _shared_rows(path: Path) -> list[Result]:
    found: list[Result] = []
    networks = _read_json(path, dict)
    for name, held in networks.items():
        with contextlib.suppress(*DAMAGE, OSError):
            metadata, measured = read_metadata(sources.SHIPPED / name), []
            config = DistillConfig.from_dict({**metadata.training, "student": metadata.student})
            seeds = {config.seed: _by_strides(held["rows"]), **_of_other_seeds(held, networks.values())}
            for strides in seeds[config.seed]:
                rows = {seed: seeds[seed][strides] for seed in sorted(seeds) if strides in seeds[seed]}
                with contextlib.suppress(*DAMAGE):
                    measured.append(_shared_result(name, config, rows, metadata.metrics.get("parameters")))
            own = config.student.strides
            found += [one for one in pareto_front(measured) if one.config.student.strides != own or len(one.seeds) > 1]
    return found


def _by_strides(rows: Iterable[Any]) -> dict[tuple[int, ...], Mapping[str, Any]]:
    found = {}
    for row in rows:
        with contextlib.suppress(*DAMAGE):
            found[tuple(row["strides"])] = row
    return found


def _of_other_seeds(held: Mapping[str, Any], networks: Iterable[Any]) -> dict[int, dict[tuple[int, ...], Any]]:
    """By seed the rows of the networks that were trained as one was, but with another seed, and those by strides."""
    found = {}
    for other in networks:
        with contextlib.suppress(*DAMAGE):
            own, its = ({**one["training"], "seed": 0, "device": ""} for one in (held, other))
            if own == its and other is not held:
                found[other["training"]["seed"]] = _by_strides(other["rows"])
    return found


def _shared_result(
    name: str, config: DistillConfig, rows: Mapping[int, Mapping[str, Any]], parameters: int | None
) -> Result:
    """The result of one choice of strides, from its row of each seed."""
    network, row = config.student, rows[config.seed]
    own = own_strides(network.student_architecture, network.unets, network.image_size)
    strides = dict(zip(own, row["strides"], strict=True))
    student = dataclasses.replace(network, strides={} if strides == own else strides)
    scores = tuple(float(one["test_accuracy"]) for one in rows.values())
    known = [float(one["validation_accuracy"]) for one in rows.values() if one["validation_accuracy"] is not None]
    return Result(
        key=f"shared:{name}-{'-'.join(map(str, row['strides']))}",
        title=f"{name} at {join_strides(strides)}, {learning_sources(config)}",
        origin=READY,
        state="finished",
        config=dataclasses.replace(config, student=student),
        peak_bytes=int(row["peak_bytes"]),
        score=statistics.mean(scores),
        is_tested=True,
        scores=scores,
        seeds=tuple(rows),
        kind=SHARED,
        figures={
            "validation_accuracy": statistics.mean(known),
            "macs": row["macs"],
            "parameters": parameters,  # the same at all strides
        },
    )


def _once(read: Callable[[Path], list[Result]], path: Path) -> list[Result]:
    """What `read` finds in a file, which it reads anew only where the file has changed."""
    try:
        found = path.stat()
    except OSError:
        return []
    return list(_read(read, path, found.st_mtime_ns, found.st_size))


@lru_cache(maxsize=8)
def _read(read: Callable[[Path], list[Result]], path: Path, _modified: int, _size: int) -> tuple[Result, ...]:
    return tuple(read(path))


def _rows(path: Path) -> list[Any]:
    """The rows of a study; none of a file that is missing or damaged."""
    return _read_json(path, list)


def _read_json(path: Path, kind: type) -> Any:
    """What a file holds where that is of this kind, else an empty one."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return kind()
    return found if isinstance(found, kind) else kind()


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
        scores=tuple(scores),
        seeds=tuple(config.seed for _, config in runs),
        kind=str(row.get("kind", "")),
        figures=over_seeds([{name: row[name] for name in ("device", "macs", *FIGURES) if name in row} for row in rows]),
    )


def _tradeoff_title(row: Mapping[str, Any], config: DistillConfig) -> str:
    """ "Student 4·1·2·1·2, RED + KD", "Narrow ResNet 32 px, KD", "Teacher in 3×3 patches up to maxpool"."""
    called, patches = str(row.get("network", "")), ""
    if row.get("kind") == PATCHES and called.startswith("in "):  # of the teacher's network, which has no name here
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
        scores=tuple(float(run["final"]["test_accuracy"]) for run in runs),
        seeds=tuple(run["config"]["seed"] for run in runs),
        figures=over_seeds([run["final"] for run in runs]),
    )

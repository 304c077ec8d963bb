"""All results there are to compare: own runs, checkpoints that ship, rows of the studies. No gradio."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from redistill.checkpoint import sources
from redistill.checkpoint.metadata import read_metadata
from redistill.checkpoint.sources import CONFIG, list_shipped
from redistill.common.values import is_number
from redistill.training.checks import complete
from redistill.training.config import DistillConfig
from redistill.training.run_state import best_validation, read_or_empty

from ..words.settings import FIGURES, seeds_text
from . import jobs, run_list
from .choices import shipped_title
from .result import OWN, READY, Result, figure_of, number, over_seeds, peak_bytes
from .studies import TRADEOFF_FILES, shared_results, study_results, tradeoff_results
from .titles import distinct_titles


def all_results() -> list[Result]:
    """Own runs, the newest first, then what ships. What cannot be read is left out; the Distill tab says why."""
    runs = [run for run in run_list.list_runs() if run.state != "broken"]
    titles = distinct_titles(runs)
    own = [result for run in runs if (result := _own_result(run, titles[run.name])) is not None]
    return [*_of_seeds(own), *ready_results()]


def ready_results() -> list[Result]:
    """What ships: checkpoints, and rows of the studies and of networks for every budget."""
    shipped = [result for name in list_shipped() if (result := _shipped_result(name)) is not None]
    taught = [(result.config.student, result.config.dataset) for result in shipped if result.is_teacher]
    rows = [result for file in TRADEOFF_FILES for result in tradeoff_results(sources.SHIPPED / file)]
    # The teacher of a study is there already where its checkpoint ships.
    rows = [row for row in rows if not row.is_teacher or (row.config.student, row.config.dataset) not in taught]
    return [*shipped, *study_results(), *rows, *shared_results()]


def _of_seeds(results: Sequence[Result]) -> list[Result]:
    """Results of runs, with those that differ in their seed alone as one; of equal seeds the newest run counts.

    Results come with the newest first. One of several seeds has the key of its oldest run, which another seed leaves
    as it is.
    """
    settings: dict[str, dict[int, Result]] = {}
    for result in results:
        if result.is_tested:
            settings.setdefault(result.setting, {}).setdefault(result.config.seed, result)
    joined = {}
    for seeds in settings.values():
        if len(seeds) > 1:
            runs = [seeds[seed] for seed in sorted(seeds)]
            joined |= {run.key: _joined(runs, list(seeds.values())[-1]) for run in runs}
    return list({found.key: found for result in results for found in [joined.get(result.key, result)]}.values())


def _joined(runs: Sequence[Result], oldest: Result) -> Result:
    """Runs of one setting, by rising seed, as one result."""
    scores = tuple(run.score for run in runs)
    seeds = tuple(run.config.seed for run in runs)
    words = seeds_text([oldest.config.seed])
    title = oldest.title.partition(f" · {words}")[0] + f" · {seeds_text(seeds)}"
    figures = over_seeds([run.figures for run in runs])
    score = sum(scores) / len(scores)
    return dataclasses.replace(oldest, title=title, score=score, scores=scores, seeds=seeds, figures=figures)


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
    return dataclasses.replace(result, score=best_validation(run.path, figure_of(config)))


def _shipped_result(name: str) -> Result | None:
    try:
        folder = sources.SHIPPED / name
        return _read_shipped(folder, (folder / CONFIG).stat().st_mtime_ns)
    except (ValueError, TypeError, OSError):
        return None


@lru_cache(maxsize=64)  # who watches a run asks for all results every second
def _read_shipped(folder: Path, _modified: int) -> Result:
    metadata, name = read_metadata(folder), folder.name
    config = DistillConfig.from_dict({**metadata.training, "student": metadata.student})
    return _result(f"shipped:{name}", shipped_title(name), READY, "finished", config, metadata.metrics)


def _result(key: str, title: str, origin: str, state: str, config: DistillConfig, figures: Mapping[str, Any]) -> Result:
    """The result of one run, with its test figure where there is one; a figure that is no number is none."""
    figures = {name: value for name, value in figures.items() if name not in FIGURES or is_number(value)}
    score = number(figures.get(f"test_{figure_of(config)}"))
    return Result(
        key=key,
        title=title,
        origin=origin,
        state=state,
        config=config,
        peak_bytes=peak_bytes(config.student),
        score=score,
        is_tested=score is not None,
        scores=() if score is None else (score,),
        seeds=(config.seed,),
        figures=figures,
    )

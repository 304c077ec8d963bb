"""Runs of one setting with several seeds as one row: their mean and how far they spread."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from html import escape

from redistill.common.values import is_number
from redistill.training.config import OF_A_RUN, DistillConfig
from redistill.training.run_state import read_or_empty

from ..runs import jobs
from ..words.numbers import format_margin, format_number, format_percent
from ..words.settings import run_family


def seed_table(runs: Sequence[jobs.Run]) -> str:
    """A row for every setting that was run with several seeds, as HTML; empty where there is none."""
    families: dict[str, list[jobs.Run]] = {}
    for run in runs:
        if isinstance(run.config.get("seed"), int):
            same = {name: value for name, value in run.config.items() if name not in OF_A_RUN}
            families.setdefault(json.dumps(same, sort_keys=True, default=str), []).append(run)
    rows = "".join(_row(family) for family in families.values() if len({run.config["seed"] for run in family}) > 1)
    if not rows:
        return ""
    head = "".join(
        f'<th scope="col">{words}</th>' for words in ("Several seeds", "Seeds", "Test, mean ± half the range")
    )
    return f'<table class="facts seeds"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _row(family: Sequence[jobs.Run]) -> str:
    try:
        title = run_family(DistillConfig.from_dict(family[0].config))
    except (ValueError, TypeError):
        return ""
    by_seed = {run.config["seed"]: run for run in reversed(family)}  # of two with one seed the newest
    scores = {seed: score for seed, run in by_seed.items() if (score := _score(run)) is not None}
    done = ", ".join(map(str, sorted(scores))) or "none yet"
    waiting = len(by_seed) - len(scores)
    seeds = f"{done}{f' ({waiting} without a test yet)' if waiting else ''}"
    return (
        f"<tr><td>{escape(title)}</td><td>{escape(seeds)}</td><td>{_figure(family[0], list(scores.values()))}</td></tr>"
    )


def _score(run: jobs.Run) -> float | None:
    metrics = read_or_empty(run.path / "student" / "config.json").get("metrics") if run.state == "finished" else None
    figures = metrics if isinstance(metrics, Mapping) else {}
    score = figures.get("test_accuracy", figures.get("test_prediction_loss"))
    return float(score) if is_number(score) else None


def _figure(run: jobs.Run, scores: Sequence[float]) -> str:
    if not scores:
        return "–"
    is_loss = DistillConfig.from_dict(run.config).student.task == "diffusion"
    mean, half = statistics.mean(scores), (max(scores) - min(scores)) / 2
    if len(scores) == 1:  # of one seed there is no spread to tell
        return format_number(mean) if is_loss else format_percent(mean)
    return format_margin(mean, half) if is_loss else f"{format_margin(100 * mean, 100 * half)} %"

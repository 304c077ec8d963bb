"""Runs that differ in their seed alone stand in one row, with their mean and spread."""

from __future__ import annotations

import dataclasses

import pytest
from helpers import made

from app.distill import watch
from app.distill.seed_rows import seed_table
from app.runs import run_list
from redistill.training.presets import PRESETS

CONFIG = PRESETS["undistilled"].config


def write(places, name: str, state: str = "finished", score: float | None = None, **changes) -> None:
    config = dataclasses.replace(CONFIG, **changes)
    made.write_run(places, name, config, state)
    if score is not None:
        made.write_checkpoint(places / "runs" / name / "student", config, test_accuracy=score)


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ({0: 0.9, 1: 0.92, 2: 0.91}, ["91.0 ± 1.0 %", "0, 1, 2"]),
        ({0: 0.9, 1: None}, ["90.0 %", "1 without a test yet"]),
        ({3: None, 4: None}, ["none yet", "2 without a test yet", "–"]),
    ],
)
def test_seeds_of_one_setting_are_a_row(places, scores, words):
    for seed, score in scores.items():
        write(places, f"run{seed}", "finished" if score is not None else "running", score, seed=seed)
    write(places, "other", score=0.1, steps=7)
    table = seed_table(run_list.list_runs())
    assert table.count("<tr>") == 2 and all(word in table for word in words)
    assert "emoji-clutter · Narrow ResNet" in table and "seed 0" not in table


def test_the_panel_shows_them(places):
    for seed in (0, 1):
        write(places, f"run{seed}", score=0.9, seed=seed)
    assert watch.look(None, None)["seeds"] == seed_table(run_list.list_runs()) != ""


def test_single_runs_have_no_row_and_of_one_seed_the_newest_counts(places):
    write(places, "one", score=0.5)
    assert seed_table(run_list.list_runs()) == ""
    write(places, "two", score=0.7)
    assert seed_table(run_list.list_runs()) == ""

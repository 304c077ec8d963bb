"""One run in words: how far it is, what went wrong, what it measured. Whatever comes from outside is escaped here."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from redistill.checkpoint.metadata import read_metadata
from redistill.common.values import is_number, is_whole
from redistill.data.table import DATASETS
from redistill.networks.alignment import BY_SIZE
from redistill.training.config import DistillConfig
from redistill.training.intervals import wilson

from ..parts.fragments import notice, progress_bar
from ..runs import jobs, run_list
from ..runs.result import Result, counted, figure_of
from ..runs.results import all_results
from ..words import numbers
from ..words.settings import describe_student, figure_rows
from ..words.signs import Baseline, baseline_sign, loss_sign, red_sign, step_losses

Records = Sequence[Mapping[str, Any]]
MEMORY = ("training_peak_bytes", "measured_peak_bytes", "eager_peak_bytes", "fused_peak_bytes")


def no_runs(were_deleted: bool = False) -> str:
    """What stands in the place of a run. With the class "no-runs" in it, style.css hides what only a run fills."""
    return (
        f'<p class="headline no-runs">No run {"left" if were_deleted else "yet"}.</p><p class="subline">Choose a '
        "preset and press Start: losses, accuracy and learning rate are drawn here as the run goes.</p>"
    )


def state_text(run: jobs.Run) -> str:
    """What a run is doing, as the page says it."""
    if run.job and run.state in ("queued", "running"):
        return f"{'waiting for' if run.state == 'queued' else 'running on'} {run.job.hardware.name}"
    if run.is_lent and run.state == "stopped" and not run.step and jobs.unfinished_teacher(run):
        return "waiting for its teacher"
    return {"queued": "waiting for the run before it", "broken": "unreadable"}.get(run.state, run.state)


def progress(run: jobs.Run, records: Records, teacher: float | None) -> str:
    """A run's bar, what it does, why it ended and what it reached."""
    share = 1.0 if run.state == "finished" else run.step / run.steps if run.steps else 0.0
    words = [state_text(run), f"step {run.step:,} of {run.steps:,}" if run.step else ""]
    if run.state == "running" and not run.step:
        words[1] = "preparing the pictures; the first time takes about a minute"
    elif run.state == "running":
        words += _speed(run, records)
    parts = [progress_bar(run.title, run.state, share, " · ".join(filter(None, words)))]
    if run.told and (run.job or run.state not in jobs.ALIVE):
        parts.append(notice("", run.told, kind="hint"))
    if run.error:
        parts.append(notice("", run.error))
    if run.state == "interrupted" and not run.job:
        parts.append(notice("", "Its process ended without a word, as when the machine restarts.", kind="hint"))
    parts += [notice("", words, kind="hint") for words in (*fresh_layers(records), *left_out(records))]
    unreadable = run_list.unreadable_lines(run)
    if unreadable:
        lines, stand = ("lines", "stand") if unreadable > 1 else ("line", "stands")
        words = f"{unreadable} {lines} of its metrics could not be read and {stand} in no curve."
        parts.append(notice("", words, kind="hint"))
    parts += [notice("", sign, kind="hint") for sign in failure_signs(run, records)]
    is_over = run.state == "finished"  # one that goes on for longer has the figures of before in its records
    final = next((row for row in reversed(records) if row.get("kind") == "final"), None) if is_over else None
    return "".join(parts) + (_result(final, teacher, run.config.get("dataset")) if final else "")


def example(run: jobs.Run, records: Records, teacher: float | None) -> str:
    """A run that came with the page, for those who have none: what it reached, and how it is called."""
    final = next((row for row in reversed(records) if row.get("kind") == "final"), None)
    student = describe_student(DistillConfig.from_dict(run.config).student)
    return (
        f'<p class="headline example-run">{escape(run.title)}: a finished run that came with this page.</p>'
        f'<p class="subline">{escape(student)}, {run.steps:,} steps on {escape(str(run.config["dataset"]))}. Yours are '
        "drawn like it as they go, once you press Start.</p>"
        + (_result(final, teacher, run.config.get("dataset")) if final else "")
    )


def left_out(records: Records) -> list[str]:
    """Sentences about damaged pictures that the run did without, which its first and last record hold."""
    return [
        words for row in (*records[:1], *records[1:][-1:]) if isinstance(words := row.get("left_out"), str) and words
    ]


def fresh_layers(records: Records) -> list[str]:
    """A sentence about layers that start fresh in a run that starts from weights, which its first record holds."""
    return [words for row in records[:1] if isinstance(words := row.get("fresh"), str) and words]


def _speed(run: jobs.Run, records: Records) -> list[str]:
    """Images a second lately, and how long the steps that are left take at that rate."""
    rate, left = step_rate(records), seconds_left(run, records)
    return [f"{rate:,.0f} images/s", f"about {numbers.format_duration(left)} left"] if left is not None else []


def step_rate(records: Records) -> float | None:
    """Images a second lately; None where no record says."""
    rates = [row.get("images_per_second") for row in records[-30:] if row.get("kind") == "step"]
    rates = sorted(rate for rate in rates if is_number(rate) and rate > 0)
    return rates[len(rates) // 2] if rates else None


def seconds_left(run: jobs.Run, records: Records) -> float | None:
    """How long a run's last steps take at its rate of late; None where that is not known."""
    rate, told = step_rate(records), records[0].get("images_a_step") if records else None
    images = told if is_number(told) else run.config.get("batch_size")  # where an older run does not tell
    return (run.steps - run.step) * images / rate if rate and is_number(images) else None


def failure_signs(run: jobs.Run, records: Records) -> list[str]:
    """What the run's curves and its memory say against it, in sentences."""
    signs = [loss_sign(step_losses(records))]
    try:
        config = DistillConfig.from_dict(run.config)
        found = counted(config.student)
        signs.append(red_sign(found.student.peak_bytes, found.bare.peak_bytes))
    except (ValueError, TypeError):
        return [sign for sign in signs if sign]
    baseline = find_baseline(config) if config.teacher_checkpoint else None
    if baseline:
        signs.append(baseline_sign(records, config.steps, figure_of(config), baseline))
    return [sign for sign in signs if sign]


def find_baseline(config: DistillConfig) -> Baseline | None:
    """The best tested result of the same student, without RED blocks, trained on the same pictures alone."""
    bare = dataclasses.replace(config.student, red=None, alignment=BY_SIZE)

    def is_baseline(result: Result) -> bool:
        own = result.config
        same = dataclasses.replace(own.student, alignment=BY_SIZE) == bare and own.dataset == config.dataset
        same = same and not result.is_in_patches  # which is the same network once more
        return same and result.is_tested and result.learning == "on its own" and own.steps <= config.steps

    found = [result for result in all_results() if is_baseline(result)]
    if not found:
        return None
    best = min(found, key=lambda result: result.cost)
    return Baseline(best.title, _validations(best), best.score, best.config.steps)


def _validations(result: Result) -> dict[int, float]:
    if not result.key.startswith("run:"):
        return {}
    figure = figure_of(result.config)
    try:
        records = run_list.records(run_list.read_run(result.key.removeprefix("run:")))
    except ValueError:
        return {}
    rows = [row for row in records if row.get("kind") == "validation" and is_number(row.get(figure))]
    return {row["step"]: row[figure] for row in rows}


def teacher_score(run: jobs.Run) -> float | None:
    """The test figure of the run's teacher: accuracy, or the loss of its prediction; None where it is not known."""
    folder = run.config.get("teacher_checkpoint")
    if not isinstance(folder, str) or not folder:
        return None
    try:
        figures = read_metadata(folder).metrics
    except (ValueError, OSError):
        return None
    score = figures.get("test_accuracy", figures.get("test_prediction_loss"))
    return score if is_number(score) else None


def _result(final: Mapping[str, Any], teacher: float | None, dataset: Any = None) -> str:
    """The figures on the test pictures of a data set in a sentence, then what was measured beside what was computed."""
    accuracy, loss = final.get("test_accuracy"), final.get("test_prediction_loss")
    parts = []
    if is_number(accuracy):
        parts.append(
            f"<strong>{numbers.format_percent(accuracy)}</strong> test accuracy{_counted(final, accuracy, dataset)}"
        )
        if is_number(in_int8 := final.get("test_int8_accuracy")):
            parts.append(f"{numbers.format_percent(in_int8)} rounded as in int8")
        parts += [f"the teacher has {numbers.format_percent(teacher)}"] if teacher is not None else []
    elif is_number(loss):
        parts.append(f"Test loss of the prediction <strong>{numbers.format_number(loss)}</strong>")
        parts += [f"the teacher has {numbers.format_number(teacher)}"] if teacher is not None else []
    seconds = numbers.format_duration(final["seconds"]) if is_number(final.get("seconds")) else "Trained"
    where = escape(str(final.get("device", "this machine")))
    sentence = f'<p class="result">{", ".join(parts)}. <span>{seconds} on {where}.</span></p>' if parts else ""
    memory = figure_rows({name: final.get(name) for name in MEMORY})
    rows = "".join(f"<tr><td>{label}</td><td>{text}</td></tr>" for label, text in memory.items())
    return sentence + (f'<table class="facts numbers"><tbody>{rows}</tbody></table>' if rows else "")


def _counted(final: Mapping[str, Any], accuracy: float, dataset: Any) -> str:
    """On how many pictures an accuracy was counted, and how sure that makes it: ": 11 of 12 pictures (95 %: ...)".

    A run that was made before their number was noted was tested on all test pictures that its data set has.
    """
    count = final.get("test_pictures")
    if not is_whole(count, 1):
        if not isinstance(dataset, str) or dataset not in DATASETS:
            return ""
        count = DATASETS[dataset].split_sizes["test"]
    low, high = (numbers.format_percent(bound) for bound in wilson(accuracy, count))
    return f": {round(accuracy * count):,} of {count:,} pictures <span>(95 % interval {low} to {high})</span>"


def latest_file(run: jobs.Run) -> Path | None:
    """The images that a diffusion run drew last; None for a run that drew none."""
    return max((run.path / "samples").glob("step-*.png"), default=None)


def latest_samples(run: jobs.Run) -> str:
    """The images that a diffusion run drew last, as a card."""
    file = latest_file(run)
    if file is None:
        return ""
    try:
        step = int(file.stem.removeprefix("step-"))
        data = base64.b64encode(file.read_bytes()).decode()
    except (OSError, ValueError):
        return ""
    return (
        f'<div class="card"><h3 class="card-title">Drawn at step {step:,} <span>same seeds every time</span></h3>'
        f'<img class="pixels" alt="images drawn at step {step}" src="data:image/png;base64,{data}"></div>'
    )

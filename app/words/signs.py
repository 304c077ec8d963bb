"""Signs that a run goes wrong, in words, from its records and what is known of others. No gradio, no torch.

The ReDistill paper names three: accuracy that stays below the same student without distillation, a loss that does not
settle, and RED blocks that need more memory than the rest of the student.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redistill.common.values import is_number

from . import numbers

Records = Sequence[Mapping[str, Any]]
WINDOW = 10  # fewest steps whose loss is looked at together
RISE = 1.5  # times the lowest window's median loss: a run that has come down and goes up so far is lost
SPIKE = 2.0  # times the median of the steps before: a single step so high is a spike
SPIKES = 3  # in the last window of steps; one or two may be an odd batch
MARGIN = 0.01  # of accuracy, below which a difference says little on some thousand pictures
LOSS_MARGIN = 0.02  # of a prediction loss, as a part of it
PATIENCE = 0.5  # of the steps, before which a student that learns from a teacher may lag behind


@dataclass(frozen=True)
class Baseline:
    """The same student trained without distillation on the same pictures: its scores by step, and its test figure."""

    title: str
    validation: Mapping[int, float]  # by step; empty where only the end is known
    test: float | None
    steps: int


def loss_sign(losses: Sequence[float]) -> str | None:
    """What is wrong with a loss curve, one value a step, or None.

    The steps are cut into windows of a twentieth of them, at least `WINDOW`. The loss has *risen* when the median of
    the last window is `RISE` times the lowest window's before it, and is *unsettled* when at least `SPIKES` steps of
    the last window are `SPIKE` times the median of the window before. The rise of a usual warm-up stays below that.
    """
    size = max(WINDOW, len(losses) // 20)
    windows = [losses[end - size : end] for end in range(len(losses), size - 1, -size)][::-1]
    if len(windows) < 3:
        return None
    medians = [statistics.median(window) for window in windows]
    lowest = min(medians[:-1])
    if lowest > 0 and medians[-1] > RISE * lowest:
        return (
            f"The loss has risen: {numbers.format_number(medians[-1])} over the last {size} steps, after "
            f"{numbers.format_number(lowest)} before. A lower learning rate or smaller loss weights may settle it."
        )
    spikes = sum(loss > SPIKE * medians[-2] for loss in windows[-1])
    if medians[-2] > 0 and spikes >= SPIKES:
        return (
            f"The loss is not settled: {spikes} of the last {size} steps are more than {SPIKE:g} times the usual. "
            "Gradient clipping or a lower learning rate may settle it."
        )
    return None


def step_losses(records: Records) -> list[float]:
    """The total loss of every step that has a finite one."""
    losses = (record.get("loss") for record in records if record.get("kind") == "step")
    return [float(loss) for loss in losses if is_number(loss)]


def baseline_sign(records: Records, steps: int, figure: str, baseline: Baseline) -> str | None:
    """Whether a run falls behind a baseline: its test figure at the end, before that its validation at the same step.

    `figure` is "accuracy" or "prediction_loss". Runs of another length are compared at their end only.
    """
    final = next((record for record in reversed(records) if record.get("kind") == "final"), {})
    tested = final.get(f"test_{figure}")
    if is_number(tested):
        if baseline.test is None or not _is_behind(tested, baseline.test, figure):
            return None
        return _behind(f"{_text(tested, figure)} on the test pictures", _text(baseline.test, figure), "", baseline)
    validations = [record for record in records if record.get("kind") == "validation" and is_number(record.get(figure))]
    if not validations or steps != baseline.steps or validations[-1]["step"] < PATIENCE * steps:
        return None
    step, score = validations[-1]["step"], validations[-1][figure]
    known = baseline.validation.get(step)
    if known is None or not _is_behind(score, known, figure):
        return None
    return _behind(f"{_text(score, figure)} at step {step:,}", _text(known, figure), " there", baseline)


def _is_behind(score: float, known: float, figure: str) -> bool:
    return score < known - MARGIN if figure == "accuracy" else score > known * (1 + LOSS_MARGIN)


def _behind(own: str, known: str, there: str, baseline: Baseline) -> str:
    return (
        f"Below the baseline: {own}; the same student without distillation has {known}{there} ({baseline.title}). "
        "Other loss weights, a longer run or the teacher’s weights to start from may help."
    )


def _text(score: float, figure: str) -> str:
    return numbers.format_percent(score) if figure == "accuracy" else f"a loss of {numbers.format_number(score)}"


def red_sign(peak_bytes: int, bare_bytes: int) -> str | None:
    """Whether RED blocks raise the student's peak: both in bytes, with the blocks and without."""
    if peak_bytes <= bare_bytes:
        return None
    return (
        f"RED blocks have become the memory peak: {numbers.format_bytes(peak_bytes)}, without them the student needs "
        f"{numbers.format_bytes(bare_bytes)}. Blocks of another form may need less, such as with a gate per channel."
    )

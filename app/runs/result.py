"""One result: a trained network, or the same with several seeds, and which results no other one beats. No gradio."""

from __future__ import annotations

import contextlib
import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from redistill.common.values import is_number
from redistill.data.drawn import DRAWN
from redistill.data.table import DATASETS
from redistill.memory.comparison import Comparison, compare
from redistill.networks.student import StudentConfig
from redistill.training.config import OF_A_RUN, DistillConfig

from ..words.settings import dataset_title, learning_sources
from .choices import check_opens_no_file

PATCHES = "patches"  # the kind of rows of networks in patches
SHARED = "one network for all strides"  # the kind of what one set of weights reaches at a choice of strides
OWN, READY = "own run", "ready-made"
LOSS = "prediction_loss"  # by which networks that draw are judged


@dataclass(frozen=True)
class Result:
    """One trained network, or the same one with several seeds: a mean where one run would be an accident."""

    # Finds it again: "run:NAME", "shipped:NAME", "shared:NAME-STRIDES", "study:STRIDE-METHOD" or "FILE:NETWORK-METHOD".
    key: str
    title: str
    origin: str  # OWN or READY
    state: str  # "finished", or what an own run is doing
    config: DistillConfig
    peak_bytes: int  # of the network's activations: batch 1, fp32, fused, RED blocks included
    score: float | None  # test figure of a finished run, else the best validation so far, else None
    is_tested: bool  # whether `score` is the test figure
    scores: tuple[float, ...] = ()  # of each seed; `score` is their mean
    seeds: tuple[int, ...] = ()
    kind: str = ""  # of what a study holds students of other strides against, such as "smaller images"
    figures: Mapping[str, Any] = field(default_factory=dict)  # of the final record; of several: `over_seeds`
    judged_by: str = ""  # what of the pictures that it draws `score` is, such as "kid"; "": the accuracy or the loss
    margin: float | None = None  # half the 95 % interval of such a score

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
    def range(self) -> tuple[float, float]:
        """The least and the greatest score of the seeds, in the scores' own unit; (0, 0) while there is no score.

        Of a score with a margin, the ends of its interval.
        """
        if self.margin is not None and self.score is not None:
            return self.score - self.margin, self.score + self.margin
        scores = self.scores or (self.score or 0.0,)
        return min(scores), max(scores)

    @property
    def spread(self) -> float:
        """Half the range of the score over the seeds, 0.0 of one seed, which has none."""
        least, most = self.range
        return (most - least) / 2

    @property
    def validation(self) -> float | None:
        """The mean figure on the validation pictures, by which settings are chosen; None where none was noted, and
        for a result that is judged by what it draws."""
        return None if self.judged_by else number(self.figures.get(f"validation_{figure_of(self.config)}"))

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates of one picture, with RED blocks and what patches compute twice; None: not counted."""
        known = self.figures.get("macs")
        if is_number(known):
            return int(known)
        with contextlib.suppress(ValueError):
            return counted(self.config.student).student.macs
        return None

    @property
    def is_classifier(self) -> bool:
        """Whether `score` is an accuracy (higher is better), not the loss of a prediction (lower is better)."""
        return self.config.student.task == "classification"

    @property
    def cost(self) -> float:
        """What sorts results with a score, the best first: the score itself, or less of it where more is better."""
        return -self.score if self.is_better_high else self.score

    @property
    def is_better_high(self) -> bool:
        """Whether more of `score` is better."""
        return self.is_classifier or self.judged_by == "recall"

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

    @cached_property  # asked for again and again while views are drawn
    def learning(self) -> str:
        """What it learnt from, see `learning_sources`."""
        return learning_sources(self.config)

    @cached_property  # as that
    def setting(self) -> str:
        """What results of one setting have in common: everything but what a run has of its own."""
        settings = {name: value for name, value in self.config.to_dict().items() if name not in OF_A_RUN}
        kind = SHARED if self.config.stride_vectors else self.kind  # also of the checkpoint itself, which has none
        return json.dumps([kind, self.peak_bytes, settings], sort_keys=True, default=str)


def pareto_front(results: Iterable[Result]) -> list[Result]:
    """The tested results that no other one beats, by rising memory; of equal ones the first.

    They are judged by their validation figures where all have one, so that the test figures have no part in the choice,
    else by their test figures.
    """
    tested = [result for result in results if result.is_tested]
    judged = all(result.validation is not None for result in tested)
    front: list[tuple[float, Result]] = []
    for result in sorted(tested, key=lambda result: result.peak_bytes):
        cost = result.cost
        if judged:
            cost = -result.validation if result.is_classifier else result.validation
        front = [(best, one) for best, one in front if one.peak_bytes < result.peak_bytes or best <= cost]
        if not front or cost < front[-1][0]:
            front.append((cost, result))
    return [result for _, result in front]


def groups(results: Sequence[Result]) -> list[tuple[str, str]]:
    """Groups that have a score to show as (title, name), the one with the most results first."""
    names = [result.group for result in results]
    found = {(result.group_title, result.group) for result in results if result.score is not None}
    return sorted(found, key=lambda group: (-names.count(group[1]), group))


def over_seeds(finals: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of several seeds as one record: means, bytes in whole ones, and the median of the training time.

    The time is that of a clock on the wall: one run beside other work would decide the mean. What is no number is
    the first seed's.
    """
    found = dict(finals[0])
    for name in found:
        values = [value for final in finals if (value := number(final.get(name))) is not None]
        if len(set(values)) < 2:
            continue
        found[name] = statistics.median(values) if name == "seconds" else statistics.mean(values)
        if name.endswith("_bytes"):
            found[name] = round(found[name])
    return found


def figure_of(config: DistillConfig) -> str:
    """What the network is judged by."""
    return "accuracy" if config.student.task == "classification" else LOSS


def counted(student: StudentConfig) -> Comparison:
    """A student beside its teacher and itself without RED blocks: batch 1, fp32, fused. ValueError if it cannot be."""
    check_opens_no_file(student)
    return compare(student)


def peak_bytes(student: StudentConfig) -> int:
    """Peak activation memory of a student, RED blocks included, as `counted` gives it."""
    return counted(student).student.peak_bytes


def number(value: Any) -> float | None:
    """The value as a float; None for what is no number."""
    return float(value) if is_number(value) else None

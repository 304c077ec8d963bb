"""One classifier for every memory budget, as a task: its strides are drawn anew at each step (see `task.Task`).

A step runs the same pictures through the network at several stride vectors of its space, and its losses are means over
them: cross entropy, KD of the teacher's logits, and RED of maps. RED blocks stand where the two networks are aligned by
place, so that every vector has all of them: aligned by size, each vector has others, which few would train.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..data.source import Split
from ..networks.pooling_points import find_pooling_points
from ..networks.strides import apply_strides
from . import classification
from .classification import (
    PREVIEW_PASSES,
    accuracy,
    check_networks,
    example_inputs,
    images_a_step,
    validation_limit,
    write_preview,
)
from .losses import mean_of
from .objective import ask_student, ask_teacher
from .recalibration import PICTURES, recalibrate
from .stride_vectors import PROBED, vector_space
from .task import Problem

__all__ = [
    "PREVIEW_PASSES",
    "check_networks",
    "example_inputs",
    "images_a_step",
    "judge",
    "judging_passes",
    "losses",
    "score",
    "set_up",
    "settle",
    "validation_limit",
    "write_preview",
]


def set_up(problem: Problem) -> None:
    """As for any classifier, and find the pooling points whose strides will change.

    Raises ValueError for a student whose own strides have another total reduction than its network.
    """
    classification.set_up(problem)
    problem.points = find_pooling_points(problem.model, problem.config.student.image_size)
    student, strides = problem.config.student, student_strides(problem)
    space = vector_space(student)
    if space.find(strides) is None:
        raise ValueError(
            f"The student's strides {strides} are none of the {len(space.candidates)} choices that one network is "
            f"trained for; expected those with a total reduction of {space.largest.reduction}, of strides 1, 2, 4 and "
            f"8, such as {space.largest.strides}"
            + (", whose RED blocks need no more memory than the network without." if student.red else ".")
        )
    if student.red or problem.objective.comparisons:
        laid_out = next((point.name for point in problem.points if set(point.layouts) != {"NCHW"}), None)
        if laid_out:
            raise ValueError(
                f"The map of {laid_out!r} is one of tokens, whose RED blocks and losses are for one size of it; train "
                "one network for all strides without RED blocks and with red_weight 0."
            )


def student_strides(problem: Problem) -> dict[str, int]:
    """The strides of every pooling point that the run's settings give its student."""
    return {point.name: point.stride for point in problem.points}


def losses(problem: Problem, step: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Named loss parts of training step `step`, unweighted scalars: means over the step's stride vectors."""
    config = problem.config
    space = vector_space(config.student)
    vectors = space.draw(config.stride_vectors, generator, step, config.stride_sampling == "front")
    images, labels = classification.batch(problem, step, generator)
    comparisons, with_kd = problem.objective.comparisons, problem.teacher is not None and config.kd_weight > 0
    targets, kept = None, []
    if with_kd or comparisons:  # the teacher's answer is the same for all vectors
        targets, kept = ask_teacher(problem.teacher, (images,), comparisons, with_kd, config.precision)
    parts: dict[str, list[Tensor]] = {}
    for vector in vectors:
        apply_strides(problem.model, problem.points, vector.strides)
        logits, compared = ask_student(problem.model, (images,), comparisons, list(kept), config.precision)
        found = {"task_loss": classification.task_loss(problem, logits.float(), labels), **compared}
        if with_kd:
            found["kd_loss"] = classification.logits_loss(problem, logits.float(), targets.float(), labels)
        for name, value in found.items():
            parts.setdefault(name, []).append(value)
    return {name: mean_of(values) for name, values in parts.items()}


def judge(problem: Problem, model: nn.Module, split: Split) -> dict[str, float]:
    """Accuracy at the student's own strides, and the mean over vectors that stand for the front.

    Statistics are measured for each vector, in a copy: the model keeps its own.
    """
    model = copy.deepcopy(model)
    found = {}
    for vector in vector_space(problem.config.student).probes():
        apply_strides(model, problem.points, vector.strides)
        found[tuple(vector.strides.values())] = accuracy(recalibrate(model, problem.train), split, is_learning=True)
    front_accuracy = sum(found.values()) / len(found)
    own = tuple(student_strides(problem).values())
    if own not in found:
        settle(problem, model)
        found[own] = accuracy(model, split, is_learning=True)
    return {"accuracy": found[own], "front_accuracy": front_accuracy}


def judging_passes(count: int) -> int:
    """How many images pass the network when a split of `count` is judged."""
    return PROBED * (PICTURES + count)


def score(figures: Mapping[str, float]) -> float:
    """What the best weights are chosen by: all of the front counts."""
    return figures["front_accuracy"]


def settle(problem: Problem, model: nn.Module) -> None:
    """Give the model the student's own strides, with statistics that were measured at them."""
    apply_strides(model, problem.points, student_strides(problem))
    recalibrate(model, problem.train)

"""How a teacher itself does on a run's pictures, measured before it teaches: one that is bad there needs a yes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..checkpoint.metadata import Metadata
from ..common.devices import no_tf32
from ..common.modules import eval_mode
from ..common.settings import SettingError
from ..data.source import Split
from ..networks.head import check_numbers, random_images
from .intervals import wilson
from .task import Problem

if TYPE_CHECKING:
    from .config import DistillConfig

PICTURES = {"classification": 512, "diffusion": 64}  # of validation, at most
PART = 32  # pictures between two looks at the clock
SECONDS = 30.0  # after which no further part is judged
LEARNT = 0.25  # of the way from guessing to being always right: less is bad
OF_ITS_OWN = 0.8  # of the accuracy that its card tells: less is bad
TIMES_ITS_OWN = 2.0  # the error that its card tells: more is bad; without a card nothing says what is

Judge = Callable[[Problem, nn.Module, Split], Mapping[str, float]]


def try_teacher(problem: Problem, card: Metadata | None, judge: Judge) -> dict[str, Any] | None:
    """How the run's teacher does on its validation pictures; None where it teaches nothing or its outputs are not these
    pictures' classes.

    The figure is that of `judge`, `accuracy` with a 95 % interval or `prediction_loss`, on `pictures` of them; `own`
    is what its card tells of its own test pictures, `classes` how outputs and labels are matched, and `bad` a sentence
    about one that does badly, else None. Bad is an accuracy whose interval lies below a quarter of the way from
    guessing to being right, or below 0.8 times its own, and an error above twice its own. Takes half a minute, and at
    most what one part of 32 pictures takes besides.
    """
    config = problem.config
    if problem.teacher is None or not problem.teacher_is_judged:
        return None
    figure, value, count = _judged(problem, judge)
    own = (card.metrics if card else {}).get(f"test_{figure}")
    own = own if isinstance(own, (int, float)) else None
    record = {figure: value, "pictures": count, "own": own}
    if figure == "accuracy":
        low, high = wilson(value, count)
        chance = 1 / max(1, len(problem.class_names))
        is_bad = high < max(chance + LEARNT * (1 - chance), OF_ITS_OWN * (own or 0))
        named = bool(card and card.class_names)
        record |= {"interval": [low, high], "classes": "by name" if named else "by place: the teacher has no names"}
    else:
        is_bad = own is not None and value > TIMES_ITS_OWN * own
    return record | {"bad": _sentence(config, card, record, figure) if is_bad else None}


@torch.no_grad()
def answers_to_noise(problem: Problem, *beside: Tensor) -> Tensor:
    """What a run's teacher answers to two images of noise, and what it takes `beside` them, fp32.

    Raises ValueError where that is no number: then no setting of the run would mend it.
    """
    config, teacher = problem.config, problem.teacher
    size = config.student.image_size
    noise = random_images(2, (config.student.in_channels, size, size)).to(problem.device)
    with eval_mode(teacher), no_tf32():
        answers = teacher(noise, *beside)
    answers = getattr(answers, "sample", answers).float()
    check_numbers(answers.isfinite().all(), f"The teacher {config.teacher_checkpoint}")
    return answers


def check_trial(config: DistillConfig, trial: Mapping[str, Any] | None) -> None:
    """SettingError for a teacher that does badly, unless the settings accept it."""
    if trial and trial["bad"] and not config.accept_teacher:
        raise SettingError(
            "{bad} Train a teacher on pictures of this kind and size, or set {accept_teacher}.",
            texts={"bad": trial["bad"]},
        )


def _judged(problem: Problem, judge: Judge) -> tuple[str, float, int]:
    """The figure's name, its mean over the pictures that there was time for, and how many they are."""
    limit = PICTURES[problem.config.student.task]
    images, labels = problem.validation.images[:limit], problem.validation.labels[:limit]
    end, total, count, name = time.monotonic() + SECONDS, 0.0, 0, ""
    for part in zip(images.split(PART), labels.split(PART), strict=True):
        ((name, value),) = judge(problem, problem.teacher, Split(*part)).items()
        total, count = total + value * len(part[1]), count + len(part[1])
        if time.monotonic() > end:
            break
    return name, total / count, count


def _sentence(config: DistillConfig, card: Metadata | None, record: Mapping[str, Any], figure: str) -> str:
    of = f"of {record['pictures']:,} validation pictures"
    own = record["own"]
    if figure == "accuracy":
        low, high = (f"{100 * end:.0f}" for end in record["interval"])
        said = f"is right on {100 * record[figure]:.1f} % {of} (95 % interval {low} to {high} %)"
        told = f", where its card tells {100 * own:.1f} % of its own" if own is not None else ""
    else:
        said = f"predicts {of} with an error of {record[figure]:.3f}"
        told = f", where its card tells {own:.3f} of its own" if own is not None else ""
    size = card.student.image_size if card else config.student.image_size
    sized = f"; it was trained at {size} px, these have {config.student.image_size}"
    return f"The teacher {config.teacher_checkpoint} {said}{told}{sized if size != config.student.image_size else ''}."

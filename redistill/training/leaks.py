"""Whether a run's teacher has seen what the run keeps apart: by how splits were drawn, and by the pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..checkpoint.metadata import Metadata
from ..common.settings import SettingError
from ..data.datasets import find_dataset, load_split
from ..data.twins import Learnt, fingerprints, learnt_from, share_learnt
from .task import Problem

if TYPE_CHECKING:
    from .config import DistillConfig

MANY = 10_000  # test pictures of which not all are looked at
LOOKED_AT = 2000  # of so many
SEEN = 0.1  # share of what is kept apart from which on a teacher is refused; sets of photographs have a few twins


def check_draw(config: DistillConfig, card: Metadata | None, splits: str | None) -> None:
    """ValueError for a teacher that learnt when other pictures were there to draw the same data set's splits from, or
    that drew others from the same pictures, which may have been copied to another place."""
    is_copy = card is not None and splits is not None and card.drawn_from == splits
    if is_copy and card.split_seed != config.split_seed:
        raise SettingError(
            "The teacher was trained on the same pictures, in {its_dataset}, with {split_seed} {its_seed}, not "
            "{value}: it may have seen what this run validates or tests on; set {split_seed} to {its_seed}.",
            config.split_seed,
            {"its_seed": card.split_seed, "its_dataset": card.dataset},
        )
    if card is not None and card.dataset == config.dataset and card.drawn_from not in (None, splits):
        raise ValueError(
            f"Pictures of {config.dataset} were added, removed or renamed since the teacher was trained, so it may "
            "have seen what this run validates or tests on; train a teacher on them anew."
        )


def check_not_seen(problem: Problem, card: Metadata, splits: str | None) -> None:
    """ValueError for a teacher that has learnt validation or test pictures of the run, as far as its card tells.

    By what pictures show, so that copies are found whose files are called otherwise or stored in another format.
    `splits` is what the run's splits are drawn from; where the teacher's were drawn from the same, `check_draw` says
    all. Takes no longer than reading the validation and, up to `MANY`, test pictures, which are then in the cache.
    """
    config, learnt = problem.config, Learnt.from_dict(card.learnt)
    if learnt is None or (card.dataset == config.dataset and card.drawn_from == splits):
        return
    spec = find_dataset(config.dataset, config.split_seed)
    limit = LOOKED_AT if spec.split_sizes["test"] > MANY else None
    test = load_split(config.dataset, "test", config.student.image_size, limit, config.split_seed)
    kept_apart = np.concatenate([fingerprints(split.images) for split in (problem.validation, test)])
    share = share_learnt(learnt, kept_apart, learnt_from(problem.train.images))
    if share >= SEEN:
        raise ValueError(
            f"The teacher {config.teacher_checkpoint} was trained on {100 * share:.0f} %, about, of the pictures that "
            f"this run validates and tests on, in {card.dataset}, whatever their files are called; train a teacher on "
            f"{config.dataset}, or name the pictures that it was trained on as the data set."
        )

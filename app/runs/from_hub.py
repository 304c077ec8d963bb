"""Networks that were pushed to the Hub, by their id: looked at, or brought in, so that all tabs have them. No gradio.

Their cards may be anybody's: what is kept of them is what can be checked.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.imported import free_folder
from redistill.checkpoint.metadata import Metadata, read_metadata
from redistill.checkpoint.pipeline import load_scheduler
from redistill.checkpoint.sources import CONFIG, MAX_DOWNLOAD, ON_HUB, fetch_checkpoint
from redistill.common.hub import split_id
from redistill.common.values import is_number, is_whole
from redistill.data.table import DATASETS
from redistill.data.twins import Learnt

from ..visitors import access
from ..visitors.limits import check_brought, check_network, limits_here
from . import choices

Token = str | bool | None  # as `visitors.who.token_of_request` gives it
MOST_OF_A_CARD = 16 * 2**20  # bytes
FIGURES = ("step", "test_accuracy", "test_prediction_loss")
COUNTS = ("seed", "steps", "split_seed", "stride_vectors")
PREDICTIONS = ("epsilon", "v_prediction")


def look_up(source: str, token: Token) -> Metadata:
    """What the card of a network of the Hub says, which is all that is fetched of it.

    source: "hub:owner/name", with @revision where wanted; token: of who asks. Raises ValueError, in one sentence, for
    what is no such network, what the Hub does not give, and without a network.
    """
    with _cache() as cache:
        return _checked(_fetch_card(source, token, cache))


def take(source: str, token: Token, check: Callable[[Metadata], Any] = lambda card: None) -> choices.Choice:
    """Bring a network of the Hub in, and return it as the checkpoint that who asks can choose from now on.

    A revision is brought in once. `check` sees the card before any weights are fetched, and raises ValueError for one
    that is not wanted; otherwise as `look_up`.
    """
    owner = access.owner()  # first of all: or nobody could find it again
    with _cache() as cache:
        folder = _fetch_card(source, token, cache)
        card, (repo, _) = _checked(folder), split_id(source.removeprefix(ON_HUB))
        check(card)
        told = {"hub": repo, "revision": folder.name}  # that of the commit
        place = free_folder(repo.replace("/", "-"), lambda place: _is_of(place, told))
        if place.exists():
            os.utime(place)  # it is used
        else:
            check_brought()
            most = limits_here().weight_bytes or MAX_DOWNLOAD
            folder = fetch_checkpoint(f"{repo}@{folder.name}", most_bytes=most, token=token, cache=cache)
            scheduler = load_scheduler(folder) if choices.is_diffusion(card) else None
            checkpoint.save(checkpoint.load(folder), dataclasses.replace(card, imported=told), place, scheduler)
    if owner is not None:
        access.claim("teacher", place.name)
    return choices.find(f"{choices.IMPORTED}{place.name}", lambda card: True)


def _is_of(place: Path, told: Mapping[str, str]) -> bool:
    try:
        return read_metadata(place).imported == told
    except ValueError:
        return False


@contextlib.contextmanager
def _cache() -> Iterator[Path | None]:
    """On a Space a folder for a while: in the Hub's cache others would have what a visitor's token opens, and it would
    grow without an end. On a laptop that cache."""
    if not access.is_shared():
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="redistill-hub-") as folder:
        yield Path(folder)


def _fetch_card(source: str, token: Token, cache: Path | None) -> Path:
    return fetch_checkpoint(source, files=(CONFIG,), most_bytes=MOST_OF_A_CARD, token=token, cache=cache)


def _checked(folder: Path) -> Metadata:
    """The card without what only its writer's machine knows; ValueError for a network that is not built here."""
    metadata = read_metadata(folder)
    student = metadata.student
    choices.check_opens_no_file(student)
    if student.unknown_unets:
        raise ValueError(f"It is of the network {student.unknown_unets[0][:200]}, of which its card tells no settings.")
    check_network(student)
    is_public = metadata.dataset in DATASETS or metadata.dataset.startswith("hub:")
    learnt = Learnt.from_dict(metadata.learnt)
    return dataclasses.replace(
        metadata,
        dataset=metadata.dataset if is_public else "",
        drawn_from=metadata.drawn_from if is_public else None,
        metrics={name: metadata.metrics[name] for name in FIGURES if is_number(metadata.metrics.get(name))},
        training=_believed(metadata.training),
        learnt=learnt.to_dict() if learnt else {},
        imported={},
    )


def _believed(training: Any) -> dict[str, Any]:
    """Of the settings of its training those that others here go by."""
    counts = {name: training[name] for name in COUNTS if is_whole(training.get(name), 0, 2**63)}
    kind = training.get("prediction_type")
    return counts | ({"prediction_type": kind} if kind in PREDICTIONS else {})

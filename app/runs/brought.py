"""Networks whose weights a person brought in, from a file or the Hub: what there is, since when, and how it goes.
No gradio."""

from __future__ import annotations

from collections.abc import Sequence

from redistill.checkpoint.imported import remove_imported
from redistill.common.disk import folder_bytes

from ..visitors import access
from ..words.numbers import format_bytes, format_pixels, format_time
from ..words.settings import network_title
from . import jobs, run_list
from .choices import IMPORTED, Choice, checkpoints, folder


def list_brought() -> list[tuple[str, str]]:
    """What who asks has brought in, as (title, value of the choice): with its network, its size and since when."""
    return [(_listed(choice), choice.value) for choice in checkpoints(lambda card: True) if _is_brought(choice.value)]


def _listed(choice: Choice) -> str:
    student, place = choice.metadata.student, folder(choice)
    facts = [f"{network_title(student)}, {format_pixels(student.image_size)}", format_bytes(folder_bytes(place))]
    return ", ".join([choice.title, *facts, format_time(place.stat().st_ctime)])


def users(value: object) -> list[jobs.Run]:
    """The runs of who asks that learn or learnt from a network that was brought in; ValueError where it is gone."""
    place = str(folder(_find(value)))
    return [run for run in run_list.list_runs() if run.config.get("teacher_checkpoint") == place]


def remove(value: object) -> None:
    """Delete a network that was brought in. ValueError where it is gone or was not brought, and while a run learns from
    it; of several who brought the same, the last one's goes."""
    name = _find(value).value.removeprefix(IMPORTED)
    if going := [run for run in users(value) if run.state in jobs.ALIVE]:
        raise ValueError(f"{_runs(going)} from it now; stop first.")
    if access.disown("teacher", name):
        remove_imported(name)
        access.forget("teacher", name)


def _runs(runs: Sequence[jobs.Run]) -> str:
    return f"{len(runs)} run{'s learn' if len(runs) > 1 else ' learns'}"


def _find(value: object) -> Choice:
    for choice in checkpoints(lambda card: True):
        if choice.value == value and _is_brought(choice.value):
            return choice
    raise ValueError(f"There are no weights {str(value)[:80].removeprefix(IMPORTED)!r} here any more.")


def _is_brought(value: str) -> bool:
    return value.startswith(IMPORTED)

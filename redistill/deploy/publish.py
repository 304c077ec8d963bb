"""A trained student on the Hugging Face Hub: its folder, a card that says what it saves, and files of runtimes."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..checkpoint.metadata import CARD
from ..common.files import copy_folder, write_text
from ..common.hub import asking, own_token, refusal, split_id
from ..memory.comparison import compare
from .formats import FORMATS
from .hub_card import CHARTS, card_text
from .memory_picture import memory_png
from .opened import Opened, open_network

UNREACHED = "The Hub cannot be reached; connect to the network, and push once more: nothing of the run is lost."


def push(
    network: str | Path,
    repo: str,
    token: str | bool | None = None,
    private: bool = False,
    runtimes: Iterable[str] | Mapping[str, Path] = (),
) -> str:
    """Push a checkpoint, or that of a finished run, to the model repository `owner/name`, and return its address.

    The repository is made where it is not there yet. Its folder opens as this one does (`redistill.load("hub:ID")`, or
    with torch or diffusers alone), with a card and the two memory charts; `runtimes`, some of FORMATS, are exported
    into it first, or copied where each comes with its file. token: default, that of `hf auth login`, and on a Space
    none. Raises ValueError, in one sentence, for a name that is no id, what cannot be exported, a refusal of the Hub, a
    private repository that is there and public, and without a network.
    """
    check_repository(repo)
    if unknown := [name for name in runtimes if name not in FORMATS]:
        raise ValueError(f"No file of a runtime {unknown[0]!r}; expected some of {list(FORMATS)}.")
    opened = dataclasses.replace(open_network(network), name=repo.partition("/")[2])
    with tempfile.TemporaryDirectory(prefix="redistill-push-") as place:
        folder = Path(place) / "model"
        copy_folder(opened.folder, folder)
        write_beside(opened, folder, runtimes)
        return _upload(folder, repo, own_token() if token is None else token, private)


def check_repository(repo: str) -> None:
    """ValueError for the name of a repository that is no `owner/name`."""
    if split_id(repo) != (repo, None):
        raise ValueError(f"Repository is {repo[:80]!r}; expected owner/name, such as you/resnet18-512k.")


def write_beside(opened: Opened, folder: Path, runtimes: Iterable[str] | Mapping[str, Path] = ()) -> None:
    """Write the card, its charts, and the network's files of runtimes, as `push` takes them, into a folder."""
    found = compare(opened.metadata.student)
    most = max(found.teacher.peak_bytes, found.student.peak_bytes)
    for who, name in CHARTS.items():
        (folder / name).write_bytes(memory_png(getattr(found, who), most, who.capitalize()))
    made, kinds = runtimes if isinstance(runtimes, Mapping) else {}, dict.fromkeys(runtimes)
    for kind in kinds:
        file = folder / _name_of(kind)
        shutil.copy(made[kind], file) if kind in made else FORMATS[kind].write(opened, file)
    files = tuple(map(_name_of, kinds))
    write_text(folder / CARD, card_text(opened, found, files))


def _name_of(kind: str) -> str:
    """What a repository calls a network's file of a kind."""
    return f"model{FORMATS[kind].ending}"


def _upload(folder: Path, repo: str, token: str | bool | None, private: bool) -> str:
    def refused(error: Any) -> str:
        return f"The Hub does not take {repo} ({refusal(error)}); check its id, and your token."

    with asking(token, refused, UNREACHED) as api:
        address = api.create_repo(repo, private=private, exist_ok=True)
        if private and not api.model_info(repo).private:  # of before: creating it changes nothing then
            raise ValueError(f"{repo} is there and public; make it private on the Hub first, or name another.")
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message="A student of ReDistill Studio")
    return str(address)

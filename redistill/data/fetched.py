"""What lies on the disk and can be had again: repositories in the Hub's cache, and what was made of their pictures."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..common.cache import cache_dir
from ..common.disk import file_bytes, folder_bytes
from . import decode, hub_sets
from .decode import DAMAGED


@dataclass(frozen=True)
class Fetched:
    """A repository, or a folder or file that was made of one; a process that reads its pictures keeps them."""

    name: str  # "owner/name", or of what was made its name in the cache folder
    bytes: int
    used: float  # seconds since 1970, as well as the disk tells
    remove: Callable[[], object]


def list_fetched(since: float) -> list[Fetched]:
    """Repositories that came after a time (seconds since 1970), and all that was made of pictures: used longest ago
    first. What the cache held before may be somebody else's."""
    return sorted([*_repositories(since), *_made()], key=lambda one: one.used)


def _repositories(since: float) -> list[Fetched]:
    from huggingface_hub import CacheNotFound, constants, scan_cache_dir

    try:
        cache = scan_cache_dir(constants.HF_HUB_CACHE)
    except CacheNotFound:
        return []
    return [
        Fetched(repo.repo_id, repo.size_on_disk, repo.last_accessed, lambda path=repo.repo_path: _remove(path))
        for repo in cache.repos
        if repo.last_modified >= since
    ]


def _made() -> list[Fetched]:
    """What is whole: names that begin with a dot are of what is being written, and of locks."""
    found = []
    for path in (path for room in (decode, hub_sets) for path in (cache_dir() / room.FOLDER).glob("[!.]*")):
        if path.name.endswith(DAMAGED):
            continue
        both = (path, path.with_suffix(DAMAGED))
        with contextlib.suppress(FileNotFoundError):  # it went meanwhile
            size, status = sum(folder_bytes(one) if one.is_dir() else file_bytes(one) for one in both), path.stat()
            used = max(status.st_atime, status.st_mtime)
            found.append(Fetched(f"{path.parent.name}/{path.name}", size, used, lambda both=both: _remove(*both)))
    return [one for one in found if one.bytes]


def _remove(*paths: Path) -> None:
    for path in paths:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

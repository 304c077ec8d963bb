"""What lies on the disk and can be had again: repositories in the Hub's cache, and what was made of their pictures."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .cache import cache_dir
from .disk import folder_bytes

MADE = ("hub", "decoded")  # in the cache folder: tables of data sets as they are read, and decoded pictures


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
    found = (path for name in MADE for path in (cache_dir() / name).glob("*"))
    return [
        Fetched(f"{path.parent.name}/{path.name}", size, _used(path), lambda path=path: _remove(path))
        for path in found
        if (size := folder_bytes(path) if path.is_dir() else path.stat().st_size)
    ]


def _used(path: Path) -> float:
    found = path.stat()
    return max(found.st_atime, found.st_mtime)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

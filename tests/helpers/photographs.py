"""Some pictures of the archives of photographs that lie beside the code, where they do: they do not ship."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def photographs(name: str, folder: Path, each: int) -> Path:
    """A folder with the first `each` pictures of each class of each part of an archive; skips without that archive.

    The whole of one, which a person would take, is 60,000 files that are unpacked and looked into.
    """
    archive = DATA / f"{name}.zip"
    if not archive.exists():
        pytest.skip(f"no photographs at {archive}, which do not ship")
    taken: Counter[PurePosixPath] = Counter()
    with zipfile.ZipFile(archive) as file:
        for member in file.namelist():
            place = PurePosixPath(member).parent
            taken[place] += 1
            if taken[place] <= each:
                file.extract(member, folder)
    return folder

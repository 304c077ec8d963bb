"""Visitors of a shared page: a test is one of them at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from app.visitors import access

SPACE = {"SYSTEM": "spaces", "SPACE_ID": "someone/studio"}


@contextlib.contextmanager
def asked_by(*names: str) -> Iterator[None]:
    """What is asked in the block comes, on a Space, from who has these names; without any from nobody."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SPACE.items():
            patch.setenv(name, value)
        patch.setattr(access, "_askers", [lambda: names])
        yield

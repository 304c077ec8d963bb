"""Visitors of a shared page: a test is one of them at a time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from gradio.context import LocalContext

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


@contextlib.contextmanager
def signed_in(token: str, seconds: float = 60.0) -> Iterator[None]:
    """What is asked in the block comes from who has signed in with Hugging Face, with this token, for so long."""
    info = {"userinfo": {"sub": "42"}, "access_token": token, "expires_at": time.time() + seconds}
    before = LocalContext.request.set(SimpleNamespace(headers={}, scope={"session": {"oauth_info": info}}))
    try:
        yield
    finally:
        LocalContext.request.reset(before)

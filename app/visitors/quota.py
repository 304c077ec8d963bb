"""Seconds of a lent GPU: what a visitor has a day, and what of it went here. Hugging Face keeps the true account, over
all Spaces; it tells nobody, but refuses a call that goes beyond.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from redistill.common.cache import cache_dir
from redistill.common.files import lock_beside, locked, read_json, write_json
from redistill.common.values import is_number

from ..words.numbers import format_duration
from . import access

DAY = 86_400.0  # seconds from the first call on, after which the quota is whole again
VISITOR, FREE, PRO = "without an account", "with a free account", "with PRO"
A_DAY = {VISITOR: 120.0, FREE: 300.0, PRO: 2400.0}  # seconds


def tier(account: Mapping[str, Any] | None) -> str:
    """Which of A_DAY a visitor has, by what Hugging Face says of who has signed in."""
    if account is None:
        return VISITOR
    return PRO if account.get("isPro") is True else FREE


def spend(seconds: float) -> None:
    """Note that a call of who asks took so long. Where that cannot be written, it is not counted."""
    file = _file()
    if file is None or seconds <= 0:
        return
    with contextlib.suppress(OSError), locked(lock_beside(file)):
        held = _held(file) or {"since": time.time(), "seconds": 0.0}
        write_json(file, {**held, "seconds": held["seconds"] + seconds})


def spent() -> float:
    """Seconds that went here in the day of who asks."""
    file = _file()
    held = _held(file) if file else None
    return held["seconds"] if held else 0.0


def said(account: Mapping[str, Any] | None) -> str:
    """What is used and left, in a sentence."""
    whose = tier(account)
    left = max(0.0, A_DAY[whose] - spent())
    more = ", ".join(f"{format_duration(seconds)} {who}" for who, seconds in A_DAY.items() if who != whose)
    return (
        f"Of the GPU, you have used {spent():.0f} s here today and have {left:.0f} s left of "
        f"{A_DAY[whose]:.0f} s {whose}, less what went on other Spaces ({more})."
    )


def _file() -> Path | None:
    try:
        owner = access.owner()
    except ValueError:
        return None
    return cache_dir() / "quota" / f"{hashlib.sha256((owner or '').encode()).hexdigest()[:40]}.json"


def _held(file: Path) -> dict[str, float] | None:
    try:
        held = read_json(file)
    except (ValueError, OSError):
        return None
    if not (is_number(held.get("since")) and is_number(held.get("seconds"))):
        return None
    return held if time.time() - held["since"] < DAY else None

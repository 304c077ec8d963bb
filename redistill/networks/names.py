"""How networks of one's own are named. Nothing is imported, so that who only asks waits for nothing."""

from __future__ import annotations

FILE, PROGRAM = "file:", ".pt2"  # before a path and a function's name; at the end of a path


def is_own(name: str) -> bool:
    """Whether a name is one of a file of one's own."""
    return name.startswith(FILE) or name.endswith(PROGRAM)

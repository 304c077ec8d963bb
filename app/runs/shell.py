"""The shell's command, asked by the page in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence

from ..visitors.place import worker_environment
from .processes import REPOSITORY


def ask_shell(arguments: Sequence[str], what: str, minutes: int, hidden: Mapping[str, str]) -> str:
    """What the command `redistill` prints for these arguments, in a process of its own.

    ValueError, in one sentence, where `what` fails or takes longer: its own last one, with names in place of what is
    `hidden`.
    """
    command = [sys.executable, "-m", "redistill", *arguments]
    settings = {"cwd": REPOSITORY, "env": worker_environment(), "timeout": 60 * minutes}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, **settings)
    except subprocess.TimeoutExpired:
        raise ValueError(f"The {what} took more than {minutes} minutes; run it in the shell.") from None
    if done.returncode == 0:
        return done.stdout
    said = (done.stderr.strip().splitlines() or [f"The {what} ended with {done.returncode}."])[-1]
    for text, name in hidden.items():
        said = said.replace(text, name)
    raise ValueError(said.removeprefix("redistill: "))

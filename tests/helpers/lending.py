"""A stand-in for the package `spaces` on ZeroGPU: functions are noted, and called with what a process would be sent."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

SOURCE = """
import functools, pickle
decorated = []

def GPU(task=None, *, duration=None, size=None):
    if task is None:
        return functools.partial(GPU, duration=duration, size=size)
    decorated.append(task.__name__)

    @functools.wraps(task)
    def call(*given):
        given = pickle.loads(pickle.dumps(given))
        call.asked.append(duration(*given) if callable(duration) else duration)
        return pickle.loads(pickle.dumps(task(*given)))

    call.asked, call.zerogpu = [], None
    return call

def gradio_auto_wrap(task):
    return task
"""


def write_spaces(folder: Path) -> Path:
    """The folder, which holds the package and can stand in PYTHONPATH."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spaces.py").write_text(SOURCE)
    return folder


def spaces() -> ModuleType:
    """The package in this process."""
    module = ModuleType("spaces")
    exec(SOURCE, module.__dict__)
    return module

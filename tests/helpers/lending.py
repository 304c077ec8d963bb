"""A stand-in for the package `spaces` on ZeroGPU: functions are called with what a process would be sent."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

SOURCE = """
import functools, pickle

def GPU(task=None, *, duration=None, size=None):
    if task is None:
        return functools.partial(GPU, duration=duration, size=size)

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


# The CPU is the GPU that is lent, in calls of two records each, which have a forked process as on ZeroGPU; each call is
# noted in the file `called`.
LENDS_CPU = """
import multiprocessing, pathlib, sys
plain, called = GPU, pathlib.Path(__file__).parent.with_name("called")

def GPU(task, **named):
    lent = sys.modules["app.runs.lent"]  # which decorates the first ones
    lent.is_lent = lambda config: True
    if hasattr(lent, "_Clock"):
        lent._Clock.fits = lambda clock, kind: clock.records % 2 != 0

    @functools.wraps(task)
    def in_a_process(*given):
        with open(called, "a") as file:
            file.write(task.__name__ + chr(10))
        fork = multiprocessing.get_context("fork")
        answer, end = fork.Pipe(duplex=False)
        process = fork.Process(target=lambda: end.send_bytes(pickle.dumps(task(*given))))
        process.start()
        end.close()
        done = answer.recv_bytes()
        process.join()
        return pickle.loads(done)

    return plain(in_a_process, **named)
"""
VERSION = "0.51.3"  # below 0.43 gradio says that it cannot watch a Space's files for changes


def write_spaces(folder: Path, lends_cpu: bool = False) -> Path:
    """The folder, which holds the package as every Space has it and can stand in PYTHONPATH."""
    package, told = folder / "spaces", folder / f"spaces-{VERSION}.dist-info"
    for made in (package, told):
        made.mkdir(parents=True)
    (package / "__init__.py").write_text(SOURCE + (LENDS_CPU if lends_cpu else ""))
    (package / "reloading.py").write_text("def start_reload_server(**ways): pass\n")
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: spaces\nVersion: {VERSION}\n")
    return folder


def called(folder: Path) -> list[str]:
    """Names of the functions that have been called with a GPU, in order, where the CPU is one."""
    return (folder / "called").read_text().split()


def spaces() -> ModuleType:
    """The package in this process."""
    module = ModuleType("spaces")
    exec(SOURCE, module.__dict__)
    return module

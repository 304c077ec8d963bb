"""The C compiler that is here: programs compiled, run and weighed."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..common.sentences import first_line

# Position-dependent, as programs for microcontrollers are: constants that point to others then lie in flash.
FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror", "-std=c99", "-fno-pie")
INSTALLED = "on Debian and Ubuntu: apt-get install gcc libc6-dev"


@dataclass(frozen=True)
class Weighed:
    """What an object file takes, in bytes."""

    ram_bytes: int  # data that a program writes: static, the stack apart
    flash_bytes: int  # code and constants


def find_compiler() -> str | None:
    """Path of the C compiler, None where there is none."""
    return shutil.which("cc") or shutil.which("gcc")


def check_compiler() -> str:
    """Path of the C compiler; ValueError, with how to get one, where there is none."""
    compiler = find_compiler()
    if compiler is None:
        raise ValueError(
            f"An export to C is compiled and run before it is written, and no C compiler is here; {INSTALLED}."
        )
    return compiler


def compiler_version() -> str:
    """Of the C compiler, as it calls itself."""
    return first_line(subprocess.run([check_compiler(), "--version"], capture_output=True, text=True).stdout)


def run_program(source: str, define: str, pictures: np.ndarray, count: int) -> tuple[np.ndarray, float]:
    """What a file of `c_source`, compiled as a program, prints of pictures; and milliseconds of one, their mean.

    pictures: uint8 (N, channels, height, width). Gives its numbers, uint8 (N, count). Raises as `compiled`.
    """
    with tempfile.TemporaryDirectory(prefix="redistill-") as folder:
        program = compiled(source, Path(folder) / "network", (f"-D{define}", "-no-pie"))
        given = np.ascontiguousarray(pictures.transpose(0, 2, 3, 1)).tobytes()
        start = time.perf_counter()
        done = subprocess.run([str(program)], input=given, capture_output=True)
        seconds = time.perf_counter() - start
    lines = done.stdout.decode().split("\n")[:-1]
    if done.returncode != 0 or len(lines) != len(pictures):
        raise ValueError(f"The C program ended with {done.returncode} after {len(lines)} of {len(pictures)} pictures.")
    numbers = np.array([line.split(" ", count)[:count] for line in lines], np.uint8)
    return numbers, 1000 * seconds / len(pictures)


def weighed(source: str) -> Weighed:
    """What a file of C takes, compiled as a part of another program, by the compiler's own `size`."""
    with tempfile.TemporaryDirectory(prefix="redistill-") as folder:
        return sizes_of(compiled(source, Path(folder) / "network.o", ("-c",)))


def sizes_of(file: Path, tool: str = "size") -> Weighed:
    """What an object file takes, by the `size` that belongs to its compiler."""
    told = subprocess.run([tool, str(file)], capture_output=True, text=True, check=True).stdout
    text, data, bss = (int(number) for number in told.splitlines()[1].split()[:3])
    return Weighed(data + bss, text + data)


def compiled(source: str, out: Path, flags: Sequence[str]) -> Path:
    """`out`, compiled without warnings; ValueError with what the compiler says, OSError for a disk that is full."""
    file = out.with_suffix(".c")
    file.write_text(source, encoding="utf-8")
    command = [check_compiler(), *FLAGS, *flags, str(file), "-o", str(out)]
    done = subprocess.run(command, cwd=out.parent, capture_output=True, text=True, env=os.environ | {"LC_ALL": "C"})
    if done.returncode != 0:
        if (
            os.strerror(errno.ENOSPC) in done.stderr
            or "File size limit" in done.stderr
            or "File too large" in done.stderr
        ):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        lines = [line for line in done.stderr.splitlines() if "error" in line] or [f"it ended with {done.returncode}"]
        raise ValueError(
            f"The C compiler refuses the program ({lines[0].partition('error: ')[2] or lines[0]}); {INSTALLED}."
        )
    return out

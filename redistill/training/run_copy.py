"""A run's folder copied to another place as it grows, such as a mounted bucket that outlives this machine.

The run itself is written on the disk of this machine: buckets have no locks, and their files cannot be added to.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from ..common.disk import told
from ..common.files import replaced_folder
from .run import STATUS

SECONDS = 15.0  # between two looks at what has changed


@contextlib.contextmanager
def copied(run_dir: Path, copy: Path | None) -> Iterator[None]:
    """A block in which a run's folder is copied to `copy` every SECONDS and once more at its end; None: nowhere.

    Where there is no run yet, it begins with what `copy` has. OSError where the last copy cannot be written; one
    before it is only told of, on stderr.
    """
    if copy is None:
        yield
        return
    if not run_dir.exists() and copy.is_dir():
        with replaced_folder(run_dir) as part:  # a half of it would be gone on with
            shutil.copytree(copy, part, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*"))
    seen: dict[Path, tuple[int, int]] = {}
    ended = threading.Event()

    def follow() -> None:
        while not ended.wait(SECONDS):
            try:
                bring(run_dir, copy, seen)
            except OSError as error:
                print(f"redistill: {copy} was not brought up to date ({error.strerror}).", file=sys.stderr)

    thread = threading.Thread(target=follow, name="copy-run", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        try:
            bring(run_dir, copy, seen)
        except OSError as error:
            words = (
                f"The copy in {copy} is not up to date ({{reason}}); the run itself lies whole in {run_dir}, copy that."
            )
            raise told(error, words) from error


def bring(run_dir: Path, copy: Path, seen: dict[Path, tuple[int, int]]) -> None:
    """Copy the files that have changed since `seen`, which is brought up to date; the status last, for it tells of the
    others. Hidden files are of this machine alone."""
    files = [file for file in run_dir.rglob("*") if not any(part[0] == "." for part in file.relative_to(run_dir).parts)]
    for file in sorted(files, key=lambda file: (file.name == STATUS, file)):
        with contextlib.suppress(FileNotFoundError):  # it was replaced or removed meanwhile
            stat = file.stat()
            if not file.is_file() or seen.get(file) == (stat.st_mtime_ns, stat.st_size):
                continue
            target = copy / file.relative_to(run_dir)
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}.part")
            try:
                shutil.copyfile(file, part)
                os.replace(part, target)
            except OSError:
                part.unlink(missing_ok=True)
                raise
            seen[file] = (stat.st_mtime_ns, stat.st_size)

"""The run folder: what a training run writes. How others read it while it runs is in `run_state.py`.

`config.json` all settings, `metrics.jsonl` one JSON record a line (of two lines for the same step and kind the later
one counts), `status.json` state and heartbeat, `last.pt` the resume point, `student/` the checkpoint, `classes.json`
what a finished classifier takes for what, `samples/`; a file `stop` asks the run to stop, and its process holds the
lock `.lock`. Files are written whole or not at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..common.disk import is_refusal, told
from ..common.files import locked, read_json, remove_leftovers, replaced_file, write_json
from ..common.values import is_whole

CONFIG, METRICS, STATUS, RESUME_POINT = "config.json", "metrics.jsonl", "status.json", "last.pt"
CLASSES = "classes.json"  # of a finished classifier: `per_class` and `confusion` of its test pictures
LOCK, STOP_FILE = ".lock", "stop"
RESERVE, RESERVED_BYTES = ".reserve", 32_768  # disk that is given back when it is full, so that the reason can be noted
LOCK_SECONDS = 0.3  # in which who only looks at the lock lets go of it


def write_status(run_dir: Path, state: str, step: int, steps: int, error: str | None, pid: int | None) -> None:
    """Note what a run does, see `RunFolder.write_status`; for others only when its process `pid` is gone."""
    status = {"state": state, "step": step, "steps": steps, "pid": pid, "heartbeat": time.time(), "error": error}
    write_json(run_dir / STATUS, status)


class RunFolder:
    """One run's folder, held by this process alone from `__init__` to `close`.

    `complete` gives the settings of a stored config that settings newer than it are added to; as it is by default.
    Raises ValueError when another process is training in it, when it holds a run with other settings, and when it
    cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        config: Mapping[str, Any],
        complete: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
    ) -> None:
        self.path = Path(path)
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(locked(self.path / LOCK, LOCK_SECONDS))
            except TimeoutError:
                raise ValueError(
                    f"Run folder {self.path} is in use by another process; choose another folder."
                ) from None
            except OSError as error:
                raise ValueError(
                    f"Run folder {self.path} cannot be written ({error.strerror}); choose another."
                ) from error
            with self.explained():
                remove_leftovers(self.path, spare=".process")  # of who starts runs as processes, and may write it now
                remove_leftovers(self.path / "samples")
                self._adopt(config, complete)
            with contextlib.suppress(OSError):  # a run that has no room for more fails soon, and says so then
                self._reserve()
            self._held = held.pop_all()

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """A block that writes into the folder: where the disk refuses, OSError says what is kept and what to do."""
        try:
            yield
        except OSError as error:
            if not is_refusal(error) or error.strerror is None:  # by another such block within, which has said it all
                raise
            kept, goes_on = "it has saved nothing yet", "begins anew"
            if (self.path / RESUME_POINT).exists():
                kept, goes_on = "what it saved last is kept", "goes on from there"
            raise told(
                error,
                f"The run cannot be written ({{reason}}) and ends; {kept}, and once there is room and its folder can "
                f"be written, the same run {goes_on}.",
            ) from error

    def _reserve(self) -> None:
        """Hold some disk, of noise: a file system may give a file of zeros no room."""
        path = self.path / RESERVE
        if not path.exists() or path.stat().st_size < RESERVED_BYTES:
            with replaced_file(path) as part:
                part.write_bytes(os.urandom(RESERVED_BYTES))

    def _adopt(self, config: Mapping[str, Any], complete: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        file = self.path / CONFIG
        if not file.exists():
            write_json(file, config)
            return
        config, stored = (json.loads(json.dumps(values)) for values in (config, complete(read_json(file))))
        changed = sorted(key for key in {*stored, *config} if stored.get(key) != config.get(key))
        if changed:
            raise ValueError(
                f"Run folder {self.path} holds a run with another {changed[0]!r} "
                f"({stored.get(changed[0])!r}, not {config.get(changed[0])!r}); choose another folder."
            )

    def finished(self) -> bool:
        """Whether the run came to its end; a run that was stopped or failed did not."""
        path = self.path / STATUS
        return path.exists() and read_json(path).get("state") == "finished"

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one record to metrics.jsonl. A last line that a crash cut short is ended first."""
        path = self.path / METRICS
        line = json.dumps(record) + "\n"
        with self.explained(), open(path, "ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    line = "\n" + line
            file.write(line.encode())

    def write_status(self, state: str, step: int, steps: int, error: str | None = None) -> None:
        """Note the step reached of `steps`, this process and the time (a heartbeat).

        state: "running", "finished", "stopped" or "failed". Where the disk is full, what was reserved goes for that.
        """
        note = partial(write_status, self.path, state, step, steps, error, os.getpid())
        with self.explained():
            try:
                note()
            except OSError:
                if state == "running":
                    raise
                (self.path / RESERVE).unlink(missing_ok=True)
                note()

    def save_resume_point(self, state: Mapping[str, Any]) -> None:
        """Write `last.pt`; tensors and plain values only, so that it loads without unpickling code."""
        with self.explained(), replaced_file(self.path / RESUME_POINT) as part, open(part, "wb") as file:
            torch.save(dict(state), file)  # not by its name: after an error it would stay open, and take its room

    def load_resume_point(self, mmap: bool = False) -> dict[str, Any] | None:
        """What `save_resume_point` wrote last, or None; ValueError for a damaged file. With `mmap`, tensors stay in
        the file until they are looked at."""
        path = self.path / RESUME_POINT
        if not path.exists():
            return None
        try:
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        except Exception as error:
            raise ValueError(f"Resume point {path} is damaged; delete it to start the run again.") from error
        if not _is_resume_point(found):
            raise ValueError(f"Resume point {path} is of no run; delete it to start the run again.")
        return found

    def resume_step(self) -> int:
        """The step that the run goes on from; ValueError for a damaged resume point."""
        return (self.load_resume_point(mmap=True) or {}).get("step", 0)

    def close(self) -> None:
        """Let go of the folder."""
        with contextlib.suppress(OSError):
            (self.path / RESERVE).unlink(missing_ok=True)
        self._held.close()


def _is_resume_point(found: object) -> bool:
    """Whether that is what `TrainingState.state_dict` gives, as far as the kinds of its parts tell."""
    kinds = {"model": Mapping, "optimizer": Mapping, "best": Mapping, "seconds": int | float, "best_score": int | float}
    return (
        isinstance(found, Mapping)
        and is_whole(found.get("step"), 0)
        and all(isinstance(found.get(name), kind) for name, kind in kinds.items())
    )

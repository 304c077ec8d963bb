"""Training runs as processes of their own: start, queue, watch, stop, resume, delete, all through files.

A run is a folder (see redistill/training/run.py) under the runs folder; the app keeps nothing in memory.
"""

from __future__ import annotations

import contextlib
import errno
import json
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from redistill.checkpoint.sources import imported_dir, list_shipped
from redistill.common.files import (
    locked,
    read_json,
    remove_folder,
    remove_leftovers,
    replaced_folder,
    write_json,
    write_text,
)
from redistill.common.settings import SettingError
from redistill.data.uploads import remove_upload
from redistill.networks.names import is_own
from redistill.networks.zoo import DDPM, is_pretrained
from redistill.training import hub_jobs
from redistill.training.config import DistillConfig
from redistill.training.resuming import change_run
from redistill.training.run import CONFIG, METRICS, STOP_FILE, write_status

from ..visitors import access
from ..visitors.limits import HOME, check_count, check_network, check_run, limits_here
from ..words.numbers import format_bytes
from ..words.settings import refusal
from . import lent, on_hub, room, run_list
from .one_run import ALIVE, RESUMABLE, WAITING, Run
from .processes import end, launch, process_lock
from .worker import AFTER, JOB_FILE

MAX_WAITING = 20
SWEEP_SECONDS = 30.0
DELETIONS = ".deletions"  # in the folder of the runs: a file for each who has deleted one


def start(config: Mapping[str, Any], title: str, after: str | None = None) -> Run:
    """Start a run with these settings (`DistillConfig.to_dict()`), or queue it while its device is taken.

    One that learns from the network of a run that goes names that run as `after`, and waits until it has ended.
    One run goes on each GPU, `cpu_slots()` on the CPU; one whose GPU is lent by the call waits for `drive`. Raises
    ValueError when too many wait already and when the runs folder cannot be written, and for what is not there for who
    asks; nothing of the run is left then.
    """
    check_uses(config)
    check_run(config)
    owner = access.owner()
    with run_list.held():
        path = _new_path(title)
        with contextlib.ExitStack() as held:
            with replaced_folder(path) as part:  # in no list until all of it is there
                write_json(part / CONFIG, dict(config))
                _note_job(part, title, owner, **{AFTER: after})
                if is_lent := lent.is_lent(config):
                    write_status(part, "stopped", 0, config["steps"], None, None)
                else:
                    lock = held.enter_context(process_lock(part))
            try:
                if not is_lent:
                    launch(path, config, lock, run_list.runs_dir())
            except OSError:
                shutil.rmtree(path, ignore_errors=True)
                raise
    return run_list.read_run(path.name)


def start_on_hub(
    config: DistillConfig, title: str, hardware: hub_jobs.Hardware, space: str, seconds: float, token: hub_jobs.Token
) -> Run:
    """Let a job of Hugging Face train a run, as `hub_jobs.start_job` does; it stands in the list like all others.

    It takes none of this machine, and so waits for no other run. ValueError as there, and for who has no account.
    """
    on_hub.check_token(token)
    check_uses(config.to_dict())
    check_network(config.student)  # the page counts it, and has its weights in the end
    owner = access.owner()
    with run_list.held():
        path = _new_path(title, going=False)
    # Nobody else waits for the network; the name in the bucket is not that of another Space's run there.
    job = hub_jobs.start_job(config, f"{path.name}-{secrets.token_hex(4)}", hardware, space, seconds, token)
    try:
        with run_list.held(), replaced_folder(_free_path(title) if path.exists() else path) as part:
            hub_jobs.keep_job(part, config, job)
            _note_job(part, title, owner)
    except ValueError:
        hub_jobs.cancel_job(job, token)  # nobody would know of it
        raise
    return run_list.read_run(path.name)


def drive(name: str) -> Iterator[lent.Pace]:
    """Take a run whose GPU is lent by the call (`lent.is_lent`) to its end, or until it is asked to stop, or this
    iterator is closed: its pace before each call. Nobody takes it further without. ValueError for any other run."""
    run = run_list.read_run(name)
    if not run.is_lent or run.state in (*ALIVE, "finished"):
        raise ValueError(f"Run “{run.title}” is {run.state}; only one on a lent GPU that does not go is taken further.")
    if teacher := unfinished_teacher(run):
        raise ValueError(f"Its teacher’s run “{teacher.title}” is {teacher.state}; go on with that one first.")
    if run.after and not Path(run.config["teacher_checkpoint"]).is_dir():
        raise ValueError(f"The teacher of run “{run.title}” has been deleted; delete this run, and start both anew.")
    yield from lent.go_on(run.path)


def unfinished_teacher(run: Run) -> Run | None:
    """The run that a run waits for; None where there is none, or it has finished or been deleted."""
    with contextlib.suppress(ValueError):
        if run.after and (teacher := run_list.read_run(run.after)).state != "finished":
            return teacher
    return None


def add_finished(config: Mapping[str, Any], title: str, write: Callable[[Path], Any]) -> Run:
    """A run that needs no training any more: `write` makes its checkpoint in the folder that it is given.

    Raises ValueError when the runs folder cannot be written, and what `write` raises; nothing of the run is left then.
    """
    owner = access.owner()
    with run_list.held():
        path = _new_path(title, going=False)
        with replaced_folder(path) as part:
            write(part / "student")
            write_json(part / CONFIG, dict(config))
            _note_job(part, title, owner)
            metrics = read_json(part / "student" / CONFIG)["metrics"]
            figures = {"kind": "validation", "step": metrics["step"], "accuracy": metrics.get("validation_accuracy")}
            records = [figures, metrics] if "validation_accuracy" in metrics else [metrics]
            write_text(part / METRICS, "".join(json.dumps(record) + "\n" for record in records))
            write_status(part, "finished", metrics["step"], config["steps"], None, None)
    return run_list.read_run(path.name)


def _note_job(folder: Path, title: str, owner: str | None, **noted: Any) -> None:
    """`noted`: other time of the start than now, `told` of the run, and AFTER."""
    job = {"title": title, "created": time.time(), "owner": owner, **noted}
    write_json(folder / JOB_FILE, {name: value for name, value in job.items() if value not in (None, "")})


def _note_again(run: Run, told: str = "") -> None:
    """The same job, with something told of it or nothing any more."""
    _note_job(run.path, run.title, run.owner, created=run.created, told=told, **{AFTER: run.after})


def check_uses(config: Mapping[str, Any]) -> None:
    """ValueError for settings of a run that read what the page never opens, or on a Space what is not the visitor's."""
    student = config.get("student")
    networks = [student.get(name) for name in ("teacher", "architecture")] if isinstance(student, Mapping) else []
    teacher = config.get("teacher_checkpoint")
    for name in filter(None, (*networks, teacher)):
        if is_own(str(name)):
            raise ValueError(f"{name} is a file of one's own, which the page never opens; go on in the shell.")
        if str(name).startswith(DDPM) and str(name).removeprefix(DDPM) not in list_shipped():
            access.check_ddpm(str(name).removeprefix(DDPM))
    access.check_dataset(config.get("dataset"))
    if teacher and access.is_shared() and not _is_theirs(str(teacher)):
        raise ValueError("No such teacher here; expected one that ships, or of a run or weights of your own.")


def _is_theirs(teacher: str) -> bool:
    """Whether a run of who asks may learn from a teacher, as a run's settings call it."""
    if teacher in list_shipped() or teacher.startswith(DDPM) or is_pretrained(teacher):
        return True
    folder = Path(teacher)
    if folder.parent == imported_dir():
        return access.has_claimed("teacher", folder.name)
    return folder.name == "student" and folder.parent in [run.path for run in run_list.list_runs()]


def stop(name: str, token: hub_jobs.Token = None) -> None:
    """Ask a run to stop with its state saved; one that has not begun to train ends at once.

    token: of who asks, for one that a job trains, which ends at once. Raises ValueError for a run that does not exist
    or is not going.
    """
    run = run_list.read_run(name)
    if run.state not in ALIVE:
        raise ValueError(f"Run “{run.title}” is {run.state}; there is nothing to stop.")
    if run.job:
        on_hub.stop(run.path, token)
    else:
        _stop(run)


def _stop(run: Run) -> None:
    with run_list.written(run.path):
        if run.is_lent:
            lent.ask_to_stop(run.path)
        elif run.step and run.state not in WAITING:  # one that goes on has steps before it trains
            (run.path / STOP_FILE).touch()
        else:
            end(run.path)


def resume(name: str, token: hub_jobs.Token = None) -> Run:
    """Go on with a run that was stopped, failed or was interrupted, from its last saved step; `token` as of `stop`."""
    with _held(run_list.read_run(name)):
        run = run_list.read_run(name)
        if run.state not in RESUMABLE:
            raise ValueError(f"Run “{run.title}” is {run.state}; only a stopped, failed or interrupted run goes on.")
        if run.job:
            check_uses(run.config)
            on_hub.start_again(run.path, run.job, run.config, token)
        else:
            _go_on(run)
    return run_list.read_run(name)


def _held(run: Run) -> contextlib.AbstractContextManager[None]:
    """Let nobody else go on with the run meanwhile; who goes on with another waits for no network."""
    return locked(run.path / ".actions") if run.job else run_list.held()


def extend(name: str, changes: Mapping[str, Any]) -> Run:
    """Go on with a run that does not go, a finished one too, with other settings from there on, of `CHANGEABLE`, more
    `steps` in all among them; its history stays.

    ValueError, and nothing changes, for fewer steps than it has taken and for what does not fit.
    """
    with run_list.held():
        run = run_list.read_run(name)
        if run.state not in (*RESUMABLE, "finished"):
            raise ValueError(f"Run “{run.title}” is {run.state}; a run that has ended goes on for longer.")
        if run.job:
            raise ValueError(f"Run “{run.title}” is trained on {run.job.hardware.name}, where it goes on as it began.")
        check_run({**run.config, **changes})
        check_uses({**run.config, **changes})
        try:
            change_run(run.path, changes)
        except SettingError as error:
            raise ValueError(refusal(error)) from error
        run = run_list.read_run(name)
        if run.state == "finished":
            raise ValueError(f"Run “{run.title}” has taken {run.steps:,} steps; expected more.")
        _go_on(run)
    return run_list.read_run(name)


def _go_on(run: Run) -> None:
    """Start the process of a run that has ended; the runs' folder is held."""
    check_uses(run.config)  # the shell may have begun it
    _check_count([other for other in run_list.everybodys() if other.name != run.name], kept=False)
    (run.path / STOP_FILE).unlink(missing_ok=True)
    if run.told:
        _note_again(run)
    if not run.is_lent:
        with process_lock(run.path) as lock:
            launch(run.path, run.config, lock, run_list.runs_dir())


def delete(name: str) -> None:
    """Remove a run and all it made. Raises ValueError while it is going."""
    with run_list.held():
        run = run_list.read_run(name)
        if run.state in ALIVE:
            raise ValueError(f"Run “{run.title}” is {run.state}; stop it before deleting it.")
        remove_folder(run.path)
        mark = _deletions(run.owner)
        mark.parent.mkdir(exist_ok=True)
        mark.touch()


def has_deleted() -> bool:
    """Whether who asks has ever deleted a run here."""
    try:
        return _deletions(access.owner()).exists()
    except ValueError:  # nobody can tell who asks
        return False


def _deletions(owner: str | None) -> Path:
    return run_list.runs_dir() / DELETIONS / (owner or "own")


def sweep() -> None:
    """Stop what has trained its minutes, and delete what is past its days or too much: nothing on a laptop.

    A run that is stopped so keeps its state, and goes on where it is asked to, behind those that wait.
    """
    with contextlib.suppress(ValueError, OSError), run_list.held():
        runs = run_list.everybodys()
        for run in room.overdue(runs):
            words = (
                f"It has trained {limits_here().minutes} minutes, as long as a run does here at a time; go on with it."
            )
            _note_again(run, words)
            _stop(run)
        for kind, folder in room.unused(runs):
            with contextlib.suppress(ValueError):
                remove_upload(folder.name) if kind == "upload" else remove_folder(folder)
                access.forget(kind, folder.name)
        _make_room(runs, more=0)


def keep_room() -> None:
    """`sweep` from now on, again and again."""

    def look() -> None:
        while True:
            sweep()
            time.sleep(SWEEP_SECONDS)

    threading.Thread(target=look, name="keep-room", daemon=True).start()


def _make_room(runs: Sequence[Run], more: int = 1) -> None:
    """Delete what was fetched and the runs that go; ValueError where too many runs, or too much of the disk, stay."""
    held = room.Held(runs)
    for fetched in room.spare(held, more):
        fetched.remove()
        held.forget(fetched)
    for run in room.surplus(held, more):
        remove_folder(run.path)
        held.forget(run)
    if not more or not access.is_shared():
        return
    most = limits_here()
    if most.runs_all is not None and len(held.runs) + more > most.runs_all:
        raise ValueError(f"{most.runs_all:,} runs of all visitors train or wait here, as many as can; try again later.")
    if most.disk_bytes is not None and held.bytes + more * room.RESERVED_BYTES > most.disk_bytes:
        raise ValueError(
            f"The {format_bytes(most.disk_bytes)} of the disk that all visitors share are taken by runs that train or "
            f"wait, and by what they learn from; try again later, or {HOME}."
        )


def _check_count(runs: Sequence[Run], kept: bool = True, going: bool = True) -> None:
    """ValueError where who asks has no room for one more run, among those `kept`, or among those `going`."""
    if access.is_shared():
        own = [run for run in runs if access.is_theirs(run.owner)]
        check_count(len(own) if kept else 0, sum(run.goes_here for run in own) if going else 0)


def clean_up() -> None:
    """Remove what starts and deletions left that were killed; a folder that cannot be written stays as it is."""
    if not run_list.runs_dir().is_dir():
        return
    with contextlib.suppress(ValueError, OSError), run_list.held():
        remove_leftovers(run_list.runs_dir())
        for left in run_list.runs_dir().glob(".deleted-*"):  # of an earlier version
            shutil.rmtree(left, ignore_errors=True)


def _new_path(title: str, going: bool = True) -> Path:
    """The folder of a new run, which trains or waits here where it is `going`; the runs' folder is held.

    ValueError where there is no room for it, and where too many wait already.
    """
    runs = run_list.everybodys()
    _check_count(runs, going=going)
    waiting = sum(run.goes_here and run.state in WAITING for run in runs)
    if going and waiting >= MAX_WAITING:
        raise ValueError(f"{waiting} runs are waiting already; delete some or wait before starting another.")
    _make_room(runs)
    return _free_path(title)


def _free_path(title: str) -> Path:
    slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:48]
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1000):
        path = run_list.runs_dir() / "-".join(filter(None, (stamp, slug, str(number) if number else "")))
        if not path.exists():
            return path
    raise OSError(errno.EEXIST, "too many runs were started in this second", str(run_list.runs_dir()))

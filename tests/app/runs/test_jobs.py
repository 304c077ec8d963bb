"""Runs as processes of their own: started, queued, stopped, continued and read again through files alone."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from helpers.no_training import stand_in

from app.distill.watch_view import progress
from app.runs import jobs, processes, run_list
from redistill.common.files import is_held, write_json
from redistill.networks.student import StudentConfig
from redistill.training.config import DistillConfig
from redistill.training.run_state import best_validation


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """An empty runs folder; processes that a failed test leaves are ended."""
    monkeypatch.setenv("REDISTILL_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield tmp_path / "runs"
    end_all()


@pytest.fixture
def no_training(tmp_path, monkeypatch):
    """Processes that are started from now on take steps that cost nothing."""
    monkeypatch.setattr(processes, "REPOSITORY", stand_in(tmp_path / "stand-in"))


def end_all() -> None:
    for child in processes._children:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def settings(**changes) -> dict:
    student = StudentConfig("narrow_resnet", 32, num_classes=50, red=None)
    values = {
        "steps": 3,
        "batch_size": 4,
        "train_limit": 24,
        "validate_every": 2,
        "save_every": 1,
        "schedule": "constant",
    }
    return DistillConfig(student=student, dataset="emoji-clutter", **(values | changes)).to_dict()


def wait(name: str, *states: str, step: int = 0, seconds: float = 150) -> jobs.Run:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        run = run_list.read_run(name)
        if run.state in states and run.step >= step:
            return run
        time.sleep(0.1)
    log = (run.path / processes.LOG_FILE).read_text()
    raise AssertionError(f"run is {run.state} at step {run.step}, not {states}; its log:\n{log}")


def write_run(root, name: str, status: dict | None = None, **files: str):
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"steps": 10}))
    if status is not None:
        (folder / "status.json").write_text(json.dumps(status))
    for file, text in files.items():
        (folder / file.replace("_", ".")).write_text(text)
    return folder


@pytest.mark.process
def test_a_run_finishes_and_is_read_again_and_the_next_one_waits_for_it(runs):
    first = jobs.start(settings(), "First run")
    assert first.state in ("starting", "queued")  # how soon its process looks for a place
    wait(first.name, "running")
    second = jobs.start(settings(steps=100_000), "Second")
    wait(second.name, "queued")
    finished = wait(first.name, "finished")
    assert (finished.step, finished.steps, finished.title) == (3, 3, "First run")
    records = run_list.records(finished)
    assert [record["step"] for record in records if record["kind"] == "step"] == [1, 2, 3]
    assert 0 <= records[-1]["test_accuracy"] <= 1
    assert (finished.path / "student" / "model.safetensors").is_file()
    with pytest.raises(ValueError, match="only a stopped, failed or interrupted run goes on"):
        jobs.resume(first.name)

    running = wait(second.name, "running", step=2)  # its turn came when the first one ended
    with pytest.raises(ValueError, match="stop it before deleting it"):
        jobs.delete(second.name)
    jobs.stop(second.name)
    stopped = wait(second.name, "stopped")
    assert 2 <= running.step <= stopped.step < 100_000
    jobs.resume(second.name)
    resumed = wait(second.name, "running", step=stopped.step + 1)
    jobs.stop(second.name)
    assert wait(second.name, "stopped").step >= resumed.step
    assert [run.name for run in run_list.list_runs()] == [second.name, first.name]
    jobs.delete(second.name)
    assert [run.name for run in run_list.list_runs()] == [first.name]


@pytest.mark.process
def test_a_waiting_run_stops_at_once_and_a_killed_one_blocks_nobody(runs, no_training):
    first = jobs.start(settings(steps=100_000), "First")
    wait(first.name, "running")
    second = jobs.start(settings(), "Second")
    jobs.stop(second.name)
    assert run_list.read_run(second.name).state == "stopped"
    assert not (second.path / "metrics.jsonl").exists()
    process = json.loads((first.path / ".process").read_text())
    os.kill(process["pid"], signal.SIGKILL)
    wait(first.name, "interrupted", seconds=10)
    jobs.resume(second.name)
    assert wait(second.name, "starting", "running", seconds=10)
    jobs.stop(second.name)
    assert wait(second.name, "stopped", seconds=60)


@pytest.mark.process
def test_a_process_is_asked_and_read_of_one_file(tmp_path, monkeypatch):
    """What a resume puts in the place of the old process' file is not taken for what that noted."""
    noted, file = {"pid": 5, "phase": "started"}, tmp_path / processes.PROCESS_FILE
    write_json(file, noted)

    def replace_meanwhile(open_file):
        write_json(file, {"phase": "launched"})
        return is_held(open_file)

    monkeypatch.setattr(processes, "is_held", replace_meanwhile)
    assert processes.read_process(tmp_path) == (False, noted)


def test_a_run_is_never_seen_in_a_state_that_it_has_not(runs, no_training, monkeypatch):
    """Whoever looks while a run is started or goes on, at whatever moment, sees no half of it."""
    seen, ended = set(), threading.Event()

    def look():
        while not ended.is_set():
            seen.update(run.state for run in run_list.list_runs())

    popen = processes.subprocess.Popen

    def slow(*args, **kwargs):
        time.sleep(0.2)
        return popen(*args, **kwargs)

    monkeypatch.setattr(processes.subprocess, "Popen", slow)
    monkeypatch.setattr(jobs, "write_json", lambda *values: (time.sleep(0.1), write_json(*values)))
    (runs / ".queue-cpu-0").parent.mkdir(parents=True)
    with open(runs / ".queue-cpu-0", "w") as taken:
        fcntl.flock(taken, fcntl.LOCK_EX)
        looking = threading.Thread(target=look)
        looking.start()
        run = jobs.start(settings(), "New")
        wait(run.name, "queued")
        looked = time.monotonic() + 30
        while "queued" not in seen and time.monotonic() < looked:  # until the one who looks has come round again
            time.sleep(0.01)
        ended.set()
        looking.join()
        assert seen == {"starting", "queued"}
        monkeypatch.setattr(jobs, "write_json", write_json)
        jobs.stop(run.name)
        ended.clear()
        seen.clear()
        looking = threading.Thread(target=look)
        looking.start()
        jobs.resume(run.name)
        wait(run.name, "queued")
        ended.set()
        looking.join()
        assert seen <= {"stopped", "starting", "queued"}


@pytest.mark.process
def test_a_run_that_goes_on_stops_while_it_waits(runs, no_training):
    write_run(runs, "left", {"state": "stopped", "step": 7, "steps": 10})
    with open(runs / ".queue-cpu-0", "w") as taken:
        fcntl.flock(taken, fcntl.LOCK_EX)
        jobs.resume("left")
        wait("left", "queued")
        jobs.stop("left")
        assert (run_list.read_run("left").state, run_list.read_run("left").step) == ("stopped", 7)


@pytest.mark.process
def test_settings_that_the_process_refuses_end_in_its_sentence(runs):
    run = jobs.start(settings() | {"teacher_checkpoint": str(runs / "nowhere")}, "No teacher")
    failed = wait(run.name, "failed")
    assert "No checkpoint" in failed.error and "nowhere" in failed.error


def test_states_are_told_by_locks_and_not_by_process_ids(runs):
    status = {"state": "running", "step": 4, "steps": 10, "pid": os.getpid()}  # a pid that lives, but not as a run
    folder = write_run(runs, "a", status)
    assert run_list.read_run("a").state == "interrupted"
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run_list.read_run("a").state == "running"
        (folder / "stop").touch()
        assert run_list.read_run("a").state == "stopping"
    assert run_list.read_run("a").step == 4


def test_a_run_that_the_shell_goes_on_with_is_running_and_then_what_that_left(runs):
    folder = write_run(runs, "a")
    (folder / ".process").write_text(json.dumps({"pid": 1, "phase": "started"}))
    os.utime(folder / ".process", ns=(10**18, 10**18))
    (folder / "status.json").write_text(json.dumps({"state": "running", "step": 4, "steps": 10, "pid": 2}))
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run_list.read_run("a").state == "running"
        with pytest.raises(ValueError, match="is running; stop it before deleting"):
            jobs.delete("a")
    assert run_list.read_run("a").state == "interrupted"
    (folder / "status.json").write_text(json.dumps({"state": "finished", "step": 10, "steps": 10, "pid": 2}))
    assert run_list.read_run("a").state == "finished"
    os.utime(folder / "status.json", ns=(10**17, 10**17))  # of a run before the process
    assert run_list.read_run("a").state == "interrupted"


@pytest.mark.process
def test_a_run_that_prepares_is_gone_when_it_is_stopped(runs, monkeypatch, tmp_path):
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "empty"))  # all of its pictures have to be drawn
    run = jobs.start(DistillConfig(StudentConfig("narrow_resnet", 64, 50), "emoji-clutter").to_dict(), "Draws first")
    wait(run.name, "running", seconds=60)
    jobs.stop(run.name)
    assert run_list.read_run(run.name).state == "stopped"
    with open(run.path / ".process") as file:  # nobody holds it
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert not (run.path / "metrics.jsonl").exists()


@pytest.mark.process
def test_a_process_that_does_not_listen_is_killed(runs, monkeypatch):
    monkeypatch.setattr(processes, "SECONDS_TO_END", 0.2)
    folder = write_run(runs, "deaf")
    deaf = (
        "import fcntl, json, os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "file = open(sys.argv[1], 'w')\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        "print(json.dumps({'pid': os.getpid(), 'phase': 'started'}), file=file, flush=True)\n"
        "print('ready', flush=True)\n"
        "time.sleep(100)\n"
    )
    with subprocess.Popen([sys.executable, "-c", deaf, folder / ".process"], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        jobs.stop("deaf")
        assert process.wait(timeout=5) == -signal.SIGKILL
    assert run_list.read_run("deaf").state == "stopped"


@pytest.mark.parametrize(
    ("status", "text", "state", "error"),
    [
        ({"state": "failed", "step": 1, "error": "The loss is nan."}, {}, "failed", "The loss is nan."),
        ({"state": "finished", "step": 10}, {}, "finished", None),
        (None, {"log_txt": "Run folder: x\nredistill: no such teacher.\n"}, "failed", "no such teacher."),
        (None, {"log_txt": "Killed\n"}, "interrupted", None),
        (None, {"status_json": "{broken"}, "interrupted", None),
        ({"state": "running", "step": "many"}, {}, "interrupted", None),
        (None, {"config_json": "[]"}, "broken", "expected a JSON object"),
    ],
)
def test_states_of_folders_that_were_left_behind(runs, status, text, state, error):
    write_run(runs, "left", status, **text)
    run = run_list.read_run("left")
    assert run.state == state
    assert (error is None and run.error is None) or error in run.error


def test_metrics_with_a_cut_last_line_are_read_and_read_again_when_they_grow(runs):
    folder = write_run(runs, "cut", {"state": "stopped", "step": 1, "steps": 10})
    metrics = folder / "metrics.jsonl"
    metrics.write_text('{"kind": "step", "step": 1, "loss": 2.0}\n{"kind": "st')
    assert [record["loss"] for record in run_list.records(run_list.read_run("cut"))] == [2.0]
    metrics.write_text('{"kind": "step", "step": 1, "loss": 2.0}\n{"kind": "step", "step": 2, "loss": 1.0}\n')
    assert [record["loss"] for record in run_list.records(run_list.read_run("cut"))] == [2.0, 1.0]


@pytest.mark.parametrize("name", ["../outside", "", ".", "nothing", "a\x00b", 7, None])
def test_only_names_of_runs_are_taken(runs, name, tmp_path):
    write_run(tmp_path, "outside", {"state": "finished"})
    write_run(runs, "inside", {"state": "finished"})
    for action in (run_list.read_run, jobs.stop, jobs.resume, jobs.delete):
        with pytest.raises(ValueError, match="No run"):
            action(name)
    assert (tmp_path / "outside" / "config.json").exists()


def test_a_runs_folder_that_cannot_be_made_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("REDISTILL_RUNS", str(tmp_path / "file" / "runs"))
    assert run_list.list_runs() == []
    with pytest.raises(ValueError, match=r"cannot be written .*REDISTILL_RUNS"):
        jobs.start(settings(), "Nowhere")


def test_too_many_waiting_runs_are_refused(runs, monkeypatch):
    monkeypatch.setattr(jobs, "MAX_WAITING", 0)
    with pytest.raises(ValueError, match="waiting already"):
        jobs.start(settings(), "One too many")
    assert run_list.list_runs() == []


@pytest.mark.process
def test_as_many_runs_go_on_the_cpu_as_there_are_slots(runs, no_training, monkeypatch):
    monkeypatch.setenv("REDISTILL_CPU_RUNS", "2")
    names = [jobs.start(settings(steps=100_000), title).name for title in ("one", "two", "three")]

    def states():
        return [run_list.read_run(name).state for name in names]

    wait(names[2], "queued")
    assert "queued" not in states()[:2]
    jobs.stop(names[0])
    wait(names[2], "running", seconds=60)


def test_both_names_of_a_gpu_share_one_queue(runs, monkeypatch):
    commands = []

    class Child:
        def __init__(self, command, **kwargs):
            commands.append(command)

        def poll(self):
            return 0

    monkeypatch.setattr(processes.subprocess, "Popen", Child)
    for device in ("cuda", "cuda:0", "cuda:1", "cpu"):
        jobs.start(settings() | {"device": device}, device)
    queues = [os.path.basename(command[-2]) for command in commands]
    assert queues == [".queue-cuda-0", ".queue-cuda-0", ".queue-cuda-1", ".queue-cpu"]
    assert [command[-1] for command in commands[:3]] == ["1"] * 3


@pytest.mark.parametrize(("chosen", "slots"), [("3", 3), ("0", 2), ("many", 2), ("", 2)])
def test_slots_of_the_cpu(monkeypatch, chosen, slots):
    monkeypatch.setenv("REDISTILL_CPU_RUNS", chosen)
    monkeypatch.setattr(processes, "_cores", lambda: 8)
    assert processes.cpu_slots() == slots


def test_a_run_goes_on_once_however_often_it_is_asked_to(runs):
    write_run(runs, "left", {"state": "stopped", "step": 1})
    started, held = [], []

    def hold(path, config, lock, queues):
        """What a worker does: keep the lock that it is handed."""
        time.sleep(0.1)
        held.append(os.dup(lock))

    def ask():
        try:
            started.append(jobs.resume("left").name)
        except ValueError:
            started.append(None)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "launch", hold)
        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for file in held:
        os.close(file)
    assert sorted(started, key=str) == [None, None, "left"] and len(held) == 1


@pytest.mark.process
def test_a_full_disk_ends_a_run_in_a_sentence_and_the_next_one_starts(runs, request):
    runs.mkdir(parents=True)
    with open(runs / ".queue-cpu-0", "w") as taken:
        fcntl.flock(taken, fcntl.LOCK_EX)
        run = jobs.start(settings(), "No room")
        (run.path / "metrics.jsonl").symlink_to("/dev/full")  # every write finds no space; never read it, it has no end
        wait(run.name, "queued")
        request.getfixturevalue("no_training")
        other = jobs.start(settings(steps=100_000), "Next")
        wait(other.name, "queued")
    failed = wait(run.name, "failed")
    assert "No space left on device" in failed.error
    wait(other.name, "running")
    jobs.delete(run.name)
    assert [left.name for left in run_list.list_runs()] == [other.name]


def test_nothing_is_left_of_a_run_that_a_full_disk_kept_from_starting(runs, monkeypatch):
    def full(path, value):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(jobs, "write_json", full)
    with pytest.raises(ValueError, match="No space left on device"):
        jobs.start(settings(), "No room")
    assert [path for path in runs.iterdir() if path.is_dir()] == []


@pytest.mark.process
def test_a_deleted_folder_ends_its_run_and_the_next_one_starts(runs, request):
    first = jobs.start(settings(steps=100_000), "First")
    wait(first.name, "running", step=1)
    request.getfixturevalue("no_training")
    second = jobs.start(settings(steps=100_000), "Second")
    wait(second.name, "queued")
    shutil.rmtree(first.path, ignore_errors=True)
    shutil.rmtree(first.path, ignore_errors=True)  # what it wrote meanwhile
    wait(second.name, "running", seconds=60)
    assert [run.name for run in run_list.list_runs()] == [second.name]


@pytest.mark.parametrize("shift", [-(10**9), 10**9])
def test_a_clock_that_jumps_changes_no_state(runs, shift):
    now = {"created": time.time() + shift, "title": "Old"}
    folder = write_run(runs, "a", {"state": "running", "step": 4, "pid": 1, "heartbeat": time.time() + shift})
    (folder / "job.json").write_text(json.dumps(now))
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run_list.read_run("a").state == "running"
    assert run_list.read_run("a").state == "interrupted"
    assert [run.name for run in run_list.list_runs()] == ["a"]


def test_lines_that_are_no_records_are_counted(runs):
    folder = write_run(runs, "odd", {"state": "stopped", "step": 1, "steps": 10})
    good = '{"kind": "step", "step": 1, "loss": 2.0}\n'
    bad = ["\x00\x00", "[1]", '{"kind": "step"}', '{"kind": "step", "step": Infinity}', "[" * 100_000]
    (folder / "metrics.jsonl").write_text(good + "\n".join(bad) + "\n" + '{"kind": "st')
    run = run_list.read_run("odd")
    assert [record["loss"] for record in run_list.records(run)] == [2.0]
    assert run_list.unreadable_lines(run) == len(bad)  # the last line may still be on its way
    with open(folder / "metrics.jsonl", "a") as file:
        file.write("\n" + good.replace("1,", "2,") + good.replace("2.0", "9.0"))
    assert [record["loss"] for record in run_list.records(run)] == [9.0, 2.0]
    assert run_list.unreadable_lines(run) == len(bad) + 1
    assert f"{len(bad) + 1} lines of its metrics could not be read and stand in" in progress(run, [], None)
    (folder / "metrics.jsonl").write_text("?\n")
    assert "1 line of its metrics could not be read and stands in" in progress(run, [], None)
    (folder / "metrics.jsonl").unlink()
    (folder / "metrics.jsonl").mkdir()
    assert run_list.records(run) == [] and best_validation(run.path, "accuracy") is None


@pytest.mark.process
def test_a_finished_run_goes_on_for_longer(runs, no_training, finished_run):
    shutil.copytree(finished_run, runs / "done")
    for steps in (None, "x", 6, 3, 0.5, 10**30):
        with pytest.raises(ValueError, match=r"[Ss]teps"):
            jobs.extend("done", {"steps": steps})
        assert run_list.read_run("done").state == "finished" and run_list.read_run("done").steps == 6
    jobs.extend("done", {"steps": 9})
    run = wait("done", "finished", step=9)
    assert run.steps == 9 and run.config["steps"] == 9
    jobs.extend("done", {"steps": 10, "learning_rate": 1e-4})
    assert wait("done", "finished", step=10).config["learning_rate"] == 1e-4


@pytest.mark.process
@pytest.mark.parametrize("ended", ["finished", "stopped", "deleted"])
def test_a_student_waits_for_the_run_of_its_teacher(runs, no_training, monkeypatch, ended):
    monkeypatch.setenv("REDISTILL_CPU_RUNS", "2")  # there is room for both
    teacher = jobs.start(settings(steps=3 if ended == "finished" else 10_000), "the teacher")
    student = jobs.start(settings(), "the student", teacher.name)
    assert run_list.read_run(student.name).state in jobs.WAITING  # how soon its process looks for its teacher
    if ended != "finished":
        wait(teacher.name, "running", step=1)
        wait(student.name, "queued")
        jobs.stop(teacher.name)
        wait(teacher.name, "stopped")
    if ended == "deleted":
        jobs.delete(teacher.name)
    run = wait(student.name, "finished" if ended == "finished" else "failed")
    if ended == "stopped":
        assert "“the teacher” has not finished" in run.error and "go on with that one first" in run.error

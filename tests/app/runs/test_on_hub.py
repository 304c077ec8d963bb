"""A run that a job of Hugging Face trains stands in the list like all others, and is its owner's alone."""

from __future__ import annotations

import json
import shutil
import time

import pytest
from helpers.hub_server import local_hub
from helpers.made import small
from helpers.visitors import asked_by

from app.api import running
from app.distill import watch, watch_view
from app.runs import jobs, on_hub, results, room, run_list
from app.visitors import who
from redistill.training import hub_jobs

A, B = "browser:a", "browser:b"
THERE = hub_jobs.Hardware("t4-small", "Nvidia T4", 1, "16 GB", 0.6)


@pytest.fixture
def hub(places, tmp_path, monkeypatch):
    """A Hub with jobs, and no runs here."""
    monkeypatch.setattr(on_hub, "SECONDS", 0.0)
    monkeypatch.setattr(on_hub, "TROUBLED_SECONDS", 0.0)
    with local_hub(tmp_path / "hub", with_jobs=True) as server:
        yield server


def start(token: str | bool | None = None) -> jobs.Run:
    return jobs.start_on_hub(small(), "There", THERE, "someone/studio", 1800, token)


def hear(run: jobs.Run) -> jobs.Run:
    """The run after what is shown of it was fetched."""
    watch.look(run.name, None)
    if thread := on_hub._hearing.get(run.path):
        thread.join(20)
    return run_list.read_run(run.name)


def write(hub, run: jobs.Run, finished_run, state: str) -> None:
    """What the job has written into the bucket."""
    there = hub.jobs.bucket(run.job.bucket) / run.job.run
    shutil.copytree(finished_run, there, dirs_exist_ok=True)
    status = json.loads((there / "status.json").read_text())
    (there / "status.json").write_text(json.dumps(status | {"state": state}))


def test_a_run_goes_from_waiting_to_a_result_like_any_other(hub, finished_run):
    run = start()
    assert (run.state, run.goes_here, run.is_lent) == ("queued", False, False)
    assert watch_view.state_text(run) == "waiting for t4-small"
    hub.jobs.jobs[run.job.id]["stage"] = "RUNNING"
    write(hub, run, finished_run, "running")
    going = hear(run)
    assert going.state == "running" and going.step > 0 and run_list.records(going)
    assert "running on t4-small" in watch_view.progress(going, run_list.records(going), None)
    hub.jobs.jobs[run.job.id]["stage"] = "COMPLETED"
    write(hub, run, finished_run, "finished")
    assert hear(run).state == "finished"
    assert any(result.key == f"run:{run.name}" and result.score is not None for result in results.all_results())
    asked = len(hub.jobs.jobs)
    hub.jobs.jobs.clear()
    assert hear(run).told == "" and asked == 1, "of a finished run nothing more is asked"


def test_programs_hear_of_it_too(hub):
    run = start()
    hub.jobs.jobs[run.job.id]["stage"] = "RUNNING"
    assert running.status(run.name)["state"] == "queued", "nobody waits for the network"
    if thread := on_hub._hearing.get(run.path):
        thread.join(20)
    assert running.status(run.name)["state"] == "running"


def test_it_is_stopped_and_goes_on_by_another_job_in_the_same_place(hub):
    run = start()
    jobs.stop(run.name)
    assert hub.jobs.jobs[run.job.id]["stage"] == "CANCELED" and run_list.read_run(run.name).state == "stopped"
    again = jobs.resume(run.name)
    assert again.state == "queued" and again.job.run == run.job.run and len(hub.jobs.jobs) == 2
    with pytest.raises(ValueError, match="only a stopped"):
        jobs.resume(run.name)
    assert len(hub.jobs.jobs) == 2, "nobody pays twice"
    with pytest.raises(ValueError, match="t4-small, where it goes on as it began"):
        jobs.stop(run.name), jobs.extend(run.name, {"steps": 99})
    jobs.delete(run.name)
    assert run_list.list_runs() == []


def test_a_job_that_failed_tells_why(hub):
    run = start()
    hub.jobs.jobs[run.job.id] |= {"stage": "ERROR", "logs": ["redistill: no such data set"]}
    failed = hear(run)
    assert (failed.state, failed.error) == ("failed", "redistill: no such data set")


def test_a_start_that_is_refused_leaves_nothing(hub):
    with pytest.raises(ValueError, match="refuses"):
        start("hf_wrong")
    assert run_list.list_runs() == [] and not [file for file in run_list.runs_dir().iterdir() if file.is_dir()]


def test_a_job_that_cannot_be_noted_is_ended(hub, monkeypatch):
    def full(*given):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hub_jobs, "keep_job", full)
    with pytest.raises(ValueError, match="No space left"):
        start()
    assert [job["stage"] for job in hub.jobs.jobs.values()] == ["CANCELED"]


def test_trouble_in_between_is_told_and_passes(hub, monkeypatch):
    run = start()
    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
        told = hear(run)
    assert "cannot be reached" in told.told and told.state == "queued"
    assert "cannot be reached" in watch_view.progress(told, [], None)
    monkeypatch.setattr(on_hub, "TROUBLED_SECONDS", 60.0)
    asked = len(hub.asked)
    assert "cannot be reached" in hear(run).told and len(hub.asked) == asked, "not again at once"
    monkeypatch.setattr(on_hub, "TROUBLED_SECONDS", 0.0)
    assert hear(run).told == ""


def test_a_run_whose_network_is_not_its_own_has_ended(hub, finished_run):
    run = start()
    write(hub, run, finished_run, "finished")
    card = hub.jobs.bucket(run.job.bucket) / run.job.run / "student" / "config.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"dataset": "emoji-faces"}))
    hub.jobs.jobs[run.job.id]["stage"] = "COMPLETED"
    told = hear(run)
    assert told.state == "interrupted" and "has not been fetched" in told.error and "another network" in told.told
    jobs.delete(run.name)


def test_a_job_that_nobody_looks_at_again_makes_room_in_the_end(hub, monkeypatch):
    monkeypatch.setenv("REDISTILL_LIMITS", "days=7, runs_all=2")
    with asked_by(A):
        run, other = start(hub.token), start(hub.token)
        for started in (run, other):
            hub.jobs.jobs[started.job.id]["stage"] = "RUNNING"
            hub_jobs.look(started.path, hub.token)
        runs, now = run_list.list_runs(), time.time()
        its_end = run.job.most_seconds + room.DAY
        assert room.surplus(room.Held(runs), more=1, now=now + its_end - 60) == [], "it may go still"
        assert len(room.surplus(room.Held(runs), more=1, now=now + its_end + 60)) == 1, "one makes room for who comes"
        assert len(room.surplus(room.Held(runs), now=now + 8 * room.DAY)) == 2


def test_on_a_space_only_a_visitors_own_account_pays(hub, monkeypatch, finished_run):
    with asked_by(A):
        for token in (None, False):
            with pytest.raises(ValueError, match="sign in with Hugging Face"):
                start(token)
        assert who.token_of_request() is False, "the Space's own token is nobody's"
        run = start(hub.token)
        for act in (jobs.stop, jobs.resume):
            with pytest.raises(ValueError, match=r"sign in with Hugging Face|only a stopped"):
                act(run.name)
        assert "sign in" in hear(run).told, "nobody's token is kept, so nothing is heard without one"
        jobs.stop(run.name, hub.token)
    with asked_by(B), pytest.raises(ValueError, match="No run"):
        jobs.stop(run.name, hub.token)
    assert hub.token not in "".join(f.read_text() for f in run.path.rglob("*") if f.is_file()), "no token is noted"


def test_they_take_no_room_of_those_that_train_here(hub, monkeypatch):
    monkeypatch.setenv("REDISTILL_LIMITS", "going_each=1, minutes=1")
    with asked_by(A):
        run = start(hub.token)
        hub.jobs.jobs[run.job.id]["stage"] = "RUNNING"
        hub_jobs.look(run.path, hub.token)
        start(hub.token)
        jobs._check_count(run_list.everybodys())
        jobs.sweep()
        assert run_list.read_run(run.name).state == "running", "who pays decides how long"

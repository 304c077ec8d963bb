"""A run is trained by a job of Hugging Face, which is a small server here that runs the job's own command."""

from __future__ import annotations

import dataclasses
import json
import shutil
from types import SimpleNamespace

import pytest
from helpers.hub_jobs import OWNER
from helpers.hub_server import local_hub
from helpers.made import small

from redistill.checkpoint import folder as checkpoint
from redistill.cli import elsewhere
from redistill.cli.commands import main
from redistill.training import hub_jobs, run_copy
from redistill.training.hub_jobs import BUCKET, NOTE, list_hardware, look, most_seconds, read_job
from redistill.training.run import METRICS, STATUS

SPACE = "someone/studio"


def start_job(config, run_dir, *there, **token) -> hub_jobs.Job:
    """A job that is started and noted in its run's folder."""
    job = hub_jobs.start_job(config, run_dir.name, *there, **token)
    hub_jobs.keep_job(run_dir, config, job)
    return job


@pytest.fixture
def hub(tmp_path):
    """A Hub with jobs and buckets, and the token of who asks in the environment."""
    with local_hub(tmp_path / "hub", with_jobs=True) as server:
        yield server


def hardware(name: str) -> hub_jobs.Hardware:
    return next(one for one in list_hardware() if one.name == name)


def test_hardware_has_a_price_an_hour(hub):
    assert [(one.name, one.gpus, one.dollars_an_hour) for one in list_hardware()] == [
        ("cpu-basic", 0, 0.012), ("t4-small", 1, 0.6), ("a10g-largex4", 4, 5.0)]  # fmt: skip
    assert hardware("t4-small").dollars(1800) == pytest.approx(0.3) and hardware("cpu-basic").memory == "16 GB"
    assert most_seconds(60) == 1800 and most_seconds(3600) == 3 * 3600 and most_seconds(10**9) == 7 * 86_400


@pytest.mark.process
def test_a_run_is_trained_there_and_comes_back_as_one_of_here(hub, tmp_path, finished_run, monkeypatch):
    run = tmp_path / "runs" / "mine"
    job = start_job(small(), run, hardware("cpu-basic"), SPACE, 1800)
    assert read_job(run) == job and (job.bucket, job.stage) == (f"{OWNER}/{BUCKET}", "SCHEDULING")
    assert f"{OWNER}/{BUCKET}" in hub.jobs.private, "nobody else reads it"
    assert look(run).is_going and not (run / STATUS).exists(), "nothing is written yet"
    done = hub.jobs.work(job.id)
    assert done.returncode == 0, done.stderr
    job = look(run)
    assert job.stage == "COMPLETED" and not job.is_going
    assert json.loads((run / STATUS).read_text())["state"] == "finished"
    mine, theirs = (folder / "student" / "model.safetensors" for folder in (run, finished_run))
    assert mine.read_bytes() == theirs.read_bytes(), "the same settings give the same weights"
    checkpoint.load(run / "student")
    assert not any(file.suffix in (".py", ".pt") for file in run.rglob("*")), "no code is fetched"
    assert any("Finished" in line for line in hub_jobs.last_lines(run))


def test_a_job_is_told_exactly_the_settings(hub, tmp_path):
    config = small(steps=7, batch_size=8, seed=3)
    start_job(config, tmp_path / "a", hardware("t4-small"), SPACE, 5000)
    start_job(config, tmp_path / "b", hardware("a10g-largex4"), SPACE, 1800.5)
    one, four = hub.jobs.jobs.values()
    assert json.loads(one["environment"]["RUN_SETTINGS"]) == json.loads(
        json.dumps(dataclasses.replace(config, device="cuda").to_dict())
    )
    assert (one["flavor"], one["spaceId"], one["timeoutSeconds"]) == ("t4-small", SPACE, 5000)
    assert "secrets" not in one, "a job that asks nothing of the Hub has no token"
    assert "accelerate" not in one["command"][2] and "--num_processes 4" in four["command"][2]
    start_job(dataclasses.replace(config, dataset="hub:someone/pictures", train_limit=None), tmp_path / "c",
              hardware("t4-small"), SPACE, 1800)  # fmt: skip
    assert hub.jobs.jobs["job3"]["secrets"] == {"HF_TOKEN": hub.token}


def test_a_canceled_job_is_started_again_where_it_was(hub, tmp_path):
    run, asked = tmp_path / "mine", (hardware("cpu-basic"), SPACE, 1800)
    first = start_job(small(), run, *asked)
    assert hub_jobs.cancel(run).stage == "CANCELED" and not look(run).is_going
    again = start_job(small(), run, *asked)
    assert again.id != first.id and again.run == first.run and read_job(run).is_going
    commands = [job["command"] for job in hub.jobs.jobs.values()]
    assert commands[0] == commands[1], "with the same folder in the bucket"


def test_only_the_network_of_a_finished_run_is_fetched(hub, tmp_path, finished_run):
    run = tmp_path / "mine"
    job = start_job(small(), run, hardware("cpu-basic"), SPACE, 1800)
    there = hub.jobs.bucket(job.bucket) / "mine"
    shutil.copytree(finished_run, there)
    (there / "student" / "graph.py").write_text("raise SystemExit")
    (there / "student" / "evil.pt").write_bytes(b"pickle")
    status = json.loads((there / STATUS).read_text())
    (there / STATUS).write_text(json.dumps(status | {"state": "running"}))
    look(run)
    assert (run / METRICS).read_bytes() == (there / METRICS).read_bytes() and not (run / "student").exists()
    (there / STATUS).write_text(json.dumps(status))
    hub.jobs.jobs[job.id]["stage"] = "COMPLETED"
    look(run)
    assert {file.suffix for file in (run / "student").rglob("*") if file.is_file()} <= {".json", ".safetensors", ".md"}


@pytest.mark.parametrize("changed", ["student", "dataset"])
def test_another_network_than_the_runs_is_refused(hub, tmp_path, finished_run, changed):
    run = tmp_path / "mine"
    job = start_job(small(), run, hardware("cpu-basic"), SPACE, 1800)
    there = hub.jobs.bucket(job.bucket) / "mine"
    shutil.copytree(finished_run, there)
    card = there / "student" / "config.json"
    values = json.loads(card.read_text())
    values["student"]["teacher"] = "file:/somewhere/network.py:make" if changed == "student" else "narrow_resnet"
    values["dataset"] = "emoji-clutter" if changed == "student" else "folder:/somewhere"
    card.write_text(json.dumps(values))
    hub.jobs.jobs[job.id]["stage"] = "COMPLETED"
    with pytest.raises(ValueError):
        look(run)
    assert not (run / "student").exists()
    assert not any("safetensors" in path for _, path, _ in hub.asked if "/resolve/" in path), "no weights were fetched"
    assert read_job(run).stage == "COMPLETED", "how it ended is known all the same"


def test_what_is_too_large_is_not_fetched(hub, tmp_path, finished_run, monkeypatch):
    run = tmp_path / "mine"
    job = start_job(small(), run, hardware("cpu-basic"), SPACE, 1800)
    shutil.copytree(finished_run, hub.jobs.bucket(job.bucket) / "mine")
    with pytest.raises(ValueError, match=r"its network has .* at most 1,000"):
        look(run, most_bytes=1000)
    monkeypatch.setitem(hub_jobs.MOST_OF_FILES, METRICS, 10)
    (run / STATUS).unlink()
    hub.jobs.jobs[job.id] |= {"stage": "ERROR", "logs": []}
    with pytest.raises(ValueError, match=r"metrics.jsonl has .* at most 10"):
        look(run)
    assert not (run / STATUS).exists() and not (run / "student").exists()
    assert read_job(run).stage == "ERROR"


@pytest.mark.parametrize(
    ("changes", "on", "space", "said"),
    [
        ({"dataset": "upload:mine"}, "t4-small", SPACE, "upload:mine"),
        ({"teacher_checkpoint": "/somewhere/student"}, "t4-small", SPACE, "folder of this machine"),
        ({"batch_size": 6}, "a10g-largex4", SPACE, "multiple of 4"),
        ({}, "t4-small", "no space", "'no space'"),
    ],
)
def test_what_no_job_can_train_is_a_sentence(hub, tmp_path, changes, on, space, said):
    with pytest.raises(ValueError, match=said):
        start_job(small(**changes), tmp_path / "mine", hardware(on), space, 1800)
    assert not (tmp_path / "mine").exists() and not hub.jobs.jobs


def test_refusals_of_the_hub_and_no_network_are_sentences(hub, tmp_path, monkeypatch):
    run, there = tmp_path / "mine", hardware("t4-small")
    with pytest.raises(ValueError, match=r"Hugging Face Jobs refuses .*sign in"):
        start_job(small(), run, there, SPACE, 1800, token="hf_wrong")
    with pytest.raises(ValueError, match="trained on this machine"):
        look(run)
    start_job(small(), run, there, SPACE, 1800)
    note = (run / NOTE).read_text()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    for ask in (list_hardware, lambda: look(run), lambda: hub_jobs.cancel(run)):
        with pytest.raises(ValueError, match=r"cannot be reached.*once more"):
            ask()
    assert (run / NOTE).read_text() == note, "nothing is noted that was not heard"


def test_the_price_is_said_before():
    there = hub_jobs.Hardware("t4-small", "T4", 1, "16 GB", 0.6)
    said = hub_jobs.said_price(there, 3600)
    assert "About 60 min" in said and "$0.60 on t4-small, at $0.60 an hour" in said
    assert "ended after 3.0 h, which is $1.80 at most" in said
    assert "less than $0.01" in hub_jobs.said_price(there, 5)


def test_the_shell_says_the_price_starts_looks_and_stops(hub, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(elsewhere, "estimate", lambda config: SimpleNamespace(seconds=3600.0))
    run = str(tmp_path / "mine")
    start = [
        "jobs",
        "start",
        "--preset",
        "quick",
        "--steps",
        "9",
        "--on",
        "t4-small",
        "--space",
        SPACE,
        "--run-dir",
        run,
    ]
    assert main(["jobs", "hardware"]) == 0 and "t4-small" in (said := capsys.readouterr().out) and "$0.60" in said
    assert main(start) == 1 and not hub.jobs.jobs, "nobody was there to ask"
    assert main([*start, "--yes"]) == 0 and "$1.80 at most" in capsys.readouterr().out
    (job,) = hub.jobs.jobs.values()
    assert job["timeoutSeconds"] == 3 * 3600 and json.loads(job["environment"]["RUN_SETTINGS"])["steps"] == 9
    assert main([*start, "--yes"]) == 1 and "look at it, or stop it" in capsys.readouterr().err
    job |= {"stage": "ERROR", "logs": ["redistill: no such data set"]}
    assert main(["jobs", "look", run]) == 0 and "no such data set" in capsys.readouterr().out
    assert read_job(tmp_path / "mine").message == "redistill: no such data set"
    assert main(["jobs", "stop", run]) == 0 and job["stage"] == "CANCELED"
    capsys.readouterr()
    assert main([*start, "--on", "h9000"]) == 1 and "h9000" in capsys.readouterr().err
    assert main(["jobs", "look", str(tmp_path / "none")]) == 1 and "trained on this machine" in capsys.readouterr().err


def test_a_folder_is_copied_as_it_grows_and_begun_from_its_copy(tmp_path):
    run, copy, seen = tmp_path / "run", tmp_path / "bucket" / "run", {}
    (run / "student").mkdir(parents=True)
    (run / "student" / "a").write_text("1")
    (run / ".lock").touch()
    (run / STATUS).write_text("running")
    run_copy.bring(run, copy, seen)
    assert sorted(str(f.relative_to(copy)) for f in copy.rglob("*") if f.is_file()) == [STATUS, "student/a"]
    (copy / "student" / "a").write_text("unchanged")
    (run / STATUS).write_text("finished")
    run_copy.bring(run, copy, seen)
    assert (copy / STATUS).read_text() == "finished" and (copy / "student" / "a").read_text() == "unchanged"
    with run_copy.copied(tmp_path / "other" / "run", copy):
        assert (tmp_path / "other" / "run" / STATUS).read_text() == "finished"
        (tmp_path / "other" / "run" / "last.pt").write_text("later")
    assert (copy / "last.pt").read_text() == "later"


def test_a_copy_that_cannot_be_written_is_told_and_the_run_goes_on(tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    run.mkdir()
    (run / STATUS).write_text("x")
    (tmp_path / "file").touch()
    monkeypatch.setattr(run_copy, "SECONDS", 0.01)
    went_on = False
    with pytest.raises(OSError), run_copy.copied(run, tmp_path / "file" / "copy"):
        while "not brought up to date" not in capsys.readouterr().err:
            pass
        went_on = True
    assert went_on

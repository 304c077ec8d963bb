"""A run on a GPU that is lent by the call ends with the weights of one that was never stopped."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import gradio as gr
import pytest
from helpers.lending import spaces
from helpers.made import small
from helpers.visitors import asked_by

from app.distill import estimate_panel, lent_panel, plan, run_form, watch, watch_view
from app.distill.plan import Plan
from app.parts.turns import Turns
from app.runs import jobs, lent, run_list
from app.visitors import lending, place, quota

A, B = "browser:a", "browser:b"
PACE = lent.Pace(start=1.0, step=0.1, validation=0.5, test=1.0)


@pytest.fixture
def zero(places, monkeypatch):
    """A page on ZeroGPU, whose GPU is this machine's CPU; the calls that were asked for."""
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setitem(sys.modules, "spaces", spaces())
    monkeypatch.setattr(lent, "is_lent", lambda config: place.is_zero_gpu())
    with asked_by(A):
        stretch = lending.lent(lent._seconds_of_stretch)(lent.take_stretch)
        monkeypatch.setattr(lent, "take_stretch", stretch)
        monkeypatch.setattr(lent, "measure", lending.lent(lent._seconds_to_estimate)(lent.measure))
        yield stretch.__wrapped__


@pytest.fixture
def short_calls(monkeypatch):
    """Calls that have room for two records each."""
    monkeypatch.setattr(lent._Clock, "fits", lambda clock, kind: clock.records % 2 != 0)


def start() -> jobs.Run:
    run = jobs.start(small().to_dict(), "Lent")
    (run.path / lent.PACE).write_text(json.dumps(lent.dataclasses.asdict(PACE)))
    return run


def losses(folder: Path) -> list[tuple]:
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    names = ("step", "kind", "loss", "accuracy", "test_accuracy")
    return [tuple(row.get(name) for name in names) for row in records]


def test_a_run_in_stretches_gives_the_same_weights_as_one_without(zero, short_calls, finished_run):
    run = start()
    assert (run.state, run.step) == ("stopped", 0)
    states = [(run_list.read_run(run.name).state, pace.calls) for pace in jobs.drive(run.name)]
    assert len(states) > 3 and {state for state, _ in states} == {"running"}
    assert [calls for _, calls in states] == list(range(len(states)))
    assert run_list.read_run(run.name).state == "finished"
    weights = [(folder / "student" / "model.safetensors").read_bytes() for folder in (run.path, finished_run)]
    assert weights[0] == weights[1] and losses(run.path) == losses(finished_run)
    with pytest.raises(ValueError, match="finished"):
        next(jobs.drive(run.name))


def test_pictures_are_made_before_a_gpu_is_asked_for(zero, short_calls, monkeypatch):
    """Else a visitor's seconds go for drawing them, and so slow a start seems to leave no room in a call."""
    done, load, measure, stretch = [], lent.load_split, lent.measure, lent.take_stretch
    monkeypatch.setattr(lent, "load_split", lambda name, split, *given: done.append(split) or load(name, split, *given))
    monkeypatch.setattr(lent, "measure", lambda config: done.append("measured") or measure(config))
    monkeypatch.setattr(lent, "take_stretch", lambda path: done.append("stretch") or stretch(path))
    run = start()
    (run.path / lent.PACE).unlink()
    assert [*jobs.drive(run.name)] and run_list.read_run(run.name).state == "finished"
    assert done[:5] == ["train", "validation", "test", "measured", "stretch"] and "train" not in done[5:]
    done.clear()
    assert estimate_panel._on_a_lent_gpu(small())["pace"]
    assert done == ["train", "validation", "test", "measured"]


def test_a_page_that_is_closed_loses_nothing(zero, short_calls, finished_run):
    run = start()
    driving = jobs.drive(run.name)
    next(driving), next(driving)
    with pytest.raises(ValueError, match="running"):
        next(jobs.drive(run.name))  # from a second tab
    driving.close()
    stopped = run_list.read_run(run.name)
    assert stopped.state == "stopped" and stopped.step >= 1
    assert jobs.resume(run.name).state == "stopped", "nothing goes on by itself"
    assert [*jobs.drive(run.name)] and run_list.read_run(run.name).state == "finished"
    assert (run.path / "student" / "model.safetensors").read_bytes() == (
        finished_run / "student" / "model.safetensors"
    ).read_bytes()


def test_a_run_is_stopped_between_its_calls_and_in_one(zero, short_calls):
    run = start()
    driving = jobs.drive(run.name)
    next(driving)
    jobs.stop(run.name)
    assert run_list.read_run(run.name).state == "stopping" and list(driving) == []
    assert run_list.read_run(run.name).state == "stopped"
    jobs.resume(run.name)
    driving = jobs.drive(run.name)
    next(driving)
    (run.path / lent.HALT).touch()  # asked for after the call has begun, and cleared the other file
    assert lent.take_stretch(str(run.path))["step"] < 3 and list(driving) == []
    jobs.delete(run.name)


def test_another_visitor_drives_nothing(zero, short_calls):
    run = start()
    with asked_by(B):
        with pytest.raises(ValueError, match="No run"):
            next(jobs.drive(run.name))
        assert "No run" in str(list(lent_panel.drive({"drive": [run.name]})))
    assert run_list.read_run(run.name).step == 0


def test_the_page_says_what_is_to_come_and_what_is_left(zero, monkeypatch, short_calls, tmp_path):
    monkeypatch.setattr(quota, "cache_dir", lambda: tmp_path)
    monkeypatch.setattr(lent, "take_stretch", take_seconds(lent.take_stretch))
    run = start()
    words = [shown["said"] for shown in lent_panel.drive({"drive": [run.name]})]
    assert all(said in words[0].lower() for said in ("more call", "60 s", "120 s", "keep the page"))
    assert quota.spent() >= 30 and f"{quota.spent():.0f} s here" in words[-1]
    assert [*lent_panel.drive(None)] == [*lent_panel.drive({"drive": [5]})] == [{}]


def take_seconds(stretch):
    """A stretch whose call took ten seconds more."""

    def call(run_dir: str) -> dict:
        done = stretch(run_dir)
        file = Path(run_dir) / lent.PACE
        pace = json.loads(file.read_text())
        file.write_text(json.dumps(pace | {"used": pace["used"] + 10}))
        return done

    return call


def test_a_failed_call_is_a_sentence_and_the_run_is_kept(zero, monkeypatch):
    run = start()

    def refuse(run_dir):
        raise gr.Error("You have exceeded your ZeroGPU quota")

    monkeypatch.setattr(lent, "take_stretch", lending.lent(lambda run_dir: 1)(refuse))
    said = [shown["said"] for shown in lent_panel.drive({"drive": [run.name]})]
    assert "exceeded your ZeroGPU quota" in said[-1] and "Go on" in said[-1]
    assert run_list.read_run(run.name).state == "stopped"


def test_buttons_wake_the_page_that_drives(zero):
    run = start()
    assert lent_panel.wake(run) == {"drive": [run.name]}
    assert watch.resume_run({"name": run.name})["woken"]["drive"] == [run.name]
    assert "drive" not in watch.resume_run({"name": "none"})["woken"]
    assert "drive" not in watch.stop_run({"name": run.name})["woken"]


def planned(monkeypatch, seeds: int = 1) -> Plan:
    """A teacher, and students of it that are started with it."""
    monkeypatch.setattr(lent, "measure", lambda config: {"pace": lent.dataclasses.asdict(PACE)})
    student = small(teacher_checkpoint=run_form.PLANNED, kd_weight=1.0, steps=2)
    return Plan(tuple(lent.dataclasses.replace(student, seed=seed) for seed in range(seeds)), small())


def test_students_follow_their_teacher_by_themselves(zero, short_calls, monkeypatch):
    teacher, *students = plan.start(planned(monkeypatch, seeds=2))
    assert [watch_view.state_text(run) for run in students] == ["waiting for its teacher"] * 2
    assert plan.ahead_of([teacher]) == [] and lent_panel.wake(teacher, *students)["drive"][0] == teacher.name
    with pytest.raises(ValueError, match=r"Its teacher’s run .* is stopped"):
        next(jobs.drive(students[0].name))
    said = [shown["said"] for shown in lent_panel.drive(lent_panel.wake(teacher, *students))]
    assert [run_list.read_run(run.name).state for run in (teacher, *students)] == ["finished"] * 3
    assert all(any(run.title in words for words in said) for run in (teacher, *students))


@pytest.mark.parametrize("pressed", ["teacher", "student"])
def test_go_on_takes_both_further_whichever_it_stands_at(zero, short_calls, monkeypatch, pressed):
    runs = dict(zip(("teacher", "student"), plan.start(planned(monkeypatch)), strict=True))
    driving = lent_panel.drive(lent_panel.wake(*runs.values()))
    next(driving), next(driving)
    driving.close()  # the page was closed in the teacher's run
    states = [run_list.read_run(run.name).state for run in runs.values()]
    assert states == ["stopped", "stopped"]
    list(lent_panel.drive(watch.resume_run({"name": runs[pressed].name})["woken"]))
    assert [run_list.read_run(run.name).state for run in runs.values()] == ["finished", "finished"]


def test_a_teacher_that_is_stopped_leaves_its_students_waiting(zero, short_calls, monkeypatch):
    teacher, student = plan.start(planned(monkeypatch))
    driving = lent_panel.drive(lent_panel.wake(teacher, student))
    next(driving)
    jobs.stop(teacher.name)
    list(driving)
    assert run_list.read_run(teacher.name).state == "stopped" and run_list.read_run(student.name).step == 0
    jobs.delete(teacher.name)
    assert "has been deleted" in str(list(lent_panel.drive({"drive": [student.name]})))


def test_a_plan_that_does_not_start_whole_leaves_nothing(zero, monkeypatch):
    started = planned(monkeypatch, seeds=2)
    start_run, calls = jobs.start, []

    def fail_third(*given):
        calls.append(given)
        if len(calls) == 3:
            raise ValueError("too many runs")
        return start_run(*given)

    monkeypatch.setattr(jobs, "start", fail_third)
    with pytest.raises(ValueError, match="too many runs"):
        plan.start(started)
    assert run_list.list_runs() == []


def test_how_many_calls_a_run_takes():
    config = small(steps=1000, validate_every=100)
    assert PACE.left(config, 0) == pytest.approx(100 + 5 + 1) and PACE.left(config, 1000) == pytest.approx(1)
    assert PACE.calls_left(config, 0) == 2 and PACE.calls_left(config, 900) == 1
    assert PACE.call_seconds(config, 0) == lent.CALL_SECONDS and PACE.call_seconds(config, 1000) < 10
    for part in ("step", "validation", "test"):
        slow = lent.dataclasses.replace(PACE, **{part: 100.0})
        with pytest.raises(ValueError, match="one part of this run takes 100 s"):
            slow.calls_left(config, 0)


def test_an_estimate_is_a_call_and_says_how_many_follow(zero, monkeypatch, tmp_path):
    monkeypatch.setattr(quota, "cache_dir", lambda: tmp_path)
    with Turns().take(None) as turn:
        shown = list(estimate_panel.show(lambda: Plan((small(),)), turn))
    assert "call of at most 60 s" in shown[-1][0] and "s left of 120 s" in shown[-1][0]
    monkeypatch.setattr(lent, "estimate", lambda config: (_ for _ in ()).throw(ValueError("too large a batch")))
    with Turns().take(None) as turn:
        assert "too large a batch" in list(estimate_panel.show(lambda: Plan((small(),)), turn))[-1][0]


def test_quotas_by_account(tmp_path, monkeypatch):
    monkeypatch.setattr(quota, "cache_dir", lambda: tmp_path)
    with asked_by(A):
        quota.spend(100)
        assert "100 s here" in quota.said(None) and "20 s left of 120 s" in quota.said(None)
        assert "200 s left of 300 s" in quota.said({"sub": "1"}) and "2300 s left" in quota.said({"isPro": True})
        tomorrow = time.time() + 90_000
        monkeypatch.setattr(time, "time", lambda: tomorrow)
        assert quota.spent() == 0
    with asked_by(B):
        assert quota.spent() == 0
    with asked_by():
        quota.spend(10)
        assert quota.spent() == 0

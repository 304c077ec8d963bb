"""What Start starts: one run, one a seed, or a teacher's before its students'; and what it says where it does not."""

from __future__ import annotations

import dataclasses
import re

import gradio as gr
import pytest
from helpers import made
from helpers.forms import run_values

from app.distill import page, plan, run_form, starting
from app.runs import jobs, processes, run_list
from app.words.settings import run_title
from redistill.training.presets import PRESETS

UNDISTILLED = PRESETS["undistilled"].config


@pytest.fixture
def launched(shipped, monkeypatch):
    """Runs are made, and no process of theirs starts."""
    monkeypatch.setattr(jobs, "launch", lambda *arguments: None)
    monkeypatch.setattr(jobs.time, "strftime", lambda text, *more: "now")
    return shipped


def started() -> list[jobs.Run]:
    return sorted(run_list.list_runs(), key=lambda run: run.created)


def test_a_run_is_called_by_its_pictures_network_method_and_seed(launched):
    assert starting.start_run(**run_values("quick", seed=3))["refusal"] == ""
    (run,) = started()
    assert run.title == "emoji-clutter · Narrow ResNet, strides 4·1·2·2·1, RED blocks · RED + KD · seed 3"


def test_a_teacher_is_trained_first_where_that_is_chosen(launched):
    form = run_values("quick", teacher_checkpoint=run_form.TRAIN_FIRST, teacher_steps=7, seed=5, device="cpu")
    said = starting.start_run(**form)["refusal"]
    teacher, student = started()
    assert (teacher.config["steps"], teacher.config["student"]["strides"], teacher.config["seed"]) == (7, {}, 5)
    assert teacher.config["train_limit"] == student.config["train_limit"] == 3000
    assert student.config["teacher_checkpoint"] == str(teacher.path / "student")
    assert run_list.read_run(student.name).after == teacher.name
    assert "first" in said and teacher.title in said.replace("&quot;", '"')


def test_a_finished_run_is_trained_on_in_int8(launched):
    made.write_run(launched, "one", UNDISTILLED, "running")
    shown = {"name": "one"}
    assert "once it has finished" in starting.start_int8(shown)["said"]
    made.write_run(launched, "two", UNDISTILLED, "finished")
    made.write_checkpoint(launched / "runs" / "two" / "student", UNDISTILLED, test_accuracy=0.9)
    said = starting.start_int8({"name": "two"})
    (run,) = (run for run in run_list.list_runs() if run.name not in ("one", "two"))
    assert said["said"] == "" and said["runs"].value == run.name and run.title.endswith("KD, in int8 · seed 0")
    assert run.config["quantize"] == "int8" and run.config["student"] == UNDISTILLED.student.to_dict()
    assert run.config["teacher_checkpoint"] == str(launched / "runs" / "two" / "student")
    assert "have run before" in starting.start_int8({"name": "two"})["said"] and len(run_list.list_runs()) == 3
    made.write_run(launched, "faces", PRESETS["faces"].config, "finished")
    made.write_checkpoint(launched / "runs" / "faces" / "student", PRESETS["faces"].config)
    assert "only classifiers" in starting.start_int8({"name": "faces"})["said"]


def test_several_seeds_start_at_once(launched):
    said = starting.start_run(**run_values("undistilled", seed=4, seeds=3))["refusal"]
    assert [run.config["seed"] for run in started()] == [4, 5, 6] and "3 students" in said
    assert len({run.title for run in started()}) == 3


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"steps": 0}, "steps"),
        ({"seed": -1}, "seed"),
        ({"seeds": 0}, "seeds"),
        ({"seeds": None}, "seeds"),
        ({"seeds": 99}, "seeds"),
        ({"seeds": "<b>"}, "seeds"),
        ({"seed": 2**31 - 1, "seeds": 2}, "seed"),
        ({"image_size": 48}, "image_size"),
        ({"milestones": "soon"}, "milestones"),
        ({"device": "cuda:99"}, "device"),
        ({"teacher_checkpoint": "none"}, "teacher_checkpoint"),
        ({"teacher_checkpoint": "/etc"}, "teacher_checkpoint"),
        ({"teacher_checkpoint": run_form.TRAIN_FIRST, "teacher_steps": None}, "teacher_steps"),
        ({"teacher_checkpoint": run_form.TRAIN_FIRST, "teacher_steps": 0.5}, "teacher_steps"),
        ({"schedule": "step"}, "schedule"),
    ],
)
def test_a_refusal_stands_at_its_field_and_goes_when_it_is_mended(launched, changes, field):
    shown = starting.start_run(**run_values("quick", **changes))
    assert f'data-field="{run_form.place_of(field)}"' in shown["refusal"] and started() == []
    with gr.Blocks() as blocks:
        page.build(gr.Tab(), blocks)
    places = {part.elem_id for part in blocks.blocks.values()}
    assert run_form.place_of(field) in places
    state = shown["state"]
    assert "<script" not in shown["refusal"] and "<b>" not in shown["refusal"]
    still = starting.recheck(state, **run_values("quick", **changes, temperature=3))
    assert still["state"] == state and f'data-field="{run_form.place_of(field)}"' in still["refusal"]
    mended = starting.recheck(state, **run_values("quick"))
    assert (mended["refusal"], mended["state"]) == ("", "")
    assert starting.recheck("", **run_values("quick", **changes)) == {}, "nothing is said before Start is pressed"


def test_settings_that_have_run_before_are_asked_about_and_start_when_that_is_said(launched):
    starting.start_run(**run_values("undistilled"))
    shown = starting.start_run(**run_values("undistilled"))
    assert "have run before" in shown["refusal"] and shown["again"].visible and len(started()) == 1
    assert not starting.recheck(shown["state"], **run_values("undistilled", seed=9))["again"].visible
    assert not starting.start_again(**run_values("undistilled"))["again"].visible
    assert len(started()) == 2
    assert "have run before" not in starting.start_run(**run_values("undistilled", seed=1))["refusal"]
    made.write_run(launched, "broken", dataclasses.replace(UNDISTILLED, seed=8), "failed")
    assert "have run before" not in starting.start_run(**run_values("undistilled", seed=8))["refusal"]


@pytest.mark.parametrize("slots", [1, 2])
def test_a_second_start_says_what_it_waits_for_and_keeps_the_live_run_in_view(launched, monkeypatch, slots):
    monkeypatch.setenv("REDISTILL_CPU_RUNS", str(slots))
    (launched / "runs" / "first").mkdir(parents=True)
    first = jobs.Run(
        "first", launched / "runs" / "first", "the first", "running", config=UNDISTILLED.to_dict() | {"seed": 7}
    )
    monkeypatch.setattr(run_list, "everybodys", lambda real=run_list.everybodys: [*real(), first])
    monkeypatch.setattr(run_list, "list_runs", run_list.everybodys)
    shown = starting.start_run(**run_values("undistilled"), drawn={"name": "first"})
    waits = slots == 1
    assert ("Queued behind “the first”" in shown["refusal"]) == waits
    assert (shown["runs"].value == "first") == waits


def test_where_one_run_cannot_start_none_of_them_does(launched, monkeypatch):
    monkeypatch.setattr(jobs, "MAX_WAITING", 2)
    monkeypatch.setattr(
        run_list, "read_folder", lambda path, real=run_list.read_folder: dataclasses.replace(real(path), state="queued")
    )
    ended = []
    monkeypatch.setattr(jobs, "end", lambda path: ended.append(path))
    monkeypatch.setattr(jobs, "delete", lambda name: ended.append(name))
    with pytest.raises(ValueError, match="waiting already"):
        plan.start(plan.Plan(tuple(dataclasses.replace(UNDISTILLED, seed=seed) for seed in range(3))))
    assert len(ended) == 4


def test_titles_fit_a_folder(launched):
    title = run_title(dataclasses.replace(UNDISTILLED, dataset="emoji-clutter"))
    jobs.start(UNDISTILLED.to_dict(), title)
    assert re.fullmatch(r"now-[a-z0-9-]+", started()[0].name) and processes.device_of(started()[0].config) == "cpu"

"""Watching runs: what is drawn again, said and kept, also of files with odd values."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import shutil
import time
from types import SimpleNamespace

import gradio as gr
import pytest
from helpers import made

from app.distill import watch, watch_view
from app.runs import choices, jobs, results, run_list, titles
from app.visitors import access
from redistill.training.presets import (
    PRESETS,
)

ODD = """{"kind": "step", "step": 1, "loss": "x", "images_per_second": "fast", "learning_rate": null}
{"kind": "step", "step": 2, "loss": [1], "images_per_second": NaN}
not json
{"kind": "validation", "step": 2, "accuracy": "high"}
{"kind": "final", "step": 2, "test_accuracy": {}, "seconds": "long", "measured_peak_bytes": "many"}
"""


def write_run(root, name: str, state: str = "finished", records: str = "") -> None:
    folder = root / "runs" / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"steps": 4, "batch_size": 2}')
    (folder / "job.json").write_text(f'{{"title": "<b>{name}</b>", "created": 1}}')
    (folder / "status.json").write_text(f'{{"state": "{state}", "step": 2, "steps": 4, "error": "The <loss> is nan."}}')
    (folder / "metrics.jsonl").write_text(records)


def test_a_run_is_shown_and_its_words_are_escaped(places):
    write_run(places, "one", "failed", '{"kind": "step", "step": 1, "loss": 2.0}\n')
    shown = watch.look(None, None)
    assert shown["drawn"]["name"] == "one" and [value for _, value in shown["runs"].choices] == ["one"]
    assert "&lt;b&gt;one&lt;/b&gt;" in shown["progress"] and "The &lt;loss&gt; is nan." in shown["progress"]
    assert [shown[name].interactive for name in ("stop", "resume", "delete")] == [False, True, True]
    assert shown["losses"]["data"][0]["y"] == [2.0]
    assert watch.look(None, shown["drawn"]) == {}


def test_the_clock_redraws_only_what_changed(places):
    write_run(places, "one", records='{"kind": "step", "step": 1, "loss": 2.0}\n')
    drawn = watch.look("one", None)["drawn"]
    metrics = places / "runs" / "one" / "metrics.jsonl"
    metrics.write_text(metrics.read_text() + '{"kind": "final", "step": 2, "test_accuracy": 0.5, "seconds": 9}\n')
    shown = watch.look("one", drawn)
    assert not shown.keys() & {"said", "runs"}
    assert "50.0 %" in shown["progress"] and "9.0 s" in shown["progress"]
    write_run(places, "two")
    shown = watch.look("one", shown["drawn"])
    assert shown["drawn"]["name"] == "one" and len(shown["runs"].choices) == 2
    shutil.rmtree(places / "runs" / "one")
    shown = watch.look("one", shown["drawn"])
    assert "its folder has been deleted" in shown["said"] and shown["drawn"]["name"] == "two"


def test_a_step_of_a_run_redraws_neither_its_buttons_nor_its_cards_nor_its_images(places):
    write_run(places, "one", "running", '{"kind": "step", "step": 1, "loss": 2.0}\n')
    folder = places / "runs" / "one"
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        drawn = watch.look("one", None)["drawn"]
        with open(folder / "metrics.jsonl", "a") as file:
            file.write('{"kind": "step", "step": 2, "loss": 1.0}\n')
        shown = watch.look("one", drawn)
        assert shown.keys() == {"drawn", "progress", "losses", "scores", "rate", "speed"}
        (folder / "samples").mkdir()
        (folder / "samples" / "step-000002.png").write_bytes(b"")
        shown = watch.look("one", shown["drawn"])
        assert shown.keys() == {"drawn", "samples"} and "step 2" in shown["samples"]
    (folder / "status.json").write_text('{"state": "finished", "step": 2, "steps": 4}')
    shown = watch.look("one", shown["drawn"])
    assert {"progress", "stop", "home", "classes", "runs"} < shown.keys() and "samples" not in shown


def test_a_run_goes_on_with_its_pictures_from_where_they_lie_now(places, monkeypatch):
    """Pictures that have a name are where they always are, so a run of them has nothing to choose."""
    there = ("emoji-clutter", "cifar10", "upload:before", "upload:elsewhere")
    monkeypatch.setattr(watch, "offered", lambda student: [(name, name) for name in there])
    own = dataclasses.replace(PRESETS["quick"].config, dataset="upload:before")
    for name, config, values in (
        ("named", PRESETS["quick"].config, [watch.AS_BEFORE]),
        ("one", own, [watch.AS_BEFORE, "upload:elsewhere"]),
    ):
        made.write_run(places, name, config, "stopped")
        shown = watch.look(name, None)["moved"]
        assert [value for _, value in shown.choices] == values and shown.value == watch.AS_BEFORE


@pytest.mark.parametrize(
    ("given", "changes"),
    [
        ((9, None, watch.AS_BEFORE), {"steps": 9}),
        ((9, 0, watch.AS_BEFORE), {"steps": 9}),  # an empty number, as gradio sends it from a fold that was opened
        ((0, 0.01, "cpu"), {"learning_rate": 0.01, "device": "cpu"}),
        (
            (9, -5, watch.AS_BEFORE, "upload:elsewhere"),
            {"steps": 9, "learning_rate": -5, "dataset": "upload:elsewhere"},
        ),
    ],
)
def test_a_run_goes_on_with_what_the_fields_of_the_page_say(places, monkeypatch, given, changes):
    made.write_run(places, "one", PRESETS["quick"].config, "stopped")
    asked = []
    monkeypatch.setattr(watch.jobs, "extend", lambda name, changes: asked.append(changes) or run_list.read_run(name))
    watch.extend_run({"name": "one"}, *given)
    assert asked == [changes]
    with gr.Blocks() as page:
        panel = watch.WatchPanel()
    (event,) = [one for one in page.fns.values() if panel.shown["extend"]._id in {target for target, _ in one.targets}]
    assert [getattr(part, "label", None) for part in event.inputs[1:]] == [
        "Steps in all (empty or 0: as before)",
        "Learning rate (empty or 0: as before)",
        "Device",
        "Its pictures, if they have moved",
    ]


def test_what_the_page_never_opens_is_refused_before_a_run_is_changed(places, monkeypatch):
    made.write_run(places, "one", PRESETS["quick"].config, "stopped")
    before = (places / "runs" / "one" / "config.json").read_text()
    monkeypatch.setenv("SPACE_ID", "someone/redistill")
    monkeypatch.setattr(access, "is_theirs", lambda noted: True)
    with pytest.raises(ValueError, match="Folders are read from the command line"):
        jobs.extend("one", {"dataset": "folder:/etc"})
    assert (places / "runs" / "one" / "config.json").read_text() == before


def test_a_look_never_chooses_a_run_nor_leaves_the_one_that_is_shown(places):
    write_run(places, "one")
    drawn = watch.look(None, None)["drawn"]
    write_run(places, "newer")
    (places / "runs" / "newer" / "job.json").write_text('{"title": "newer", "created": 2}')
    for chosen, name in ((None, "one"), ("newer", "newer"), ("one", "one"), ("gone", "one")):
        shown = watch.look(chosen, drawn)
        drawn = shown["drawn"]
        assert (drawn["chosen"], drawn["name"]) == (chosen, name)
        assert "runs" not in shown or "value" not in shown["runs"].constructor_args


def test_a_run_is_deleted_once_that_is_confirmed_and_the_next_one_shown(places):
    write_run(places, "one")
    write_run(places, "two")
    shown = watch.ask_to_delete({"name": "one"})
    assert shown["asked"] == "one" and shown["confirm"].visible
    assert "Delete “&lt;b&gt;one&lt;/b&gt; · 4 steps" in shown["question"]
    assert len(run_list.list_runs()) == 2
    shown = watch.delete_run("one", "one")
    assert (shown["asked"], shown["confirm"].visible, shown["said"], shown["runs"].value) == (None, False, "", "two")
    assert watch.delete_run("two", "two")["runs"].value is None
    assert "No run left" in watch.look(None, None)["progress"]


def test_runs_of_one_title_are_told_apart(places):
    student = PRESETS["undistilled"].config
    for name, steps, second in (("a", 3, 0), ("b", 1200, 1), ("c", 1200, 90)):
        config = dataclasses.replace(student, steps=steps)
        made.write_run(places, name, config, "finished")
        made.write_checkpoint(places / "runs" / name / "student", config, test_accuracy=0.5)
        created = time.mktime((2020, 5, 3, 14, 5, second, 0, 0, -1)) if name != "c" else time.time()
        (places / "runs" / name / "job.json").write_text(json.dumps({"title": "Same", "created": created}))
    now = time.strftime("%H:%M", time.localtime(created))
    wanted = ["Same · 3 steps, 3 May 14:05", "Same · 1,200 steps, 3 May 14:05", f"Same · 1,200 steps, {now}:"]
    lists = (
        {result.key: result.title for result in results.all_results()},
        {choice.value: choice.title for choice in choices.checkpoints(lambda metadata: True)},
    )
    for found in lists:
        assert all(found[f"run:{name}"].startswith(title) for name, title in zip("abc", wanted, strict=True))
    listed = {name: label for label, name in watch.look(None, None)["runs"].choices}
    assert listed["b"] == "Same · finished · 1,200 steps, 3 May 14:05"
    assert "“Same · 3 steps, 3 May 14:05”" in watch.ask_to_delete({"name": "a"})["question"]
    jobs.delete("a")
    jobs.delete("b")
    assert [result.title for result in results.all_results()] == ["Same"]
    assert titles.run_facts(jobs.Run("x", places, "x", "finished", created=1e300)) == ""


def test_files_of_a_run_are_saved_and_no_others(places):
    write_run(places, "one", records="x" * (watch.MAX_SAVED + 5))

    def save(file):
        return watch.save_file(SimpleNamespace(_data={"save": file}), {"name": "one"})

    saved, said = save("config.json")
    assert (saved["name"], saved["text"], said) == ("one-config.json", '{"steps": 4, "batch_size": 2}', "")
    assert len(save("metrics.jsonl")[0]["text"]) == watch.MAX_SAVED
    assert "has no log.txt yet" in save("log.txt")[1]
    assert "expected one of" in save("../one/config.json")[1]


@pytest.mark.parametrize("state", ["running", "finished", "failed", "interrupted"])
def test_odd_values_in_a_runs_files_are_left_out(places, state):
    write_run(places, "odd", state, ODD)
    (places / "runs" / "odd" / "config.json").write_text('{"steps": 4, "batch_size": "two", "student": 3}')
    samples = places / "runs" / "odd" / "samples"
    samples.mkdir()
    (samples / "step-last.png").write_text("")
    progress = watch.look(None, None)["progress"]
    assert "1 line of its metrics could not be read" in progress
    assert ("ended without a word" in progress) == (state in ("running", "interrupted"))


def test_a_run_that_goes_on_stands_where_it_was_and_one_that_begins_has_no_time_left_to_say(places):
    records = "".join(f'{{"kind": "step", "step": {step}, "images_per_second": 1.0}}\n' for step in (1, 2))
    write_run(places, "on", "running", records)
    with open(places / "runs" / "on" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        progress = watch.look(None, None)["progress"]
        assert 'aria-valuenow="50.0"' in progress and "step 2 of 4 · 1 images/s · about 4.0 s left" in progress
        status = places / "runs" / "on" / "status.json"
        status.write_text('{"state": "running", "step": 0, "steps": 4}')  # it was killed before its first save
        progress = watch.look(None, None)["progress"]
        assert "preparing the pictures" in progress and "left" not in progress


@pytest.mark.parametrize(("told", "left"), [(40, "20 s"), ("many", "1.0 s"), (None, "1.0 s")])
def test_the_time_left_goes_by_the_pictures_that_a_step_takes(places, told, left):
    """There may be fewer of them than a batch; a run of before does not tell."""
    first = {"kind": "step", "step": 1, "images_per_second": 4.0} | ({"images_a_step": told} if told else {})
    write_run(places, "on", "running", json.dumps(first) + '\n{"kind": "step", "step": 2, "images_per_second": 4.0}\n')
    with open(places / "runs" / "on" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert f"about {left} left" in watch.look(None, None)["progress"]


def test_failure_signs_stand_beside_the_run(places):
    config = PRESETS["quick"].config
    stem = {**config.student.strides, "conv1": 1, "maxpool": 2, "layer4.0": 2}
    student = dataclasses.replace(config.student, strides=stem)  # its RED blocks hold several of the largest maps
    config = dataclasses.replace(config, student=student)
    alone = dataclasses.replace(
        config, student=dataclasses.replace(student, red=None), teacher_checkpoint=None, init="scratch", kd_weight=0.0
    )
    made.write_run(places, "alone", alone, "finished", {"kind": "validation", "step": 60, "accuracy": 0.5})
    made.write_checkpoint(places / "runs" / "alone" / "student", alone, test_accuracy=0.6)
    losses = [{"kind": "step", "step": step, "loss": 1.0 + (step > 40)} for step in range(1, 61)]
    made.write_run(places, "run", config, "stopped", *losses, {"kind": "validation", "step": 60, "accuracy": 0.3})
    signs = " ".join(watch_view.failure_signs(run_list.read_run("run"), run_list.records(run_list.read_run("run"))))
    for part in (
        "The loss has risen",
        "RED blocks have become the memory peak",
        "30.0 % at step 60",
        "has 50.0 % there",
    ):
        assert part in signs
    assert watch_view.failure_signs(run_list.read_run("alone"), []) == []


def test_the_end_states_what_was_measured_beside_what_was_computed(places):
    final = {"kind": "final", "step": 4, "test_accuracy": 0.5, "seconds": 9, "device": "CPU"}
    final |= {"training_peak_bytes": 2**21, "measured_peak_bytes": 2**20, "eager_peak_bytes": 2**20}
    write_run(places, "one", records=json.dumps(final | {"fused_peak_bytes": 2**19}) + "\n")
    progress = watch.look(None, None)["progress"]
    for part in ("while training</td><td>2.00 MiB", "at inference</td><td>1.00 MiB", "deployed</td><td>0.50 MiB"):
        assert part in progress

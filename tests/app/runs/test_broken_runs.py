"""A file of a run that says what it cannot mean breaks that run alone: it is named, and every tab works for all."""

from __future__ import annotations

import json
import os
import signal

import pytest
from helpers.made import write_checkpoint, write_run

from app.compare import handlers as compare
from app.distill import data_panel, handlers, watch
from app.generate import offered
from app.runs import choices, jobs, results, run_list
from redistill.training.presets import PRESETS

GOOD = PRESETS["undistilled"].config
DIGITS = int("9" * 400)
VALUES = ["x", DIGITS, [["a"]], {"a": {"b": []}}]
KEYS = {
    "config.json": ["student", "dataset", "steps", "batch_size", "seed", "device", "teacher_checkpoint", "precision"],
    "status.json": ["state", "step", "steps", "pid", "heartbeat", "error"],
    "job.json": ["title", "created"],
    "student/config.json": ["format", "student", "dataset", "metrics", "training", "drawn_from", "class_names"],
}
STUDENT = [
    "teacher",
    "architecture",
    "image_size",
    "num_classes",
    "strides",
    "teacher_strides",
    "red",
    "alignment",
    "unets",
]
METRICS = ["test_accuracy", "seconds", "parameters", "measured_peak_bytes", "device", "test_prediction_loss"]


@pytest.fixture
def odd(shipped):
    """A finished run with its checkpoint, whose files a test then changes, beside one that is as it should be."""
    final = {"kind": "final", "step": 5, "test_accuracy": 0.5, "seconds": 1.0}
    for name in ("good", "odd"):
        write_run(shipped, name, GOOD, "finished", {"kind": "step", "step": 1, "loss": 1.0}, final)
        (shipped / "runs" / name / "job.json").write_text(json.dumps({"title": name, "created": 5.0}))
        write_checkpoint(shipped / "runs" / name / "student", GOOD, test_accuracy=0.5)
    return shipped / "runs" / "odd"


def every_tab_works(odd) -> dict:
    """What Distill shows of the odd run; the good one is in every list."""
    runs = {run.name: run for run in run_list.list_runs()}
    assert set(runs) == {"good", "odd"} and runs["good"].state == "finished"
    shown = watch.look("odd", None)
    assert shown["drawn"]["name"] == "odd" and 'class="run ' in shown["progress"]
    json.dumps(shown["drawn"])
    assert watch.look("odd", shown["drawn"]) == {}
    assert "run:good" in {result.key for result in results.all_results()}
    compare.refresh(group=GOOD.dataset, ticked=["run:odd", "run:good"])
    handlers.take_config(compare.chosen_config(("run:odd",)))
    assert "run:good" in {choice.value for choice in choices.checkpoints(lambda metadata: True)}
    offered.offer("run:odd", ["run:odd"])
    data_panel.offered(GOOD.student)
    return shown


@pytest.mark.parametrize(("file", "key"), [(file, key) for file, keys in KEYS.items() for key in keys])
def test_a_value_of_another_type_breaks_one_run(odd, file, key):
    for value in VALUES:
        text = (odd / file).read_text() if (odd / file).exists() else "{}"
        (odd / file).write_text(json.dumps(json.loads(text) | {key: value}))
        every_tab_works(odd)
        (odd / file).write_text(text)


@pytest.mark.parametrize("file", ["config.json", "student/config.json"])
@pytest.mark.parametrize("key", STUDENT)
def test_a_student_of_another_type_breaks_one_run(odd, file, key):
    text = (odd / file).read_text()
    for value in VALUES:
        values = json.loads(text)
        values["student"][key] = value
        (odd / file).write_text(json.dumps(values))
        every_tab_works(odd)


def test_a_figure_of_another_type_breaks_nothing(odd):
    values = json.loads((odd / "student" / "config.json").read_text())
    for key in METRICS:
        for value in VALUES:
            (odd / "student" / "config.json").write_text(json.dumps(values | {"metrics": {key: value}}))
            (odd / "metrics.jsonl").write_text(json.dumps({"kind": "final", "step": 5, key: value}) + "\n")
            every_tab_works(odd)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "5",
        "null",
        "{",
        "[" * 5000,
        '{"a":' * 900 + "1" + "}" * 900,
        "\0" * 9,
        '{"created": ' + "9" * 400 + "}",
    ],
)
def test_a_file_that_is_none_breaks_one_run(odd, text):
    for file in (*KEYS, "metrics.jsonl"):
        before = (odd / file).read_text()
        (odd / file).write_text(text)
        shown = every_tab_works(odd)
        if file == "config.json":
            assert run_list.read_run("odd").state == "broken" and "config.json" in shown["progress"]
        (odd / file).write_text(before)
    for file in KEYS:
        (odd / file).unlink()
        (odd / file).mkdir()
        every_tab_works(odd)


def test_a_run_whose_settings_cannot_be_is_called_broken_and_can_be_deleted(odd, shipped):
    values = json.loads((odd / "config.json").read_text())
    values["student"]["red"] = "x"
    (odd / "config.json").write_text(json.dumps(values))
    run = run_list.read_run("odd")
    assert run.state == "broken" and "red is 'x'" in run.error
    shown = watch.look("odd", None)
    assert "unreadable" in shown["progress"] and "red is &#x27;x&#x27;" in shown["progress"]
    assert str(shipped) not in shown["progress"]
    with pytest.raises(ValueError, match="broken"):
        jobs.resume("odd")
    jobs.delete("odd")
    assert [run.name for run in run_list.list_runs()] == ["good"]


@pytest.mark.parametrize("file", [*KEYS, "metrics.jsonl"])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link to itself"])
def test_what_is_no_file_breaks_one_run(odd, file, kind):
    """A pipe would be waited for, and a device read without end, by everybody's page."""
    place = odd / file
    place.unlink()
    {
        "pipe": os.mkfifo,
        "device": lambda path: path.symlink_to("/dev/zero"),
        "folder": os.mkdir,
        "link to itself": lambda path: path.symlink_to(path.name),
    }[kind](place)
    usual = signal.signal(signal.SIGALRM, lambda number, frame: pytest.fail("it waits"))
    signal.alarm(20)
    try:
        every_tab_works(odd)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, usual)

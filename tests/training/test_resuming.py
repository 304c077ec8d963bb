"""A run goes on longer, at another rate, on other places, and says so; its history stays; its network can be kept."""

from __future__ import annotations

import json
import shutil

import pytest
from helpers.made import small
from helpers.pictures import write_classes

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import read_metadata
from redistill.cli.commands import main
from redistill.common.files import read_json
from redistill.networks.student import StudentConfig
from redistill.training.evaluation import evaluate
from redistill.training.loop import distill
from redistill.training.resuming import change_run, save_student
from redistill.training.run_state import read_metrics, read_state


def stopped(folder, config=None, steps=4):
    running = distill(config or small(), folder)
    for record in running:
        if record["kind"] == "step" and record["step"] == steps:
            break
    running.close()
    return folder


def test_a_finished_run_goes_on_for_longer_and_keeps_its_history(tmp_path, finished_run, capsys):
    run = shutil.copytree(finished_run, tmp_path / "run")
    before = [record["step"] for record in read_metrics(run) if record["kind"] == "step"]
    assert main(["resume", str(run), "--steps", "8", "--learning-rate", "0.001"]) == 0
    told = capsys.readouterr()
    told = told.out + told.err
    assert "steps: 6 until step 6, 8 from there on" in told and "learning_rate: 0.003 until step 6, 0.001" in told
    assert "one-cycle schedule of 8 steps" in told
    records = read_metrics(run)
    assert [record["step"] for record in records if record["kind"] == "step"] == [*before, 7, 8]
    assert [record["step"] for record in records if record["kind"] == "final"] == [6, 8]
    assert read_metadata(run / "student").metrics["step"] == 8 and read_state(run).state == "finished"
    (line,) = (run / "changes.jsonl").read_text().splitlines()
    assert json.loads(line)["changed"] == {"steps": [6, 8], "learning_rate": [0.003, 0.001]}


def test_without_changes_it_goes_on_as_it_would_have(tmp_path, finished_run):
    run = stopped(tmp_path / "run")
    assert change_run(run, {}) == change_run(run, {"steps": 6}) == [] and not (run / "changes.jsonl").exists()
    assert main(["resume", str(run)]) == 0
    weights, whole = (checkpoint.load(folder / "student").state_dict() for folder in (run, finished_run))
    assert all(weights[name].equal(value) for name, value in whole.items())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 3}, "has taken 4"),
        ({"steps": 0}, "steps is 0"),
        ({"steps": 10**20}, "at most"),
        ({"learning_rate": -1}, "learning_rate is -1"),
        ({"device": "cuda:77"}, "cuda:77"),
        ({"batch_size": 8}, "batch_size of a run cannot change"),
        ({"seed": 3}, "seed of a run cannot change"),
        ({"dataset": "emoji-faces"}, "emoji-faces"),
        ({"dataset": "folder:/nowhere"}, "its own pictures"),
        ({"teacher_checkpoint": "/nowhere"}, "nowhere"),
    ],
)
def test_what_does_not_fit_changes_nothing(tmp_path, changes, words):
    run = stopped(tmp_path / "run")
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    with pytest.raises(ValueError, match=words):
        change_run(run, changes)
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before


def test_pictures_that_were_moved_are_found_again_and_others_are_refused(tmp_path):
    here = write_classes(tmp_path / "here", {"cat": 12, "dog": 12})
    student = StudentConfig("narrow_resnet", 16, 2, red=None)
    run = stopped(tmp_path / "run", small(student=student, dataset=f"folder:{here}", batch_size=4, train_limit=None))
    here.rename(tmp_path / "there")
    other = write_classes(tmp_path / "other", {"cat": 13, "dog": 12}, seed=7)
    named = write_classes(tmp_path / "named", {"cat": 12, "eel": 12})
    for folder, words in ((other, "other pictures"), (named, "other classes")):
        with pytest.raises(ValueError, match=words):
            change_run(run, {"dataset": f"folder:{folder}"})
    assert main(["resume", str(run), "--dataset", f"folder:{tmp_path / 'there'}"]) == 0
    assert read_state(run).state == "finished"


def test_the_network_of_a_stopped_run_is_kept_and_judged(tmp_path, capsys):
    run = stopped(tmp_path / "run")
    assert main(["keep", str(run)]) == 0 and str(run / "student") in capsys.readouterr().out
    card = read_metadata(run / "student")
    assert card.metrics["kind"] == "stopped" and card.metrics["step"] == 4 and "validation_accuracy" in card.metrics
    assert 0 <= evaluate(run / "student")["test_accuracy"] <= 1
    list(distill(small(), run))  # and it still comes to its own end
    assert read_metadata(run / "student").metrics["kind"] == "final" == read_metadata(save_student(run)).metrics["kind"]
    with pytest.raises(ValueError, match="holds that file"):
        save_student(tmp_path / "none")


def test_a_run_that_goes_is_not_changed(tmp_path):
    running = distill(small(), tmp_path)
    next(running)
    for act in (lambda: change_run(tmp_path, {"steps": 9}), lambda: save_student(tmp_path)):
        with pytest.raises(ValueError, match="in use by another process"):
            act()
    running.close()
    assert read_json(tmp_path / "config.json")["steps"] == 6

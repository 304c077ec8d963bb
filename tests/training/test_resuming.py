"""A run goes on longer, at another rate, on other places, and says so; its history stays; its network can be kept."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from helpers.made import small
from helpers.pictures import write_classes
from helpers.records import read_metrics

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import read_metadata
from redistill.cli.commands import main
from redistill.common.files import read_json
from redistill.common.sentences import Note
from redistill.networks.student import StudentConfig
from redistill.training import resuming
from redistill.training.config import DistillConfig
from redistill.training.evaluation import evaluate
from redistill.training.loop import distill
from redistill.training.resuming import change_run, save_student
from redistill.training.run_state import read_state


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


def test_a_full_disk_changes_nothing_and_notes_no_change(tmp_path, monkeypatch):
    run = stopped(tmp_path / "run")
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}

    def refuse(path, *values):
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(resuming, "write_json", refuse)
        with pytest.raises(OSError, match="No space left"):
            change_run(run, {"steps": 8})
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    change_run(run, {"steps": 8})
    noted = (run / "changes.jsonl").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(resuming, "write_json", refuse)
        with pytest.raises(OSError, match="No space left"):
            change_run(run, {"steps": 9})
    assert (run / "changes.jsonl").read_bytes() == noted and len(noted.splitlines()) == 1


def test_pictures_that_were_moved_are_found_again_and_others_are_refused(tmp_path):
    here = write_classes(tmp_path / "here", {"cat": 12, "dog": 12})
    student = StudentConfig("narrow_resnet", 16, 2, red=None)
    run = stopped(tmp_path / "run", small(student=student, dataset=f"folder:{here}", batch_size=4, train_limit=None))
    here.rename(tmp_path / "there")
    before = (run / "config.json").read_bytes()
    with pytest.raises(ValueError, match="give that as its dataset"):
        change_run(run, {"steps": 8})
    assert (run / "config.json").read_bytes() == before
    other = write_classes(tmp_path / "other", {"cat": 13, "dog": 12}, seed=7)
    named = write_classes(tmp_path / "named", {"cat": 12, "eel": 12})
    exchanged = write_classes(tmp_path / "exchanged", {"dog": 12, "cat": 12})
    anew = write_classes(tmp_path / "anew", {"cat": 12, "dog": 12}, seed=500)
    cases = (
        (other, "added, removed"),
        (named, "classes of the pictures"),
        (exchanged, "show other"),
        (anew, "show other"),
    )
    for folder, words in cases:
        with pytest.raises(ValueError, match=words):
            change_run(run, {"dataset": f"folder:{folder}"})
    assert main(["resume", str(run), "--dataset", f"folder:{tmp_path / 'there'}"]) == 0
    assert read_state(run).state == "finished"


@pytest.fixture
def of_pictures(tmp_path):
    """A run on pictures in a folder, as a function of their number in each split: the folder, and the run's."""

    def make(**splits):
        here = tmp_path / "here"
        for place, (split, count) in enumerate(splits.items()):
            write_classes(here / split.strip("_"), {"cat": count, "dog": count}, seed=100 * place)
        student = StudentConfig("narrow_resnet", 16, 2, red=None)
        config = small(student=student, dataset=f"folder:{here}", batch_size=4, steps=2, train_limit=None)
        list(distill(config, tmp_path / "run"))
        return here, tmp_path / "run"

    return make


@pytest.mark.parametrize("splits", [{"_": 12}, {"train": 8, "val": 2, "test": 2}], ids=["drawn", "given"])
def test_classes_that_exchanged_their_names_are_found(of_pictures, splits):
    here, run = of_pictures(**splits)
    assert evaluate(run / "student")["test_pictures"] == 4 - 2 * ("_" in splits)
    for split in splits:
        place = here / split.strip("_")
        for one, other in (("cat", "x"), ("dog", "cat"), ("x", "dog")):
            (place / one).rename(place / other)
    with pytest.raises(ValueError, match=r"About \d+ % of the training pictures show other things .* has learnt"):
        evaluate(run / "student")
    with pytest.raises(ValueError, match=r"show other things than those that this run began with"):
        change_run(run, {"steps": 3}) and list(distill(settings_of(run), run))


def settings_of(run):
    return DistillConfig.from_dict(read_json(run / "config.json"))


def test_pictures_more_where_splits_are_given_are_told(of_pictures):
    here, run = of_pictures(train=8, val=2, test=2)
    (here / "val/cat/000.png").rename(here / "train/cat/new.png")
    change_run(run, {"steps": 3})
    with pytest.warns(Note, match=r"began with 16 training pictures; now there are 17\."):
        list(distill(settings_of(run), run))
    assert "test_accuracy" in evaluate(run / "student")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 8),
        ("seed", 3),
        ("optimizer", "sgd"),
        ("class_weights", True),
        ("weight_decay", 0.5),
        ("label_smoothing", 0.1),
    ],
)
def test_an_edited_config_is_no_other_run(tmp_path, name, value):
    run = stopped(tmp_path / "run")
    values = read_json(run / "config.json")
    (run / "config.json").write_text(json.dumps(values | {name: value}))
    edited = (run / "config.json").read_bytes()
    for go_on in (lambda: change_run(run, {"steps": 9}), lambda: list(distill(settings_of(run), run))):
        with pytest.raises(
            ValueError, match=rf"^{name} is {value!r} in the run's config\.json, but the run began with"
        ):
            go_on()
    (run / "config.json").write_text(json.dumps(values))
    assert edited != (run / "config.json").read_bytes() and list(distill(settings_of(run), run))


def test_what_a_finished_run_needs_is_said(tmp_path, finished_run):
    run = shutil.copytree(finished_run, tmp_path / "run")
    for changes in ({"learning_rate": 0.001}, {"device": "cpu", "save_every": 3}):
        with pytest.raises(ValueError, match=r"come to its end at step 6; to go on it needs more steps too\."):
            change_run(run, changes)
    with pytest.raises(ValueError, match="holds a checkpoint and no run"):
        change_run(run / "student", {"steps": 9})


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


@pytest.mark.parametrize(
    "change",
    [{"step": -3}, {"step": "x"}, {"model": None}, {"optimizer": 3}, {"best_score": "x"}, {"seconds": None}, []],
)
def test_a_resume_point_of_something_else_changes_nothing(tmp_path, change):
    run = stopped(tmp_path / "run")
    point = torch.load(run / "last.pt", weights_only=True)
    torch.save(point | change if change else [], run / "last.pt")
    before = (run / "config.json").read_bytes()
    for _ in range(2):
        with pytest.raises(ValueError, match="is of no run; delete it to start the run again"):
            change_run(run, {"steps": 9})
    with pytest.raises(ValueError, match="is of no run"):
        next(distill(small(), run))
    assert (run / "config.json").read_bytes() == before


@pytest.mark.parametrize("inside", ["", "run", "a/run"])
def test_a_run_among_its_own_pictures_is_refused_before_anything_is_written(tmp_path, inside):
    pictures = write_classes(tmp_path / "in", {"a": 12, "b": 12})
    before = sorted(pictures.rglob("*"))
    config = small(dataset=f"folder:{pictures}", student=StudentConfig("narrow_resnet", 32, 2, red=None))
    with pytest.raises(ValueError, match="the folder of its pictures, and would be taken for some of them"):
        next(distill(config, pictures / inside))
    assert sorted(pictures.rglob("*")) == before

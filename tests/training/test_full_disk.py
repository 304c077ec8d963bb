"""A disk that takes no more, wherever a run is: one sentence, status "failed", what was saved stays, and it goes on."""

from __future__ import annotations

import contextlib

import pytest
from helpers.full_disk import full
from helpers.made import small, train
from safetensors.torch import load_file

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import read_metadata
from redistill.cli.commands import main
from redistill.common.files import read_json, write_json
from redistill.networks.schedule import noise_scheduler
from redistill.training import run
from redistill.training.loop import distill

LEFT = (".lock", "classes.json", "config.json", "last.pt", "metrics.jsonl", "status.json", "student", "samples")


def ends_in_a_sentence(folder, config):
    with pytest.raises(OSError, match="cannot be written") as caught:
        list(distill(config, folder))
    assert "\n" not in str(caught.value) and "Errno" not in str(caught.value)
    return str(caught.value)


# The first resume point has 3.9 MB, one with the best weights 5.1: the metrics, the first, the second find no room.
@pytest.mark.parametrize("most_bytes", [1, 1200, 100_000, 3_000_000, 4_500_000])
def test_a_run_on_a_full_disk_fails_with_the_reason_and_goes_on_to_the_same_weights(
    tmp_path, finished_run, most_bytes, capsys
):
    whole = load_file(finished_run / "student" / "model.safetensors")
    with full(most_bytes):
        said = ends_in_a_sentence(tmp_path / "run", small())
    assert "File too large" in said
    status = tmp_path / "run" / "status.json"
    if most_bytes > 1:
        assert read_json(status)["state"] == "failed" and read_json(status)["error"] == said
    assert {path.name for path in (tmp_path / "run").iterdir()} <= {*LEFT}, "nothing half-written stays"
    is_saved = (tmp_path / "run" / "last.pt").exists()
    assert is_saved == (most_bytes > 4_000_000)
    assert ("goes on from there" in said) == is_saved and ("saved nothing yet" in said) != is_saved
    with full(most_bytes):
        assert main(["train", "--config", str(finished_run / "config.json"), "--run-dir", str(tmp_path / "run")]) == 1
    assert "Traceback" not in (told := capsys.readouterr().err) and "cannot be written (File too large)" in told
    list(distill(small(), tmp_path / "run"))
    weights = load_file(tmp_path / "run" / "student" / "model.safetensors")
    assert all(weights[name].equal(value) for name, value in whole.items())


def test_a_disk_that_is_full_at_the_end_loses_no_step(tmp_path, finished_run, monkeypatch):
    save = checkpoint.save
    with monkeypatch.context() as patch, contextlib.ExitStack() as limit:
        patch.setattr(checkpoint, "save", lambda *given: (limit.enter_context(full(500_000)), save(*given)))
        ends_in_a_sentence(tmp_path, small())
    assert not (tmp_path / "student").exists() and read_json(tmp_path / "status.json")["state"] == "failed"
    assert [record["kind"] for record in distill(small(), tmp_path)] == ["final"]
    weights, whole = (load_file(folder / "student" / "model.safetensors") for folder in (tmp_path, finished_run))
    assert all(weights[name].equal(value) for name, value in whole.items())


def test_the_reason_finds_room_on_a_disk_without_any(tmp_path, monkeypatch):
    """What the run holds in reserve is given back for it."""

    def refuse(path, *values):
        if (tmp_path / ".reserve").exists():
            raise OSError(28, "No space left on device", str(path))
        return write_json(path, *values)

    running = distill(small(), tmp_path)
    next(running)
    assert (tmp_path / ".reserve").stat().st_size >= 16_384
    monkeypatch.setattr(run, "write_json", refuse)
    with pytest.raises(RuntimeError, match="why"):
        running.throw(RuntimeError("why"))
    status = read_json(tmp_path / "status.json")
    assert (status["state"], status["error"]) == ("failed", "why") and not (tmp_path / ".reserve").exists()


@pytest.mark.parametrize("kind", ["classification", "diffusion"])
def test_saving_on_a_full_disk_leaves_the_checkpoint_that_stood_there(tmp_path, untrained, kind):
    source = untrained / ("emoji-clutter-teacher" if kind == "classification" else "small")
    model, metadata = checkpoint.load(source), read_metadata(source)
    folder = checkpoint.save(model, metadata, tmp_path / "kept", noise_scheduler("v_prediction"))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for most_bytes in (100, 300_000):
        with full(most_bytes), pytest.raises(OSError, match="File too large"):
            checkpoint.save(model, metadata, folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_what_cannot_be_told_ends_the_run_with_the_reason(tmp_path, finished_run, monkeypatch):
    """The log of a run lies on the same disk."""
    from redistill.cli import runs

    def refuse(*words, **settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runs.tqdm, "update", refuse)
    options = ["train", "--config", str(finished_run / "config.json"), "--run-dir", str(tmp_path)]
    assert main(options) == 1
    status = read_json(tmp_path / "status.json")
    assert status["state"] == "failed" and "No space left on device" in status["error"]
    assert (tmp_path / "last.pt").exists(), "the step that was taken is kept"
    monkeypatch.undo()
    assert main(options) == 0


def test_leftovers_of_kills_go_at_the_next_start(tmp_path):
    train(tmp_path / "run")
    left = (".last.pt.123.tmp", "..student.writing-4567", ".config.json.part-89ab.json", ".student.part-cdef")
    for name in left:
        (tmp_path / "run" / name).mkdir() if "student" in name else (tmp_path / "run" / name).write_text("")
    (tmp_path / "run" / "samples").mkdir()
    (tmp_path / "run" / "samples" / ".step-000003.png.part-0123.png").write_text("")
    (tmp_path / "run" / "..process.part-0123").write_text("")  # of the app, which may be writing it
    assert list(distill(small(), tmp_path / "run")) == []
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {*LEFT, "..process.part-0123"} and not list((tmp_path / "run" / "samples").iterdir())


def test_what_the_disk_refused_within_is_told_once(tmp_path):
    folder = run.RunFolder(tmp_path, small().to_dict())
    with pytest.raises(OSError) as caught, folder.explained(), folder.explained():
        raise OSError(28, "No space left on device")
    assert str(caught.value).count("The run cannot be written (No space left on device)") == 1

"""Who has no run yet sees the finished run of a student that ships, and it is that student's."""

from __future__ import annotations

import json

from helpers.made import write_run

from app.distill import watch, watch_view
from app.distill.ready_made import NAME, shipped_run
from app.runs import jobs, run_list
from redistill.checkpoint.metadata import read_metadata
from redistill.training.presets import PRESETS


def test_the_records_are_of_the_weights_that_ship():
    run = shipped_run()
    records = run_list.records(run)
    assert dict(records[-1]) == dict(read_metadata(NAME).metrics)
    assert [row["step"] for row in records if row["kind"] == "step"][-1] == run.steps
    assert {"task_loss", "red_loss", "kd_loss", "learning_rate"} <= records[0].keys()
    assert run_list.unreadable_lines(run) == 0 and (run.path / "metrics.jsonl").stat().st_size < 100_000


def test_the_panel_opens_with_it_and_its_curves(monkeypatch, tmp_path):
    monkeypatch.setenv("REDISTILL_RUNS", str(tmp_path))
    shown = watch.look(None, None)
    assert "example-run" in shown["progress"]
    told = "77.5 %</strong> test accuracy: 3,043 of 3,925 pictures <span>(95 % interval 76.2 % to 78.8 %)"
    assert told in shown["progress"]  # though the run was made before their number was noted
    for curves in ("losses", "scores", "rate", "speed"):
        assert any(len(trace["y"]) > 2 for trace in shown[curves]["data"]), curves
    for button in ("stop", "resume", "delete", "extend"):
        assert not shown[button].interactive
    assert json.loads(json.dumps(shown["drawn"]))["name"] is None


def test_who_has_deleted_their_runs_sees_none_and_who_never_had_any_sees_it(monkeypatch, tmp_path):
    monkeypatch.setenv("REDISTILL_RUNS", str(tmp_path / "runs"))
    write_run(tmp_path, "one", PRESETS["quick"].config, "finished")
    drawn = watch.look(None, None)["drawn"]
    jobs.delete("one")
    shown = watch.look(None, drawn)
    assert "No run left" in shown["progress"] and shown["losses"]["data"] == []
    assert run_list.list_runs() == [] and jobs.has_deleted()


def test_without_what_ships_there_is_a_sentence(places):
    assert watch.look(None, None)["progress"] == watch_view.no_runs()
    assert "No run yet" in watch_view.no_runs()

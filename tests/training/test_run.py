"""The run folder's metrics, read while they are written: only what is new, and of a long run a part of the steps."""

from __future__ import annotations

import json
from itertools import pairwise

from helpers.records import read_metrics

from redistill.training import run_state
from redistill.training.run_state import MetricsFile


def write(folder, records, mode="a"):
    with open(folder / "metrics.jsonl", mode) as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def steps(first, last, **figures):
    return [{"kind": "step", "step": step, **figures} for step in range(first, last)]


def test_only_new_lines_are_parsed(tmp_path, monkeypatch):
    parsed = []
    monkeypatch.setattr(run_state.json, "loads", lambda text, loads=json.loads: (parsed.append(text), loads(text))[1])
    file = MetricsFile(tmp_path)
    assert file.read() == ([], 0)
    write(tmp_path, steps(1, 4))
    assert [record["step"] for record in file.read()[0]] == [1, 2, 3]
    del parsed[:]
    write(tmp_path, steps(3, 5, again=True))
    found, _ = file.read()
    assert [record["step"] for record in found] == [1, 2, 3, 4] and found[2]["again"]
    monkeypatch.undo()
    assert [json.loads(line)["step"] for line in parsed if line] == [3, 4]


def test_another_file_is_read_from_its_start(tmp_path):
    file = MetricsFile(tmp_path)
    write(tmp_path, steps(1, 9))
    assert len(file.read()[0]) == 8
    write(tmp_path, steps(1, 3), mode="w")  # shorter
    assert [record["step"] for record in file.read()[0]] == [1, 2]
    (tmp_path / "metrics.jsonl").rename(tmp_path / "old")
    write(tmp_path, steps(5, 9))
    assert [record["step"] for record in file.read()[0]] == [5, 6, 7, 8]


def test_of_a_long_run_steps_are_left_out_evenly_but_no_validation(tmp_path):
    file = MetricsFile(tmp_path, most=100)
    for start in range(1, 20_001, 500):
        write(tmp_path, [*steps(start, start + 500), {"kind": "validation", "step": start + 499}])
        found, _ = file.read()
        assert len(found) <= 2 * 100 + MetricsFile.NEWEST + 40
        assert found[-1]["step"] == start + 499
    kept = [record["step"] for record in found if record["kind"] == "step"]
    older = [step for step in kept if step <= 20_000 - MetricsFile.NEWEST]
    assert 20 <= len(older) <= 110
    gaps = {later - earlier for earlier, later in pairwise(older)}
    assert len(gaps) == 1, gaps
    assert [record["step"] for record in found if record["kind"] == "validation"] == list(range(500, 20_001, 500))
    assert len(read_metrics(tmp_path)) == 20_040

"""Exports of runs for the page: one at a time, and every refusal is a sentence without paths."""

import io
import re
import subprocess
import zipfile

import pytest

from app.runs import exports, run_list, shell
from app.runs.exports import KINDS, export_run
from app.runs.results import all_results
from redistill.deploy.formats import FORMATS


class Run:
    name = "run-1"

    def __init__(self, path):
        self.path = path


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(run_list, "read_run", lambda name: Run(tmp_path))
    return tmp_path


def answering(monkeypatch, code, out="", error="", content=b""):
    def answer(command, **settings):
        if content:
            with open(command[command.index("--out") + 1], "wb") as file:
                file.write(content)
        return subprocess.CompletedProcess(command, code, out.format(command[command.index("--out") + 1]), error)

    monkeypatch.setattr(shell.subprocess, "run", answer)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_comes_with_what_was_said_of_it(run, monkeypatch, kind):
    answering(monkeypatch, 0, "{0}: 3 bytes\ntop-1\n", content=b"abc")
    made = export_run("run-1", kind)
    assert (
        made.content == b"abc"
        and made.name.endswith(FORMATS[kind].ending)
        and made.lines == [f"{made.name}: 3 bytes", "top-1"]
    )


def test_two_results_come_in_one_zip_file_and_a_row_of_figures_has_none(run, monkeypatch):
    answering(monkeypatch, 0, "{0}: 3 bytes\ntop-1\n", content=b"abc")
    assert exports.export_results(["run:run-1"], "onnx").name == "run-1.onnx"
    made = exports.export_results(["run:run-1", "shipped:emoji-clutter-student"], "onnx-int8")
    with zipfile.ZipFile(io.BytesIO(made.content)) as archive:
        assert archive.namelist() == ["run-1-int8.onnx", "emoji-clutter-student-int8.onnx"]
    assert made.lines[0] == "run-1 and emoji-clutter-student, in one zip file" and made.lines.count("top-1") == 2
    figures = next(result for result in all_results() if result.key.startswith("photographs:"))
    refusals = (
        ([], "tick one"),
        (["study:4,1-red"], "only the fig"),
        (["shipped:../x"], "only the fig"),
        ([figures.key], re.escape(f"Of “{figures.title}” only the fig")),
    )
    for keys, said in refusals:
        with pytest.raises(ValueError, match=said):
            exports.export_results(keys, "onnx")


def test_a_diffusion_network_brings_the_script_that_draws_with_it(monkeypatch, tmp_path):
    answering(monkeypatch, 0, "{0}: 3 bytes\n", content=b"abc")
    made = exports.export_with_sampler(tmp_path, "small")
    with zipfile.ZipFile(io.BytesIO(made.content)) as archive:
        assert archive.namelist() == ["small.onnx", "onnx_sampler.py"]
        assert b"def draw(" in archive.read("onnx_sampler.py")
    assert made.lines[-1] == "to draw: python onnx_sampler.py small.onnx PICTURE.npy SEED"


def test_refusals_are_sentences(run, monkeypatch):
    with pytest.raises(ValueError, match="pdf"):
        export_run("run-1", "pdf")
    answering(monkeypatch, 1, error=f"warned\nredistill: Run {run} has no checkpoint yet; let it finish.\n")
    with pytest.raises(ValueError, match=r"^Run run-1 has no checkpoint yet; let it finish\.$"):
        export_run("run-1", "onnx")
    answering(monkeypatch, 0, "{0}: 9 bytes\n", content=b"x" * 9)
    monkeypatch.setattr(exports, "MOST_BYTES", 8)
    with pytest.raises(ValueError, match="redistill export"):
        export_run("run-1", "onnx")
    with exports._busy, pytest.raises(ValueError, match="Another export"):
        export_run("run-1", "onnx")

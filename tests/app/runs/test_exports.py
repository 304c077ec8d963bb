"""Exports of runs for the page: one at a time, and every refusal is a sentence without paths."""

import subprocess

import pytest

from app.runs import exports, jobs, shell
from app.runs.exports import KINDS, export_run


class Run:
    name = "run-1"

    def __init__(self, path):
        self.path = path


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "read_run", lambda name: Run(tmp_path))
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
        and made.name.endswith(KINDS[kind][1])
        and made.lines == [f"{made.name}: 3 bytes", "top-1"]
    )


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

"""What commands write stands whole or not at all: a full disk is one sentence, and what was there stays."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import pytest
from helpers.full_disk import full

from redistill.cli import checkpoints
from redistill.cli.commands import main
from redistill.training import run_copy


@pytest.mark.parametrize("before", [None, b"a grid of before"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "emoji-faces-student", "--seeds", "0", "--steps", "1"],
        ["report", "narrow_resnet", "--image-size", "64", "--strides", "conv1=2"],
        ["import", "narrow_resnet", "--weights", "WEIGHTS", "--image-size", "16"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_full_disk_is_one_sentence_and_keeps_what_was_there(finished_run, tmp_path, capsys, arguments, before):
    weights = str(finished_run / "student" / "model.safetensors")
    out = tmp_path / {"sample": "a.png", "report": "a.html", "import": "folder"}[arguments[0]]
    if before and arguments[0] != "import":
        out.write_bytes(before)
    arguments = [weights if argument == "WEIGHTS" else argument for argument in arguments]
    with full(200):
        code = main([*arguments, "--out", str(out)])
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert code == 1 and told.startswith(f"redistill: {out} cannot be written (") and "Errno" not in told
    left = [path for path in tmp_path.iterdir() if path.suffix != ".lock"]
    assert left == ([out] if out.exists() else []) and (not out.exists() or out.read_bytes() == before)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "A file or the output cannot be read or written (No space left on device);",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "/a/b"),
            "/a/b cannot be read or written (Read-only file system);",
        ),
        (OSError(errno.ENOENT, "No such file or directory", "/x"), "/x cannot be read or written (No such file or"),
        (OSError("a sentence of its own"), "redistill: a sentence of its own"),
    ],
)
def test_what_a_system_says_is_a_sentence(monkeypatch, capsys, error, said):
    def fails(options):
        raise error

    monkeypatch.setattr(checkpoints, "_predict", fails)
    assert main(["predict", "x", "y"]) == 1
    told = capsys.readouterr().err
    assert said in told and "Errno" not in told


def test_a_copy_that_has_no_room_says_where_the_run_is(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "last.pt").write_bytes(bytes(5000))
    with (
        pytest.raises(OSError, match=rf"copy is not up to date \(.*\); the run itself lies whole in {run}"),
        full(1000),
        run_copy.copied(run, tmp_path / "copy"),
    ):
        pass
    assert not list((tmp_path / "copy").iterdir())


STOPPED = """
import sys
class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == "redistill.cli.commands":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Stop())
from redistill.__main__ import shell
sys.exit(shell())
"""


def test_ctrl_c_while_it_starts_is_a_word_and_no_traceback():
    done = subprocess.run([sys.executable, "-c", STOPPED], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "redistill: stopped.\n")


def test_an_output_that_takes_nothing_is_told_or_left():
    command = [sys.executable, "-m", "redistill", "chips"]
    read, write = os.pipe()
    os.close(read)
    closed = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (closed.returncode, closed.stderr) == (141, "")
    with open("/dev/full", "wb") as out:
        no_room = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True)
    assert no_room.returncode == 1
    assert no_room.stderr.startswith("redistill: A file or the output cannot be read or written (No space left")

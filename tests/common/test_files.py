"""Files and folders are written whole or not at all; locks end with the process that holds them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from redistill.common import files
from redistill.common.files import (
    is_locked,
    locked,
    read_json,
    remove_folder,
    remove_parts,
    replaced_file,
    replaced_folder,
    write_json,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_at_the_end_and_stays_after_an_error(tmp_path):
    file = tmp_path / "a.png"
    file.write_text("old")
    with pytest.raises(OSError, match="full"), replaced_file(file) as part:
        part.write_text("half")
        raise OSError("full")
    assert file.read_text() == "old" and names(tmp_path) == ["a.png"]
    with replaced_file(file) as part:
        part.write_text("new")
        assert file.read_text() == "old" and part.parent == tmp_path and part.suffix == ".png"
    assert file.read_text() == "new" and names(tmp_path) == ["a.png"]


def test_a_folder_is_gone_at_once_and_what_a_kill_leaves_of_it_hinders_nobody(tmp_path, monkeypatch):
    for _ in range(2):
        (tmp_path / "data").mkdir()
        with monkeypatch.context() as patch:
            patch.setattr(files.shutil, "rmtree", lambda path: None)  # as after a kill
            remove_folder(tmp_path / "data")
        assert not (tmp_path / "data").exists()
    assert len(names(tmp_path)) == 2
    remove_parts(tmp_path / "data")
    assert names(tmp_path) == []
    with pytest.raises(OSError):
        remove_folder(tmp_path / "data")


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    with replaced_file(tmp_path / "a") as first, replaced_file(tmp_path / "a") as second:
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "a").read_text() == "first" and names(tmp_path) == ["a"]


def test_a_folder_is_replaced_at_the_end_and_stays_after_an_error(tmp_path):
    target = tmp_path / "deep" / "here"
    with replaced_folder(target) as part:
        (part / "old").write_text("")
        assert not target.exists()
    with pytest.raises(KeyboardInterrupt), replaced_folder(target) as part:
        (part / "half").write_text("")
        raise KeyboardInterrupt
    assert names(target) == ["old"]
    with replaced_folder(target) as part:
        (part / "new").write_text("")
        assert names(target) == ["old"]
    assert names(target) == ["new"] and names(target.parent) == ["here"]


@pytest.mark.parametrize("at_once", [True, False])
def test_killed_at_any_file_operation_the_old_folder_or_the_new_one_stands(tmp_path, monkeypatch, at_once):
    if not at_once:  # as where the system cannot exchange two names
        monkeypatch.setattr(files, "exchange", lambda first, second: False)
    target, killed, operation = tmp_path / "here", True, 0
    while killed:
        if not target.exists():
            target.mkdir()
        (target / "old").write_text("old")
        child = os.fork()
        if child == 0:
            _replace_until(target, operation)
        killed, operation = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9, operation + 1
        assert target.exists() or not at_once
        remove_parts(target)
        texts = {path.name: path.read_text() for path in target.iterdir()}
        assert texts in ({"old": "old"}, {"new": "new"}) and names(tmp_path) == ["here"]
        for file in target.iterdir():
            file.unlink()
    assert operation > 6 and texts == {"new": "new"}


def _replace_until(target: Path, operation: int) -> None:
    """Replace the folder in this process, which ends without mercy at its file operation of that number."""
    seen = iter(range(operation))

    def look(event: str, given: tuple) -> None:
        if event.startswith(("os.", "open", "shutil.", "ctypes.")) and next(seen, None) is None:
            os._exit(9)

    try:
        sys.addaudithook(look)
        with replaced_folder(target) as part:
            (part / "new").write_text("new")
    finally:
        os._exit(0)


def test_a_folder_behind_a_link_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with replaced_folder(tmp_path / "link") as part:
        (part / "new").write_text("")
    assert names(tmp_path / "real") == ["new"] and names(tmp_path) == ["link", "real"]


def test_a_file_lies_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(files, "sync", lambda path: done.append(("sync", path.is_dir())))
    monkeypatch.setattr(files.os, "replace", lambda part, path: done.append("replace"))
    with replaced_file(tmp_path / "a") as part:
        part.write_text("")
    with replaced_folder(tmp_path / "b"):
        pass
    assert done == [("sync", False), "replace", ("sync", True)]


def test_the_old_folder_comes_back_where_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    target, rename = tmp_path / "here", Path.rename
    target.mkdir()
    (target / "old").write_text("")

    def refuse(path, other):
        if (path / "new").exists():
            assert not target.exists() and len(names(tmp_path)) == 2  # the old one has only another name
            raise OSError("refused")
        return rename(path, other)

    monkeypatch.setattr(files, "exchange", lambda first, second: False)
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="refused"), replaced_folder(target) as part:
        (part / "new").write_text("")
    assert names(target) == ["old"] and names(tmp_path) == ["here"]


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path):
    kept = ["data", "data.npy", ".data.lock", "other"]
    for name in [*kept, ".data.part-0123.npy", ".data.before-0123"]:
        (tmp_path / name).write_text("")
    (tmp_path / ".data.part-4567").mkdir()
    (tmp_path / ".data.part-4567" / "half").write_text("")
    remove_parts(tmp_path / "data")
    assert names(tmp_path) == sorted(kept)


def test_json_comes_back_and_what_is_none_is_one_sentence(tmp_path):
    file = tmp_path / "a.json"
    write_json(file, {"name": "é", "nothing": None})
    assert read_json(file) == {"name": "é", "nothing": None}
    with pytest.raises(ValueError, match=r"No file .*b.json; expected a run"):
        read_json(tmp_path / "b.json", "a run")
    for text, words in (("{", "not readable JSON"), ("[]", "holds a list"), ("[" * 100_000, "not readable JSON")):
        file.write_text(text)
        with pytest.raises(ValueError, match=words):
            read_json(file)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 60 + "]" * 60,
        '{"a": ' + "9" * 400 + "}",
        '{"a": ' + "9" * 5000 + "}",
        '{"a":' * 900 + "1" + "}" * 900,
        "{" + " " * 7_000 + "}",
    ],
    ids=["nested lists", "400 digits", "5000 digits", "nested objects", "large"],
)
def test_json_that_nobody_means_is_broken(tmp_path, text, monkeypatch):
    monkeypatch.setattr(files, "MOST_JSON", 6_000)
    (tmp_path / "a.json").write_text(text if text[0] == "{" else '{"a": ' + text + "}")
    with pytest.raises(ValueError, match=r"a\.json is not readable JSON") as caught:
        read_json(tmp_path / "a.json")
    assert len(str(caught.value)) < 300
    write_json(tmp_path / "a.json", {"seed": 2**64, "deep": [[[[{"a": [1.5]}]]]]})
    assert read_json(tmp_path / "a.json")["seed"] == 2**64


def test_a_lock_is_let_go_when_its_holder_is_killed(tmp_path):
    holder = (
        "import sys, time; from pathlib import Path; from redistill.common.files import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(100)\n"
    )
    lock = tmp_path / "new" / ".lock"
    assert not is_locked(lock)
    with subprocess.Popen([sys.executable, "-c", holder, lock], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert is_locked(lock)
        with pytest.raises(TimeoutError, match="held by another process"), locked(lock, timeout=0.1):
            raise AssertionError
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not is_locked(lock) and lock.exists()
    with locked(lock, timeout=0):
        assert is_locked(lock)


def test_who_asks_for_a_lock_is_not_taken_for_its_holder(tmp_path):
    lock = tmp_path / ".lock"
    lock.touch()
    found, start = [], threading.Barrier(4)

    def ask():
        start.wait()
        found.extend(is_locked(lock) for _ in range(500))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2000 and not any(found)


def test_threads_take_turns(tmp_path):
    inside, most = 0, 0

    def work():
        nonlocal inside, most
        with locked(files.lock_beside(tmp_path / "made")):
            inside += 1
            most = max(most, inside)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1 and names(tmp_path) == [".made.lock"]


@pytest.mark.parametrize("writer", [replaced_file, replaced_folder])
def test_a_folder_that_takes_no_files_is_told_by_the_name_that_was_given(writer):
    target = Path("/proc/net.onnx")
    with pytest.raises(OSError) as refused, writer(target) as part:
        part.write_text("")
    assert refused.value.filename == str(target)

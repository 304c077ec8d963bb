"""A run's network is pushed from the page and by programs, with the token of who asks; the Hub is on this machine."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from helpers.hub_server import local_hub
from helpers.made import FACES, write_run
from helpers.visitors import asked_by, signed_in

from app.api import making
from app.distill import finished
from app.runs import exports, jobs, pushing, run_list
from redistill.checkpoint import folder as checkpoint
from redistill.deploy.formats import FORMATS

ID = "someone/small-student"
SHOWN = {"name": "run"}


@pytest.fixture
def hub(tmp_path):
    with local_hub(tmp_path / "hub") as server:
        yield server


@pytest.fixture
def run(shipped, finished_run):
    """The folder of a finished run among those of the page."""
    return shutil.copytree(finished_run, shipped / "runs" / "run")


def test_a_run_is_pushed_from_the_page_and_loads_by_its_name(hub, run):
    shown = finished.push_student(SHOWN, f" {ID} ", True, [])["pushed"]
    assert f'href="{hub.address}/{ID}"' in shown and f"hub:{ID}" in shown and hub.private == {ID}
    before, after = checkpoint.load(run / "student").state_dict(), checkpoint.load(f"hub:{ID}").state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_what_is_pushed_names_no_place_of_this_machine(hub, run, tmp_path):
    config = json.loads((run / "student" / "config.json").read_text())
    config["training"]["teacher_checkpoint"] = str(run_list.runs_dir() / "other" / "student")
    (run / "student" / "config.json").write_text(json.dumps(config))
    pushing.push_run("run", ID)
    for name in ("config.json", "README.md"):
        told = hub.repositories[ID][name].decode()
        assert "other/student" in told and str(tmp_path) not in told


def test_files_of_runtimes_go_along(hub, run, monkeypatch):
    asked = []

    def export(arguments, *rest, **hidden):
        asked.append(arguments)
        with open(arguments[-1], "wb") as file:
            file.write(b"onnx")
        return f"{arguments[-1]}: 4 bytes"

    monkeypatch.setattr(exports, "ask_shell", export)
    assert "Pushed" in finished.push_student(SHOWN, ID, False, ["onnx"])["pushed"]
    assert hub.repositories[ID]["model.onnx"] == b"onnx" and "model-int8.onnx" not in hub.repositories[ID]
    assert asked[0][:2] == ("export", str(run))


def test_every_file_that_a_run_is_exported_as_can_go_along():
    away = {"executorch"} - set(exports.KINDS)  # where it is not installed
    assert set(exports.KINDS) == set(FORMATS) - away == {kind for _, kind in finished.ALONG}


@pytest.mark.parametrize(
    ("shown", "repo", "private", "along", "words"),
    [
        (None, ID, False, [], "Choose a run"),
        ({"name": "nothing"}, ID, False, [], "nothing"),
        (SHOWN, "small", False, [], "owner/name"),
        (SHOWN, "", False, [], "owner/name"),
        (SHOWN, 3, False, [], "owner/name"),
        (SHOWN, "x" * 999, False, [], "owner/name"),
        (SHOWN, "<script>/x", False, [], "owner/name"),
        (SHOWN, ID, "perhaps", [], "perhaps"),
        (SHOWN, ID, False, "onnx", "onnx"),
        (SHOWN, ID, False, ["pickle"], "pickle"),
    ],
)
def test_what_does_not_fit_is_said_and_nothing_is_sent(hub, run, shown, repo, private, along, words):
    said = finished.push_student(shown, repo, private, along)["pushed"]
    assert "notice" in said and words in said and "<script" not in said
    assert hub.asked == []


def test_a_run_that_has_saved_nothing_yet_has_nothing_to_push(hub, shipped):
    write_run(shipped, "run", FACES, "stopped")
    assert "no resume point" in finished.push_student(SHOWN, ID, False, [])["pushed"] and hub.asked == []


def test_on_a_space_nobody_pushes_but_who_has_signed_in(hub, run):
    """The right token is the Space's own here, in HF_TOKEN."""
    with asked_by("account:42"):
        owner = jobs.access.owner()
        (run / "job.json").write_text(json.dumps({"title": "run", "created": 1.0, "owner": owner}))
        assert "sign in with Hugging Face" in finished.push_student(SHOWN, ID, False, [])["pushed"]
        with pytest.raises(ValueError, match="sign in with Hugging Face"):
            making.push("run", ID)
        assert hub.asked == []
        with signed_in("hf_of_another"):
            assert "does not take" in finished.push_student(SHOWN, ID, False, [])["pushed"]
        assert {token for *_, token in hub.asked} == {"hf_of_another"}
        with signed_in(hub.token):
            assert "Pushed" in finished.push_student(SHOWN, ID, False, [])["pushed"]
    with asked_by("account:43"), signed_in(hub.token):
        assert "notice" in finished.push_student(SHOWN, "someone/stolen", False, [])["pushed"]
    assert [*hub.repositories] == [ID]


def test_a_program_gives_its_own_token(hub, run, capfd):
    assert making.push("run", ID, token=hub.token) == {"address": f"{hub.address}/{ID}"}
    hub.asked.clear()
    with pytest.raises(ValueError, match="does not take") as refused:
        making.push("run", "someone/other", token="hf_secret_of_mine")
    assert {token for *_, token in hub.asked} == {"hf_secret_of_mine"}
    assert "hf_secret_of_mine" not in "".join((str(refused.value), *capfd.readouterr()))


def test_without_a_network_it_is_a_sentence(run, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "cannot be reached" in finished.push_student(SHOWN, ID, False, [])["pushed"]

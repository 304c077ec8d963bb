"""A student is pushed to the Hub and loaded back by its id; the Hub is a small server on this machine."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from helpers.hub_server import local_hub
from PIL import Image

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import read_metadata
from redistill.checkpoint.sources import find_checkpoint
from redistill.cli.commands import main
from redistill.deploy.formats import FORMATS
from redistill.deploy.opened import open_network
from redistill.deploy.publish import push
from redistill.memory.comparison import compare
from redistill.training.presets import CLUTTER_TEACHER

ID = "someone/small-student"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def hub(tmp_path):
    """A Hub with an empty cache here, and the token that it takes."""
    with local_hub(tmp_path / "hub") as server:
        yield server


@pytest.mark.parametrize("checkpoint_name", ["small", CLUTTER_TEACHER])
def test_a_network_goes_to_the_hub_and_comes_back(hub, untrained, checkpoint_name):
    name = str(untrained / checkpoint_name)
    assert push(name, ID, private=True).endswith(ID) and ID in hub.private
    files = hub.repositories[ID]
    assert {"config.json", "README.md", "memory-teacher.png", "memory-student.png"} <= set(files)
    before, after = checkpoint.load(name).state_dict(), checkpoint.load(f"hub:{ID}").state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(Image.open(io.BytesIO(files[f"memory-{who}.png"])).width == 960 for who in ("teacher", "student"))


def test_large_files_go_by_lfs_and_come_back(hub, untrained):
    hub.lfs = (".safetensors",)
    push(untrained / CLUTTER_TEACHER, ID)
    weights = (untrained / CLUTTER_TEACHER / "model.safetensors").read_bytes()
    assert [*hub.objects.values()] == [weights] and hub.repositories[ID]["model.safetensors"] == weights
    sent = [method for method, path, _ in hub.asked if path.startswith("/objects/")]
    assert sent == ["PUT"]
    push(untrained / CLUTTER_TEACHER, "someone/again")  # the Hub has them by now
    assert sum(method == "PUT" for method, *_ in hub.asked) == 1
    before, after = checkpoint.load(untrained / CLUTTER_TEACHER).state_dict(), checkpoint.load(f"hub:{ID}").state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_what_comes_from_the_hub_is_called_as_there(hub, untrained):
    push(untrained / "small", ID)
    assert open_network(f"hub:{ID}").name == open_network(f"hub:{ID}@main").name == "small-student"
    assert open_network(str(untrained / "small")).name == "small"


def test_what_python_compiled_stays_here(hub, untrained, tmp_path):
    folder = shutil.copytree(untrained / "small", tmp_path / "small")
    for place in ("__pycache__", ".cache"):
        (folder / place).mkdir()
        (folder / place / "network.cpython-311.pyc").write_bytes(b"")
    push(folder, ID)
    assert "config.json" in hub.repositories[ID] and not any("pyc" in name for name in hub.repositories[ID])


def test_files_of_runtimes_go_along(hub, untrained, monkeypatch):
    for kind, known in FORMATS.items():  # what exports write is tested beside them
        quick = known._replace(write=lambda opened, file: file.write_bytes(file.name.encode()))
        monkeypatch.setitem(FORMATS, kind, quick)
    push(untrained / CLUTTER_TEACHER, ID, runtimes=["onnx-int8", "onnx", "c"])
    files = hub.repositories[ID]
    for name in ("model.onnx", "model-int8.onnx", "model.c"):
        assert files[name] == name.encode() and f"- `{name}`" in files["README.md"].decode()


def test_its_card_tells_memory_accuracy_and_licence(hub):
    push("emoji-clutter-student", ID)
    card = hub.repositories[ID]["README.md"].decode()
    front = yaml.safe_load(card.split("---\n")[1])
    (index,) = front["model-index"]
    (result,) = index["results"]
    assert result["metrics"][0]["type"] == "accuracy" and result["metrics"][0]["value"] == 0.9535
    assert result["dataset"]["args"]["seed"] == 0 and result["dataset"]["args"]["pictures"] > 100
    assert index["name"] == "small-student"
    assert front["license"] == "cc-by-sa-4.0" and "redistill distill" in card and "network.load()" in card
    student = read_metadata("emoji-clutter-student").student
    for settings in ({}, {"dtype": "int8"}, {"accounting": "eager"}):
        pair = compare(student, **settings)
        assert f"| {pair.teacher.peak_bytes:,} | {pair.student.peak_bytes:,} |" in card


def test_the_classifier_that_was_pushed_opens_with_torch_alone(hub, tmp_path):
    push("emoji-clutter-student", ID)
    for name, content in hub.repositories[ID].items():
        (tmp_path / name).write_bytes(content)
    code = "import network, torch; print(tuple(network.load()(torch.zeros(1, 3, 64, 64)).shape))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == "(1, 50)", done.stderr


def test_the_shell_pushes_too(hub, untrained, capsys):
    assert main(["push", str(untrained / "small"), ID]) == 0
    assert ID in capsys.readouterr().out and ID in hub.repositories


@pytest.mark.parametrize("repo", ["small", "a/b/c", "../x", "owner/name@main", "", "/etc/passwd"])
def test_a_name_that_is_no_id_is_refused(repo, untrained):
    with pytest.raises(ValueError, match="owner/name"):
        push(untrained / "small", repo)


def test_what_the_hub_refuses_is_a_sentence(hub, untrained, monkeypatch):
    with pytest.raises(ValueError, match=r"does not take someone/small-student \(Invalid username or password\)"):
        push(untrained / "small", ID, token="hf_wrong")
    with pytest.raises(ValueError, match=r"does not give someone/nothing \(there is none of that name"):
        find_checkpoint("hub:someone/nothing")


def test_what_is_to_be_private_is_never_public(hub, untrained):
    push(untrained / "small", ID)
    files = dict(hub.repositories[ID])
    with pytest.raises(ValueError, match="is there and public"):
        push(untrained / CLUTTER_TEACHER, ID, private=True)
    assert hub.repositories[ID] == files


def test_a_space_pushes_with_no_token_of_its_own(hub, untrained, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "someone/studio")
    with pytest.raises(ValueError, match="does not take"):
        push(untrained / "small", ID)
    assert hub.asked and all(token is None for *_, token in hub.asked)
    assert push(untrained / "small", ID, token=hub.token).endswith(ID)


def test_without_a_network_it_is_a_sentence(untrained, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.hf_api.ENDPOINT", "http://127.0.0.1:9", raising=False)
    with pytest.raises(ValueError, match="cannot be reached"):
        push(untrained / "small", ID, token="hf_any")


@pytest.mark.parametrize("name", ["file:/tmp/evil.py:run", "/tmp/evil.pt2"])
def test_a_network_in_a_file_is_never_run_from_the_hub(hub, name):
    hub.repositories[ID] = {"config.json": json.dumps({"format": 1, "student": {"teacher": name}}).encode()}
    with pytest.raises(ValueError, match="never run from the Hub"):
        checkpoint.load(f"hub:{ID}")


def test_a_repository_of_others_is_no_checkpoint(hub):
    hub.repositories[ID] = {"config.json": b'{"model_type": "bert"}'}
    with pytest.raises(ValueError, match="no checkpoint of redistill"):
        find_checkpoint(f"hub:{ID}")

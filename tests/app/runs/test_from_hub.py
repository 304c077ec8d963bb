"""Networks that were pushed to the Hub are brought in by their id in every tab; the Hub is on this machine."""

from __future__ import annotations

import json

import pytest
import torch
from helpers.forms import run_values, sent
from helpers.hub_server import local_hub
from helpers.made import FACES, RED_KD, save_untrained
from helpers.visitors import asked_by, signed_in

from app.api import making
from app.distill import handlers, run_form
from app.generate import drawing, networks
from app.runs import choices, from_hub
from app.visitors import limits
from app.visitors.limits import Limits
from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import read_metadata
from redistill.deploy.publish import push
from redistill.training.presets import CLUTTER_TEACHER, PRESETS

ID = "someone/small"
A, B = "browser:a", "browser:b"


@pytest.fixture
def hub(tmp_path, shipped, picture_cache):
    """A Hub, and no networks from there yet."""
    with local_hub(tmp_path / "hub") as server:
        yield server


def put(hub, folder, **changes) -> None:
    """The checkpoint in a folder on the Hub, with other entries in its config.json."""
    files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    files["config.json"] = json.dumps({**json.loads(files["config.json"]), **changes}).encode()
    hub.repositories[ID] = files


def fetched(hub) -> set[str]:
    """Names of the files whose content was asked for."""
    return {path.rpartition("/")[2] for method, path, _ in hub.asked if method == "GET" and "/resolve/" in path}


def test_a_teacher_is_brought_in_once_with_its_weights(hub, untrained):
    push(untrained / CLUTTER_TEACHER, ID)
    choice = from_hub.take(f"hub:{ID}", None)
    assert (choice.value, choice.title) == ("imported:someone-small", f"{ID} (from the Hub)")
    before, after = (checkpoint.load(place) for place in (untrained / CLUTTER_TEACHER, choices.folder(choice)))
    assert all(torch.equal(value, after.state_dict()[key]) for key, value in before.state_dict().items())
    assert not {name for name in fetched(hub) if name.endswith(".py")}  # the code beside it is written here
    hub.asked.clear()
    assert from_hub.take(f"hub:{ID}", None) == choice and "model.safetensors" not in fetched(hub)


def test_it_teaches_on_tab_distill(hub, untrained):
    push(untrained / CLUTTER_TEACHER, ID)
    shown = handlers.take_elsewhere(f" hub:{ID} ", "emoji-faces")
    assert shown["said"] == "" and "someone/small (from the Hub)" in shown["about"]
    assert shown["student"]["teacher"] == "narrow_resnet" and shown["student"]["strides"]["conv1"] > 1
    form = sent(shown)
    assert (form["dataset"], form["teacher_checkpoint"]) == ("emoji-clutter", "imported:someone-small")
    values = run_values("default") | {"teacher_checkpoint": form["teacher_checkpoint"]}
    config = run_form.read(values.pop("student"), values)
    assert read_metadata(config.teacher_checkpoint).imported["hub"] == ID


def test_one_that_cannot_teach_is_refused_before_its_weights_come(hub, tmp_path):
    save_untrained(tmp_path / "made", {"student": RED_KD})
    put(hub, tmp_path / "made" / "student")
    said = handlers.take_elsewhere(f"hub:{ID}", "emoji-clutter")["said"]
    assert "has RED blocks" in said and fetched(hub) == {"config.json"}
    assert choices.checkpoints(lambda card: bool(card.imported)) == []


def test_a_diffusion_network_draws(hub, untrained):
    push(untrained / "small", ID)
    network = networks.load_elsewhere(choices.read_source(f" hub:{ID}"))
    ticked_too = [*drawing.generate(None, [network.key], 0, 4, 1, "ddim", f"hub:{ID}")][-1]
    assert "Done" in ticked_too["said"] and ticked_too["grids"].count("<figure") == 1, "it is drawn once"
    assert network.title == f"{ID} (from the Hub)" and network.metadata.student == FACES.student
    assert network.key in [choice.value for choice in choices.checkpoints(choices.is_diffusion)]
    push(untrained / CLUTTER_TEACHER, "someone/classifier")
    with pytest.raises(ValueError, match="draws nothing"):
        networks.load_elsewhere("hub:someone/classifier")
    with pytest.raises(ValueError, match=r"^someone/classifier is a classifier"):
        networks.load_elsewhere("someone/classifier")


def test_a_program_loads_it_by_its_id(hub, untrained):
    push(untrained / CLUTTER_TEACHER, ID)
    answer = making.load(f"hub:{ID}")
    assert json.loads(json.dumps(answer)) == answer and answer["metrics"]["test_accuracy"] == 0.5
    assert choices.find(answer["checkpoint"], lambda card: True).title == answer["title"]
    assert answer["student"] == PRESETS["teacher"].config.student.to_dict()


def test_of_a_card_that_anybody_wrote_only_what_can_be_checked_is_kept(hub, untrained):
    hostile = {
        "dataset": "folder:/etc", "drawn_from": "/etc", "imported": {"hub": "<b>"}, "learnt": {"pictures": -1},
        "metrics": {"test_accuracy": "<b>", "test_prediction_loss": 1.5, "kind": "x"},
        "training": {"teacher_checkpoint": "/etc", "prediction_type": "<b>", "split_seed": "x", "seed": 3},
    }  # fmt: skip
    put(hub, untrained / CLUTTER_TEACHER, **hostile)
    card = from_hub.take(ID, None).metadata
    assert (card.dataset, card.drawn_from, card.learnt) == ("", None, {})
    assert card.metrics == {"test_prediction_loss": 1.5} and card.training == {"seed": 3}


@pytest.mark.parametrize("name", ["file:/tmp/evil.py:run", "/tmp/evil.pt2", "ddpm:/etc"])
def test_a_network_that_would_open_files_is_refused(hub, untrained, name):
    student = {"teacher": name, "image_size": 32}
    put(hub, untrained / "small", student=student)
    with pytest.raises(ValueError, match=r"never run from the Hub|tells no settings"):
        from_hub.take(ID, None)
    assert fetched(hub) <= {"config.json"}


@pytest.mark.parametrize("source", ["hub:", "hub:small", "hub:../..", "hub:a/b/c", "hub:/etc/passwd", ""])
def test_what_is_no_id_is_said(hub, source):
    with pytest.raises(ValueError, match="owner/name"):
        from_hub.take(source, None)
    assert hub.asked == []


def test_without_a_network_it_is_a_sentence(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "cannot be reached" in handlers.take_elsewhere(f"hub:{ID}", "emoji-clutter")["said"]


def test_what_a_visitors_token_opens_is_theirs_alone(hub, untrained, tmp_path):
    """The right token is the Space's own too, in HF_TOKEN."""
    push(untrained / CLUTTER_TEACHER, ID, private=True)
    hub.asked.clear()
    with asked_by(B):
        assert "does not give" in handlers.take_elsewhere(f"hub:{ID}", "emoji-clutter")["said"]
        assert hub.asked and {token for *_, token in hub.asked} == {None}
    with asked_by(A), signed_in(hub.token):
        assert handlers.take_elsewhere(f"hub:{ID}", "emoji-clutter")["said"] == ""
        assert choices.find("imported:someone-small", lambda card: True)
    assert not list((tmp_path / "hub").rglob("*.safetensors"))  # in the cache of all
    with asked_by(B):
        assert "does not give" in handlers.take_elsewhere(f"hub:{ID}", "emoji-clutter")["said"]
        assert choices.checkpoints(lambda card: bool(card.imported)) == []


def test_a_space_takes_no_larger_networks_than_it_trains(hub, untrained, monkeypatch):
    push(untrained / CLUTTER_TEACHER, ID)
    hub.asked.clear()
    monkeypatch.setattr(limits, "ON_A_SPACE", Limits(weight_bytes=1000))
    with asked_by(A), pytest.raises(ValueError, match="of weights; here at most"):
        from_hub.take(f"hub:{ID}", False)
    assert fetched(hub) <= {"config.json"}

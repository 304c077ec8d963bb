"""Explore shows any network that comes with the packages, on any images, and opens no file of this machine."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from helpers.explore import USUAL, call
from helpers.hub_server import local_hub
from helpers.made import RED_KD, save_untrained

from app.explore import page
from app.explore.link import Settings, from_query, parse_query, to_query
from app.parts.networks import check_network, choices, few
from redistill.memory import measure_peak
from redistill.memory.comparison import compare
from redistill.memory.usual_strides import early_strides, own_strides
from redistill.networks.student import StudentConfig
from redistill.networks.zoo import build_network, find_network, network_names

SEARCHED = "timm:mobilenetv4_conv_small"


@pytest.mark.parametrize(
    "name",
    [SEARCHED, "torchvision:vit_b_16", "torchvision:ssd300_vgg16", "timm:mixer_s32_224", "timm:swin_s3_tiny_224"],
)
def test_a_network_is_chosen_by_name_and_comes_with_its_own_size(name):
    shown = call("show_teacher", teacher=name)
    usual = StudentConfig(name)
    assert (shown["teacher"], shown["image_size"], shown["width"]) == (name, usual.image_size, None)
    assert shown["student"]["teacher"] == name and "Peak" in shown["summary"]
    found = compare(StudentConfig.from_dict(shown["student"]))
    assert shown["distil"].interactive == (not found.refusal and usual.task == "classification")
    assert ("No strides of it can be set" in shown["summary"]) == bool(found.refusal)


def test_whoever_types_a_name_finds_the_network_that_is_called_so_first():
    """The browser takes the first title that has in it what was typed."""
    titles = [(title.lower(), name) for title, name in choices()]
    for name in network_names():
        for typed in (name, name.partition(":")[2] or name):
            first = next(found for title, found in titles if typed in title)
            assert typed in (first, first.partition(":")[2]), typed


def test_what_is_no_network_is_told_with_what_comes_near_and_with_what_the_page_takes():
    for typed in ("resnet 18", "TIMM:resnet18", "resnet19"):
        said = call("show_teacher", teacher=typed)["summary"]
        assert "near it are resnet18" in said and "timm:NAME" in said and "file:" not in said


def test_a_network_that_gives_features_alone_is_counted_as_it_is():
    name = "timm:vit_small_patch16_dinov3_qkvb"
    assert find_network(name).num_classes == 0
    shown = call("show_teacher", teacher=name)
    assert shown["teacher"] == name and "Peak" in shown["summary"]
    model = build_network(name)
    images = torch.rand(1, 3, 256, 256)
    assert list(model.get_classifier().parameters()) == []
    found = compare(StudentConfig(name), accounting="eager")
    assert found.teacher.peak_bytes == measure_peak(model, (images,))


def test_strides_of_the_network_before_are_no_refusal_while_another_one_is_captured():
    drawn = call("show")["student"]
    late = {"teacher": "timm:swin_s3_tiny_224", "image_size": 224}
    assert call("show", **late, student=drawn) == {}
    assert call("show", teacher="hub:owner/name", student=drawn) == {}
    assert "No pooling point" in call("show", **late, student=None)["summary"]  # nothing will come
    assert "No network" in call("show", teacher="no_such_network", student=drawn)["summary"]
    assert "Batch" in call("show", batch=-1, student=drawn)["summary"]


def test_a_name_with_spaces_or_another_one_for_the_same_network_is_brought_to_the_one_it_has():
    assert call("show_teacher", teacher=" torchvision:resnet18 ")["teacher"] == "resnet18"
    assert call("show_teacher", teacher="hf-hub:timm/resnet18.a1_in1k")["teacher"] == "timm:resnet18.a1_in1k"


def test_a_network_of_the_hub_is_shown_as_it_was_pushed(tmp_path):
    folder = save_untrained(tmp_path / "made", {"student": RED_KD}) / "student"
    with local_hub(tmp_path / "hub") as hub:
        hub.repositories["someone/small"] = {"config.json": (folder / "config.json").read_bytes()}
        shown = call("show_teacher", teacher=" hub:someone/small ", patch="conv1 2x2")
        assert "does not give" in call("show_teacher", teacher="hub:someone/nothing")["summary"]
    found = StudentConfig.from_dict(shown["student"])
    student = RED_KD.student
    assert (found.teacher, found.image_size, found.red) == (student.teacher, student.image_size, student.red)
    assert dict(found.strides) == own_strides(student.teacher) | dict(student.strides)
    assert (shown["teacher"], shown["with_red"], shown["patch"]) == (student.teacher, True, "")
    assert "Peak" in shown["summary"]


@pytest.mark.parametrize("name", ["hub:", "hub:small", "hub:../..", "hub:/etc/passwd"])
def test_what_is_no_id_of_the_hub_is_said(name):
    assert "owner/name" in call("show_teacher", teacher=name)["summary"]


def test_the_list_that_is_left_changes_nothing():
    student = StudentConfig("narrow_resnet", 64, strides=USUAL["picker"]).to_dict()
    assert call("show_teacher", student=student) == {}
    assert call("show_teacher", student=None)["image_size"] == 64


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("file:/etc/passwd.py:f", "names a file of one&#x27;s own, which the page never opens"),
        ("/etc/x.pt2", "which the page never opens"),
        ("ddpm:/etc", "No network"),
        ("mobilenetv4", "near it are timm:mobilenetv4_"),
        ("hf-hub:someone/net", "expected one of timm&#x27;s own"),
        ("timm:" + "x" * 200, "No network"),
        (["resnet18"], "expected the name of a network"),
    ],
)
def test_other_names_are_said_and_nothing_is_opened(name, words, monkeypatch):
    monkeypatch.setattr("redistill.networks.own._module", lambda *given: pytest.fail("was run"))
    monkeypatch.setattr("redistill.networks.own.open_program", lambda *given: pytest.fail("was opened"))
    assert words in call("show_teacher", teacher=name)["summary"]
    assert words in call("show", teacher=name)["summary"]
    if isinstance(name, str):
        with pytest.raises(ValueError):
            from_query({"teacher": [name]})


@pytest.mark.parametrize("space", [False, True])
def test_a_file_is_refused_wherever_the_page_runs(space, monkeypatch):
    if space:
        monkeypatch.setenv("SPACE_ID", "someone/studio")
    with pytest.raises(ValueError, match="never opens"):
        check_network("file:net.py:make")


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16", "int8"])
def test_images_of_any_sides_channels_and_number_are_counted_linked_and_told(dtype):
    images = {"image_size": 96, "width": 128, "in_channels": 1, "batch": 4, "dtype": dtype}
    shown = call("show", **images)
    student = StudentConfig("narrow_resnet", (96, 128), strides=USUAL["picker"], in_channels=1)
    assert StudentConfig.from_dict(shown["student"]) == student
    found = compare(student, dtype=dtype, batch=4)
    title, file = shown["chart"]["title"], shown["chart"]["file"]
    assert "96×128 px, 1 channel, batch 4" in title and "96x128-1ch-batch4" in file
    query = call("follow", link="", **images)["link"]
    assert "size=96x128&channels=1&batch=4" in query
    settings = from_query(parse_query(query))
    assert (settings.student, settings.batch, settings.dtype) == (student, 4, dtype)
    assert settings.count().student.peak_bytes == found.student.peak_bytes
    opened = page.open_query(parse_query(query), USUAL)
    assert {name: opened[name] for name in images} == images


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 4}, "Width is 4"),
        ({"width": "wide"}, "Width is wide"),
        ({"in_channels": 17}, "Channels is 17; expected a whole number from 1 to 16"),
        ({"in_channels": 0}, "Channels is 0"),
        ({"in_channels": 2.5}, "Channels is 2.5"),
        ({"batch": -1}, "Batch is -1"),
        ({"batch": 10**9}, "Batch is 1000000000"),
        ({"teacher": "torchvision:vit_b_16", "image_size": 100, "picker": {}}, "100"),
    ],
)
def test_images_that_no_network_takes_are_said(changes, words):
    assert words in call("show", **changes)["summary"]


@pytest.mark.parametrize("name", [SEARCHED, "torchvision:convnext_tiny", "torchvision:vit_b_16", "timm:mixer_s32_224"])
def test_a_link_restores_a_network_of_others_and_a_pin_of_it(name):
    student = StudentConfig(name, red=None)
    student = dataclasses.replace(student, strides=early_strides(name))
    settings = Settings(student, batch=2)
    settings = dataclasses.replace(settings, pins=(("A", settings),))
    assert from_query(parse_query(to_query(settings))) == settings


def test_everything_of_timm_and_torchvision_can_be_searched():
    names = [name for _, name in choices()]
    assert choices()[: len(few())] == few()  # a list marks the chosen one by its place
    assert SEARCHED in names and len(names) > 1400 and len({title for title, _ in choices()}) == len(names)
    for name in names[::100]:
        assert check_network(name) == name

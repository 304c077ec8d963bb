"""Tab Generate: drawing, what is shown and saved of it, with good, bad and hostile input."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import shutil
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel
from helpers.forms import HOSTILE
from helpers.made import write_checkpoint, write_run
from helpers.unets import TINY, sample_again
from huggingface_hub import constants
from PIL import Image

from app.generate import drawing, drawn, networks, offered
from app.generate import quality as generate_quality
from app.generate import view as generate_view
from app.generate.networks import load_elsewhere
from app.generate.quality import basis
from app.generate.samples import sample_all
from app.runs import choices
from redistill.checkpoint import sources
from redistill.diffusion.gallery import FILE, read_gallery
from redistill.diffusion.images import SampleSettings, read_settings, sample_settings, to_png
from redistill.diffusion.sampling import first_noise, to_grid, to_uint8
from redistill.training.presets import CLUTTER_TEACHER, FACES_TEACHER, PRESETS


def test_images_of_all_networks_come_step_by_step_from_the_same_seeds(shipped):
    shown = list(drawing.generate(FACES_TEACHER, ["small"], 3, 4, 2, "ddim", None))  # as an unopened field sends it
    assert "Loading" in shown[0]["said"] and "Step 1 of 2" in shown[2]["said"] and "Done" in shown[-1]["said"]
    grids = shown[-1]["grids"]
    assert grids.count("<figure") == 2 and grids.count("<img") == 8
    assert [grids.count(f"image of seed {seed}") for seed in (3, 4, 5, 6, 7)] == [2, 2, 2, 2, 0]
    assert "1,024 KiB peak" in grids and "<strong>4.0×</strong> less" in grids and "OpenMoji" in grids


def test_until_it_draws_the_page_shows_what_the_networks_need_and_start_from(shipped):
    shown = drawing.announce(FACES_TEACHER, ["small"], 3, 4, None)
    grids = shown["grids"]
    assert "Same seeds" in shown["said"] and grids.count("<figure") == 2 and "<strong>4.0×</strong> less" in grids
    assert [grids.count(f"noise of seed {seed}") for seed in (2, 3, 6, 7)] == [0, 2, 2, 0]
    first, second = (part.split("</div>")[0] for part in grids.split('<div class="samples-images awaited">')[1:])
    assert first == second, "the same noise for every network"
    assert "Time" not in grids
    assert shown["charted"].visible and "Memory along" in shown["legend"] and shown["chart"]["data"]
    assert drawing.announce(FACES_TEACHER, ["small"], 3, 4, ()) == {}, "what was drawn stays"
    refused = drawing.announce(None, [], 3, 4, None)
    assert "Choose at least one checkpoint" in refused["said"]
    assert refused["grids"] == "" and not refused["charted"].visible


def test_networks_are_kept_up_to_their_bytes_and_the_last_one_always(shipped, monkeypatch):
    monkeypatch.setattr(networks, "_KEPT", {})
    first, second = (networks.load_network(name) for name in (FACES_TEACHER, "small"))
    assert networks.load_network(FACES_TEACHER) is first and networks.load_network("small") is second
    monkeypatch.setattr(networks, "KEPT_BYTES", second.weight_bytes)
    assert networks.load_network(FACES_TEACHER) is first, "used last, so that the other goes"
    assert list(networks._KEPT.values()) == [first]
    again = networks.load_network("small")
    assert again is not second and list(networks._KEPT.values()) == [again]
    monkeypatch.setattr(networks, "KEPT_BYTES", 1)
    assert networks.load_network("small") is again


def test_the_same_seed_gives_the_same_image_whatever_the_count(shipped):
    network = networks.load_network(FACES_TEACHER)
    few = list(sample_all([network], [5, 6, 7, 8], 2, "ddim"))[-1][0].step.images
    many = list(sample_all([network], list(range(4, 12)), 2, "ddim"))[-1][0].step.images
    assert few.shape == (4, 3, 32, 32)
    assert (few.int() - many[1:5].int()).abs().max() <= 2


@pytest.fixture(scope="module")
def drawn_once(untrained):
    """What a page keeps of four images of each of two networks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "SHIPPED", untrained)
        return list(drawing.generate(FACES_TEACHER, ["small"], 3, 4, 4, "ddim"))[-1]["kept"]


@pytest.fixture
def sampled(shipped, drawn_once):
    """The same, with the checkpoints in place."""
    return drawn_once


class Clicked:
    """What gradio hands to a listener."""

    def __init__(self, **data: str) -> None:
        self._data = data


def test_a_clicked_image_shows_its_way_and_its_neighbours(sampled):
    shown = drawn.look(Clicked(act="look", seed="5"), sampled)
    way = shown["way"]
    assert shown["near"] == "" and "Seed 5" in way and way.count("<figure") == 2 * 5
    assert [step for step, _ in sampled[0].way] == [0, 1, 2, 3, 4]
    assert way.count("<figcaption>noise</figcaption>") == 2 and "<figcaption>4</figcaption>" in way
    start = to_uint8(first_noise(networks.load_network("small").model, [5]))[0]
    assert torch.equal(sampled[1].way[0][1][2], start), "the strip starts from what the network was given"
    assert "emoji-faces-teacher-seed-5.png" in way and "small-seed-5.png" in way
    near = drawn.act_on_way(Clicked(act="nearest", seed="5"), sampled)["near"]
    assert near.count("<figure") == 2 * (1 + 4) and "out of 105" in near


def test_what_is_saved_draws_the_same_image_again(sampled):
    value = drawn.save(Clicked(save="zip"), sampled)["files"]
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(value["base64"]))) as archive:
        names = archive.namelist()
        settings = json.loads(archive.read("settings.json"))
        image = archive.read("2/small-seed-4.png")
    assert len(names) == 2 + 2 * 4 and names[:2] == ["settings.json", "grid.png"]
    drawing = SampleSettings.from_dict(read_settings(io.BytesIO(image)))
    assert drawing == SampleSettings.from_dict(settings["networks"][1]).of(4) and drawing.checkpoint == "small"
    network = networks.load_network("small")
    again = sample_again(drawing, network.model, network.scheduler)[0]
    with Image.open(io.BytesIO(image)) as file:
        assert np.abs(np.asarray(file).astype(int) - again.permute(1, 2, 0).numpy()).max() <= 2
    value = drawn.save(Clicked(save="grid"), sampled)["files"]
    grid = io.BytesIO(base64.b64decode(value["base64"]))
    assert Image.open(grid).size == (4 * 34 - 2, 2 * 34 - 2) and read_settings(grid) == settings


def test_a_way_is_saved_with_all_images_as_one_picture(sampled):
    seed = str(sampled[0].settings.seeds[1])
    value = drawn.act_on_way(Clicked(act="sheet", seed=seed), sampled)["files"]
    assert value["name"] == f"redistill-seed-{seed}-sheet.png"
    sheet = io.BytesIO(base64.b64decode(value["base64"]))
    picture = Image.open(sheet).convert("RGB")
    assert [*map(SampleSettings.from_dict, read_settings(sheet)["networks"])] == [one.settings for one in sampled]
    pixels = np.array(picture)
    first = sampled[0].images[0].permute(1, 2, 0).numpy().repeat(3, 0).repeat(3, 1)
    height, width = first.shape[:2]
    places = (pixels[top : top + height, left : left + width] for top in range(60) for left in range(40))
    assert any(np.array_equal(part, first) for part in places), "enlarged by a whole number"


def test_what_a_network_drew_before_stands_there_until_something_is_drawn(shipped, tmp_path):
    folder = tmp_path / "checkpoint"
    shutil.copytree(sources.SHIPPED / "small", folder)
    assert read_gallery(folder) is None
    network = load_elsewhere(str(folder))
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    settings = sample_settings("small", folder, network.model, network.scheduler, range(4), "ddim", 40)
    (folder / FILE).write_bytes(to_png(to_grid(images, gap=0), settings.to_dict()))
    gallery = read_gallery(folder)
    assert torch.equal(gallery.images, images) and gallery.settings == settings
    network = dataclasses.replace(network, gallery=gallery)
    shown = generate_view.panels([network], [5, 6], ready=True)
    assert shown.count("image of seed") == 4 and "noise of" not in shown and "seeds 0 to 3" in shown
    assert generate_view.panels([network], [5, 6]).count("noise of seed") == 2
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + bytes(4))
    assert read_gallery(folder) is None, "of other weights"


def test_figures_stand_under_the_images_and_the_chart_has_every_network(shipped):
    *_, last = updates = list(drawing.generate(FACES_TEACHER, ["small"], 3, 4, 2, "ddim"))
    grids = last["grids"]
    assert grids.count("One image, PyTorch") == grids.count("4 images, measured") == 2
    assert "images/s" in grids and "1,677 KiB" in grids
    chart = updates[1]["chart"]
    assert [trace["name"].split(",")[0] for trace in chart["data"]] == ["Emoji faces teacher", "Small"]
    assert [max(trace["y"]) * 2**20 for trace in chart["data"]] == [1_049_088, 262_656]


def test_under_a_networks_name_stands_what_it_learnt_from(shipped):
    teacher, student = networks.load_network(FACES_TEACHER), networks.load_network("small")
    shown = generate_view.panels([teacher, student], [1, 2])
    assert "Small DDPM U-Net, own strides · on its own</p>" in shown
    said = "Small DDPM U-Net, strides 2·2·2·1, RED blocks · RED"
    assert f"{said}</p>" in shown
    assert dataclasses.replace(student, title=f"{said} · seed 0 (own run)").made == "", "which says so already"
    for training in ({}, {"steps": []}, {"foo": "<b>"}):
        metadata = dataclasses.replace(student.metadata, training=training)
        assert dataclasses.replace(student, metadata=metadata).made == ""
    assert dataclasses.replace(student, metadata=None).made == ""


def test_quality_figures_of_a_card_are_said_with_what_they_depend_on(shipped):
    network = networks.load_network("small")
    quality = {"kid": 0.01234, "fid": 41.0, "margins": {"kid": 0.002}, "features": "128 features", "warning": "Few."}
    metadata = dataclasses.replace(network.metadata, metrics={"quality": quality | {"reference": "<105> faces"}})
    judged = dataclasses.replace(network, metadata=metadata)
    said = "Quality was measured before, not on the images above. Few.</p>"
    how = "<summary>How it was measured</summary><p>by 128 features; against &lt;105&gt; faces.</p>"
    shown = generate_view.panels([judged, judged], [1, 2])
    assert shown.count('FID 41</strong>, <strong class="nowrap">KID 0.0123 ± 0.0020</strong></p>') == 2
    assert shown.count("lower is better") == 2
    assert shown.count(said) == shown.count(how) == 1, "once, being the same"
    other = dataclasses.replace(metadata, metrics={"quality": quality | {"features": "Inception"}})
    shown = generate_view.panels([judged, dataclasses.replace(network, metadata=other)], [1, 2])
    assert shown.count(said) == 2 and shown.count(how) == shown.count("<p>by Inception.</p>") == 1
    counted = quality | {"images": 1000, "reference_images": 2000}
    shown = basis(counted)
    assert "not on the images above: 1,000 drawn pictures, as a whole, against 2,000 real ones. Few." in shown
    for hostile in ("<b>", None, -1, True, 1.5):
        assert basis(counted | {"images": hostile}) == basis(quality)


@pytest.mark.parametrize("name", ["precision", "recall", "fid", "kid"])
def test_a_figure_whose_interval_reaches_nothing_is_left_out(name):
    margins = {name: 0.1}
    assert "0.05" not in generate_quality.figures({name: 0.05, "margins": margins})
    assert "0.50 ± 0.10" in generate_quality.figures({name: 0.5, "margins": margins})
    assert "i</button>" in generate_quality.figures({name: 0.5}) and generate_quality.figures({name: "many"}) == ""


def said(*values) -> str:
    return list(drawing.generate(*values))[-1]["said"]


def test_a_page_that_asked_to_stop_gets_no_more_steps(shipped):
    going = drawing.generate(FACES_TEACHER, [], 0, 4, 50, "ddim")
    next(going), next(going)
    drawing.stop_sampling()
    assert ["Stopped at step" in shown["said"] for shown in going] == [True]


def of_page(name: str) -> SimpleNamespace:
    """What gradio says of the page that asks."""
    return SimpleNamespace(session_hash=name)


def test_a_page_that_waits_for_another_says_so_and_can_be_stopped(shipped):
    wish = (FACES_TEACHER, [], 0, 4, 2, "ddim", "")
    first, second, third = (drawing.generate(*wish, of_page(name)) for name in ("one", "two", "three"))
    assert "Loading" in next(first)["said"]
    for waiting in (second, third):
        shown = next(waiting)
        assert "Waiting for another drawing" in shown["said"] and shown["stop"].interactive
        assert next(waiting) == {}
    drawing.stop_sampling(of_page("two"))
    assert ["Stopped before it began" in update["said"] for update in second] == [True]
    assert next(third) == {}, "the first one still draws"
    first.close()  # its page is gone
    assert "Done" in list(third)[-1]["said"] and drawing._turns._line == []


def test_while_a_new_drawing_loads_the_old_images_are_gone(shipped):
    shown = list(drawing.generate(FACES_TEACHER, [], 3, 4, 2, "ddim"))
    assert not shown[0].keys() & {"grids", "kept"}, "both stay until the networks are there"
    grids = shown[1]["grids"]
    assert grids.count("noise of seed") == 4 and "<button" not in grids and shown[1]["kept"] == ()


def test_a_stopped_drawing_has_a_time_and_no_rate(shipped):
    going = drawing.generate(FACES_TEACHER, [], 0, 4, 50, "ddim")
    next(going), next(going)
    drawing.stop_sampling()
    *_, last = going
    assert "Time" in last["grids"] and "images/s" not in last["grids"]


def test_a_network_from_elsewhere_draws_beside_the_others(shipped, tmp_path):
    folder = tmp_path / "from elsewhere"
    DDPMPipeline(unet=UNet2DModel(**TINY), scheduler=DDPMScheduler()).save_pretrained(folder)
    *_, last = drawing.generate(FACES_TEACHER, [], 3, 4, 2, "ddim", f" {folder} ")
    assert last["grids"].count("<figure") == 2 and ">from elsewhere<" in last["grids"]
    kept = last["kept"]
    assert kept[1].images.shape == (4, 3, 16, 16) and kept[1].settings.checkpoint == str(folder)
    assert "What from elsewhere learnt from is not written" in drawn.act_on_way(Clicked(seed="3"), kept)["near"]
    grid = drawn.save(Clicked(save="grid"), kept)["files"]["base64"]
    assert Image.open(io.BytesIO(base64.b64decode(grid))).size == (4 * 34 - 2, 2 * 34 - 2)


def test_on_a_space_no_folder_is_opened(shipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    DDPMPipeline(unet=UNet2DModel(**TINY), scheduler=DDPMScheduler()).save_pretrained(tmp_path / "own" / "ddpm")
    monkeypatch.setenv("SPACE_ID", "someone/redistill")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    shown = said(None, [], 0, 4, 2, "ddim", str(tmp_path / "own" / "ddpm"))
    assert "folders of this machine are not open to visitors" in shown and "google/ddpm-cifar10-32" in shown
    assert "Hub cannot be reached" in said(None, [], 0, 4, 2, "ddim", "own/ddpm")  # an id, though a folder too
    assert "Done" in said(None, [], 0, 4, 2, "ddim", "small")
    assert load_elsewhere("small").metadata is None
    monkeypatch.delenv("SPACE_ID")
    assert "Done" in said(None, [], 0, 4, 2, "ddim", "own/ddpm")
    assert load_elsewhere("small").metadata.dataset == "emoji-faces"


def test_a_classifier_is_said_to_be_one_and_not_offered(shipped):
    expected = f"expected one of [&#x27;{FACES_TEACHER}&#x27;, &#x27;small&#x27;]"
    for source in (CLUTTER_TEACHER, str(sources.SHIPPED / CLUTTER_TEACHER)):
        shown = said(None, [], 0, 4, 2, "ddim", source)
        assert f"{CLUTTER_TEACHER} is a classifier" in shown and expected in shown
    shown = said(None, [], 0, 4, 2, "ddim", "no-such-name")
    assert expected.removeprefix("expected ").rstrip(".") in shown and CLUTTER_TEACHER not in shown


def test_an_address_of_the_hub_is_an_id(shipped):
    assert choices.read_source(" https://huggingface.co/google/ddpm-cifar10-32 ") == "google/ddpm-cifar10-32"
    assert choices.read_source("/a/folder") == "/a/folder"


@pytest.mark.parametrize("value", [*HOSTILE, "/etc", "../x"], ids=repr)
def test_no_source_from_outside_breaks_generation(shipped, value):
    *_, last = drawing.generate(None, [], 0, 4, 2, "ddim", value)
    assert last["said"].count("Nothing drawn.") == 1
    at_field = last.get("other_said", "")
    assert ("field-refusal" in at_field) == (value not in ("", None)), "it is said at its field, too"
    assert bool(drawing.forget_refusal(at_field)) == bool(at_field), "until another is typed"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ((None, [], 0, 4, 2, "ddim"), "Choose at least one checkpoint"),
        (("/etc", [], 0, 4, 2, "ddim"), "No checkpoint &#x27;/etc&#x27;"),
        ((CLUTTER_TEACHER, [], 0, 4, 2, "ddim"), "No checkpoint"),
        ((FACES_TEACHER, ["a", "b", "c", "d"], 0, 4, 2, "ddim"), "at most 3"),
        ((FACES_TEACHER, [], -1, 4, 2, "ddim"), "First seed is -1"),
        ((FACES_TEACHER, [], 1.7, 4, 2, "ddim"), "First seed is 1.7; expected a whole number from 0 to 9007199254"),
        ((FACES_TEACHER, [], None, 4, 2, "ddim"), "First seed is empty"),
        ((FACES_TEACHER, [], 2**53, 4, 2, "ddim"), "First seed is 9007199254740992; expected"),
        ((FACES_TEACHER, [], 0, 1000, 2, "ddim"), "Images is 1000; expected a whole number from 4 to 16"),
        ((FACES_TEACHER, [], 0, 4, 0, "ddim"), "Denoising steps is 0"),
        ((FACES_TEACHER, [], 0, 4, 2, "euler"), "euler"),
    ],
)
def test_bad_wishes_are_one_sentence(shipped, values, sentence):
    assert sentence in said(*values)


def test_students_follow_their_teacher(shipped):
    for name, preset in (("food", "faces-teacher"), ("drinks", "faces"), ("sweets", "faces-alone")):
        config = dataclasses.replace(PRESETS[preset].config, dataset="emoji-food")
        write_run(shipped, name, config, "finished")
        write_checkpoint(shipped / "runs" / name / "student", config)
    food, drinks, sweets = "run:food", "run:drinks", "run:sweets"
    assert offered.offer(None, None)["students"].value == ["small"]
    assert offered.offer(food, None)["students"].value == followed(food, ["small"])
    assert followed(food, ["small"])[0] in (drinks, sweets) and len(followed(food, [])) == 1
    assert followed(food, ["small", drinks, sweets]) == [drinks, sweets]
    assert followed(food, ["small", sweets]) == [sweets]
    assert followed(FACES_TEACHER, [drinks, sweets]) == ["small"]
    for value in HOSTILE:
        assert followed(value, value) == []
    titles = {value: title for title, value in offered.follow(FACES_TEACHER, [])["choices"]}
    assert "emoji-food" in titles[drinks] and "emoji" not in titles["small"] and next(iter(titles)) == "small"
    teacher, student = map(networks.load_network, (FACES_TEACHER, "small"))
    stranger = dataclasses.replace(student, metadata=dataclasses.replace(student.metadata, dataset="emoji-food"))
    beside = generate_view.strangers([teacher, student, stranger])
    assert "emoji-food" in beside and "emoji-faces" in beside and beside.count("learnt from") == 1
    assert "learnt from" not in drawing.announce(FACES_TEACHER, ["small"], 3, 4, None)["said"]


def followed(*values) -> list[str]:
    return offered.follow(*values)["value"]


def test_the_smileys_of_those_that_ship_open_the_tab():
    shown = offered.offer(None, None)
    titles = {value: title for title, value in shown["teacher"].choices}
    assert shown["teacher"].value == FACES_TEACHER and shown["students"].value == ["emoji-faces-student"]
    assert titles["cifar10-unet-teacher"] == "CIFAR-10 U-Net teacher" and titles[FACES_TEACHER] == "Emoji faces teacher"


def test_without_checkpoints_there_is_a_sentence(places):
    assert offered.offer(None, None)["teacher"].choices == []
    assert "no trained checkpoint" in said(FACES_TEACHER, [], 0, 4, 2, "ddim")


def test_a_damaged_checkpoint_is_a_sentence(places, untrained):
    shutil.copytree(untrained, sources.SHIPPED)
    weights = sources.SHIPPED / "small" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert "truncated" in said(FACES_TEACHER, ["small"], 0, 4, 2, "ddim")

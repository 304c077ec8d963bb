"""The checkpoints that ship are what their cards say."""

import json
import re
from pathlib import Path

import pytest
import torch
from helpers.photographs import photographs

from benchmarks import accuracy as study
from benchmarks.quality import over_seeds
from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import read_metadata
from redistill.checkpoint.pipeline import load_scheduler, load_unet
from redistill.checkpoint.sources import list_shipped
from redistill.data.datasets import load_split
from redistill.diffusion.gallery import SEEDS, read_gallery
from redistill.diffusion.sampling import sample
from redistill.memory import capture
from redistill.training import shared_weights
from redistill.training.classification import accuracy
from redistill.training.config import DistillConfig
from redistill.training.presets import PRESETS
from redistill.training.shared_weights import full_strides, measured, network_at, open_shared
from redistill.training.stride_store import key_of

ROOT = Path(__file__).resolve().parents[2]
FACES_STUDENTS = ["emoji-faces-student", "emoji-faces-student-alone", "emoji-faces-student-with-kd"]
FACES = [*FACES_STUDENTS, "emoji-faces-teacher"]
FOOD = ["emoji-food-student", "emoji-food-teacher"]
ANY = ["emoji-clutter-any", "imagenette-any"]  # one network for every budget
SCENES_ONES = ["emoji-clutter-any", "emoji-clutter-student", "emoji-clutter-teacher"]
PHOTOGRAPHS = ["imagenette-any", "imagenette-student", "imagenette-teacher"]
CIFAR10_STUDENTS = ["cifar10-unet-student", "cifar10-unet-student-alone", "cifar10-unet-student-with-kd"]
CIFAR10_UNETS = [*CIFAR10_STUDENTS, "cifar10-unet-teacher"]
CIFAR10 = ["cifar10-teacher", *CIFAR10_UNETS]
UNETS = CIFAR10_UNETS + FACES + FOOD
NAMES = [*CIFAR10, *SCENES_ONES, *FACES, *FOOD, "emoji-identity-features", *PHOTOGRAPHS]
SCENES = 500


def peak(name):
    size = read_metadata(name).student.image_size
    return capture(checkpoint.load(name), (1, 3, size, size)).profile().peak_bytes


def test_all_are_there_and_small():
    assert list_shipped() == NAMES
    sizes = [file.stat().st_size for file in (ROOT / "checkpoints").rglob("*") if file.is_file()]
    assert max(sizes) < 10e6 and sum(sizes) < 80e6


@pytest.mark.parametrize("name", NAMES)
def test_cards_tell_how_they_were_made(name):
    card = (ROOT / "checkpoints" / name / "README.md").read_text()
    metadata = read_metadata(name)
    terms = {"imagenette": "non-commercial research only", "cifar10": "Krizhevsky (2009)"}
    terms = terms.get(metadata.dataset, "CC BY-SA 4.0")
    for word in ("python -m redistill", "| seed |", "| steps |", "| seconds |", "| device |", terms):
        assert word in card
    for figure in ("test_accuracy", "test_prediction_loss"):
        assert figure not in metadata.metrics or f"| {figure} | {metadata.metrics[figure]} |" in card


@pytest.mark.parametrize("name", NAMES)
def test_cards_of_older_versions_still_make_a_run(name):
    metadata = read_metadata(name)
    config = DistillConfig.from_dict(metadata.training)
    assert config.student == metadata.student and config.steps == metadata.metrics["step"]
    by_place = ("emoji-clutter-student", *ANY)
    alignment = "stage-wise" if name in by_place else "asynchronous"
    assert (config.kd, config.feature_loss, config.student.alignment) == ("kl", None, alignment)


@pytest.mark.parametrize("name", ["cifar10-teacher", *SCENES_ONES, "emoji-identity-features", *PHOTOGRAPHS])
def test_classifiers_are_as_accurate_as_they_say(name, tmp_path):
    """On 500 test pictures; three standard deviations of such a sample are allowed."""
    metadata = read_metadata(name)
    claimed, size = metadata.metrics["test_accuracy"], metadata.student.image_size
    dataset = metadata.dataset
    if dataset in ("imagenette", "cifar10"):
        dataset = f"folder:{photographs(dataset, tmp_path, each=SCENES // 10)}"
    found = accuracy(checkpoint.load(name), load_split(dataset, "test", size, limit=SCENES))
    assert abs(found - claimed) < 3 * (claimed * (1 - claimed) / SCENES) ** 0.5


@pytest.mark.parametrize("name", ANY)
def test_networks_for_every_budget_bring_what_was_measured_of_all_their_strides(name, monkeypatch, tmp_path):
    """So that Explore says it at once, and a fixed student can be made, also where the pictures may not travel."""
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path))
    monkeypatch.setattr(shared_weights, "load_split", None)  # without pictures
    shared = open_shared(name)
    known = measured(shared)
    assert {key_of(one.strides) for one in shared.space.candidates} == known.keys()
    assert len({one.count for one in known.values()}) == 1
    for one in (shared.space.smallest, shared.space.largest):
        assert network_at(shared, one.strides)(torch.zeros(1, 3, 64, 64)).shape == (1, shared.metadata.student.classes)
    own = known[key_of(full_strides(shared, shared.metadata.student.strides))]
    told = shared.metadata.metrics["validation_accuracy"] * own.count
    assert abs(own.correct - told) < 1.5  # one was trained on a GPU, which rounds otherwise
    assert sum(file.stat().st_size for file in shared.folder.iterdir()) < 2e6
    terms = json.loads((shared.folder / "config.json").read_text())["pictures"]
    assert ("research only" in terms) == (name == "imagenette-any")


def test_students_need_the_memory_they_promise():
    assert peak("emoji-clutter-teacher") / peak("emoji-clutter-student") == 5.0
    assert peak("imagenette-teacher") / peak("imagenette-student") == 5.0
    for name in FACES_STUDENTS:
        assert peak("emoji-faces-teacher") / peak(name) > 3.9
    for name in CIFAR10_STUDENTS:
        assert peak("cifar10-unet-teacher") / peak(name) > 3.9
    assert peak("emoji-food-teacher") / peak("emoji-food-student") > 3.9


@pytest.mark.parametrize(
    ("students", "teacher"),
    [(FACES_STUDENTS, "emoji-faces-teacher"), (CIFAR10_STUDENTS, "cifar10-unet-teacher")],
)
def test_diffusion_students_differ_only_in_what_they_learn_from(students, teacher):
    """Same teacher, start, seed, steps and strides; RED blocks and losses are what is compared."""
    compared, rest = {}, []
    for name in students:
        settings = DistillConfig.from_dict(read_metadata(name).training).to_dict()
        compared[name] = (settings["student"].pop("red") is not None, *map(settings.pop, ("red_weight", "kd_weight")))
        rest.append(settings)
    assert list(compared.values()) == [(True, 1.0, 0.0), (False, 0.0, 0.0), (True, 1.0, 1.0)]
    assert rest[0] == rest[1] == rest[2] and rest[0]["teacher_checkpoint"] == teacher


def test_what_ships_of_cifar10_is_what_its_presets_train():
    presets = {"cifar10-unet-student": "cifar10-unet", "cifar10-unet-student-with-kd": "cifar10-unet-both"}
    presets["cifar10-unet-student-alone"] = "cifar10-unet-alone"
    for name in CIFAR10:
        trained = DistillConfig.from_dict(read_metadata(name).training).to_dict()
        wanted = PRESETS[presets.get(name, name)].config.to_dict()
        assert trained | {"precision": "auto"} == wanted, name


def test_the_table_of_cifar10_is_that_of_its_rows_and_they_of_the_cards():
    rows = json.loads((ROOT / "docs" / "cifar10-quality.json").read_text())
    table = (ROOT / "docs" / "results" / "diffusion.md").read_text().split("## CIFAR-10")[1].split("##")[0]
    digits = {"test_prediction_loss": 3, "kid": 3, "fid": 1, "recall": 2}
    for mean in over_seeds(rows):
        assert mean["seeds"] == [0, 1, 2]
        cells = [" ± ".join(f"{value:.{digits[name]}f}" for value in mean[name]) for name in digits]
        assert f"| {' | '.join(cells)} |" in table, mean["name"]
    named = {row["name"]: row for row in rows}
    cells = [f"{named['cifar10-unet-teacher'][name]:.{digits[name]}f}" for name in digits]
    assert f"| teacher | pictures | {' | '.join(cells)} |" in table
    for name in CIFAR10_UNETS:  # judged anew, on another processor
        quality = read_metadata(name).metrics["quality"]
        assert (quality["images"], quality["features"]) == (1000, "128 features of cifar10-teacher, pictures at 32 px")
        assert named[name]["kid"] == pytest.approx(quality["kid"], abs=0.002), name


def test_diffusion_folders_carry_the_present_code():
    for name in UNETS:
        for file in ("unet.py", "red.py"):
            shipped = ROOT / "checkpoints" / name / "unet" / file
            assert shipped.read_text() == (ROOT / "redistill" / "networks" / file).read_text()


@pytest.mark.parametrize("name", UNETS)
def test_diffusion_folders_bring_pictures_of_their_weights(name):
    """`python -m benchmarks.gallery` draws them."""
    folder = ROOT / "checkpoints" / name
    gallery = read_gallery(folder)
    assert gallery is not None, "none, or of other weights"
    assert (gallery.settings.checkpoint, gallery.settings.seeds) == (name, SEEDS) and len(gallery.images) == 16
    if name == "emoji-faces-student":
        settings = gallery.settings
        model, schedule = load_unet(folder), load_scheduler(folder)
        drawing = sample(model, [5], scheduler=settings.scheduler, steps=settings.steps, noise_scheduler=schedule)
        *_, last = drawing
        assert (last.images[0].int() - gallery.images[5].int()).abs().float().mean() < 1


def test_presets_name_teachers_that_can_be_had():
    """One that ships, torchvision's, or the one that another preset trains."""
    trained = {f"runs/{name}-0/student" for name in PRESETS}
    for preset in PRESETS.values():
        teacher = preset.config.teacher_checkpoint
        known = {*NAMES, None} | trained | ({"torchvision:resnet50"} if preset.group == "paper" else set())
        assert teacher in known, preset.name


def test_every_preset_is_described_on_its_own():
    """The first one that a page shows is not the first of the list."""
    for preset in PRESETS.values():
        if preset.group != "paper":
            assert not re.search(r"\b(same|above|that one)\b", f"{preset.title} {preset.description}"), preset.name


def test_rows_of_the_study_are_means_of_runs_that_its_command_makes():
    rows = json.loads((ROOT / "checkpoints" / "study.json").read_text())
    students = {(row["strides"], row["method"]): row for row in rows if row["strides"]}
    assert rows[0]["method"] == "teacher" and len(students) == len(rows) - 1
    main = ("none", "red-blocks", "red", "kd", "red+kd")
    assert {(stem, name) for stem in study.STRIDES for name in main} <= students.keys()
    for (stem, name), row in students.items():
        assert row["seeds"] == [0, 1, 2] or (row["seeds"] == [0] and name not in main), (stem, name)
        expected = [study.student_config(stem, study.METHODS[name], seed) for seed in row["seeds"]]
        assert [DistillConfig.from_dict(run["config"]) for run in row["runs"]] == expected, (stem, name)
        scores = [run["final"]["test_accuracy"] for run in row["runs"]]
        assert row["accuracy"] == pytest.approx(sum(scores) / len(scores))
        assert row["spread"] == pytest.approx((max(scores) - min(scores)) / 2)


def test_the_student_that_ships_is_the_best_run_of_the_study_by_validation():
    rows = json.loads((ROOT / "checkpoints" / "study.json").read_text())
    runs = [run for row in rows if row["strides"] == "4" for run in row["runs"]]
    best = max(runs, key=lambda run: run["final"]["validation_accuracy"])
    metadata = read_metadata("emoji-clutter-student")
    assert dict(metadata.training) == best["config"] and dict(metadata.metrics) == best["final"]
    settings = best["config"] | {"seed": 0, "precision": "auto"}  # figures are made in fp32, whatever the machine
    assert DistillConfig.from_dict(settings) == PRESETS["best"].config

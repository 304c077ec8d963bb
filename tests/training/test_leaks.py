"""A teacher that has learnt what a run keeps apart is refused, whatever the pictures' files are called."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
from helpers.pictures import scene

from redistill.checkpoint.metadata import read_metadata
from redistill.networks.student import StudentConfig
from redistill.training.config import DistillConfig
from redistill.training.evaluation import evaluate
from redistill.training.loop import distill
from redistill.training.resuming import save_student
from redistill.training.step import prepare

CLASSES = {"a": range(40), "b": range(100, 140)}


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """Pictures, and the settings of a teacher that has learnt from them."""
    root = tmp_path_factory.mktemp("leaks")
    for name, numbers in CLASSES.items():
        (root / "P" / name).mkdir(parents=True)
        for number in numbers:
            scene(number).save(root / "P" / name / f"{number:03d}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REDISTILL_CACHE", str(root / "cache"))
        student = StudentConfig("narrow_resnet", 32, 2, red=None)
        config = DistillConfig(student, f"folder:{root / 'P'}", steps=1, batch_size=8)
        list(distill(config, root / "run"))
        yield root, config


def copied(taught, tmp_path, kind):
    """The pictures in another folder: how its files are called and stored is `kind`."""
    (root, _), target = taught, tmp_path / "Q"
    for name, numbers in CLASSES.items():
        for number in numbers:
            changed = {
                "renamed": f"{name}/img{997 * number % 1009:04d}.png",
                "shuffled": f"{name}/{138 - number + 2 * (number // 100) * 50:03d}.png",
                "webp": f"{name}/{997 * number % 1009:04d}.webp",
                "tiff": f"{name}/{997 * number % 1009:04d}.tiff",
                "jpeg": f"{name}/{997 * number % 1009:04d}.jpg",
                "smaller": f"{name}/{997 * number % 1009:04d}.png",
                "webp in the same order": f"{name}/x{number:03d}.webp",
                "in splits": f"{('train', 'val', 'test')[number % 3]}/{name}/{number:03d}.png",
                "as it was": f"{name}/{number:03d}.png",
            }[kind]
            file = target / changed
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix == ".png" and kind != "smaller":
                shutil.copy(root / "P" / name / f"{number:03d}.png", file)
            else:
                image = scene(number)
                image = image.resize((70, 70)) if kind == "smaller" else image
                image.save(file, **({"lossless": True} if file.suffix == ".webp" else {}))
    return f"folder:{target}"


def run_on(taught, dataset, **changes):
    root, config = taught
    settings = {"teacher_checkpoint": str(root / "run" / "student"), "accept_teacher": True, "kd_weight": 1.0}
    return dataclasses.replace(config, dataset=dataset, **(settings | changes))


@pytest.mark.parametrize("kind", ["renamed", "shuffled", "webp", "tiff", "jpeg", "smaller", "in splits"])
def test_a_copy_is_known_by_its_pictures(taught, tmp_path, kind):
    dataset = copied(taught, tmp_path, kind)
    with pytest.raises(ValueError, match=r"was trained on \d+ %, about, of the pictures that this run validates"):
        prepare(run_on(taught, dataset))
    assert "among those that it was trained on" in evaluate(taught[0] / "run" / "student", dataset=dataset)["seen"]


def test_the_same_draw_and_other_pictures_are_taken(taught, tmp_path):
    root, config = taught
    prepare(run_on(taught, config.dataset))
    prepare(run_on(taught, copied(taught, tmp_path / "1", "as it was")))
    prepare(run_on(taught, copied(taught, tmp_path / "2", "webp in the same order")))
    for name, numbers in CLASSES.items():
        (tmp_path / "R" / name).mkdir(parents=True)
        for number in numbers:
            scene(10_000 + number).save(tmp_path / "R" / name / f"{number:03d}.png")
    prepare(run_on(taught, f"folder:{tmp_path / 'R'}"))
    assert "seen" not in evaluate(root / "run" / "student", dataset=f"folder:{tmp_path / 'R'}")
    assert "seen" not in evaluate(root / "run" / "student")


def test_what_a_run_learns_from_is_kept_with_it_stopped_or_not(taught, tmp_path):
    root, config = taught
    kept = read_metadata(root / "run" / "student").learnt
    assert kept["pictures"] == 64
    records = distill(dataclasses.replace(config, steps=3, save_every=1), tmp_path / "run")
    next(records), next(records)
    records.close()
    assert read_metadata(save_student(tmp_path / "run")).learnt == kept

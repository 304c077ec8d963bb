"""Names of classes travel with networks: into checkpoints, between teacher and pictures, through resume and figures."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
import torch
import torchvision
from helpers.pictures import write_classes
from torch import nn

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.metadata import read_metadata
from redistill.networks.head import reorder_outputs
from redistill.networks.student import StudentConfig, build_student
from redistill.training.config import DistillConfig
from redistill.training.evaluation import evaluate
from redistill.training.loop import distill
from redistill.training.step import prepare

STUDENT = StudentConfig("narrow_resnet", 16, num_classes=3, red=None)


@pytest.fixture(scope="module")
def animals(tmp_path_factory, picture_cache):
    """Pictures of cat, dog and eel, a teacher of them, and the folder of both."""
    root = tmp_path_factory.mktemp("animals")
    write_classes(root / "animals", {"cat": 12, "dog": 12, "eel": 12})
    list(distill(run_on(root / "animals"), root / "run"))
    return root


def run_on(folder, **settings):
    return DistillConfig(STUDENT, f"folder:{folder}", steps=4, batch_size=8, validate_every=2, **settings)


def taught(folder, teacher, **settings):
    return run_on(folder, teacher_checkpoint=str(teacher), **({"kd_weight": 1.0} | settings))


def renamed(animals, place, **names):
    shutil.copytree(animals / "animals", place)
    for old, new in names.items():
        (place / old).rename(place / new)
    return place


def rewritten(animals, place, order=None, **values):
    """A copy of the teacher that says other things of itself, its outputs in another order."""
    folder = shutil.copytree(animals / "run" / "student", place)
    card = json.loads((folder / "config.json").read_text()) | values
    (folder / "config.json").write_text(json.dumps(card))
    if order is not None:
        metadata = read_metadata(folder)
        model = checkpoint.load(folder)
        reorder_outputs(model, order, 16)
        names = [metadata.class_names[place] for place in order]
        checkpoint.save(model, dataclasses.replace(metadata, class_names=names), folder)
    return folder


def test_a_checkpoint_keeps_its_names(animals):
    folder = animals / "run" / "student"
    assert json.loads((folder / "config.json").read_text())["class_names"] == ["cat", "dog", "eel"]
    assert read_metadata(folder).class_names == ("cat", "dog", "eel")
    assert "0. cat\n1. dog\n2. eel\n" in (folder / "README.md").read_text()


def test_names_of_the_sets_in_the_table_are_known_without_being_kept(finished_run, tmp_path):
    folder = shutil.copytree(finished_run / "student", tmp_path / "before")
    card = json.loads((folder / "config.json").read_text())
    assert len(card.pop("class_names")) == 50
    (folder / "config.json").write_text(json.dumps(card))
    assert read_metadata(folder) == read_metadata(finished_run / "student")


@pytest.mark.parametrize("order", [[2, 0, 1], [1, 0, 2]])
def test_a_teacher_in_another_order_teaches_and_is_judged_the_same(animals, tmp_path, order):
    folder = rewritten(animals, tmp_path / "teacher", order)
    figures = [evaluate(place)["test_accuracy"] for place in (folder, animals / "run" / "student")]
    assert figures[0] == figures[1]
    settings = {"init": "teacher"}
    (one, _), (two, _) = (
        prepare(taught(animals / "animals", place, **settings)) for place in (folder, animals / "run" / "student")
    )
    assert torch.equal(one.teacher.fc.weight, two.teacher.fc.weight)
    assert torch.equal(one.model.fc.bias, two.model.fc.bias)


@pytest.mark.parametrize("names", [{"cat": "Katze", "dog": "Hund", "eel": "Aal"}, {"cat": "lynx"}])
def test_kd_between_other_classes_is_refused(animals, tmp_path, names):
    place = renamed(animals, tmp_path / "other", **names)
    teacher = animals / "run" / "student"
    with pytest.raises(ValueError, match=rf"{next(iter(sorted(names.values())))}.*unknown to the teacher .*cat"):
        list(distill(taught(place, teacher), tmp_path / "run"))
    classes = sorted({"cat", "dog", "eel"} - set(names) | set(names.values()))
    others = write_classes(tmp_path / "apart", dict.fromkeys(classes, 12), seed=99_000)  # it has not learnt these
    problem, _ = prepare(taught(others, teacher, kd_weight=0.0, init="teacher"))
    assert problem.class_names == tuple(classes)


@pytest.mark.parametrize("own_splits", [False, True])
def test_figures_of_other_classes_are_refused(tmp_path, own_splits):
    parts = ("train", "val", "test") if own_splits else (".",)
    for part in parts:
        write_classes(tmp_path / "pets" / part, {"cat": 8, "dog": 8, "eel": 8}, seed=len(part))
    list(distill(run_on(tmp_path / "pets"), tmp_path / "run"))
    records = distill(run_on(tmp_path / "pets"), tmp_path / "stopped")
    next(records)
    records.close()
    for part in parts:
        (tmp_path / "pets" / part / "cat").rename(tmp_path / "pets" / part / "zebra")
    with pytest.raises(ValueError, match=r"'zebra' of the pictures .* unknown to the checkpoint .*'cat'"):
        evaluate(tmp_path / "run" / "student")
    with pytest.raises(ValueError, match=r"classes of the pictures are .*'zebra'.* began with .*'cat'"):
        list(distill(run_on(tmp_path / "pets"), tmp_path / "stopped"))


def test_figures_on_changed_pictures_are_refused(animals, tmp_path):
    place = renamed(animals, tmp_path / "other")
    folder = rewritten(animals, tmp_path / "one", dataset=f"folder:{place}")
    assert "test_accuracy" in evaluate(folder)
    (place / "cat" / "000.png").rename(place / "cat" / "new.png")
    with pytest.raises(ValueError, match="since the checkpoint was trained"):
        evaluate(folder)


@pytest.mark.parametrize(
    ("classes", "kept", "said"),
    [
        (("ape", "bee"), True, "'ape', 'bee' of the pictures of .* are unknown to the checkpoint"),
        (("cat", "dog"), True, "The checkpoint .* tells 3 classes apart, but the pictures of .* are of 2; expected"),
        (("ape", "bee"), False, "The checkpoint .* tells 3 classes apart, but the pictures of .* are of 2; expected"),
    ],
)
def test_figures_on_another_number_of_classes_are_refused_in_words_of_the_checkpoint(
    animals, tmp_path, classes, kept, said
):
    folder = rewritten(animals, tmp_path / "one", **({} if kept else {"class_names": []}))
    others = write_classes(tmp_path / "others", dict.fromkeys(classes, 8))
    with pytest.raises(ValueError, match=said):
        evaluate(folder, dataset=f"folder:{others}")


def test_a_checkpoint_without_names_is_judged_by_places_and_says_so(animals, tmp_path):
    folder = rewritten(animals, tmp_path / "before", class_names=[])
    assert "by their places" in evaluate(folder)["classes"]
    assert "classes" not in evaluate(animals / "run" / "student")
    assert prepare(taught(animals / "animals", folder))[0].teacher is not None


@pytest.mark.parametrize("name", ["narrow_resnet", "mobilenet_v3_small", "squeezenet1_1"])
def test_outputs_change_places_and_nothing_else_does(name):
    torch.manual_seed(0)
    if name == "squeezenet1_1":
        model = torchvision.models.squeezenet1_1(num_classes=5)
    else:
        model = build_student(StudentConfig(name, 64, num_classes=5, red=None))
    images, order = torch.rand(2, 3, 64, 64), [3, 0, 4, 1, 2]
    with torch.no_grad():
        before = model.eval()(images)
        reorder_outputs(model, order, 64)
        torch.testing.assert_close(model(images), before[:, order])


def test_outputs_that_no_last_layer_makes_are_refused_as_they_were():
    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(3, 4), nn.Linear(3, 4)

        def forward(self, x):
            return self.one(x.mean(dim=(2, 3))) + self.two(x.mean(dim=(2, 3)))

    model = Mean()
    before = model.two.weight.clone()
    with pytest.raises(ValueError, match="another order"):
        reorder_outputs(model, [1, 0, 3, 2], 8)
    assert torch.equal(model.two.weight, before)

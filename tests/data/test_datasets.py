"""Data sets by name: what the table says of them, and names that are refused."""

from __future__ import annotations

import pytest
import torch

from redistill.common import devices
from redistill.data import drawn, emoji
from redistill.data.datasets import DATASETS, SPLITS, find_dataset, load_split
from redistill.networks.student import StudentConfig, build_student
from redistill.training import classification, diffusion
from redistill.training.config import DistillConfig
from redistill.training.task import load_problem


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    """A cache of this file's own; one for all tests, because drawing the faces takes seconds."""
    folder = tmp_path_factory.getbasetemp() / "pictures"
    monkeypatch.setenv("REDISTILL_CACHE", str(folder))
    return folder


def test_table_tells_what_the_splits_hold():
    for name, spec in DATASETS.items():
        assert spec.name == name and spec.default_size in spec.image_sizes
        assert spec.num_classes == len(set(spec.class_names)), "class names are distinct"
        if name not in drawn.DRAWN:
            continue
        assert spec.attribution == "Emoji by OpenMoji (openmoji.org), CC BY-SA 4.0"
        for split in SPLITS:
            part = load_split(name, split, limit=3)
            side = spec.default_size * spec.render_scale
            assert part.images.shape == (3, 3, side, side) and part.images.dtype == torch.uint8
            assert part.labels.dtype == torch.int64 and 0 <= part.labels.min() <= part.labels.max() < spec.num_classes
    assert DATASETS["emoji-clutter"].split_sizes == {"train": 12_000, "validation": 2_000, "test": 2_000}
    classes = {name: spec.num_classes for name, spec in DATASETS.items() if "classification" in spec.tasks}
    assert classes == {"emoji-clutter": 50, "emoji-identity": 258, "cifar10": 10, "cifar100": 100, "stl10": 10,
                       "imagenette": 10}  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mnist", "train"), "Unknown data set 'mnist'; expected one of: emoji-clutter, emoji-faces"),
        (("folder:", "train"), "names no folder; expected folder:PATH"),
        (("emoji-faces", "dev"), "split is 'dev'; expected one of: train, validation, test"),
        (("emoji-faces", "train", 48), "no images of size 48; expected one of: 32, 64"),
        (("emoji-faces", "train", 32.0), "no images of size 32.0; expected one of: 32, 64"),
        (("emoji-clutter", "train", 64, 0), "Limit is 0; expected a whole number of images from 1 up"),
        (("emoji-clutter", "train", 64, 2.5), "Limit is 2.5; expected"),
        (("emoji-clutter", "train", 64, True), "Limit is True; expected"),
    ],
)
def test_what_does_not_exist_is_refused_with_the_choices(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_split(*arguments)


def test_unknown_data_set_and_emoji_are_refused():
    with pytest.raises(ValueError, match="expected one of: emoji-clutter, emoji-faces"):
        find_dataset("")
    with pytest.raises(ValueError, match=r"No OpenMoji drawing named '\.\./1F600'"):
        emoji.render("../1F600", 16)


@pytest.mark.parametrize(
    ("task", "network", "dataset"),
    [(classification, "narrow_resnet", "emoji-clutter"), (diffusion, "unet_small", "emoji-faces")],
)
def test_pictures_go_to_the_device_only_where_they_leave_half_of_its_memory(task, network, dataset, monkeypatch):
    config = DistillConfig(StudentConfig(network, 32, 50, red=None), dataset, train_limit=12)
    here, there = torch.device("cpu"), torch.device("meta")
    train = load_split(dataset, "train", 32, 12)
    needed = train.images.nbytes + train.labels.nbytes
    for free, device in ((2 * needed, here), (2 * needed + 1, there)):
        monkeypatch.setattr(devices, "available_memory", lambda asked, free=free: free)
        problem = load_problem(task, config, build_student(config.student).to(there), None, there)
        assert problem.train.images.device == problem.train.labels.device == device
        batch = problem.train.take(torch.tensor([3, 1]), there)
        assert (batch.images.device, batch.labels.device, len(batch)) == (there, there, 2)
    batch = train.take(torch.tensor([3, 1]), here)
    assert torch.equal(batch.images, train.images[[3, 1]]) and torch.equal(batch.labels, train.labels[[3, 1]])

"""CIFAR, STL-10 and CelebA from small files in their original formats, and what is said when they are not there."""

from __future__ import annotations

import functools
import hashlib
import http.server
import pickle
import shutil
import tarfile
import threading
import urllib.error
import urllib.request
import zipfile
from unittest.mock import create_autospec

import gdown
import numpy as np
import pytest
import torch
import torchvision
from gdown.exceptions import FileURLRetrievalError
from helpers.pictures import picture
from PIL import Image

from redistill.data.datasets import DATASETS, drawn_from, load_split
from redistill.data.torchvision_sets import is_here

URLOPEN = urllib.request.urlopen


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """A data folder of its own, and no network."""
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("REDISTILL_DATA", str(tmp_path / "data"))

    def offline(*arguments, **settings):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    monkeypatch.setattr("requests.Session.request", offline)  # gdown's
    return tmp_path / "data"


def md5(path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_cifar10(root, monkeypatch, count=20):
    """Six batches of `count` pictures as in cifar-10-batches-py, whose checksums torchvision then expects."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    images = {}
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        images[name] = random.integers(0, 256, (count, 3072), np.uint8)
        labels = [row % 10 for row in range(count)]
        (folder / name).write_bytes(pickle.dumps({"data": images[name], "labels": labels}, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(DATASETS["cifar10"].class_names)}))
    expect_checksums(monkeypatch, torchvision.datasets.CIFAR10, folder, "batches.meta")
    return images


def expect_checksums(monkeypatch, kind, folder, meta):
    for lists in ("train_list", "test_list"):
        monkeypatch.setattr(kind, lists, [[name, md5(folder / name)] for name, _ in getattr(kind, lists)])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": md5(folder / meta)})


def test_cifar10(root, monkeypatch):
    written = write_cifar10(root, monkeypatch)
    parts = {split: load_split("cifar10", split) for split in ("train", "validation", "test")}
    assert {name: len(part) for name, part in parts.items()} == {"train": 90, "validation": 10, "test": 20}
    assert parts["validation"].labels.bincount().tolist() == [1] * 10
    assert parts["test"].images.shape == (20, 3, 32, 32)
    test = {row.tobytes(): number % 10 for number, row in enumerate(written["test_batch"])}
    for image, label in zip(parts["test"].images, parts["test"].labels, strict=True):
        assert test.pop(image.numpy().tobytes()) == label, "channels and rows as they were, with their label"
    train = {row.tobytes() for name, rows in written.items() if name != "test_batch" for row in rows}
    drawn = [image.numpy().tobytes() for name in ("train", "validation") for image in parts[name].images]
    assert set(drawn) == train and len(drawn) == 100
    assert not torch.equal(load_split("cifar10", "validation", split_seed=1).images, parts["validation"].images)


def test_cifar10_as_a_folder_has_the_same_validation_pictures(root, monkeypatch):
    written = write_cifar10(root, monkeypatch)
    numbers = {}
    for name, rows in written.items():
        for number, row in enumerate(rows):
            place = root / "named" / ("test" if name == "test_batch" else "train")
            place /= DATASETS["cifar10"].class_names[number % 10]
            place.mkdir(parents=True, exist_ok=True)
            numbers[place] = numbers.get(place, -1) + 1
            image = Image.fromarray(row.reshape(3, 32, 32).transpose(1, 2, 0))
            image.save(place / f"{numbers[place]:04}.jpg", format="PNG")
    named = f"folder:{root / 'named'}"
    assert drawn_from("cifar10") == drawn_from(named)
    for split in ("train", "validation", "test"):
        ours, theirs = load_split("cifar10", split), load_split(named, split, 32)
        assert torch.equal(ours.images, theirs.images) and torch.equal(ours.labels, theirs.labels)


def test_cifar100(root, monkeypatch):
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for name, count in (("train", 300), ("test", 100)):
        entry = {"data": np.zeros((count, 3072), np.uint8), "fine_labels": [row % 100 for row in range(count)]}
        (folder / name).write_bytes(pickle.dumps(entry | {"coarse_labels": [0] * count}))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": list(DATASETS["cifar100"].class_names)}))
    expect_checksums(monkeypatch, torchvision.datasets.CIFAR100, folder, "meta")
    train, test = load_split("cifar100", "train"), load_split("cifar100", "test")
    assert train.labels.bincount().tolist() == [2] * 100 and test.labels.bincount().tolist() == [1] * 100


def test_stl10(root, monkeypatch):
    kind, folder = torchvision.datasets.STL10, root / "stl10_binary"
    folder.mkdir(parents=True)
    corner = np.zeros((20, 3, 96, 96), np.uint8)
    corner[:, 0, 90:, :6] = 255  # stored column by column: red at the top right
    for name in ("train", "test"):
        corner.tofile(folder / f"{name}_X.bin")
        (np.arange(20, dtype=np.uint8) % 10 + 1).tofile(folder / f"{name}_y.bin")
    np.zeros((1, 3, 96, 96), np.uint8).tofile(folder / "unlabeled_X.bin")
    (folder / "class_names.txt").write_text("\n".join(DATASETS["stl10"].class_names))
    for lists in ("train_list", "test_list"):
        monkeypatch.setattr(kind, lists, [[name, md5(folder / name)] for name, _ in getattr(kind, lists)])
    train, test = load_split("stl10", "train"), load_split("stl10", "test", 48)
    assert train.images.shape == (10, 3, 96, 96) and test.images.shape == (20, 3, 48, 48)
    assert sorted(test.labels.tolist()) == sorted([*range(10)] * 2)
    assert train.images[0, :, 2, 93].tolist() == [255, 0, 0] and train.images[0].float().mean() < 2
    assert load_split("stl10", "validation").labels.tolist().count(3) == 1


def test_imagenette(root):
    """Folders named by WordNet ids; validation is drawn from train, the same as from folders named by classes."""
    ids = ("n01440764", "n02102040", "n02979186", "n03000684", "n03028079", "n03394916", "n03417042", "n03425413")
    for split, count in (("train", 10), ("val", 2)):
        for label, name in enumerate((*ids, "n03445777", "n03888257")):
            folder = root / "imagenette2-160" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                picture(label, 213, 160).save(folder / f"{name}_{number}.JPEG")
    assert is_here("imagenette")
    parts = {split: load_split("imagenette", split, 64) for split in ("train", "validation", "test")}
    assert {split: len(part) for split, part in parts.items()} == {"train": 90, "validation": 10, "test": 20}
    assert all(part.labels.bincount().unique().numel() == 1 for part in parts.values())
    first = parts["test"].images[parts["test"].labels == DATASETS["imagenette"].class_names.index("tench")]
    assert torch.equal(first[0], first[1]) and first.shape[1:] == (3, 64, 64)
    named = root / "named"
    for path in sorted((root / "imagenette2-160").glob("*/*/*.JPEG")):
        name = torchvision.datasets.Imagenette._WNID_TO_CLASS[path.parent.name][0]
        copy = named / path.parents[1].name / name / f"{path.stem}.jpg"
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    assert drawn_from("imagenette") == drawn_from(f"folder:{named}")
    assert torch.equal(load_split(f"folder:{named}", "validation", 64).images, parts["validation"].images)


def write_celeba(root, monkeypatch):
    kind, folder = torchvision.datasets.CelebA, root / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{number:06d}.jpg" for number in range(1, 9)]
    for number, name in enumerate(names):
        picture(number, 178, 218).save(folder / "img_align_celeba" / name)
    rows = {
        "list_eval_partition.txt": ([], [0, 0, 0, 0, 1, 1, 2, 2]),
        "identity_CelebA.txt": ([], [5] * 8),
        "list_attr_celeba.txt": (["8", "Smiling"], [1, -1] * 4),
        "list_bbox_celeba.txt": (["8", "image_id x_1"], [3] * 8),
        "list_landmarks_align_celeba.txt": (["8", "lefteye_x"], [4] * 8),
    }
    for file, (head, values) in rows.items():
        lines = [f"{name}  {value}" for name, value in zip(names, values, strict=True)]
        (folder / file).write_text("\n".join([*head, *lines]))
    known = [(key, md5(folder / name) if name in rows else code, name) for key, code, name in kind.file_list]
    monkeypatch.setattr(kind, "file_list", known)
    return folder


def test_celeba(root, monkeypatch):
    folder = write_celeba(root, monkeypatch)
    parts = {split: load_split("celeba", split, 64) for split in ("train", "validation", "test")}
    assert [len(part) for part in parts.values()] == [4, 2, 2] and parts["train"].images.shape == (4, 3, 64, 64)
    (folder / "img_align_celeba" / "000002.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"Picture 000002\.jpg cannot be read"):
        load_split("celeba", "train", 32)


def test_celeba_comes_from_google_drive(root, monkeypatch, tmp_path):
    """As torchvision calls gdown, whose signature the stand-in has: what it fetches is unpacked and read."""
    with monkeypatch.context() as there:
        staging = write_celeba(tmp_path / "drive", there)
    packed = staging / "img_align_celeba.zip"
    with zipfile.ZipFile(packed, "w") as file:
        for path in sorted((staging / "img_align_celeba").iterdir()):
            file.write(path, f"img_align_celeba/{path.name}")
    kind = torchvision.datasets.CelebA
    known = {code: name for code, _, name in kind.file_list}
    monkeypatch.setattr(kind, "file_list", [(code, md5(staging / name), name) for code, name in known.items()])
    fetch = lambda id, output, **_: shutil.copy(staging / known[id], output)  # noqa: E731
    monkeypatch.setattr("gdown.download", create_autospec(gdown.download, side_effect=fetch))
    assert len(load_split("celeba", "train", 64)) == 4
    assert gdown.download.call_count == len(known)


def test_what_google_drive_refuses_is_one_sentence(root, monkeypatch):
    refusal = FileURLRetrievalError("Failed to retrieve file url:\n\n\tToo many users have viewed it recently.\n")
    monkeypatch.setattr("gdown.download", create_autospec(gdown.download, side_effect=refusal))
    with pytest.raises(ValueError, match=r"cannot be downloaded \(Failed .* Too many users .* recently\)") as said:
        load_split("celeba", "train")
    assert "\n" not in str(said.value)
    assert not is_here("celeba")


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "stl10", "celeba"])
def test_without_files_and_network_one_sentence_says_what_to_put_where(root, name):
    with pytest.raises(
        ValueError, match=rf"^{name} is not in {root}, or is damaged there, and cannot be downl"
    ) as said:
        load_split(name, "train")
    assert "put the folder " in str(said.value) and "\n" not in str(said.value)


def test_a_file_that_its_checksum_does_not_fit_is_not_read(root, monkeypatch):
    write_cifar10(root, monkeypatch)
    file = root / "cifar-10-batches-py" / "data_batch_3"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match=r"cifar10 is not in .*, or is damaged there, and cannot be downloaded"):
        load_split("cifar10", "test")


@pytest.mark.parametrize("content", [b"\x80\x02}q", b"no pickle", pickle.dumps({"other": 1}), pickle.dumps([])])
def test_a_bad_pickle_is_one_sentence(root, monkeypatch, content):
    write_cifar10(root, monkeypatch)
    folder = root / "cifar-10-batches-py"
    (folder / "test_batch").write_bytes(content)
    expect_checksums(monkeypatch, torchvision.datasets.CIFAR10, folder, "batches.meta")
    with pytest.raises(ValueError, match=r"The files of cifar10 in .* cannot be read .*; delete them to start anew"):
        load_split("cifar10", "test")


def test_a_download_is_unpacked_and_read(root, monkeypatch, tmp_path):
    """torchvision's own download code, with a server on this machine."""
    staging = tmp_path / "server"
    with monkeypatch.context() as there:
        write_cifar10(staging, there)
    archive = staging / "cifar.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(staging / "cifar-10-batches-py", "cifar-10-batches-py")
    kind = torchvision.datasets.CIFAR10
    expect_checksums(monkeypatch, kind, staging / "cifar-10-batches-py", "batches.meta")
    monkeypatch.setattr(kind, "tgz_md5", md5(archive))
    monkeypatch.setattr("urllib.request.urlopen", URLOPEN)
    handler = functools.partial(QuietHandler, directory=staging)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(kind, "url", f"http://127.0.0.1:{server.server_port}/{archive.name}")
        assert len(load_split("cifar10", "test")) == 20
        server.shutdown()
    assert (root / "cifar-10-batches-py" / "test_batch").exists()
    assert len(load_split("cifar10", "train")) == 90, "from the files, without the server"


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        """Nothing."""


def test_pictures_of_the_table_are_what_pil_gives(root, monkeypatch):
    written = write_cifar10(root, monkeypatch)["test_batch"]
    small = load_split("cifar10", "test", 16)
    shrunk = {
        np.asarray(Image.fromarray(row.reshape(3, 32, 32).transpose(1, 2, 0)).resize((16, 16), Image.BICUBIC)).tobytes()
        for row in written
    }
    assert {image.permute(1, 2, 0).numpy().tobytes() for image in small.images} == shrunk

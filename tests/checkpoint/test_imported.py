"""A network and weights from elsewhere become a checkpoint like any other, or nothing is written."""

from __future__ import annotations

import json

import pytest
import safetensors.torch
import torch
import torchvision

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.imported import Weights, import_teacher, imported_folder, read_class_names
from redistill.checkpoint.metadata import Metadata, read_metadata
from redistill.checkpoint.sources import find_checkpoint, list_imported
from redistill.checkpoint.teacher import load_teacher
from redistill.networks.student import StudentConfig, build_student
from redistill.networks.zoo import build_network
from redistill.training.evaluation import evaluate
from redistill.training.prediction import predict

NAMES = ("cat", "dog", "äpfel")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CONFIG = StudentConfig("mobilenet_v3_small", 64, red=None)


def network(classes: int = 3, **settings) -> torch.nn.Module:
    torch.manual_seed(0)
    model = torchvision.models.get_model("mobilenet_v3_small", weights=None, num_classes=classes, **settings)
    return model.eval()


@pytest.fixture
def file(tmp_path):
    torch.save({"model": {f"module.{key}": value for key, value in network().state_dict().items()}}, tmp_path / "w.pth")
    return tmp_path / "w.pth"


def test_the_teacher_answers_as_the_network_did(file, tmp_path):
    folder, left_out = import_teacher(CONFIG, Weights(file, MEAN, STD, NAMES), tmp_path / "teacher")
    card = read_metadata(folder)
    assert left_out == "" and tuple(card.class_names) == NAMES and card.student.classes == 3
    assert card.imported["mean"] == list(MEAN) and card.imported["file"] == "w.pth"
    assert "w.pth" in (folder / "README.md").read_text() and "äpfel" in (folder / "README.md").read_text()
    images = torch.rand(4, 3, 64, 64)
    normalised = (images - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    own, loaded = network(), load_teacher(folder)
    for model in (own, loaded):  # of what it pads with, zeros say another thing; see fold_normalization
        model.features[0][0].padding = (0, 0)
    with torch.no_grad():
        torch.testing.assert_close(loaded(images * 2 - 1), own(normalised), rtol=1e-3, atol=1e-4)


def test_a_checkpoint_of_lightning_tells_its_classes(tmp_path):
    torch.save(
        {"state_dict": {f"model.{key}": value for key, value in network().state_dict().items()}}, tmp_path / "w.ckpt"
    )
    folder, left_out = import_teacher(CONFIG, Weights(tmp_path / "w.ckpt"), tmp_path / "teacher")
    assert left_out == "" and read_metadata(folder).student.classes == 3


def test_it_is_found_by_its_name(file, tmp_path, monkeypatch):
    monkeypatch.setenv("REDISTILL_CACHE", str(tmp_path / "cache"))
    folder, _ = import_teacher(CONFIG, Weights(file), imported_folder("my teacher/1"))
    assert list_imported() == [folder.name] == ["my-teacher-1"]
    assert find_checkpoint(folder.name) == folder and checkpoint.load(folder.name)
    assert read_metadata(folder).student.classes == 3  # told by the last layer
    with pytest.raises(ValueError, match="Nothing tells which pictures"):
        evaluate(folder.name)


@pytest.mark.parametrize(
    ("config", "weights", "words"),
    [
        (CONFIG, {"class_names": NAMES[:2]}, "tells 3 classes apart, but 2 names"),
        (CONFIG, {"mean": MEAN[:2], "std": STD[:2]}, "expected 3 numbers each"),
        (CONFIG, {"mean": (0.4,), "std": (0,)}, "std above 0"),
        (CONFIG, {"mean": (123.7, 116.3, 103.5), "std": (58.4, 57.1, 57.4)}, "divide both by 255"),
        (CONFIG, {"mean": (-0.1,), "std": (1.0,)}, "mean from 0 to 1"),
        (StudentConfig("resnet18", 64, red=None), {}, "does not hold the weights of this network"),
        (StudentConfig("mobilenet_v3_small", 64, red=None, in_channels=1), {}, "of another shape"),
        (CONFIG, {"only_safetensors": True}, "no .safetensors file"),
        (StudentConfig("unet_small", 32, red=None), {}, "does not hold the weights"),
    ],
)
def test_what_does_not_fit_is_one_sentence_and_nothing_is_written(config, weights, words, file, tmp_path):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        import_teacher(config, Weights(file, **weights), tmp_path / "teacher")
    assert words in str(error.value) and not (tmp_path / "teacher").exists()


def test_a_network_that_gives_features_alone_is_no_teacher(file, tmp_path):
    features = StudentConfig("timm:vit_small_patch16_dinov3_qkvb", red=None)
    with pytest.raises(ValueError, match="gives features alone, no classes; give a file of the names"):
        import_teacher(features, Weights(file, MEAN, STD, ()), tmp_path / "teacher")
    checkpoint.save(build_student(features), Metadata(features, "imagenette"), tmp_path / "kept")
    with pytest.raises(ValueError, match="gives features alone, no classes; expected a classifier"):
        predict(tmp_path / "kept", [file])


def test_a_file_for_other_layers_is_taken_in_part_where_that_is_asked_for(tmp_path):
    state = network().state_dict()
    safetensors.torch.save_file(dict(list(state.items())[:-2]), tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"2 missing in it \(classifier.3.weight, classifier.3.bias\)"):
        import_teacher(CONFIG, Weights(tmp_path / "w.safetensors", class_names=NAMES), tmp_path / "teacher")
    weights = Weights(tmp_path / "w.safetensors", class_names=NAMES, partial=True)
    folder, left_out = import_teacher(CONFIG, weights, tmp_path / "teacher")
    assert "2 missing in it" in left_out and "2 missing" in read_metadata(folder).imported["fit"]


def test_mean_and_std_stay_outside_a_network_that_looks_at_its_image_twice(tmp_path):
    (tmp_path / "net.py").write_text(
        "from torch import nn\nclass Twice(nn.Module):\n"
        " def __init__(self):\n"
        "  super().__init__(); self.a = nn.Conv2d(3, 4, 3); self.b = nn.Conv2d(3, 4, 3); self.c = nn.Linear(4, 2)\n"
        " def forward(self, x): return self.c((self.a(x) + self.b(x)).mean((2, 3)))\n"
    )
    config = StudentConfig(f"file:{tmp_path}/net.py:Twice", 32, red=None)
    torch.save(build_network(config.teacher).state_dict(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match="hands its image to more than its first convolution"):
        import_teacher(config, Weights(tmp_path / "w.pth", MEAN, STD, NAMES[:2]), tmp_path / "teacher")
    import_teacher(config, Weights(tmp_path / "w.pth", class_names=NAMES[:2]), tmp_path / "teacher")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cat\n dog \näpfel\n", NAMES),
        ("\ufeffcat\r\ndog\r\näpfel", NAMES),
        (json.dumps(NAMES), NAMES),
        (json.dumps({"0": "cat", "2": "äpfel", "1": "dog"}), NAMES),
    ],
)
def test_names_of_classes_are_read(text, names, tmp_path):
    (tmp_path / "classes.txt").write_bytes(text.encode())
    assert read_class_names(tmp_path / "classes.txt") == names


@pytest.mark.parametrize("text", [b"", b"\n\n", b"cat\ncat", b"cat\n\ndog", b"[1, 2]", b"[", b'{"a": 1}', b"\xff\xfe"])
def test_what_holds_no_names_is_one_sentence(text, tmp_path):
    (tmp_path / "classes.txt").write_bytes(text)
    with pytest.raises(ValueError, match=r"^[^\n]*classes.txt[^\n]*$"):
        read_class_names(tmp_path / "classes.txt")
    with pytest.raises(ValueError, match=r"absent.txt cannot be read"):
        read_class_names(tmp_path / "absent.txt")

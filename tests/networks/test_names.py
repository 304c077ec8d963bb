"""One name for any network: what it stands for, what it is built as, and what is said of a name that is none."""

from __future__ import annotations

import dataclasses
import json

import pytest
import timm
import torch
import torchvision.models
from torch import nn

from redistill.checkpoint.teacher import load_teacher
from redistill.common.modules import weightless
from redistill.memory.comparison import compare
from redistill.networks.pooling_points import find_pooling_points
from redistill.networks.stem import set_input_channels
from redistill.networks.student import StudentConfig, build_student
from redistill.networks.torchvision_zoo import torchvision_names
from redistill.networks.zoo import NETWORKS, build_network, find_network, network_names, usual_size
from redistill.training.config import DistillConfig

NETWORK = """
from torch import nn
from beside import WIDTH

def tiny(num_classes=7, in_channels=3):
    return nn.Sequential(
        nn.Conv2d(in_channels, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH), nn.ReLU(), nn.MaxPool2d(2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, num_classes),
    )

def text():
    return "no module"

def broken():
    raise RuntimeError("no such layer\\nand more")
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "beside.py").write_text("WIDTH = 8")
    (tmp_path / "net.py").write_text(NETWORK)
    return tmp_path / "net.py"


@pytest.fixture
def program(tmp_path):
    """A program of torch.export, and the network that it was made of."""
    torch.manual_seed(0)
    model = torchvision.models.resnet18(num_classes=5).eval()
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(model, (torch.zeros(1, 3, 64, 48),)), path)
    return path, model


@pytest.mark.parametrize(
    ("name", "called", "size", "task"),
    [
        ("resnet18", "resnet18", 224, "classification"),
        ("torchvision:resnet18", "resnet18", 224, "classification"),
        ("torchvision:inception_v3", "torchvision:inception_v3", 299, "classification"),
        ("torchvision:fcn_resnet50", "torchvision:fcn_resnet50", 520, "segmentation"),
        ("torchvision:ssd300_vgg16", "torchvision:ssd300_vgg16", 300, "features"),
        ("timm:mobilenetv4_conv_small", "timm:mobilenetv4_conv_small", 224, "classification"),
        ("timm:tf_efficientnet_b3.ns_jft_in1k", "timm:tf_efficientnet_b3.ns_jft_in1k", 300, "classification"),
        ("hf-hub:timm/resnet18.a1_in1k", "timm:resnet18.a1_in1k", 224, "classification"),
    ],
)
def test_a_name_stands_for_one_network_at_its_own_size(name, called, size, task):
    found = find_network(name)
    assert (found.name, usual_size(found), found.task) == (called, size, task)
    student = StudentConfig(name)
    assert (student.teacher, student.image_size) == (called, size)
    assert StudentConfig.from_dict(json.loads(json.dumps(student.to_dict()))) == student


@pytest.mark.parametrize("classes", [-3, 2.5, True, "x"])
def test_classes_that_a_config_from_elsewhere_tells_are_a_number_of_them(classes):
    network = dataclasses.replace(find_network("timm:resnet18"), num_classes=classes)
    with pytest.raises(ValueError, match="num_classes is"):
        build_network(network)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("convnext_tiny", "near it are torchvision:convnext_tiny, timm:convnext_tiny"),
        ("mobilenetv4", "near it are timm:mobilenetv4_"),
        ("resnet19", "near it are resnet18"),
        ("timm:resnet18.of_nobody", "No network 'timm:resnet18.of_nobody'"),
        ("torchvision:raft_small", "No network"),
        ("hf-hub:someone/resnet18", "expected one of timm's own"),
        ("file:net.py", "names no function; expected file:PATH.py:FUNCTION"),
        ("file:net.txt:make", "names no function"),
        ("file::make", "names no function"),
        (7, "A network is called '7'"),
        (None, "A network is called 'None'"),
    ],
)
def test_another_name_is_refused_in_one_sentence(name, words):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        find_network(name)
    assert words in str(error.value)


def test_without_a_network_a_repository_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"hf-hub:timm/of_nobody is not in .* and the Hub cannot be reached"):
        find_network("hf-hub:timm/of_nobody")
    with pytest.raises(ValueError, match=r"hf-hub:timm/resnet10t.c3_in1k is not in .* and the Hub cannot be reached"):
        load_teacher("timm:resnet10t", pretrained=True)


@pytest.mark.parametrize("name", torchvision_names())
def test_all_of_torchvision_are_built_without_weights(name):
    """RegNets compute with tensors meanwhile; vision transformers are built for one size."""
    entry = find_network(f"torchvision:{name}")
    with weightless():
        model = build_network(entry, 7 if entry.num_classes else None, in_channels=4)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert next(module for module in model.modules() if isinstance(module, nn.Conv2d)).in_channels == 4


def test_all_that_can_be_searched_are_found():
    names = network_names()
    assert len(names) == len(set(names)) > 1400 and names[: len(NETWORKS)] == tuple(NETWORKS)
    for name in names[::60]:
        assert find_network(name).name == name


@pytest.mark.parametrize("name", ["narrow_resnet", "resnet18", "torchvision:vit_b_16", "timm:vit_tiny_patch16_224"])
@pytest.mark.parametrize("channels", [1, 16])
def test_images_may_have_other_channels_and_another_size(name, channels):
    entry = find_network(name)
    size = (96, 96) if name.startswith("torchvision") else (64, 96)
    with weightless():
        model = build_network(entry, 5, in_channels=channels, image_size=size).eval()
        assert model(torch.zeros(2, channels, *size)).shape == (2, 5)
    found = compare(StudentConfig(name, size, red=None, in_channels=channels), batch=2, dtype="fp16")
    assert found.teacher.input_bytes == 2 * channels * size[0] * size[1] * 2


@pytest.mark.parametrize("channels", [0, 17, 2.0, True, "3"])
def test_other_numbers_of_channels_are_refused(channels):
    with pytest.raises(ValueError, match="in_channels is"):
        StudentConfig("resnet18", 64, in_channels=channels)
    with pytest.raises(ValueError, match="in_channels is"):
        build_network("resnet18", in_channels=channels)


def test_a_size_that_a_network_cannot_have_is_one_sentence():
    for name, size in (("torchvision:vit_b_16", (96, 112)), ("torchvision:vit_b_16", 100)):
        with pytest.raises(ValueError, match=r"^[^\n]*vit_b_16[^\n]*$"):
            compare(StudentConfig(name, size, red=None))


def test_equal_sides_are_one_number_and_pairs_survive_json():
    assert StudentConfig("resnet18", (64, 64)) == StudentConfig("resnet18", 64)
    pair = StudentConfig("resnet18", [48, 64], in_channels=2)
    assert pair.image_size == (48, 64) and not pair.is_square
    told = json.loads(json.dumps(pair.to_dict()))
    assert told["image_size"] == [48, 64] and StudentConfig.from_dict(told) == pair
    assert "in_channels" not in StudentConfig("resnet18", 64).to_dict()


def test_runs_have_square_rgb_pictures_of_a_network_that_can_be_trained():
    usual = {"dataset": "emoji-clutter"}
    for student, words in (
        (StudentConfig("narrow_resnet", (48, 64), 50), "image_size is"),
        (StudentConfig("narrow_resnet", 64, 50, in_channels=1), "in_channels is 1; expected 3"),
        (StudentConfig("torchvision:fcn_resnet50", 64, 50), "is a network for segmentation"),
    ):
        with pytest.raises(ValueError, match=words):
            DistillConfig(student, **usual)


def test_a_function_in_a_file_is_a_network_by_name(file):
    name = f"file:{file}:tiny"
    assert find_network(name) == find_network(name) and StudentConfig(name, 32).classes is None
    config = StudentConfig(name, 32, 5, strides={"0": 2, "3": 1}, red=None, in_channels=2)
    model = build_student(config)
    assert model(torch.zeros(1, 2, 32, 32)).shape == (1, 5)
    assert compare(config).student.peak_bytes < compare(dataclasses.replace(config, strides={})).student.peak_bytes


def test_a_file_is_read_anew_when_it_changes(file):
    name = f"file:{file}:tiny"
    assert len(build_network(name)[0].weight) == 8
    file.write_text(file.read_text().replace("WIDTH,", "2 * WIDTH,").replace("WIDTH)", "2 * WIDTH)"))
    assert len(build_network(name)[0].weight) == 16


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("text", "returns str; expected a torch.nn.Module"),
        ("broken", "fails: RuntimeError: no such layer"),
        ("absent", "has no function 'absent'"),
        ("nn", "fails: "),
    ],
)
def test_what_a_file_does_wrong_is_one_sentence(file, function, words):
    with pytest.raises(ValueError, match=r"^file:[^\n]*$") as error:
        build_network(f"file:{file}:{function}")
    assert words in str(error.value)


@pytest.mark.parametrize("content", [None, "import sys; sys.exit(3)", "x = (", "import nobody_has_this", "\0"])
def test_a_file_that_cannot_be_run_is_one_sentence(tmp_path, content):
    file = tmp_path / "net.py"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match=r"^file:[^\n]*net.py:tiny fails: [^\n]+$"):
        build_network(f"file:{file}:tiny")


def test_an_exported_program_is_a_network_with_its_points(program):
    path, model = program
    config = StudentConfig(str(path))
    assert config.image_size == (64, 48)
    images = torch.rand(1, 3, 64, 48)
    loaded = load_teacher(path)
    with torch.no_grad():
        assert torch.equal(loaded(images), model(images))
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert find_pooling_points(loaded, (64, 48)) == find_pooling_points(model, (64, 48))
    student = dataclasses.replace(config, strides={"conv1": 4, "maxpool": 1}, red=None)
    known = dataclasses.replace(student, teacher="resnet18", num_classes=5)
    assert compare(student).student.peak_bytes == compare(known).student.peak_bytes
    assert not torch.equal(build_network(str(path)).conv1.weight, model.conv1.weight)  # fresh


def test_what_is_no_program_is_one_sentence(tmp_path):
    (tmp_path / "net.pt2").write_text("no program")
    for path in (tmp_path / "net.pt2", tmp_path / "absent.pt2"):
        with pytest.raises(ValueError, match=rf"^[^\n]*{path}[^\n]*$"):
            build_network(str(path))


@pytest.mark.parametrize("name", ["torchvision:fcn_resnet50", "timm:mixer_s32_224", "timm:ghostnet_050"])
def test_any_network_is_counted_also_one_that_no_student_can_be_built_from(name):
    found = compare(StudentConfig(name, red=None))
    assert found.teacher.peak_bytes == found.student.peak_bytes > 0
    if found.refusal:
        with pytest.raises(ValueError, match=r"^[^\n]*$"):
            compare(StudentConfig(name, strides={"conv": 4}))


@pytest.mark.parametrize(
    "name, channels", [("csatv2", 3), ("tresnet_m", 3), ("tresnet_m", 4), ("cs3darknet_focus_s", 1)]
)
def test_a_first_convolution_behind_a_rearrangement_of_the_image_stays(name, channels):
    """It has more channels than the image."""
    with weightless():
        built = build_network(find_network(f"timm:{name}"), in_channels=channels)
        own = timm.create_model(name, in_chans=channels)
    first, wanted = (next(m for m in model.modules() if isinstance(m, nn.Conv2d)) for model in (built, own))
    assert (first.in_channels, first.weight.shape) == (wanted.in_channels, wanted.weight.shape)


def test_a_rearrangement_in_a_network_of_ones_own_stays_too():
    own = nn.Sequential(nn.PixelUnshuffle(4), nn.Conv2d(48, 8, 3))
    assert set_input_channels(own, 3)[1].in_channels == 48
    assert set_input_channels(nn.Sequential(nn.Conv2d(1, 8, 3)), 3)[0].in_channels == 3

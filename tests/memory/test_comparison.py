"""One way to a pair's peaks: what `compare` says is what the built networks need, on a tape or captured anew."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from helpers import pyramids

from redistill import compare
from redistill.common.modules import weightless
from redistill.memory import capture, capture_images, comparison, measure_peak
from redistill.memory.comparison import network_tape
from redistill.memory.usual_strides import early_strides, own_strides
from redistill.networks.alignment import RULES, align
from redistill.networks.pooling_points import MAIN, check_image_size, find_pooling_points
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig, build_reference, build_student

STUDENTS = {
    "on the tape": StudentConfig("narrow_resnet", 64, strides={"conv1": 4, "maxpool": 1, "layer4.0": 1}),
    "other size and classes": StudentConfig("resnet18", 96, num_classes=7, strides={"conv1": 4, "maxpool": 1}),
    "captured anew": StudentConfig("mobilenet_v2", 64, strides={"features.0.0": 4, "features.2.conv.1.0": 1}),
    "a U-Net": StudentConfig("unet_small", 32, strides={"conv_in": 2}),
    "another network": StudentConfig("resnet18", 64, 50, architecture="mobilenet_v2"),
    "a teacher of other strides": StudentConfig(
        "narrow_resnet", 64, strides={"conv1": 8, "maxpool": 1}, teacher_strides={"maxpool": 1, "layer2.0": 4}
    ),
    "stage by stage": StudentConfig("resnet18", 64, strides={"conv1": 4, "maxpool": 1}, alignment="stage-wise"),
    "without blocks": StudentConfig("resnet18", 64, strides={"conv1": 4}, red=None),
    "a wide stem": StudentConfig("resnet18", 64, strides={"conv1": 8, "maxpool": 1, "layer4.0": 1}, stem="wide"),
    "few blocks": StudentConfig("resnet50", 64, strides={"conv1": 4, "maxpool": 1}, red=REDConfig(points="outputs")),
}


@pytest.mark.parametrize("name", STUDENTS)
@pytest.mark.parametrize("counted", [{}, {"accounting": "eager"}, {"fuse_add": True}], ids=str)
def test_all_figures_are_those_of_the_built_networks(name, counted):
    config = STUDENTS[name]
    found = compare(config, **counted)
    with weightless():
        networks = {
            "teacher": build_reference(config),
            "student": build_student(config),
            "bare": build_student(dataclasses.replace(config, red=None)),
        }
    for which, network in networks.items():
        fresh, told = capture_images(network, config.image_size).profile(**counted), getattr(found, which)
        assert (told.peak_bytes, told.peak_layer, told.weight_bytes, told.macs, told.red_peak_bytes) == (
            fresh.peak_bytes, fresh.peak_layer, fresh.weight_bytes, fresh.macs, fresh.red_peak_bytes,
        ), which  # fmt: skip
    assert list(found.points) == find_pooling_points(networks["bare"], config.image_size)
    assert list(found.teacher_points) == find_pooling_points(networks["teacher"], config.image_size)
    assert list(found.pairs) == align(networks["bare"], networks["teacher"], config.image_size, config.alignment)
    assert (found.config, found.dtype, found.fuse_add) == (config, "fp32", bool(counted.get("fuse_add")))


@pytest.mark.parametrize("alignment", RULES)
@pytest.mark.parametrize("size", [64, (33, 65), (40, 97)])
@pytest.mark.parametrize("strides", [{}, {"c1": 4}, {"c1": 1, "c2": 4}, {"c2": 4, "c3": 4}], ids=str)
@pytest.mark.parametrize("name", ["Pyramid", "Gated"])
def test_maps_that_come_back_to_a_larger_one_are_on_the_way_whatever_the_rounding(name, strides, size, alignment):
    """The built student has the blocks that are counted, and their peak."""
    network = f"file:{pyramids.__file__}:{name}"
    strides = {point: stride for point, stride in strides.items() if hasattr(getattr(pyramids, name)(), point)}
    config = StudentConfig(network, size, strides=strides, alignment=alignment)
    found, student = compare(config, accounting="eager"), build_student(config)
    assert found.student.peak_bytes == measure_peak(student, torch.zeros(1, 3, *check_image_size(size)))
    assert found.student.weight_bytes == sum(tensor.nbytes for tensor in student.state_dict().values())
    points = find_pooling_points(build_student(dataclasses.replace(config, red=None)), size)
    assert [(p.reduction, p.role, p.path) for p in found.points] == [(p.reduction, p.role, p.path) for p in points]
    assert all(point.role == MAIN for point in points)


def test_what_does_not_fit_is_refused_with_the_value():
    with pytest.raises(ValueError, match="No pooling point 'conv9'"):
        compare(StudentConfig("resnet18", 64, strides={"conv9": 2}))
    with pytest.raises(ValueError, match="No pooling point 'conv9'"):
        compare(StudentConfig("resnet18", 64, teacher_strides={"conv9": 2}))
    with pytest.raises(ValueError, match="reduce the image 256 times"):
        compare(StudentConfig("resnet18", 64, strides={"conv1": 16}))
    with pytest.raises(ValueError, match="fuse_add is set with accounting 'eager'"):
        compare(StudentConfig("resnet18", 64), "eager", fuse_add=True)


@pytest.mark.parametrize(
    ("accounting", "leaner"),
    [
        ("fused", REDConfig(gate_per="channel")),
        ("onnxruntime", REDConfig(gate=False, residual_squeeze=4)),
        ("executorch", REDConfig(gate=False, residual_squeeze=2)),
    ],
)
def test_red_blocks_that_raise_the_peak_have_a_form_that_does_not(accounting, leaner):
    config = StudentConfig("resnet50", 224, strides=early_strides("resnet50"))
    found = compare(config, accounting)
    assert found.student.peak_bytes > comparison.SPARE * found.bare.peak_bytes
    assert comparison.leaner_red(found) == leaner
    built = compare(dataclasses.replace(config, red=leaner), accounting)
    assert built.student.peak_bytes <= comparison.SPARE * found.bare.peak_bytes
    for others in (built, compare(dataclasses.replace(config, red=None), accounting)):
        assert comparison.leaner_red(others) is None


def test_strides_to_start_from_keep_the_reduction():
    assert early_strides("resnet50") == own_strides("resnet50") | {"conv1": 8, "maxpool": 1, "layer4.0": 1}
    assert own_strides("resnet50") == network_tape("resnet50").strides


def test_what_the_tape_cannot_tell_is_captured_once(monkeypatch):
    """A first click costs what its captures cost: no network is built, tried or recorded twice."""
    config = StudentConfig("torchvision:swin_t", 224, strides={"features.0.0": 8, "features.2": 1})
    network_tape(config.teacher, image_size=config.image_size)
    recorded = []
    monkeypatch.setattr(comparison, "capture", lambda model, size: recorded.append(size) or capture(model, size))
    monkeypatch.setattr(comparison, "build_network", None)  # the tape has it
    found = compare(config, batch=3)
    assert len(recorded) == 1 + (found.student is not found.bare)
    assert compare(config, batch=3) == found and len(recorded) <= 2


def test_of_several_images_a_network_is_captured_once(monkeypatch):
    """Where they lie otherwise than one does: after the first click each other one is answered at once."""
    config = StudentConfig("unet_small", 32, strides={"conv_in": 2}, red=None)
    compare(config, batch=4)
    monkeypatch.setattr(comparison, "capture", None)
    other = dataclasses.replace(config, strides={"conv_in": 4, "down_blocks.0.downsamplers.0": 1})
    found = compare(other, batch=4, accounting="eager").student.peak_bytes
    with weightless():
        assert found == capture(build_student(other), (4, 3, 32, 32)).profile(accounting="eager").peak_bytes

"""The first convolution at a large stride: what it sees of the image, what it starts as, and what it costs."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from redistill import compare
from redistill.checkpoint import folder
from redistill.checkpoint.metadata import Metadata
from redistill.checkpoint.standalone import load as load_alone
from redistill.memory import capture, measure_peak
from redistill.memory.comparison import student_tape
from redistill.memory.search import search_strides
from redistill.networks.pooling_points import find_pooling_points
from redistill.networks.red import REDConfig
from redistill.networks.stem_kinds import AS_BUILT, BLUR, PATCHES, SPACE_TO_DEPTH, STEMS, WIDE, Blurred
from redistill.networks.strides import set_strides
from redistill.networks.student import StudentConfig, build_from, build_reference, build_student

OTHERS = [stem for stem in STEMS if stem != AS_BUILT]
EARLY = {"conv1": 8, "maxpool": 1, "layer3.0": 1, "layer4.0": 1}
NARROW = StudentConfig("narrow_resnet", 64, 10, strides=EARLY, red=None)
STUDENTS = {
    "7x7 at stride 8": NARROW,
    "with RED blocks": dataclasses.replace(NARROW, red=REDConfig()),
    "7x7 at stride 8x4": dataclasses.replace(NARROW, strides={**EARLY, "conv1": (8, 4)}),
    "7x7 at stride 2, to 8": StudentConfig("resnet18", 96, 10, strides={"conv1": 8, "maxpool": 1, "layer4.0": 1}),
    "3x3 at stride 2, to 4": StudentConfig(
        "mobilenet_v2", 64, 10, strides={"features.0.0": 4, "features.2.conv.1.0": 1}, red=None
    ),
    "patches of 4x4 at stride 8": StudentConfig("timm:convnext_atto", 64, 10, strides={"stem.0": 8}, red=None),
    "padded as it runs": StudentConfig("timm:tf_efficientnet_b0", 64, 10, strides={"conv_stem": 4}, red=None),
}


def built(config: StudentConfig, stem: str) -> nn.Module:
    torch.manual_seed(0)
    return build_student(dataclasses.replace(config, stem=stem)).eval()


def first(model: nn.Module) -> nn.Module:
    """The stem, with what shrinks the image before it, on double numbers."""
    path = find_pooling_points(model, 64)[0].name
    return model.get_submodule(path).double()


def seen(stem: nn.Module, side: int) -> torch.Tensor:
    """Which pixels of an image of that side a stem's map depends on."""
    for parameter in stem.parameters():
        nn.init.uniform_(parameter, 0.5, 1)  # no kernel of zeros, and none that cancel
    image = torch.zeros(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    stem(image).sum().backward()
    return (image.grad[0] > 0).all(0)


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("stem", STEMS)
def test_all_but_the_stem_as_built_see_every_pixel(stem, stride):
    config = dataclasses.replace(NARROW, strides={**EARLY, "conv1": stride})
    found = first(built(config, stem))
    assert seen(found, 64).all() == (stem != AS_BUILT)
    if stem in (WIDE, BLUR):  # of sides that the stride does not divide, too
        assert seen(found, 61).all()
    assert found(torch.zeros(1, 3, 64, 64, dtype=torch.float64)).shape[-1] == 64 // stride


def test_kernels_have_the_sides_that_they_are_known_by():
    def kernel(stem: str, name: str) -> tuple:
        found = first(built(STUDENTS[name], stem))
        return (found.layer if isinstance(found, Blurred) else found).kernel_size

    assert [kernel(stem, "7x7 at stride 8") for stem in STEMS] == [(7, 7), (15, 15), (8, 8), (24, 24), (7, 7)]
    assert [kernel(stem, "3x3 at stride 2, to 4") for stem in STEMS] == [(3, 3), (7, 7), (4, 4), (12, 12), (3, 3)]
    assert kernel(WIDE, "7x7 at stride 8x4") == (15, 7)
    assert kernel(WIDE, "patches of 4x4 at stride 8") == kernel(PATCHES, "patches of 4x4 at stride 8") == (8, 8)
    assert first(built(NARROW, BLUR)).blur == first(built(STUDENTS["3x3 at stride 2, to 4"], BLUR)).blur == (2, 2)
    at_four = dataclasses.replace(NARROW, strides={"conv1": 4, "maxpool": 1})
    for stem in (WIDE, BLUR):  # where 7x7 see all
        assert first(built(at_four, stem)).kernel_size == (7, 7)


@pytest.mark.parametrize("stem", OTHERS)
@pytest.mark.parametrize("name", ["7x7 at stride 8", "3x3 at stride 2, to 4", "patches of 4x4 at stride 8"])
def test_a_stem_starts_from_the_teacher_s_kernel(name, stem):
    config = STUDENTS[name]
    torch.manual_seed(0)
    teacher = build_reference(config).eval()
    own = first(teacher).weight
    plain, student = (build_student(dataclasses.replace(config, stem=s), teacher).eval() for s in (AS_BUILT, stem))
    before, after = first(plain), first(student)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    if stem == WIDE and not name.startswith("patches"):  # zeros around it: the same function until it learns
        torch.testing.assert_close(after(images), before(images))
    if stem == BLUR:
        torch.testing.assert_close(after.layer.weight, own)
        return
    place = [(side - part) // 2 for side, part in zip(after.weight.shape[2:], own.shape[2:], strict=True)]
    middle = after.weight[:, :, place[0] : place[0] + own.shape[2], place[1] : place[1] + own.shape[3]]
    torch.testing.assert_close(middle, own)
    assert after.weight.count_nonzero() == own.count_nonzero()


def test_space_to_depth_is_a_convolution_of_rearranged_patches():
    stem = first(built(NARROW, SPACE_TO_DEPTH))
    nn.init.normal_(stem.weight)
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    channels = stem.weight.unflatten(2, (3, 8)).unflatten(4, (3, 8)).permute(0, 1, 3, 5, 2, 4).flatten(1, 3)
    expected = F.conv2d(F.pixel_unshuffle(images, 8), channels, stem.bias, padding=1)
    torch.testing.assert_close(stem(images), expected)


def test_a_blurred_stem_is_an_interpolating_filter_before_the_teacher_s_own():
    stem = first(built(NARROW, BLUR))
    images = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    row = torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64)
    smooth = F.conv2d(images.transpose(0, 1), torch.outer(row, row)[None, None], padding=1, stride=2).transpose(0, 1)
    torch.testing.assert_close(stem(images), F.conv2d(smooth, stem.layer.weight, stem.layer.bias, 4, 3))
    assert stem(torch.ones_like(images)).std(dim=(2, 3)).isfinite().all() and float(stem.filter[0].sum()) == 1


@pytest.mark.parametrize("stem", OTHERS)
@pytest.mark.parametrize("name", STUDENTS)
def test_its_memory_and_macs_are_those_of_the_built_network(name, stem):
    config = dataclasses.replace(STUDENTS[name], stem=stem)
    model = built(config, stem)
    tape = capture(model, (1, 3, *(2 * (config.image_size,))))
    for accounting in ("fused", "eager"):
        found, fresh = compare(config, accounting), tape.profile(accounting=accounting)
        told = found.student
        assert (told.peak_bytes, told.peak_layer) == (fresh.peak_bytes, fresh.peak_layer)
        assert (told.macs, told.weight_bytes) == (fresh.macs, fresh.weight_bytes)
    assert told.peak_bytes == measure_peak(model, torch.randn(1, 3, config.image_size, config.image_size))
    bare = built(dataclasses.replace(config, red=None), stem)
    assert list(found.points) == find_pooling_points(bare, config.image_size)
    plain = compare(dataclasses.replace(config, stem=AS_BUILT))
    assert found.teacher.peak_bytes == compare(plain.config, "eager").teacher.peak_bytes  # which stays as it is
    if stem != BLUR:  # which holds the smaller image beside the image
        assert compare(config).student.peak_bytes == plain.student.peak_bytes


def test_a_search_counts_the_stem_that_is_asked_for():
    config = dataclasses.replace(NARROW, stem=WIDE)
    rows = {tuple(row.strides.values()): row for row in search_strides(student_tape(config), 64, red=None).candidates}
    told = compare(config).student
    row = rows[8, 1, 2, 1, 1]
    assert (row.peak_bytes, row.macs) == (told.peak_bytes, told.macs)
    assert told.macs > compare(dataclasses.replace(config, stem=AS_BUILT)).student.macs


@pytest.mark.parametrize("stem", [WIDE, BLUR])
def test_a_checkpoint_brings_its_stem_with_torch_alone_too(tmp_path, stem):
    config = dataclasses.replace(NARROW, stem=stem)
    model = built(config, stem)
    nn.init.normal_(first(model).float().get_parameter("layer.weight" if stem == BLUR else "weight"))
    saved = folder.save(model, Metadata(config, ""), tmp_path / "student")
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(folder.load(saved)(images), model(images))
    torch.testing.assert_close(load_alone(saved)(images), model(images), rtol=1e-4, atol=1e-5)


def test_strides_set_again_give_the_stem_back():
    model = built(NARROW, WIDE)
    own = built(dataclasses.replace(NARROW, strides={}), WIDE).conv1
    assert model.conv1.kernel_size == (15, 15) and own.kernel_size == (7, 7)
    for stem in (WIDE, BLUR):
        model = built(NARROW, stem)
        set_strides(model, {"conv1": 1, "maxpool": 2, "layer3.0": 2, "layer4.0": 2}, 64)
        assert (model.conv1.kernel_size, model.conv1.padding, model.conv1.stride) == ((7, 7), (3, 3), (1, 1))
        torch.testing.assert_close(model.conv1.weight, own.weight)


def test_a_stem_as_built_is_left_out_of_what_is_written():
    assert "stem" not in NARROW.to_dict()
    config = dataclasses.replace(NARROW, stem=BLUR)
    assert config.to_dict()["stem"] == BLUR and StudentConfig.from_dict(config.to_dict()) == config


def test_what_has_no_such_stem_is_refused():
    with pytest.raises(ValueError, match=r"stem is 'large'; expected one of \['as built', 'wide'"):
        StudentConfig("narrow_resnet", 64, stem="large")
    with pytest.raises(ValueError, match="stem is 'wide'; expected 'as built' of a U-Net"):
        StudentConfig("unet_small", 32, stem=WIDE)
    config = StudentConfig("timm:tresnet_m", 64, stem=WIDE, red=None)  # its stem follows a rearrangement
    for refuses in (compare, build_student):
        with pytest.raises(ValueError, match="cannot be set, so it has no kinds"):
            refuses(config)


def _red_student(stem: str, stride: int) -> StudentConfig:
    strides = {"conv1": stride, "maxpool": 1, "layer4.0": 1}
    return StudentConfig("narrow_resnet", 64, 10, strides, red=REDConfig(), stem=stem)


def _plain(model: nn.Module) -> dict[str, torch.Tensor]:
    """Weights of all but RED blocks, by the names that they have without these."""
    state = model.state_dict()
    return {name.replace(".layer.", "."): value for name, value in state.items() if ".red_" not in name}


@pytest.mark.parametrize("stem", [AS_BUILT, PATCHES, SPACE_TO_DEPTH])
def test_a_student_of_another_starts_from_all_of_its_weights_those_below_red_blocks_too(stem):
    config = _red_student(stem, 4)
    origin = build_student(config)
    model, fresh = build_from(config, origin)
    before, after = _plain(origin), _plain(model)
    assert fresh == [] and all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("stem", "other", "fresh"),
    [(PATCHES, AS_BUILT, ["conv1"]), (SPACE_TO_DEPTH, PATCHES, ["conv1"]), (AS_BUILT, PATCHES, []), (BLUR, WIDE, [])],
)
def test_a_stem_that_cannot_start_from_another_is_named(stem, other, fresh):
    origin = build_student(_red_student(stem, 4))
    model, found = build_from(_red_student(other, 4), origin)
    assert found == fresh
    assert torch.equal(model.layer1[0].conv1.weight, origin.layer1[0].conv1.weight)


def test_without_weights_to_start_from_no_layer_is_named():
    assert build_from(_red_student(PATCHES, 4), None)[1] == []

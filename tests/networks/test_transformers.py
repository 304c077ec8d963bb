"""Vision transformers: their points, other strides, position embeddings, RED blocks and alignment on tokens."""

import itertools
import json
import math

import pytest
import timm
import torch
from helpers.transformers import NETWORKS, pvt, swin, vit
from torch import nn

from redistill.memory import capture, measure_peak
from redistill.networks.alignment import align, feature_pairs, red_sites
from redistill.networks.features import forward_with_features, last_map
from redistill.networks.pooling_points import find_pooling_points
from redistill.networks.red import REDBlock, REDConfig
from redistill.networks.strides import set_strides
from redistill.networks.student import StudentConfig, add_red, build_student, copy_matching
from redistill.networks.windows import Restrided

STUDENTS = {
    "swin": [(4, 2, 2, 1), (4, 1, 2, 2), (1, 2, 2, 4)],
    "timm swin": [(4, 2, 1), (4, 1, 2), (1, 4, 2)],
    "pvt": [(8, 2, 2, 1), (8, 1, 2, 2), (2, 2, 2, 4)],
    "convnext": [(8, 2, 2, 1), (8, 1, 2, 2), (1, 4, 2, 4)],
    "vit": [(16,), (4,), (2,)],
    "torchvision vit": [(16,), (4,), (2,)],
}
CASES = [(name, vector) for name, vectors in STUDENTS.items() for vector in vectors]


def main_points(model):
    return [point for point in find_pooling_points(model, 64) if point.role == "main"]


@pytest.mark.parametrize("name", NETWORKS)
def test_points_of_a_transformer(name):
    build, names, strides = NETWORKS[name]
    points = main_points(build())
    assert tuple(point.name for point in points) == names
    assert tuple(point.stride for point in points) == strides
    assert [point.reduction for point in points] == [math.prod(strides[: i + 1]) for i in range(len(strides))]
    assert all(point.is_settable for point in points)
    assert capture(build(), (1, 3, 64, 64)).points == find_pooling_points(build(), 64)


def test_spatial_reduction_of_attention_multiplies_nothing():
    side = [point for point in find_pooling_points(pvt(), 64) if point.role == "side"]
    assert [point.stride for point in side] == [8, 4, 2]
    assert not any(pair.sides for pair in align(pvt(), pvt(), 64) if ".sr" in pair.student)


@pytest.mark.parametrize(("name", "vector"), CASES)
def test_other_strides_run_and_lead_back(name, vector):
    build, names, own = NETWORKS[name]
    model = build().eval()
    keys = {key: value.shape for key, value in model.state_dict().items()}
    set_strides(model, dict(zip(names, vector, strict=True)), 64)
    points = main_points(model)
    assert tuple(point.stride for point in points) == vector
    totals = [math.prod(vector[: i + 1]) for i in range(len(vector))]
    assert [point.out_size for point in points] == [(64 // total, 64 // total) for total in totals]
    x = torch.randn(2, 3, 64, 64)
    assert model(x).shape == (2, 10 if name == "swin" else 5)
    if name != "torchvision vit":  # its attention takes a path of its own on the CPU
        assert capture(model, (2, 3, 64, 64)).profile(accounting="eager").peak_bytes == measure_peak(model, x)
    set_strides(model, dict(zip(names, own, strict=True)), 64)
    assert {key: value.shape for key, value in model.state_dict().items()} == keys


@pytest.mark.parametrize("name", ["vit", "torchvision vit"])
def test_position_embeddings_are_resized_and_class_tokens_kept(name):
    model = NETWORKS[name][0]()
    table = "pos_embed" if name == "vit" else "encoder.pos_embedding"
    before = model.get_parameter(table)
    with torch.no_grad():
        before[:, 1:] = torch.arange(8.0).repeat_interleave(8)[None, :, None]  # the row of each place
    first = before[:, 0].clone()
    set_strides(model, {NETWORKS[name][1][0]: 16}, 64)
    after = model.get_parameter(table)
    assert after.shape == (1, 17, 24) and after.requires_grad
    assert torch.equal(after[:, 0], first)
    rows = after[0, 1:, 0].view(4, 4)
    assert torch.allclose(rows, rows[:, :1].expand(4, 4), atol=1e-5) and (rows[1:, 0] > rows[:-1, 0]).all()


def test_what_does_not_run_is_refused_and_leaves_the_model():
    model = timm.create_model("levit_128s")
    points = find_pooling_points(model, 224)
    assert [bool(point.reason) for point in points] == [False] * 4 + [True] * 2
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match="cannot run on 224×224"):
        set_strides(model, {points[0].name: 4}, 224)
    assert find_pooling_points(model, 224) == points
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    set_strides(model, {points[0].name: 4, points[1].name: 1}, 224)  # attention has a table for its own map size alone


@pytest.mark.parametrize("name", ["swin", "timm swin"])
def test_red_blocks_and_alignment_on_tokens(name):
    build, names, own = NETWORKS[name]
    teacher = build().eval()
    vector = (2 * own[0], *own[1:-1], 1)
    student = set_strides(build(), dict(zip(names, vector, strict=True)), 64)
    pairs = align(student, teacher, 64)
    assert [(pair.student, pair.teacher) for pair in pairs] == [*itertools.pairwise(names), (names[-1], None)]
    sites = red_sites(pairs, REDConfig())
    assert sites[names[1]]["in"] == (16, 16, 16)
    add_red(student, sites, REDConfig()).eval()
    x = torch.randn(2, 3, 64, 64)
    assert student(x).shape == teacher(x).shape
    assert capture(student, (2, 3, 64, 64)).profile(accounting="eager").peak_bytes == measure_peak(student, x)
    features = feature_pairs(pairs)
    shapes = [
        forward_with_features(model, (x,), [(pair[i], lambda value: tuple(value.shape)) for pair in features])[1]
        for i, model in enumerate((student, teacher))
    ]
    for mine, theirs in zip(*shapes, strict=True):
        assert mine[2:] == theirs[2:] and mine[2] == mine[3]


@pytest.mark.parametrize("shape", [(2, 6, 10, 4), (2, 60, 4), (2, 240, 4)])
def test_a_red_block_on_tokens_is_that_on_their_map(shape):
    block = REDBlock((4, 6, 10)).eval()
    plain = REDBlock(4).eval()
    plain.load_state_dict(block.state_dict())
    x = torch.randn(shape)
    laid = x if len(shape) == 4 else x.unflatten(1, (6, 10) if shape[1] == 60 else (12, 20))
    expected = plain(laid.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).reshape(shape)
    assert torch.allclose(block(x), expected, atol=1e-6)
    with pytest.raises(ValueError, match="61 tokens"):
        block(torch.randn(2, 61, 4))


def test_weights_are_shared_whatever_stride_a_merging_has():
    restrided, plain = set_strides(swin(), {"features.2": 4}, 64), swin()
    assert isinstance(restrided.features[2], Restrided)
    for source, target in ((restrided, plain), (plain, restrided)):
        with torch.no_grad():
            for parameter in source.parameters():
                parameter.normal_()
        assert len(copy_matching(source, target)) == len(target.state_dict())
        assert all(torch.equal(a, b) for a, b in zip(source.parameters(), target.parameters(), strict=True))


def test_a_merging_of_tokens_in_a_row_is_shown_with_its_reason():
    class Merge(nn.Module):
        def __init__(self):
            super().__init__()
            self.reduction = nn.Linear(32, 16)

        def forward(self, x):
            batch, count, channels = x.shape
            side = math.isqrt(count)
            x = x.view(batch, side // 2, 2, side // 2, 2, channels).transpose(2, 3)
            return self.reduction(x.reshape(batch, count // 4, 4 * channels))

    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.merge, self.head = nn.Conv2d(3, 8, 4, 4), Merge(), nn.Linear(16, 3)

        def forward(self, x):
            return self.head(self.merge(self.embed(x).flatten(2).transpose(1, 2)).mean(1))

    point = find_pooling_points(Rows(), 32)[1]
    assert (point.stride, point.in_size, point.out_size, point.layouts) == (2, (8, 8), (4, 4), ("NLC", "NLC"))
    assert "tokens in a row" in point.reason and "merge" in point.name


def test_the_last_map_is_laid_out_or_refused():
    assert last_map(swin(), 64) == ("norm", "out", (4, 4))
    assert last_map(pvt(), 64) == ("stages", "out")
    with pytest.raises(ValueError, match="on no map of 8×8"):
        last_map(vit(), 64)


def test_pairs_of_strides_are_kept_in_a_configuration():
    config = StudentConfig("narrow_swin", 64, strides={"features.0.0": (4, 2), "features.4": [2, 2]}, red=None)
    again = StudentConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config and config.strides == {"features.0.0": (4, 2), "features.4": 2}
    points = find_pooling_points(build_student(config), 64)
    assert (points[0].stride, points[0].reduction) == ((4, 2), (4, 2))
    assert points[-1].out_size == (2, 4)


def test_patches_of_any_stride_divide_the_image():
    for kernel, stride in itertools.product((2, 3, 4, 7), (1, 2, 3, 4, (1, 2), (4, 1))):
        conv = nn.Conv2d(3, 4, kernel, kernel)
        model = nn.Sequential(conv)
        set_strides(model, {"0": stride}, 84)
        down, across = (stride, stride) if isinstance(stride, int) else stride
        assert model(torch.zeros(1, 3, 84, 84)).shape[2:] == (-(-84 // down), -(-84 // across)), (kernel, stride)

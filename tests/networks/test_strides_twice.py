"""Strides set one after the other: the last ones count, as if a network had never had others."""

import copy
import math
import random

import pytest
import timm
import torch
from helpers.transformers import NETWORKS
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet

from redistill.memory import capture
from redistill.networks.pooling_points import find_pooling_points
from redistill.networks.stem_kinds import STEMS, set_stem
from redistill.networks.strides import set_strides
from redistill.networks.zoo import build_network, find_network

SIZE = 64
LISTED = ("narrow_resnet", "mobilenet_v2", "mobilenet_v3_small", "vgg16", "densenet121", "narrow_swin", "unet_small")
SHALLOW = {  # with one block in each stage: what is tested lies before them
    "shallow convnext": lambda: timm.create_model("convnext_atto", depths=(1, 1, 1, 1), num_classes=5),
    "shallow resnet": lambda: ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5),
}
STEMMED = {  # as they are built, at strides that are small and large for them
    "narrow_resnet": (1, 2, 4, 8, (2, 4)),
    "shallow convnext": (2, 4, 8, (4, 8)),
    "shallow resnet": (1, 3, 4, (8, 4)),
}


class Even(nn.Sequential):
    """Kernels that are as wide as a stride that is set, and pools of even windows."""

    def __init__(self):
        pools = nn.MaxPool2d(2), nn.AvgPool2d(2, ceil_mode=True), nn.MaxPool2d((2, 4), (2, 2), (0, 1))
        super().__init__(nn.Conv2d(3, 4, 4), *(nn.Sequential(pool, nn.Conv2d(4, 4, 3, padding=1)) for pool in pools))


def built(name):
    torch.manual_seed(0)
    if name == "even":
        return Even().eval()
    if name in NETWORKS:
        return NETWORKS[name][0]().eval()
    if name in SHALLOW:
        return SHALLOW[name]().eval()
    model = build_network(find_network(name), num_classes=5)
    if name == "vgg16":  # nine tenths of whose weights are in these layers, which have no strides
        model.classifier[0], model.classifier[3] = nn.Linear(512 * 7 * 7, 8), nn.Linear(8, 8)
        model.classifier[6] = nn.Linear(8, 5)
    return model.eval()


def vectors(model, count, seed, choices=(1, 2, 3, 4, 8)):
    """Strides at which the network runs, drawn at random."""
    points, found, draw = [p for p in find_pooling_points(model, SIZE) if p.is_offered], [], random.Random(seed)
    for _ in range(60):
        strides = {point.name: draw.choice((point.stride, *choices)) for point in points}
        if math.prod(strides.values()) > 32 or strides in found:
            continue
        try:
            set_strides(copy.deepcopy(model), strides, SIZE)
        except ValueError:  # at which it does not run
            continue
        found.append(strides)
        if len(found) == count:
            break
    return {point.name: point.stride for point in points}, found


def same(model, fresh, words=""):
    """Whether two networks are one: weights, outputs, points and memory."""
    x = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    ours, theirs = model.state_dict(), fresh.state_dict()
    assert list(ours) == list(theirs), words
    assert [key for key in ours if not torch.equal(ours[key], theirs[key])] == [], words
    one, other = (network(x, 5) if "UNet" in type(network).__name__ else network(x) for network in (model, fresh))
    one, other = (given if isinstance(given, torch.Tensor) else given.sample for given in (one, other))
    assert torch.equal(one, other), words
    assert find_pooling_points(model, SIZE) == find_pooling_points(fresh, SIZE), words
    tapes = [capture(network, (1, 3, SIZE, SIZE)) for network in (model, fresh)]
    for accounting in ("fused", "eager"):
        ours, theirs = (tape.profile(accounting=accounting) for tape in tapes)
        assert (ours.timeline, ours.weight_bytes) == (theirs.timeline, theirs.weight_bytes), words


@torch.no_grad()
@pytest.mark.parametrize("name", [*LISTED, *NETWORKS, "even"])
def test_the_last_strides_count_and_the_own_ones_lead_back(name):
    fresh = built(name)
    model = copy.deepcopy(fresh)
    own, found = vectors(fresh, 2, name)
    assert len(found) > 1
    for strides in found:
        set_strides(model, strides, SIZE)
        same(model, set_strides(copy.deepcopy(fresh), strides, SIZE), strides)
    set_strides(model, own, SIZE)
    same(model, fresh, "back")


@torch.no_grad()
@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("name", STEMMED)
def test_a_stem_of_every_kind_goes_by_what_was_built(name, stem):
    fresh = built(name)
    path = set_stem(fresh, stem)
    point = find_pooling_points(fresh, SIZE)[0].name
    assert path == point
    others = {p.name: 1 for p in find_pooling_points(fresh, SIZE)[1:]} if "resnet" in name else {}
    model, draw = copy.deepcopy(set_strides(fresh, others, SIZE)), random.Random(f"{name} {stem}")
    for stride in draw.sample(STEMMED[name], len(STEMMED[name])):
        set_strides(model, {point: stride}, SIZE)
        same(model, set_strides(copy.deepcopy(fresh), {point: stride}, SIZE), stride)
    set_strides(model, {p.name: p.stride for p in find_pooling_points(built(name), SIZE)}, SIZE)
    same(model, built(name), "back")


@torch.no_grad()
@pytest.mark.filterwarnings("ignore::UserWarning:timm")  # as it resizes a table
def test_windows_that_shrank_on_a_small_map_grow_back():
    model = timm.create_model("swin_tiny_patch4_window7_224", img_size=56, depths=(1, 1), embed_dim=8, num_heads=(1, 2))
    fresh = copy.deepcopy(model.eval())
    set_strides(model, {"patch_embed.proj": 8}, 56)
    assert model.layers[1].blocks[0].window_size == (4, 4)
    set_strides(model, {"patch_embed.proj": 4}, 56)
    assert model.layers[1].blocks[0].window_size == (7, 7)
    assert torch.equal(model(torch.ones(1, 3, 56, 56)), fresh(torch.ones(1, 3, 56, 56)))


@torch.no_grad()
def test_weights_that_were_learnt_since_stand_for_themselves():
    model = NETWORKS["vit"][0]().eval()
    set_strides(model, {"patch_embed.proj": 16}, SIZE)
    model.pos_embed.fill_(2.0)
    set_strides(model, {"patch_embed.proj": 8}, SIZE)
    assert torch.allclose(model.pos_embed, torch.tensor(2.0))
    stem = build_network(find_network("narrow_resnet"))
    set_stem(stem, "patches")
    set_strides(stem, {"conv1": 4, "maxpool": 1}, SIZE)
    stem.conv1.weight.fill_(1.0)
    set_strides(stem, {"conv1": 8}, SIZE)
    assert stem.conv1.weight.mean() == 16 / 64

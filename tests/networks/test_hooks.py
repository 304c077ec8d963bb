"""Features of one forward pass: the right maps, taken in time, and nothing left behind."""

import pytest
import torch
from torch import nn

from redistill.networks.features import FeatureInfo, forward_with_features, inspect_features, last_features
from redistill.networks.red import REDConfig, insert_red
from redistill.networks.zoo import NarrowResNet, build_network


def test_features_are_those_around_the_red_blocks():
    torch.manual_seed(0)
    model = insert_red(NarrowResNet(5), {"layer2.0": {"in": 16, "out": 32}}, REDConfig()).eval()
    seen = {}
    model.layer2[0].red_in.register_forward_hook(lambda m, args, out: seen.update(into=out))
    model.layer2[0].red_out.register_forward_hook(lambda m, args, out: seen.update(out=out))
    x = torch.randn(2, 3, 32, 32)
    wanted = [(feature, lambda t: t) for feature in (("layer2.0", "in"), ("layer2.0", "out"), ("layer3.0", "in"))]
    wanted.append((("layer2.0", "out"), torch.sum))
    output, (into, out, following, total) = forward_with_features(model, (x,), wanted)
    assert torch.equal(output, model(x))
    assert into is not seen["into"]  # the hook above has seen the second pass by now
    assert torch.equal(into, seen["into"])
    assert torch.equal(out, seen["out"]) and torch.equal(total, seen["out"].sum())
    assert torch.equal(following, seen["out"])


def test_transform_runs_before_in_place_operations():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True))
    x = torch.randn(1, 3, 8, 8)
    _, (mean,) = forward_with_features(model, (x,), [(("0", "out"), lambda t: t.mean(1))])
    assert torch.equal(mean, model[0](x).mean(1)) and mean.min() < 0


def test_pass_ends_at_the_last_feature():
    model = build_network("narrow_resnet", 5)
    ran = []
    model.layer3.register_forward_hook(lambda *_: ran.append("layer3"))
    model.fc.register_forward_hook(lambda *_: ran.append("fc"))
    wanted = [(("layer3.0", "in"), torch.clone), (("layer2.0", "out"), torch.clone), (("layer1.0", "out"), len)]
    output, features = forward_with_features(model, (torch.randn(2, 3, 32, 32),), wanted, stop_after_last=True)
    assert output is None and ran == []
    assert torch.equal(features[0], features[1]) and features[2] == 2
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    assert sum(hooks) == 2  # the two of this test


def test_wrong_layers_are_refused():
    model = build_network("narrow_resnet", 5)
    with pytest.raises(ValueError, match="No layer 'layer9'"):
        forward_with_features(model, (torch.randn(1, 3, 32, 32),), [(("layer9", "out"), torch.clone)])
    model.unused = nn.Conv2d(3, 3, 1)
    with pytest.raises(ValueError, match="never reached 'unused'"):
        forward_with_features(model, (torch.randn(1, 3, 32, 32),), [(("unused", "out"), torch.clone)])


def test_maps_that_a_network_overwrites_are_told():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 5, 3), nn.ReLU()).train()
    features = [("0", "in"), ("0", "out"), ("2", "in"), ("2", "out")]
    told = inspect_features(model, (torch.zeros(2, 3, 8, 8),), features)
    assert told == [FeatureInfo(3, False), FeatureInfo(4, True), FeatureInfo(4, False), FeatureInfo(5, False)]
    assert model.training


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("narrow_resnet", "layer4"),
        ("resnet18", "layer4"),
        ("mobilenet_v2", "features"),
        ("mobilenet_v3_small", "features"),
        ("efficientnet_b0", "features"),
        ("vgg16", "features"),
        ("densenet121", "features"),
        ("unet_small", "mid_block"),
    ],
)
def test_last_features_come_before_the_output(name, layer):
    with torch.device("meta"):
        assert last_features(build_network(name)) == (layer, "out")


def test_a_network_without_convolutions_has_no_last_features():
    with pytest.raises(ValueError, match="no convolution"):
        last_features(nn.Sequential(nn.Linear(3, 3)))

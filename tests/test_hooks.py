"""Features of one forward pass: the right maps, taken in time, and nothing left behind."""

import pytest
import torch
from torch import nn

from redistill.hooks import forward_with_features
from redistill.red import REDConfig, insert_red
from redistill.teachers import NarrowResNet, build_teacher


def test_features_are_those_around_the_red_blocks():
    torch.manual_seed(0)
    model = insert_red(NarrowResNet(5), {"layer2.0": {"in": 16, "out": 32}}, REDConfig()).eval()
    seen = {}
    model.layer2[0].red_in.register_forward_hook(lambda m, args, out: seen.update(into=out))
    model.layer2[0].red_out.register_forward_hook(lambda m, args, out: seen.update(out=out))
    x = torch.randn(2, 3, 32, 32)
    output, features = forward_with_features(
        model, (x,), [("layer2.0", "in"), ("layer2.0", "out"), ("layer3.0", "in")], lambda t: t
    )
    assert torch.equal(output, model(x))
    assert features["layer2.0", "in"] is not seen["into"]  # the hook above has seen the second pass by now
    assert torch.equal(features["layer2.0", "in"], seen["into"])
    assert torch.equal(features["layer2.0", "out"], seen["out"])
    assert torch.equal(features["layer3.0", "in"], seen["out"])


def test_transform_runs_before_in_place_operations():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True))
    x = torch.randn(1, 3, 8, 8)
    _, features = forward_with_features(model, (x,), [("0", "out")], lambda t: t.mean(1))
    assert torch.equal(features["0", "out"], model[0](x).mean(1)) and features["0", "out"].min() < 0


def test_pass_ends_at_the_last_feature():
    model = build_teacher("narrow_resnet", 5)
    ran = []
    model.layer3.register_forward_hook(lambda *_: ran.append("layer3"))
    model.fc.register_forward_hook(lambda *_: ran.append("fc"))
    wanted = [("layer3.0", "in"), ("layer2.0", "out")]
    output, features = forward_with_features(model, (torch.randn(2, 3, 32, 32),), wanted, torch.clone, True)
    assert output is None and ran == [] and list(features) == [("layer2.0", "out"), ("layer3.0", "in")]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    assert sum(hooks) == 2  # the two of this test


def test_wrong_layers_are_refused():
    model = build_teacher("narrow_resnet", 5)
    with pytest.raises(ValueError, match="No layer 'layer9'"):
        forward_with_features(model, (torch.randn(1, 3, 32, 32),), [("layer9", "out")], torch.clone)
    model.unused = nn.Conv2d(3, 3, 1)
    with pytest.raises(ValueError, match="never reached 'unused'"):
        forward_with_features(model, (torch.randn(1, 3, 32, 32),), [("unused", "out")], torch.clone)

"""timm's batch norms, which carry an activation, are folded too."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn

from redistill.networks.features import forward_with_features
from redistill.training.folding import fold_batch_norms


@pytest.mark.parametrize("name", ["efficientnet_lite0", "mobilenetv3_small_050", "resnet18"])
def test_norms_with_an_activation_are_folded_and_all_stays(name):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=5).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    folded = fold_batch_norms(model)
    images = torch.randn(2, 3, 64, 64)
    watched = [((path, "out"), torch.clone) for path, module in model.named_modules() if path.endswith("act1")][:3]
    with torch.no_grad():
        expected, maps = forward_with_features(model, (images,), watched)
        found, same = forward_with_features(folded, (images,), watched)
    for mine, theirs in zip((found, *same), (expected, *maps), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5 * theirs.abs().max())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert {path for path, _ in model.named_modules()} <= {path for path, _ in folded.named_modules()}

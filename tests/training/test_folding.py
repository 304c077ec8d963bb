"""Batch norms folded into convolutions: the same maps, fewer passes."""

import pytest
import torch
from torch import nn

from redistill.checkpoint import folder as checkpoint
from redistill.checkpoint.teacher import load_teacher
from redistill.networks.features import forward_with_features
from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig
from redistill.training.config import DistillConfig
from redistill.training.folding import fold_batch_norms
from redistill.training.presets import CLUTTER_STRIDES, CLUTTER_TEACHER, FROM_TEACHER
from redistill.training.step import prepare


def norms(model):
    return [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet50", "resnext50_32x4d", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0"]
)
def test_every_norm_of_a_classifier_is_folded_and_the_outputs_stay(name):
    torch.manual_seed(0)
    model = load_teacher(name, 10).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    folded = fold_batch_norms(model)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = model(images)
        assert torch.allclose(folded(images), expected, atol=1e-5 * expected.abs().max())
    assert norms(model) and not norms(folded)
    assert [path for path, _ in folded.named_modules()] == [path for path, _ in model.named_modules()]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_between_a_watched_layer_and_its_norm_nothing_is_folded():
    teacher = checkpoint.load(CLUTTER_TEACHER)
    watched = {"conv1", "layer2.0.bn1", "layer3"}
    folded = fold_batch_norms(teacher, watched)
    assert norms(folded) == ["bn1", "layer2.0.bn1"]
    images = torch.randn(2, 3, 64, 64)
    sides = [("conv1", "out"), ("layer2.0.bn1", "in"), ("layer3", "in"), ("layer3", "out")]
    wanted = [(feature, torch.clone) for feature in sides]
    with torch.no_grad():
        expected, found = (forward_with_features(model.eval(), (images,), wanted)[1] for model in (teacher, folded))
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-4)


class Odd(nn.Module):
    """Norms that must stay: of a map that is read twice, of a convolution that runs twice, without statistics."""

    def __init__(self, branching):
        super().__init__()
        self.shared, self.twice, self.plain = (nn.Conv2d(3, 3, 1) for _ in range(3))
        self.norm, self.first, self.second = (nn.BatchNorm2d(3) for _ in range(3))
        self.untracked = nn.BatchNorm2d(3, track_running_stats=False)
        self.branching = branching

    def forward(self, images):
        shared = self.shared(images)
        out = self.norm(shared) + shared
        out = self.second(self.twice(self.first(self.twice(out))))
        out = self.untracked(self.plain(out))
        return -out if self.branching and out.sum() > 0 else out


@pytest.mark.parametrize("branching", [False, True])
def test_what_cannot_be_folded_stays(branching):
    torch.manual_seed(0)
    model = Odd(branching).eval()
    model.norm.running_mean.fill_(1.0)
    folded = fold_batch_norms(model)
    assert norms(folded) == norms(model)
    images = torch.randn(4, 3, 5, 5)
    assert torch.equal(folded(images), model(images))


def test_a_run_learns_from_a_folded_teacher_whose_compared_maps_are_those_of_the_teacher():
    student = StudentConfig("narrow_resnet", 32, 50, strides=CLUTTER_STRIDES, red=REDConfig())
    problem, _ = prepare(DistillConfig(student, "emoji-clutter", train_limit=16, batch_size=8, **FROM_TEACHER))
    teacher = checkpoint.load(CLUTTER_TEACHER).eval()
    wanted = [want for comparison in problem.objective.comparisons for want in comparison.teacher]
    images = torch.randn(4, 3, 32, 32)
    with torch.no_grad():
        logits, maps = forward_with_features(teacher, (images,), wanted)
        folded_logits, folded_maps = forward_with_features(problem.teacher, (images,), wanted)
    assert wanted and len(norms(problem.teacher)) < len(norms(teacher)) // 2
    assert not any(parameter.requires_grad for parameter in problem.teacher.parameters())
    for found, expected in zip((folded_logits, *folded_maps), (logits, *maps), strict=True):
        assert torch.allclose(found, expected, atol=1e-4)

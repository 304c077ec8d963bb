"""What is compared in one pass of student and teacher: the right maps, as they were, without copies."""

import copy

import pytest
import torch
from torch import nn

from redistill.networks.red import REDConfig
from redistill.networks.student import StudentConfig, build_reference, build_student
from redistill.training.config import DistillConfig
from redistill.training.feature_losses import FEATURE_LOSSES, whole_map
from redistill.training.losses import channel_mean
from redistill.training.objective import build_objective, forward_both

STRIDES = {"conv1": 4, "maxpool": 1, "layer4.0": 1}
IMAGES = torch.zeros(2, 3, 32, 32)


def settings(feature_loss=None, red=None, alignment="asynchronous", **changes):
    student = StudentConfig("narrow_resnet", 32, 50, STRIDES, red=red, alignment=alignment)
    values = {"student": student, "dataset": "emoji-clutter", "teacher_checkpoint": "teacher"}
    return DistillConfig(**(values | {"feature_loss": feature_loss} | changes))


def compared(config):
    """(student's maps, teacher's maps) of each comparison by its name."""
    with torch.no_grad():
        objective = build_objective(config, build_student(config.student), build_reference(config.student), (IMAGES,))
    return {part.name: ([f for f, _ in part.student], [f for f, _ in part.teacher]) for part in objective.comparisons}


@pytest.mark.parametrize("feature_loss", FEATURE_LOSSES)
def test_the_teacher_is_not_changed_and_gets_no_gradients(feature_loss):
    config = settings(feature_loss, red=REDConfig())
    reference = build_reference(config.student).eval()
    state = copy.deepcopy(reference.state_dict())
    model = build_student(config.student).train()
    images = torch.randn(4, 3, 32, 32)
    objective = build_objective(config, model, reference, (images,))
    for with_output in (False, True):
        output, targets, losses = forward_both(model, reference, (images,), objective.comparisons, with_output)
        assert (targets is not None) == with_output and list(losses) == ["red_loss", "feature_loss"]
        (output.sum() + sum(losses.values())).backward()
    assert all(parameter.grad is None for parameter in reference.parameters())
    assert all(torch.equal(value, state[name]) for name, value in reference.state_dict().items())
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_maps_are_compared_as_they_were_before_in_place_operations():
    def network(inplace):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace), nn.Conv2d(4, 6, 3, 2, padding=1), nn.ReLU(inplace)]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 50))

    found = []
    for name, inplace in ((name, inplace) for name in FEATURE_LOSSES for inplace in (False, True)):
        model, reference = network(inplace), network(inplace)
        images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            model[0].weight.mul_(-1)
        objective = build_objective(settings(name, red_weight=0.0), model, reference, (images,))
        _, _, losses = forward_both(model, reference, (images,), objective.comparisons, with_output=True)
        losses["feature_loss"].backward()
        found.append((losses["feature_loss"].item(), model[0].weight.grad))
    for (plain, gradient), (overwritten, same_gradient) in zip(found[::2], found[1::2], strict=True):
        assert plain > 0 and plain == overwritten and torch.equal(gradient, same_gradient) and gradient.any()


def test_each_loss_looks_at_its_layers():
    aligned = [("conv1", "out"), ("layer2.0", "in"), ("layer2.0", "out"), ("layer3.0", "in"), ("layer3.0", "out")]
    theirs = [("layer2.0", "out"), ("layer3.0", "in"), ("layer3.0", "out"), ("layer4.0", "in"), ("layer4.0", "out")]
    last = [("layer4", "out")]
    expected = {"aligned": (aligned, theirs), "middle": ([aligned[2]], [theirs[2]]), "last": (last, last)}
    expected["together"] = expected["aligned"]
    for name, method in FEATURE_LOSSES.items():
        assert compared(settings(name, red_weight=0.0)) == {"feature_loss": expected[method.layers]}
    assert compared(settings("rkd")) == {"red_loss": (aligned, theirs), "feature_loss": (last, last)}
    stages = compared(settings("at", alignment="stage-wise", red=REDConfig(points="outputs"), red_weight=0.0))
    outputs = [(name, "out") for name in ("conv1", "maxpool", "layer2.0", "layer3.0", "layer4.0")]
    assert stages == {"feature_loss": (outputs, outputs)}


def test_without_a_teacher_or_a_loss_nothing_is_compared():
    model = build_student(settings().student)
    assert not build_objective(settings("at"), model, None, (IMAGES,)).comparisons
    assert compared(settings(red_weight=0.0)) == {}


def test_maps_are_copied_only_where_the_network_overwrites_them():
    config = settings("vid")
    objective = build_objective(config, build_student(config.student), build_reference(config.student), (IMAGES,))
    red, feature = objective.comparisons
    assert {keep for _, keep in (*red.student, *red.teacher)} == {channel_mean}
    assert {keep for _, keep in (*feature.student, *feature.teacher)} == {whole_map}
    assert len(objective.adapters) == 5


def test_a_student_that_aligns_with_nothing_is_refused():
    student = StudentConfig("narrow_resnet", 32, 50, {"conv1": 3, "maxpool": 1, "layer2.0": 1, "layer3.0": 1}, red=None)
    config = settings("at", student=student, red_weight=0.0)
    with pytest.raises(ValueError, match="No layer of the student aligns"):
        build_objective(config, build_student(student), build_reference(student), (IMAGES,))

"""The table of feature losses, and what some of them learn along with the student."""

import math

import pytest
import torch

from redistill.training.feature_losses import (
    CRD_TEMPERATURE,
    FEATURE_LOSSES,
    VARIANCE_START,
    ByChannels,
    Contrastive,
    Hint,
    Variational,
    channel_loss,
    crd_loss,
    embedding,
    find_feature_loss,
    hint_loss,
    vid_loss,
)


def test_the_hint_regresses_only_where_channels_differ():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 4, 4)
    assert not list(Hint(4, 4).parameters())
    assert torch.equal(Hint(5, 5)(teacher + 1, teacher), hint_loss(teacher + 1, teacher))
    hint = Hint(3, 5)
    weight, bias = hint.regressor.weight[:, :, 0, 0], hint.regressor.bias
    expected = ((torch.einsum("oc,bchw->bohw", weight, student) + bias.view(1, -1, 1, 1) - teacher) ** 2).mean()
    torch.testing.assert_close(hint(student, teacher), expected)


def test_the_variance_is_learned():
    torch.manual_seed(0)
    student, teacher = torch.randn(8, 3, 4, 4), 0.1 * torch.randn(8, 5, 4, 4)
    module = Variational(3, 5)
    before = module(student, teacher)
    torch.testing.assert_close(before, vid_loss(module.mean(student), torch.full((5,), VARIANCE_START), teacher))
    optimizer = torch.optim.Adam(module.parameters(), 0.1)
    for _ in range(20):
        optimizer.zero_grad()
        module(student, teacher).backward()
        optimizer.step()
    assert module(student, teacher) < before - 0.1
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_channels_are_adapted_only_where_they_differ():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 4, 4)
    assert not list(ByChannels(5, 5).parameters())
    assert ByChannels(5, 5)(teacher + 1, 2 * teacher).item() == pytest.approx(0, abs=1e-6)
    module = ByChannels(3, 5)
    adapted = torch.einsum("oc,bchw->bohw", module.adapter.weight[:, :, 0, 0], student)
    torch.testing.assert_close(module(student, teacher), channel_loss(adapted, teacher))
    with pytest.raises(ValueError, match=r"\(2, 3, 4, 4\) and \(2, 5, 4, 4\)"):
        channel_loss(student, teacher)


def test_contrast_within_the_batch_by_hand():
    # Cosines of the student's pictures (1, 0) and (0, 2) with the teacher's (3, 0) and (1, 1): 1, √½ and 0, √½.
    student, teacher = torch.tensor([[1.0, 0], [0, 2]]), torch.tensor([[3.0, 0], [1, 1]])
    half = math.sqrt(0.5)
    rows = ((1, half, 0), (0, half, 1), (1, 0, 0), (half, half, 1))  # two ways to look, and the right place of each
    losses = [math.log(sum(math.exp(x / 0.5) for x in row[:2])) - row[row[2]] / 0.5 for row in rows]
    assert crd_loss(student, teacher, 0.5).item() == pytest.approx(sum(losses) / 2)
    with pytest.raises(ValueError, match="batch of at least 2"):
        crd_loss(student[:1], teacher[:1])


def test_contrast_learns_both_its_layers_and_leaves_the_teacher():
    torch.manual_seed(0)
    student, teacher = torch.randn(6, 3, requires_grad=True), torch.randn(6, 5, requires_grad=True)
    module = Contrastive(3, 5)
    loss = module(student, teacher)
    torch.testing.assert_close(loss, crd_loss(module.student(student), module.teacher(teacher), CRD_TEMPERATURE))
    loss.backward()
    assert teacher.grad is None and student.grad.any()
    assert all(parameter.grad.any() for name, parameter in module.named_parameters() if "weight" in name)


def test_the_table_names_what_it_has():
    assert list(FEATURE_LOSSES) == ["fitnet", "at", "sp", "rkd", "vid", "pkt", "crd", "review", "channels"]
    with pytest.raises(ValueError, match=r"'cdr'; expected one of \['fitnet'"):
        find_feature_loss("cdr")


@pytest.mark.parametrize("name", [name for name, method in FEATURE_LOSSES.items() if method.layers != "together"])
def test_every_method_compares_maps_of_any_channels(name):
    torch.manual_seed(0)
    method = FEATURE_LOSSES[name]
    student, teacher = torch.randn(4, 3, 5, 5, requires_grad=True), torch.randn(4, 6, 5, 5)
    loss = method.loss(3, 6)(method.keep(student), method.keep(teacher))
    loss.backward()
    assert loss.dim() == 0 and student.grad.abs().sum() > 0
    assert embedding(student).shape == (4, 3)

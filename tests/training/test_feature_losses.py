"""The table of feature losses, and what some of them learn along with the student."""

import pytest
import torch

from redistill.training.feature_losses import (
    FEATURE_LOSSES,
    VARIANCE_START,
    ByChannels,
    Hint,
    Variational,
    channel_loss,
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


def test_the_table_names_what_it_has():
    assert list(FEATURE_LOSSES) == ["fitnet", "at", "sp", "rkd", "vid", "pkt", "channels"]
    with pytest.raises(ValueError, match=r"'crd'; expected one of \['fitnet'"):
        find_feature_loss("crd")


@pytest.mark.parametrize("name", FEATURE_LOSSES)
def test_every_method_compares_maps_of_any_channels(name):
    torch.manual_seed(0)
    method = FEATURE_LOSSES[name]
    student, teacher = torch.randn(4, 3, 5, 5, requires_grad=True), torch.randn(4, 6, 5, 5)
    loss = method.loss(3, 6)(method.keep(student), method.keep(teacher))
    loss.backward()
    assert loss.dim() == 0 and student.grad.abs().sum() > 0
    assert embedding(student).shape == (4, 3)

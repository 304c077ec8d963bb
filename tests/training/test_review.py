"""Knowledge review: its loss by hand, and what flows from level to level."""

import pytest
import torch

from redistill.training.review import Fusion, KnowledgeReview, hierarchical_loss


def test_the_context_loss_by_hand():
    # A map of 2 rows has one more level, its mean: errors 1, 0, 0, 0 at the places, and a quarter of the sum of both.
    student, teacher = torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, 0], [0, 0]]]])
    assert hierarchical_loss(student, teacher).item() == pytest.approx((1 / 4 + 0.5 * 1 / 16) / 1.5)
    whole = torch.ones(1, 1, 8, 8)  # as far away at every level
    assert hierarchical_loss(torch.zeros_like(whole), whole).item() == pytest.approx(1)
    with pytest.raises(ValueError, match=r"\(1, 1, 2, 2\) and \(1, 2, 2, 2\)"):
        hierarchical_loss(student, torch.zeros(1, 2, 2, 2))


def test_the_context_loss_of_larger_maps_has_a_level_a_size():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    errors = [(student - teacher).square().mean()]
    for level in (4, 2, 1):
        gap = (student - teacher).reshape(2, 3, level, 8 // level, level, 8 // level).mean(dim=(3, 5))
        errors.append(gap.square().mean())
    expected = sum(error / 2**place for place, error in enumerate(errors)) / (1 + 1 / 2 + 1 / 4 + 1 / 8)
    torch.testing.assert_close(hierarchical_loss(student, teacher), expected)


def test_a_level_weighs_its_own_map_and_the_deeper_ones_by_places():
    torch.manual_seed(0)
    fusion = Fusion(3, 4, 6, is_deepest=False).eval()
    student, deeper = torch.randn(2, 3, 4, 4), torch.randn(2, 4, 2, 2)
    own, enlarged = fusion.reduce(student), deeper.repeat_interleave(2, 2).repeat_interleave(2, 3)
    weight, bias = fusion.attention.weight[:, :, 0, 0], fusion.attention.bias
    shares = torch.sigmoid(torch.einsum("oc,bchw->bohw", weight, torch.cat([own, enlarged], 1)) + bias.view(1, 2, 1, 1))
    expected = own * shares[:, :1] + enlarged * shares[:, 1:]
    compared, goes_on = fusion(student, deeper)
    torch.testing.assert_close(goes_on, expected)
    torch.testing.assert_close(compared, fusion.expand(expected))


def test_every_level_learns_from_all_that_lie_before_it():
    """A shallow level's loss reaches the maps of the deeper ones, and not the other way round."""
    torch.manual_seed(0)
    sizes, channels = (8, 4, 4), (3, 5, 7)
    student = [torch.randn(4, c, s, s, requires_grad=True) for c, s in zip(channels, sizes, strict=True)]
    teacher = [torch.randn(4, 2 * c, s, s, requires_grad=True) for c, s in zip(channels, sizes, strict=True)]
    review = KnowledgeReview(channels, [2 * c for c in channels])
    levels, deeper = [], None
    for level in (2, 1, 0):
        compared, deeper = review.levels[level](student[level], deeper)
        levels.insert(0, hierarchical_loss(compared, teacher[level]))
    torch.testing.assert_close(review(student, teacher), sum(levels))
    levels[0].backward(retain_graph=True)
    assert all(maps.grad.any() for maps in student) and all(maps.grad is None for maps in teacher)
    for maps in student:
        maps.grad = None
    levels[2].backward()
    assert [maps.grad is not None for maps in student] == [False, False, True]
    assert review.levels[2].attention is None and review.levels[0].reduce[0].out_channels == 7

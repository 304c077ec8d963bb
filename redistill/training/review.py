"""Knowledge review: the student's maps, fused from the deepest back to the first, against the teacher's by level.

Chen, Liu, Zhao and Jia, "Distilling knowledge via knowledge review" (CVPR 2021).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = (4, 2, 1)  # places a side that maps are averaged to, each for half the weight of the one before
MOST_CHANNELS = 512  # of what goes from level to level


def hierarchical_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Hierarchical context loss of two maps of one shape, (batch, channels, height, width), a scalar.

    The mean squared error of the maps, and of both averaged to each of LEVELS that is smaller than their height, with
    weights 1, 1/2, 1/4 and 1/8 that are divided by their sum (section 3.3, and the authors' code for the weights).
    """
    if student.shape != teacher.shape:
        raise ValueError(
            f"Hierarchical context loss of maps {tuple(student.shape)} and {tuple(teacher.shape)}; expected one shape, "
            "as after the fusion."
        )
    teacher = teacher.detach()
    weight = total = 1.0
    loss = F.mse_loss(student, teacher)
    for level in LEVELS:
        if level >= student.shape[2]:
            continue
        weight /= 2
        total += weight
        loss = loss + weight * F.mse_loss(*(F.adaptive_avg_pool2d(maps, level) for maps in (student, teacher)))
    return loss / total


class Fusion(nn.Module):
    """Attention-based fusion of one level (section 3.3): its map, and what came of the deeper ones, weighed by places.

    Maps (batch, student_channels, height, width), and of the deeper levels (batch, channels, any height, any width),
    which the deepest level lacks, give the map to compare with the teacher's and what goes on to the next level.
    """

    def __init__(self, student_channels: int, channels: int, teacher_channels: int, is_deepest: bool) -> None:
        super().__init__()
        self.reduce = _conv_bn(student_channels, channels, 1)
        self.expand = _conv_bn(channels, teacher_channels, 3)
        self.attention = None if is_deepest else nn.Conv2d(2 * channels, 2, kernel_size=1)

    def forward(self, student: Tensor, deeper: Tensor | None) -> tuple[Tensor, Tensor]:
        maps = self.reduce(student)
        if self.attention is not None:
            deeper = F.interpolate(deeper, maps.shape[2:], mode="nearest")
            own, other = torch.sigmoid(self.attention(torch.cat([maps, deeper], dim=1))).split(1, dim=1)
            maps = own * maps + other * deeper
        return self.expand(maps), maps


class KnowledgeReview(nn.Module):
    """All levels: the sum over them of `hierarchical_loss`, of the student's maps and the teacher's, first level first.

    Both are maps (batch, channels, height, width), a level's of one height and width. The deepest level is reviewed
    first, and every level before it sees what came of the deeper ones.
    """

    def __init__(self, student_channels: Sequence[int], teacher_channels: Sequence[int]) -> None:
        super().__init__()
        channels = min(MOST_CHANNELS, student_channels[-1])
        last = len(student_channels) - 1
        self.levels = nn.ModuleList(
            Fusion(mine, channels, theirs, level == last)
            for level, (mine, theirs) in enumerate(zip(student_channels, teacher_channels, strict=True))
        )

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        losses, deeper = [], None
        for fusion, mine, theirs in reversed(list(zip(self.levels, student, teacher, strict=True))):
            fused, deeper = fusion(mine, deeper)
            losses.append(hierarchical_loss(fused, theirs))
        return torch.stack(losses).sum()


def _conv_bn(channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, out_channels, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_uniform_(conv.weight, a=1)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))

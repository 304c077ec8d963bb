"""The feature losses to compare RED with: what each looks at, what it learns, and the weight it is published with."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .losses import (
    attention_loss,
    attention_map,
    embedding,
    gram,
    hint_loss,
    pkt_loss,
    rkd_loss,
    sp_loss,
    vid_loss,
)

Loss = Callable[[Tensor, Tensor], Tensor]  # of what was kept of the student's and of the teacher's map, a scalar
VARIANCE_START, VARIANCE_FLOOR = 5.0, 1e-5  # of VID, as in the comparison of Tian et al.


class Hint(nn.Module):
    """FitNets' hint on one pair of maps: a 1×1 convolution brings the student's channels to the teacher's number.

    Without a change of channels nothing is learned. Called with maps (batch, channels, height, width) of one height
    and width, it returns `hint_loss`, a scalar.
    """

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        same = student_channels == teacher_channels
        self.regressor = nn.Identity() if same else nn.Conv2d(student_channels, teacher_channels, kernel_size=1)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return hint_loss(self.regressor(student), teacher)


class Variational(nn.Module):
    """VID's Gaussian on one pair of maps: 1×1 convolutions predict its mean, each channel's variance is a parameter.

    Called with maps (batch, channels, height, width) of one height and width, it returns `vid_loss`, a scalar.
    """

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        widths = (student_channels, teacher_channels, teacher_channels)
        layers = [(nn.Conv2d(width, teacher_channels, kernel_size=1, bias=False), nn.ReLU()) for width in widths]
        self.mean = nn.Sequential(*[layer for pair in layers for layer in pair][:-1])
        # softplus turns it into a variance
        start = math.log(math.expm1(VARIANCE_START - VARIANCE_FLOOR))
        self.spread = nn.Parameter(torch.full((teacher_channels,), start))

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return vid_loss(self.mean(student), F.softplus(self.spread) + VARIANCE_FLOOR, teacher)


@dataclass(frozen=True)
class FeatureLoss:
    """One method of the table.

    `keep` is what is held of a map until the losses are computed; only methods that need whole maps hold them.
    """

    title: str
    paper: str
    layers: str  # "aligned": the sum over all aligned pairs, "middle": the middle one, "last": the last features
    weight: float  # as published, see FEATURE_LOSSES
    keep: Callable[[Tensor], Tensor]
    loss: Callable[[int, int], Loss]  # takes the channels of the student's and of the teacher's map
    relational: bool = False  # compares pictures of a batch with each other, so that it needs the whole batch


def whole_map(features: Tensor) -> Tensor:
    """The feature map itself."""
    return features


# Weights are those of Tian, Krishnan and Isola, "Contrastive representation distillation" (ICLR 2020), appendix, for a
# cross entropy of weight 1; there, too, a mean over places and a sum over layers is meant.
FEATURE_LOSSES: dict[str, FeatureLoss] = {
    "fitnet": FeatureLoss("FitNets hint", "Romero et al., ICLR 2015", "middle", 100.0, whole_map, Hint),
    "at": FeatureLoss(
        "Attention transfer",
        "Zagoruyko and Komodakis, ICLR 2017",
        "aligned",
        1000.0,
        attention_map,
        lambda *channels: attention_loss,
    ),
    "sp": FeatureLoss(
        "Similarity preserving",
        "Tung and Mori, ICCV 2019",
        "last",
        3000.0,
        gram,
        lambda *channels: sp_loss,
        relational=True,
    ),
    "rkd": FeatureLoss(
        "Relational (RKD)",
        "Park et al., CVPR 2019",
        "last",
        1.0,
        embedding,
        lambda *channels: rkd_loss,
        relational=True,
    ),
    "vid": FeatureLoss(
        "Variational information (VID)", "Ahn et al., CVPR 2019", "aligned", 1.0, whole_map, Variational
    ),
    "pkt": FeatureLoss(
        "Probabilistic transfer (PKT)",
        "Passalis and Tefas, ECCV 2018",
        "last",
        30000.0,
        embedding,
        lambda *channels: pkt_loss,
        relational=True,
    ),
}


def find_feature_loss(name: str) -> FeatureLoss:
    """The table's entry; ValueError, naming the entries, for a name that is not in it."""
    if not isinstance(name, str) or name not in FEATURE_LOSSES:
        raise ValueError(f"feature_loss is {name!r}; expected one of {list(FEATURE_LOSSES)}, or none.")
    return FEATURE_LOSSES[name]

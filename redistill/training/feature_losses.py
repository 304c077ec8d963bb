"""The feature losses to compare RED with: their functions, what each looks at and learns, and its published weight.

The functions return a scalar and take the student's tensor first, as those of `losses` do. A loss is added here alone:
its function, and its row in `FEATURE_LOSSES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .losses import check_places
from .review import KnowledgeReview

Loss = Callable[[Tensor, Tensor], Tensor]  # of what was kept of the student's and of the teacher's map, a scalar
JointLoss = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]  # the same of the maps of all layers
CRD_FEATURES, CRD_TEMPERATURE = 128, 0.07  # as published
TINY = 1e-12  # keeps quotients of zeros finite
VARIANCE_START, VARIANCE_FLOOR = 5.0, 1e-5  # of VID, as in the comparison of Tian et al.


# Feature maps


def whole_map(features: Tensor) -> Tensor:
    """The feature map itself."""
    return features


def hint_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """FitNets' hint: mean squared error of two feature maps of one shape, (batch, channels, height, width).

    Where the channels differ, a learned regressor brings the student's map to the teacher's shape first.

    Romero et al., "FitNets: hints for thin deep nets" (ICLR 2015), equation 3, here the mean instead of half the sum.
    """
    if student.shape != teacher.shape:
        raise ValueError(
            f"Hint loss of maps {tuple(student.shape)} and {tuple(teacher.shape)}; expected one shape, "
            "as after FitNets' regressor."
        )
    return F.mse_loss(student, teacher.detach())


def attention_map(features: Tensor) -> Tensor:
    """Mean over channels of the squares of a feature map: (batch, channels, height, width) → (batch, 1, height, width).

    Zagoruyko and Komodakis (ICLR 2017), section 3.1: the sum of squares up to a factor that `attention_loss` removes.
    """
    return features.square().mean(dim=1, keepdim=True)


def attention_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Attention transfer: mean squared error of two attention maps, each flattened and divided by its length.

    Both are what `attention_map` makes of feature maps, (batch, 1, height, width), of one height and width.

    Zagoruyko and Komodakis, "Paying more attention to attention" (ICLR 2017), equation 2; the mean over places, as
    in the authors' code, for which their weight of 1000 is meant.
    """
    check_places("Attention transfer", student, teacher)
    return F.mse_loss(F.normalize(student.flatten(1)), F.normalize(teacher.detach().flatten(1)))


def vid_loss(mean: Tensor, variance: Tensor, teacher: Tensor) -> Tensor:
    """Variational information distillation: mean of log σ + (t − μ)² / 2σ² over all elements of the teacher's map t.

    `mean` (μ) is predicted from the student's map, in the teacher's shape (batch, channels, height, width); the
    learned `variance` (σ²), (channels,), is positive. Below 0 where σ is small and the prediction is good.

    Ahn et al., "Variational information distillation for knowledge transfer" (CVPR 2019), equation 5.
    """
    variance = variance.view(1, -1, 1, 1)
    return (0.5 * variance.log() + (teacher.detach() - mean).square() / (2 * variance)).mean()


def channel_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """RED loss channel by channel: mean over batch and channels of 1 − the correlation of two channels over places.

    Both maps have one shape, (batch, channels, height, width). RED compares their mean over channels alone, by the
    cosine; here every channel counts, each about its own mean, since maps after a ReLU all point the same way. A
    channel that is the same everywhere correlates with nothing.
    """
    if student.shape != teacher.shape:
        raise ValueError(
            f"RED by channels of maps {tuple(student.shape)} and {tuple(teacher.shape)}; expected one shape, as after "
            "its adapter."
        )
    centred = [maps.flatten(2) - maps.mean(dim=(2, 3), keepdim=True).flatten(2) for maps in (student, teacher.detach())]
    return (1 - F.cosine_similarity(*centred, dim=2)).mean()


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


class ByChannels(nn.Module):
    """RED by channels on one pair of maps: a 1×1 convolution brings the student's channels to the teacher's number.

    Without a change of channels nothing is learned. Called with maps (batch, channels, height, width) of one height
    and width, it returns `channel_loss`, a scalar.
    """

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        same = student_channels == teacher_channels
        self.adapter = nn.Identity() if same else nn.Conv2d(student_channels, teacher_channels, 1, bias=False)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return channel_loss(self.adapter(student), teacher)


# Relations between the pictures of a batch


def embedding(features: Tensor) -> Tensor:
    """Mean over space of a feature map: (batch, channels, height, width) → (batch, channels)."""
    return features.mean(dim=(2, 3))


def gram(features: Tensor) -> Tensor:
    """Dot products between the maps of a batch: (batch, channels, height, width) → (batch, batch)."""
    flat = features.flatten(1)
    return flat @ flat.T


def sp_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Similarity-preserving distillation: mean squared error of two similarity matrices with rows of length 1.

    Both are what `gram` makes of feature maps, (batch, batch); the maps need not have the same size.

    Tung and Mori, "Similarity-preserving knowledge distillation" (ICCV 2019), equations 2 and 4.
    """
    _check_batch("Similarity preserving", student, least=2)
    return F.mse_loss(F.normalize(student), F.normalize(teacher.detach()))


def rkd_loss(student: Tensor, teacher: Tensor, distance_weight: float = 25.0, angle_weight: float = 50.0) -> Tensor:
    """Relational distillation: Huber losses of distances between pictures and of angles between three of them.

    Student and teacher are embeddings (batch, features), of any two widths. Distances are divided by their mean in the
    batch. The losses are means over all batch² pairs and batch³ triples, as in the authors' code; those that hold a
    picture twice are always 0. The weights are the paper's, for classification.

    Park, Kim, Lu and Cho, "Relational knowledge distillation" (CVPR 2019), equations 6 to 9.
    """
    _check_batch("Relational distillation", student, least=3)
    teacher = teacher.detach()
    distance = F.smooth_l1_loss(_relative_distances(student), _relative_distances(teacher))
    angle = F.smooth_l1_loss(_angles(student), _angles(teacher))
    return distance_weight * distance + angle_weight * angle


def _relative_distances(x: Tensor) -> Tensor:
    """Distance between each two rows over the mean distance of two different ones: (batch, batch)."""
    count = len(x)
    distances = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")  # whose gradient at 0 is 0
    return distances / (distances.sum() / (count * (count - 1))).clamp_min(TINY)


def _angles(x: Tensor) -> Tensor:
    """Cosine of the angle at row i between the directions to rows j and k: (batch, batch, batch)."""
    directions = F.normalize(x[None] - x[:, None], dim=2)
    return directions @ directions.transpose(1, 2)


def pkt_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Probabilistic knowledge transfer: KL divergence between the batch's neighbour probabilities, mean over pairs.

    Student and teacher are embeddings (batch, features), of any two widths. The probability that picture i picks j ≠ i
    as its neighbour is proportional to (1 + cos) / 2 of their embeddings. The mean is over the batch · (batch − 1)
    pairs, for which the usual weight of 30,000 is meant.

    Passalis and Tefas, "Learning deep representations with probabilistic knowledge transfer" (ECCV 2018), eq. 4 to 6.
    """
    _check_batch("Probabilistic transfer", student, least=2)
    p = _neighbour_probabilities(teacher.detach())
    q = _neighbour_probabilities(student)
    return (p * (p.clamp_min(TINY) / q.clamp_min(TINY)).log()).sum() / (len(p) * (len(p) - 1))


def _neighbour_probabilities(x: Tensor) -> Tensor:
    """Probability that each row picks each other one: (batch, batch), rows of sum 1, zeros on the diagonal."""
    unit = F.normalize(x)
    itself = torch.eye(len(x), dtype=torch.bool, device=x.device)
    kernel = ((unit @ unit.T + 1) / 2).clamp_min(0).masked_fill(itself, 0)
    return kernel / kernel.sum(dim=1, keepdim=True).clamp_min(TINY)


def crd_loss(student: Tensor, teacher: Tensor, temperature: float = CRD_TEMPERATURE) -> Tensor:
    """Contrastive distillation: to find the teacher's picture that is the student's, and the student's that is its.

    Student and teacher are embeddings (batch, features) of one width, brought to length 1. Cosines over the temperature
    are logits of as many classes as there are pictures, and the loss is the sum of the cross entropies both ways (the
    right picture is the one at the same place).

    Tian, Krishnan and Isola, "Contrastive representation distillation" (ICLR 2020), section 3.1. Its pictures to tell
    apart come from a memory of the whole set; here they are the batch's, with the usual InfoNCE in place of its
    critic, so that nothing has to be kept from step to step.
    """
    _check_batch("Contrastive distillation", student, least=2)
    cosines = F.normalize(student) @ F.normalize(teacher).T / temperature
    places = torch.arange(len(cosines), device=cosines.device)
    return F.cross_entropy(cosines, places) + F.cross_entropy(cosines.T, places)


class Contrastive(nn.Module):
    """CRD on one pair of embeddings: a linear layer each brings them to a common width.

    Called with embeddings (batch, channels) it returns `crd_loss`, a scalar. Both layers are learnt; the embeddings of
    the teacher are constants.
    """

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        self.student = nn.Linear(student_channels, CRD_FEATURES)
        self.teacher = nn.Linear(teacher_channels, CRD_FEATURES)

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return crd_loss(self.student(student), self.teacher(teacher.detach()))


def _check_batch(what: str, student: Tensor, least: int) -> None:
    if len(student) < least:
        raise ValueError(
            f"{what} compares the pictures of a batch with each other, but there is {len(student)}; "
            f"expected a batch of at least {least}."
        )


# The table


@dataclass(frozen=True)
class FeatureLoss:
    """One method of the table.

    `keep` is what is held of a map until the losses are computed; only methods that need whole maps hold them.
    """

    title: str
    paper: str
    # "aligned": the sum over all aligned pairs, "together": one loss of all of them, "middle": the middle one, "last":
    # the last features
    layers: str
    weight: float  # as published, see FEATURE_LOSSES
    keep: Callable[[Tensor], Tensor]
    # Takes the channels of the student's and of the teacher's map; "together": those of all layers, in sequences.
    loss: Callable[[int, int], Loss] | Callable[[Sequence[int], Sequence[int]], JointLoss]
    relational: bool = False  # compares pictures of a batch with each other, so that it needs the whole batch


# Weights are those of Tian, Krishnan and Isola, "Contrastive representation distillation" (ICLR 2020), appendix, for a
# cross entropy of weight 1; there, too, a mean over places and a sum over layers is meant. Knowledge review's weight is
# its authors' on ImageNet, without their warm-up. RED by channels, which nobody has published, has RED's.
# fmt: off
FEATURE_LOSSES: dict[str, FeatureLoss] = {
    "fitnet": FeatureLoss("FitNets hint", "Romero et al., ICLR 2015", "middle", 100.0, whole_map, Hint),
    "at": FeatureLoss("Attention transfer", "Zagoruyko and Komodakis, ICLR 2017", "aligned", 1000.0, attention_map,
                      lambda *channels: attention_loss),
    "sp": FeatureLoss("Similarity preserving", "Tung and Mori, ICCV 2019", "last", 3000.0, gram,
                      lambda *channels: sp_loss, relational=True),
    "rkd": FeatureLoss("Relational (RKD)", "Park et al., CVPR 2019", "last", 1.0, embedding,
                       lambda *channels: rkd_loss, relational=True),
    "vid": FeatureLoss("Variational information (VID)", "Ahn et al., CVPR 2019", "aligned", 1.0, whole_map,
                       Variational),
    "pkt": FeatureLoss("Probabilistic transfer (PKT)", "Passalis and Tefas, ECCV 2018", "last", 30000.0, embedding,
                       lambda *channels: pkt_loss, relational=True),
    "crd": FeatureLoss("Contrastive (CRD), within the batch", "Tian et al., ICLR 2020", "last", 0.8, embedding,
                       Contrastive, relational=True),
    "review": FeatureLoss("Knowledge review (ReviewKD)", "Chen et al., CVPR 2021", "together", 1.0, whole_map,
                          KnowledgeReview),
    "channels": FeatureLoss("RED by channels", "this project", "aligned", 1.0, whole_map, ByChannels),
}
# fmt: on


def find_feature_loss(name: str) -> FeatureLoss:
    """The table's entry; ValueError, naming the entries, for a name that is not in it."""
    if not isinstance(name, str) or name not in FEATURE_LOSSES:
        raise ValueError(f"feature_loss is {name!r}; expected one of {list(FEATURE_LOSSES)}, or none.")
    return FEATURE_LOSSES[name]

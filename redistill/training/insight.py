"""What pooling does to one picture: aligned maps of student and teacher, what RED blocks do, and where a network looks.

Maps are means over channels, the ones that the RED loss compares. Where a network looks is Grad-CAM (Selvaraju et al.
2017, arXiv 1610.02391) of its last maps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..common.modules import eval_mode
from ..data.augmentation import normalize
from ..memory.search import Candidate
from ..networks.features import forward_with_features, last_features
from ..networks.red import REDBlock, red_modules, tokens_to_map
from ..networks.student import StudentConfig
from .losses import channel_mean, pool_to_smaller, red_loss
from .objective import aligned_features
from .shared_weights import SharedWeights, front_of, network_at, points_of
from .stride_store import Measured


@dataclass(frozen=True)
class PairMaps:
    """One aligned pair of maps for one picture."""

    student_layer: str
    teacher_layer: str
    side: str  # of the student's layer: "in" or "out"
    student: Tensor  # (height, width), float: mean over channels
    teacher: Tensor  # its own height and width, which are others where alignment is stage-wise
    distance: float  # RED loss of the two, cosine: 0 where they point the same way, 2 at most


@dataclass(frozen=True)
class BlockMaps:
    """What one RED block does to its map, means over channels."""

    path: str
    gate: Tensor | None  # (height, width), from 0 to 1; None without a gate
    residual: Tensor | None  # (height, width), from 0 to 6; None without a residual encoder


@dataclass(frozen=True)
class Sight:
    """What a classifier says of one picture, and where it looks."""

    probabilities: Tensor  # (classes,), float
    place: Tensor  # (height, width) of the picture, from 0 to 1: Grad-CAM of the likeliest class

    @property
    def answer(self) -> int:
        """The likeliest class."""
        return int(self.probabilities.argmax())


@dataclass(frozen=True)
class AtStrides:
    """One choice of strides of a network for every budget, and what it says there."""

    candidate: Candidate
    known: Measured  # its accuracy on validation pictures
    sight: Sight


def compare_maps(
    config: StudentConfig, student: nn.Module, teacher: nn.Module, image: Tensor
) -> tuple[list[PairMaps], list[BlockMaps]]:
    """Maps at each aligned pair, and what each RED block does, for one uint8 picture (3, S, S) on the CPU.

    Raises ValueError where no layer aligns.
    """
    pairs = aligned_features(config, student, teacher)
    blocks = red_modules(student)
    inputs = (normalize(image[None]),)
    wanted = [(mine, channel_mean) for mine, _ in pairs]
    wanted += [((path, "in"), lambda x, block=block: _inside(block, x)) for path, block in blocks.items()]
    with torch.no_grad(), eval_mode(student), eval_mode(teacher):
        _, kept = forward_with_features(student, inputs, wanted)
        _, theirs = forward_with_features(teacher, inputs, [(other, channel_mean) for _, other in pairs])
    found = []
    for (mine, other), own, target in zip(pairs, kept, theirs, strict=False):
        distance = float(red_loss(*pool_to_smaller(own, target), "cosine"))
        found.append(PairMaps(mine[0], other[0], mine[1], own[0, 0], target[0, 0], distance))
    inside = zip(blocks, kept[len(pairs) :], strict=True)
    return found, [BlockMaps(path, gate, residual) for path, (gate, residual) in inside]


def look_at(model: nn.Module, image: Tensor) -> Sight:
    """What a classifier says of one uint8 picture (3, S, S), and where it looks; the model is left as it was.

    Raises ValueError for networks whose last maps are tokens: Grad-CAM is of convolutions.
    """
    feature = last_features(model)
    inputs = normalize(image[None]).requires_grad_()  # so that there is a gradient also where weights are frozen
    with torch.enable_grad(), eval_mode(model):
        logits, (maps,) = forward_with_features(model, (inputs,), [(feature, lambda value: value)])
        if maps.dim() != 4 or maps.shape[2] != maps.shape[3]:
            raise ValueError(
                f"The last maps of this network are of the shape {tuple(maps.shape)}; expected (1, channels, side, "
                "side), as a CNN's are: where a transformer looks is not told this way."
            )
        (slope,) = torch.autograd.grad(logits[0].max(), maps)
    with torch.no_grad():
        heat = F.relu((slope.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True))
        heat = F.interpolate(heat, tuple(image.shape[1:]), mode="bilinear", align_corners=False)[0, 0]
        return Sight(logits[0].float().softmax(0).detach(), heat / heat.max().clamp(min=1e-12))


def through_strides(shared: SharedWeights, image: Tensor) -> Iterator[AtStrides]:
    """What a network for every budget says of a picture (3, S, S), from the least memory to the most.

    At each peak the strides of the best measured accuracy, and of these only such as no smaller peak reaches.
    """
    for candidate, known in front_of(points_of(shared, shared.space.candidates)):
        yield AtStrides(candidate, known, look_at(network_at(shared, candidate.strides), image))


def _inside(block: REDBlock, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Gate and residual of a block for its input, (height, width) each."""
    x = x if block.tokens is None else tokens_to_map(x, block.tokens)
    gate = torch.sigmoid(block.gate(x)) if block.gate is not None else None
    if block.scale is not None:
        gate = block.scale.expand_as(x)
    residual = block.residual(x) if block.residual_encoder is not None else None
    return tuple(None if part is None else channel_mean(part)[0, 0] for part in (gate, residual))

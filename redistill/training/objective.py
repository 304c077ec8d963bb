"""What a student learns from its teacher's feature maps: which maps are compared, and how, in one pass of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..networks.alignment import align, feature_pairs
from ..networks.features import Feature, FeatureInfo, Wanted, forward_with_features, inspect_features, last_map
from ..networks.student import StudentConfig
from .feature_losses import find_feature_loss
from .losses import channel_mean, mean_of, pool_to_smaller, red_loss
from .parallel import ALONE, Processes

if TYPE_CHECKING:
    from .config import DistillConfig

FeaturePairs = Sequence[tuple[Feature, Feature]]


@dataclass(frozen=True)
class Comparison:
    """One loss between feature maps: what is kept of which map of either network, and the loss of all that."""

    name: str  # of the loss part: "red_loss" or "feature_loss"
    student: Sequence[Wanted]
    teacher: Sequence[Wanted]
    loss: Callable[[Sequence[Any], Sequence[Any]], Tensor]


@dataclass(frozen=True)
class Objective:
    """All comparisons of a run, and the modules that they learn along with the student and that end with the run."""

    comparisons: Sequence[Comparison] = ()
    adapters: nn.ModuleList = field(default_factory=nn.ModuleList)

    @property
    def teacher_layers(self) -> set[str]:
        """Paths of the teacher's modules whose maps are compared."""
        return {path for comparison in self.comparisons for (path, *_), _ in comparison.teacher}


def build_objective(
    config: DistillConfig,
    student: nn.Module,
    teacher: nn.Module | None,
    example: Sequence[Any],
    processes: Processes = ALONE,
) -> Objective:
    """What `config` lets the student learn from the teacher's maps; nothing without a teacher.

    `example` are inputs of both networks, on their device; they show which maps there are. Adapters draw their first
    weights from torch's global generator. Raises ValueError when a loss needs aligned layers and nothing aligns.
    """
    comparisons: list[Comparison] = []
    adapters = nn.ModuleList()
    if teacher is not None and config.red_weight > 0:
        comparisons.append(_red(aligned_features(config.student, student, teacher), config.distance))
    if teacher is not None and config.feature_loss is not None:
        comparison, adapters = _feature(config, student, teacher, example, processes)
        comparisons.append(comparison)
    return Objective(comparisons, adapters.to(example[0].device))


def aligned_features(config: StudentConfig, student: nn.Module, teacher: nn.Module) -> FeaturePairs:
    """The aligned feature maps that losses compare: all that carry RED blocks, or all of them without blocks.

    Raises ValueError when nothing aligns, since there would be nothing to learn from the teacher's maps.
    """
    pairs = align(student, teacher, config.image_size, config.alignment)
    features = feature_pairs(pairs, config.red.points if config.red else "all")
    if not features:
        reasons = "; ".join(f"{pair.student}: {pair.reason}" for pair in pairs)
        raise ValueError(
            f"No layer of the student aligns with the teacher ({reasons}); "
            "choose other strides, or set red_weight to 0 and no feature_loss of aligned layers."
        )
    return features


def forward_both(
    student: nn.Module,
    teacher: nn.Module | None,
    inputs: Sequence[Any],
    comparisons: Sequence[Comparison],
    with_output: bool,
    precision: str = "fp32",
) -> tuple[Any, Any, dict[str, Tensor]]:
    """Outputs of student and teacher for the same inputs, and the loss of every comparison by its name.

    With `precision` "bf16" the networks run under autocast; what is kept of their maps becomes fp32 for the losses.
    It lives until this returns; after that the gradient alone holds what it needs. A teacher that nobody asks for
    anything does not run.
    """
    if teacher is None or not (comparisons or with_output):
        return ask_student(student, inputs, (), [], precision)[0], None, {}
    teacher_output, targets = ask_teacher(teacher, inputs, comparisons, with_output, precision)
    output, losses = ask_student(student, inputs, comparisons, targets, precision)
    return output, teacher_output, losses


@torch.no_grad()
def ask_teacher(
    teacher: nn.Module, inputs: Sequence[Any], comparisons: Sequence[Comparison], with_output: bool, precision: str
) -> tuple[Any, list[Any]]:
    """A teacher's output, and what every comparison keeps of its maps, one behind the other, for `ask_student`.

    It runs without gradients. Unless its output is wanted (`with_output`), it runs only as far as the last map that is
    compared, and its output is None.
    """
    wanted = [want for comparison in comparisons for want in comparison.teacher]
    with torch.autocast(inputs[0].device.type, torch.bfloat16, enabled=precision == "bf16"):
        return forward_with_features(teacher, inputs, wanted, stop_after_last=not with_output)


def ask_student(
    student: nn.Module,
    inputs: Sequence[Any],
    comparisons: Sequence[Comparison],
    targets: list[Any],
    precision: str,
) -> tuple[Any, dict[str, Tensor]]:
    """A student's output, and the loss of every comparison by its name; `targets` of `ask_teacher` are used up."""
    with torch.autocast(inputs[0].device.type, torch.bfloat16, enabled=precision == "bf16"):
        if not comparisons:
            return student(*inputs), {}
        wanted = [want for comparison in comparisons for want in comparison.student]
        output, kept = forward_with_features(student, inputs, wanted)
    losses = {}
    for comparison in comparisons:
        count = len(comparison.student)
        mine, theirs = ([value.float() for value in values[:count]] for values in (kept, targets))
        del kept[:count], targets[:count]
        losses[comparison.name] = comparison.loss(mine, theirs)
    return output, losses


def _red(pairs: FeaturePairs, distance: str) -> Comparison:
    """The mean RED loss over aligned maps, of which only the mean over channels is kept."""

    def loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        sized = [pool_to_smaller(s, t) for s, t in zip(student, teacher, strict=True)]
        return mean_of([red_loss(s, t, distance) for s, t in sized])

    return Comparison(
        "red_loss", [(mine, channel_mean) for mine, _ in pairs], [(theirs, channel_mean) for _, theirs in pairs], loss
    )


def _feature(
    config: DistillConfig, student: nn.Module, teacher: nn.Module, example: Sequence[Any], processes: Processes
) -> tuple[Comparison, nn.ModuleList]:
    method = find_feature_loss(config.feature_loss)
    if method.layers == "last":
        size = config.student.image_size
        pairs: FeaturePairs = [(last_map(student, size), last_map(teacher, size))]
    else:
        pairs = aligned_features(config.student, student, teacher)
        pairs = pairs[len(pairs) // 2 :][:1] if method.layers == "middle" else pairs
    mine = inspect_features(student, example, [pair[0] for pair in pairs])
    theirs = inspect_features(teacher, example, [pair[1] for pair in pairs])
    gather = processes.gather if method.relational and processes.count > 1 else None
    channels = [(s.channels, t.channels) for s, t in zip(mine, theirs, strict=True)]
    together = method.layers == "together"
    losses = [method.loss(*zip(*channels, strict=True))] if together else [method.loss(*both) for both in channels]

    def loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        sized = [pool_to_smaller(s, t) if s.dim() == 4 else (s, t) for s, t in zip(student, teacher, strict=True)]
        if together:
            return losses[0](*zip(*sized, strict=True))
        return torch.stack([compare(*both) for compare, both in zip(losses, sized, strict=True)]).sum()

    comparison = Comparison(
        "feature_loss",
        [(pair[0], _keeping(method.keep, info, gather)) for pair, info in zip(pairs, mine, strict=True)],
        [(pair[1], _keeping(method.keep, info, gather)) for pair, info in zip(pairs, theirs, strict=True)],
        loss,
    )
    return comparison, nn.ModuleList(module for module in losses if isinstance(module, nn.Module))


def _keeping(
    keep: Callable[[Tensor], Tensor], info: FeatureInfo, gather: Callable[[Tensor], Tensor] | None
) -> Callable[[Tensor], Tensor]:
    """`keep` of the map, or of a copy of one that the network is going to overwrite, or of the whole batch's maps."""
    if gather is not None:
        return lambda features: keep(gather(features))
    return (lambda features: keep(features.clone())) if info.overwritten else keep

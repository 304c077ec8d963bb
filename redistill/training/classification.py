"""Classifiers as a task: batches, losses and figures (see `task.Task`)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..common.devices import no_tf32
from ..common.modules import eval_mode
from ..data.augmentation import augment, mix, normalize
from ..data.source import Split
from ..networks.head import check_answers, check_logits, check_numbers, check_unscaled
from .folding import fold_batch_norms
from .losses import dkd_loss, kd_loss, mlld_loss
from .objective import forward_both
from .task import Problem
from .teacher_trial import answers_to_noise

if TYPE_CHECKING:
    from .config import DistillConfig

PREVIEW_PASSES = 0  # a classifier has no previews


def example_inputs(image_size: int, device: torch.device) -> tuple[Tensor]:
    """Two images."""
    return (torch.zeros(2, 3, image_size, image_size, device=device),)


def validation_limit(config: DistillConfig) -> int | None:
    """As many as the set has, or fewer where training uses few."""
    return None if config.train_limit is None else max(1, config.train_limit // 6)


def set_up(problem: Problem) -> None:
    """Fold the teacher's batch norms, train in channels_last, and weigh classes where the settings say so."""
    if problem.config.class_weights:
        problem.class_weights = even_weights(problem.train.labels, problem.config.student.classes).to(problem.device)
    if problem.teacher is not None:  # saves up to a third of its pass: MobileNetV2's
        problem.teacher = fold_batch_norms(problem.teacher, problem.objective.teacher_layers)
    for network in problem.networks:
        network.to(memory_format=torch.channels_last)  # nearly halves the CPU time of a step of the narrow ResNet


def check_networks(problem: Problem) -> None:
    """ValueError for a student, or a teacher, whose answers nothing can be learnt from; see `head.check_answers`."""
    check_answers(problem.model, problem.config.student)
    if problem.teacher is not None:
        answers = answers_to_noise(problem)
        if problem.config.kd_weight > 0:
            check_unscaled(answers, f"The teacher {problem.config.teacher_checkpoint}")


def losses(problem: Problem, step: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Named loss parts of training step `step`, unweighted scalars."""
    config = problem.config
    images, labels = batch(problem, step, generator)
    with_kd = problem.teacher is not None and config.kd_weight > 0
    logits, targets, compared = forward_both(
        problem.model, problem.teacher, (images,), problem.objective.comparisons, with_kd, config.precision
    )
    check_logits(logits, len(images), config.student)  # which some give in evaluation alone
    logits = logits.float()  # bf16 under mixed precision, as are the teacher's
    parts = {"task_loss": task_loss(problem, logits, labels), **compared}
    return parts | ({"kd_loss": logits_loss(problem, logits, targets.float(), labels)} if with_kd else {})


def task_loss(problem: Problem, logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of float32 logits (batch, classes), the mean over the batch of pictures that weigh as their class.

    labels: int64 (batch,), or probabilities (batch, classes), each of which then weighs as its class. Weights are not
    made up for batch by batch, so the shares of several processes add up to the whole batch.

    Of label smoothing, (1 − ε) · label + ε / classes: Szegedy et al., "Rethinking the Inception architecture for
    computer vision" (CVPR 2016), section 7.
    """
    smoothing = problem.config.label_smoothing
    if problem.class_weights is None:
        return F.cross_entropy(logits, labels, label_smoothing=smoothing)
    total = F.cross_entropy(logits, labels, problem.class_weights, reduction="sum", label_smoothing=smoothing)
    return total / len(labels)


def logits_loss(problem: Problem, logits: Tensor, targets: Tensor, labels: Tensor) -> Tensor:
    """KD, DKD or MLLD, as the settings say, of logits (batch, classes) and the teacher's; float32, unweighted.

    DKD goes by the labels, so its pictures weigh as their classes; the others compare answers whatever the label is.
    MLLD compares pictures with each other, so each of several processes takes the whole batch's answers.
    """
    config = problem.config
    if config.kd == "dkd":
        weights = None if problem.class_weights is None else problem.class_weights[labels]
        return dkd_loss(logits, targets, labels, config.temperature, config.dkd_alpha, config.dkd_beta, weights)
    if config.kd == "mlld":
        return mlld_loss(*map(problem.processes.gather, (logits, targets)), config.temperature)
    return kd_loss(logits, targets, config.temperature)


def images_a_step(problem: Problem) -> int:
    """A batch, or all pictures where they are fewer: an epoch shows each of them once."""
    return min(problem.config.batch_size, len(problem.train))


def batch(problem: Problem, step: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """This process' images of a step, float32, and their labels: int64, or probabilities where pictures are mixed.

    Every process changes the whole batch, so that its share looks the same however many there are.
    """
    config, share = problem.config, problem.processes.share
    if config.balanced:
        rows = even_rows(problem.train.labels.cpu(), config.batch_size, step, config.seed)
    else:
        rows = batch_rows(len(problem.train), config.batch_size, step, config.seed)
    taken = problem.train.take(rows, problem.device)
    images, labels = augment(taken.images, generator, config.augmentation or problem.augmentation), taken.labels
    if config.mixup or config.cutmix:
        images, labels = mix(normalize(images), labels, config.student.classes, generator, config.mixup, config.cutmix)
        images, labels = share(images), share(labels)
    else:
        images, labels = normalize(share(images)), share(labels)
    return images.contiguous(memory_format=torch.channels_last), labels


def judge(problem: Problem, model: nn.Module, split: Split) -> dict[str, float]:
    """Accuracy on a split; that of chance for a student that has diverged, which may come back."""
    return {"accuracy": accuracy(model, split, is_learning=True)}


def accuracy(model: nn.Module, split: Split, batch_size: int = 256, is_learning: bool = False) -> float:
    """Share of images in `split` whose largest logit is their label, in [0, 1]; see `predicted`."""
    return int((predicted(model, split, batch_size, is_learning) == split.labels.cpu()).sum()) / len(split)


@torch.no_grad()
def predicted(model: nn.Module, split: Split, batch_size: int = 256, is_learning: bool = False) -> Tensor:
    """The place of the largest logit of every image in `split`, int64 (N,) on the CPU; runs where the weights are.

    Raises ValueError where a logit is no number, unless the model `is_learning`: a run says of itself when it diverges.
    """
    device = next(model.parameters()).device
    places, are_numbers = [], []
    with eval_mode(model), no_tf32():
        for images in split.images.split(batch_size):
            logits = model(normalize(images.to(device)))
            places.append(logits.argmax(1).cpu())
            are_numbers.append(logits.isfinite().all())
    if not is_learning:
        check_numbers(torch.stack(are_numbers).all(), "The network")
    return torch.cat(places)


def judging_passes(count: int) -> int:
    """How many images pass the network when a split of `count` is judged."""
    return count


def score(figures: Mapping[str, float]) -> float:
    """What the best model is chosen by; higher is better."""
    return figures["accuracy"]


def settle(problem: Problem, model: nn.Module) -> None:
    """What was best is kept as it is."""


def write_preview(problem: Problem, model: nn.Module, folder: Path, step: int) -> None:
    """A classifier has none."""


def batch_rows(count: int, batch_size: int, step: int, seed: int) -> Tensor:
    """Indices of the images of training step `step`: every epoch is its own shuffle, without a smaller last batch."""
    batch_size = min(batch_size, count)
    epoch, place = divmod(step, count // batch_size)
    return _shuffled(count, seed * 7919 + epoch)[place * batch_size : (place + 1) * batch_size]


def even_rows(labels: Tensor, batch_size: int, step: int, seed: int) -> Tensor:
    """Indices of the images of training step `step`, each class as likely as any other, drawn with replacement.

    labels: int64 (N,) of all training pictures.
    """
    weights = labels.bincount().double().reciprocal()[labels]
    generator = torch.Generator().manual_seed(seed * 7919 + step)
    return torch.multinomial(weights, min(batch_size, len(labels)), replacement=True, generator=generator)


def even_weights(labels: Tensor, num_classes: int) -> Tensor:
    """What a picture of each class weighs so that all classes weigh as much: float32 (num_classes,).

    labels: int64 (N,) of all training pictures. The inverse frequency, with a mean of 1 over the pictures, so that
    losses keep their size beside others: N / (classes that there are × pictures of the class), 0 where it has none.
    """
    counts = labels.bincount(minlength=num_classes).double()
    weights = len(labels) / ((counts > 0).sum() * counts.clamp(min=1))
    return torch.where(counts > 0, weights, 0.0).float()


@lru_cache(maxsize=2)  # the epoch of a run; ImageNet's takes a tenth of a second to draw
def _shuffled(count: int, seed: int) -> Tensor:
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))

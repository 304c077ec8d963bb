"""How near sampled images come to real pictures: KID, FID, precision and recall, each with a confidence interval.

All four compare features of two sets of pictures, so a figure means nothing without naming the feature network, the
numbers of pictures and the reference: `Quality` carries them. The formulas are torch-fidelity's. Features are those of
Inception where its weights can be had; without a network, those of a classifier that ships and was trained on pictures
of the same kind, emoji or CIFAR-10.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checkpoint import folder as checkpoint
from ..checkpoint.metadata import read_metadata
from ..checkpoint.pipeline import load_scheduler
from ..checkpoint.sources import find_checkpoint
from ..common.devices import check_device, no_tf32
from ..common.values import is_whole
from ..data.augmentation import augment, normalize
from ..data.datasets import find_dataset, load_split
from ..data.drawn import DRAWN
from .sampling import sample

FIGURES = ("kid", "fid", "precision", "recall")
FEW = 5_000  # pictures below which FID is said to be biased
LEAST = 20  # pictures that figures are given for at all
MOST = 100_000  # pictures to draw and judge: more would take days
WIDE = 512  # features beyond which 40 more FIDs would take minutes, so that FID has no interval
NEIGHBOURS = 3  # precision and recall: k of the k-nearest-neighbour balls (Kynkäänniemi et al., 2019)
HALVES = 40  # half samples that the confidence intervals come from
BATCH = 64
CPU = torch.device("cpu")


class OwnFeatures(NamedTuple):
    """A shipped classifier whose last features judge pictures of the kind that it was trained on."""

    checkpoint: str
    datasets: Set[str]  # whose pictures are of that kind
    seen: str  # that kind, in words


OWN_FEATURES: Mapping[str, OwnFeatures] = {
    "emoji": OwnFeatures("emoji-identity-features", DRAWN.keys(), "emoji"),
    "cifar10": OwnFeatures("cifar10-teacher", {"cifar10"}, "CIFAR-10's pictures"),
}
FEATURES = (*OWN_FEATURES, "inception")


@dataclass(frozen=True)
class Quality:
    """Figures of one set of sampled images, and all that they depend on.

    `kid` (Bińkowski et al., 2018; unbiased, cubic kernel) and `fid` (Heusel et al., 2017) are distances, lower is
    better; `precision` and `recall` (Kynkäänniemi et al., 2019) are shares from 0 to 1. `margins` holds half of the
    95 % confidence interval of each, but for FID only where there are few features.
    """

    kid: float
    fid: float
    precision: float
    recall: float
    margins: Mapping[str, float]
    features: str  # which network's, in words
    images: int
    reference_images: int
    reference: str  # what the pictures are compared with, in words
    sampling: str = ""  # how the images were sampled, in words
    caution: str = ""  # why the features may say little about these pictures

    @property
    def warning(self) -> str:
        """What a reader of these figures must know, or nothing."""
        fewest = min(self.images, self.reference_images)
        few = f"Only {fewest:,} pictures: FID comes out too high, and small differences mean nothing."
        return " ".join(filter(None, [self.caution, few if fewest < FEW else ""]))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, the warning among them."""
        margins = {name: round(value, 6) for name, value in self.margins.items()}
        figures = {name: round(getattr(self, name), 6) for name in FIGURES}
        sizes = {"images": self.images, "reference_images": self.reference_images}
        said = {"features": self.features, "reference": self.reference, "drawn": self.sampling, "warning": self.warning}
        return figures | {"margins": margins} | sizes | said


@dataclass(frozen=True)
class FeatureNetwork:
    """Turns uint8 pictures (N, 3, H, W) into features (N, D), float32."""

    title: str
    compute: Callable[[Tensor], Tensor]
    device: torch.device = CPU  # that it computes on; features return to the CPU
    own: OwnFeatures | None = None  # what it was trained on, where it knows nothing of other pictures

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(
                f"Pictures have dtype {images.dtype} and shape {tuple(images.shape)}; expected uint8 (N, 3, H, W)."
            )
        with no_tf32():
            return torch.cat([self.compute(batch.to(self.device)).float().cpu() for batch in images.split(BATCH)])


def features_for(dataset: str) -> str:
    """Which of the features that ship fit that data set best; those of emoji where none were made for its pictures."""
    return next((name for name, own in OWN_FEATURES.items() if dataset in own.datasets), "emoji")


def load_features(name: str, device: str | torch.device = "cpu") -> FeatureNetwork:
    """The feature network "emoji" or "cifar10" (both ship) or "inception" (downloaded once), on `device`.

    Raises ValueError for another name or device, and where Inception's weights are neither here nor to be had.
    """
    device = check_device(device)
    if name not in FEATURES:
        raise ValueError(f"Features are {name!r}; expected one of {list(FEATURES)}.")
    return _own(OWN_FEATURES[name], device) if name in OWN_FEATURES else _inception(device)


def _own(own: OwnFeatures, device: torch.device) -> FeatureNetwork:
    """The last features, 128 numbers, of a narrow ResNet that ships (presets "faces-features", "cifar10-teacher").

    Both were trained at the pictures' own 32 px, so that they see their pixels. Features are brought to one length, the
    root of their number: how sure the network is says nothing here, and KID's kernel stays within (0, 8].
    """
    network = checkpoint.load(own.checkpoint).to(device)
    side = read_metadata(own.checkpoint).student.image_size
    network.fc = nn.Identity()

    def compute(images: Tensor) -> Tensor:
        pixels = normalize(images)
        if pixels.shape[-2:] != (side, side):
            pixels = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True, align_corners=False)
        features = network(pixels)
        return F.normalize(features) * features.shape[1] ** 0.5

    return FeatureNetwork(f"128 features of {own.checkpoint}, pictures at {side} px", compute, device, own)


def _inception(device: torch.device) -> FeatureNetwork:
    """The 2,048 features of Inception-v3 that published FIDs use, by torch-fidelity."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

    try:
        network = FeatureExtractorInceptionV3("inception", ["2048"], verbose=False).to(device)
    except OSError as error:
        raise ValueError(
            f"Inception's weights are not here and cannot be downloaded ({error}); put {URL_INCEPTION_V3} into "
            f"{torch.hub.get_dir()}/checkpoints, or use features that ship, {list(OWN_FEATURES)}."
        ) from error
    return FeatureNetwork("2,048 features of Inception-v3", lambda images: network(images)[0], device)


def reference_pictures(
    dataset: str, image_size: int, count: int, seed: int = 0, split_seed: int = 0
) -> tuple[Tensor, str]:
    """`count` real training pictures, uint8 (N, 3, S, S), as training would show them, and what they are in words.

    Training pictures, since those are what a diffusion network learns to make, at the `split_seed` of its run; each of
    `count` is drawn from them all, as KID's formula takes for granted, and augmented anew.
    """
    spec = find_dataset(dataset, split_seed)
    split = load_split(dataset, "train", image_size, split_seed=split_seed)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(split), (count,), generator=generator)
    kind = spec.augmentation("generation")
    pictures = [augment(split.images[part], generator, kind, image_size) for part in rows.split(BATCH)]
    said = f"{count:,} augmented pictures of {len(split):,} in {dataset}'s training split, seed {seed}"
    return torch.cat(pictures), said


def judge(sampled: Tensor, real: Tensor, reference: str, features: FeatureNetwork, seed: int = 0) -> Quality:
    """Figures of the images `sampled` against `real`, both uint8 (N, 3, H, W); `reference` says what `real` is.

    A confidence interval is ±1.96 standard deviations of the figure over half samples of both sets (the delete-half
    jackknife, Shao and Wu, 1989), drawn with `seed`. Raises ValueError for too few pictures.
    """
    for name, images in (("drawn", sampled), ("real", real)):
        if len(images) < LEAST:
            raise ValueError(f"There are {len(images)} {name} pictures; expected at least {LEAST}.")
    one, other = features(sampled), features(real)
    figures = _figures(one, other, FIGURES)
    generator = torch.Generator().manual_seed(seed)
    names = [name for name in FIGURES if name != "fid" or one.shape[1] <= WIDE]
    halves = [_figures(_half(one, generator), _half(other, generator), names) for _ in range(HALVES)]
    margins = {name: 1.96 * float(np.std([half[name] for half in halves])) for name in names}
    return Quality(
        **figures,
        margins=margins,
        features=features.title,
        reference=reference,
        images=len(sampled),
        reference_images=len(real),
    )


def judge_checkpoint(
    folder: str | Path,
    count: int = 1000,
    *,
    features: FeatureNetwork,
    scheduler: str = "ddim",
    steps: int = 40,
    seed: int = 0,
    device: str | torch.device = "cpu",
    dataset: str | None = None,
) -> Quality:
    """Sample `count` images from a diffusion checkpoint, of the seeds from `seed` on, and judge them.

    It samples on `device`; `features` compute on their own. The reference are as many pictures of what it was trained
    on, or of `dataset`, such as a copy of that: "folder:path". Raises ValueError for a classifier, and for what
    `sample` and `judge` refuse.
    """
    device = check_device(device)
    if not is_whole(count, LEAST, MOST):
        raise ValueError(f"count is {count!r}; expected a whole number from {LEAST} to {MOST:,} pictures.")
    folder = find_checkpoint(folder)
    metadata = read_metadata(folder)
    if metadata.student.task != "diffusion":
        raise ValueError(f"Checkpoint {folder} is a classifier; expected a diffusion network.")
    size = metadata.student.image_size
    real, reference = reference_pictures(dataset or metadata.dataset, size, count, split_seed=metadata.split_seed)
    *_, last = sample(
        checkpoint.load(folder).to(device),
        range(seed, seed + count),
        scheduler=scheduler,
        steps=steps,
        noise_scheduler=load_scheduler(folder),
        preview_every=0,
        measure=False,
    )
    said = f"{count:,} pictures, seeds {seed} to {seed + count - 1}, {scheduler}, {steps} steps"
    quality = judge(last.images, real, reference, features)
    return dataclasses.replace(quality, sampling=said, caution=_caution(features, metadata.dataset))


def _caution(features: FeatureNetwork, dataset: str) -> str:
    if features.own is None or dataset in features.own.datasets:
        return ""
    fits = features_for(dataset)
    instead = fits if dataset in OWN_FEATURES[fits].datasets else "inception"
    return (
        f"The features are those of a network that has seen {features.own.seen} alone, the pictures those of "
        f"{dataset}: the figures order nothing reliably and are no FID that others publish; use the features "
        f"{instead!r}."
    )


def _half(features: Tensor, generator: torch.Generator) -> Tensor:
    return features[torch.randperm(len(features), generator=generator)[: len(features) // 2]]


def _figures(sampled: Tensor, real: Tensor, names: Collection[str]) -> dict[str, float]:
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kernel_mmd
    from torch_fidelity.metric_prc import prc_features_to_metric

    sampled, real = sampled.double(), real.double()
    shares = prc_features_to_metric(sampled, real, prc_neighborhood=NEIGHBOURS, verbose=False)
    figures = {"kid": float(kernel_mmd(sampled.numpy(), real.numpy()))}
    if "fid" in names:
        statistics = [fid_features_to_statistics(features) for features in (sampled, real)]
        figures["fid"] = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    return figures | {"precision": shares["precision"], "recall": shares["recall"]}

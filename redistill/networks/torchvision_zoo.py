"""torchvision's networks by name: all classifiers, segmentation models, and the backbones of detection models."""

from __future__ import annotations

from functools import lru_cache, partial

import torchvision.models
from torch import nn
from torchvision.models import WeightsEnum, get_model, get_model_weights

from .info import NetworkInfo, Size

# Names of parameters by which networks are built for one image size, by how the networks' names start.
_SIZED = {"vit_": "image_size", "maxvit_": "input_size"}
# Heads that only help to train from scratch. With them a pass in training mode gives more than logits.
WITHOUT_AUX = {"googlenet": {"aux_logits": False, "init_weights": False}, "inception_v3": {"aux_logits": False}}
TRANSFORMED = tuple(WITHOUT_AUX)  # their ImageNet weights were made for images from -1 to 1, whatever presets say
SEGMENTATION_SIDE, DETECTION_SIDE = 520, 800  # pixels; of segmentation models without weights, of detectors by default


@lru_cache(maxsize=1)
def torchvision_names() -> tuple[str, ...]:
    """All that can follow "torchvision:"."""
    return tuple(sorted({*_classifiers(), *_segmenters(), *_detectors()}))


@lru_cache
def torchvision_network(name: str) -> NetworkInfo | None:
    """torchvision's network of that name, called "torchvision:NAME"; None where there is none."""
    if name in _classifiers():
        return _classifier(name)
    if name in _segmenters():
        return _segmenter(name)
    return _detector(name) if name in _detectors() else None


def imagenet_weights(name: str) -> WeightsEnum:
    """The first ImageNet weights of a classifier, those that most figures in papers are of."""
    weights = get_model_weights(name)
    return getattr(weights, "IMAGENET1K_V1", None) or next(iter(weights))


def build_classifier(name: str, classes: int | None, channels: int, size: Size | None) -> nn.Module:
    """A classifier without weights, for images of `size` where it is built for one."""
    settings = dict(WITHOUT_AUX.get(name, {}))
    for start, parameter in _SIZED.items():
        if name.startswith(start):
            height, width = size or (_crop_size(name),) * 2
            if height != width and parameter == "image_size":
                raise ValueError(f"{name} takes square images; expected the same height and width, not {size}.")
            settings[parameter] = height if parameter == "image_size" else (height, width)
    try:
        return get_model(name, weights=None, num_classes=1000 if classes is None else classes, **settings)
    except AssertionError as error:  # of a size that the patches of a vision transformer do not divide
        raise ValueError(f"{name} cannot be built for images of {size} px: {error or 'they do not divide'}.") from error


def _crop_size(name: str) -> int:
    return imagenet_weights(name).transforms.keywords["crop_size"]


def _classifier(name: str) -> NetworkInfo:
    is_sized = name.startswith(tuple(_SIZED))
    build = partial(build_classifier, name)
    return NetworkInfo(
        f"torchvision:{name}", name, "classification", _crop_size(name), build, pretrained=True, is_sized=is_sized
    )


def _segmenter(name: str) -> NetworkInfo:
    def build(classes: int | None, channels: int, size: Size | None) -> nn.Module:
        return get_model(name, weights=None, weights_backbone=None, num_classes=classes)

    return NetworkInfo(f"torchvision:{name}", name, "segmentation", SEGMENTATION_SIDE, build, num_classes=21)


def _detector(name: str) -> NetworkInfo:
    def build(classes: int | None, channels: int, size: Size | None) -> nn.Module:
        return get_model(name, weights=None, weights_backbone=None).backbone

    sides = [int(side) for side in ("300", "320") if side in name]
    side = sides[0] if sides else DETECTION_SIDE
    title = f"{name}, backbone"
    return NetworkInfo(f"torchvision:{name}", title, "features", side, build, num_classes=0, part="backbone")


@lru_cache(maxsize=1)
def _classifiers() -> frozenset[str]:
    return frozenset(torchvision.models.list_models(module=torchvision.models))


@lru_cache(maxsize=1)
def _segmenters() -> frozenset[str]:
    return frozenset(torchvision.models.list_models(module=torchvision.models.segmentation))


@lru_cache(maxsize=1)
def _detectors() -> frozenset[str]:
    return frozenset(torchvision.models.list_models(module=torchvision.models.detection))

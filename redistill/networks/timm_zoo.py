"""timm's classifiers by name, and those of its repositories on the Hub. timm is loaded on first use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import nn

from ..common.files import read_json
from ..common.hub import fetch
from .info import NetworkInfo, Size

HUB = "hf-hub:"  # before a repository that timm can read
WEIGHTS = "model.safetensors"
OWNER = "timm"  # of the repositories that are read: what is built is what a config there says
MAX_CONFIG = 2**20  # bytes
MAX_DOWNLOAD = 4 * 2**30  # bytes; what is larger must be in the Hub's cache before
NO_ARGUMENTS: Mapping[str, Any] = MappingProxyType({})


@lru_cache(maxsize=1)
def timm_names() -> tuple[str, ...]:
    """All architectures that can follow "timm:"; each may have a tag of its weights behind it, as resnet18.a1_in1k."""
    import timm

    return tuple(timm.list_models())


@lru_cache(maxsize=512)
def timm_network(name: str) -> NetworkInfo | None:
    """timm's classifier of that name, with or without a tag, called "timm:NAME"; None where there is none."""
    import timm

    if not timm.is_model(name.partition(".")[0]):
        return None
    try:
        config = timm.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError:  # no weights have that tag
        return None
    _, *sides = config.input_size
    return NetworkInfo(
        name=f"timm:{name}",
        title=f"{name} (timm)",
        task="classification",
        image_size=sides[0] if sides[0] == sides[1] else tuple(sides),
        build=partial(_build, name),
        num_classes=config.num_classes,
        pretrained=bool(config.has_weights),
        is_sized=config.fixed_input_size,
    )


@lru_cache(maxsize=64)
def hub_network(repo: str) -> NetworkInfo | None:
    """The classifier of one of timm's repositories, by `timm/NAME`; None for what is no such id.

    One that timm knows by name needs no network; the config of another is downloaded. ValueError, in one sentence,
    where that cannot be or describes no network of timm's, and for a repository of others.
    """
    owner, slash, name = repo.partition("/")
    if not (slash and name and "/" not in name):
        return None
    if owner != OWNER:
        raise ValueError(f"{HUB}{repo[:120]} is of {owner[:80]!r}; expected one of timm's own, {HUB}timm/NAME.")
    known = timm_network(name)
    if known is not None:
        return known
    return _described(repo, read_json(_fetched(repo, "config.json")))


def _described(repo: str, config: Mapping[str, Any]) -> NetworkInfo:
    """The network that a repository's config.json describes."""
    import timm

    name, told = config.get("architecture"), config.get("pretrained_cfg") or config
    base = timm_network(name) if isinstance(name, str) else None
    size = told.get("input_size") if isinstance(told, Mapping) else None
    if base is None or not isinstance(size, (list, tuple)) or len(size) != 3:
        raise ValueError(f"{HUB}{repo} describes no network that timm {timm.__version__} has ({str(name)[:80]!r}).")
    classes, arguments = told.get("num_classes", base.num_classes), config.get("model_args") or {}
    side = size[1] if size[1] == size[2] else (size[1], size[2])
    build = partial(_build, name, usual=classes, arguments=arguments)
    return replace(base, name=f"{HUB}{repo}", title=f"{repo} (Hub)", image_size=side, build=build, num_classes=classes)


def _fetched(repo: str, file: str) -> Path:
    title = f"{HUB}{repo}"
    most = MAX_DOWNLOAD if file == WEIGHTS else MAX_CONFIG
    return fetch(repo, title=title, most_bytes=most, files=[file]) / file


def _build(
    name: str,
    classes: int | None,
    channels: int,
    size: Size | None,
    usual: int | None = None,
    arguments: Mapping[str, Any] = NO_ARGUMENTS,
    **weights: Any,
) -> nn.Module:
    """timm's network of that name; `usual` classes where none are asked for, `weights` where it is to have some."""
    import timm

    info = timm_network(name)
    usual = info.num_classes if usual is None else usual
    settings = {"num_classes": usual if classes is None else classes, "in_chans": channels, **arguments, **weights}
    if not info.is_sized or size is None:
        return timm.create_model(name, **settings)
    try:
        return timm.create_model(name, img_size=size, **settings)
    except TypeError as error:  # some take no size, and say when they run that they have one only
        if "img_size" not in str(error):
            raise
        return timm.create_model(name, **settings)


def load_timm(
    network: NetworkInfo, num_classes: int | None = None, in_channels: int = 3
) -> tuple[nn.Module, Sequence[float], Sequence[float]]:
    """A network of `timm_network` or `hub_network` with its trained weights, and mean and std of its images.

    The weights come from the Hub, in safetensors, or from its cache; a head for other classes is fresh. ValueError, in
    one sentence, where they cannot be had.
    """
    import timm

    name, repo = network.name.removeprefix("timm:"), network.name.removeprefix(HUB)
    if repo == network.name:
        repo = timm.get_pretrained_cfg(name).hf_hub_id
        if not repo:
            raise ValueError(f"timm has no weights of {name!r} on the Hub; choose a network that has some.")
        overlay: dict[str, Any] = {}
    else:
        told = read_json(_fetched(repo, "config.json"))
        name, overlay = told["architecture"], dict(told.get("pretrained_cfg") or {})
    file = _fetched(repo, WEIGHTS)
    if not file.is_file():
        raise ValueError(f"{HUB}{repo} has no weights in safetensors ({WEIGHTS}), and pickles are never loaded.")
    overlay |= {"file": str(file), "hf_hub_id": None, "url": "", "custom_load": False}
    weights = {"pretrained": True, "pretrained_cfg_overlay": overlay}
    model = _build(name, num_classes, in_channels, None, **weights)
    return model, model.pretrained_cfg["mean"], model.pretrained_cfg["std"]

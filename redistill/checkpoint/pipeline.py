"""Folders that `diffusers` loads: a U-Net of ours, its code and its scheduler.

    model_index.json                            which classes, for DiffusionPipeline.from_pretrained
    unet/config.json                            the settings of `UNet`, strides and RED included
    unet/diffusion_pytorch_model.safetensors    weights; never pickles
    unet/unet.py, unet/red.py                   the code, for readers without this package (trust_remote_code=True)
    scheduler/scheduler_config.json             noise schedule and prediction type

Older repositories of the Hub (google/ddpm-cifar10-32) keep both configs and the weights beside `model_index.json`;
they are read too. The loaders here build the network with this package's own class and run no code of the folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    PNDMScheduler,
)
from torch import Tensor

from ..common.files import read_json, write_json
from ..common.values import is_whole
from ..networks.limits import check_schedule_settings, check_unet_settings
from ..networks.unet import UNet
from ..networks.weights import check_finite
from .unet_weights import find_weight_files, read_weights

INDEX = "model_index.json"
CHANNELS = (1, 3)  # of pictures: grey and RGB
SCHEDULERS = {cls.__name__: cls for cls in (DDPMScheduler, DDIMScheduler, DPMSolverMultistepScheduler)}
# Of folders from elsewhere: the noise that a network was trained on is that of the DDPM schedule of the same settings.
_READ = (PNDMScheduler, EulerDiscreteScheduler, EulerAncestralDiscreteScheduler, HeunDiscreteScheduler)
READ_SCHEDULERS = SCHEDULERS | {cls.__name__: cls for cls in _READ}

Scheduler = DDPMScheduler | DDIMScheduler | DPMSolverMultistepScheduler


def write_pipeline(unet: UNet, scheduler: Scheduler, folder: Path) -> None:
    """Write the files above into a folder that exists; ValueError for another network or scheduler."""
    if not isinstance(unet, UNet):
        raise ValueError(f"A {type(unet).__name__} cannot be saved as a pipeline; expected a redistill.networks UNet.")
    if type(scheduler).__name__ not in SCHEDULERS:
        raise ValueError(f"Scheduler {type(scheduler).__name__} is not supported; expected one of {list(SCHEDULERS)}.")
    unet.save_pretrained(folder / "unet")
    scheduler.save_pretrained(folder / "scheduler")
    write_json(folder / INDEX, _index(scheduler))


def check_index(folder: str | Path) -> None:
    """ValueError for a folder whose pipeline has more parts than U-Net and noise schedule, as a latent one has."""
    path = Path(folder) / INDEX
    unknown = sorted(name for name in _read(path) if not name.startswith("_") and name not in ("unet", "scheduler"))
    if unknown:
        raise ValueError(
            f"{path} names a component {unknown[0]!r}; expected only 'unet' and 'scheduler', of a network that draws "
            "pixels, by itself."
        )


def load_scheduler(folder: str | Path) -> Scheduler:
    """The noise schedule saved in a pipeline's folder: the DDPM schedule of the same noise where its class only draws.

    ValueError for one that is not supported or not readable, or whose noise is no DDPM's.
    """
    path = _scheduler_file(Path(folder))
    config = _read(path)
    name = config.get("_class_name")
    if name not in READ_SCHEDULERS:
        raise ValueError(f"{path} names the scheduler {name!r}; expected one of {list(READ_SCHEDULERS)}.")
    scheduler = _build(READ_SCHEDULERS[name], config, path)
    if name in SCHEDULERS:
        return scheduler
    same = _build(DDPMScheduler, scheduler.config, path)
    if config.get("timestep_type") == "continuous" or not torch.equal(same.alphas_cumprod, scheduler.alphas_cumprod):
        raise ValueError(f"{path} describes a {name} whose noise is not that of a DDPM; expected discrete timesteps.")
    return same


def load_unet(folder: str | Path) -> UNet:
    """The U-Net of a pipeline's folder, or of that folder's `unet`, in eval mode on the CPU; runs no code of it.

    It computes in fp32, also where the file keeps its weights in half precision. Names and shapes of the weights must
    be exactly those of the network that the config describes; ValueError otherwise, for missing, truncated or foreign
    files, and for a network that draws anything else than pictures from noise: latents, by class, other channels.
    """
    root = _unet_folder(Path(folder))
    if (Path(folder) / INDEX).is_file():
        check_index(folder)
    with torch.device("meta"):  # nothing is allocated until the weights are known to fit
        unet = build_unet(folder)
    _check_draws(unet, root)
    weights = read_weights(root)
    unet._fix_state_dict_keys_on_load(weights)  # attention layers of old diffusers folders had other names
    _check_weights(unet, weights, find_weight_files(root)[0])
    check_finite(weights, root)
    unet.load_state_dict(weights, assign=True)
    return unet.float().eval()


def build_unet(folder: str | Path) -> UNet:
    """The U-Net that a pipeline's folder describes, with fresh weights; ValueError for another or a broken config."""
    path = _unet_folder(Path(folder)) / "config.json"
    config = _read(path)
    _check_unet_config(config, path)
    return _build(UNet, config | _trained_size(Path(folder)), path)


def _trained_size(root: Path) -> dict[str, int]:
    """The side that a run of ours trained a network at: before, networks kept that of the table, and drew at it."""
    card = root / "config.json"
    if _unet_folder(root) == root or not card.is_file():
        return {}
    student = _read(card).get("student")
    size = student.get("image_size") if isinstance(student, Mapping) else None
    return {"sample_size": size} if is_whole(size, 1) else {}


def _check_draws(unet: UNet, root: Path) -> None:
    config = unet.config
    if config.class_embed_type is not None or config.num_class_embeds is not None:
        raise ValueError(f"{root} draws what a class label asks for; expected an unconditional U-Net.")
    if config.out_channels != config.in_channels or config.in_channels not in CHANNELS:
        raise ValueError(
            f"{root} maps {config.in_channels} channels to {config.out_channels}; expected pictures, 3 to 3 channels "
            "or 1 to 1."
        )


def weight_files(folder: str | Path) -> list[Path]:
    """The files of a pipeline's folder that decide what it draws: network, weights and noise schedule."""
    root = Path(folder)
    return [_unet_folder(root) / "config.json", *find_weight_files(_unet_folder(root)), _scheduler_file(root)]


def _unet_folder(root: Path) -> Path:
    return root / "unet" if (root / "unet").is_dir() else root


def _scheduler_file(root: Path) -> Path:
    flat = root / "scheduler_config.json"
    return flat if flat.is_file() else root / "scheduler" / "scheduler_config.json"


def _index(scheduler: Scheduler) -> dict[str, Any]:
    """diffusers would record our module as the U-Net's library; the reader has only the file in the folder."""
    return {
        "_class_name": "DDIMPipeline" if isinstance(scheduler, DDIMScheduler) else "DDPMPipeline",
        "_diffusers_version": diffusers.__version__,
        "unet": ["unet", "UNet"],
        "scheduler": ["diffusers", type(scheduler).__name__],
    }


def _read(path: Path) -> dict[str, Any]:
    return read_json(path, f"a folder with {INDEX}, unet/ and scheduler/")


def _check_unet_config(config: Mapping[str, Any], path: Path) -> None:
    name = config.get("_class_name")
    if name not in ("UNet", "UNet2DModel"):
        what = f"describes a {name!r}" if name else "does not say which network it describes"
        raise ValueError(f"{path} {what}; expected an unconditional U-Net, 'UNet' or 'UNet2DModel'.")
    if name == "UNet2DModel":
        return
    known = UNet._get_init_keys(UNet) - {"self"}
    given = {key for key in config if not key.startswith("_")}
    if given - known:
        raise ValueError(f"{path} has an unknown setting {min(given - known)!r}; expected only {sorted(known)}.")
    if config.get("pooling_strides") is None:
        raise ValueError(f"{path} has no 'pooling_strides'; expected a list such as [1, 2, 2, 2].")


def _build(cls: type, config: Mapping[str, Any], path: Path) -> Any:
    try:
        (check_unet_settings if cls is UNet else check_schedule_settings)(config)
        return cls.from_config(dict(config))
    except ValueError as error:
        raise ValueError(f"{path} describes no usable {cls.__name__}: {error}") from error
    except Exception as error:  # a wrong type somewhere in the config surfaces as anything
        kind = type(error).__name__
        raise ValueError(f"{path} describes no usable {cls.__name__} ({kind}: {error}).") from error


def _check_weights(unet: UNet, weights: Mapping[str, Tensor], path: Path) -> None:
    expected = unet.state_dict()
    missing, foreign = sorted(expected.keys() - weights.keys()), sorted(weights.keys() - expected.keys())
    if missing or foreign:
        what = f"lacks {missing[0]!r}" if missing else f"holds {foreign[0]!r}"
        raise ValueError(f"{path} {what}: it does not belong to this config ({len(expected)} tensors expected).")
    for name, value in weights.items():
        if value.shape != expected[name].shape:
            found, wanted = list(value.shape), list(expected[name].shape)
            raise ValueError(f"{path} holds {name!r} of shape {found}; the config expects {wanted}.")
        if value.is_floating_point() != expected[name].is_floating_point():
            raise ValueError(f"{path} holds {name!r} as {value.dtype}; expected {expected[name].dtype}.")

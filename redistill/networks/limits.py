"""How large a network may be that settings from elsewhere describe: held to before anything of it is built."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..common.values import is_number, is_whole, shown
from .pooling_points import check_image_size

MOST_LEVELS, MOST_LAYERS = 16, 128  # of a U-Net; layers over all levels
MOST_CHANNELS = 8192
MOST_SIDE = 16_384  # pixels
MOST_CLASSES = 100_000
MOST_TIMESTEPS = 100_000  # of a noise schedule
MOST_POINTS = 1000  # with strides
MOST_TEXT = 200  # characters of a setting
STEPS = 1000  # of a noise schedule that does not say, as in diffusers
_ENDLESS = ("lambda_min_clipped",)  # which is -inf where nothing is clipped
_LISTED = 4 * MOST_LAYERS  # entries of a list or table in it

# The whole numbers in settings of a U-Net that decide how large it becomes; None is a value of some.
_U_NET = {
    "sample_size": MOST_SIDE,
    "in_channels": 1024,
    "out_channels": 1024,
    "layers_per_block": MOST_LAYERS,
    "block_out_channels": MOST_CHANNELS,
    "time_embedding_dim": 8 * MOST_CHANNELS,
    "num_class_embeds": MOST_CLASSES,
    "num_train_timesteps": MOST_TIMESTEPS,
    "attention_head_dim": MOST_CHANNELS,
    "norm_num_groups": MOST_CHANNELS,
    "attn_norm_num_groups": MOST_CHANNELS,
    "pooling_strides": 1024,
}


def check_unet_settings(settings: Mapping[str, Any]) -> None:
    """ValueError for settings of a U-Net that would take all time or memory to build, and come from no trained one.

    Numbers are held to their limits, in lists too, texts and lists to a length; what they mean is for the network.
    """
    levels, layers = settings.get("block_out_channels"), settings.get("layers_per_block") or 1
    levels = len(levels) if isinstance(levels, (list, tuple)) else 1
    if levels > MOST_LEVELS or not is_whole(layers, 1, MOST_LAYERS // levels):
        raise ValueError(f"it is too deep; expected {MOST_LEVELS} levels and {MOST_LAYERS} layers in all, at most")
    for name, value in settings.items():
        for one in value if isinstance(value, (list, tuple)) else [value]:
            if name in _U_NET and one is not None and not is_whole(one, 1, _U_NET[name]):
                raise ValueError(f"{name} is {shown(value)}; expected whole numbers from 1 to {_U_NET[name]:,}")
        _check_plain(name, value)


def check_schedule_settings(settings: Mapping[str, Any]) -> None:
    """The same for settings of a noise schedule."""
    for name, value in settings.items():
        if name in ("num_train_timesteps", "trained_betas") and value is not None:
            length = len(value) if isinstance(value, (list, tuple)) else value
            if not is_whole(length, 1, MOST_TIMESTEPS):
                raise ValueError(f"{name} is {shown(value)}; expected 1 to {MOST_TIMESTEPS:,} steps")
        if name in ("beta_start", "beta_end") and not (is_number(value) and 0 <= value <= 1):
            raise ValueError(f"{name} is {shown(value)}; expected a number from 0 to 1")
        if name != "trained_betas" and not (name in _ENDLESS and value == -math.inf):
            _check_plain(name, value)
    betas, steps = settings.get("trained_betas"), settings.get("num_train_timesteps", STEPS)
    if betas is not None and (len(betas) != steps or not all(is_number(beta) and 0 <= beta <= 1 for beta in betas)):
        raise ValueError(f"trained_betas are {len(betas):,} values; expected {steps:,} numbers from 0 to 1")


def check_student_size(image_size: Any, num_classes: Any) -> None:
    """ValueError for more pixels a side, or more classes, than any network here could have."""
    if any(side > MOST_SIDE for side in check_image_size(image_size)):
        raise ValueError(f"Image size is {shown(image_size)}; expected at most {MOST_SIDE:,} pixels a side.")
    if num_classes is not None and not is_whole(num_classes, 0, MOST_CLASSES):
        raise ValueError(f"num_classes is {shown(num_classes)}; expected a whole number from 1 to {MOST_CLASSES:,}.")


def _check_plain(name: str, value: Any) -> None:
    """ValueError for a number that no float holds, and for texts, lists and tables that are too long.

    Names with an underscore are diffusers' own notes, of which nothing is built.
    """
    if name.startswith("_"):
        return
    long = isinstance(value, (list, tuple, Mapping)) and len(value) > _LISTED
    long = long or (isinstance(value, str) and len(value) > MOST_TEXT)
    odd = (
        isinstance(value, int) and not isinstance(value, bool) and not is_whole(value, -MOST_TIMESTEPS, MOST_TIMESTEPS)
    )
    if long or odd or (isinstance(value, float) and not is_number(value)):
        raise ValueError(f"{name} is {shown(value)}, beyond what any network has")

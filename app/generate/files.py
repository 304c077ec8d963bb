"""Files of the samples on tab Generate, with the settings inside: PNGs, and a zip of them all. No gradio."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from redistill.diffusion.images import to_png
from redistill.diffusion.sampling import to_grid

from .samples import Samples


def image_png(samples: Samples, seed: int) -> bytes:
    """One image with the settings that sample it again."""
    return to_png(samples.images[samples.row(seed)], samples.settings.of(seed).to_dict())


def image_name(samples: Samples, seed: int) -> str:
    """ "emoji-faces-teacher-seed-3.png": letters, digits and dashes, whatever the network is called."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", samples.settings.checkpoint).strip("-") or "network"
    return f"{name}-seed-{seed}.png"


def grid_png(all_samples: Sequence[Samples]) -> bytes:
    """All images in one: a row for each network, a column for each seed; smaller images are enlarged to the largest."""
    side = max(max(samples.images.shape[-2:]) for samples in all_samples)
    rows = [_enlarged(samples.images, side) for samples in all_samples]
    return to_png(to_grid(torch.cat(rows), columns=len(all_samples[0].images)), settings_of(all_samples))


def zip_file(all_samples: Sequence[Samples]) -> bytes:
    """Every image, the grid, and `settings.json`; images of one network in a folder of their own."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("settings.json", json.dumps(settings_of(all_samples), indent=2) + "\n")
        archive.writestr("grid.png", grid_png(all_samples))
        for number, samples in enumerate(all_samples, 1):
            for seed in samples.settings.seeds:
                archive.writestr(f"{number}/{image_name(samples, seed)}", image_png(samples, seed))
    return buffer.getvalue()


def settings_of(all_samples: Sequence[Samples]) -> dict[str, Any]:
    """The settings of several networks, in the order in which they are shown."""
    return {"networks": [samples.settings.to_dict() for samples in all_samples]}


def _enlarged(images: Tensor, side: int) -> Tensor:
    if images.shape[-2:] == (side, side):
        return images
    return F.interpolate(images.float(), (side, side), mode="nearest").to(torch.uint8)

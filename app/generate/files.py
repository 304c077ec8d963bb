"""Files of what was drawn on tab Generate, with the settings inside: PNGs, and a zip of them all. No gradio."""

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

from .painters import Painting


def image_png(painting: Painting, seed: int) -> bytes:
    """One image with the settings that draw it again."""
    return to_png(painting.images[painting.row(seed)], painting.drawing.of(seed).to_dict())


def image_name(painting: Painting, seed: int) -> str:
    """ "emoji-faces-teacher-seed-3.png": letters, digits and dashes, whatever the network is called."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", painting.drawing.checkpoint).strip("-") or "network"
    return f"{name}-seed-{seed}.png"


def grid_png(paintings: Sequence[Painting]) -> bytes:
    """All images in one: a row for each network, a column for each seed; smaller images are enlarged to the largest."""
    side = max(max(painting.images.shape[-2:]) for painting in paintings)
    rows = [_enlarged(painting.images, side) for painting in paintings]
    return to_png(to_grid(torch.cat(rows), columns=len(paintings[0].images)), settings(paintings))


def zip_file(paintings: Sequence[Painting]) -> bytes:
    """Every image, the grid, and `settings.json`; images of one network in a folder of their own."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("settings.json", json.dumps(settings(paintings), indent=2) + "\n")
        archive.writestr("grid.png", grid_png(paintings))
        for number, painting in enumerate(paintings, 1):
            for seed in painting.drawing.seeds:
                archive.writestr(f"{number}/{image_name(painting, seed)}", image_png(painting, seed))
    return buffer.getvalue()


def settings(paintings: Sequence[Painting]) -> dict[str, Any]:
    """The settings of several networks, in the order in which they are shown."""
    return {"networks": [painting.drawing.to_dict() for painting in paintings]}


def _enlarged(images: Tensor, side: int) -> Tensor:
    if images.shape[-2:] == (side, side):
        return images
    return F.interpolate(images.float(), (side, side), mode="nearest").to(torch.uint8)

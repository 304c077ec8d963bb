"""Small picture files that tests write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, width: int = 20, height: int = 16) -> Image.Image:
    """A picture of noise over one colour, another for every seed."""
    random = np.random.default_rng(seed)
    colour = random.integers(40, 216, 3)
    pixels = colour + random.integers(-40, 40, (height, width, 3))
    return Image.fromarray(pixels.astype(np.uint8))


def write_classes(folder: Path, classes: dict[str, int], seed: int = 0) -> Path:
    """A folder with so many PNG pictures in a subfolder for each class."""
    for place, (name, count) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            picture(seed + 1000 * place + number).save(folder / name / f"{number:03d}.png")
    return folder


def scene(number: int, side: int = 120) -> Image.Image:
    """A picture of soft spots of colour, as unlike others as photographs are; the same for the same number."""
    spots = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(spots).resize((side, side), Image.Resampling.BICUBIC)

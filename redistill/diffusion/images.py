"""Sampled images as PNG files that carry all settings which give the same image again.

They are JSON in the text chunk `redistill` (PNG specification, section 11.3.4): `read_settings` reads them there,
`sample` takes them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, PngImagePlugin
from torch import Tensor, nn

from ..checkpoint.pipeline import Scheduler, weight_files

KEY = "redistill"  # of the text chunk
PACKAGES = ("torch", "diffusers")


@dataclass(frozen=True)
class SampleSettings:
    """How images of one checkpoint were sampled."""

    checkpoint: str  # name of one that ships, folder, or Hub id
    fingerprint: str  # of its weights and settings, see `weights_fingerprint`
    seeds: tuple[int, ...]  # one an image
    scheduler: str
    steps: int  # denoising steps; of images that were stopped midway, those that were planned
    prediction_type: str
    image_size: tuple[int, int]  # (height, width) in pixels
    versions: dict[str, str]  # of the packages that computed
    stopped_at: int | None = None  # the step after which it was stopped; None: all steps were taken

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, keyed by field name."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> SampleSettings:
        """Rebuild from `to_dict`; ValueError for anything else."""
        names = {item.name for item in dataclasses.fields(cls)}
        if not isinstance(values, dict) or set(values) != names:
            raise ValueError(f"Settings are {str(values)[:80]!r}; expected an object with {sorted(names)}.")
        sequences = {name: tuple(values[name]) for name in ("seeds", "image_size")}
        return cls(**values | sequences)

    def of(self, seed: int) -> SampleSettings:
        """The settings of one of the images alone."""
        return dataclasses.replace(self, seeds=(seed,))


def sample_settings(
    checkpoint: str,
    folder: Path,
    model: nn.Module,
    base: Scheduler,
    seeds: Sequence[int],
    scheduler: str,
    steps: int,
    image_size: int | None = None,
) -> SampleSettings:
    """The settings of `sample` for this model, loaded from `folder`, at `image_size` or else its own."""
    size = model.config.sample_size if image_size is None else image_size
    return SampleSettings(
        checkpoint=checkpoint,
        fingerprint=weights_fingerprint(folder),
        seeds=tuple(seeds),
        scheduler=scheduler,
        steps=steps,
        prediction_type=base.config.prediction_type,
        image_size=(size, size) if isinstance(size, int) else tuple(size),
        versions={name: version(name) for name in PACKAGES},
    )


def weights_fingerprint(folder: str | Path) -> str:
    """Twenty characters that change with the weights of a pipeline's folder, its network's config or its schedule."""
    digest = hashlib.sha256()
    for path in weight_files(folder):
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:20]


def to_png(image: Tensor, settings: dict[str, Any]) -> bytes:
    """A uint8 image (3, height, width) as a PNG file with `settings` (JSON values) inside."""
    info = PngImagePlugin.PngInfo()
    info.add_text(KEY, json.dumps(settings))
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


def read_settings(file: str | Path | BinaryIO) -> dict[str, Any]:
    """The settings in a PNG file of `to_png`; ValueError for a file that holds none."""
    with Image.open(file, formats=("PNG",)) as image:
        text = image.info.get(KEY)
    try:
        return json.loads(text)
    except (TypeError, json.JSONDecodeError):
        raise ValueError(f"The picture holds no settings under {KEY!r}; expected one that redistill wrote.") from None

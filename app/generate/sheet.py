"""One picture to take home: all images enlarged, with networks and seeds, and the way to one of them. No gradio."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from torch import Tensor

from redistill.diffusion.images import KEY

from .files import settings_of
from .samples import Samples

SIDE = 96  # pixels of an image in it, at least: smaller ones are enlarged by a whole number
GAP, MARGIN, LINE = 8, 20, 22  # pixels
FONT = 14
COLUMNS = 8  # images in a line
INK, PALE, PAPER = "#1f2937", "#5b6675", "#ffffff"


def sheet_png(all_samples: Sequence[Samples], seed: int) -> bytes:
    """The sheet with all images and the way to that of `seed` as a PNG file, the settings of all networks inside."""
    rows: list[Image.Image] = []
    for samples in all_samples:
        seeds = samples.settings.seeds
        for start in range(0, len(seeds), COLUMNS):
            part = [(f"seed {seeds[i]}", samples.images[i]) for i in range(start, min(start + COLUMNS, len(seeds)))]
            rows.append(_row("" if start else samples.title, part))
    rows.append(_row(f"Seed {seed}, from noise to image: what each step expects", []))
    for samples in all_samples:
        way = [(f"step {step}" if step else "noise", image) for step, image in samples.moments(seed)]
        rows.append(_row(samples.title, way))
    width = max(row.width for row in rows) + 2 * MARGIN
    sheet = Image.new("RGB", (width, sum(row.height + GAP for row in rows) + 2 * MARGIN - GAP), PAPER)
    top = MARGIN
    for row in rows:
        sheet.paste(row, (MARGIN, top))
        top += row.height + GAP
    info, buffer = PngImagePlugin.PngInfo(), io.BytesIO()
    info.add_text(KEY, json.dumps(settings_of(all_samples)))
    sheet.save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


def _row(title: str, images: Sequence[tuple[str, Tensor]]) -> Image.Image:
    """A line of images with their labels below, its title above where it has one."""
    font = ImageFont.load_default(size=FONT)
    pictures = [(label, _enlarged(image)) for label, image in images]
    above = LINE if title else 0
    width = sum(picture.width + GAP for _, picture in pictures)
    height = above + max((picture.height + LINE for _, picture in pictures), default=0)
    row = Image.new("RGB", (max(width, int(font.getlength(title)) + GAP), height), PAPER)
    draw, left = ImageDraw.Draw(row), 0
    draw.text((0, 0), title, fill=INK, font=font)
    for label, picture in pictures:
        row.paste(picture, (left, above))
        draw.text((left, above + picture.height + 2), label, fill=PALE, font=font)
        left += picture.width + GAP
    return row


def _enlarged(image: Tensor) -> Image.Image:
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    times = -(-SIDE // max(picture.size))
    return picture.resize((times * picture.width, times * picture.height), Image.Resampling.NEAREST)

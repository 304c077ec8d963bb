"""The memory chart of a network and its teacher as a PNG, for model cards: bytes alive at each operator."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw

from ..memory import MemoryProfile

SIZE = (960, 360)  # pixels, of which a caller may change the height
LEFT, RIGHT, TOP, BOTTOM = 70, 16, 34, 24  # around the chart
STEPS = (1, 2, 5)  # of a scale, times powers of ten
LINES = 5  # of the scale, at most


def memory_png(profile: MemoryProfile, most: int, title: str, tall: int = SIZE[1]) -> bytes:
    """A PNG of the bytes alive while each operator of a profile runs, RED blocks in red, on a scale up to `most`."""
    picture = Image.new("RGB", (SIZE[0], tall), "white")
    draw = ImageDraw.Draw(picture)
    width, height = SIZE[0] - LEFT - RIGHT, tall - TOP - BOTTOM
    bottom = TOP + height
    for kib in _scale(most / 1024):
        y = bottom - round(height * kib * 1024 / most)
        draw.line((LEFT, y, LEFT + width, y), fill="#d7dee5")
        draw.text((LEFT - 6, y), f"{kib:,g} KiB", fill="#5b6773", anchor="rm")
    line = profile.timeline
    for index, op in enumerate(line):
        left, right = (LEFT + round(width * place / len(line)) for place in (index, index + 1))
        top = bottom - round(height * op.live_bytes / most)
        draw.rectangle((left, top, max(left, right - 1), bottom), fill="#e5484d" if op.is_red else "#5fb5ac")
    peak = f"peak {profile.peak_bytes:,} bytes at {profile.peak_layer or 'forward'}"
    draw.text((LEFT, TOP - 8), f"{title}: {peak}", fill="#1c2733", anchor="ls", font_size=15)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _scale(most: float) -> list[float]:
    """Round numbers from 0 to `most`, at most LINES of them besides 0."""
    power = 1.0
    while True:
        for step in STEPS:
            if most / (step * power) <= LINES:
                return [step * power * count for count in range(int(most / (step * power)) + 1)]
        power *= 10

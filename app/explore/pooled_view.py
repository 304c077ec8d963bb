"""What pooling destroys of a picture, as HTML. Whatever comes from outside is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import torch
from torch import Tensor
from torch.nn import functional as F

from redistill.training.insight import AtStrides, BlockMaps, PairMaps, Sight

from ..parts.fragments import image_tag
from ..words.numbers import format_bytes, format_number, format_percent

# Seven colours of viridis (van der Walt and Smith, CC0), dark to light: told apart without colour vision, too.
COLOURS = torch.tensor(
    [[68, 1, 84], [68, 57, 131], [49, 104, 142], [33, 145, 140], [53, 183, 121], [144, 215, 67], [253, 231, 37]]
)
SHOWN = 128  # pixels a side, at least, of a picture with what is looked at


def sight_figure(title: str, picture: Tensor, sight: Sight, names: Sequence[str], right: int | None) -> str:
    """A picture with the places that a network looks at, its answer and how sure it is."""
    said = f"{names[sight.answer]}, {format_percent(float(sight.probabilities.max()))}"
    kind = "" if right is None else ("fits" if sight.answer == right else "misses")
    verdict = {"": "", "fits": " (right)", "misses": " (wrong)"}[kind]
    return (
        f"<figure>{image_tag(_overlaid(picture, sight.place), f'{title} looks here')}<figcaption>{escape(title)}<br>"
        f'<strong class="{kind}">{escape(said)}{verdict}</strong></figcaption></figure>'
    )


def picture_figure(picture: Tensor, name: str | None) -> str:
    """The picture itself, and what it shows where that is known."""
    said = f"The picture<br><strong>{escape(name)}</strong>" if name else "The picture"
    return f"<figure>{image_tag(_large(picture), 'the picture')}<figcaption>{said}</figcaption></figure>"


def sights(figures: Sequence[str]) -> str:
    """The first row: the picture, and where teacher and student look."""
    return (
        f'<div class="sights">{"".join(figures)}</div><p class="subline">Bright: what the answer rests on most '
        "(Grad-CAM of the last maps).</p>"
    )


def pair_rows(pairs: Sequence[PairMaps]) -> str:
    """Teacher’s and student’s maps, a column for each aligned pair."""
    columns = "".join(
        f"<figure>{_map(pair.teacher, f'teacher’s {pair.teacher_layer}')}"
        f"<p><code>{escape(pair.teacher_layer)}</code> {_size(pair.teacher)}</p>"
        f"{_map(pair.student, f'student’s {pair.student_layer}')}"
        f"<figcaption><code>{escape(pair.student_layer)}</code> {pair.side} {_size(pair.student)}<br>"
        f"apart {format_number(pair.distance)}</figcaption></figure>"
        for pair in pairs
    )
    return _section("Maps at each aligned pair", "teacher above, student below", columns) + (
        '<p class="subline">Means over channels, each map in its own range. Apart: cosine distance, 0 where both point '
        "the same way.</p>"
    )


def block_rows(blocks: Sequence[BlockMaps]) -> str:
    """What each RED block keeps of its map, and what it adds."""
    columns = "".join(
        f"<figure>{_part(block.gate, 'gate', block.path)}{_part(block.residual, 'adds', block.path)}"
        f"<figcaption><code>{escape(block.path)}</code></figcaption></figure>"
        for block in blocks
    )
    if not blocks:
        return '<p class="subline">This student has no RED blocks.</p>'
    return _section("Inside its RED blocks", "the gate above, what the residual encoder adds below", columns)


def stride_slider(picture: Tensor, steps: Sequence[AtStrides], names: Sequence[str], right: int | None) -> str:
    """A slider through the strides of a network for every budget, and where its answer flips."""
    frames = "".join(
        f'<div class="stride-frame" {"" if number == len(steps) - 1 else "hidden"}>'
        f"{sight_figure(_strides(step), picture, step.sight, names, right)}<p>Peak "
        f"<strong>{format_bytes(step.candidate.peak_bytes)}</strong><br>{format_percent(step.known.accuracy)} of the "
        "validation pictures are right at these strides.</p></div>"
        for number, step in enumerate(steps)
    )
    answers = [names[step.sight.answer] for step in steps]
    flips = [
        f"{escape(before)} becomes {escape(after)} at {format_bytes(low.candidate.peak_bytes)}"
        for before, after, low in zip(answers[:0:-1], answers[-2::-1], steps[-2::-1], strict=True)
        if before != after
    ]
    said = (
        f"Its answer flips: {', '.join(flips)}." if flips else f"Its answer stays {escape(answers[-1])} at all of them."
    )
    ticks = "".join(f"<span>{format_bytes(step.candidate.peak_bytes)}</span>" for step in steps)
    return (
        '<h4 class="maps-title">One network, less and less memory <span>the best strides of each peak</span></h4>'
        f'<p class="student">{said}</p><input type="range" min="0" max="{len(steps) - 1}" value="{len(steps) - 1}" '
        f'step="1" aria-label="Strides, from the least memory to the most" data-frames><div class="ticks">{ticks}</div>'
        f"{frames}"
    )


def _strides(step: AtStrides) -> str:
    return f"strides {'·'.join(map(str, step.candidate.strides.values()))}"


def _section(title: str, remark: str, columns: str) -> str:
    return (
        f'<h4 class="maps-title">{title} <span>{remark}</span></h4><div class="scroll" role="group" tabindex="0" '
        f'aria-label="{title}"><div class="maps">{columns}</div></div>'
    )


def _part(values: Tensor | None, what: str, path: str) -> str:
    if values is None:
        return f"<p>no {what}</p>"
    low, high = float(values.min()), float(values.max())
    return f"{_map(values, f'{what} of {path}')}<p>{what} {low:.2f} to {high:.2f}</p>"


def _map(values: Tensor, alt: str) -> str:
    return image_tag(_coloured(_spread(values)), alt)


def _size(values: Tensor) -> str:
    return f"{values.shape[0]}×{values.shape[1]}"


def _spread(values: Tensor) -> Tensor:
    low, high = values.min(), values.max()
    return (values - low) / (high - low).clamp(min=1e-12)


def _coloured(shares: Tensor) -> Tensor:
    """Values from 0 to 1, (height, width), as colours: uint8 (3, height, width)."""
    place = shares.clamp(0, 1) * (len(COLOURS) - 1)
    low = place.floor().long().clamp(max=len(COLOURS) - 2)
    part = (place - low)[..., None]
    return (COLOURS[low] * (1 - part) + COLOURS[low + 1] * part).round().to(torch.uint8).permute(2, 0, 1)


def _overlaid(picture: Tensor, place: Tensor) -> Tensor:
    return _large((0.45 * picture + 0.55 * _coloured(place)).round().to(torch.uint8))


def _large(picture: Tensor) -> Tensor:
    times = max(1, -(-SHOWN // picture.shape[-1]))
    return F.interpolate(picture[None].float(), scale_factor=times, mode="nearest")[0].to(torch.uint8)

"""The quality figures of a network's card in words for everybody. Whatever comes from outside is escaped here."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from redistill.common.values import is_number, is_whole

from ..parts.explain import info
from ..words.quality import figure_text, margins_of

DISTANCES = {"fid": "FID", "kid": "KID"}
SHARES = {"recall": "Variety kept (recall), of 1", "precision": "Realism (precision), of 1"}


def quality_line(quality: Mapping[str, Any], with_basis: bool) -> str:
    """The figures of a card as HTML, with what they depend on unless that is said elsewhere."""
    said = figures(quality)
    if not said:
        return ""
    return f'<p class="samples-quality">{said}</p>{basis(quality) if with_basis else ""}'


def figures(quality: Mapping[str, Any]) -> str:
    """The figures of a card that are numbers and say something, as HTML; empty where there are none."""
    near = {name: title for name, title in DISTANCES.items() if _says(quality, name)}
    far = [f'<strong class="nowrap">{title} {figure_text(quality, name)}</strong>' for name, title in near.items()]
    distance = [f"Distance from real pictures, lower is better {info('FID, KID')} {', '.join(far)}"] if far else []
    shares = [
        f"{words} {info(name)} <strong>{figure_text(quality, name)}</strong>"
        for name, words in SHARES.items()
        if _says(quality, name)
    ]
    return "<br>".join([*distance, *shares])


def basis(quality: Mapping[str, Any]) -> str:
    """What was compared and what it is too few for, in plain words, and in a fold by what; as HTML."""
    counts = [quality.get(name) for name in ("images", "reference_images")]
    said = "Quality was measured before, not on the images above"
    if all(is_whole(count, 1) for count in counts):
        said += f": {counts[0]:,} drawn pictures, as a whole, against {counts[1]:,} real ones"
    depends = {"features": "by {}", "drawn": "{}", "reference": "against {}"}
    how = "; ".join(form.format(quality[name]) for name, form in depends.items() if isinstance(quality.get(name), str))
    fold = f'<details class="quality-how"><summary>How it was measured</summary><p>{escape(how)}.</p></details>'
    warning = f" {escape(quality['warning'])}" if isinstance(quality.get("warning"), str) else ""
    return f'<p class="subline">{said}.{warning}</p>{fold if how else ""}'


def _says(quality: Mapping[str, Any], name: str) -> bool:
    """Whether it is a number whose interval, where it has one, does not reach down to nothing."""
    margin = margins_of(quality).get(name)
    return is_number(quality.get(name)) and not (is_number(margin) and margin >= quality[name])

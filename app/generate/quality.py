"""The quality figures of a network's card in words for everybody. Whatever comes from outside is escaped here."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from redistill.common.values import is_number

from ..parts.explain import info
from ..words.quality import figure_text, margins_of

DISTANCES = {"fid": "FID", "kid": "KID"}
SHARES = {"recall": "Variety kept (recall), of 1", "precision": "Realism (precision), of 1"}


def quality_line(quality: Mapping[str, Any], with_basis: bool) -> str:
    """The figures of a card as HTML, with what they depend on unless that is said elsewhere."""
    said = figures(quality)
    if not said:
        return ""
    on = f" {escape(basis(quality))}" if with_basis else ""
    return f'<p class="samples-quality">{said}{on}</p>'


def figures(quality: Mapping[str, Any]) -> str:
    """The figures of a card that are numbers and say something, as HTML; empty where there are none."""
    near = {name: title for name, title in DISTANCES.items() if _says(quality, name)}
    far = [f"<strong>{title} {figure_text(quality, name)}</strong>" for name, title in near.items()]
    distance = [f"Distance from real pictures, lower is better {info('FID, KID')} {', '.join(far)}"] if far else []
    shares = [
        f"{words} {info(name)} <strong>{figure_text(quality, name)}</strong>"
        for name, words in SHARES.items()
        if _says(quality, name)
    ]
    return "<br>".join([*distance, *shares])


def basis(quality: Mapping[str, Any]) -> str:
    """Which features, how many images, against which reference, and what that is too few for."""
    depends = {"features": "by {}", "drawn": "{}", "reference": "against {}"}
    said = [form.format(quality[name]) for name, form in depends.items() if isinstance(quality.get(name), str)]
    warning = quality.get("warning")
    sentences = [f"{'; '.join(said)}."] if said else []
    return " ".join([*sentences, *([warning] if isinstance(warning, str) else [])])


def _says(quality: Mapping[str, Any], name: str) -> bool:
    """Whether it is a number whose interval, where it has one, does not reach down to nothing."""
    margin = margins_of(quality).get(name)
    return is_number(quality.get(name)) and not (is_number(margin) and margin >= quality[name])

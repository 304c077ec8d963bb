"""The quality figures of what diffusion networks draw, as their cards hold them (`Quality.to_dict`), in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redistill.common.values import is_number

from . import numbers


def figure_text(quality: Mapping[str, Any], name: str) -> str:
    """A figure that is a number, with its margin where the card has one: "0.154 ± 0.031"."""
    margin = margins_of(quality).get(name)
    return numbers.format_margin(quality[name], margin) if is_number(margin) else numbers.format_number(quality[name])


def margins_of(quality: Mapping[str, Any]) -> Mapping[str, Any]:
    """Half of each figure's 95 % interval, as far as a card says; values may be no numbers."""
    margins = quality.get("margins")
    return margins if isinstance(margins, Mapping) else {}

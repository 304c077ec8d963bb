"""What networks that draw can be judged by beside their loss: KID, FID and recall of their pictures. No gradio."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from redistill.common.values import is_number

from ..runs.result import LOSS, Result
from ..words.quality import figure_text, margins_of

QUALITY = {"kid": "KID", "fid": "FID", "recall": "recall"}  # as cards have them → in words
TITLES = {"": "Test loss", "kid": "KID", "fid": "FID", "recall": "Recall"}  # of all figures to choose from


def quality_of(result: Result) -> dict[str, float]:
    """KID, FID and recall of a diffusion network, as far as its card has them as numbers."""
    quality = _card(result)
    return {name: float(quality[name]) for name in QUALITY if is_number(quality.get(name))}


def quality_text(result: Result, name: str) -> str:
    """One of QUALITY with its margin; "–" where none was measured."""
    return figure_text(_card(result), name) if name in quality_of(result) else "–"


def figures_of(results: Sequence[Result]) -> list[str]:
    """By which of TITLES results of one group can be judged: "" by their test score, and what any of them has."""
    return ["", *(name for name in QUALITY if any(name in quality_of(result) for result in results))]


def judged_by(results: Sequence[Result], name: str) -> list[Result]:
    """The results with one of QUALITY as their score, None for those that have none; as they are for ""."""
    return [_judged(result, name) for result in results] if name else list(results)


def _judged(result: Result, name: str) -> Result:
    score, margin = quality_of(result).get(name), margins_of(_card(result)).get(name)
    margin = float(margin) if is_number(margin) else None
    return dataclasses.replace(
        result, judged_by=name, score=score, margin=margin, scores=(), is_tested=score is not None
    )


def test_loss(result: Result) -> float | None:
    """Its test loss, whatever it is judged by; None where there is none."""
    loss = result.figures.get(f"test_{LOSS}")
    return float(loss) if is_number(loss) else None


def _card(result: Result) -> Mapping[str, Any]:
    quality = result.figures.get("quality")
    return quality if isinstance(quality, Mapping) else {}

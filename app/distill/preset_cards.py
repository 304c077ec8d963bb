"""Presets as cards: what each is expected to give, needs and takes here. The first list is open, others fold."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import gradio as gr

from redistill.training.presets import PRESETS, Preset

from ..parts.scripted import script
from ..runs import expected
from ..words.numbers import format_bytes, format_margin, format_number, format_percent, format_ratio

FIRST, DRAWING, PHOTOS, PAPER = "embedded", "drawing", "photographs", "paper"
TITLES = {  # of the lists; the first stands open
    FIRST: "Start from",
    DRAWING: "Diffusion networks, and one that judges them",
    PHOTOS: "Photographs, downloaded on first use",
    PAPER: "Settings of the paper",
}


class PresetCards(gr.HTML):
    """A gradio component whose value is the name of the marked preset, None for none; `pick` is a person's choice.

    `lists` are dicts of title and cards, each a dict of name, title and facts.
    """

    def __init__(self, value: str | None = None, *, lists: list[dict[str, Any]] | None = None, **kwargs: Any) -> None:
        self.lists = lists or []  # an attribute too, see `StridePicker`
        super().__init__(
            value or "",
            html_template='<div class="preset-cards"></div>',
            js_on_load=script("preset_cards"),
            lists=self.lists,
            **kwargs,
        )

    def postprocess(self, value: str | None) -> str:
        return value or ""

    def preprocess(self, payload: Any) -> Any:
        """The value as the page sent it, whatever it is."""
        return payload

    def api_info(self) -> dict[str, Any]:
        return {"type": "string"}


def list_cards(known: bool = False) -> list[dict[str, Any]]:
    """All presets by list; with what they give and take once that is `known`, which costs a few seconds the first
    time."""
    cards: dict[str, list[dict[str, str]]] = {name: [] for name in TITLES}
    for preset in PRESETS.values():
        card = {"name": preset.name, "title": preset.title, "facts": facts(preset.name) if known else ""}
        cards[_list_of(preset)].append(card)
    return [{"title": title, "cards": cards[name]} for name, title in TITLES.items()]


def show_facts() -> PresetCards:
    """The cards with what their presets give and take, for a tab that is seen."""
    return PresetCards(lists=list_cards(known=True))


@lru_cache(maxsize=64)
def facts(name: str) -> str:
    """ "64.0 KiB (5.0× less) · 95.3 ± 0.4 % (3 seeds) · about 8 min here"; what nobody has measured is left out."""
    try:
        found = expected.expect(name)
    except ValueError:
        return ""
    student, teacher = found.memory.student.peak_bytes, found.memory.teacher.peak_bytes
    less = f" ({format_ratio(teacher, student)} less)" if student < teacher else ""
    words = [f"{format_bytes(student)}{less}", _score(found)]
    if found.seconds is not None:
        words.append(f"about {_rounded(found.seconds)} here")
    return " · ".join(filter(None, words))


def _score(found: expected.Expected) -> str:
    result = found.result
    if result is None:
        return ""
    if not result.is_classifier:
        return f"test loss {format_number(result.score)}"
    if len(result.seeds) < 2:
        return format_percent(result.score)
    return f"{format_margin(100 * result.score, 100 * result.spread)} % ({len(result.seeds)} seeds)"


def _rounded(seconds: float) -> str:
    """A duration without more digits than the trial can tell."""
    if seconds < 90:
        return f"{max(5, 5 * round(seconds / 5))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    hours = seconds / 3600
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"


def _list_of(preset: Preset) -> str:
    """Which list shows a preset."""
    if preset.group in (PHOTOS, PAPER):
        return preset.group
    if preset.config.student.task == "diffusion" or preset.config.dataset == "emoji-identity":  # what judges drawings
        return DRAWING
    return FIRST

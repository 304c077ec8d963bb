"""Small pieces of the page as HTML text. Whatever comes from outside is escaped here."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image
from torch import Tensor

from ..words.places import hide_places


def notice(title: str, text: str, kind: str = "warning") -> str:
    """A sentence set apart: `kind` "warning" for what did not work, "hint" for what one should know.

    Places of this machine in it are left out: whoever is at the page has no use for them, and may be anybody.
    """
    text = hide_places(text)
    head = f"<strong>{escape(title)}</strong> " if title else ""
    role = ' role="alert"' if kind == "warning" else ""
    return f'<div class="notice {kind}"{role}>{head}{escape(text)}</div>'


def field_refusal(text: str) -> str:
    """Why a field's value is not taken, to stand below it: in an `elem_classes="field-said"`, which marks the field."""
    return f'<p class="field-refusal" role="alert">{escape(hide_places(text))}</p>'


def status_line(text: str) -> str:
    """What goes on at the moment, or has come of it; readers of the page aloud say it, too."""
    return f'<p class="subline" role="status">{escape(text)}</p>'


def progress_bar(title: str, state: str, share: float, words: str) -> str:
    """A run's title, how far it is and what it does at the moment."""
    percent = round(100 * min(1.0, max(0.0, share)), 1)
    return (
        f'<div class="run {escape(state)}"><div class="run-title">{escape(title)}</div>'
        f'<div class="bar" role="progressbar" aria-label="progress of the run" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{percent}"><div style="width:{percent}%"></div></div>'
        f'<div class="run-words">{escape(words)}</div></div>'
    )


def image_tag(image: Tensor, alt: str) -> str:
    """A uint8 image (3, height, width) at its own size, inside the page itself."""
    buffer = io.BytesIO()
    Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, format="PNG")
    return png_tag(buffer.getvalue(), alt)


def png_tag(content: bytes, alt: str) -> str:
    """A PNG file inside the page itself."""
    data = base64.b64encode(content).decode()
    return f'<img class="picture" alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def picture_strip(images: Sequence[Tensor], names: Sequence[str], title: str, attribution: str, facts: str = "") -> str:
    """A few pictures with what they show, what there is to know about them (HTML), and whom they are owed to."""
    figures = "".join(
        f"<figure>{image_tag(image, name)}<figcaption>{escape(name)}</figcaption></figure>"
        for image, name in zip(images, names, strict=True)
    )
    return (
        f'<div class="card"><h3 class="card-title">{escape(title)}</h3><p class="subline">{facts}</p>'
        f'<div class="strip">{figures}</div><p class="subline">{escape(attribution)}</p></div>'
    )

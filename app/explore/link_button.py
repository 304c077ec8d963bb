"""The link to what Explore shows: a button that copies it, an address bar that follows, a page that opens with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ..parts.fragments import notice
from ..parts.scripted import event_values, script
from .link import KEYS, Settings, clip, from_query, parse_query, to_query, unknown_keys

QUIET = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
CHANGED = "studio-settings"  # DOM event: a control has changed


class LinkButton(gr.HTML):
    """A gradio component whose value is the query string of the settings that the page shows.

    It triggers `stale` a moment after the last DOM event `CHANGED`, for the value to be brought up to date.
    """

    def __init__(self, value: str = "", **kwargs: Any) -> None:
        super().__init__(
            value,
            html_template='<button type="button" class="plain-button">Copy link</button>'
            '<input class="link-field" aria-label="Link to these settings" readonly hidden>'
            '<span class="sr-only" role="status"></span>',
            js_on_load=script("link_button"),
            changed=CHANGED,
            **kwargs,
        )

    def preprocess(self, payload: Any) -> str:
        """The query string as the page sends it, whatever it is: only ever compared with another."""
        return payload if isinstance(payload, str) else ""

    def api_info(self) -> dict[str, Any]:
        return {"type": "string"}


@dataclass(frozen=True)
class SettingsLink:
    """Fills Explore from a link, and keeps the link up to date with Explore's controls."""

    button: LinkButton
    said: gr.HTML  # what was wrong with the link that the page was opened with
    controls: Sequence[gr.components.Component]  # all settings, as `read` takes them
    drawn: Sequence[gr.components.Component]  # what else `draw` fills
    changing: Sequence[gr.components.Component]  # those whose change may mean other settings
    states: Sequence[gr.State]  # what `draw` needs besides the settings
    read: Callable[..., Settings]  # values of the controls, whatever they are; ValueError where they do not fit
    draw: Callable[..., list[Any]]  # settings and states to values of controls and drawn

    @property
    def outputs(self) -> list[gr.components.Component]:
        """What `open` fills."""
        return [self.said, self.button, *self.controls, *self.drawn]

    def attach(self, page: gr.Blocks) -> None:
        """Open the page's own link when it is loaded, and follow the controls from then on."""
        page.load(self.open_page, list(self.states), self.outputs, **QUIET)
        notify = f"() => {{ document.dispatchEvent(new Event('{CHANGED}')); }}"
        gr.on([component.change for component in self.changing], None, js=notify, **QUIET)
        self.button.stale(self.follow, [self.button, *self.controls], [self.button, self.said], **QUIET)

    def open_page(self, request: gr.Request, *states: Any) -> list[Any]:
        """What `open` gives for the address of the page; nothing changes where it has no query string."""
        given = request.query_params
        query: dict[str, list[str]] = {}
        for key, value in getattr(given, "multi_items", given.items)():
            query.setdefault(key, []).append(value)
        return self.open(query, *states)

    def open_row(self, event: gr.EventData, *states: Any) -> list[Any]:
        """What `open` gives for the query string of a table's row that was clicked."""
        try:
            query = event_values(event).get("query")
        except ValueError:
            query = None
        return self.open(parse_query(query if isinstance(query, str) else ""), *states)

    def open(self, query: Mapping[str, Sequence[str]], *states: Any) -> list[Any]:
        """Values of `outputs` for a query string; a sentence, and all else as it is, where that does not fit."""
        unknown = unknown_keys(query)
        if not unknown and not any(key in KEYS for key in query):
            return [gr.skip() for _ in self.outputs]
        try:
            settings = from_query(query)
            drawn = self.draw(settings, *states)
        except ValueError as error:
            said = notice("This link does not fit:", f"{error} The page shows its usual settings instead.")
            return [said, *(gr.skip() for _ in self.outputs[1:])]
        words = f"Left out of the link: {', '.join(map(clip, unknown))}, no setting of this page." if unknown else ""
        return [notice("", words, kind="hint") if words else "", to_query(settings), *drawn]

    def follow(self, query: str, *values: Any) -> list[Any]:
        """The link to these values of the controls; what was said of the one before goes when they differ from it."""
        try:
            now = to_query(self.read(*values))
        except ValueError:  # said above the chart; the link stays that of the last settings that fitted
            return [gr.skip(), gr.skip()]
        return [gr.skip(), gr.skip()] if now == query else [now, ""]

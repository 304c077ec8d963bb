"""The link to what Explore shows: a button that copies it, an address bar that follows, a page that opens with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ..parts.events import QUIET
from ..parts.fragments import notice
from ..parts.scripted import event_values, script
from .link import KEYS, Settings, clip, from_query, parse_query, to_query, unknown_keys

CHANGED = "studio-settings"  # DOM event: a control has changed
Values = Mapping[Any, Any]  # component → its value as it comes from the page


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
    inputs: set[Any]  # what `read` and `draw` need
    outputs: Sequence[Any]  # what `draw` fills
    changing: Sequence[Any]  # components whose change may mean other settings
    read: Callable[[Values], Settings]  # ValueError for values that do not fit
    draw: Callable[[Settings, Values], dict[Any, Any]]  # what to show for settings, beside what the page has now

    @property
    def opened(self) -> list[Any]:
        """What `open` fills."""
        return [self.said, self.button, *self.outputs]

    def attach(self, page: gr.Blocks) -> None:
        """Open the page's own link when it is loaded, and follow the controls from then on."""
        page.load(self.open_page, self.inputs, self.opened, **QUIET)
        notify = f"() => {{ document.dispatchEvent(new Event('{CHANGED}')); }}"
        gr.on([component.change for component in self.changing], None, js=notify, **QUIET)
        self.button.stale(self.follow, {self.button, *self.inputs}, [self.button, self.said], **QUIET)

    def open_page(self, values: Values, request: gr.Request) -> dict[Any, Any]:
        """What `open` gives for the address of the page; nothing changes where it has no query string."""
        given = request.query_params
        query: dict[str, list[str]] = {}
        for key, value in getattr(given, "multi_items", given.items)():
            query.setdefault(key, []).append(value)
        return self.open(query, values)

    def open_row(self, values: Values, event: gr.EventData) -> dict[Any, Any]:
        """What `open` gives for the query string of a table's row that was clicked."""
        try:
            query = event_values(event).get("query")
        except ValueError:
            query = None
        return self.open(parse_query(query if isinstance(query, str) else ""), values)

    def open(self, query: Mapping[str, Sequence[str]], values: Values) -> dict[Any, Any]:
        """All that a query string sets, and what is drawn for it; a sentence alone where it does not fit."""
        unknown = unknown_keys(query)
        if not unknown and not any(key in KEYS for key in query):
            return gr.skip()
        try:
            settings = from_query(query)
            drawn = self.draw(settings, values)
        except ValueError as error:
            words = f"{error} The page shows its usual settings instead."
            return {self.said: notice("This link does not fit:", words)}
        words = f"Left out of the link: {', '.join(map(clip, unknown))}, no setting of this page." if unknown else ""
        said = notice("", words, kind="hint") if words else ""
        return {self.said: said, self.button: to_query(settings), **drawn}

    def follow(self, values: Values) -> dict[Any, Any]:
        """The link to what the controls are set to; what was said of the one before goes when they differ from it."""
        try:
            now = to_query(self.read(values))
        except ValueError:  # said above the chart; the link stays that of the last settings that fitted
            return gr.skip()
        return gr.skip() if now == values[self.button] else {self.button: now, self.said: ""}

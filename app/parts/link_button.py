"""The link to what a tab shows: a button that copies it, and an address bar that follows."""

from __future__ import annotations

from typing import Any

import gradio as gr

from .scripted import script

CHANGED = "studio-settings"  # DOM event: a control has changed


class LinkButton(gr.HTML):
    """A gradio component whose value is the query string of the settings that the page shows.

    It triggers `stale` a moment after the last DOM event `CHANGED`, for the value to be brought up to date. With `tab`,
    the query stands behind the # with the tab's name, where it is no other tab's, and is brought up to date by whoever
    changes what it says; another one that is put into the address triggers `opened`, with it as `query`.
    """

    def __init__(self, value: str = "", *, tab: str = "", **kwargs: Any) -> None:
        super().__init__(
            value,
            html_template='<button type="button" class="plain-button">Copy link</button>'
            '<input class="link-field" aria-label="Link to these settings" readonly hidden>'
            '<span class="sr-only" role="status"></span>',
            js_on_load=script("link_button"),
            changed=CHANGED,
            tab=tab,
            **kwargs,
        )

    def preprocess(self, payload: Any) -> str:
        """The query string as the page sends it, whatever it is: only ever compared with another."""
        return payload if isinstance(payload, str) else ""

    def api_info(self) -> dict[str, Any]:
        return {"type": "string"}

"""The link to what Explore shows: a button that copies it, an address bar that follows, a page that opens with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from ..parts.actions import event_values
from ..parts.fragments import notice
from .link import KEYS, Settings, clip, from_query, parse_query, to_query, unknown_keys

QUIET = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
CHANGED = "studio-settings"  # DOM event: a control has changed

# The link is that of this very document, which inside a Hugging Face Space is a frame on *.hf.space: it opens the app
# without the frame around it. It is brought up to date once the hand rests, so that no click waits for it and browsers,
# which allow a limited number of changes of the address, let it through. A copy in between asks for it at once.
# The clipboard may be out of reach (plain http, a frame without the permission); then the old command copies, and where
# that fails too the link is shown, ready to be copied by hand.
_COPY = """
const button = element.querySelector('button');
const field = element.querySelector('input');
const said = element.querySelector('[role=status]');
const words = button.textContent;
const link = () => `${location.origin}${location.pathname}?${props.value}`;
let back, rest, arrived = () => {}, fresh = Promise.resolve();
function refresh() {
  clearTimeout(rest);
  rest = undefined;
  fresh = new Promise(done => {
    arrived = done;
    setTimeout(done, 1000);  // nothing arrives for settings that do not fit
  });
  trigger('stale');
}
document.addEventListener(props.changed, () => {
  clearTimeout(rest);
  rest = setTimeout(refresh, 300);
});
watch('value', () => {
  arrived();
  field.hidden = true;
  const kept = [...new URLSearchParams(location.search)].filter(([key]) => key.startsWith('__'));  // Gradio's own
  const query = [...kept.map(pair => new URLSearchParams([pair]).toString()), props.value].join('&');
  history.replaceState(history.state, '', `?${query}${location.hash}`);
});
function say(text) {
  said.textContent = text;
  button.textContent = text || words;
  clearTimeout(back);
  if (text) back = setTimeout(() => say(''), 2000);
}
function copyField() {
  field.value = link();
  field.hidden = false;
  field.select();
  const copied = document.execCommand('copy');
  field.hidden = copied;
  if (copied) button.focus();
  return copied;
}
button.addEventListener('click', async () => {
  if (rest) refresh();
  await fresh;
  let copied = true;
  try {
    await navigator.clipboard.writeText(link());
    field.hidden = true;
  } catch {
    copied = copyField();
  }
  if (copied) say('Copied');
});
"""

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
            js_on_load=_COPY,
            changed=CHANGED,
            **kwargs,
        )

    def preprocess(self, payload: Any) -> str:
        """The query string as the page sends it, whatever it is: only ever compared with another."""
        return payload if isinstance(payload, str) else ""

    def api_info(self) -> dict[str, Any]:
        return {"type": "string"}
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

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

"""Buttons that save files which the server makes when they are asked for: no path ever comes from the page."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from .shown_html import ShownHTML

_SAVE = """
element.addEventListener('click', event => {
  const button = event.target.closest('[data-save]');
  if (button) trigger('ask', {save: button.dataset.save});
});
watch('value', () => {
  if (!props.value) return;
  const {name, text, base64} = JSON.parse(props.value);
  const content = base64 ? Uint8Array.from(atob(base64), byte => byte.charCodeAt(0)) : text;
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([content], {type: base64 ? 'application/octet-stream' : 'text/plain'}));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
});
"""

class SaveFiles(ShownHTML):
    """A gradio component with a button for each of `files` (name → words); a click triggers `ask` with `save`, a name.

    A new value, {"name": file name, "text": content, "asked": a number}, is saved by the browser at once; bytes come as
    "base64" in place of "text". `asked` makes equal files differ, so that one can be saved twice.
    """

    def __init__(self, files: Mapping[str, str], **kwargs: Any) -> None:
        buttons = "".join(
            f'<button type="button" class="plain" data-save="{escape(name)}">{escape(words)}</button>'
            for name, words in files.items()
        )
        super().__init__(None, html_template=f'<div class="save-files">{buttons}</div>', js_on_load=_SAVE, **kwargs)
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

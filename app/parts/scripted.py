"""HTML with JavaScript of its own, from app/assets: what all such components share, and the small ones themselves."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Collection, Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import processing_utils
from gradio.utils import get_upload_folder

SERVED = "/gradio_api/file="  # before a place that gradio serves
ASSETS = Path(__file__).parents[1] / "assets"


@cache
def script(*names: str) -> str:
    """The JavaScript that a component runs when the page has loaded it, of one file or several; tools.js goes first."""
    return "\n".join((ASSETS / f"{file}.js").read_text(encoding="utf-8") for file in ("tools", *names))


class ShownHTML(gr.HTML):
    """A gradio component whose value, anything that JSON can say, the page reads with `JSON.parse(props.value)`."""

    def postprocess(self, value: Any) -> str | None:
        """The value as JSON: text passes gradio's page at once, while every list in a dict would be watched there."""
        return None if value is None else json.dumps(value, separators=(",", ":"), ensure_ascii=False)

    def preprocess(self, payload: Any) -> None:
        """What was shown never comes back from the page."""
        return None

    def api_info(self) -> dict[str, Any]:
        return {"type": "string"}


class ActionHTML(gr.HTML):
    """HTML text; a click on an element with a `data-act` attribute triggers `act` with all its data attributes."""

    def __init__(self, value: str = "", **kwargs: Any) -> None:
        super().__init__(value, js_on_load=script("action_html"), **kwargs)


class SaveFiles(ShownHTML):
    """A gradio component with a button for each of `files` (name → words); a click triggers `ask` with `save`, a name.

    The server makes the file when it is asked for, so that no path ever comes from the page. A new value, {"name": file
    name, "text": content, "asked": a number}, is saved by the browser at once; bytes come as "base64" in place of
    "text", and large ones as "file", a place that `served` gave. `asked` makes equal files differ, so that one can be
    saved twice.
    """

    def __init__(self, files: Mapping[str, str], **kwargs: Any) -> None:
        buttons = "".join(
            f'<button type="button" class="plain" data-save="{escape(name)}">{escape(words)}</button>'
            for name, words in files.items()
        )
        template = f'<div class="save-files">{buttons}</div>'
        super().__init__(None, html_template=template, js_on_load=script("save_files"), **kwargs)

    def postprocess(self, value: Any) -> str | None:
        """The value as JSON, with the address of its file in place of where that lies."""
        if value is not None and "file" in value:
            place = self.move_resource_to_block_cache(value["file"])  # which forgets it after a while
            value = {name: part for name, part in value.items() if name != "file"} | {"url": f"{SERVED}{place}"}
        return super().postprocess(value)


def handed(name: str, content: bytes | str) -> dict[str, Any]:
    """The value of a `SaveFiles` that has the browser save a file."""
    what = {"text": content} if isinstance(content, str) else {"base64": base64.b64encode(content).decode()}
    return {"name": name, **what, "asked": time.time_ns()}


def file_asked(event: Any, files: Collection[str]) -> str:
    """Which of `files` a click on a `SaveFiles` asks for; ValueError for none of them."""
    asked = event_values(event).get("save")
    if not isinstance(asked, str) or asked not in files:
        raise ValueError(f"There is no file {str(asked)[:40]!r} to save; expected one of {list(files)}.")
    return asked


def served(file: Path) -> str:
    """Where a file that the server made is kept so that the page can fetch it, until gradio's cache is cleared."""
    return processing_utils.save_file_to_cache(file, cache_dir=get_upload_folder())


class FolderButton(gr.HTML):
    """A button for a folder of the visitor's, which it hands as a zip file to the file input `target` (a selector).

    Browsers send files without their folders, so the page packs them itself.
    """

    def __init__(self, words: str, target: str, **kwargs: Any) -> None:
        super().__init__(
            f'<button type="button" class="plain-button">{words}</button>'
            f'<input type="file" webkitdirectory hidden aria-label="{words}"><span role="status"></span>',
            js_on_load=script("folder_button"),
            target=target,
            **kwargs,
        )


def event_values(event: Any) -> Mapping[str, Any]:
    """What an event carries, whoever sent it; ValueError when that is nothing to read."""
    values = getattr(event, "_data", None)
    if not isinstance(values, Mapping):
        raise ValueError("The page sent nothing that says what was clicked; click once more.")
    return values

"""All endpoints, on a page of their own, which a browser that opens the studio does not load."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr

from . import comparing, counting, making, running
from .endpoint import add_endpoint

PATH = "programs"
AT_ONCE: dict[str, Any] = {"queue": False}
# What takes its time stands in line, one at a time of each: two would take the time from each other.
IN_LINE: dict[str, Any] = {"queue": True, "concurrency_limit": 1}
ENDPOINTS = {
    counting.networks: AT_ONCE,
    counting.profile: AT_ONCE,
    counting.memory: AT_ONCE,
    counting.alive: AT_ONCE,
    counting.search: IN_LINE,
    running.presets: AT_ONCE,
    running.estimate: IN_LINE | {"concurrency_id": "estimate"},  # with the page's own
    running.start: AT_ONCE,
    running.status: AT_ONCE,
    running.metrics: AT_ONCE,
    running.stop: AT_ONCE,
    running.resume: AT_ONCE,
    running.delete: AT_ONCE,
    comparing.results: AT_ONCE,
    comparing.compare: AT_ONCE,
    making.generate: IN_LINE,
    making.export: IN_LINE,
    making.push: IN_LINE,
    making.load: IN_LINE,
}
LINK = f'<p class="subline programs"><a href="{PATH}">For programs and agents</a></p>'  # below the studio's tabs
INTRODUCTION = """<h1>ReDistill Studio for programs and agents</h1>
<p>What the page does, as endpoints that take and give JSON; bytes are whole numbers. From Python:</p>
<pre><code>from gradio_client import Client
client = Client("http://localhost:7860")  # or "OWNER/SPACE"</code></pre>
<p>Agents find the same as tools of the MCP server at <code>/gradio_api/mcp/</code>.</p>
<p>What does not fit raises an error of one sentence. “Use via API” below tells every parameter with its range.</p>"""


def build(page: gr.Blocks) -> None:
    """Add the endpoints to the studio's page; outside its Blocks context."""
    with page.route("Programs", PATH, show_in_navbar=False):
        gr.Navbar(main_page_name="Back to the studio")
        gr.HTML(INTRODUCTION + "".join(map(_row, ENDPOINTS)), elem_classes="programs-list")
        for function, settings in ENDPOINTS.items():
            add_endpoint(function, **settings)


def example_of(function: Callable[..., Any]) -> str:
    """The line of a docstring that calls the endpoint; `run` in it is the name of a run."""
    return inspect.getdoc(function).partition("Example:\n")[2].strip()


def _row(function: Callable[..., Any]) -> str:
    told = " ".join(inspect.getdoc(function).partition("Example:")[0].split())
    code = escape(example_of(function))
    return f"<h2>{function.__name__}</h2><p>{escape(told)}</p><pre><code>{code}</code></pre>"

"""The endpoints as tools of agents (MCP), at /gradio_api/mcp."""

from __future__ import annotations

import functools
import json
from typing import Any

from gradio.mcp import GradioMCPServer
from mcp.types import ImageContent

from .endpoint import FILE


def answer_in_json() -> None:
    """Let an answer reach an agent as JSON, its pictures as pictures: gradio writes a dict as Python does."""
    if hasattr(GradioMCPServer.postprocess_output_data, "__wrapped__"):
        return
    say = GradioMCPServer.postprocess_output_data

    @functools.wraps(say)
    def say_in_json(self: GradioMCPServer, data: list[Any], root_url: str) -> list[Any]:
        (answer,) = data
        told, pictures = _apart(answer)
        shown = [ImageContent(type="image", data=data, mimeType=kind) for kind, data in pictures]
        return [*say(self, [json.dumps(told)], root_url), *shown]

    GradioMCPServer.postprocess_output_data = say_in_json


def _apart(answer: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """An answer without the content of its pictures, and these, each with its kind."""
    files = answer.get("files")
    if not isinstance(files, list):
        return answer, []
    pictures = [file for file in files if file["media_type"].startswith("image/")]
    bare = [{name: file[name] for name in file if name != FILE} if file in pictures else file for file in files]
    return {**answer, "files": bare}, [(file["media_type"], file[FILE]) for file in pictures]
